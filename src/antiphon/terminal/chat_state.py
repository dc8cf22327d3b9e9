"""The state of a chat, and the parts of its next message.

`@path` in a message names a file, `@server:uri` a resource of an MCP server. Errors are raised
before anything is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from antiphon.api.operations import ListThreads, Model
from antiphon.client import mentions
from antiphon.client.async_client import AsyncClient
from antiphon.client.mentions import MAX_TEXT_BYTES, AttachedFile, PreparedMessage
from antiphon.mcp.client.server_listing import FilledPrompt, ServerState
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.types.errors import InvalidRequest, TooLarge
from antiphon.types.messages import Blob, Link, Part, ResultPart, Text, Tool, parts
from antiphon.types.runs import Thread, Usage


class Window(msgspec.Struct, frozen=True):
    """The model that answers, as the runtime names it, and its context window.

    `tokens` is None where the size is not known.
    """

    model: str = ""
    tokens: int | None = None


@dataclass
class ChatServers:
    """The MCP servers of a chat: those that run, and those that cannot be started."""

    toolbox: AsyncMcpServerPool | None = None
    unusable: Sequence[ServerState] = ()

    def states(self) -> Sequence[ServerState]:
        """Return the state of each server, including those that cannot be started."""
        return (*(self.toolbox.states() if self.toolbox else ()), *self.unusable)

    def tools_of(self, server: str) -> Sequence[Tool]:
        """Return the tools that this server offers now."""
        tools = self.toolbox.tools() if self.toolbox else ()
        return [tool for tool in tools if tool.server == server]

    def require(self) -> AsyncMcpServerPool:
        """Return the servers that run. Raises `InvalidRequest` if the chat has none."""
        if self.toolbox is None:
            raise InvalidRequest("No MCP server runs here", hint="`antiphon mcp add` adds one.")
        return self.toolbox


@dataclass
class ChatState:
    """One chat, from the first message to the last.

    `thread_id` is None until the first message of a new thread; `title` is the thread's title, or
    the title that a new thread will get. `model` is the model that the user chose, `usual_model`
    the runtime's default ("" if unknown). `attached` files are sent with the next message.
    `listed_threads` and `next_listing` belong to the last /threads, `models` to the last /models.
    `used` is the usage of the whole chat, `last_turn` of the last turn. `activity` names work in
    progress that is not a reply. Threads in `uncompacted` are compacted only on request.
    """

    model: str | None = None
    system: str | None = None
    thread_id: str | None = None
    title: str = ""
    listed_threads: Sequence[str] = ()
    next_listing: ListThreads | None = None
    models: Sequence[Model] = ()
    attached: list[AttachedFile] = field(default_factory=list[AttachedFile])
    used: Usage = field(default_factory=Usage)
    last_turn: Usage = field(default_factory=Usage)
    chunks: int = 0
    window: Window = field(default_factory=Window)
    usual_model: str = ""
    activity: str = ""
    uncompacted: set[str] = field(default_factory=set[str])
    servers: ChatServers = field(default_factory=ChatServers)

    @property
    def answering_model(self) -> str:
        """The model of the next reply: the one chosen, else the one that answered last."""
        return self.model or self.window.model

    @property
    def context_tokens(self) -> int:
        """Tokens of the last turn, input and output: the next turn has more."""
        return self.last_turn.input_tokens + self.last_turn.output_tokens

    def enter_thread(self, thread: Thread | None, title: str = "") -> None:
        """Move the chat to this thread, or to a new one with this title.

        The context window's use is unknown until the next reply.
        """
        self.thread_id, self.title = (thread.id, thread.title) if thread else (None, title)
        self.last_turn = Usage()


# The parts of a message: its text, the files and resources it names, and attachments.


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
