"""Inline marks of running text as spans: emphasis, code, links. Hard breaks are line feeds.

A link shows its host behind its text, since texts can lie. Definitions of references are kept for
the whole answer; one that follows its use leaves the text as it was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from antiphon.terminal.spans import StyledText
from antiphon.types.terminal_safe import clean

_READER = MarkdownIt("commonmark").enable("strikethrough")
_DEFINITIONS = MarkdownIt("zero").enable("reference")
_ROLES = {"strong": "strong", "em": "emphasis", "s": "strike"}


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
                    yield StyledText(self._code(token), " ".join([*roles, "code"]), link)
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
                        roles.append(_ROLES.get(name, name))
                    elif token.nesting < 0:
                        roles.remove(_ROLES.get(name, name))

    def _code(self, token: Token) -> str:
        return f"{token.markup}{token.content}{token.markup}" if self._marks else token.content


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
