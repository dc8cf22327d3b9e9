"""Conversion of a web page to the visible text, in light Markdown.

Pages are untrusted, so the parser is linear. Python's own is not: in 3.11, forty kilobytes of `<a `
take it nine seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import urljoin

import msgspec


def html_to_text(html: str, address: str) -> tuple[str, str]:
    """Return title and text of a page; links are made absolute by its address."""
    page = _Page(address)
    for piece in _tokenize(html):
        match piece:
            case str():
                page.say(piece)
            case _Tag(name="title", inside=str(title)):
                page.title = page.title or " ".join(_text(title).split())
            case _Tag(closes=True):
                page.end(piece.name)
            case _Tag():
                page.begin(piece)
    return page.title, page.text()


class _Tag(msgspec.Struct, frozen=True):
    """Tag; `inside` is its raw content if that is not markup."""

    name: str
    closes: bool
    attributes: str
    inside: str | None = None

    def attribute(self, name: str) -> str:
        for found in _ATTRIBUTE.finditer(self.attributes):
            if found["name"].lower() == name:
                return _text(found["double"] or found["single"] or found["bare"] or "")
        return ""


_TAG = re.compile(
    r"<(?P<closes>/?)(?P<name>[A-Za-z][^\s/>]*+)"
    r"(?P<attributes>(?:[^>\"'=]++|=\s*+(?:\"[^\"]*+\"|'[^']*+')?|[\"'])*+)>"
)
_ATTRIBUTE = re.compile(
    r"(?P<name>[^\s=/>\"']++)"
    r"(?:\s*+=\s*+(?:\"(?P<double>[^\"]*+)\"|'(?P<single>[^']*+)'|(?P<bare>[^\s>\"']++)))?"
)
_NO_MARKUP = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "textarea", "title", "iframe", "noembed", "noframes", "xmp")
}
_LETTER = re.compile(r"</?[A-Za-z]")


def _tokenize(html: str) -> Iterator[str | _Tag]:
    """Yield text and tags in order, without comments, declarations and unterminated markup."""
    at = 0
    while (begin := html.find("<", at)) >= 0:
        if begin > at:
            yield _text(html[at:begin])
        if html.startswith("<!--", begin):
            at = _after(html, "-->", begin + 4)
        elif html.startswith(("<!", "<?"), begin):
            at = _after(html, ">", begin)
        elif not _LETTER.match(html, begin):
            yield "<"
            at = begin + 1
        elif found := _TAG.match(html, begin):
            tag = _Tag(found["name"].lower(), bool(found["closes"]), found["attributes"])
            at = found.end()
            if tag.name in _NO_MARKUP and not tag.closes:
                end = _NO_MARKUP[tag.name].search(html, at)
                start, at = at, end.start() if end else len(html)
                tag = msgspec.structs.replace(tag, inside=html[start:at])
            yield tag
        else:
            return
    yield _text(html[at:])


def _after(html: str, end: str, start: int) -> int:
    found = html.find(end, start)
    return len(html) if found < 0 else found + len(end)


_HUGE = re.compile(r"&#(?:[0-9]{8,}+|[xX][0-9a-fA-F]{7,}+);?")  # no character, and slow to read


def _text(markup: str) -> str:
    return unescape(_HUGE.sub("\ufffd", markup)) if "&" in markup else markup


_UNSEEN = frozenset({"template", "svg", "canvas", "object", *_NO_MARKUP} - {"title"})
_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "dd", "details", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "main", "nav"),
        *("ol", "p", "pre", "section", "summary", "table", "tbody", "thead", "ul"),
    }
)
_MARKS = {
    **dict.fromkeys(_BLOCKS, "\n\n"),
    **{f"h{level}": "\n\n" + "#" * level + " " for level in range(1, 7)},
    "br": "\n",
    "tr": "\n",
    "li": "\n- ",
}
"""Markdown at the beginning of an element."""


class _Page:
    """Collects text from tags; unclosed elements end with the page."""

    def __init__(self, address: str) -> None:
        self.title = ""
        self._address = address
        self._said: list[str] = []
        self._unseen: str | None = None
        self._preformatted = False
        self._fresh = True
        self._link: tuple[int, str] | None = None

    def text(self) -> str:
        self._end_link()
        return "\n".join(_collapse_empty_lines("".join(self._said).splitlines())).strip("\n")

    def say(self, text: str) -> None:
        if self._unseen:
            return
        if self._preformatted:
            shown = text
        else:  # whitespace is collapsed, and dropped at the beginning of a line
            shown = _RUN.sub(" ", text.lstrip() if self._fresh else text)
        if shown:
            self._said.append(shown)
            self._fresh = False

    def begin(self, tag: _Tag) -> None:
        if self._unseen or tag.name in _UNSEEN:
            self._unseen = self._unseen or tag.name
            return
        self._mark(_MARKS.get(tag.name, ""))
        self._preformatted = self._preformatted or tag.name == "pre"
        match tag.name:
            case "a":
                self._end_link()
                if whole := _absolute(self._address, tag.attribute("href")):
                    self._link = len(self._said), whole
            case "img":
                self.say(tag.attribute("alt"))
            case "td" | "th" if not self._fresh:
                self._mark(" | ")
            case _:
                pass

    def end(self, name: str) -> None:
        if self._unseen:
            self._unseen = None if name == self._unseen else self._unseen
        elif name == "a":
            self._end_link()
        elif _MARKS.get(name, "").startswith("\n\n"):
            self._mark("\n\n")
            self._preformatted = self._preformatted and name != "pre"

    def _mark(self, mark: str) -> None:
        if mark:
            self._said.append(mark)
            self._fresh = True

    def _end_link(self) -> None:
        if self._link is None:
            return
        start, target = self._link
        self._link = None
        words = " ".join("".join(self._said[start:]).split())
        del self._said[start:]
        self._said.append(f"[{words}]({target})" if words else "")


_RUN = re.compile(r"\s+")


def _collapse_empty_lines(lines: list[str]) -> Iterator[str]:
    """Yield the lines without trailing spaces and with at most one empty line in a row."""
    empty = True
    for line in lines:
        shown = line.rstrip()
        if shown or not empty:
            yield shown
        empty = not shown


def _absolute(address: str, target: str) -> str | None:
    """Return the absolute link; None if a reader could not follow it."""
    if not target or target.startswith("#"):
        return None
    try:
        whole = urljoin(address, target.strip())
    except ValueError:
        return None
    return whole if whole.startswith(("https://", "http://")) else None
