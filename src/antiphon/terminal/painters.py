"""What a painter is: frames in, bytes to a terminal out."""

from __future__ import annotations

from typing import Protocol

import msgspec

from antiphon.terminal.frames import Frame
from antiphon.terminal.spans import Line


class Typed(msgspec.Struct, frozen=True):
    """The line that a person types, with whatever stands around it, as rows below the region.

    Rows are narrower than the terminal, and leave it some of its own. `cursor` is a row of these
    and a column; None hides it.
    """

    rows: tuple[Line, ...] = ()
    cursor: tuple[int, int] | None = None


class Painter(Protocol):
    """Draws frames, in order; what a frame finished was never drawn before and never is again."""

    def paint(self, frame: Frame, typed: Typed, columns: int, now: float) -> None:
        """Bring the terminal, which has so many columns, up to this frame."""
        ...

    def keep(self, encoded: str) -> bool:
        """Have the terminal put this base64 into its clipboard; False where none can be asked."""
        ...

    def close(self) -> None:
        """Leave the terminal as a program expects it."""
        ...
