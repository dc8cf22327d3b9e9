"""A keyboard and a painter without a terminal behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Self

from antiphon.terminal import spans
from antiphon.terminal.input.keyboard import Box, Field
from antiphon.terminal.painters import Frame, InputRows
from antiphon.terminal.ui_manager import UiManager


class Silent:
    """A keyboard that nobody touches."""

    by_lines = False
    echoes = False

    def __init__(self, ui: UiManager) -> None:
        """Tells nobody anything."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to leave."""

    def render(self, columns: int) -> InputRows:
        return InputRows()

    def refill(self, text: str) -> None:
        """Nobody goes on."""

    async def choose(self, box: Box) -> str:
        return box.default

    async def write(self, field: Field) -> str | None:
        return None

    async def lend(self, arguments: Sequence[str], reads: IO[bytes] | None = None) -> int:
        return 0


class Fragile:
    """A painter that breaks once it is given this word, once."""

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
        """Nothing to leave."""
