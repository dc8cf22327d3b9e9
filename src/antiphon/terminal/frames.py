"""What a painter is given: lines that are finished, and the rows below them that are not."""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon.terminal.kinds import Kind
from antiphon.terminal.spans import Line

Phase = Literal[
    "connecting",
    "waiting",
    "thinking",
    "writing",
    "calling",
    "running",
    "asking",
    "stopping",
    "idle",
]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """`finished` goes above, for ever; `region` is drawn below it until the next frame.

    Rows of the region are narrower than the terminal.
    """

    finished: tuple[Line, ...] = ()
    region: tuple[Line, ...] = ()
    phase: Phase = "idle"
    kind: Kind = "text"
