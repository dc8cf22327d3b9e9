"""Operations on the text of files: its pages, their pictures, and searches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from antiphon.api import operations
from antiphon.api.operations import FileSearchResults, Listed, Operation, PageHit
from antiphon.documents.process import DocumentReader, FileContent
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.engine.text_search import Phrase, RankedSnippet, examine, matches, parse_query
from antiphon.ports import FoundPage, Store
from antiphon.runtime.responses import OperationHandler
from antiphon.runtime.services.owner_slots import OwnerSlots
from antiphon.runtime.stored_files import add_documents, find_files, find_scope, read_pieces
from antiphon.settings.settings import Settings
from antiphon.types.accounts import Principal
from antiphon.types.documents import FAILURES, DocumentFailure, DocumentPage, PagePicture
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Upload

CANDIDATES = 50
"""Pages that are ranked together."""
SHORT_WORD = 4
"""Words with fewer letters do not count where only some words are found."""
DRAWN_AT_ONCE = 2
"""Pages that a process draws at the same time; each takes a process of its own."""
MAX_WAITING = 16
"""Pages that are drawn or wait for that; further ones are refused."""
MAX_WAITING_PER_OWNER = 4
"""Of these, the most of one owner."""
NO_PICTURE: Mapping[DocumentFailure, str] = {
    "unsupported": "Pages of a PDF have pictures; files of other kinds have none.",
    "no_extra": "Pages are drawn where the server has the extra `documents`.",
}
"""Hints for the reasons whose words in `FAILURES` are about texts."""


class DocumentService:
    """Reads and searches the text of files, and draws pages of PDFs."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._reader = DocumentReader(settings.document_timeout) if settings.documents else None
        self._drawing = asyncio.Semaphore(DRAWN_AT_ONCE)
        self._waiting = OwnerSlots(
            "pages are being drawn", at_once=MAX_WAITING, per_owner=MAX_WAITING_PER_OWNER
        )
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.ListPages: self._list_pages,
            operations.GetPagePicture: self._draw_page,
            operations.SearchFiles: self._search,
        }

    async def _list_pages(
        self, operation: operations.ListPages, by: Principal, _: IdempotencyKey | None
    ) -> Listed[DocumentPage]:
        await self._store.get(Upload, by.owner, operation.file_id)
        if operation.page is not None:
            found = await self._store.pages(operation.file_id, 1, operation.page - 1)
            return Listed(
                [page for page in found.data if page.number == operation.page], has_more=False
            )
        after = _parse_place(operation.after)
        found = await self._store.pages(operation.file_id, operation.limit, after)
        following = str(found.data[-1].number) if found.has_more else None
        return Listed(found.data, has_more=found.has_more, next=following)

    async def _draw_page(
        self, operation: operations.GetPagePicture, by: Principal, _: IdempotencyKey | None
    ) -> PagePicture:
        upload = await self._store.get(Upload, by.owner, operation.file_id)
        if self._reader is None:
            raise NotFound("Pages are not drawn here.", hint="The setting `documents` is off.")
        pieces = read_pieces(self._store, by.owner, upload)
        file = FileContent(upload.name, upload.media_type, pieces)
        with self._waiting.hold(by.owner):
            async with self._drawing:
                drawn = await self._reader.draw(file, operation.page)
        if drawn is None:
            raise NotFound(f"The file has no page {operation.page}.")
        if not isinstance(drawn, PagePicture):
            raise InvalidRequest(
                "This page cannot be drawn.",
                expected="a PDF that can be opened",
                received=upload.media_type[:100],
                hint=NO_PICTURE.get(drawn) or FAILURES[drawn],
            )
        return drawn

    async def _search(
        self, operation: operations.SearchFiles, by: Principal, _: IdempotencyKey | None
    ) -> FileSearchResults:
        scope = await self._find_scope(operation, by.owner)
        phrases = parse_query(operation.q)
        ids = None if scope is None else [each.id for each in scope]
        found = await self._find_pages(by.owner, phrases, ids)
        named = await find_files(
            self._store, by.owner, dict.fromkeys(each.file_id for each in found)
        )
        names = {each.id: each.name for each in named}
        ranked = [
            (each, examine(each.page.text, phrases)) for each in found if each.file_id in names
        ]
        ranked.sort(
            key=lambda each: (matches(each[0].page.text, phrases), each[1].rank), reverse=True
        )
        return FileSearchResults(
            data=[_describe(*each, names[each[0].file_id]) for each in ranked[: operation.limit]],
            searched=None if scope is None else len(scope),
            pending=sum(
                each.document is not None and each.document.status == "pending"
                for each in scope or ()
            ),
        )

    async def _find_scope(
        self, operation: operations.SearchFiles, owner: str
    ) -> Sequence[Upload] | None:
        """Return the files to search, None for all. Raises `NotFound`."""
        if (
            not operation.file_ids
            and operation.thread_id is None
            and operation.assistant_id is None
        ):
            return None
        named = [await self._store.get(Upload, owner, file_id) for file_id in operation.file_ids]
        ids = await find_scope(self._store, owner, operation.thread_id, operation.assistant_id)
        others = set(ids) - {each.id for each in named}
        more = await find_files(self._store, owner, [each for each in ids if each in others])
        return await add_documents(self._store, [*named, *more])

    async def _find_pages(
        self, owner: str, phrases: Sequence[Phrase], file_ids: Sequence[str] | None
    ) -> Sequence[FoundPage]:
        """Return pages with all phrases, and if these are few, also pages with some."""
        search = self._store.search_pages
        found = await search(owner, phrases, limit=CANDIDATES, file_ids=file_ids)
        if len(found) >= CANDIDATES or len(phrases) < 2:
            return found
        long = [each for each in phrases if max(map(len, each.words)) >= SHORT_WORD]
        more = await search(
            owner, long or phrases, limit=CANDIDATES, file_ids=file_ids, any_phrase=True
        )
        known = {(each.file_id, each.page.number) for each in found}
        return [*found, *(each for each in more if (each.file_id, each.page.number) not in known)]


def _describe(found: FoundPage, ranked: RankedSnippet, name: str) -> PageHit:
    return PageHit(
        file_id=found.file_id,
        file=name,
        page=found.page.number,
        title=found.page.title,
        snippet=ranked.snippet.text,
        highlights=ranked.snippet.highlights,
        score=ranked.rank,
    )


def _parse_place(after: str | None) -> int:
    if after is None:
        return 0
    if after.isascii() and after.isdecimal() and len(after) < 10:
        return int(after)
    raise NotFound(
        "This is no place in the pages of a file.",
        expected="`next` of the page before",
        received=ascii(after[:64]),
        where="after",
    )
