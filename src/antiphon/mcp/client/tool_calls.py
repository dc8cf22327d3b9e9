"""Tool calls on a server: sent with the call's id, with progress, always with a result."""

from __future__ import annotations

import asyncio
import math
from typing import Any, cast

import mcp_types as types
from mcp import Client, MCPError
from mcp_types import LOG_LEVEL_META_KEY

from antiphon.mcp.client import output_validation, results
from antiphon.mcp.client.callbacks import Callbacks
from antiphon.mcp.client.results import describe_loss, error_text
from antiphon.mcp.client.session_monitor import SessionMonitor
from antiphon.mcp.config.server_config import LogLevel, ServerConfig
from antiphon.mcp.metadata import clean_line, clean_text
from antiphon.ports import ProgressCallback
from antiphon.tools.deadlines import CallDeadline, run_within
from antiphon.tools.schemas import TooCostly
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
                    read_timeout_seconds=_UNLIMITED,  # the SDK's clock stands still for nobody
                    progress_callback=on_progress,
                    meta=cast(types.RequestParamsMeta, meta),
                )
            await self._check_output(tool, result)
            return result

        try:
            working = await run_within(CallDeadline(self._timeout), call_tool())
            if working is None:
                said = f"gave no result for {tool} within {self._timeout:g} s; {_PERHAPS}"
                return self._fault("timed_out", said)
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
        said = clean_text(error.message, 2_000)
        status = self._monitor.http_status
        if said == _HTTP_ERROR and status is not None:
            login = "; it wants a login" if status in {401, 403} else ""
            return self._fault("unavailable", f"answered {self._monitor.last_failure}{login}")
        faults: dict[int, tuple[ToolFault, str]] = {
            types.CONNECTION_CLOSED: (
                "unavailable",
                f"broke the connection: {said}; {_PERHAPS}",
            ),
            types.INVALID_PARAMS: ("invalid_arguments", f"refuses the call: {said}"),
        }
        return self._fault(*faults.get(error.code, ("failed", f"says: {said}")))

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
        said = f"{describe_loss(self._monitor, self._name)} As to the call of {tool}, {_PERHAPS}."
        return ToolResult(said, is_error=True, fault="unavailable")

    def _fault(self, fault: ToolFault, what: str) -> ToolResult:
        return ToolResult(f"{self._name} {what}", is_error=True, fault=fault)


_HTTP_ERROR = "Server returned an error response"  # the SDK's words for every HTTP status
_PERHAPS = "it may or may not have been carried out"
_UNLIMITED = 10.0 * 365 * 24 * 3600  # the SDK takes no infinity for None
