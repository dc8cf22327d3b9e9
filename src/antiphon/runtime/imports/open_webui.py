"""Chats of an export of Open WebUI: a history of messages by id, each with its parent."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from antiphon.runtime.imports.conversations import (
    ImportedConversation,
    Json,
    SourceFile,
    SourceMessage,
    read_list,
    read_object,
    read_text,
    read_time,
)


def is_open_webui(item: Json) -> bool:
    """Return whether this item of a list is a chat of Open WebUI."""
    return isinstance(read_object(item.get("chat")).get("history"), dict)


def read_open_webui(item: Json) -> ImportedConversation:
    """Return the conversation of an item."""
    chat = read_object(item.get("chat"))
    history = read_object(chat.get("history"))
    created = read_time(item.get("created_at")) or read_time(chat.get("timestamp"))
    given = read_object(history.get("messages"))
    return ImportedConversation(
        id=read_text(item.get("id")) or read_text(chat.get("id")),
        title=read_text(item.get("title")) or read_text(chat.get("title")),
        created_at=created,
        updated_at=read_time(item.get("updated_at")) or created,
        messages={key: _read_message(key, read_object(each)) for key, each in given.items()},
        current=read_text(history.get("currentId")) or None,
        archived=item.get("archived") is True,
        pinned=item.get("pinned") is True,
    )


def _read_message(key: str, given: Json) -> SourceMessage:
    role = given.get("role")
    text = read_text(given.get("content"))
    files = tuple(_read_files(given))
    return SourceMessage(
        id=key,
        parent=read_text(given.get("parentId")) or None,
        role="assistant" if role == "assistant" else "user",
        text=text,
        at=read_time(given.get("timestamp")),
        model=read_text(given.get("model")),
        files=files,
        hidden=role not in ("user", "assistant") or not (text or files),
    )


def _read_files(given: Json) -> Iterator[SourceFile]:
    for file in map(read_object, read_list(given.get("files"))):
        name = read_text(file.get("name"))
        url = read_text(file.get("url"))
        if url.startswith("data:"):
            yield SourceFile(name or "picture", _decode_data_url(url))
        elif name:
            text = read_text(read_object(read_object(file.get("file")).get("data")).get("content"))
            yield SourceFile(name, text.encode() if text else None)


def _decode_data_url(url: str) -> bytes | None:
    head, _, data = url.partition(",")
    if not head.endswith(";base64"):
        return None
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
