"""What a message consists of: its words, the files and resources it names, and what was attached.

`@path` names a file, `@server:uri` a resource of an MCP server. What cannot be sent is told before
anything is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from antiphon.client import mentions
from antiphon.client.mentions import MAX_TEXT_BYTES, Attached, Prepared
from antiphon.mcp.client.server_listing import FilledPrompt
from antiphon.mcp.client.toolbox import McpServers
from antiphon.types.errors import InvalidRequest, TooLarge
from antiphon.types.messages import Blob, Given, Link, Part, Text, parts

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

RESOURCE_SECONDS = 30.0
"""For a server to give a resource."""


async def prepare(chat: Chat, text: str) -> Prepared:
    """The message with all that goes along, read and not sent yet.

    Raises errors of our tree for the first thing that cannot be sent.
    """
    told = await asyncio.to_thread(mentions.prepare, text)
    resources = [each async for each in _read_mentioned(chat, text)]
    return replace(told, files=(*told.files, *resources, *chat.attached))


async def upload(chat: Chat, message: Prepared) -> str | tuple[Part, ...]:
    """The message as it is sent; pictures and PDFs are uploaded now."""
    return await mentions.uploaded(chat.client, message)


async def prompt_content(chat: Chat, filled: FilledPrompt) -> tuple[Part, ...]:
    """A prompt that a server has filled in, as one message of the person's."""
    several = len({message.role for message in filled.messages}) > 1
    files: list[Attached] = []
    words: list[str] = []
    for message in filled.messages:
        said = [
            _extract_text(given, files, filled.description or "prompt") for given in message.content
        ]
        speaker = f"{message.role.capitalize()}: " if several else ""
        words.append(speaker + "\n".join(filter(None, said)))
    return parts(await upload(chat, Prepared("\n\n".join(filter(None, words)), tuple(files))))


async def read_resource(chat: Chat, server: str, uri: str) -> tuple[Attached, ...]:
    """What the resource holds, as files. Raises errors of our tree."""
    servers = require_servers(chat)
    try:
        async with asyncio.timeout(RESOURCE_SECONDS):
            given = await servers.read_resource(server, uri)
    except TimeoutError as error:
        raise InvalidRequest(
            f"{server} did not give {uri} within {RESOURCE_SECONDS:g} s"
        ) from error
    files: list[Attached] = []
    words = "\n".join(filter(None, (_extract_text(each, files, uri) for each in given)))
    if len(words.encode()) > MAX_TEXT_BYTES:
        raise TooLarge(
            f"{uri} is too large to be sent",
            expected=f"text of at most {MAX_TEXT_BYTES:,} bytes",
            received=f"{len(words.encode()):,} bytes",
        )
    if words:
        files.insert(0, mentions.attached(f"{server}:{uri}", words.encode()))
    return tuple(files)


def require_servers(chat: Chat) -> McpServers:
    """The servers of the chat. Raises `InvalidRequest` where there is none."""
    if chat.servers is None:
        raise InvalidRequest("No MCP server runs here", hint="`antiphon mcp add` adds one.")
    return chat.servers


def describe_files(files: Sequence[Attached]) -> str:
    """What goes along, in a line."""
    return "with " + ", ".join(f"{each.name} ({len(each.content):,} bytes)" for each in files)


async def _read_mentioned(chat: Chat, text: str) -> AsyncIterator[Attached]:
    """The resources that the text mentions; a name that is no server's is a word like others."""
    known = {state.server for state in chat.states()}
    for mentioned in mentions.resources(text):
        if mentioned.server in known:
            for each in await read_resource(chat, mentioned.server, mentioned.uri):
                yield each


def _extract_text(given: Given, files: list[Attached], name: str) -> str:
    """The text in it; bytes become one of the files."""
    match given:
        case Text(text=text):
            return text
        case Link(uri=uri):
            return uri
        case Blob(name=own, data=data):
            files.append(mentions.attached(own or name, data))
            return ""
