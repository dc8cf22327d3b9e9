"""DocumentStore: the text of files, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from antiphon.engine.text_search import Phrase
from antiphon.ports.records import RecordPage, RecordStore
from antiphon.types.documents import Document, DocumentClaim, DocumentFailure, DocumentPage


class FoundPage(NamedTuple):
    """A page of a file that a search found."""

    file_id: str
    page: DocumentPage


class DocumentStore(RecordStore, Protocol):
    """Stores the text of files, page by page, and the state of its reading.

    A file is pending from the moment when it is added, by an upload, an import or a move. Its pages
    are deleted with it.
    """

    async def has_pending_documents(self) -> bool:
        """Return whether `claim_document` would find a file: one cheap read."""
        ...

    async def claim_document(self, lease_ms: int) -> DocumentClaim | None:
        """Claim the pending file that has waited longest and that no process reads.

        Pages of an earlier attempt are deleted.
        """
        ...

    async def add_pages(self, claim: DocumentClaim, pages: Sequence[DocumentPage]) -> bool:
        """Add pages with their words; return False if the claim is lost or the file is gone."""
        ...

    async def settle_document(self, claim: DocumentClaim, document: Document) -> bool:
        """Store the state of the file; return False as `add_pages` does."""
        ...

    async def retry_documents(self, reasons: Sequence[DocumentFailure]) -> int:
        """Make files that failed for these reasons pending again; return how many."""
        ...

    async def documents(self, file_ids: Sequence[str]) -> Mapping[str, Document]:
        """Return the state of these files by id, without files that do not exist."""
        ...

    async def pages(self, file_id: str, limit: int, after: int = 0) -> RecordPage:
        """Return the pages of a file with numbers above `after`, in their order."""
        ...

    async def search_pages(
        self,
        owner: str,
        phrases: Sequence[Phrase],
        *,
        limit: int,
        file_ids: Sequence[str] | None = None,
        any_phrase: bool = False,
    ) -> Sequence[FoundPage]:
        """Return the pages that match best: those with all phrases, or with any of them.

        With `file_ids` only pages of these files. Raises `Overloaded` if it takes too long. Nothing
        is found without a phrase, or with an empty `file_ids`.
        """
        ...
