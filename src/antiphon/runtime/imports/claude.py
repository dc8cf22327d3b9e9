"""Conversations of an export of Claude: messages in blocks, with the ids of those before them."""

from __future__ import annotations

from collections.abc import Iterator

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


def is_claude(item: Json) -> bool:
    """Return whether this item of a list is a conversation of Claude."""
    return isinstance(item.get("chat_messages"), list)


def read_claude(item: Json) -> ImportedConversation:
    """Return the conversation of an item."""
    messages: dict[str, SourceMessage] = {}
    ends: dict[str, str] = {}
    last = None
    for place, given in enumerate(map(read_object, read_list(item.get("chat_messages")))):
        key = read_text(given.get("uuid")) or f"message {place}"
        parent = read_text(given.get("parent_message_uuid"))
        before = ends.get(parent) if parent else last
        for part in _read_message(key, before, given):
            messages[part.id] = part
            before = part.id
        if before is not None:
            ends[key] = last = before
    created = read_time(item.get("created_at"))
    chosen = ends.get(read_text(item.get("current_leaf_message_uuid")), last)
    return ImportedConversation(
        id=read_text(item.get("uuid")),
        title=read_text(item.get("name")),
        created_at=created,
        updated_at=read_time(item.get("updated_at")) or created,
        messages=messages,
        current=chosen,
        pinned=item.get("is_starred") is True,
    )


def _read_message(key: str, parent: str | None, given: Json) -> Iterator[SourceMessage]:
    """Yield the message, cut at its tool calls, each behind the one before."""
    user = given.get("sender") in ("human", "user")
    at = read_time(given.get("created_at"))
    files = tuple(_read_files(given))
    place = 0
    text: list[str] = []
    reasoning: list[str] = []

    def make(**fields: object) -> SourceMessage:
        nonlocal place, parent, files
        name = key if place == 0 else f"{key} {place}"
        made = SourceMessage(id=name, parent=parent, at=at, files=files, **fields)  # type: ignore[arg-type]
        place, parent, files = place + 1, name, ()
        return made

    def build_message() -> SourceMessage:
        written, thought = "\n\n".join(text), "\n\n".join(reasoning)
        text.clear()
        reasoning.clear()
        return make(role="user" if user else "assistant", text=written, reasoning=thought)

    for block in map(read_object, read_list(given.get("content"))):
        match block.get("type"):
            case "text":
                text.append(read_text(block.get("text")))
            case "thinking":
                reasoning.append(read_text(block.get("thinking")))
            case "tool_use":
                if any(text):
                    yield build_message()
                arguments = msgspec.json.encode(read_object(block.get("input"))).decode()
                call = read_text(block.get("name")) or "tool", arguments
                yield make(role="assistant", call=call, reasoning="\n\n".join(reasoning))
                reasoning.clear()
            case "tool_result":
                if any(text):
                    yield build_message()
                yield make(role="tool", text=_read_result(block.get("content")))
            case _:
                pass
    if place == 0 and not any(text):
        text[:] = [read_text(given.get("text"))]
    text[:] = filter(None, text)
    if text or reasoning or files:
        yield build_message()


def _read_result(content: object) -> str:
    if isinstance(content, str):
        return read_text(content)
    blocks = map(read_object, read_list(content))
    return "\n\n".join(filter(None, (read_text(block.get("text")) for block in blocks)))


def _read_files(given: Json) -> Iterator[SourceFile]:
    for attachment in map(read_object, read_list(given.get("attachments"))):
        name = read_text(attachment.get("file_name")) or "attachment.txt"
        text = read_text(attachment.get("extracted_content"))
        yield SourceFile(name, text.encode() if text else None)
    for file in map(read_object, read_list(given.get("files"))):
        if name := read_text(file.get("file_name")):
            yield SourceFile(name, key=read_text(file.get("file_uuid")))
