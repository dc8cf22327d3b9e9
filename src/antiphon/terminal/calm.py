"""A painter that keeps still: what only moves is not drawn, for eyes and slow lines."""

from __future__ import annotations

import msgspec

from antiphon.terminal.frames import Frame, Phase
from antiphon.terminal.painters import Painter, Typed
from antiphon.terminal.spans import Line


class Calm:
    """Has another painter draw what is finished, what is typed, and a region once for each phase.

    So spinners and clocks stand, and a line of an answer comes when it is whole.
    """

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._phase: Phase = "idle"
        self._columns = 0
        self._region: tuple[Line, ...] = ()

    def paint(self, frame: Frame, typed: Typed, columns: int, now: float) -> None:
        """Draw it, with the region that there was where nothing has happened."""
        if (frame.phase, columns) == (self._phase, self._columns) and not frame.finished:
            frame = msgspec.structs.replace(frame, region=self._region)
        self._phase, self._columns, self._region = frame.phase, columns, frame.region
        self._painter.paint(frame, typed, columns, now)

    def keep(self, encoded: str) -> bool:
        """As the painter does."""
        return self._painter.keep(encoded)

    def close(self) -> None:
        """As the other painter."""
        self._painter.close()
