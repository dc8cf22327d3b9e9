"""The state of a chat, the parts of its next message, and the status row."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.api.operations import ListThreads, Model, Search, SearchHit
from antiphon.client import mentions
from antiphon.client.async_client import AsyncClient
from antiphon.client.compaction import SHARE
from antiphon.client.formatting import dollars, short_number
from antiphon.client.mentions import MAX_TEXT_BYTES, AttachedFile, PreparedMessage
from antiphon.client.thread_families import find_newest_run
from antiphon.mcp.client.server_listing import FilledPrompt, ServerState
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.settings.settings import Settings
from antiphon.terminal import spans
from antiphon.terminal.spans import Line, StyledText
from antiphon.tools.permission_modes import PermissionMode
from antiphon.types.errors import InvalidRequest, NotFound, TooLarge
from antiphon.types.messages import Blob, Link, Part, ResultPart, Text, Tool, parts
from antiphon.types.runs import DAY, Deadlines, Thread, ThreadOptions, Usage
from antiphon.types.terminal_safe import one_line


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
    `listed_threads` belongs to the last /threads or /search, `next_listing` and `next_search` to
    the last of each, `models` to the last /models, `listed_memories` to the last /memory. `found`
    are the results of the last /search if no /threads came after it, `search_words` are its words.
    `used` is the usage of the whole chat, `last_turn` of the last turn. `activity` names work in
    progress that is not a reply. Threads in `uncompacted` are compacted only on request.
    The thread, begun or not, is deleted when the chat leaves it if it is `temporary`;
    `options` are those of the thread, or of a new one, and so is `folder_id`.
    `temporary_threads` are the ids of such threads and their branches.
    `runs_shell_lines` if the user has agreed to all lines that begin with `!`.
    """

    model: str | None = None
    system: str | None = None
    thread_id: str | None = None
    title: str = ""
    temporary: bool = False
    temporary_threads: set[str] = field(default_factory=set[str])
    options: ThreadOptions = field(default_factory=ThreadOptions)
    folder_id: str | None = None
    listed_threads: Sequence[str] = ()
    next_listing: ListThreads | None = None
    next_search: Search | None = None
    found: Sequence[SearchHit] = ()
    search_words: str = ""
    listed_memories: Sequence[str] = ()
    models: Sequence[Model] = ()
    attached: list[AttachedFile] = field(default_factory=list[AttachedFile])
    used: Usage = field(default_factory=Usage)
    last_turn: Usage = field(default_factory=Usage)
    chunks: int = 0
    window: Window = field(default_factory=Window)
    usual_model: str = ""
    activity: str = ""
    uncompacted: set[str] = field(default_factory=set[str])
    mode: PermissionMode = "ask"
    runs_shell_lines: bool = False
    servers: ChatServers = field(default_factory=ChatServers)

    @property
    def answering_model(self) -> str:
        """The model of the next reply: the one chosen, else the one that answered last."""
        return self.model or self.window.model

    @property
    def context_tokens(self) -> int:
        """Tokens of the last turn, input and output: the next turn has more."""
        return self.last_turn.input_tokens + self.last_turn.output_tokens

    def enter_thread(
        self, thread: Thread | None, title: str = "", *, temporary: bool = False
    ) -> None:
        """Move the chat to this thread, or to a new one with this title.

        The context window's use is unknown until the next reply.
        """
        self.thread_id, self.title = (thread.id, thread.title) if thread else (None, title)
        self.temporary = thread.temporary if thread else temporary
        self.options = thread.options if thread else ThreadOptions()
        self.folder_id = thread.folder_id if thread else None
        if thread and thread.temporary:
            self.temporary_threads.add(thread.id)
        self.last_turn = Usage()


async def delete_temporary_threads(client: AsyncClient, state: ChatState) -> bool:
    """Delete the temporary threads of a chat that leaves them; return False if there is none."""
    there_are = bool(state.temporary_threads)
    for thread_id in tuple(state.temporary_threads):
        with suppress(NotFound):  # deleted by the user, or by the server
            await client.delete_thread(thread_id)
        state.temporary_threads.discard(thread_id)
    return there_are


# The parts of a message: its text, the files (`@path`) and resources (`@server:uri`) that it names,
# and attachments. Errors are raised before anything is sent.


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
    return ", ".join(f"{each.name} ({len(each.content):,} bytes)" for each in files)


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


# The status row: model, thread, context window, cost, servers. On a narrow terminal the least
# important part is left out. Colour alone never carries a meaning.


LONGEST_TITLE = 30
"""Cells of a thread's title, at most."""
_BETWEEN = " · "


class StatusFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts for the row; none of them is cleaned.

    `context_tokens` are the tokens of the last turn, `window` those of the context window.
    `servers` are those that are not ready, with their state. `activity` is work that is not a
    reply.
    """

    model: str = ""
    title: str = ""
    context_tokens: int = 0
    window: int | None = None
    cost: float | None = None
    servers: Sequence[tuple[str, str]] = ()
    queued: int = 0
    activity: str = ""
    mode: PermissionMode = "ask"
    temporary: bool = False

    @property
    def share(self) -> float:
        """Part of the context window that is used; 0 if it is not known."""
        return self.context_tokens / self.window if self.window else 0.0

    @property
    def context(self) -> str:
        """The same in words, as in `12% of 128k`; "" if it is not known."""
        return (
            f"{self.share:.0%} of {short_number(self.window)}" if self.window and self.share else ""
        )


class _Part(msgspec.Struct, frozen=True):
    """One part of the row; the one with the highest `rank` is left out first."""

    rank: int
    text: str
    style: str = "faint"


def status_row(facts: StatusFacts, columns: int, more: str) -> Line:
    """Return the row in at most `columns` cells; `more` marks a title that is cut."""
    shown = [part for part in _status_parts(facts, more) if part.text]
    while len(shown) > 1 and spans.width(_BETWEEN.join(part.text for part in shown)) > columns:
        shown.remove(max(shown, key=lambda part: part.rank))
    styled = [StyledText(part.text, part.style) for part in shown]
    between = StyledText(_BETWEEN, "faint")
    return tuple(each for span in styled for each in (between, span))[1:]


def short_title(title: str, more: str) -> str:
    """Return the title cleaned and cut; `more` marks the cut."""
    title = one_line(title)
    return spans.head(title, LONGEST_TITLE) + more if spans.width(title) > LONGEST_TITLE else title


def _status_parts(facts: StatusFacts, more: str) -> Iterator[_Part]:
    """Yield all parts in order."""
    yield _Part(0, one_line(facts.activity), "strong")
    yield _Part(0, "" if facts.mode == "ask" else facts.mode, "warning")
    yield _Part(0, "temporary" if facts.temporary else "", "warning")
    yield _Part(3, one_line(facts.model))
    yield _Part(6, short_title(facts.title, more))
    yield _Part(4, facts.context, "warning" if facts.share >= SHARE else "faint")
    yield _Part(5, dollars(facts.cost))
    for server, state in facts.servers:
        style = "faint" if state == "starting" else "warning"
        yield _Part(2, f"{one_line(server)} {state}", style)
    yield _Part(1, f"{facts.queued} queued" if facts.queued else "")
    yield _Part(7, "/help")


# The context window of the model that answers.


async def find_window(client: AsyncClient, state: ChatState) -> Window:
    """Return the model that answers and its window: chosen, last in the thread, or usual."""
    model = state.model
    if not model and state.thread_id is not None:
        newest = await find_newest_run(client, state.thread_id)
        model = newest.model if newest else None
    model = model or state.usual_model
    return await model_window(client, model) if model else Window()


async def model_window(client: AsyncClient, model: str) -> Window:
    """Return the model's window. Raises `NotFound`, or the runtime's error."""
    for known in (await client.list_models(model=model)).data:
        return Window(known.id, known.context_tokens)
    raise NotFound(f"There is no model {model}", hint="/models lists them.")


# The time limit of replies.


MORE = 300.0
"""Seconds that are added at a time."""


class ReplyLimit:
    """Time limit of one reply in seconds: the settings', or the one the user asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wanted: float | None = None

    def extend(self, model: str) -> float:
        """Add time for the next replies; return the new limit in seconds."""
        now = self.seconds(model) or self._settings.turn_timeout
        self._wanted = min(now + MORE, DAY)
        return self._wanted

    def deadlines(self) -> Deadlines:
        """Return the deadlines to send with a run."""
        return Deadlines(turn=self._wanted)

    def seconds(self, model: str) -> float | None:
        """Return the limit for this model; None if only a server knows it."""
        if self._wanted is not None:
            return self._wanted
        if self._settings.server:
            return None
        own: Any = self._settings.providers.get(model.partition(":")[0], {}).get("turn_timeout")
        return float(own) if own else self._settings.turn_timeout
