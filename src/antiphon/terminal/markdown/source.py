"""A line of Markdown source, and the places where a long paragraph may be cut."""

from __future__ import annotations

import re

CODE_INDENT = 4
"""Indentation from which on a line is code, or continues a paragraph, and starts nothing else."""


class SourceLine:
    """A line from which the marks of containers are removed, column by column."""

    def __init__(self, text: str) -> None:
        self.rest = text
        self._column: int = 0

    @property
    def bare(self) -> str:
        """The rest without leading white space."""
        return self.rest.lstrip(" \t")

    @property
    def blank(self) -> bool:
        """True if only white space is left."""
        return not self.bare

    @property
    def indent(self) -> int:
        """Columns of white space before the rest."""
        column = self._column
        for letter in self.rest:
            if letter == " ":
                column += 1
            elif letter == "\t":
                column += 4 - column % 4
            else:
                break
        return column - self._column

    def drop(self, columns: int) -> None:
        """Remove white space; part of a tab leaves blanks."""
        while columns and self.rest[:1] in (" ", "\t"):
            width: int = 1 if self.rest[0] == " " else 4 - self._column % 4
            if width > columns:
                self.rest = " " * width + self.rest[1:]
                width = 1
            self.rest = self.rest[1:]
            self._column += width
            columns -= width

    def skip(self, letters: int) -> None:
        """Remove characters that take one column each."""
        self.rest = self.rest[letters:]
        self._column += letters

    def quote(self) -> bool:
        """Remove the mark of a quote; return False if there is none."""
        if self.indent >= CODE_INDENT or not self.bare.startswith(">"):
            return False
        self.drop(self.indent)
        self.skip(1)
        self.drop(1)
        return True


# Cuts of a long paragraph: after a sentence, outside emphasis, code and links.


SOFT = 400
"""Characters from which on a paragraph is long: four lines of prose."""

HARD = 2_000
"""Characters after which it is cut at a blank even within a mark: one stray backtick must not make
the rest of an answer slow."""

_CLOSING = "\"')\\]}*_~`\u00bb\u2019\u201d"  # may follow a full stop
_END = re.compile(
    rf"[.!?\u2026][{_CLOSING}]{{0,8}}(?= [^\s]|\n[^\s])|[\u3002\uff01\uff1f](?=[^\W_])"
)
_BLANK = re.compile(r"\s(?=\S)")
_MARK = re.compile(
    r"""\\. | (?P<ticks>`+) | (?P<bracket>\]\(|[\[\])]) | (?P<run>\*+|_+|~~)
      | (?P<tag><(?=[A-Za-z/!?]))""",
    re.VERBOSE | re.DOTALL,
)


def find_cut(text: str, start: int) -> tuple[int, int]:
    """Return where `text` may be cut first, 0 if nowhere yet, and where to search next."""
    for end in _END.finditer(text, max(start, SOFT), min(len(text), HARD + 1)):
        if is_settled(text[: end.end()]):
            return end.end(), 0
    if len(text) <= HARD + 1:
        # A sentence may end with the last letters, once what follows them is known.
        return 0, max(SOFT, len(text) - 64)
    if blank := _BLANK.search(text, HARD, 2 * HARD):
        return blank.start(), 0
    return (2 * HARD, 0) if len(text) > 2 * HARD else (0, HARD)


def is_settled(text: str) -> bool:
    """Return True if no mark in the text is open. In doubt, one is."""
    waiting: dict[str, int] = {}
    at = 0
    while mark := _MARK.search(text, at):
        at = mark.end()
        match mark.lastgroup:
            case "ticks":
                close = re.compile(rf"(?<!`){mark[0]}(?!`)").search(text, at)
                at = close.end() if close else -1
            case "tag":
                at = text.find(">", at)
            case "bracket":
                for ended in _ENDED[mark[0]]:
                    waiting[ended] = max(0, waiting.get(ended, 0) - 1)
                for begun in _BEGUN[mark[0]]:
                    waiting[begun] = waiting.get(begun, 0) + 1
            case "run":
                kind, size = mark[0][0], len(mark[0])
                opens, closes = _flanks(kind, text[: mark.start()][-1:], text[at : at + 1])
                if closes and waiting.get(kind):
                    waiting[kind] = max(0, waiting[kind] - size)
                elif opens:
                    waiting[kind] = waiting.get(kind, 0) + size
            case _:
                pass
        if at < 0:
            return False
    return not any(waiting.values())


_ENDED = {"[": "", "](": "[", "]": "[", ")": "("}
_BEGUN = {"[": "[", "](": "(", "]": "", ")": ""}


def _flanks(kind: str, before: str, after: str) -> tuple[bool, bool]:
    """Return whether a run of marks may open, and may close: it must touch a word."""
    left, right = not before or before.isspace(), not after or after.isspace()
    if kind == "_" and before.isalnum() and after.isalnum():
        return False, False
    return not right, not left
