"""Spans of one line of text: emphasis, code and links in running text, and highlighted code.

A hard break is a line feed. A link shows its host behind its text, since texts can lie. Definitions
of references are kept for the whole answer; one that follows its use leaves the text as it was
written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import lexers
from pygments.lexer import Lexer
from pygments.token import Comment, Keyword, Name, Number, String
from pygments.token import Generic as Patch
from pygments.util import ClassNotFound

from antiphon.terminal.spans import StyledText
from antiphon.types.terminal_safe import clean

_READER = MarkdownIt("commonmark").enable("strikethrough")
_DEFINITIONS = MarkdownIt("zero").enable("reference")
_MARK_ROLES = {"strong": "strong", "em": "emphasis", "s": "strike"}


class Inline:
    """Parser of running text; `marks` keeps the marks in the text."""

    def __init__(self, *, marks: bool = False) -> None:
        self._marks = marks
        self._known: dict[str, Any] = {}  # markdown-it's environment, with references

    def copy(self) -> Inline:
        """Return a copy with the same references, which learns independently."""
        twin = Inline(marks=self._marks)
        twin._known = {"references": dict(self._known.get("references", {}))}
        return twin

    def strip_definitions(self, text: str) -> str:
        """Record the definitions that begin a paragraph; return the rest."""
        if not text.startswith("["):
            return text
        tokens = _DEFINITIONS.parse(text, self._known)
        return next((token.content for token in tokens if token.type == "inline"), "")

    def spans(self, text: str) -> list[StyledText]:
        """Return the spans of the text, in order."""
        if text.isalnum():
            return [StyledText(text)]
        (token,) = _READER.parseInline(text, self._known)
        return [
            span._replace(text=clean(span.text, "code" if "code" in span.style else "prose"))
            for span in self._spans(token.children or ())
        ]

    def _spans(self, tokens: Iterable[Token]) -> Iterator[StyledText]:
        roles: list[str] = []
        link, shown = "", ""
        for token in tokens:
            match token.type:
                case "text" | "html_inline":
                    shown += token.content
                    yield StyledText(token.content, " ".join(roles), link)
                case "code_inline":
                    shown += token.content
                    mark = token.markup if self._marks else ""
                    code = f"{mark}{token.content}{mark}"
                    yield StyledText(code, " ".join([*roles, "code"]), link)
                case "softbreak":
                    yield StyledText(" ", " ".join(roles), link)
                case "hardbreak":
                    yield StyledText("\n")
                case "image":
                    source = str(token.attrs.get("src", ""))
                    alt = "".join(child.content for child in token.children or ())
                    yield StyledText(f"[image: {alt or source}]", "link", source)
                    yield from _link_target(source, alt)
                case "link_open":
                    link, shown = str(token.attrs.get("href", "")), ""
                    roles.append("link")
                case "link_close":
                    roles.remove("link")
                    yield from _link_target(link, shown)
                    link = ""
                case _:
                    name = token.type.rpartition("_")[0]
                    if self._marks:
                        yield StyledText(token.markup)
                    if token.nesting > 0:
                        roles.append(_MARK_ROLES.get(name, name))
                    elif token.nesting < 0:
                        roles.remove(_MARK_ROLES.get(name, name))


def _link_target(address: str, shown: str) -> Iterator[StyledText]:
    """Yield the host of a link, unless its text shows it."""
    host = _host(address)
    if host and shown not in (address, host, address.removeprefix("mailto:")):
        yield StyledText(f" ({host})", "host")


def _host(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:  # not a valid address
        return address
    # Text before an @ is not the host, even if it looks like one.
    return (parts.netloc.rpartition("@")[2] or parts.path) if parts.scheme != "data" else "data"


# Code is highlighted line by line. Pygments keeps no state between calls, so lines above are read
# again from the last place where no string or comment was open: an empty line, or the end of a
# line. A multi-line string that is still open is coloured as it looks so far.


WINDOW = 16
"""Lines read again at most while no string or comment is open."""
OPEN_WINDOW = 200
"""Lines read again at most."""
LONGEST = 1_000
"""Characters of the longest line that is coloured."""

_TOKEN_ROLES: dict[object, str] = {
    Comment: "token comment",
    Comment.Preproc: "token decorator",
    Keyword: "token keyword",
    Keyword.Type: "token class",
    Name.Attribute: "token function",
    Name.Builtin: "token builtin",
    Name.Class: "token class",
    Name.Decorator: "token decorator",
    Name.Exception: "token class",
    Name.Function: "token function",
    Name.Tag: "token tag",
    Number: "token number",
    String: "token string",
    Patch.Deleted: "token removed",
    Patch.Inserted: "token added",
    Patch.Heading: "strong",
}


class Highlighter:
    """Highlights the lines of one block; an unknown language stays plain."""

    def __init__(self, language: str) -> None:
        self._lexer = _lexer(language[:40].lower())
        self._above: tuple[str, ...] = ()
        self._closed: tuple[bool, ...] = ()  # no string or comment open at that line's end

    def copy(self) -> Highlighter:
        """Return a copy that continues independently."""
        twin = Highlighter("")
        twin.__dict__.update(self.__dict__)
        return twin

    def line(self, text: str) -> list[StyledText]:
        """Return the next line, coloured."""
        if not self._lexer or len(text) > LONGEST:
            return [StyledText(text)]
        source = "".join(f"{line}\n" for line in (*self._above, text))
        try:
            tokens = list(self._lexer.get_tokens_unprocessed(source))
        except Exception:  # noqa: BLE001 - five hundred lexers by as many authors
            self._lexer = None
            return [StyledText(text)]
        start, spans = len(source) - len(text) - 1, list[StyledText]()
        last: Any = Name
        for at, kind, value in tokens:
            if at + len(value) > start:
                last = kind
                if shown := value[max(0, start - at) :].rstrip("\n"):
                    spans.append(StyledText(shown, _role(kind)))
        self._remember(text, closed=last not in String and last not in Comment.Multiline)
        return spans

    def _remember(self, text: str, *, closed: bool) -> None:
        if closed and not text.strip():
            self._above, self._closed = (), ()
            return
        self._above, self._closed = (*self._above, text), (*self._closed, closed)
        if len(self._above) > WINDOW:
            half = range(WINDOW // 2, len(self._above))
            cut = next((at for at in half if self._closed[at - 1]), 0)
            if len(self._above) > OPEN_WINDOW:
                cut = cut or OPEN_WINDOW // 2
            self._above, self._closed = self._above[cut:], self._closed[cut:]


@lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    if not language:
        return None
    try:
        lexer: Lexer = lexers.get_lexer_by_name(language)  # pyright: ignore[reportUnknownMemberType]
    except ClassNotFound:
        return None
    return lexer


@lru_cache(maxsize=512)
def _role(kind: Any) -> str:
    while kind and kind not in _TOKEN_ROLES:
        kind = kind.parent
    return _TOKEN_ROLES.get(kind, "")
