"""Set the text of one reply in lines, whatever kind of text it is, for both painters.

Nothing is printed twice: lines of `feed` and `close` are final, lines of `pending` are redrawn.
"""

from __future__ import annotations

import copy

from antiphon.terminal.markdown.blocks import Blocks
from antiphon.terminal.markdown.content_type import Kind, UnfencedCode, detect
from antiphon.terminal.markdown.layout import Typesetter
from antiphon.terminal.markdown.nodes import Paragraph, Piece
from antiphon.terminal.spans import Line
from antiphon.terminal.themes import Theme
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
        return self._typesetter.pending(self._open_pieces(), columns)

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

    def _open_pieces(self) -> list[Piece]:
        if self._undecided is not None:
            trial = copy.copy(self)
            trial._blocks = Blocks()  # nothing was read yet
            return [*trial._decide(self._undecided, ended=True), *trial._last_pieces()]
        return list(self._verbatim.pending()) if self._verbatim else self._blocks.pending()

    def _last_pieces(self) -> list[Piece]:
        return list(self._verbatim.pending()) if self._verbatim else self._blocks.close()
