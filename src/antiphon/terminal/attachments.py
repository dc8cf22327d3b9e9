"""Collect the parts of a message: its text, the files and resources it names, and attachments.

`@path` names a file, `@server:uri` a resource of an MCP server. Errors are raised before anything
is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.client import mentions
from antiphon.client.async_client import AsyncClient
from antiphon.client.mentions import MAX_TEXT_BYTES, AttachedFile, PreparedMessage
from antiphon.mcp.client.server_listing import FilledPrompt
from antiphon.terminal.chat_state import ChatServers, ChatState
from antiphon.types.errors import InvalidRequest, TooLarge
from antiphon.types.messages import Blob, Link, Part, ResultPart, Text, parts

RESOURCE_SECONDS = 30.0
"""Timeout for reading a resource of a server."""


async def prepare(state: ChatState, text: str) -> PreparedMessage:
    """Return the message with all files and resources, read but not uploaded yet.

    `@word:...` is plain text if no server has that name. Raises an `AntiphonError` for the first
    part that cannot be sent.
    """
    message = await asyncio.to_thread(mentions.prepare_message, text)
    known = {each.server for each in state.servers.states()}
    resources: list[AttachedFile] = []
    for mentioned in mentions.find_resources(text):
        if mentioned.server in known:
            resources += await read_resource(state.servers, mentioned.server, mentioned.uri)
    return replace(message, files=(*message.files, *resources, *state.attached))


async def prompt_content(client: AsyncClient, filled: FilledPrompt) -> tuple[Part, ...]:
    """Return a prompt that a server has filled in, as the parts of one user message."""
    several = len({message.role for message in filled.messages}) > 1
    files: list[AttachedFile] = []
    texts: list[str] = []
    for message in filled.messages:
        name = filled.description or "prompt"
        lines = [_extract_text(given, files, name) for given in message.content]
        speaker = f"{message.role.capitalize()}: " if several else ""
        texts.append(speaker + "\n".join(filter(None, lines)))
    prepared = PreparedMessage("\n\n".join(filter(None, texts)), tuple(files))
    return parts(await mentions.upload_attachments(client, prepared))


async def read_resource(servers: ChatServers, server: str, uri: str) -> tuple[AttachedFile, ...]:
    """Read a resource, and return its contents as files.

    Raises `InvalidRequest` after `RESOURCE_SECONDS`, `TooLarge` for a text that is too long.
    """
    try:
        async with asyncio.timeout(RESOURCE_SECONDS):
            given = await servers.require().read_resource(server, uri)
    except TimeoutError as error:
        raise InvalidRequest(
            f"{server} did not give {uri} within {RESOURCE_SECONDS:g} s"
        ) from error
    files: list[AttachedFile] = []
    text = "\n".join(filter(None, (_extract_text(each, files, uri) for each in given)))
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise TooLarge(
            f"{uri} is too large to be sent",
            expected=f"text of at most {MAX_TEXT_BYTES:,} bytes",
            received=f"{len(text.encode()):,} bytes",
        )
    if text:
        files.insert(0, mentions.classify_file(f"{server}:{uri}", text.encode()))
    return tuple(files)


def describe_files(files: Sequence[AttachedFile]) -> str:
    """Return names and sizes of the files in one line."""
    return "with " + ", ".join(f"{each.name} ({len(each.content):,} bytes)" for each in files)


def _extract_text(given: ResultPart, files: list[AttachedFile], name: str) -> str:
    """Return the text of a part; append binary data to `files`."""
    match given:
        case Text(text=text):
            return text
        case Link(uri=uri):
            return uri
        case Blob(name=own, data=data):
            files.append(mentions.classify_file(own or name, data))
            return ""
