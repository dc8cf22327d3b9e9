"""Words into lines, as they come: a line is given out when the word after it needs the next one.

What waits is one line. So parts of a long paragraph are set as the whole would be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from antiphon.terminal import spans
from antiphon.terminal.spans import Line, Span

_WIDE = (
    "\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60"
)
"""Scripts without blanks, whose letters may each begin a line."""
_CLINGING = "\u3001\u3002\uff0c\uff0e\uff1a\uff1b\uff01\uff1f\u300d\u300f\uff09\u3011\u30fc"
_PART = re.compile(rf"\n|[ \t]+|[{_WIDE}][{_CLINGING}]*|[^\s{_WIDE}]+|[^\S \t\n]+")
_ALONE = re.compile(rf"[{_WIDE}]")


class Wrapper:
    """Sets one paragraph. A word that is too long is left to the terminal, or broken if asked."""

    def __init__(self, *, breaking: bool = False) -> None:
        self._breaking = breaking
        self._line: tuple[Span, ...] = ()
        self._used = 0  # cells of the line
        self._blank: Span | None = None  # between the line and the word
        self._word: tuple[Span, ...] = ()
        self._columns = 0

    def feed(self, words: Iterable[Span], columns: int) -> list[Line]:
        """The lines that are full now, of so many cells."""
        lines: list[Line] = []
        if columns != self._columns:
            # What waited was set for another width.
            words = (*self._line, *([self._blank] if self._blank else ()), *self._word, *words)
            self._line, self._used, self._blank, self._word = (), 0, None, ()
            self._columns = columns
        for span in words:
            for part in self._parts(span):
                if part == "\n":
                    self._place(lines)
                    if self._line:
                        self._break(lines)
                elif part[0] in " \t":
                    self._place(lines)
                    self._blank = span._replace(text=" ") if self._used else None
                elif _ALONE.match(part):
                    self._place(lines)
                    self._word = (span._replace(text=part),)
                    self._place(lines)
                else:
                    self._word = (*self._word, span._replace(text=part))
        return lines

    def close(self) -> list[Line]:
        """The rest; the paragraph has ended."""
        lines: list[Line] = []
        self._place(lines)
        if self._line:
            self._break(lines)
        return lines

    def _parts(self, span: Span) -> list[str]:
        """What may stand in lines of their own; a command in a sentence is one, blanks and all."""
        whole = "code" in span.style and not self._breaking
        return [span.text] if whole else _PART.findall(span.text)

    def _place(self, lines: list[Line]) -> None:
        """Put the word on the line, or on the next."""
        word, self._word = self._word, ()
        if not word:
            return
        size = spans.width(word)
        gap = 1 if self._blank else 0
        if self._used and self._used + gap + size > self._columns:
            self._break(lines)
        if self._blank:
            self._line += (self._blank,)
            self._used += 1
            self._blank = None
        if self._breaking and size > self._columns:
            *full, word = spans.folded(word, max(1, self._columns))
            lines += full
            size = spans.width(word)
        self._line += word
        self._used += size

    def _break(self, lines: list[Line]) -> None:
        lines.append(_joined(self._line))
        self._line, self._used, self._blank = (), 0, None


def _joined(line: Iterable[Span]) -> Line:
    """Neighbours of one style as one span, which writes fewer escapes."""
    found: list[Span] = []
    for span in line:
        if found and found[-1][1:] == span[1:]:
            found[-1] = span._replace(text=found[-1].text + span.text)
        else:
            found.append(span)
    return tuple(found)
