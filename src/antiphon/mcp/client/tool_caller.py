"""Tool calls in one session with one server. Each carries its id, and always gives a result."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import mcp_types as types
from mcp import Client, MCPError
from mcp_types import LOG_LEVEL_META_KEY

from antiphon.mcp.client import output_validation, results
from antiphon.mcp.client.callbacks import Callbacks
from antiphon.mcp.client.results import UNCERTAIN, describe_loss, error_text
from antiphon.mcp.client.session_monitor import SessionMonitor
from antiphon.mcp.client.task_follower import TaskError, TaskFollower, TaskServer
from antiphon.mcp.client.tasks import (
    EXTENSION,
    TaskCreated,
    TaskFailed,
    TaskRequests,
    TaskState,
    parse_state,
)
from antiphon.mcp.config.server_config import LogLevel, ServerConfig
from antiphon.mcp.metadata import clean_line, clean_text
from antiphon.ports import ProgressCallback
from antiphon.tools.argument_check import TooCostly
from antiphon.tools.deadlines import CallDeadline, pause_deadline, run_within
from antiphon.tools.task_journal import claim_journal
from antiphon.types.messages import Progress, TaskHandle, ToolFault, ToolResult

CALL_ID = "antiphon/call-id"
"""Key in `_meta` of the call's id, by which a server recognizes a repeated call."""
LAST_LOOK_SECONDS = 5.0
"""Time to check a task whose `task_timeout` has passed before this process began to follow it."""
SMALL = 1_000
"""Validation steps that may run on the event loop: some milliseconds."""


class _BadOutput(Exception):
    """The tool's output violates the tool's own schema."""

    fault: ToolFault = "failed"

    def __init__(self, tool: str, why: str) -> None:
        super().__init__(why)
        self.what = f"gave no valid result for {tool}: {why}"


class ToolCaller:
    """Calls the tools of one server. Each call carries `log_level`, if the protocol supports it."""

    def __init__(
        self, config: ServerConfig, client: Client, monitor: SessionMonitor, callbacks: Callbacks
    ) -> None:
        self.log_level: LogLevel | None = config.log_level
        self._name = clean_line(config.name, 60)
        self._origin = config.origin
        self._timeout = config.timeout or math.inf
        self._task_timeout = config.task_timeout
        self._client = client
        self._monitor = monitor
        self._callbacks = callbacks
        self.task_requests = TaskRequests(client, callbacks)

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        id: str,
        tell: ProgressCallback,
        server: TaskServer,
    ) -> ToolResult:
        """Call a tool by the server's own name for it. Cancelling the task reaches the server.

        A call that already has a task at the server is not sent again: its task is followed.
        `server` outlives this session, and follows the task in later ones too.
        """
        meta: dict[str, Any] = {CALL_ID: id}
        if self._monitor.modern and self.log_level is not None:
            meta[LOG_LEVEL_META_KEY] = self.log_level

        async def on_progress(
            progress: float, total: float | None = None, message: str | None = None
        ) -> None:
            if math.isfinite(progress) and (total is None or math.isfinite(total)):
                tell(Progress(progress, total, clean_line(message, 500)))

        async def send() -> types.CallToolResult:
            with self._callbacks.deadlines.join():
                return await self._client.call_tool(
                    tool,
                    arguments,
                    read_timeout_seconds=_UNLIMITED,  # the SDK's timeout cannot be paused
                    progress_callback=on_progress,
                    meta=cast(types.RequestParamsMeta, meta),
                )

        async def call_tool() -> types.CallToolResult:
            result = await self._send_or_follow(tool, id, send, tell, server)
            await self._check_output(tool, result)
            return result

        try:
            task = await run_within(CallDeadline(self._timeout), call_tool())
            if task is None:
                text = f"gave no result for {tool} within {self._timeout:g} s; {UNCERTAIN}"
                return self._fault("timed_out", text)
            return results.tool_result(task.result())
        except (_BadOutput, TaskFailed) as error:
            return self._fault(error.fault, error.what)
        except MCPError as error:
            return await self._handle_error(tool, error)
        except Exception as error:  # noqa: BLE001 - raised by the SDK, or for what is no result
            if self._monitor.ended.is_set():
                return self._loss_result(tool)
            return self._fault("failed", f"gave no valid result for {tool}: {error_text(error)}")

    async def _send_or_follow(
        self,
        tool: str,
        call_id: str,
        send: Callable[[], Awaitable[types.CallToolResult]],
        tell: ProgressCallback,
        server: TaskServer,
    ) -> types.CallToolResult:
        """Send the call, unless it has a task already; return its result, or that of its task."""
        journal = claim_journal(call_id)
        handle, created = await journal.find(call_id), None
        if handle is None:
            try:
                return await send()
            except TaskCreated as answer:
                handle, created = await self._read_created(tool, answer, server)
        elif (handle.origin, handle.tool) != (self._origin, tool):
            raise TaskFailed(
                "has no task for this call, which was sent to "
                f"{clean_line(handle.origin, 100)} and is not sent again; {UNCERTAIN}",
                is_over=True,
            )
        follower = TaskFollower(
            handle,
            call_id,
            server=server,
            journal=journal,
            tell=tell,
            is_saved=created is None,
        )
        if self._task_timeout is None:
            return await follower.follow(created)
        left = self._task_timeout
        if created is None:
            left = max(left - follower.age_at_start, LAST_LOOK_SECONDS)
        with pause_deadline():
            task = await run_within(CallDeadline(left), follower.follow(created))
        if task is None:
            limit = f"{self._task_timeout:g} s, its task_timeout"
            raise TaskFailed(
                f"has not completed its task within {limit}; {UNCERTAIN}", fault="timed_out"
            )
        return task.result()

    async def _read_created(
        self, tool: str, answer: TaskCreated, server: TaskServer
    ) -> tuple[TaskHandle, TaskState]:
        """Return the handle and the first state of a new task.

        Raises `TaskFailed`. A task with an id, whose state is not valid, is cancelled.
        """
        try:
            state = parse_state(answer.state)
        except TaskFailed as failed:
            if not failed.is_over:
                await server.cancel_task(str(answer.state.get("taskId")))
            raise
        if EXTENSION not in (self._client.server_capabilities.extensions or {}):
            raise TaskFailed(
                f"answers with a task, but does not declare the extension {EXTENSION}; {UNCERTAIN}"
            )
        now = round(time.time() * 1000)
        handle = TaskHandle(task_id=state.task_id, origin=self._origin, tool=tool, created_at=now)
        return handle, state

    async def _check_output(self, tool: str, result: types.CallToolResult) -> None:
        """Validate the output against the tool's schema. Raises `_BadOutput`.

        A large output is validated in a thread, within a budget of steps.
        """
        schema = self._monitor.output_schemas.get(tool)
        if schema is None or result.is_error:
            return
        if "structured_content" not in result.model_fields_set:
            raise _BadOutput(tool, "it has an output schema, but gave no structured content")
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
            raise _BadOutput(tool, fault)

    async def _handle_error(self, tool: str, error: MCPError) -> ToolResult:
        """Return the result of a call that the server refused."""
        if self._monitor.ended.is_set() and not isinstance(error, TaskError):
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
                f"broke the connection: {message}; {UNCERTAIN}",
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
        text = f"{describe_loss(self._monitor, self._name)} As to the call of {tool}, {UNCERTAIN}."
        return ToolResult(text, is_error=True, fault="unavailable")

    def _fault(self, fault: ToolFault, what: str) -> ToolResult:
        return ToolResult(f"{self._name} {what}", is_error=True, fault=fault)


_HTTP_ERROR = "Server returned an error response"  # the SDK's words for every HTTP status
_UNLIMITED = 10.0 * 365 * 24 * 3600  # the SDK takes no infinity for None
