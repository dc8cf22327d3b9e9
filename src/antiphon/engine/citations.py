"""Sources that a provider names for a reply: which are kept, and in which order.

A provider's list is foreign: only addresses of the web are kept, titles become one short line
without controls, and their number is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from antiphon.engine.sanitize import sanitize_text
from antiphon.types.messages import Citation

MAX_CITATIONS = 100
"""Of one reply."""
MAX_URL = 2_000
"""Characters of an address."""
MAX_TITLE = 300
"""Characters of a title; a longer one is cut."""
_MAX_PLACE = 2**31
_ENDS_ADDRESS = frozenset("<>\"'`\\^{}| ")


def clean_citation(citation: Citation) -> Citation | None:
    """Return the citation as it is kept; None if its address is none of a web page.

    An address with a user's name is none: it looks like that of another host.
    """
    url = citation.url.strip()
    if not (0 < len(url) <= MAX_URL and url.isprintable() and _ENDS_ADDRESS.isdisjoint(url)):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not host or "@" in parts.netloc:
        return None
    words = " ".join(sanitize_text(citation.title[: 4 * MAX_TITLE]).split())
    title = "".join(letter for letter in words if letter.isprintable())[:MAX_TITLE].rstrip()
    start, end = citation.start, citation.end
    if start is None or end is None or not 0 <= start < end < _MAX_PLACE:
        start = end = None
    return Citation(url=url, title=title, start=start, end=end)


class CitationCollector:
    """The citations of one reply, in the order in which their addresses first came."""

    def __init__(self) -> None:
        self._pages: dict[str, dict[tuple[int | None, int | None], Citation]] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._pages)

    def add(self, citations: Iterable[Citation]) -> tuple[Citation, ...]:
        """Add what a provider names; return the citations that are new, or have a title now."""
        news: list[Citation] = []
        for given in citations:
            citation = clean_citation(given)
            if citation is not None and self._take(citation):
                news.append(citation)
        return tuple(news)

    @property
    def all(self) -> tuple[Citation, ...]:
        """All citations, those of one address together."""
        return tuple(one for page in self._pages.values() for one in page.values())

    def _take(self, citation: Citation) -> bool:
        """Take the citation; return False for one that says nothing new or is too many."""
        place = citation.start, citation.end
        page: dict[tuple[int | None, int | None], Citation] = self._pages.get(citation.url, {})
        known = page.get(place)
        if known is not None:
            if known.title or not citation.title:
                return False
        elif self._count >= MAX_CITATIONS or (page and place == (None, None)):
            return False
        elif page.pop((None, None), None) is None:
            self._count += 1
        self._pages.setdefault(citation.url, page)[place] = citation
        return True
