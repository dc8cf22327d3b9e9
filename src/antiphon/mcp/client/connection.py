"""One session with one server, from its start to its end: everything said over the SDK's client.

Loaded by name, in a thread, when the first server is started: importing the SDK takes a second.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any

import anyio
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.subscriptions import ResourceUpdated, SubscriptionLost
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from antiphon.mcp.client.callbacks import Callbacks
from antiphon.mcp.client.catalog import Catalog, Filter
from antiphon.mcp.client.client_features import Host
from antiphon.mcp.client.http import http, sse
from antiphon.mcp.client.results import reason
from antiphon.mcp.client.session_monitor import Watch, watched
from antiphon.mcp.client.stdio import stdio
from antiphon.mcp.client.tool_calls import Calls
from antiphon.mcp.config.server_config import LogLevel, Mode, ServerConfig
from antiphon.mcp.metadata import MOST_TOOLS, told, told_line
from antiphon.tools.egress_policy import Reach
from antiphon.types.errors import AntiphonError, Unavailable

LEAVE_SECONDS = 5.0
"""To part from a server in good order."""
FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds before changes are subscribed to again, when the subscription was lost."""
RELIST_SECONDS = 0.1
"""Between two listings: a server that says all the time that it has changed is heard so often."""


class Connection:
    """A session: `live` is its whole life, in one task; the rest may be called from any task.

    `tools` are the SDK's, mended and in order. `calls` and `catalog` are there once it is ready;
    the other values are empty until then.
    """

    def __init__(
        self,
        config: ServerConfig,
        host: Host,
        roots: tuple[str, ...],
        auth: Any,
        changed: Callable[[], None],
        reach: Reach | None = None,
    ) -> None:
        self.config = config
        self.watch = Watch()
        self.tools: tuple[types.Tool, ...] = ()
        self.protocol = ""
        self.title = ""
        self.version = ""
        self.instructions = ""
        self.capabilities: tuple[str, ...] = ()
        self._host = host
        self._auth = auth
        self._reach = reach
        self._callbacks = Callbacks(config, host, roots)
        self._changed = changed
        self._stale = asyncio.Event()
        self._filter = Filter()
        self.calls: Calls
        self.catalog: Catalog
        self._client: Client

    async def live(self, mode: Mode, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Connect, call `ready`, and stay until the server ends or `stop` is set.

        Raises whatever went wrong; `reason` puts it into words.
        """
        limit = self.config.connect_timeout
        with anyio.CancelScope(deadline=anyio.current_time() + limit) as scope:
            leaving = asyncio.create_task(_cancel_when(stop, scope))
            try:
                async with self._entered(mode) as client:
                    self._client = client
                    await self._open(mode)
                    scope.deadline = math.inf
                    leaving.cancel()
                    ready()
                    await self._stay(stop)
                    scope.deadline = anyio.current_time() + LEAVE_SECONDS
            finally:
                leaving.cancel()
        if scope.cancelled_caught and not self._left(stop):
            raise Unavailable(f"it did not answer within {limit:g} s")

    def reason(self, error: BaseException | None) -> str:
        """Why the session ended, in a line."""
        return reason(self.watch, error)

    async def set_log_level(self, level: LogLevel) -> None:
        """Ask for log lines from this level on; a newer server is told with each call."""
        self.calls.log_level = level
        if not self.modern:
            await self.catalog.set_log_level(level)

    @property
    def modern(self) -> bool:
        """Whether the protocol is 2026-07-28 or later."""
        return self.protocol in MODERN_PROTOCOL_VERSIONS

    # The session's life.

    def _entered(self, mode: Mode) -> Client:
        return Client(
            watched(self._transport(), self.watch),
            # A version the SDK would take on trust, and not ask what the server can.
            mode="legacy" if mode == "legacy" else "auto",
            cache=None,  # what is kept, we keep
            read_timeout_seconds=self.config.connect_timeout,
            message_handler=self._heard,
            client_info=types.Implementation(name="antiphon", version=version("antiphon")),
            **self._callbacks.options(),
        )

    def _transport(self) -> AbstractAsyncContextManager[tuple[Any, Any]]:
        match self.config.transport:
            case "stdio":
                return stdio(self.config, self.watch)
            case "http":
                return http(self.config, self.watch, self._auth, self._reach)
            case "sse":
                return sse(self.config, self.watch, self._auth, self._reach)

    async def _open(self, mode: Mode) -> None:
        """What is to be known before the server counts as ready."""
        self.protocol = self._client.protocol_version
        if mode == "2026-07-28" and not self.modern:
            raise Unavailable(
                f"it speaks {told_line(self.protocol, 20)}, and not {mode} as it must"
            )
        self.watch.modern = self.modern
        self.capabilities = _capabilities(self._client.server_capabilities)
        self.instructions = told(self._client.instructions)
        if info := self._client.server_info:
            self.title = told_line(info.title or info.name)
            self.version = told_line(info.version, 60)
        self.calls = Calls(self.config, self._client, self.watch, self._callbacks)
        self.catalog = Catalog(self.config, self._client, self.watch, self._filter)
        self.tools = await self._listed()
        if self.config.log_level is not None and "logging" in self.capabilities:
            await self.set_log_level(self.config.log_level)

    async def _stay(self, stop: asyncio.Event) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._relisting)
            if self.modern:
                group.start_soon(self._listening)
            await _either(self.watch.over, stop)
            group.cancel_scope.cancel()

    def _left(self, stop: asyncio.Event) -> bool:
        return stop.is_set() or self.watch.over.is_set()

    async def _relisting(self) -> None:
        """List the tools again whenever the server says that they are others."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                tools = await self._listed()
            except AntiphonError as error:
                log.warning("The tools of %s cannot be listed again: %s", self.config.name, error)
            else:
                if tools != self.tools:
                    self.tools = tools
                    self._changed()
            await anyio.sleep(RELIST_SECONDS)

    async def _listening(self) -> None:
        """Subscribe to changes as the protocol of 2026-07-28 has it; lost ones are fetched anew."""
        pause = FIRST_PAUSE
        while pause:
            self._filter.changed.clear()
            wanted = self._wanted_changes()
            if not wanted:
                await self._filter.changed.wait()
                continue
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._until_refiltered, group.cancel_scope)
                    async with self._client.listen(**wanted) as changes:
                        pause = FIRST_PAUSE
                        self._stale.set()  # what changed before this is not told again
                        async for event in changes:
                            self._happened(event)
                    group.cancel_scope.cancel()
            except* MCPError as refused:
                if _unheard_of(refused):
                    pause = 0.0
            except* (SubscriptionLost, TimeoutError):
                self._stale.set()
            if not self._filter.changed.is_set():
                await anyio.sleep(pause)
                pause = min(pause * 2, LAST_PAUSE)

    async def _until_refiltered(self, scope: anyio.CancelScope) -> None:
        await self._filter.changed.wait()
        scope.cancel()

    def _wanted_changes(self) -> dict[str, Any]:
        has = self._client.server_capabilities
        wanted: dict[str, Any] = {}
        if has.tools and has.tools.list_changed:
            wanted["tools_list_changed"] = True
        if self._filter.uris:
            wanted["resource_subscriptions"] = sorted(self._filter.uris)
        return wanted

    def _happened(self, event: object) -> None:
        if isinstance(event, ResourceUpdated):
            self._host.updated(self.config.name, event.uri)
        else:
            self._stale.set()

    async def _heard(self, message: types.ServerNotification | Exception) -> None:
        """A notification of the protocols before 2026-07-28, where they come unasked."""
        match message:
            case types.ToolListChangedNotification():
                self._stale.set()
            case types.ResourceUpdatedNotification(params=params) if not self.modern:
                self._host.updated(self.config.name, params.uri)
            case types.ElicitCompleteNotification(params=params):
                self._host.finished(self.config.name, params.elicitation_id)
            case _:
                pass

    async def _listed(self) -> tuple[types.Tool, ...]:
        if "tools" not in self.capabilities:
            return ()
        self.watch.left_out.clear()
        listed = await self.catalog.all(
            self._client.list_tools, lambda page: page.tools, MOST_TOOLS
        )
        tools: dict[str, types.Tool] = {}
        for tool in listed:
            if tools.setdefault(tool.name, tool) is not tool:
                self.watch.left_out[tool.name] = "it is listed twice, and the first counts"
        return tuple(tools.values())


log = logging.getLogger(__name__)


def _capabilities(has: types.ServerCapabilities) -> tuple[str, ...]:
    """What the server says it can, as `State` has it."""
    said = {
        "tools": has.tools,
        "resources": has.resources,
        "resources.subscribe": has.resources and has.resources.subscribe,
        "prompts": has.prompts,
        "completions": has.completions,
        "logging": has.logging,
    }
    return tuple(name for name, can in said.items() if can is not None and can is not False)


def _unheard_of(group: BaseExceptionGroup[MCPError]) -> bool:
    """Whether the server does not know the request at all, so that repeating it is no use."""
    codes = {error.code for error in group.exceptions if isinstance(error, MCPError)}
    return types.METHOD_NOT_FOUND in codes


async def _cancel_when(event: asyncio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
