"""What a server gave, as ours: text for the model, pictures and files for the person, and links."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence

import msgspec
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from antiphon.messages import Blob, Given, Link, Text, ToolResult
from antiphon.tools.mcp.metadata import told, told_line

LARGEST_TOTAL = 20 * 1024 * 1024
"""Bytes of pictures and files that one result may hand on; the rest is only told of."""

Content = TextContent | ImageContent | AudioContent | ResourceLink | EmbeddedResource
Contents = TextResourceContents | BlobResourceContents


def tool_result(result: CallToolResult) -> ToolResult:
    """The result of a call; one that says it is an error is one."""
    given = content(result.content)
    structured = result.structured_content
    lines = [_line(each) for each in given]
    if structured is not None and not any(isinstance(each, Text) for each in given):
        lines.insert(0, _json(structured))
    return ToolResult(
        "\n".join(lines),
        is_error=result.is_error,
        fault="failed" if result.is_error else None,
        content=() if all(isinstance(each, Text) for each in given) else given,
        structured=structured,
    )


def content(blocks: Sequence[Content]) -> tuple[Given, ...]:
    """All that was given, in order. What is too large is a line that says so."""
    left = _Room(LARGEST_TOTAL)
    return tuple(_given(block, left) for block in blocks)


def contents(read: Iterable[Contents]) -> tuple[Given, ...]:
    """What a resource holds."""
    left = _Room(LARGEST_TOTAL)
    return tuple(_contents(each, left) for each in read)


class _Room:
    """How many bytes may still be decoded."""

    def __init__(self, size: int) -> None:
        self.left = size


def _given(block: Content, room: _Room) -> Given:
    match block:
        case TextContent(text=text):
            return Text(text)
        case ImageContent(data=data, mime_type=kind):
            return _blob(data, kind, "", room)
        case AudioContent(data=data, mime_type=kind):
            return _blob(data, kind, "", room)
        case EmbeddedResource(resource=resource):
            return _contents(resource, room)
        case ResourceLink():
            return Link(
                uri=block.uri[:_LONGEST_URI],
                name=told_line(block.title or block.name),
                media_type=_media_type(block.mime_type) if block.mime_type else "",
                description=told(block.description, 1_000),
            )


def _contents(resource: Contents, room: _Room) -> Given:
    if isinstance(resource, TextResourceContents):
        return Text(resource.text)
    name = told_line(resource.uri.rstrip("/").rpartition("/")[2], 100)
    return _blob(resource.blob, resource.mime_type, name, room)


def _blob(data: str, kind: str | None, name: str, room: _Room) -> Given:
    """The bytes, decoded only where there is room for them."""
    media_type = _media_type(kind)
    size = len(data) * 3 // 4
    if size > room.left:
        return Text(f"[{media_type}, {_size(size)}, too large to be taken]")
    try:
        decoded = base64.b64decode(data)
    except (binascii.Error, ValueError):
        return Text(f"[{media_type}, which came damaged]")
    room.left -= len(decoded)
    return Blob(media_type=media_type, data=decoded, name=name)


def _line(given: Given) -> str:
    """What the model reads of it."""
    match given:
        case Text(text):
            return text
        case Blob():
            name = f" {given.name}," if given.name else ""
            return f"[{given.media_type},{name} {_size(len(given.data))}, shown to the user]"
        case Link():
            kind = f", {given.media_type}" if given.media_type else ""
            about = f": {given.description}" if given.description else ""
            return f"[link to {given.name}{kind}, {told_line(given.uri, _LONGEST_URI)}{about}]"


_LONGEST_URI = 2_048
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")


def _media_type(said: str | None) -> str:
    bare = (said or "").partition(";")[0].strip().lower()
    return bare if _MEDIA_TYPE.fullmatch(bare) else "application/octet-stream"


def _size(count: int) -> str:
    for unit in ("B", "kB"):
        if count < 1_000:
            return f"{count} {unit}"
        count //= 1_000
    return f"{count} MB"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
