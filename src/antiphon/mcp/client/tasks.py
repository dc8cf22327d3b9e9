"""Tasks of an MCP server: the requests about them, and their states, which are untrusted.

This is the extension `io.modelcontextprotocol/tasks` (SEP-2663) of protocol 2026-07-28. The tasks
of protocol 2025-11-25, whose types the SDK has, are something else and are not supported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import mcp_types as types
import msgspec
from mcp import Client
from mcp.client import ClientExtension
from mcp.client.extension import ClaimContext, ResultClaim
from mcp.client.session import ClientRequestContext
from pydantic import ConfigDict, TypeAdapter, ValidationError

from antiphon.mcp.client.callbacks import Callbacks
from antiphon.mcp.client.session_monitor import MOST_ITEMS
from antiphon.mcp.metadata import clean_line, truncate_lists
from antiphon.types.json_values import is_object
from antiphon.types.messages import ToolFault

EXTENSION = "io.modelcontextprotocol/tasks"
LEAST_INTERVAL, USUAL_INTERVAL, MOST_INTERVAL = 0.1, 1.0, 300.0
"""Seconds between two polls: bounds of what a server may ask for, and where it asks for nothing."""
LONGEST_ID = 1_024
MOST_QUESTIONS = 8
"""Inputs that a task may require at the same time."""
LONGEST_KEY = 256
REQUEST_SECONDS = 30.0
"""Time for the answer to one request about a task."""

TaskStatus = Literal["working", "input_required", "completed", "failed", "cancelled"]
OVER: frozenset[TaskStatus] = frozenset(("completed", "failed", "cancelled"))


class TaskFailed(Exception):
    """A task that gives no result. `what` continues a sentence that begins with the server's name.

    `is_over` is True if there is nothing left to cancel.
    """

    def __init__(self, what: str, *, fault: ToolFault = "failed", is_over: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.fault: ToolFault = fault
        self.is_over = is_over


class TaskState(msgspec.Struct, frozen=True, kw_only=True):
    """A valid state of a task. `interval` and `ttl` are seconds; `ttl` runs from the creation.

    `requests` are the required inputs by key, `result` that of a completed task, `error` that of a
    failed one, all as the server wrote them.
    """

    task_id: str
    status: TaskStatus
    message: str
    interval: float
    ttl: float | None
    requests: dict[str, Any] = {}
    result: dict[str, Any] = {}
    error: dict[str, Any] = {}


class TaskCreated(Exception):
    """A tool call was answered with a task in this state, which is unchecked."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        super().__init__()
        self.state = state


class TaskExtension(ClientExtension):
    """Declares the extension; a call that is answered with a task raises `TaskCreated`."""

    identifier = EXTENSION

    def claims(self) -> Sequence[ResultClaim[Any]]:
        """Return the claim of results of the type `task`."""
        return (ResultClaim(result_type="task", model=_CreatedTask, resolve=_raise_created),)


class TaskRequests:
    """Requests about tasks in one session. They raise `MCPError`."""

    def __init__(self, client: Client, callbacks: Callbacks) -> None:
        self._session = client.session
        self._callbacks = callbacks

    async def get(self, task_id: str) -> TaskState:
        """Return the current state of a task. Raises `TaskFailed` for one that is not valid."""
        request = _GetTask(params=_TaskParams(task_id=task_id))
        answer = await self._session.send_request(request, _Untyped, REQUEST_SECONDS)
        raw = answer.model_extra or {}
        if raw.get("resultType", "complete") != "complete":
            raise TaskFailed("answered a question about its task with something else")
        return parse_state(raw, task_id)

    async def update(self, task_id: str, answers: dict[str, Any]) -> None:
        """Send the answers to required inputs."""
        request = _UpdateTask(params=_UpdateParams(task_id=task_id, input_responses=answers))
        await self._session.send_request(request, _Untyped, REQUEST_SECONDS)

    async def cancel(self, task_id: str) -> None:
        """Ask the server to cancel a task."""
        request = _CancelTask(params=_TaskParams(task_id=task_id))
        await self._session.send_request(request, _Untyped, REQUEST_SECONDS)

    async def answer(self, key: str, request: Any) -> dict[str, Any]:
        """Return the answer to a required input, as to the same request outside a task.

        The deadlines of the current call pause while a person is asked. Raises `TaskFailed`.
        """
        try:
            wanted = _input_request.validate_python(request, by_name=False)
        except ValidationError as error:
            raise TaskFailed("requires an input that cannot be understood") from error
        meta = wanted.params.meta if wanted.params else None
        context = ClientRequestContext(session=self._session, request_id=key, meta=meta)
        with self._callbacks.deadlines.join():
            answer = await self._session.dispatch_input_request(context, wanted)
        if isinstance(answer, types.ErrorData):
            why = clean_line(answer.message, 200)
            raise TaskFailed(f"requires an input that is not given here: {why}")
        return answer.model_dump(by_alias=True, mode="json", exclude_none=True)


def parse_state(raw: Mapping[str, Any], task_id: str | None = None) -> TaskState:
    """Return the state of a task as the server sent it, that of `task_id` if this is known.

    An interval or a TTL that is no number counts as none. Raises `TaskFailed`.
    """
    given = raw.get("taskId")
    if not isinstance(given, str) or not 0 < len(given) <= LONGEST_ID or not given.isprintable():
        raise TaskFailed("started a task without a usable id", is_over=task_id is None)
    if task_id not in (None, given):
        raise TaskFailed("answered a question about its task with another task")
    status = _STATUSES.get(str(raw.get("status")))
    if status is None:
        shown = clean_line(str(raw.get("status")), 40)
        raise TaskFailed(f"says that its task is {shown}, which is no status")
    requests, result, error = (raw.get(name) for name in ("inputRequests", "result", "error"))
    has_questions = (
        is_object(requests)
        and len(requests) <= MOST_QUESTIONS
        and all(len(key) <= LONGEST_KEY for key in requests)
    )
    if status == "input_required" and task_id is not None and not has_questions:
        raise TaskFailed(
            f"requires inputs for its task that cannot be given: at most {MOST_QUESTIONS}, each "
            "with a key"
        )
    if status == "completed" and task_id is not None and not is_object(result):
        raise TaskFailed("completed its task without a result", is_over=True)
    interval, ttl = _number(raw.get("pollIntervalMs")), _number(raw.get("ttlMs"))
    return TaskState(
        task_id=given,
        status=status,
        message=clean_line(raw.get("statusMessage"), 500),
        interval=(
            USUAL_INTERVAL
            if interval is None
            else min(max(interval / 1000, LEAST_INTERVAL), MOST_INTERVAL)
        ),
        ttl=None if ttl is None else max(0.0, ttl / 1000),
        requests=requests if status == "input_required" and is_object(requests) else {},
        result=result if status == "completed" and is_object(result) else {},
        error=error if status == "failed" and is_object(error) else {},
    )


def parse_result(state: TaskState) -> types.CallToolResult:
    """Return the result of a completed task. Raises `TaskFailed`."""
    raw = dict(state.result)
    truncate_lists(raw, MOST_ITEMS)
    try:
        result = types.CallToolResult.model_validate(raw, by_name=False)
    except ValidationError as error:
        raise TaskFailed(
            "completed its task with something that is no result of a tool", is_over=True
        ) from error
    if result.result_type != "complete":
        raise TaskFailed("completed its task with another task", is_over=True)
    return result


_STATUSES: dict[str, TaskStatus] = {status: status for status in get_args(TaskStatus)}


class _TaskParams(types.RequestParams):
    task_id: str


class _UpdateParams(_TaskParams):
    input_responses: dict[str, Any]


class _GetTask(types.Request[_TaskParams, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    name_param = "taskId"


class _UpdateTask(types.Request[_UpdateParams, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"
    name_param = "taskId"


class _CancelTask(types.Request[_TaskParams, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    name_param = "taskId"


class _Untyped(types.Result):
    model_config = ConfigDict(extra="allow")


class _CreatedTask(_Untyped):
    result_type: Literal["task"]


_input_request: TypeAdapter[types.InputRequest] = TypeAdapter(types.InputRequest)


async def _raise_created(task: _CreatedTask, context: ClaimContext) -> types.CallToolResult:
    raise TaskCreated(task.model_extra or {})


def _number(value: Any) -> float | None:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if numeric and abs(value) < 1e300 and math.isfinite(value) else None
