"""Export of a thread as Markdown, in which messages keep their own Markdown.

Code, arguments and outputs are in fences longer than any fence inside them. A message may contain a
fence that is never closed, or HTML that would fold or hide all that follows: such fences are
closed, and such HTML is shown as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from antiphon.client.formatting import format_arguments, moment, name_reasoning
from antiphon.types.messages import Citation, Message, ToolCall
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import clean, one_line
from antiphon.types.thread_view import (
    AttachmentsView,
    CallView,
    ChangedCallView,
    NoteView,
    PartView,
    ReasoningView,
    RefusalView,
    SourcesView,
    TextView,
    ThreadReader,
)


class MarkdownExport:
    """Markdown export."""

    def __init__(self, thread: Thread, reader: ThreadReader) -> None:
        self._thread = thread
        self._reader = reader

    def begin(self) -> str:
        """Return the title and the id of the thread."""
        title = _line(self._thread.title) or "A conversation"
        return f"# {title}\n\n{_code(self._thread.id)}, begun {moment(self._thread.created_at)}\n"

    def message(self, message: Message) -> str:
        """Return the next message under its heading."""
        view = self._reader.read(message)
        if view is None:
            return ""
        pieces = "\n\n".join(_render_part(part) for part in view.parts)
        model = f" ({_line(view.model)})" if view.model else ""
        return f"\n## {view.speaker.capitalize()}{model}, {moment(view.at)}\n\n{pieces}\n"

    def end(self) -> str:
        """Return an empty text."""
        return ""


def _render_part(part: PartView) -> str:
    match part:
        case TextView(text) | RefusalView(text):
            return close_open_markup(clean(text, "code"))
        case ReasoningView(text):
            fenced = _fence(text, "text")
            summary = name_reasoning(part)
            return f"<details>\n<summary>{summary}</summary>\n\n{fenced}\n\n</details>"
        case ToolCall(name=name, arguments=arguments) | ChangedCallView(name, arguments):
            return f"**Calls** {_code(name)}\n\n{_fence(format_arguments(arguments), 'json')}"
        case CallView():
            failed = f"**gave no result** ({_line(part.reason)})"
            became = failed if part.is_error else "**gave**"
            return f"{_code(part.call.name)} {became}\n\n{_fence(part.text, 'text')}"
        case AttachmentsView() | SourcesView() | NoteView():
            return _render_note(part)


def _render_note(part: AttachmentsView | SourcesView | NoteView) -> str:
    match part:
        case AttachmentsView(attachments):
            return f"Attached: {', '.join(_code(each.name) for each in attachments)}"
        case SourcesView(pages):
            return render_sources(pages)
        case NoteView(text):
            return f"*({text})*"


def render_sources(pages: Sequence[Citation]) -> str:
    """Return cited pages, those of `list_pages`, as a numbered list of Markdown links."""
    return "Sources:\n\n" + "\n".join(
        f"{number}. [{_line(page.title or page.url)}](<{page.url}>)"
        for number, page in enumerate(pages, 1)
    )


def _line(text: str) -> str:
    """Return the text on one line, with Markdown escaped."""
    return _MARKS.sub(r"\\\g<0>", one_line(text))


_MARKS = re.compile(r"[\\`*_\[\]<>#|&!~]")


def _code(text: str) -> str:
    """Return the text as inline code."""
    line = one_line(text)
    ticks = "`" * (_longest_run(line, "`") + 1)
    blank = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{blank}{line or ' '}{blank}{ticks}"


def _fence(text: str, language: str) -> str:
    """Return the text in a fence that it cannot close."""
    shown = clean(text, "code").rstrip("\n")
    fence = "`" * max(3, _longest_run(shown, "`") + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def _longest_run(text: str, letter: str) -> int:
    return max(map(len, re.findall(f"{letter}+", text)), default=0)


# Markdown of messages.


def close_open_markup(text: str) -> str:
    """Return the Markdown with its open fences closed and its block HTML escaped.

    A few rules determine the list that a fence is in, not a parser. No error was found in a hundred
    thousand random texts; this is no proof.
    """
    parts: list[str] = []
    prose: list[str] = []
    fence: _Fence | None = None
    list_indent = 0
    for line in text.split("\n"):
        if fence is not None and fence.is_left_by(line, list_indent):
            fence = None
        if fence is not None:
            parts.append(line)
            fence = None if fence.is_closed_by(line, list_indent) else fence
        elif (fence := _Fence.parse(line, list_indent)) is not None:
            # With a `|`, some parsers would read the line as the head of a table.
            parts += [*_show_open_tags(prose), line.partition("|")[0]]
            prose = []
        else:
            list_indent = _list_indent(line, list_indent, prose[-1] if prose else "")
            prose.append(line)
    parts += _show_open_tags(prose)
    return "\n".join([*parts, fence.closing] if fence is not None else parts)


class _Fence:
    """An open fence; `closing` is the line that closes it, with the indent of its list."""

    def __init__(self, indent: str, marks: str) -> None:
        self._indent = len(indent)
        self._marks = marks
        self.closing = indent + marks

    @classmethod
    def parse(cls, line: str, list_indent: int) -> _Fence | None:
        """Return the fence that this line opens, if any; a deeper indent makes the line code."""
        opening = _OPENING.match(line)
        if opening is None or len(opening[1]) > list_indent + 3:
            return None
        return cls(opening[1], opening[2])

    def is_closed_by(self, line: str, list_indent: int) -> bool:
        """Return whether the line closes the fence; with a deeper indent it is content."""
        marks = line.strip(" \t")
        long_enough = len(marks) >= len(self._marks) and not marks.strip(self._marks[0])
        own_indent = list_indent if self._in_list(list_indent) else 0
        return long_enough and _indent(line) <= own_indent + 3

    def is_left_by(self, line: str, list_indent: int) -> bool:
        """Return whether the line is outside of the fence's list, which ends the fence."""
        return bool(line.strip()) and self._in_list(list_indent) and _indent(line) < list_indent

    def _in_list(self, list_indent: int) -> bool:
        return 0 < list_indent <= self._indent


def _indent(line: str) -> int:
    """Return the number of columns before the text."""
    blanks = line[: len(line) - len(line.lstrip(" \t"))]
    return len(blanks.expandtabs(4))


def _list_indent(line: str, before: int, previous: str) -> int:
    """Return the indent of the list item that contains this line; 0 outside of lists."""
    if not line.strip():
        return 0 if _EMPTY_ITEM.fullmatch(previous) else before
    if item := _ITEM.match(line):
        return len(item[0]) if len(item[1]) < before or not before else before
    lazy = previous.strip() and not _INTERRUPTS.match(line)  # a paragraph's next line
    return before if line.startswith(" ") or lazy else 0


def _show_open_tags(lines: list[str]) -> list[str]:
    """Return lines outside of fences with tags escaped whose effect passes their paragraph."""
    text = "\n".join(lines)
    if not _TAG.search(text):
        return lines
    paragraphs = _BLANK_LINES.split(text)  # at odd indexes, the blank lines between them
    shown = (
        each if _is_plain(each) else _REACHING.sub(_as_text, _BLOCK.sub(_as_text, each))
        for each in paragraphs
    )
    return "".join(shown).split("\n")


def _is_plain(paragraph: str) -> bool:
    """Return whether all tags are certainly harmless or inside code.

    This is so if each line closes the code that it opens and contains nothing ambiguous. Other
    paragraphs are escaped, which may show a backslash in code.
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


def _as_text(tag: re.Match[str]) -> str:
    """Return the beginning of a tag with its `<` escaped, unless it already is."""
    is_text = tag["marks"].endswith("\\") and len(tag["marks"]) % 2
    return tag[0] if is_text else f"{tag[0][:-1]}\\<"


LONGEST_LINE = 10_000
"""Longest line that is searched for code: the time grows faster than the length."""
_OPENING = re.compile(r"( *)(`{3,}(?=[^`]*$)|~{3,})")
_EMPTY_ITEM = re.compile(r" {0,3}(?:[-+*]|\d{1,9}[.)])[ \t]*")
_INTERRUPTS = re.compile(r"#{1,6}(?:\s|$)|>|(?:[-*_][ \t]*){3,}$")
_ITEM = re.compile(r"( {0,3})(?:[-+*]|\d{1,9}[.)])( {1,4}(?=\S)| )")
_BLANK_LINES = re.compile(r"(\n[ \t]*\n)")
_CODE = re.compile(r"(?<!`)(`+)(?!`)[^|]*?(?<!`)\1(?!`)")
_TAG = re.compile(r"<[A-Za-z/!?]")
_PLAIN = re.compile(r"</?[A-Za-z][A-Za-z0-9]* ?/?>")
"""A tag without attributes, in which no code can begin."""
_BLOCK = re.compile(
    r"(?m)^[ \t]*(?:(?:[-+*>]|\d{1,9}[.)])[ \t]*)*(?P<marks>)"
    r"<(?=[A-Za-z/])(?![A-Za-z][A-Za-z0-9+.-]*:|[^\s<>]*@)"
)
"""The start of an HTML block, in which backslashes do not escape. An address in `<>` is none."""
_REACHING = re.compile(
    r"(?<!\\)(?P<marks>\\*)<(?=[!?]|/?(?:details|summary|script|style|pre|textarea|title|plaintext"
    r"|xmp|iframe|noembed|noframes|noscript|template|select|svg|math|table|div|section|article)\b)",
    re.IGNORECASE,
)
