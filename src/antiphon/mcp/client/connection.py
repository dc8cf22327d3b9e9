"""One session with one server, over the SDK's client.

Imported in a thread when the first server starts: importing the SDK takes a second.
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
from antiphon.mcp.client.catalog import ResourceSubscriptions, ServerCatalog
from antiphon.mcp.client.client_features import ClientFeatures
from antiphon.mcp.client.http import connect_http, connect_sse
from antiphon.mcp.client.results import describe_end
from antiphon.mcp.client.session_monitor import MonitoredTransport, SessionMonitor
from antiphon.mcp.client.stdio import connect_stdio
from antiphon.mcp.client.tasks import EXTENSION, TaskExtension
from antiphon.mcp.client.tool_caller import ToolCaller
from antiphon.mcp.config.server_config import LogLevel, Mode, ServerConfig
from antiphon.mcp.metadata import MOST_TOOLS, clean_line, clean_text
from antiphon.tools.egress_policy import EgressPolicy
from antiphon.types.errors import AntiphonError, Unavailable

LEAVE_SECONDS = 5.0
"""Time to close a session in order."""
FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds before changes are subscribed to again after the subscription was lost."""
RELIST_SECONDS = 0.1
"""Least time between two listings of tools, however often the server reports a change."""


class Connection:
    """One session, which `run` runs in one task; other methods may be called from any task.

    `tools` are the SDK's, normalized. `calls` and `catalog` exist once the session is ready; the
    other values are empty until then.
    """

    def __init__(
        self,
        config: ServerConfig,
        host: ClientFeatures,
        roots: tuple[str, ...],
        auth: Any,
        changed: Callable[[], None],
        reach: EgressPolicy | None = None,
    ) -> None:
        self.config = config
        self.monitor = SessionMonitor()
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
        self._filter = ResourceSubscriptions()
        self.calls: ToolCaller
        self.catalog: ServerCatalog
        self._client: Client

    async def run(self, mode: Mode, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Connect, call `ready`, and stay until the server ends or `stop` is set.

        Raises any error of the session; `reason` describes it.
        """
        limit = self.config.connect_timeout
        with anyio.CancelScope(deadline=anyio.current_time() + limit) as scope:
            leaving = asyncio.create_task(_cancel_when(stop, scope))
            try:
                async with self._create_client(mode) as client:
                    self._client = client
                    await self._open(mode)
                    scope.deadline = math.inf
                    leaving.cancel()
                    ready()
                    await self._run_until_end(stop)
                    scope.deadline = anyio.current_time() + LEAVE_SECONDS
            finally:
                leaving.cancel()
        if scope.cancelled_caught and not (stop.is_set() or self.monitor.ended.is_set()):
            raise Unavailable(f"it did not answer within {limit:g} s")

    def reason(self, error: BaseException | None) -> str:
        """Return a line that says why the session ended."""
        return describe_end(self.monitor, error)

    async def set_log_level(self, level: LogLevel) -> None:
        """Request log lines from this level on. Since 2026-07-28 each call carries the level."""
        self.calls.log_level = level
        if not self.modern:
            await self.catalog.set_log_level(level)

    @property
    def modern(self) -> bool:
        """True if the protocol is 2026-07-28 or later."""
        return self.protocol in MODERN_PROTOCOL_VERSIONS

    # Life of the session.

    def _create_client(self, mode: Mode) -> Client:
        return Client(
            MonitoredTransport(self._transport(), self.monitor),
            # With a version, the SDK would not ask which features the server has.
            mode="legacy" if mode == "legacy" else "auto",
            cache=None,  # `ServerCatalog` keeps the lists
            read_timeout_seconds=self.config.connect_timeout,
            message_handler=self._handle_notification,
            extensions=[TaskExtension()],
            client_info=types.Implementation(name="antiphon", version=version("antiphon")),
            **self._callbacks.options(),
        )

    def _transport(self) -> AbstractAsyncContextManager[tuple[Any, Any]]:
        match self.config.transport:
            case "stdio":
                return connect_stdio(self.config, self.monitor)
            case "http":
                return connect_http(self.config, self.monitor, self._auth, self._reach)
            case "sse":
                return connect_sse(self.config, self.monitor, self._auth, self._reach)

    async def _open(self, mode: Mode) -> None:
        """Fetch everything a ready server must have: protocol, capabilities, tools."""
        self.protocol = self._client.protocol_version
        if mode == "2026-07-28" and not self.modern:
            raise Unavailable(
                f"it speaks {clean_line(self.protocol, 20)}, and not {mode} as it must"
            )
        self.monitor.modern = self.modern
        self.capabilities = _capabilities(self._client.server_capabilities)
        self.instructions = clean_text(self._client.instructions)
        if info := self._client.server_info:
            self.title = clean_line(info.title or info.name)
            self.version = clean_line(info.version, 60)
        self.calls = ToolCaller(self.config, self._client, self.monitor, self._callbacks)
        self.catalog = ServerCatalog(self.config, self._client, self.monitor, self._filter)
        self.tools = await self._list_tools()
        if self.config.log_level is not None and "logging" in self.capabilities:
            await self.set_log_level(self.config.log_level)

    async def _run_until_end(self, stop: asyncio.Event) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._relist_on_change)
            if self.modern:
                group.start_soon(self._listen_for_changes)
            await _wait_either(self.monitor.ended, stop)
            group.cancel_scope.cancel()

    async def _relist_on_change(self) -> None:
        """List the tools again whenever the server reports a change."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                tools = await self._list_tools()
            except AntiphonError as error:
                log.warning("The tools of %s cannot be listed again: %s", self.config.name, error)
            else:
                if tools != self.tools:
                    self.tools = tools
                    self._changed()
            await anyio.sleep(RELIST_SECONDS)

    async def _listen_for_changes(self) -> None:
        """Subscribe to changes as of protocol 2026-07-28; after a loss, list the tools again."""
        pause = FIRST_PAUSE
        while pause:
            self._filter.changed.clear()
            wanted = self._subscription_options()
            if not wanted:
                await self._filter.changed.wait()
                continue
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(_cancel_when, self._filter.changed, group.cancel_scope)
                    async with self._client.listen(**wanted) as changes:
                        pause = FIRST_PAUSE
                        self._stale.set()  # earlier changes are not announced again
                        async for event in changes:
                            if isinstance(event, ResourceUpdated):
                                self._host.resource_updated(self.config.name, event.uri)
                            else:
                                self._stale.set()
                    group.cancel_scope.cancel()
            except* MCPError as refused:
                codes = {each.code for each in refused.exceptions if isinstance(each, MCPError)}
                if types.METHOD_NOT_FOUND in codes:
                    pause = 0.0  # the server does not know the request: a retry is useless
            except* (SubscriptionLost, TimeoutError):
                self._stale.set()
            if not self._filter.changed.is_set():
                await anyio.sleep(pause)
                pause = min(pause * 2, LAST_PAUSE)

    def _subscription_options(self) -> dict[str, Any]:
        has = self._client.server_capabilities
        wanted: dict[str, Any] = {}
        if has.tools and has.tools.list_changed:
            wanted["tools_list_changed"] = True
        if self._filter.uris:
            wanted["resource_subscriptions"] = sorted(self._filter.uris)
        return wanted

    async def _handle_notification(self, message: types.ServerNotification | Exception) -> None:
        """Handle a notification of protocols before 2026-07-28, which need no subscription."""
        match message:
            case types.ToolListChangedNotification():
                self._stale.set()
            case types.ResourceUpdatedNotification(params=params) if not self.modern:
                self._host.resource_updated(self.config.name, params.uri)
            case types.ElicitCompleteNotification(params=params):
                self._host.elicitation_completed(self.config.name, params.elicitation_id)
            case _:
                pass

    async def _list_tools(self) -> tuple[types.Tool, ...]:
        if "tools" not in self.capabilities:
            return ()
        self.monitor.left_out.clear()
        listed = await self.catalog.list_all(
            self._client.list_tools, lambda page: page.tools, MOST_TOOLS
        )
        tools: dict[str, types.Tool] = {}
        for tool in listed:
            if tools.setdefault(tool.name, tool) is not tool:
                self.monitor.left_out[tool.name] = "it is listed twice, and the first counts"
        return tuple(tools.values())


log = logging.getLogger(__name__)


def _capabilities(has: types.ServerCapabilities) -> tuple[str, ...]:
    """Return the server's capabilities as listed in `ServerState`."""
    offered = {
        "tools": has.tools,
        "resources": has.resources,
        "resources.subscribe": has.resources and has.resources.subscribe,
        "prompts": has.prompts,
        "completions": has.completions,
        "logging": has.logging,
        "tasks": (has.extensions or {}).get(EXTENSION),
    }
    return tuple(name for name, can in offered.items() if can is not None and can is not False)


async def _cancel_when(event: asyncio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _wait_either(first: asyncio.Event, second: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
