"""Styled text, independent of the terminal: spans, lines of spans, and wrapping."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from wcwidth import wcwidth

# Cells of the terminal: one table for wrapping, painting and erasing.


_WIDE_SELECTOR = "\ufe0f"
TAB = 8


def width(text: str) -> int:
    """Return the cells of a text without tabs and line ends."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def head(text: str, cells: int) -> str:
    """Return the longest beginning that fits; combining characters stay with their letter."""
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


class StyledText(NamedTuple):
    """Text of one style; `style` names roles, separated by blanks, which a theme maps to a look.

    `link` is an address as the source has it; the writer decides whether it may be a link.
    """

    text: str
    style: str = ""
    link: str = ""


Line = tuple[StyledText, ...]


def text(line: Iterable[StyledText]) -> str:
    """Return the text of a line."""
    return "".join(span.text for span in line)


def line_width(line: Iterable[StyledText]) -> int:
    """Return the cells of a line."""
    return sum(width(span.text) for span in line)


def strip(line: Sequence[StyledText]) -> Line:
    """Return the line without trailing blanks."""
    kept = list(line)
    while kept:
        last = kept.pop()
        if rest := last.text.rstrip(" "):
            return (*kept, last._replace(text=rest))
    return ()


def clip(line: Iterable[StyledText], columns: int, end: str = "") -> Line:
    """Return the line cut to `columns` cells, with `end` in place of what is missing."""
    line = _expand_tabs(line)
    if line_width(line) <= columns:
        return line
    left = columns - width(end)
    kept: list[StyledText] = []
    for span in line:
        part = head(span.text, left)
        kept.append(span._replace(text=part))
        left -= width(part)
        if part != span.text:
            break
    return (*kept, StyledText(end))


def fold(line: Iterable[StyledText], columns: int) -> list[Line]:
    """Return the line as rows of at most `columns` cells, broken anywhere."""
    rows: list[list[StyledText]] = [[]]
    left = columns
    for span in _expand_tabs(line):
        rest = span.text
        while rest:
            part = head(rest, left)
            if not part and left == columns:
                part = rest[:1]  # wider than a row: it must go somewhere
            if part:
                rows[-1].append(span._replace(text=part))
                left -= width(part)
                rest = rest[len(part) :]
            if rest:
                rows.append([])
                left = columns
    return [tuple(row) for row in rows]


def fold_all(lines: Iterable[Line], columns: int) -> list[Line]:
    """Return the rows of all lines, at most `columns` cells wide, at least 1."""
    return [row for line in lines for row in fold(line, max(1, columns))]


def wrap(line: Iterable[StyledText], columns: int) -> list[Line]:
    """Return the line as rows of at most `columns` cells, broken at blanks.

    A longer word is left to the terminal's own wrapping, so that an address is copied whole.
    """
    line = _expand_tabs(line)
    whole = text(line)
    rows: list[Line] = []
    at = 0
    while at < len(whole) or not rows:
        end = _row_end(whole, at, columns)
        row: list[StyledText] = []
        start = 0
        for span in line:
            if piece := span.text[max(0, at - start) : max(0, end - start)]:
                row.append(span._replace(text=piece))
            start += len(span.text)
        rows.append(tuple(row))
        at = end + 1 if whole[end : end + 1] == " " else end
    return rows


def _row_end(whole: str, at: int, columns: int) -> int:
    # A slice, so that a long text is not searched once for each row; characters without
    # width are too rare to matter.
    part = head(whole[at : at + 8 * columns], columns)
    end = at + max(1, len(part))
    if end >= len(whole) or whole[end] == " ":
        return end
    blank = whole.rfind(" ", at, end)
    if blank > at and whole[at:blank].strip():
        return blank
    after = whole.find(" ", end)
    return after if after > 0 else len(whole)


def _expand_tabs(line: Iterable[StyledText]) -> Line:
    line = tuple(line)
    if not any("\t" in span.text for span in line):
        return line
    column = 0
    found: list[StyledText] = []
    for span in line:
        parts: list[str] = []
        for number, part in enumerate(span.text.split("\t")):
            if number:
                blanks = TAB - column % TAB
                parts.append(" " * blanks)
                column += blanks
            parts.append(part)
            column += width(part)
        found.append(span._replace(text="".join(parts)))
    return tuple(found)


# Wrapping of streamed words: a line is returned when the next word no longer fits.


_WIDE = (
    "\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60"
)
"""Scripts without blanks, in which a line may break before any letter."""
_CLINGING = "\u3001\u3002\uff0c\uff0e\uff1a\uff1b\uff01\uff1f\u300d\u300f\uff09\u3011\u30fc"
_PART = re.compile(rf"\n|[ \t]+|[{_WIDE}][{_CLINGING}]*|[^\s{_WIDE}]+|[^\S \t\n]+")
_ALONE = re.compile(rf"[{_WIDE}]")


class Wrapper:
    """Wraps one paragraph. A word that is too long is left to the terminal, or broken if asked."""

    def __init__(self, *, breaking: bool = False) -> None:
        self._breaking = breaking
        self._line: tuple[StyledText, ...] = ()
        self._used = 0  # cells of the line
        self._blank: StyledText | None = None  # between the line and the word
        self._word: tuple[StyledText, ...] = ()
        self._columns = 0

    def feed(self, words: Iterable[StyledText], columns: int) -> list[Line]:
        """Return the lines that are full now, of at most `columns` cells."""
        lines: list[Line] = []
        if columns != self._columns:
            # The open line was set for another width.
            words = (*self._line, *([self._blank] if self._blank else ()), *self._word, *words)
            self._line, self._used, self._blank, self._word = (), 0, None, ()
            self._columns = columns
        for span in words:
            # Inline code is one part, blanks included.
            whole = "code" in span.style and not self._breaking
            for part in [span.text] if whole else _PART.findall(span.text):
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
        """Return the rest; the paragraph has ended."""
        lines: list[Line] = []
        self._place(lines)
        if self._line:
            self._break(lines)
        return lines

    def _place(self, lines: list[Line]) -> None:
        """Put the word on the line, or on the next."""
        word, self._word = self._word, ()
        if not word:
            return
        size = line_width(word)
        gap = 1 if self._blank else 0
        if self._used and self._used + gap + size > self._columns:
            self._break(lines)
        if self._blank:
            self._line += (self._blank,)
            self._used += 1
            self._blank = None
        if self._breaking and size > self._columns:
            *full, word = fold(word, max(1, self._columns))
            lines += full
            size = line_width(word)
        self._line += word
        self._used += size

    def _break(self, lines: list[Line]) -> None:
        lines.append(_merge(self._line))
        self._line, self._used, self._blank = (), 0, None


def _merge(line: Iterable[StyledText]) -> Line:
    """Join neighbouring spans of one style, which writes fewer escapes."""
    found: list[StyledText] = []
    for span in line:
        if found and found[-1][1:] == span[1:]:
            found[-1] = span._replace(text=found[-1].text + span.text)
        else:
            found.append(span)
    return tuple(found)
