"""One session with one server, over the SDK's client, and the tool calls in it.

A call is sent with its id, reports progress, and always has a result.

Imported in a thread when the first server starts: importing the SDK takes a second.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any, cast

import anyio
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.subscriptions import ResourceUpdated, SubscriptionLost
from mcp_types import LOG_LEVEL_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from antiphon.mcp.client import output_validation, results
from antiphon.mcp.client.callbacks import Callbacks
from antiphon.mcp.client.catalog import ResourceSubscriptions, ServerCatalog
from antiphon.mcp.client.client_features import ClientFeatures
from antiphon.mcp.client.http import connect_http, connect_sse
from antiphon.mcp.client.results import describe_end, describe_loss, error_text
from antiphon.mcp.client.session_monitor import MonitoredTransport, SessionMonitor
from antiphon.mcp.client.stdio import connect_stdio
from antiphon.mcp.config.server_config import LogLevel, Mode, ServerConfig
from antiphon.mcp.metadata import MOST_TOOLS, clean_line, clean_text
from antiphon.ports import ProgressCallback
from antiphon.tools.argument_check import TooCostly
from antiphon.tools.deadlines import CallDeadline, run_within
from antiphon.tools.egress_policy import EgressPolicy
from antiphon.types.errors import AntiphonError, Unavailable
from antiphon.types.messages import Progress, ToolFault, ToolResult

CALL_ID = "antiphon/call-id"
"""Key in `_meta` of the call's id, by which a server recognizes a repeated call."""
SMALL = 1_000
"""Validation steps that may run on the event loop: some milliseconds."""


class _BadOutput(Exception):
    """The tool's output violates the tool's own schema."""


class ToolCaller:
    """Calls the tools of one server. Each call carries `log_level`, if the protocol supports it."""

    def __init__(
        self, config: ServerConfig, client: Client, monitor: SessionMonitor, callbacks: Callbacks
    ) -> None:
        self.log_level: LogLevel | None = config.log_level
        self._name = clean_line(config.name, 60)
        self._timeout = config.timeout or math.inf
        self._client = client
        self._monitor = monitor
        self._callbacks = callbacks

    async def call(
        self, tool: str, arguments: dict[str, Any], id: str, tell: ProgressCallback
    ) -> ToolResult:
        """Call a tool by the server's own name for it. Cancelling the task reaches the server."""
        meta: dict[str, Any] = {CALL_ID: id}
        if self._monitor.modern and self.log_level is not None:
            meta[LOG_LEVEL_META_KEY] = self.log_level

        async def on_progress(
            progress: float, total: float | None = None, message: str | None = None
        ) -> None:
            if math.isfinite(progress) and (total is None or math.isfinite(total)):
                tell(Progress(progress, total, clean_line(message, 500)))

        async def call_tool() -> types.CallToolResult:
            with self._callbacks.deadlines.join():
                result = await self._client.call_tool(
                    tool,
                    arguments,
                    read_timeout_seconds=_UNLIMITED,  # the SDK's timeout cannot be paused
                    progress_callback=on_progress,
                    meta=cast(types.RequestParamsMeta, meta),
                )
            await self._check_output(tool, result)
            return result

        try:
            working = await run_within(CallDeadline(self._timeout), call_tool())
            if working is None:
                text = f"gave no result for {tool} within {self._timeout:g} s; {_PERHAPS}"
                return self._fault("timed_out", text)
            return results.tool_result(working.result())
        except _BadOutput as error:
            return self._fault("failed", f"gave no valid result for {tool}: {error}")
        except MCPError as error:
            return await self._handle_error(tool, error)
        except Exception as error:  # noqa: BLE001 - a wall to the SDK and to what is no result
            if self._monitor.ended.is_set():
                return self._loss_result(tool)
            return self._fault("failed", f"gave no valid result for {tool}: {error_text(error)}")

    async def _check_output(self, tool: str, result: types.CallToolResult) -> None:
        """Validate the output against the tool's schema. Raises `_BadOutput`.

        A large output is validated in a thread, within a budget of steps.
        """
        schema = self._monitor.output_schemas.get(tool)
        if schema is None or result.is_error:
            return
        if "structured_content" not in result.model_fields_set:
            raise _BadOutput("it has an output schema, but gave no structured content")
        output = result.structured_content
        try:
            try:
                fault = output_validation.find_violation(output, schema, SMALL)
            except TooCostly:
                fault = await asyncio.to_thread(output_validation.find_violation, output, schema)
        except TooCostly:
            self._monitor.unvalidated.add(tool)
            return
        if fault is not None:
            raise _BadOutput(fault)

    async def _handle_error(self, tool: str, error: MCPError) -> ToolResult:
        """Return the result of a call that the server refused."""
        if self._monitor.ended.is_set():
            return self._loss_result(tool)
        if error.code == types.URL_ELICITATION_REQUIRED:
            return await self._require_urls(tool, error)
        message = clean_text(error.message, 2_000)
        status = self._monitor.http_status
        if message == _HTTP_ERROR and status is not None:
            login = "; it wants a login" if status in {401, 403} else ""
            return self._fault("unavailable", f"answered {self._monitor.last_failure}{login}")
        faults: dict[int, tuple[ToolFault, str]] = {
            types.CONNECTION_CLOSED: (
                "unavailable",
                f"broke the connection: {message}; {_PERHAPS}",
            ),
            types.INVALID_PARAMS: ("invalid_arguments", f"refuses the call: {message}"),
        }
        return self._fault(*faults.get(error.code, ("failed", f"says: {message}")))

    async def _require_urls(self, tool: str, error: MCPError) -> ToolResult:
        """Handle a server that wants a person to open a URL before it accepts this call."""
        try:
            data = types.ElicitationRequiredErrorData.model_validate(error.error.data)
        except ValueError:
            return self._fault("failed", "wants something of the user that cannot be understood")
        agreed = await self._callbacks.confirm_urls(data.elicitations)
        then = "has agreed: call again when it is done" if agreed else "did not agree"
        return self._fault(
            "failed", f"takes {tool} only after the user has opened an address; the user {then}"
        )

    def _loss_result(self, tool: str) -> ToolResult:
        text = f"{describe_loss(self._monitor, self._name)} As to the call of {tool}, {_PERHAPS}."
        return ToolResult(text, is_error=True, fault="unavailable")

    def _fault(self, fault: ToolFault, what: str) -> ToolResult:
        return ToolResult(f"{self._name} {what}", is_error=True, fault=fault)


_HTTP_ERROR = "Server returned an error response"  # the SDK's words for every HTTP status
_PERHAPS = "it may or may not have been carried out"
_UNLIMITED = 10.0 * 365 * 24 * 3600  # the SDK takes no infinity for None


LEAVE_SECONDS = 5.0
"""Time to close a session in order."""
FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds before changes are subscribed to again after the subscription was lost."""
RELIST_SECONDS = 0.1
"""Least time between two listings of tools, however often the server reports a change."""


class Connection:
    """One session. `live` runs it, in one task; other methods may be called from any task.

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

    async def live(self, mode: Mode, ready: Callable[[], None], stop: asyncio.Event) -> None:
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
