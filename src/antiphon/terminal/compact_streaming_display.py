"""Detect what a reply is, and set its text in lines, for both painters.

It is Markdown, or JSON, SQL or HTML without a fence: that is decided once, before the first line is
printed. In doubt, as for plain text, it is Markdown. Nothing is printed twice: lines of `feed` and
`close` are final, lines of `pending` are redrawn.
"""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Mapping
from typing import Literal, TextIO

from antiphon.settings.settings import Settings
from antiphon.terminal.markdown.blocks import Blocks
from antiphon.terminal.markdown.layout import Typesetter
from antiphon.terminal.markdown.nodes import Code, Kind, Paragraph, Piece
from antiphon.terminal.spans import Line
from antiphon.terminal.themes import BARE, Ink, Theme, choose_theme
from antiphon.types.terminal_safe import Cleaner


class CompactStreamingDisplay:
    """Detects the kind of a reply and sets it block by block."""

    def __init__(self, theme: Theme) -> None:
        self._cleaner = Cleaner("source")
        self._typesetter = Typesetter(theme)
        self._undecided: str | None = ""
        self._verbatim: UnfencedCode | None = None
        self._blocks = Blocks()
        self._structured = False
        self._ended = False

    @property
    def kind(self) -> Kind:
        """Kind of text that is being written now."""
        if self._verbatim:
            return self._verbatim.kind
        match self._blocks.leaf:
            case "table":
                return "table"
            case "" | "paragraph":
                return "markdown" if self._structured else "text"
            case _:
                return "code"

    @property
    def writing(self) -> str:
        """The kind in a word for users: the language of code, if known."""
        leaf = self._blocks.leaf
        return leaf[:20] if self.kind == "code" else str(self.kind)

    def feed(self, text: str, columns: int) -> list[Line]:
        """Return the lines that this text completes."""
        return self._typesetter.lines(self._feed_text(self._cleaner.feed(text)), columns)

    def pending(self, columns: int) -> list[Line]:
        """Return the lines of the open rest as if the text ended here; change nothing."""
        if self._undecided is None:
            pieces = list(self._verbatim.pending()) if self._verbatim else self._blocks.pending()
        else:
            trial = copy.copy(self)
            trial._blocks = Blocks()  # nothing was read yet
            pieces = [*trial._decide(self._undecided, ended=True), *trial._last_pieces()]
        return self._typesetter.pending(pieces, columns)

    def close(self, columns: int) -> list[Line]:
        """Return the rest of the lines; the text has ended. A second call returns nothing."""
        if self._ended:
            return []
        self._ended = True
        pieces = self._feed_text(self._cleaner.close())
        if self._undecided is not None:
            pieces += self._decide(self._undecided, ended=True)
        return self._typesetter.lines([*pieces, *self._last_pieces()], columns)

    def _feed_text(self, text: str) -> list[Piece]:
        if self._undecided is None:
            return self._parse(text)
        return self._decide(self._undecided + text, ended=False)

    def _decide(self, text: str, *, ended: bool) -> list[Piece]:
        kind = detect(text, ended=ended)
        self._undecided = text if kind is None else None
        if kind is None:
            return []
        if kind != "markdown":
            self._verbatim, text = UnfencedCode(kind), text.lstrip()
        return self._parse(text)

    def _parse(self, text: str) -> list[Piece]:
        pieces: list[Piece] = []
        if self._verbatim:
            code, text = self._verbatim.feed(text)
            pieces += code
            if self._verbatim.ended:
                self._verbatim, self._blocks = None, Blocks(follows=True)
        if text:
            pieces += self._blocks.feed(text)
        self._structured = self._structured or any(
            not isinstance(piece, Paragraph) or bool(piece.where) for piece in pieces
        )
        return pieces

    def _last_pieces(self) -> list[Piece]:
        return list(self._verbatim.pending()) if self._verbatim else self._blocks.close()


# The kind of a reply, from its beginning; and code that has no fence, to its end.


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


# An answer outside the terminal chat: each line is written once.


class MarkdownOutput:
    """Writes each line once, when it is complete; nothing is redrawn."""

    on_terminal = True

    def __init__(self, out: TextIO, settings: Settings, environ: Mapping[str, str]) -> None:
        self._out = out
        if settings.screen_reader:
            theme = BARE.in_words()
        else:
            theme = choose_theme(settings.theme, environ, color=settings.color)
            theme = theme.in_ascii() if settings.ascii else theme
        self._theme = theme
        self._ink = Ink(self._theme, links=settings.links and not settings.screen_reader)
        self._display = CompactStreamingDisplay(self._theme)
        self._mid_text = False
        self.used = False

    def write(self, text: str) -> None:
        """Write the next piece; complete lines are shown at once."""
        if text:
            self.used = self._mid_text = True
            self._print(self._display.feed(text, _columns()))

    def end(self) -> None:
        """Write the incomplete rest; the next text starts a new document."""
        if self._mid_text:
            self._mid_text = False
            self._print(self._display.close(_columns()))
            self._display = CompactStreamingDisplay(self._theme)

    def blank(self) -> None:
        """Leave a line blank."""
        self.end()
        self._print([()])

    def _print(self, lines: list[Line]) -> None:
        shown = "".join(f"{self._ink.render(line)}\n" for line in lines)
        self._out.buffer.write(shown.encode("utf-8", "replace"))
        self._out.buffer.flush()


def _columns() -> int:
    # The last column stays free: some terminals wrap in it.
    return max(1, shutil.get_terminal_size().columns - 1)
