"""Replaces addresses of attachments in a conversation by the attachments' bytes.

A thread's stored form names uploads as `antiphon:FILE_ID` (see `messages.chat`), so that a long
thread is not copied with every picture in it. Only a conversation that contains such an address is
decoded; all others pass unchanged.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from antiphon.api.operations import Content
from antiphon.engine import validation
from antiphon.ports import DocumentStores, RunStore
from antiphon.types.documents import Document, DocumentPage
from antiphon.types.errors import NotFound
from antiphon.types.messages import UPLOAD_PREFIX, Upload

_MARK = f':"{UPLOAD_PREFIX}'.encode()
"""Beginning of a value. Our keys begin alike, but have no colon before them; text is escaped."""
MAX_INLINE_TEXT = 60_000
"""Characters of a document that go to the model whole; a longer one is searched by tools."""
BEGINNING = 6_000
"""Characters of a longer document that go to the model."""
PAGES_AT_ONCE = 100
_GONE = {"type": "text", "text": "[A file was attached here; it is gone.]"}
_IMAGE = "image/"
_SHOWN_AS_TEXT = ("text/", "application/json", "application/xml")


async def check_attachments(store: RunStore, content: Content, owner: str) -> None:
    """Check that each attached file belongs to the owner. Raises `NotFound`."""
    for file_id in validation.attachment_ids(content):
        await store.get(Upload, owner, file_id)


class _Attachment(NamedTuple):
    """An upload, with its text if that is read, else with its bytes."""

    upload: Upload
    text: str | None
    content: bytes


async def inline_attachments(chat: bytes, store: DocumentStores, owner: str) -> bytes:
    """Return the conversation (chat-completions objects joined by commas) with uploads inlined.

    A document whose text is read is inlined as text, of a long one the beginning.

    Uploads of other owners count as deleted. Decoding and encoding run in a thread, because
    pictures are large.
    """
    if _MARK not in chat:
        return chat
    messages = await asyncio.to_thread(_decode, chat)
    found: dict[str, _Attachment] = {}
    ids = {named for part in _parts(messages) if (named := _upload_id(part))}
    documents = await store.documents(list(ids))
    for file_id in ids:
        with suppress(NotFound):
            upload = await store.get(Upload, owner, file_id)
            document = documents.get(file_id)
            if document and document.status == "ready" and not upload.media_type.startswith(_IMAGE):
                text = await _read_text(store, upload, document)
                found[file_id] = _Attachment(upload, text, b"")
            else:
                found[file_id] = _Attachment(upload, None, await store.content(owner, file_id))
    return await asyncio.to_thread(_inline, messages, found)


async def _read_text(store: DocumentStores, upload: Upload, document: Document) -> str:
    """Return the text of a document as a model reads it, of a long one the beginning."""
    pages: list[DocumentPage] = []
    size = 0
    more = True
    while more and size <= MAX_INLINE_TEXT:
        found = await store.pages(upload.id, PAGES_AT_ONCE, pages[-1].number if pages else 0)
        pages += found.data
        size += sum(len(page.text) for page in found.data)
        more = found.has_more
    if len(pages) == 1:
        text = pages[0].text
    else:
        text = "\n\n".join(f"[DocumentPage {page.number}]\n{page.text}" for page in pages)
    if size <= MAX_INLINE_TEXT:
        return f"File {upload.name}:\n\n{text}"
    return (
        f"File {upload.name} has {document.pages} pages, of which this is the beginning. The tools"
        f" search_documents and read_document, if they are offered, find and read the others.\n\n"
        f"{text[:BEGINNING]}"
    )


def _decode(chat: bytes) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = msgspec.json.decode(b"[" + chat + b"]")
    return messages


def _parts(messages: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if isinstance(message.get("content"), list):
            yield from message["content"]


def _inline(messages: Sequence[dict[str, Any]], found: Mapping[str, _Attachment]) -> bytes:
    for part in _parts(messages):
        if file_id := _upload_id(part):
            inlined = _GONE
            if file_id in found:
                inline = _image if part["type"] == "image_url" else _file
                inlined = inline(*found[file_id])
            part.clear()
            part.update(inlined)
    return msgspec.json.encode(messages)[1:-1]


def _upload_id(part: Mapping[str, Any]) -> str | None:
    """Return the id of the upload that the part refers to."""
    match part:
        case {"type": "image_url", "image_url": {"url": str(address)}}:
            pass
        case {"type": "file", "file": {"file_id": str(address)}}:
            pass
        case _:
            return None
    return address.removeprefix(UPLOAD_PREFIX) if address.startswith(UPLOAD_PREFIX) else None


def _image(upload: Upload, text: str | None, content: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": _data(upload, content)}}


def _file(upload: Upload, text: str | None, content: bytes) -> dict[str, Any]:
    """Return a picture as an image, text as text, which every model reads, the rest as a file."""
    if upload.media_type.startswith(_IMAGE):
        return _image(upload, None, content)
    if text is not None:
        return {"type": "text", "text": text}
    if upload.media_type.startswith(_SHOWN_AS_TEXT):
        shown = f"File {upload.name}:\n\n{content.decode('utf-8', 'replace')}"
        return {"type": "text", "text": shown}
    return {"type": "file", "file": {"filename": upload.name, "file_data": _data(upload, content)}}


def _data(upload: Upload, content: bytes) -> str:
    return f"data:{upload.media_type};base64,{base64.b64encode(content).decode()}"
