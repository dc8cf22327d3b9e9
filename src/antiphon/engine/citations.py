"""Citations of a reply: those that are kept of a provider's list, in their order.

A provider's list is foreign, and so is an archive's: only addresses of the web are kept, titles
become one short line without controls, and the number of citations is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable

from antiphon.engine.sanitize import sanitize_text
from antiphon.types.messages import Citation

MAX_CITATIONS = 100
"""Maximum number of citations of one reply."""
MAX_TITLE = 300
"""Characters of a title; a longer one is cut."""
_MAX_PLACE = 2**31


def clean_citation(citation: Citation) -> Citation | None:
    """Return the citation as it is kept; None if its address must not become a link.

    A citation that was returned before is returned as it is.
    """
    title = " ".join(sanitize_text(citation.title[: 4 * MAX_TITLE]).split())
    title = "".join(letter for letter in title if letter.isprintable())
    start, end = citation.start, citation.end
    if start is None or end is None or not 0 <= start < end < _MAX_PLACE:
        start = end = None
    kept = Citation(
        url=citation.url.strip(),
        title=" ".join(title.split())[:MAX_TITLE].rstrip(),
        start=start,
        end=end,
    )
    return kept if kept.is_web_page else None


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
