"""Citations in replies, in the forms in which servers send them.

`annotations` are those of OpenAI, OpenRouter and gateways; lists beside the reply are those of
Perplexity and xAI; references in a content list are Mistral's. What has another form is left out.
"""

from __future__ import annotations

from typing import Any

from antiphon.engine.citations import MAX_CITATIONS
from antiphon.types.json_values import is_list, is_object, object_or_empty
from antiphon.types.messages import Citation

_LINK_NAMES = ("url", "link", "uri", "source")
_TITLE_NAMES = ("title", "name")


def read_annotations(value: Any) -> list[Citation]:
    """Return the `url_citation` annotations of a message or of a delta."""
    found: list[Citation] = []
    for given in _take_items(value):
        fields = object_or_empty(given)
        if fields.get("type") != "url_citation":
            continue
        nested = fields.get("url_citation")
        inner = object_or_empty(nested) if is_object(nested) else fields
        start, end = (_index(inner.get(name)) for name in ("start_index", "end_index"))
        found += _read_page(inner, start, end)
    return found


def read_page_lists(citations: Any, search_results: Any) -> list[Citation]:
    """Return the pages of the lists beside a reply, in the order of `citations`.

    Marks such as `[2]` in the text are places in that list; titles are in the other one.
    """
    results = [page for given in _take_items(search_results) for page in _read_page(given)]
    titles = {page.url: page.title for page in results}
    pages = [page for given in _take_items(citations) for page in _read_page(given)]
    named = [Citation(url=page.url, title=page.title or titles.get(page.url, "")) for page in pages]
    return named or results


def read_reference(part: Any) -> list[Citation]:
    """Return the page of a `tool_reference` in a content list."""
    fields = object_or_empty(part)
    return _read_page(fields) if fields.get("type") == "tool_reference" else []


def _take_items(value: Any) -> list[Any]:
    return list(value[:MAX_CITATIONS]) if is_list(value) else []


def _read_page(given: Any, start: int | None = None, end: int | None = None) -> list[Citation]:
    """Return the page that a text or an object names, as a list of one or none."""
    if isinstance(given, str):
        return [Citation(url=given)]
    fields = object_or_empty(given)
    url = next((fields[name] for name in _LINK_NAMES if isinstance(fields.get(name), str)), "")
    title = next((fields[name] for name in _TITLE_NAMES if isinstance(fields.get(name), str)), "")
    return [Citation(url=url, title=title, start=start, end=end)] if url else []


def _index(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
