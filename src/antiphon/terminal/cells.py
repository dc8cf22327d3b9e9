"""How many cells of a terminal a text takes: one table for wrapping, painting and erasing.

Never too few: a terminal that joins emoji or draws a selector narrow leaves a cell empty, and
nothing is torn. Widths are those of `wcwidth`, which the line editor uses as well.
"""

from __future__ import annotations

from functools import lru_cache

from wcwidth import wcwidth

_WIDE_SELECTOR = "\ufe0f"
TAB = 8


def width(text: str) -> int:
    """The cells of a text without tabs and line ends."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def head(text: str, cells: int) -> str:
    """As much of the beginning as these cells hold; what takes no cell stays with its letter."""
    if text.isascii():
        return text[: max(0, cells)]
    for end, letter in enumerate(text):
        cells -= _cell(letter)
        if cells < 0:
            return text[:end]
    return text


@lru_cache(maxsize=4096)
def _cell(letter: str) -> int:
    # A selector makes a narrow character wide, where the terminal knows it.
    return 1 if letter == _WIDE_SELECTOR else max(0, wcwidth(letter))
