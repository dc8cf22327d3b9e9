"""Text of files in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from antiphon.engine.text_search import Phrase, examine, matches
from antiphon.ports import FoundPage, RecordPage
from antiphon.stores.invariants import Clock
from antiphon.stores.memory.records import MemoryRecords
from antiphon.stores.rows import take_page
from antiphon.types.documents import (
    FAILURES,
    Document,
    DocumentClaim,
    DocumentFailure,
    DocumentPage,
)
from antiphon.types.messages import Upload


@dataclass
class _StoredDocument:
    document: Document = field(default_factory=lambda: Document(status="pending"))
    due_at: int = 0
    attempts: int = 0
    pages: list[DocumentPage] = field(default_factory=list[DocumentPage])


class MemoryDocuments(MemoryRecords):
    """`DocumentStore`; what is known of files that are gone is dropped when it is next used."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._known_documents: dict[str, _StoredDocument] = {}

    async def has_pending_documents(self) -> bool:
        """See `DocumentStore.has_pending_documents`."""
        return self._next_pending() is not None

    async def claim_document(self, lease_ms: int) -> DocumentClaim | None:
        """See `DocumentStore.claim_document`."""
        upload_id = self._next_pending()
        if upload_id is None:
            return None
        stored = self._documents_by_file()[upload_id]
        stored.due_at = self._clock() + lease_ms
        stored.attempts += 1
        stored.pages.clear()
        return DocumentClaim(self._records[Upload][upload_id].owner, upload_id, stored.attempts)

    async def add_pages(self, claim: DocumentClaim, pages: Sequence[DocumentPage]) -> bool:
        """See `DocumentStore.add_pages`."""
        if (stored := self._find_claimed(claim)) is None:
            return False
        stored.pages.extend(pages)
        return True

    async def settle_document(self, claim: DocumentClaim, document: Document) -> bool:
        """See `DocumentStore.settle_document`."""
        if (stored := self._find_claimed(claim)) is None:
            return False
        message = FAILURES[document.reason] if document.reason else None
        stored.document = replace(document, message=message)
        return True

    async def retry_documents(self, reasons: Sequence[DocumentFailure]) -> int:
        """See `DocumentStore.retry_documents`."""
        failed = [
            each for each in self._documents_by_file().values() if each.document.reason in reasons
        ]
        for each in failed:
            each.document, each.due_at, each.attempts = Document(status="pending"), 0, 0
        return len(failed)

    async def documents(self, file_ids: Sequence[str]) -> Mapping[str, Document]:
        """See `DocumentStore.documents`."""
        known = self._documents_by_file()
        return {each: known[each].document for each in file_ids if each in known}

    async def pages(self, file_id: str, limit: int, after: int = 0) -> RecordPage:
        """See `DocumentStore.pages`."""
        stored = self._documents_by_file().get(file_id)
        later = [page for page in stored.pages if page.number > after] if stored else []
        return RecordPage(*take_page(later, limit, lambda page: len(page.text)))

    async def search_pages(
        self,
        owner: str,
        phrases: Sequence[Phrase],
        *,
        limit: int,
        file_ids: Sequence[str] | None = None,
        any_phrase: bool = False,
    ) -> Sequence[FoundPage]:
        """See `DocumentStore.search_pages`."""
        wanted = None if file_ids is None else frozenset(file_ids)
        found = [
            FoundPage(upload_id, page)
            for upload_id, stored in self._documents_by_file().items()
            if self._records[Upload][upload_id].owner == owner
            if wanted is None or upload_id in wanted
            for page in stored.pages
            if matches(page.text, phrases, any_phrase=any_phrase)
        ]
        found.sort(key=lambda each: -examine(each.page.text, phrases).rank)
        return found[:limit]

    def _documents_by_file(self) -> dict[str, _StoredDocument]:
        """Return the documents of all files, oldest first."""
        known = self._known_documents
        self._known_documents = {
            upload_id: known.get(upload_id) or _StoredDocument()
            for upload_id in self._records[Upload]
        }
        return self._known_documents

    def _next_pending(self) -> str | None:
        now = self._clock()
        waiting = (
            (stored.due_at, upload_id)
            for upload_id, stored in self._documents_by_file().items()
            if stored.document.status == "pending" and stored.due_at <= now
        )
        return min(waiting, key=lambda each: each[0], default=(0, None))[1]

    def _find_claimed(self, claim: DocumentClaim) -> _StoredDocument | None:
        stored = self._documents_by_file().get(claim.upload_id)
        if stored is None or stored.document.status != "pending":
            return None
        return stored if stored.attempts == claim.attempt else None
