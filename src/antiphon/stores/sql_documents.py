"""Text of files in a SQL database, the same for SQLite and PostgreSQL but for its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from antiphon.ports import RecordPage
from antiphon.stores.rows import LIST_PAGE_BYTES, take_page, to_page
from antiphon.stores.sql_transaction import Transaction, TransactionMethods, reading, writing
from antiphon.types.documents import (
    FAILURES,
    Document,
    DocumentClaim,
    DocumentFailure,
    DocumentPage,
)


async def has_pending_documents(sql: Transaction) -> bool:
    """See `DocumentStore.has_pending_documents`."""
    return await sql.fetch_row("has_pending_documents", at=await sql.now()) is not None


async def claim_document(sql: Transaction, lease_ms: int) -> DocumentClaim | None:
    """See `DocumentStore.claim_document`."""
    now = await sql.now()
    row = await sql.fetch_row("claim_document", at=now, until=now + lease_ms)
    if row is None:
        return None
    upload_id, attempt = row
    await sql.execute("remove_pages", upload_id=upload_id)
    (owner,) = await sql.fetch_row("held_document", upload_id=upload_id, attempt=attempt)
    return DocumentClaim(owner, upload_id, attempt)


async def add_pages(sql: Transaction, claim: DocumentClaim, pages: Sequence[DocumentPage]) -> bool:
    """See `DocumentStore.add_pages`."""
    values = {"upload_id": claim.upload_id, "attempt": claim.attempt}
    row = await sql.fetch_row("held_document", **values)
    if row is None:
        return False
    await sql.add_pages(row[0], claim.upload_id, pages)
    return True


async def settle_document(sql: Transaction, claim: DocumentClaim, document: Document) -> bool:
    """See `DocumentStore.settle_document`."""
    settled = await sql.execute(
        "settle_document",
        upload_id=claim.upload_id,
        attempt=claim.attempt,
        status=document.status,
        pages=document.pages,
        cut=document.cut,
        reason=document.reason,
    )
    return bool(settled)


async def retry_documents(sql: Transaction, reasons: Sequence[DocumentFailure]) -> int:
    """See `DocumentStore.retry_documents`."""
    return await sql.execute("retry_documents", reasons=sql.array(reasons))


async def find_documents(sql: Transaction, file_ids: Sequence[str]) -> Mapping[str, Document]:
    """See `DocumentStore.documents`."""
    rows = await sql.fetch("documents", ids=sql.array(file_ids))
    return {upload_id: to_document(*columns) for upload_id, *columns in rows}


async def list_pages(sql: Transaction, file_id: str, limit: int, after: int = 0) -> RecordPage:
    """See `DocumentStore.pages`."""
    rows = await sql.fetch("pages", upload_id=file_id, after=after, limit=limit + 1)
    page, more = take_page(rows, limit, lambda row: len(row[2]), LIST_PAGE_BYTES)
    return RecordPage([to_page(*row) for row in page], more)


def to_document(
    status: Any, pages: int, cut: int | bool, reason: DocumentFailure | None
) -> Document:
    """Return the state of a row."""
    message = FAILURES[reason] if reason else None
    return Document(status=status, pages=pages, cut=bool(cut), reason=reason, message=message)


class DocumentMethods(TransactionMethods):
    """`DocumentStore` but for searches: each method is a function of this module."""

    has_pending_documents = reading(has_pending_documents)
    claim_document = writing("document", claim_document, slow=True)
    add_pages = writing("document", add_pages, slow=True)
    settle_document = writing("document", settle_document)
    retry_documents = writing("document", retry_documents, slow=True)
    documents = reading(find_documents)
    pages = reading(list_pages)
