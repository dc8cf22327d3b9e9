"""Parse streamed Markdown into pieces: those that can no longer change, and the open rest.

This is the first phase of CommonMark's algorithm, with tables: each line is examined once, when it
is complete, against the open blocks. So the cost of a token does not depend on the length of the
answer or the depth of lists and quotes. Inline marks are parsed later, when a piece is set in
lines.

Rules that would need the whole document are replaced by rules that need only what came before:
items are separated if an empty line stands between them, a table's columns are measured on its
first rows, and a paragraph longer than `nodes.SOFT` cannot become a heading.
"""

from __future__ import annotations

import copy
import re
from itertools import takewhile

import msgspec
from markdown_it.common.html_blocks import block_names

from antiphon.terminal.markdown import nodes
from antiphon.terminal.markdown.leaf_blocks import (
    Fence,
    HtmlBlock,
    Indented,
    Leaf,
    OpenParagraph,
    OpenTable,
    Verbatim,
)
from antiphon.terminal.markdown.nodes import (
    CODE_INDENT,
    Empty,
    Heading,
    Item,
    Piece,
    Quote,
    Rule,
    SourceLine,
    Where,
)

# HTML blocks: the beginning of the first line, and the mark of the last line.


def html_start(text: str, *, interrupts: bool) -> tuple[bool, re.Pattern[str] | None]:
    """Return whether an HTML block begins with this line, and its end; None for an empty line.

    A tag of any name begins HTML only if it `interrupts` nothing.
    """
    if not text.startswith("<"):
        return False, None
    for start, end in _HTML:
        if start.match(text):
            return True, end
    return not interrupts and bool(_HTML_TAG.fullmatch(text)), None


_TAG = r"(?:\s|/?>|$)"
_HTML: tuple[tuple[re.Pattern[str], re.Pattern[str] | None], ...] = (
    (
        re.compile(r"<(?:script|pre|style|textarea)(?=\s|>|$)", re.IGNORECASE),
        re.compile(r"</(?:script|pre|style|textarea)>", re.IGNORECASE),
    ),
    (re.compile(r"<!--"), re.compile(r"-->")),
    (re.compile(r"<\?"), re.compile(r"\?>")),
    (re.compile(r"<![A-Za-z]"), re.compile(r">")),
    (re.compile(r"<!\[CDATA\["), re.compile(r"\]\]>")),
    (re.compile(rf"</?(?:{'|'.join(block_names)}){_TAG}", re.IGNORECASE), None),
)
_ATTRIBUTE = r"""\s+[a-zA-Z_:][a-zA-Z0-9:._-]*(?:\s*=\s*(?:[^"'=<>`\s]+|'[^']*'|"[^"]*"))?"""
_HTML_TAG = re.compile(
    rf"(?:<[A-Za-z][A-Za-z0-9-]*(?:{_ATTRIBUTE})*\s*/?>|</[A-Za-z][A-Za-z0-9-]*\s*>)\s*"
)


DEEPEST = 32
"""Nested containers, at most; a further one is text."""
_DRAWN = 4_000
"""Characters of the end of an incomplete line that are formatted; more cannot be visible."""


class Blocks:
    """Parses Markdown; the pieces do not depend on how the text is cut.

    If it `follows` something, its first piece is separated from that.
    """

    def __init__(self, *, follows: bool = False) -> None:
        self._open: Where = ()
        self._leaf: Leaf | None = None
        self._unfinished = ""  # a line whose end is to come
        self._running = False  # the paragraph's last line is incomplete
        self._last: Where | None = () if follows else None  # where the last leaf stood
        self._blank = False  # an empty line came since
        self._sibling: tuple[int, Item] | None = None  # last item closed, with its depth
        self._serial = 0
        self._out: list[Piece] = []

    @property
    def leaf(self) -> str:
        """Open block: `paragraph`, `table`, the language of a fence, or ""."""
        return self._leaf.name if self._leaf else ""

    def feed(self, text: str) -> list[Piece]:
        """Return the pieces that this text completes."""
        *whole, rest = (self._unfinished + text).split("\n")
        for line in whole:
            self._read_line(line, ended=True)
        self._unfinished = ""
        if rest:
            self._read_line(rest, ended=False)
        return self._take_pieces()

    def close(self) -> list[Piece]:
        """Return the rest; the text has ended."""
        if self._unfinished:
            self._add_line(SourceLine(self._unfinished))
            self._unfinished = ""
        self._leave(0)
        return self._take_pieces()

    def pending(self) -> list[Piece]:
        """Return what `close` would, without the middle of a line of thousands of characters.

        Nothing is changed.
        """
        trial = copy.copy(self)
        trial._out = []
        if len(self._unfinished) > nodes.SOFT + _DRAWN:
            line = self._unfinished
            trial._unfinished = line[: nodes.SOFT] + line[-_DRAWN:]
        return trial.close()

    def _take_pieces(self) -> list[Piece]:
        out, self._out = self._out, []
        return out

    def _read_line(self, text: str, *, ended: bool) -> None:
        """Read a line or its beginning. A long line of prose is read before it is complete."""
        if self._running:
            self._append(text)
        elif len(text) > nodes.SOFT and self._starts_prose(text[: nodes.SOFT]):
            self._append(text[nodes.SOFT :])
        elif ended:
            self._add_line(SourceLine(text))
            return
        else:
            self._unfinished = text
            return
        self._running = not ended

    def _starts_prose(self, beginning: str) -> bool:
        """Read the beginning of a line, if the rest of it must belong to a paragraph."""
        trial = copy.copy(self)
        trial._out = list(self._out)
        trial._add_line(SourceLine(beginning))
        leaf = trial._leaf
        if not isinstance(leaf, OpenParagraph):
            return False
        last = leaf.lines[-1]
        if last.startswith("<") or not (last and beginning.endswith(last)):
            return False
        self.__dict__.update(trial.__dict__)
        return True

    def _append(self, text: str) -> None:
        if isinstance(self._leaf, OpenParagraph):
            self._cut(self._leaf.with_more(text), confirmed=True)

    def _cut(self, leaf: OpenParagraph, *, confirmed: bool) -> None:
        pieces, self._leaf = leaf.cut(confirmed=confirmed)
        self._out += pieces

    # Lines, as in the specification's appendix: continue open blocks, then start new ones.

    def _add_line(self, line: SourceLine) -> None:
        depth = self._match_containers(line)
        leaf = self._leaf
        if depth == len(self._open) and isinstance(leaf, Verbatim) and leaf.goes_on(line):
            self._add_verbatim(leaf, line)
        elif line.blank:
            self._leave(depth)
            self._blank = True
        else:
            self._open_blocks(line, depth)

    def _open_blocks(self, line: SourceLine, depth: int) -> None:
        """Open the containers that begin on this line, then the leaf; the rest is text."""
        while not line.blank and not self._start_leaf(line, depth):
            if line.indent >= CODE_INDENT or not self._start_container(line, depth):
                self._add_text(line, depth)
                return
            depth = len(self._open)

    def _match_containers(self, line: SourceLine) -> int:
        """Return how many open containers the line continues; remove their marks."""
        for depth, container in enumerate(self._open):
            match container:
                case Quote():
                    if not line.quote():
                        return depth
                case Item():
                    if line.blank:
                        if not self._has_content(depth):
                            return depth
                    elif line.indent >= container.indent:
                        line.drop(container.indent)
                    else:
                        return depth
        return len(self._open)

    def _has_content(self, depth: int) -> bool:
        """Return True if the container at this depth is not empty."""
        inside = self._open[: depth + 1]
        return len(self._open) > depth + 1 or (
            self._last is not None and self._last[: depth + 1] == inside
        )

    def _start_leaf(self, line: SourceLine, depth: int) -> bool:
        """Start a block that the line is, or that its first line announces."""
        text, above = line.bare, self._leaf
        if isinstance(above, OpenParagraph):
            if line.indent >= CODE_INDENT:
                return False
            if depth == len(self._open) and self._convert_paragraph(above, line):
                return True
        if line.indent >= CODE_INDENT:
            self._start(Indented(), depth, line)
        elif heading := _HEADING.fullmatch(text):
            level, title = len(heading[1]), _CLOSING.sub("", heading[2] or "")
            where, gap = self._place(depth)
            self._out.append(Heading(where=where, gap=gap, level=level, text=title.strip(" \t")))
        elif fence := _FENCE.fullmatch(text):
            mark, info = fence[1] or fence[3], fence[2] or fence[4] or ""
            self._start(Fence(mark=mark, info=info.strip(), indent=line.indent), depth)
        elif _RULE.fullmatch(text):
            where, gap = self._place(depth)
            self._out.append(Rule(where=where, gap=gap))
        else:
            interrupts = isinstance(above, OpenParagraph | OpenTable)
            found, end = html_start(text, interrupts=interrupts)
            if found:
                self._start(HtmlBlock(end=end), depth, line)
            return found
        return True

    def _convert_paragraph(self, leaf: OpenParagraph, line: SourceLine) -> bool:
        """Convert the paragraph above to a table or heading if the line says so."""
        if made := leaf.as_table(line):
            self._leaf, table = made
            where, gap = leaf.where, leaf.gap
            if self._leaf:
                self._blank = False
                where, gap = self._place(len(self._open))
            self._leaf = msgspec.structs.replace(table, where=where, gap=gap)
        elif heading := leaf.as_heading(line.bare):
            self._out.append(heading)
            self._leaf = None
        else:
            return False
        self._blank = False
        return True

    def _start_container(self, line: SourceLine, depth: int) -> bool:
        if depth == DEEPEST:
            return False
        if line.quote():
            self._leave(depth)
            self._sibling = None
            self._serial += 1
            self._open += (Quote(self._serial),)
            return True
        text, left = line.bare, line.indent
        mark = _MARKER.match(text)
        if not mark or (
            isinstance(self._leaf, OpenParagraph)
            and depth == len(self._open)
            and (not text[mark.end() :].strip(" \t") or mark[1] not in (None, "1"))
        ):
            return False
        self._leave(depth)
        line.drop(left)
        line.skip(mark.end())
        # Five blanks or more count as one; the rest indents code.
        room = line.indent if not line.blank and line.indent <= CODE_INDENT else 1
        line.drop(room)
        number = int(mark[1]) if mark[1] else None
        self._push(mark[2] or mark[0], number, left + mark.end() + room)
        return True

    def _push(self, mark: str, number: int | None, indent: int) -> None:
        depth = len(self._open)
        self._serial += 1
        series = self._serial
        match self._sibling:
            case (at, Item(mark=before) as sibling) if at == depth and before == mark:
                series = sibling.series
                number = None if sibling.number is None else sibling.number + 1
            case _:
                pass
        self._sibling = None
        self._open += (Item(self._serial, series, mark, number, indent),)

    # Leaves.

    def _place(self, depth: int) -> tuple[Where, bool]:
        """Return the containers of a new leaf, and whether an empty line stands before it."""
        self._leave(depth)
        where, last, blank = self._open, self._last, self._blank
        self._last, self._blank, self._sibling = where, False, None
        if last is None:
            return where, False
        shared = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(where, last, strict=False))
        )
        in_item = shared > 0 and isinstance(where[shared - 1], Item)
        match where[shared : shared + 1], last[shared : shared + 1]:
            case (Item(series=mine),), (Item(series=theirs),):
                together = in_item or mine == theirs
            case _:
                together = in_item
        return where, blank or not together

    def _start(self, leaf: Leaf, depth: int, line: SourceLine | None = None) -> None:
        where, gap = self._place(depth)
        self._leaf = leaf = msgspec.structs.replace(leaf, where=where, gap=gap)
        if line and isinstance(leaf, Verbatim):
            self._add_verbatim(leaf, line)

    def _add_verbatim(self, leaf: Verbatim, line: SourceLine) -> None:
        pieces, self._leaf = leaf.with_line(line)
        self._out += pieces

    def _add_text(self, line: SourceLine, depth: int) -> None:
        lazy = depth < len(self._open)
        match self._leaf:
            case OpenParagraph() as leaf:
                head = not lazy and line.indent < CODE_INDENT
                self._cut(leaf.with_line(line.bare, head=head), confirmed=False)
            case OpenTable() as leaf if not lazy:
                pieces, self._leaf = leaf.with_row(line.bare)
                self._out += pieces
            case _:
                self._start(OpenParagraph(lines=(line.bare,)), depth)

    # Ends.

    def _leave(self, depth: int) -> None:
        """Close the leaf, and the containers from this depth on."""
        leaf, self._leaf = self._leaf, None
        if leaf:
            self._out += leaf.ending()
        if depth == len(self._open):
            return
        if not self._has_content(len(self._open) - 1):
            blank = self._blank
            where, gap = self._place(len(self._open))
            self._out.append(Empty(where=where, gap=gap))
            self._blank = blank
        outermost = self._open[depth]
        self._sibling = (depth, outermost) if isinstance(outermost, Item) else None
        self._open = self._open[:depth]


_HEADING = re.compile(r"(#{1,6})(?:[ \t]+(.*))?")
_CLOSING = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")
_FENCE = re.compile(r"(`{3,})([^`]*)|(~{3,})(.*)")
_RULE = re.compile(r"(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,}")
_MARKER = re.compile(r"(?:(\d{1,9})([.)])|[-+*])(?=[ \t]|$)")
