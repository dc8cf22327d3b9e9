"""Long pasted texts: a short mark in the line, the whole text in the message."""

from __future__ import annotations

import re

LINES = 8
CHARACTERS = 1000
"""A paste of more lines or characters is folded."""
KEPT = 100
"""Texts that are kept, the last ones."""

_MARK = re.compile(r"\[pasted (\d+): [\d,]+ (?:lines|characters)\]")


class PastedTexts:
    """The texts that were pasted into the line, by the numbers of their marks."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._count = 0

    def fold(self, text: str) -> str:
        """Return what goes into the line: the mark of a long text, or the text."""
        lines = text.count("\n") + 1
        if lines <= LINES and len(text) <= CHARACTERS:
            return text
        self._count += 1
        self._texts[self._count] = text
        self._texts.pop(self._count - KEPT, None)
        size = f"{lines:,} lines" if lines > LINES else f"{len(text):,} characters"
        return f"[pasted {self._count}: {size}]"

    def unfold(self, line: str) -> str:
        """Return the line with the texts in place of their marks."""

        def text_of(mark: re.Match[str]) -> str:
            return self._texts.get(int(mark[1]), mark[0])

        return _MARK.sub(text_of, line) if self._texts else line
