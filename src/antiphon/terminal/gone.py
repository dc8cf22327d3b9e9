"""A painter may lose its terminal: a window is closed, the reader of a pipe has seen enough."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.terminal.frames import Frame
from antiphon.terminal.painters import Painter, Typed


class UntilGone:
    """Has another painter draw until that fails; then nothing is drawn any more.

    So all that has to end behind it ends in order. `why` is what failed, and `on_gone` is told.
    """

    def __init__(self, painter: Painter) -> None:
        self.why: OSError | None = None
        self.on_gone: Callable[[], None] = lambda: None
        self._painter = painter

    def paint(self, frame: Frame, typed: Typed, columns: int, now: float) -> None:
        """Draw it, where somebody sees it."""
        self._try(lambda: self._painter.paint(frame, typed, columns, now))

    def keep(self, encoded: str) -> bool:
        """As the other painter, where there is a terminal."""
        return self.why is None and self._painter.keep(encoded)

    def close(self) -> None:
        """As the other painter, where there is something to leave."""
        self._try(self._painter.close)

    def _try(self, write: Callable[[], None]) -> None:
        if self.why is not None:
            return
        try:
            write()
        except OSError as error:
            self.why = error
            self.on_gone()
