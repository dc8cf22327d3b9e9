"""All configured MCP servers as one toolbox.

    async with McpServers(configs, host) as servers:
        missing = await servers.ready(2.0)
        result = await servers.call(ToolCall("c1", "files__read", '{"path": "a.txt"}'))

Servers start side by side and behind one's back: entering takes no time, and `tools` gives what is
there just now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from antiphon.mcp.client.client_features import Host, Nobody
from antiphon.mcp.client.protocol_versions import Generations
from antiphon.mcp.client.server import DELAYS, Server
from antiphon.mcp.client.server_listing import (
    Completion,
    FilledPrompt,
    Prompt,
    Resource,
    ResourceTemplate,
    State,
)
from antiphon.mcp.config.server_config import LogLevel, ServerConfig
from antiphon.mcp.metadata import server_part
from antiphon.ports import Tell, quiet
from antiphon.tools.egress_policy import Reach
from antiphon.types.errors import BadSettings, NotFound, Unavailable
from antiphon.types.messages import Given, Tool, ToolCall, ToolResult

if TYPE_CHECKING:
    from antiphon.mcp.client.connection import Connection

LEAVE_SECONDS = 8.0
"""For all servers to end, side by side; what is left then is cut off."""


def _unheard(state: State) -> None:
    """Told of a state, does nothing."""


class McpServers:
    """MCP servers as a toolbox, whose tools come and go with them; an async context manager.

    `roots` are folders that every server is told of, beside its own. `auth` gives the `httpx2.Auth`
    of a server over HTTP, or None, and is called in a thread before each connection. `changed` is
    called on the loop when a server's state or tools are others, and must not raise. `delays` are
    seconds before each restart of a server that died. With `reach`, requests over HTTP go only
    where that allows, and by no proxy. `generations` remembers which servers need not be asked
    for the newest protocol, where that takes long.
    """

    def __init__(
        self,
        configs: Iterable[ServerConfig],
        host: Host | None = None,
        *,
        roots: Sequence[str | PathLike[str]] = (),
        auth: Callable[[ServerConfig], Any] | None = None,
        changed: Callable[[State], None] = _unheard,
        delays: tuple[float, ...] = DELAYS,
        reach: Reach | None = None,
        generations: Generations | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers: dict[str, Server] = {}
        for config in configs:
            if config.name in self._servers:
                raise BadSettings(
                    f"Two MCP servers are named {config.name}.",
                    expected="a name of its own for each",
                    received=config.name,
                )
            self._servers[config.name] = Server(
                config,
                host or Nobody(),
                (*(fspath(root) for root in roots), *config.roots),
                auth,
                changed,
                delays,
                reach,
                generations,
                clock,
            )

    async def __aenter__(self) -> McpServers:
        """Start every server that is enabled; wait for none."""
        for server in self._servers.values():
            server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every server, and what it started."""
        for server in self._servers.values():
            server.leave()
        tasks = [server.task for server in self._servers.values() if server.task is not None]
        if not tasks:
            return
        try:
            await asyncio.wait(tasks, timeout=LEAVE_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
        await asyncio.wait(tasks, timeout=LEAVE_SECONDS)

    def tools(self) -> tuple[Tool, ...]:
        """The tools of all servers that are, or were, there; in the order of the configuration."""
        return tuple(tool for _, tool in self._table().values())

    async def call(self, call: ToolCall, tell: Tell = quiet) -> ToolResult:
        """Call the tool on its server. Arguments are judged by the server."""
        found = self._table().get(call.name)
        if found is None:
            return ToolResult(
                f"There is no tool {call.name}. {self._absent()}".rstrip(),
                is_error=True,
                fault="unknown_tool",
            )
        server, tool = found
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any] | None)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return ToolResult(
                f"The arguments of {call.name} are not one JSON object: {error}",
                is_error=True,
                fault="invalid_arguments",
            )
        try:
            connection = await server.connection()
        except Unavailable as error:
            return ToolResult(error.message, is_error=True, fault="unavailable")
        return await connection.calls.call(tool.own_name, arguments or {}, call.id, tell)

    async def ready(self, seconds: float) -> tuple[State, ...]:
        """Wait for the slow ones, at most so long; returns those that are not ready, and why."""
        enabled = self._enabled()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for server in enabled:
                    await server.settled()
        return tuple(server.state for server in enabled if server.state.status != "ready")

    def retry(self, name: str) -> None:
        """Start failed servers again by whose names the tool begins, where it is not there.

        One that fails again and again is left alone for longer each time.
        """
        if name not in self._table():
            for server in self._likely(name):
                server.retry()

    def retry_all(self) -> None:
        """Start every failed server again, as `retry` does."""
        for server in self._enabled():
            server.retry()

    def starting(self, name: str) -> tuple[str, ...]:
        """Return the servers that are starting and may bring the tool of this name.

        There are none where the tool is there.
        """
        return tuple(each.config.name for each in self._unsettled(name))

    async def arrival(self, name: str, seconds: float) -> None:
        """Wait until there is a tool of this name, or no server is starting that may bring it.

        At most so long.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while awaited := self._unsettled(name):
                    waits = [asyncio.ensure_future(server.settled()) for server in awaited]
                    try:
                        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for wait in waits:
                            wait.cancel()

    def explain_absence(self, name: str) -> str:
        """Return why there may be no tool of this name just now, in words for the model."""
        states = [each for each in self.states() if each.status not in {"ready", "disabled"}]
        likely = [each for each in states if name.startswith(server_part(each.server))]
        return " ".join(f"The MCP server {each.server} is {each.status}." for each in likely)

    def _unsettled(self, name: str) -> list[Server]:
        """The servers that are starting and may bring the tool, which is not there yet."""
        if name in self._table():
            return []
        return [each for each in self._likely(name) or self._enabled() if each.is_starting]

    def _likely(self, name: str) -> list[Server]:
        """The servers by whose names this tool's name begins."""
        return [each for each in self._enabled() if name.startswith(server_part(each.config.name))]

    def _enabled(self) -> list[Server]:
        return [server for server in self._servers.values() if server.config.enabled]

    def states(self) -> tuple[State, ...]:
        """How each server is just now, in the order of the configuration."""
        return tuple(server.state for server in self._servers.values())

    def restart(self, server: str) -> None:
        """Have a server that failed tried again now, however often it has failed.

        Raises `NotFound`.
        """
        self._server(server).restart()

    async def resources(self, server: str) -> tuple[Resource, ...]:
        """What can be read. This and what follows raise errors of our tree.

        `NotFound` for what is not there, `Unavailable` for a server that is not, `InvalidRequest`
        for what it refuses.
        """
        return await (await self._to(server, "resources")).catalog.resources()

    async def resource_templates(self, server: str) -> tuple[ResourceTemplate, ...]:
        """Families of what can be read."""
        return await (await self._to(server, "resources")).catalog.resource_templates()

    async def read_resource(self, server: str, uri: str) -> tuple[Given, ...]:
        """What a resource holds: text, and bytes up to a size."""
        return await (await self._to(server, "resources")).catalog.read_resource(uri)

    async def subscribe(self, server: str, uri: str) -> None:
        """Have the host's `updated` called when the resource changes, until the server restarts."""
        await (await self._to(server, "resources.subscribe")).catalog.subscribe(uri)

    async def unsubscribe(self, server: str, uri: str) -> None:
        """Have it called no more."""
        await (await self._to(server, "resources.subscribe")).catalog.unsubscribe(uri)

    async def prompts(self, server: str) -> tuple[Prompt, ...]:
        """Messages that the server has ready."""
        return await (await self._to(server, "prompts")).catalog.prompts()

    async def get_prompt(
        self, server: str, name: str, arguments: Mapping[str, str] | None = None
    ) -> FilledPrompt:
        """The prompt, filled in with its arguments."""
        return await (await self._to(server, "prompts")).catalog.get_prompt(
            name, dict(arguments or {})
        )

    async def complete(
        self,
        server: str,
        argument: str,
        begun: str,
        *,
        prompt: str | None = None,
        template: str | None = None,
        known: Mapping[str, str] | None = None,
    ) -> Completion:
        """Values for the argument of a prompt, or of a template by its URI, that begin so.

        `known` are arguments that have their value already. Nothing where the server cannot.
        """
        connection = await self._to(server)
        if "completions" not in connection.capabilities:
            return Completion(values=())
        return await connection.catalog.complete(
            prompt, template, argument, begun, dict(known or {})
        )

    async def set_logging_level(self, server: str, level: LogLevel) -> None:
        """Ask for the server's log lines from this level on."""
        await (await self._to(server, "logging")).set_log_level(level)

    def _server(self, name: str) -> Server:
        server = self._servers.get(name)
        if server is None:
            raise NotFound(f"There is no MCP server {name}.")
        return server

    async def _to(self, name: str, needs: str | None = None) -> Connection:
        connection = await self._server(name).connection()
        if needs is not None and needs not in connection.capabilities:
            raise NotFound(f"The MCP server {name} offers no {needs}.")
        return connection

    def _table(self) -> dict[str, tuple[Server, Tool]]:
        """Tools by the model's names; of two with one name the first server's is meant."""
        table: dict[str, tuple[Server, Tool]] = {}
        for server in self._servers.values():
            for tool in server.tools:
                table.setdefault(tool.spec.name, (server, tool))
        return table

    def _absent(self) -> str:
        """Servers that are not there, whose tool it may have been."""
        absent = [each for each in self.states() if each.status not in {"ready", "disabled"}]
        return " ".join(f"{each.server} is {each.status}." for each in absent)
