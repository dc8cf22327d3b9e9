"""A call of a server's tool: sent with its id, told of as it goes, a result whatever happens."""

from __future__ import annotations

import asyncio
import math
from typing import Any, cast

import mcp_types as types
from mcp import Client, MCPError
from mcp_types import LOG_LEVEL_META_KEY

from antiphon.mcp.client import output_validation, results
from antiphon.mcp.client.callbacks import Callbacks
from antiphon.mcp.client.results import account, in_words
from antiphon.mcp.client.session_monitor import Watch
from antiphon.mcp.config.server_config import LogLevel, ServerConfig
from antiphon.mcp.metadata import told, told_line
from antiphon.ports import Tell
from antiphon.tools.deadlines import Clock, within
from antiphon.tools.schemas import TooCostly
from antiphon.types.messages import Progress, ToolFault, ToolResult

CALL_ID = "antiphon/call-id"
"""The key in `_meta` under which a server finds the call's id: the same call has the same one."""


SMALL = 1_000
"""Steps that are judged on the loop: some milliseconds."""


class _BadOutput(Exception):
    """The tool's output does not follow the tool's own schema."""


class Calls:
    """Calls of one server's tools. `log_level` goes with each, where the protocol has it so."""

    def __init__(
        self, config: ServerConfig, client: Client, watch: Watch, callbacks: Callbacks
    ) -> None:
        self.log_level: LogLevel | None = config.log_level
        self._name = told_line(config.name, 60)
        self._timeout = config.timeout or math.inf
        self._client = client
        self._watch = watch
        self._callbacks = callbacks

    async def call(self, tool: str, arguments: dict[str, Any], id: str, tell: Tell) -> ToolResult:
        """Call a tool by the server's own name for it. Cancelling the task reaches the server."""
        meta: dict[str, Any] = {CALL_ID: id}
        if self._watch.modern and self.log_level is not None:
            meta[LOG_LEVEL_META_KEY] = self.log_level

        async def progressed(
            progress: float, total: float | None = None, message: str | None = None
        ) -> None:
            if math.isfinite(progress) and (total is None or math.isfinite(total)):
                tell(Progress(progress, total, told_line(message, 500)))

        async def called() -> types.CallToolResult:
            with self._callbacks.hush.heeded():
                result = await self._client.call_tool(
                    tool,
                    arguments,
                    read_timeout_seconds=_UNLIMITED,  # the SDK's clock stands still for nobody
                    progress_callback=progressed,
                    meta=cast(types.RequestParamsMeta, meta),
                )
            await self._check_output(tool, result)
            return result

        try:
            working = await within(Clock(self._timeout), called())
            if working is None:
                said = f"gave no result for {tool} within {self._timeout:g} s; {_PERHAPS}"
                return self._fault("timed_out", said)
            return results.tool_result(working.result())
        except _BadOutput as error:
            return self._fault("failed", f"gave no valid result for {tool}: {error}")
        except MCPError as error:
            return await self._refused(tool, error)
        except Exception as error:  # noqa: BLE001 - a wall to the SDK and to what is no result
            if self._watch.over.is_set():
                return self._gone(tool)
            return self._fault("failed", f"gave no valid result for {tool}: {in_words(error)}")

    async def _check_output(self, tool: str, result: types.CallToolResult) -> None:
        """Judge the output by the schema that the tool was listed with. Raises `_BadOutput`.

        A large one is judged in a thread: that has an end, and nobody waits for it on the loop.
        """
        schema = self._watch.output_schemas.get(tool)
        if schema is None or result.is_error:
            return
        if "structured_content" not in result.model_fields_set:
            raise _BadOutput("it has an output schema, but gave no structured content")
        output = result.structured_content
        try:
            try:
                fault = output_validation.fault(output, schema, SMALL)
            except TooCostly:
                fault = await asyncio.to_thread(output_validation.fault, output, schema)
        except TooCostly:
            self._watch.unjudged.add(tool)
            return
        if fault is not None:
            raise _BadOutput(fault)

    async def _refused(self, tool: str, error: MCPError) -> ToolResult:
        """What the protocol says no to."""
        if self._watch.over.is_set():
            return self._gone(tool)
        if error.code == types.URL_ELICITATION_REQUIRED:
            return await self._sent_away(tool, error)
        said = told(error.message, 2_000)
        status = self._watch.http_status
        if said == _HTTP_ERROR and status is not None:
            login = "; it wants a login" if status in {401, 403} else ""
            return self._fault("unavailable", f"answered {self._watch.trouble}{login}")
        faults: dict[int, tuple[ToolFault, str]] = {
            types.CONNECTION_CLOSED: (
                "unavailable",
                f"broke the connection: {said}; {_PERHAPS}",
            ),
            types.INVALID_PARAMS: ("invalid_arguments", f"refuses the call: {said}"),
        }
        return self._fault(*faults.get(error.code, ("failed", f"says: {said}")))

    async def _sent_away(self, tool: str, error: MCPError) -> ToolResult:
        """The server wants a person to go to an address before it takes this call."""
        try:
            data = types.ElicitationRequiredErrorData.model_validate(error.error.data)
        except ValueError:
            return self._fault("failed", "wants something of the user that cannot be understood")
        agreed = await self._callbacks.agreed(data.elicitations)
        then = "has agreed: call again when it is done" if agreed else "did not agree"
        return self._fault(
            "failed", f"takes {tool} only after the user has opened an address; the user {then}"
        )

    def _gone(self, tool: str) -> ToolResult:
        said = f"{account(self._watch, self._name)} As to the call of {tool}, {_PERHAPS}."
        return ToolResult(said, is_error=True, fault="unavailable")

    def _fault(self, fault: ToolFault, what: str) -> ToolResult:
        return ToolResult(f"{self._name} {what}", is_error=True, fault=fault)


_HTTP_ERROR = "Server returned an error response"  # the SDK's words for every HTTP status
_PERHAPS = "it may or may not have been carried out"
_UNLIMITED = 10.0 * 365 * 24 * 3600  # the SDK takes no infinity for None
