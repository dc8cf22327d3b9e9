"""Published assistants: the part of one that owners other than its author get."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from antiphon.api.operations import PublishedAssistant
from antiphon.types.runs import Assistant, McpServer

COPIED_FROM = "copied_from"
"""Key, in a copy's metadata, of the id of the original assistant."""
PUBLIC_METADATA = ("starters.", "tools.", "mcp_servers.")
"""Beginnings of the keys of metadata that others get: the questions to begin with, and the names of
tools, of the web chat. The rest is the author's own, such as the mark of a link."""


def limit_to_others(assistant: Assistant) -> Assistant:
    """Return a published assistant as runs of other owners use it.

    Its files are its author's. An MCP server at an address would get what the other owner writes,
    so it is left out; calls of the operator's servers wait for approval, whatever the author said.
    """
    return replace(
        assistant,
        mcp_servers=tuple(
            McpServer(each.name, allowed_tools=each.allowed_tools)
            for each in assistant.mcp_servers
            if each.url is None
        ),
        file_ids=(),
        metadata={
            key: value
            for key, value in assistant.metadata.items()
            if key.startswith(PUBLIC_METADATA)
        },
    )


def describe_published(assistant: Assistant, author: str) -> PublishedAssistant:
    """Return a published assistant as owners of the installation see it."""
    limited = limit_to_others(assistant)
    shown: dict[str, Any] = {
        name: getattr(limited, name)
        for name in PublishedAssistant.__struct_fields__
        if name in Assistant.__struct_fields__
    }
    return PublishedAssistant(author=author, **shown)
