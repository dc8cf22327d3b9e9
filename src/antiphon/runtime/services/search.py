"""Search: the best of the newest matches, with snippets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from antiphon.api import operations
from antiphon.api.operations import Operation, SearchHit, SearchResults
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.engine.text_search import MessageMatch, Phrase, TextMatches, examine, parse_query
from antiphon.ports import RunStore
from antiphon.runtime.responses import OperationHandler
from antiphon.types.accounts import Principal
from antiphon.types.errors import NotFound
from antiphon.types.runs import Thread

WINDOW = 100
"""Messages that are ranked together: the newest that match, then those before them, and so on."""

_SCALE = 1_000_000  # ranks are whole numbers in a cursor
_LARGEST = 2**63 - 1


class _Cursor(NamedTuple):
    """A place in the results: in the window of messages below `top`, behind this rank and place."""

    top: int
    rank: int = _LARGEST
    place: int = _LARGEST

    def encode(self) -> str:
        return ".".join(map(str, self))


class SearchService:
    """Finds messages and titles."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.Search: self._search
        }

    async def _search(
        self, operation: operations.Search, by: Principal, _: IdempotencyKey | None
    ) -> SearchResults:
        phrases = parse_query(operation.q)
        cursor = _parse_cursor(operation.after) if operation.after is not None else None
        found = await self._store.search(
            by.owner, phrases, limit=WINDOW, before=cursor.top if cursor else None
        )
        titles = [
            _describe_title(thread, phrases) for thread in found.threads if not thread.temporary
        ]
        titles = sorted(titles, key=lambda hit: -hit.score)[: operation.limit]
        messages, following = _select_page(found, cursor, operation.limit - len(titles))
        return SearchResults(
            [*titles, *map(_describe_message, messages)],
            has_more=following is not None,
            next=following.encode() if following else None,
            indexing=found.indexing,
        )


def _select_page(
    found: TextMatches, cursor: _Cursor | None, limit: int
) -> tuple[Sequence[MessageMatch], _Cursor | None]:
    """Return the best messages behind the cursor, and the cursor of the next page if any."""
    kept = (match for match in found.messages if not match.thread.temporary)
    ranked = sorted(_leave_out_copies(kept), key=_order, reverse=True)
    if cursor is not None:
        ranked = [match for match in ranked if _order(match) < (cursor.rank, cursor.place)]
    page = ranked[:limit]
    if len(page) < len(ranked):
        top = found.messages[0].place + 1
        return page, _Cursor(top, *_order(page[-1])) if page else _Cursor(top)
    return page, _Cursor(found.messages[-1].place) if found.more else None


def _order(match: MessageMatch) -> tuple[int, int]:
    return round(match.finding.rank * _SCALE), match.place


def _leave_out_copies(matches: Iterable[MessageMatch]) -> Iterator[MessageMatch]:
    """Yield of a message and its copies in forks the newest."""
    originals: set[str] = set()
    for match in matches:
        message = match.message
        copied = message.parent_id in originals
        if message.parent_id is not None:
            originals.add(message.parent_id)
        if not copied and message.id not in originals:
            yield match


def _describe_title(thread: Thread, phrases: Sequence[Phrase]) -> SearchHit:
    found = examine(thread.title, phrases)
    return SearchHit(
        thread_id=thread.id,
        title=thread.title,
        archived=thread.archived,
        snippet=found.snippet.text,
        highlights=found.snippet.highlights,
        score=found.rank,
        created_at=thread.created_at,
    )


def _describe_message(match: MessageMatch) -> SearchHit:
    message, found = match.message, match.finding
    return SearchHit(
        thread_id=message.thread_id,
        title=match.thread.title,
        archived=match.thread.archived,
        message_id=message.id,
        number=message.number,
        role=message.role,
        snippet=found.snippet.text,
        highlights=found.snippet.highlights,
        score=found.rank,
        created_at=message.created_at,
    )


def _parse_cursor(text: str) -> _Cursor:
    pieces = text.split(".")
    if len(pieces) != len(_Cursor._fields) or not all(
        piece.isascii() and piece.isdecimal() and len(piece) <= len(str(_LARGEST))
        for piece in pieces
    ):
        raise _wrong_cursor_error(text)
    numbers = [int(piece) for piece in pieces]
    if max(numbers) > _LARGEST:
        raise _wrong_cursor_error(text)
    return _Cursor(*numbers)


def _wrong_cursor_error(text: str) -> NotFound:
    return NotFound(
        "This is no place in the results of a search.",
        expected="`next` of the page before, with the same `q`",
        received=ascii(text[:64]),
        where="after",
    )
