"""What a server gave, as ours: text for the model, pictures and files for the person, and links."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from typing import cast

import msgspec
from mcp import MCPError
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

from antiphon.mcp.client.session_monitor import CLOSED, Watch
from antiphon.mcp.metadata import told, told_line
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import Blob, Given, Link, Text, ToolResult

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


# Why a session ended or a request failed, in words that a person and a model can use.


def reason(watch: Watch, error: BaseException | None) -> str:
    """Why a session ended, in a line: what was seen of the server tells more than the error."""
    if watch.why and watch.why != CLOSED:
        return watch.why
    match _first(error):
        case AntiphonError() as ours:
            return told_line(ours.message, 500)
        case MCPError() as refused:
            said = told_line(refused.message, 300)
            return watch.trouble or f"it refused the connection: {said}"
        case None:
            return watch.trouble or CLOSED
        case other:
            return watch.trouble or f"{type(other).__name__}: {told_line(str(other), 300)}"


def account(watch: Watch, name: str, said: str = "") -> str:
    """What became of a server, and its last words."""
    why = reason(watch, None) if watch.over.is_set() else said
    return f"The server {name} is gone: {why}.{last_words(watch.stderr)}"


def last_words(stderr: tuple[str, ...]) -> str:
    """The end of what a server wrote to its stderr, as the end of a message."""
    tail = "\n".join(stderr[-5:])
    return f" Its stderr:\n{tail}\n" if tail else ""


def in_words(error: BaseException) -> str:
    """An error of the SDK, in a line."""
    return told_line(str(_first(error)), 500) or type(error).__name__


def _first(error: BaseException | None) -> BaseException | None:
    """The first cause in a group of them, which is what the SDK's task groups raise."""
    while isinstance(error, BaseExceptionGroup):
        error = cast(BaseExceptionGroup[BaseException], error).exceptions[0]
    return error
