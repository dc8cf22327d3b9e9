"""Conversion of MCP content: text for the model, files and links for the user. Error texts."""

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

from antiphon.mcp.client.session_monitor import CLOSED, SessionMonitor
from antiphon.mcp.metadata import clean_line, clean_text
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import Blob, Link, ResultPart, Text, ToolResult

LARGEST_TOTAL = 20 * 1024 * 1024
"""Bytes of files that one result may carry; others are replaced by a line of text."""

UNCERTAIN = "it may or may not have been carried out"
"""Part of the message about a call whose result is not known."""

Content = TextContent | ImageContent | AudioContent | ResourceLink | EmbeddedResource
Contents = TextResourceContents | BlobResourceContents


def tool_result(result: CallToolResult) -> ToolResult:
    """Convert the result of a tool call."""
    given = convert_content(result.content)
    structured = result.structured_content
    lines = [_model_text(each) for each in given]
    if structured is not None and not any(isinstance(each, Text) for each in given):
        lines.insert(0, msgspec.json.encode(structured).decode())
    return ToolResult(
        "\n".join(lines),
        is_error=result.is_error,
        fault="failed" if result.is_error else None,
        content=() if all(isinstance(each, Text) for each in given) else given,
        structured=structured,
    )


def convert_content(blocks: Sequence[Content]) -> tuple[ResultPart, ...]:
    """Convert content blocks in order. One that is too large becomes a line that says so."""
    budget = _ByteBudget(LARGEST_TOTAL)
    return tuple(_convert_block(block, budget) for block in blocks)


def convert_resource(read: Iterable[Contents]) -> tuple[ResultPart, ...]:
    """Convert the content of a resource."""
    budget = _ByteBudget(LARGEST_TOTAL)
    return tuple(_convert_resource_contents(each, budget) for each in read)


class _ByteBudget:
    """Bytes that may still be decoded."""

    def __init__(self, size: int) -> None:
        self.left = size


def _convert_block(block: Content, budget: _ByteBudget) -> ResultPart:
    match block:
        case TextContent(text=text):
            return Text(text)
        case ImageContent(data=data, mime_type=kind):
            return _decode_blob(data, kind, "", budget)
        case AudioContent(data=data, mime_type=kind):
            return _decode_blob(data, kind, "", budget)
        case EmbeddedResource(resource=resource):
            return _convert_resource_contents(resource, budget)
        case ResourceLink():
            return Link(
                uri=block.uri[:_LONGEST_URI],
                name=clean_line(block.title or block.name),
                media_type=_media_type(block.mime_type) if block.mime_type else "",
                description=clean_text(block.description, 1_000),
            )


def _convert_resource_contents(resource: Contents, budget: _ByteBudget) -> ResultPart:
    if isinstance(resource, TextResourceContents):
        return Text(resource.text)
    name = clean_line(resource.uri.rstrip("/").rpartition("/")[2], 100)
    return _decode_blob(resource.blob, resource.mime_type, name, budget)


def _decode_blob(data: str, kind: str | None, name: str, budget: _ByteBudget) -> ResultPart:
    """Decode a file, if the budget allows it."""
    media_type = _media_type(kind)
    size = len(data) * 3 // 4
    if size > budget.left:
        return Text(f"[{media_type}, {_size(size)}, too large to be taken]")
    try:
        decoded = base64.b64decode(data)
    except (binascii.Error, ValueError):
        return Text(f"[{media_type}, which came damaged]")
    budget.left -= len(decoded)
    return Blob(media_type=media_type, data=decoded, name=name)


def _model_text(given: ResultPart) -> str:
    """Return the text that the model receives in place of this content."""
    match given:
        case Text(text):
            return text
        case Blob():
            name = f" {given.name}," if given.name else ""
            return f"[{given.media_type},{name} {_size(len(given.data))}, shown to the user]"
        case Link():
            kind = f", {given.media_type}" if given.media_type else ""
            about = f": {given.description}" if given.description else ""
            return f"[link to {given.name}{kind}, {clean_line(given.uri, _LONGEST_URI)}{about}]"


_LONGEST_URI = 2_048
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")


def _media_type(declared: str | None) -> str:
    bare = (declared or "").partition(";")[0].strip().lower()
    return bare if _MEDIA_TYPE.fullmatch(bare) else "application/octet-stream"


def _size(count: int) -> str:
    for unit in ("B", "kB"):
        if count < 1_000:
            return f"{count} {unit}"
        count //= 1_000
    return f"{count} MB"


# Texts about failed sessions and requests, for people and models.


def describe_end(monitor: SessionMonitor, error: BaseException | None) -> str:
    """Return a line that says why a session ended. The monitor knows more than the error."""
    if monitor.end_reason and monitor.end_reason != CLOSED:
        return monitor.end_reason
    match _root_cause(error):
        case AntiphonError() as ours:
            return clean_line(ours.message, 500)
        case MCPError() as refused:
            message = clean_line(refused.message, 300)
            return monitor.last_failure or f"it refused the connection: {message}"
        case None:
            return monitor.last_failure or CLOSED
        case other:
            return monitor.last_failure or f"{type(other).__name__}: {clean_line(str(other), 300)}"


def describe_loss(monitor: SessionMonitor, name: str, reason: str = "") -> str:
    """Return a message about a server that is gone, with the last lines of its stderr."""
    why = describe_end(monitor, None) if monitor.ended.is_set() else reason
    return f"The server {name} is gone: {why}.{stderr_tail(monitor.stderr)}"


def stderr_tail(stderr: tuple[str, ...]) -> str:
    """Return the last lines of stderr, as the end of a message."""
    tail = "\n".join(stderr[-5:])
    return f" Its stderr:\n{tail}\n" if tail else ""


def error_text(error: BaseException) -> str:
    """Return an SDK error as one line."""
    return clean_line(str(_root_cause(error)), 500) or type(error).__name__


def _root_cause(error: BaseException | None) -> BaseException | None:
    """Return the first cause in an exception group, as the SDK's task groups raise them."""
    while isinstance(error, BaseExceptionGroup):
        error = cast(BaseExceptionGroup[BaseException], error).exceptions[0]
    return error
