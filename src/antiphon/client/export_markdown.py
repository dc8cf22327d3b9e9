"""A thread as Markdown: what was said with its marks as they were written, the rest around it.

Code, arguments and outputs stand in fences longer than any in them. What was said may hold a fence
that was never closed, or HTML that would fold or hide all that follows: the one is closed, the
other is shown.
"""

from __future__ import annotations

import re

from antiphon.client.formatting import moment
from antiphon.client.sections import (
    AttachmentsPiece,
    NotePiece,
    Piece,
    ReasoningPiece,
    Section,
    SectionReader,
    TextPiece,
    ToolCallPiece,
    ToolResultPiece,
    format_arguments,
)
from antiphon.types.messages import Message
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import clean, one_line


class MarkdownExport:
    """The file, message by message."""

    def __init__(self, thread: Thread, reader: SectionReader) -> None:
        self._thread = thread
        self._reader = reader

    def begin(self) -> str:
        """The title, and which thread this is."""
        title = _line(self._thread.title) or "A conversation"
        return f"# {title}\n\n{_code(self._thread.id)}, begun {moment(self._thread.created_at)}\n"

    def message(self, message: Message) -> str:
        """The next message under its heading."""
        section = self._reader.section(message)
        if section is None:
            return ""
        pieces = "\n\n".join(_render_piece(piece) for piece in section.pieces)
        return f"\n## {_heading(section)}\n\n{pieces}\n"

    def end(self) -> str:
        """Nothing more."""
        return ""


def _heading(section: Section) -> str:
    model = f" ({_line(section.model)})" if section.model else ""
    return f"{section.speaker.capitalize()}{model}, {moment(section.at)}"


def _render_piece(piece: Piece) -> str:
    match piece:
        case TextPiece(text):
            return close_open_markup(clean(text, "code"))
        case ReasoningPiece(text):
            fenced = _fence(text, "text")
            return f"<details>\n<summary>Reasoning</summary>\n\n{fenced}\n\n</details>"
        case ToolCallPiece(name, arguments):
            return f"**Calls** {_code(name)}\n\n{_fence(format_arguments(arguments), 'json')}"
        case ToolResultPiece(name, output, fault):
            became = f"**gave no result** ({_line(fault)})" if fault else "**gave**"
            return f"{_code(name)} {became}\n\n{_fence(output, 'text')}"
        case AttachmentsPiece(names):
            return f"Attached: {', '.join(_code(name) for name in names)}"
        case NotePiece(text):
            return f"*({text})*"


def _line(text: str) -> str:
    """Foreign words in a line of their own, without any marks."""
    return _MARKS.sub(r"\\\g<0>", one_line(text))


_MARKS = re.compile(r"[\\`*_\[\]<>#|&!~]")


def _code(text: str) -> str:
    """Foreign words as code inside a line."""
    line = one_line(text)
    ticks = "`" * (_longest_run(line, "`") + 1)
    blank = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{blank}{line or ' '}{blank}{ticks}"


def _fence(text: str, language: str) -> str:
    """Foreign text in a fence that it cannot close."""
    shown = clean(text, "code").rstrip("\n")
    fence = "`" * max(3, _longest_run(shown, "`") + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def _longest_run(text: str, letter: str) -> int:
    return max(map(len, re.findall(f"{letter}+", text)), default=0)


# What was said.


def close_open_markup(text: str) -> str:
    """Markdown as it was written, but what it leaves open reaches no further than its end.

    Which list a fence stands in is told by a few rules, not by a parser: of a hundred thousand
    random heaps of marks none got through, but that is no proof.
    """
    said: list[str] = []
    prose: list[str] = []
    fence: _Fence | None = None
    listed = 0
    for line in text.split("\n"):
        if fence is not None and fence.is_left_by(line, listed):
            fence = None
        if fence is not None:
            said.append(line)
            fence = None if fence.is_closed_by(line, listed) else fence
        elif (fence := _Fence.parse(line, listed)) is not None:
            said += [
                *_show_open_tags(prose),
                line.partition("|")[0],
            ]  # or some would read a table's head
            prose = []
        else:
            listed = _list_indent(line, listed, prose[-1] if prose else "")
            prose.append(line)
    said += _show_open_tags(prose)
    return "\n".join([*said, fence.closing] if fence is not None else said)


class _Fence:
    """A fence that is open; `closing` is the line that closes it, in or out of a list."""

    def __init__(self, indent: str, marks: str) -> None:
        self._indent = len(indent)
        self._marks = marks
        self.closing = indent + marks

    @classmethod
    def parse(cls, line: str, listed: int) -> _Fence | None:
        """The one that this line opens, None if it does not: further in, it is code itself."""
        opening = _OPENING.match(line)
        if opening is None or len(opening[1]) > listed + 3:
            return None
        return cls(opening[1], opening[2])

    def is_closed_by(self, line: str, listed: int) -> bool:
        """Return whether the line closes the fence; further in, it is content."""
        marks = line.strip(" \t")
        long_enough = len(marks) >= len(self._marks) and not marks.strip(self._marks[0])
        return long_enough and _indent(line) <= (listed if self._in_list(listed) else 0) + 3

    def is_left_by(self, line: str, listed: int) -> bool:
        """Return whether the line stands outside of the fence's list."""
        return bool(line.strip()) and self._in_list(listed) and _indent(line) < listed

    def _in_list(self, listed: int) -> bool:
        return 0 < listed <= self._indent


def _indent(line: str) -> int:
    """Return the columns before the text."""
    blanks = line[: len(line) - len(line.lstrip(" \t"))]
    return len(blanks.expandtabs(4))


def _list_indent(line: str, before: int, previous: str) -> int:
    """Return the indent of the list item that this line belongs to; 0 without one."""
    if not line.strip():
        return 0 if _EMPTY_ITEM.fullmatch(previous) else before
    if item := _ITEM.match(line):
        return len(item[0]) if len(item[1]) < before or not before else before
    lazy = previous.strip() and not _INTERRUPTS.match(line)  # a paragraph's next line
    return before if line.startswith(" ") or lazy else 0


def _show_open_tags(lines: list[str]) -> list[str]:
    """Lines outside of fences, in which tags that reach beyond a paragraph are shown as text."""
    text = "\n".join(lines)
    if not _TAG.search(text):
        return lines
    paragraphs = _BLANK_LINES.split(text)  # with what stands between them
    return "".join(each if _is_plain(each) else _escape_tags(each) for each in paragraphs).split(
        "\n"
    )


def _is_plain(paragraph: str) -> bool:
    """Return whether every tag is code for certain, however the lines belong together.

    So it is if each line closes the code it opens, and contains nothing ambiguous. Everything else
    is treated as no code, at the price of a visible backslash.
    """
    for line in paragraph.split("\n"):
        if len(line) > LONGEST_LINE or "\\`" in line:
            return False
        outside = _CODE.sub("", line)
        tags = (
            _REACHING.search(outside),
            _BLOCK.match(outside),
            _TAG.search(_PLAIN.sub("", outside)),
        )
        if "`" in outside or any(tags):
            return False
    return True


def _escape_tags(paragraph: str) -> str:
    return _REACHING.sub(_as_text, _BLOCK.sub(_as_text, paragraph))


def _as_text(tag: re.Match[str]) -> str:
    is_text = tag["marks"].endswith("\\") and len(tag["marks"]) % 2
    return tag[0] if is_text else f"{tag[0][:-1]}\\<"


LONGEST_LINE = 10_000
"""Letters of a line in which code is looked for: the time that takes grows faster than the line."""
_OPENING = re.compile(r"( *)(`{3,}(?=[^`]*$)|~{3,})")
_EMPTY_ITEM = re.compile(r" {0,3}(?:[-+*]|\d{1,9}[.)])[ \t]*")
_INTERRUPTS = re.compile(r"#{1,6}(?:\s|$)|>|(?:[-*_][ \t]*){3,}$")
_ITEM = re.compile(r"( {0,3})(?:[-+*]|\d{1,9}[.)])( {1,4}(?=\S)| )")
_BLANK_LINES = re.compile(r"(\n[ \t]*\n)")
_CODE = re.compile(r"(?<!`)(`+)(?!`)[^|]*?(?<!`)\1(?!`)")
_TAG = re.compile(r"<[A-Za-z/!?]")
_PLAIN = re.compile(r"</?[A-Za-z][A-Za-z0-9]* ?/?>")
"""A tag in which no code could begin."""
_BLOCK = re.compile(
    r"(?m)^[ \t]*(?:(?:[-+*>]|\d{1,9}[.)])[ \t]*)*(?P<marks>)"
    r"<(?=[A-Za-z/])(?![A-Za-z][A-Za-z0-9+.-]*:|[^\s<>]*@)"
)
"""What would begin a block of HTML, in which no backslash helps. An address in `<>` does not."""
_REACHING = re.compile(
    r"(?<!\\)(?P<marks>\\*)<(?=[!?]|/?(?:details|summary|script|style|pre|textarea|title|plaintext"
    r"|xmp|iframe|noembed|noframes|noscript|template|select|svg|math|table|div|section|article)\b)",
    re.IGNORECASE,
)
