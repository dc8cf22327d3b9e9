"""A keyboard without keys and a painter without a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Self

from antiphon.terminal import spans
from antiphon.terminal.input.keyboard import Box, Field
from antiphon.terminal.painters import Frame, InputRows
from antiphon.terminal.ui_manager import UiManager


class IdleKeyboard:
    """Keyboard on which no key is pressed."""

    by_lines = False
    echoes = False

    def __init__(self, ui: UiManager) -> None:
        """Ignore the UI: nothing is reported to it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing: no terminal was changed."""

    def render(self, columns: int) -> InputRows:
        return InputRows()

    def refill(self, text: str) -> None:
        """Do nothing: no text is edited."""

    async def choose(self, box: Box) -> str:
        return box.default

    async def write(self, field: Field) -> str | None:
        return None

    async def lend(self, arguments: Sequence[str], reads: IO[bytes] | None = None) -> int:
        return 0


class FailingPainter:
    """Painter that raises at the first frame with this word."""

    def __init__(self, word: str) -> None:
        self.painted: list[str] = []
        self._word = word

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        text = "\n".join(spans.text(line) for line in (*frame.finished, *frame.region))
        if self._word and self._word in text:
            self._word = ""
            raise KeyError("a fault of ours")
        self.painted += [spans.text(line) for line in frame.finished]

    def set_clipboard(self, encoded: str) -> bool:
        return False

    def close(self) -> None:
        """Do nothing: no terminal was changed."""
