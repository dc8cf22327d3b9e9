"""What a model is given in place of an attachment's address: the bytes themselves.

A thread's stored form names uploads as `antiphon:FILE_ID` (see `messages.chat`), so that a long
thread is not copied with every picture in it. Only a conversation that holds such an address is
looked into; all others pass as the bytes they are.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from antiphon.errors import NotFound
from antiphon.messages import ADDRESS, Upload
from antiphon.ports import Store

_MARK = f'"{ADDRESS}'.encode()
_SHOWN_AS_TEXT = ("text/", "application/json", "application/xml")


async def attached(chat: bytes, store: Store) -> bytes:
    """The conversation (chat-completions objects joined by commas) with its uploads put in."""
    if _MARK not in chat:
        return chat
    messages: list[dict[str, Any]] = msgspec.json.decode(b"[" + chat + b"]")
    for message in messages:
        if isinstance(message.get("content"), list):
            parts: list[dict[str, Any]] = message["content"]
            message["content"] = [await _shown(part, store) for part in parts]
    return msgspec.json.encode(messages)[1:-1]


async def _shown(part: dict[str, Any], store: Store) -> dict[str, Any]:
    match part:
        case {"type": "image_url", "image_url": {"url": str(address)}}:
            show = _image
        case {"type": "file", "file": {"file_id": str(address)}}:
            show = _file
        case _:
            return part
    if not address.startswith(ADDRESS):
        return part
    file_id = address.removeprefix(ADDRESS)
    try:
        return show(await store.get(Upload, None, file_id), await store.content(None, file_id))
    except NotFound:
        return _text("[A file was attached here; it is gone.]")


def _image(upload: Upload, content: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": _data(upload, content)}}


def _file(upload: Upload, content: bytes) -> dict[str, Any]:
    """A picture as a picture, text as text, which every model can read, and the rest as a file."""
    if upload.media_type.startswith("image/"):
        return _image(upload, content)
    if upload.media_type.startswith(_SHOWN_AS_TEXT):
        return _text(f"File {upload.name}:\n\n{content.decode('utf-8', 'replace')}")
    return {"type": "file", "file": {"filename": upload.name, "file_data": _data(upload, content)}}


def _data(upload: Upload, content: bytes) -> str:
    return f"data:{upload.media_type};base64,{base64.b64encode(content).decode()}"


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
