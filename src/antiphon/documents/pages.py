"""Pages of text: bounds, clean text, and the cut of long texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_PAGES = 5_000
"""Pages of a document that are kept."""
MAX_TEXT = 20_000_000
"""Characters of a document that are kept."""
MAX_PAGE_TEXT = 20_000
"""Characters of a page; a longer one is cut into several."""
PAGE_LENGTH = 5_000
"""Characters, about, of the pages of a text that has none."""
MAX_TITLE = 200
"""Characters of a page's title."""


class TextPage(NamedTuple):
    """Title and text of a page, in the order of the document."""

    title: str
    text: str


def clean_text(text: str) -> str:
    """Return the text without control characters and lone surrogates, with plain line ends."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return _UNWANTED.sub("", lines).strip("\n")


def clean_title(title: str) -> str:
    """Return the title on one line, shortened to `MAX_TITLE` characters."""
    return " ".join(clean_text(title).split())[:MAX_TITLE]


def clean_page(page: TextPage) -> Iterator[TextPage]:
    """Yield the page with clean text, as several if it has more than `MAX_PAGE_TEXT` characters."""
    cleaned = clean_text(page.text)
    if len(cleaned) > MAX_PAGE_TEXT:
        yield from split_text(page.title, cleaned, MAX_PAGE_TEXT)
    else:
        yield TextPage(page.title, cleaned)


def split_text(title: str, text: str, length: int = PAGE_LENGTH) -> Iterator[TextPage]:
    """Yield pages of about `length` characters, cut between paragraphs, lines or words."""
    start = 0
    while len(text) - start > length:
        end = _find_cut(text, start + length // 2, start + length)
        yield TextPage(title, text[start:end])
        start = end
    if text[start:].strip() or start == 0:
        yield TextPage(title, text[start:])


def _find_cut(text: str, first: int, last: int) -> int:
    for mark in ("\n\n", "\n", " "):
        place = text.rfind(mark, first, last)
        if place >= 0:
            return place + len(mark)
    return last


# Control characters but tab and line feed, marks of direction, and halves of characters.
_UNWANTED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
