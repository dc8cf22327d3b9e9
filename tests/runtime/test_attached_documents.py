"""Attached documents in the requests to a model."""

from __future__ import annotations

import json
from collections.abc import Sequence

from antiphon.runtime.attachments import MAX_INLINE_TEXT, inline_attachments
from antiphon.stores.memory.store import MemoryStore
from antiphon.types.documents import Document, DocumentPage
from antiphon.types.messages import Upload

OWNER = "ann"


async def inline(
    pages: Sequence[DocumentPage] | None, media_type: str = "application/pdf", owner: str = OWNER
) -> dict[str, object]:
    """Return the part of a message with a file, whose text is read if there are pages."""
    store = MemoryStore()
    upload = Upload(id="file_1", name="a.pdf", media_type=media_type, size=5, created_at=1)
    await store.put(owner, upload, None, b"bytes")
    if pages is not None:
        claim = await store.claim_document(1000)
        assert claim is not None
        await store.add_pages(claim, pages)
        await store.settle_document(claim, Document(status="ready", pages=len(pages)))
    part = {"type": "file", "file": {"file_id": "antiphon:file_1"}}
    chat = json.dumps({"role": "user", "content": [part]}, separators=(",", ":")).encode()
    message = json.loads(await inline_attachments(chat, store, OWNER))
    inlined_part: dict[str, object] = message["content"][0]
    return inlined_part


async def test_a_small_document_goes_to_the_model_as_its_text() -> None:
    pages = [DocumentPage(number=1, text="Hello"), DocumentPage(number=2, text="World")]
    assert await inline(pages) == {
        "type": "text",
        "text": "File a.pdf:\n\n[DocumentPage 1]\nHello\n\n[DocumentPage 2]\nWorld",
    }
    assert await inline(pages[:1]) == {"type": "text", "text": "File a.pdf:\n\nHello"}


async def test_of_a_large_document_the_model_gets_the_beginning_and_a_hint() -> None:
    pages = [DocumentPage(number=number, text="word " * 2000) for number in range(1, 201)]
    text = (await inline(pages))["text"]
    assert isinstance(text, str)
    assert text.startswith("File a.pdf has 200 pages, of which this is the beginning.")
    assert "search_documents" in text
    assert len(text) < MAX_INLINE_TEXT


async def test_a_document_whose_text_is_not_read_and_a_picture_go_as_they_are() -> None:
    assert (await inline(None))["type"] == "file"
    assert (await inline([DocumentPage(number=1, text="x")], "image/png"))["type"] == "image_url"


async def test_the_text_of_anothers_document_is_not_shown() -> None:
    assert (await inline([DocumentPage(number=1, text="secret")], owner="ben"))["text"] == (
        "[A file was attached here; it is gone.]"
    )
