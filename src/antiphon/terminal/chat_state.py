"""The state of a chat, which its commands read and change: thread, model, usage, MCP servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from antiphon.api.operations import ListThreads, Model
from antiphon.client.mentions import AttachedFile
from antiphon.mcp.client.server_listing import ServerState
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import Tool
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
