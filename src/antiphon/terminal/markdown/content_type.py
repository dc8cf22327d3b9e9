"""Detect what an answer is: Markdown, or JSON, SQL or HTML without a fence.

It is decided once, before the first line is printed. In doubt, as for plain text, it is Markdown.
"""

from __future__ import annotations

import re
from typing import Literal

from antiphon.terminal.markdown.nodes import Code

Kind = Literal["text", "markdown", "code", "table", "json", "sql", "html"]
Bare = Literal["json", "sql", "html"]

_LONGEST_DOUBT = 600


def detect(text: str, *, ended: bool = False) -> Bare | Literal["markdown"] | None:
    """Return the kind of an answer from its beginning; None if more text is needed.

    Once the text has `ended`, a kind is always returned.
    """
    start = text.lstrip()
    if not (start or ended):
        return None
    for kind, certain, possible in _KINDS:
        if certain.match(start):
            return kind
        if not ended and len(start) < _LONGEST_DOUBT and possible.fullmatch(start):
            return None
    return "markdown"


class UnfencedCode:
    """Code without a fence: lines as pieces, until its own syntax ends it."""

    def __init__(self, kind: Bare) -> None:
        self.kind: Bare = kind
        self.ended = False
        self._unfinished = ""
        self._begins = True
        self._depth = 0
        self._in_string = False
        self._statement_over = False

    def feed(self, text: str) -> tuple[list[Code], str]:
        """Return the pieces that are complete, and the text that follows the code's end."""
        *lines, rest = (self._unfinished + text).split("\n")
        pieces: list[Code] = []
        for number, line in enumerate(lines, 1):
            pieces.append(self._piece(line))
            self._begins = False
            if self._is_over(line):
                self.ended, self._unfinished = True, ""
                return pieces, "\n".join([*lines[number:], rest])
        self._unfinished = rest
        return pieces, ""

    def pending(self) -> list[Code]:
        """Return the line that is incomplete."""
        return [self._piece(self._unfinished)] if self._unfinished else []

    def _piece(self, line: str) -> Code:
        return Code(language=self.kind, text=line, begins=self._begins)

    def _is_over(self, line: str) -> bool:
        match self.kind:
            case "json":
                return self._is_balanced(line)
            case "html":
                return "</html>" in line.lower()
            case "sql":
                over = self._statement_over and not line.strip()
                self._statement_over = line.rstrip().endswith(";")
                return over

    def _is_balanced(self, line: str) -> bool:
        for mark in _JSON_MARKS.findall(line):
            if mark == '"':
                self._in_string = not self._in_string
            elif not self._in_string and mark[0] != "\\":
                self._depth += 1 if mark in "{[" else -1
        return self._depth <= 0 and not self._in_string and bool(line.strip())


_JSON_MARKS = re.compile(r'\\.|["{}\[\]]')
_VERBS = "SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|WITH|MERGE"
_STARTS = ("<!doctype", "<html", "<?xml", "<svg")


def _beginnings(words: tuple[str, ...]) -> str:
    return "|".join(re.escape(word[:size]) for word in words for size in range(1, len(word) + 1))


_KINDS: tuple[tuple[Bare, re.Pattern[str], re.Pattern[str]], ...] = (
    (
        "json",
        re.compile(
            r'\{\s*["}]|\[\s*(?:\{\s*["}]|\[\s*["{\[\d-]|"|-?\d[\d.eE+-]*\s*,'
            r"|(?:true|false|null)\s*,)"
        ),
        re.compile(r"\{\s*|\[\s*(?:\{\s*|\[\s*|-?\d[\d.eE+-]*\s*|-|[a-z]{1,5}\s*)?"),
    ),
    (
        "html",
        re.compile("|".join(rf"{re.escape(start)}[\s>]" for start in _STARTS), re.IGNORECASE),
        re.compile(_beginnings(_STARTS), re.IGNORECASE),
    ),
    (
        "sql",
        re.compile(rf"(?:{_VERBS})\s(?:[^\n]*\n){{0,2}}[^\n]*\b(?:FROM|INTO|SET|TABLE)\s"),
        re.compile(
            rf"{_beginnings(tuple(_VERBS.split('|')))}|(?:{_VERBS})\s(?:[^\n]*\n){{0,2}}[^\n]*"
        ),
    ),
)
"""For each kind, a pattern that proves it and one that leaves it possible."""
