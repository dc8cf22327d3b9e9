"""All configured MCP servers as one toolbox.

    async with AsyncMcpServerPool(configs, host) as servers:
        missing = await servers.ready(2.0)
        result = await servers.call(ToolCall("c1", "files__read", '{"path": "a.txt"}'))

Servers start in parallel in the background: entering takes no time, and `tools` returns the tools
that are known so far.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from antiphon.mcp.client.client_features import ClientFeatures, NoClientFeatures
from antiphon.mcp.client.server import DELAYS, ProtocolCache, ServerSupervisor
from antiphon.mcp.client.server_listing import (
    Completion,
    FilledPrompt,
    Prompt,
    ResourceTemplate,
    ServerResource,
    ServerState,
)
from antiphon.mcp.config.server_config import LogLevel, ServerConfig
from antiphon.mcp.metadata import tool_name_prefix
from antiphon.ports import ProgressCallback, quiet
from antiphon.settings import deprecated
from antiphon.tools.egress_policy import INTERNET, EgressPolicy
from antiphon.tools.permitted_call import check_permission
from antiphon.types.errors import BadSettings, NotFound, Unavailable
from antiphon.types.messages import ResultPart, TaskHandle, Tool, ToolCall, ToolResult

if TYPE_CHECKING:
    from antiphon.mcp.client.connection import Connection

LEAVE_SECONDS = 8.0
"""Time for all servers to end, in parallel; the rest are cancelled."""


def ignore_state(state: ServerState) -> None:
    """Ignore a change of state."""


class AsyncMcpServerPool:
    """MCP servers as a toolbox; an async context manager.

    `roots` are folders passed to every server besides its own. `auth` returns the `httpx2.Auth` of
    a server over HTTP, or None, and is called in a thread before each connection. `changed` is
    called on the event loop when a server's state or tools change, and must not raise. `delays` are
    seconds before each restart of a server that died. With `reach`, HTTP requests go only where it
    allows, and never through a proxy; `guard` is that of servers that are `guarded`.
    `protocol_cache` remembers servers that need the legacy protocol.
    """

    def __init__(
        self,
        configs: Iterable[ServerConfig],
        host: ClientFeatures | None = None,
        *,
        roots: Sequence[str | PathLike[str]] = (),
        auth: Callable[[ServerConfig], Any] | None = None,
        changed: Callable[[ServerState], None] = ignore_state,
        delays: tuple[float, ...] = DELAYS,
        reach: EgressPolicy | None = None,
        guard: EgressPolicy = INTERNET,
        protocol_cache: ProtocolCache | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        folders = tuple(fspath(root) for root in roots)

        def create(config: ServerConfig) -> ServerSupervisor:
            return ServerSupervisor(
                config,
                host or NoClientFeatures(),
                (*folders, *config.roots),
                auth,
                changed,
                delays,
                reach or (guard if config.guarded else None),
                protocol_cache,
                clock,
            )

        self._create = create
        self._servers = {name: create(each) for name, each in _by_name(configs).items()}
        self._ending: set[ServerSupervisor] = set()
        self._replacements: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> AsyncMcpServerPool:
        """Start every enabled server without waiting for it."""
        for server in self._servers.values():
            server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every server and its process."""
        servers = {*self._servers.values(), *self._ending}
        await asyncio.gather(*(server.finish_checks() for server in servers))
        for server in servers:
            server.stop()
        await _wait_until_ended(servers)
        if self._replacements:
            await asyncio.wait(self._replacements, timeout=LEAVE_SECONDS)

    async def update(self, configs: Iterable[ServerConfig]) -> None:
        """Run these servers from now on, in this order; one update at a time.

        New servers start and are not waited for. Those that are missing are stopped, and those
        whose configuration differs are started again: calls in progress there fail. Raises
        `BadSettings` if two have one name.
        """
        wanted = _by_name(configs)
        servers: dict[str, ServerSupervisor] = {}
        for name, config in wanted.items():
            known = self._servers.get(name)
            if known is None or known.config != config:
                known = self._create(config)
            servers[name] = known
        await self._replace_servers(servers)

    async def relaunch(self, server: str) -> None:
        """Stop the server if it runs, and start it again. Raises `NotFound`."""
        fresh = self._create(self._server(server).config)
        await self._replace_servers({**self._servers, server: fresh})

    async def _replace_servers(self, servers: dict[str, ServerSupervisor]) -> None:
        """Replace the servers. A new server starts after the old one of its name has ended.

        Two processes of one server would compete for its files and ports.
        """
        before, self._servers = self._servers, servers
        old = {each for name, each in before.items() if servers.get(name) is not each}
        new = [each for name, each in servers.items() if before.get(name) is not each]
        for server in new:
            server.announce()
        self._ending |= old
        # Shielded, so that the new servers start even if the caller is cancelled.
        replacing = asyncio.create_task(self._stop_and_start(old, new))
        self._replacements.add(replacing)
        replacing.add_done_callback(self._replacements.discard)
        await asyncio.shield(replacing)

    async def _stop_and_start(
        self, old: Collection[ServerSupervisor], new: Iterable[ServerSupervisor]
    ) -> None:
        await asyncio.gather(*(server.finish_checks() for server in old))
        for server in old:
            successor = self._servers.get(server.config.name)
            if successor is None:
                server.stop("it was removed")
            else:
                server.stop(
                    "it was restarted" if successor.config.enabled else "it was switched off"
                )
        await _wait_until_ended(old)
        self._ending.difference_update(old)
        for server in new:
            server.start()

    def tools(self) -> tuple[Tool, ...]:
        """Return the known tools of all servers, in the order of the configuration."""
        return tuple(tool for _, tool in self._table().values())

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Call the tool on its server, which validates the arguments.

        Raises `ToolChanged` if the call was permitted for the tool as it was, and the server offers
        another one under its name by now, as it may after a restart.
        """
        found = self._table().get(call.name)
        if found is None:
            absent = [each for each in self.states() if each.status not in {"ready", "disabled"}]
            states = " ".join(f"{each.server} is {each.status}." for each in absent)
            return ToolResult(
                f"There is no tool {call.name}. {states}".rstrip(),
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
        now = next((each for each in server.tools if each.own_name == tool.own_name), None)
        if now is None:
            return ToolResult(
                f"There is no tool {call.name} any more.", is_error=True, fault="unknown_tool"
            )
        check_permission(call, now)
        return await connection.calls.call(tool.own_name, arguments or {}, call.id, tell, server)

    async def cancel_task(self, handle: TaskHandle) -> None:
        """Ask the server that has this task to cancel it, if that server is here; never raises."""
        for server in self._servers.values():
            if server.config.origin == handle.origin:
                await server.cancel_task(handle.task_id)

    async def ready(self, seconds: float) -> tuple[ServerState, ...]:
        """Wait for the servers, at most so long; return the states of those that are not ready."""
        enabled = self._enabled_servers
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for server in enabled:
                    await server.wait_until_settled()
        return tuple(server.state for server in enabled if server.state.status != "ready")

    def retry(self, name: str) -> None:
        """Restart failed servers that may offer this tool, if it is absent.

        A server that fails repeatedly is left alone for longer each time.
        """
        if name not in self._table():
            for server in self._candidates(name):
                server.retry()

    def retry_all(self) -> None:
        """Restart every failed server, as `retry` does."""
        for server in self._enabled_servers:
            server.retry()

    def starting(self, name: str) -> tuple[str, ...]:
        """Return names of starting servers that may offer this tool; none if it is present."""
        return tuple(each.config.name for each in self._starting_candidates(name))

    async def arrival(self, name: str, seconds: float) -> None:
        """Wait until the tool is present or no starting server may offer it, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while awaited := self._starting_candidates(name):
                    waits = [
                        asyncio.ensure_future(server.wait_until_settled()) for server in awaited
                    ]
                    try:
                        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for wait in waits:
                            wait.cancel()

    def explain_absence(self, name: str) -> str:
        """Return why the tool may be absent, as text for the model."""
        states = [each for each in self.states() if each.status not in {"ready", "disabled"}]
        likely = [each for each in states if name.startswith(tool_name_prefix(each.server))]
        return " ".join(f"The MCP server {each.server} is {each.status}." for each in likely)

    def _starting_candidates(self, name: str) -> list[ServerSupervisor]:
        """Return the starting servers that may offer this absent tool."""
        if name in self._table():
            return []
        return [
            each for each in self._candidates(name) or self._enabled_servers if each.is_starting
        ]

    def _candidates(self, name: str) -> list[ServerSupervisor]:
        """Return the enabled servers whose tool names begin as this name does."""
        return [
            each
            for each in self._enabled_servers
            if name.startswith(tool_name_prefix(each.config.name))
        ]

    @property
    def _enabled_servers(self) -> list[ServerSupervisor]:
        return [server for server in self._servers.values() if server.config.enabled]

    def states(self) -> tuple[ServerState, ...]:
        """Return the state of each server, in the order of the configuration."""
        return tuple(server.state for server in self._servers.values())

    def restart(self, server: str) -> None:
        """Restart a failed server now, however often it has failed. Raises `NotFound`."""
        self._server(server).restart()

    async def resources(self, server: str) -> tuple[ServerResource, ...]:
        """Return the resources of a server.

        This and the methods below raise `NotFound`, `Unavailable` if the server is gone, and
        `InvalidRequest` if it refuses.
        """
        return await (await self._connect(server, "resources")).catalog.resources()

    async def resource_templates(self, server: str) -> tuple[ResourceTemplate, ...]:
        """Return the resource templates of a server."""
        return await (await self._connect(server, "resources")).catalog.resource_templates()

    async def read_resource(self, server: str, uri: str) -> tuple[ResultPart, ...]:
        """Return the content of a resource: text, and bytes up to a limit."""
        return await (await self._connect(server, "resources")).catalog.read_resource(uri)

    async def subscribe(self, server: str, uri: str) -> None:
        """Subscribe to changes of a resource, until the server restarts.

        Changes are reported by `ClientFeatures.resource_updated`.
        """
        await (await self._connect(server, "resources.subscribe")).catalog.subscribe(uri)

    async def unsubscribe(self, server: str, uri: str) -> None:
        """End the subscription."""
        await (await self._connect(server, "resources.subscribe")).catalog.unsubscribe(uri)

    async def prompts(self, server: str) -> tuple[Prompt, ...]:
        """Return the prompts of a server."""
        return await (await self._connect(server, "prompts")).catalog.prompts()

    async def get_prompt(
        self, server: str, name: str, arguments: Mapping[str, str] | None = None
    ) -> FilledPrompt:
        """Return the prompt with its arguments filled in."""
        return await (await self._connect(server, "prompts")).catalog.get_prompt(
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
        """Return values that begin with `begun`, for the argument of a prompt or a template's URI.

        `known` are arguments with a value already. Empty if the server does not support it.
        """
        connection = await self._connect(server)
        if "completions" not in connection.capabilities:
            return Completion(values=())
        return await connection.catalog.complete(
            prompt, template, argument, begun, dict(known or {})
        )

    async def set_logging_level(self, server: str, level: LogLevel) -> None:
        """Request the server's log lines from this level on."""
        await (await self._connect(server, "logging")).set_log_level(level)

    def _server(self, name: str) -> ServerSupervisor:
        server = self._servers.get(name)
        if server is None:
            raise NotFound(f"There is no MCP server {name}.")
        return server

    async def _connect(self, name: str, needs: str | None = None) -> Connection:
        connection = await self._server(name).connection()
        if needs is not None and needs not in connection.capabilities:
            raise NotFound(f"The MCP server {name} offers no {needs}.")
        return connection

    def _table(self) -> dict[str, tuple[ServerSupervisor, Tool]]:
        """Return tools by the model's names; if two share a name, the first server's wins."""
        table: dict[str, tuple[ServerSupervisor, Tool]] = {}
        for server in self._servers.values():
            for tool in server.tools:
                table.setdefault(tool.spec.name, (server, tool))
        return table


def _by_name(configs: Iterable[ServerConfig]) -> dict[str, ServerConfig]:
    """Return the servers by name. Raises `BadSettings` if two have one name."""
    named: dict[str, ServerConfig] = {}
    for config in configs:
        if named.setdefault(config.name, config) is not config:
            raise BadSettings(
                f"Two MCP servers are named {config.name}.",
                expected="a name of its own for each",
                received=config.name,
            )
    return named


async def _wait_until_ended(servers: Iterable[ServerSupervisor]) -> None:
    """Wait for servers that were asked to stop; cancel those that take too long."""
    tasks = [server.task for server in servers if server.task is not None]
    if not tasks:
        return
    try:
        await asyncio.wait(tasks, timeout=LEAVE_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
    await asyncio.wait(tasks, timeout=LEAVE_SECONDS)


def __getattr__(name: str) -> Any:
    if name == "McpServers":
        deprecated.warn(deprecated.explain_renamed(name, "AsyncMcpServerPool", both=False))
        return AsyncMcpServerPool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
