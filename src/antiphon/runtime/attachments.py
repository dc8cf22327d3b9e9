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
from typing import Any

import msgspec

from antiphon.api.operations import Content
from antiphon.engine import validation
from antiphon.ports import RunStore
from antiphon.types.errors import NotFound
from antiphon.types.messages import UPLOAD_PREFIX, Upload

_MARK = f':"{UPLOAD_PREFIX}'.encode()
"""Beginning of a value. Our keys begin alike, but have no colon before them; text is escaped."""
_GONE = {"type": "text", "text": "[A file was attached here; it is gone.]"}
_SHOWN_AS_TEXT = ("text/", "application/json", "application/xml")


async def check_attachments(store: RunStore, content: Content, owner: str) -> None:
    """Check that each attached file belongs to the owner. Raises `NotFound`."""
    for file_id in validation.attachment_ids(content):
        await store.get(Upload, owner, file_id)


async def inline_attachments(chat: bytes, store: RunStore, owner: str) -> bytes:
    """Return the conversation (chat-completions objects joined by commas) with uploads inlined.

    Uploads of other owners count as deleted. Decoding and encoding run in a thread, because
    pictures are large.
    """
    if _MARK not in chat:
        return chat
    messages = await asyncio.to_thread(_decode, chat)
    found: dict[str, tuple[Upload, bytes]] = {}
    for file_id in {named for part in _parts(messages) if (named := _upload_id(part))}:
        with suppress(NotFound):
            upload = await store.get(Upload, owner, file_id)
            found[file_id] = upload, await store.content(owner, file_id)
    return await asyncio.to_thread(_inline, messages, found)


def _decode(chat: bytes) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = msgspec.json.decode(b"[" + chat + b"]")
    return messages


def _parts(messages: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if isinstance(message.get("content"), list):
            yield from message["content"]


def _inline(messages: Sequence[dict[str, Any]], found: Mapping[str, tuple[Upload, bytes]]) -> bytes:
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


def _image(upload: Upload, content: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": _data(upload, content)}}


def _file(upload: Upload, content: bytes) -> dict[str, Any]:
    """Return a picture as an image, text as text, which every model reads, the rest as a file."""
    if upload.media_type.startswith("image/"):
        return _image(upload, content)
    if upload.media_type.startswith(_SHOWN_AS_TEXT):
        text = f"File {upload.name}:\n\n{content.decode('utf-8', 'replace')}"
        return {"type": "text", "text": text}
    return {"type": "file", "file": {"filename": upload.name, "file_data": _data(upload, content)}}


def _data(upload: Upload, content: bytes) -> str:
    return f"data:{upload.media_type};base64,{base64.b64encode(content).decode()}"
