"""Conversations of an export of ChatGPT: a tree of nodes, by id, with hidden ones among them."""

from __future__ import annotations

from typing import Any

import msgspec

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

_POINTERS = ("file-service://", "sediment://")
_INTERNAL = frozenset({"user_editable_context", "model_editable_context", "reasoning_recap"})


def is_chatgpt(item: Json) -> bool:
    """Return whether this item of a list is a conversation of ChatGPT."""
    return isinstance(item.get("mapping"), dict)


def read_chatgpt(item: Json) -> ImportedConversation:
    """Return the conversation of an item."""
    nodes = read_object(item.get("mapping"))
    created = read_time(item.get("create_time"))
    return ImportedConversation(
        id=read_text(item.get("conversation_id")) or read_text(item.get("id")),
        title=read_text(item.get("title")),
        created_at=created,
        updated_at=read_time(item.get("update_time")) or created,
        messages={key: _read_node(key, read_object(node)) for key, node in nodes.items()},
        current=read_text(item.get("current_node")) or None,
        archived=item.get("is_archived") is True,
        pinned=item.get("is_starred") is True,
    )


def _read_node(key: str, node: Json) -> SourceMessage:
    message = read_object(node.get("message"))
    author = read_object(message.get("author"))
    content = read_object(message.get("content"))
    metadata = read_object(message.get("metadata"))
    kind = read_text(content.get("content_type"))
    role = read_text(author.get("role"))
    text, files = _read_content(content)
    hidden = (
        role not in ("user", "assistant", "tool")
        or kind in _INTERNAL
        or metadata.get("is_visually_hidden_from_conversation") is True
        or message.get("weight") == 0
    )
    thoughts = ""
    if kind == "thoughts":
        steps = map(read_object, read_list(content.get("thoughts")))
        texts = (read_text(each.get("content") or each.get("summary")) for each in steps)
        thoughts = "\n\n".join(filter(None, texts))
    recipient = read_text(message.get("recipient")) or "all"
    call = None
    if role == "assistant" and recipient != "all" and not thoughts:
        call = recipient, _to_arguments(text)
    for attachment in map(read_object, read_list(metadata.get("attachments"))):
        file_id, name = read_text(attachment.get("id")), read_text(attachment.get("name"))
        if file_id and all(each.key != file_id for each in files):
            files.append(SourceFile(name or "file", key=file_id))
    return SourceMessage(
        id=key,
        parent=read_text(node.get("parent")) or None,
        role="tool" if role == "tool" else "assistant" if role == "assistant" else "user",
        text="" if thoughts or call else text,
        at=read_time(message.get("create_time")),
        model=read_text(metadata.get("model_slug")),
        reasoning=thoughts,
        files=tuple(files),
        call=call,
        hidden=hidden or not (text or thoughts or files or call),
    )


def _read_content(content: Json) -> tuple[str, list[SourceFile]]:
    texts = [read_text(content.get(name)) for name in ("text", "result")]
    files: list[SourceFile] = []
    for part in read_list(content.get("parts")):
        if isinstance(part, str):
            texts.append(read_text(part))
            continue
        fields = read_object(part)
        texts.append(read_text(fields.get("text")))
        pointer = read_text(fields.get("asset_pointer"))
        files += (
            SourceFile("picture", key=pointer.removeprefix(prefix))
            for prefix in _POINTERS
            if pointer.startswith(prefix)
        )
    return "\n\n".join(filter(None, texts)), files


def _to_arguments(text: str) -> str:
    """Return the arguments of a call: its JSON object, or its text as `code`."""
    try:
        given: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        given = None
    return text if isinstance(given, dict) else msgspec.json.encode({"code": text}).decode()
