"""Tools of the web chat, and questions to the user whether a call may run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from antiphon.mcp.client.server_listing import (
    FilledPrompt,
    Prompt,
    ResourceTemplate,
    ServerResource,
    ServerState,
)
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.server_manager import ServerManager
from antiphon.mcp.startup import find_servers, start_servers
from antiphon.ports import Toolbox
from antiphon.settings.settings import Settings
from antiphon.tools import builtin
from antiphon.tools.functions import Function, Functions
from antiphon.tools.questions import ConsentAnswer, ConsentRequest
from antiphon.tools.tool_loading import open_tools
from antiphon.tools.tool_manager import ToolManager
from antiphon.types.errors import NotFound, OutputConflict
from antiphon.types.messages import ResultPart, Tool, ToolSpec
from antiphon.types.terminal_safe import clean
from antiphon.wires.ai_sdk import parts as ui

log = logging.getLogger(__name__)

START_SECONDS = 10.0
"""Seconds for which a message waits for MCP servers that are starting."""

ALWAYS: tuple[Function, ...] = (builtin.current_time, builtin.calculate)
SAMPLES = "antiphon.tools.samples"


class Toolset:
    """Tools that runs of this installation may use, and the MCP servers among them."""

    def __init__(
        self,
        functions: Iterable[Function],
        servers: AsyncMcpServerPool | None = None,
        manager: ServerManager | None = None,
    ) -> None:
        own = Functions(functions)
        self._servers = servers
        self._manager = manager
        self.toolbox: Toolbox = own if servers is None else ToolManager(own, servers)

    def tools(self) -> Sequence[Tool]:
        """Return the tools that can be called now."""
        return self.toolbox.tools()

    def servers(self) -> Sequence[ServerState]:
        """Return the state of each MCP server."""
        return self._manager.states() if self._manager else ()

    @property
    def manager(self) -> ServerManager | None:
        """Manager of the MCP servers; None if they were switched off at the start."""
        return self._manager

    def server(self, name: str) -> ServerState:
        """Return the state of the MCP server of this name. Raises `NotFound`."""
        for state in self.servers():
            if state.server == name:
                return state
        raise NotFound(f"There is no MCP server {clean(name)[:60]}.")

    async def list_prompts(self, server: str) -> Sequence[Prompt]:
        """Return the prompts of a server.

        This and the methods below raise `NotFound`, `Unavailable` if the server is gone, and
        `InvalidRequest` if it refuses.
        """
        return await self._pool(server).prompts(server)

    async def list_resources(self, server: str) -> Sequence[ServerResource]:
        """Return the resources of a server."""
        return await self._pool(server).resources(server)

    async def list_resource_templates(self, server: str) -> Sequence[ResourceTemplate]:
        """Return the resource templates of a server."""
        return await self._pool(server).resource_templates(server)

    async def get_prompt(
        self, server: str, name: str, arguments: Mapping[str, str]
    ) -> FilledPrompt:
        """Return the prompt with its arguments filled in."""
        return await self._pool(server).get_prompt(server, name, arguments)

    async def read_resource(self, server: str, uri: str) -> Sequence[ResultPart]:
        """Return the content of a resource."""
        return await self._pool(server).read_resource(server, uri)

    def _pool(self, server: str) -> AsyncMcpServerPool:
        if self._servers is None:
            raise NotFound(f"There is no MCP server {clean(server)[:60]}.")
        return self._servers

    async def wait_for_servers(self, names: Collection[str] | None = None) -> None:
        """Wait for servers that have not been ready since the start, at most `START_SECONDS`.

        If `names` are given, wait only until these tools are there.
        """
        known = {tool.spec.name for tool in self.tools()}
        if self._servers is None or (names is not None and known.issuperset(names)):
            return
        if any(state.status == "starting" for state in self._servers.states()):
            await self._servers.ready(START_SECONDS)

    def specs(self, names: Collection[str] | None = None) -> tuple[ToolSpec, ...]:
        """Return the specifications of the tools of these names, or of all."""
        tools = self.toolbox.tools()
        return tuple(tool.spec for tool in tools if names is None or tool.spec.name in names)


@asynccontextmanager
async def open_toolset(
    settings: Settings, tools: Sequence[str | Function] = (), *, servers: bool = True
) -> AsyncGenerator[Toolset]:
    """Open the toolset: functions, given or named as in `--tools`, and the configured MCP servers.

    Without `tools` it has samples to try. Raises `BadSettings` if a tool cannot be loaded.
    """
    given = [each for each in tools if not isinstance(each, str)]
    specs = [each for each in tools if isinstance(each, str)]
    with open_tools(specs or ([] if given else [SAMPLES]), settings) as loaded:
        functions = dict.fromkeys([*ALWAYS, *given, *loaded])
        if not servers:
            yield Toolset(functions)
            return
        found = await asyncio.to_thread(find_servers, settings)
        async with start_servers(settings, found=found) as (running, usable):
            for problem in usable.problems:
                log.warning("the MCP server %s cannot be used: %s", problem.server, problem.why)
            yield Toolset(functions, running, ServerManager(settings, running, found, usable))


# Questions to the user whether a tool call may run; answers come by another request.


class PendingApprovals:
    """Open questions of one run. A call runs only after an answer."""

    def __init__(self) -> None:
        self.open: dict[str, ConsentRequest] = {}
        self._answers: dict[str, asyncio.Future[ConsentAnswer]] = {}

    async def __call__(self, question: ConsentRequest) -> ConsentAnswer:
        """Ask the user and return the answer; cancellation withdraws the question."""
        self.add(question)
        try:
            return await self._answers[question.call.id]
        finally:
            self.open.pop(question.call.id, None)
            self._answers.pop(question.call.id, None)

    def add(self, question: ConsentRequest) -> None:
        """Add an open question."""
        if question.call.id not in self._answers:
            self._answers[question.call.id] = asyncio.get_running_loop().create_future()
        self.open[question.call.id] = question

    def answer(self, tool_call_id: str, digest: str, answer: ConsentAnswer) -> None:
        """Answer the question that the user saw, identified by `digest`.

        Raises `NotFound` if the call has no open question, `OutputConflict` if the question has
        changed or was answered already.
        """
        question, waiting = self.open.get(tool_call_id), self._answers.get(tool_call_id)
        if question is None or waiting is None:
            raise NotFound(
                "Nothing is asked about this call now.",
                hint="It was answered, perhaps in another tab, or its run has ended.",
            )
        if waiting.done():
            raise OutputConflict("This call was answered already.")
        if digest != question.digest:
            raise OutputConflict(
                "The answer is to another question: the call or its tool has changed.",
                expected="the args_hash of the question as it stands now",
                hint="Read it again, and answer that.",
            )
        waiting.set_result(answer)


MOST_OTHERS = 50
"""Most tools of the same server that are listed; an answer for the server covers all of them."""


def approval_details(question: ConsentRequest) -> ui.CallFacts:
    """Return the details of a call that the page shows with the question."""
    tool = question.tool
    return ui.CallFacts(
        args_hash=question.digest,
        arguments=question.call.arguments,
        description=clean(tool.spec.description),
        server=clean(tool.server or ""),
        others=tuple(clean(each.own_name) for each in question.others[:MOST_OTHERS]),
        changed=question.before is not None,
        elsewhere=bool(question.elsewhere),
        asked_by=clean(str(question.asked_by)) if question.asked_by else "",
        destructive=tool.hints.destructive is True,
        read_only=tool.hints.read_only is True,
        hook_reason=clean(question.reason),
        each_time=question.asks_each_time,
    )
