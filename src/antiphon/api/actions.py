"""Operations on actions: list them, claim them for a worker, submit the outputs of their calls."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from antiphon.api.fields import (
    Attempt,
    LeaseSeconds,
    ListOrder,
    Metadata,
    Time,
    ToolName,
)
from antiphon.api.operation import Id, Limit, Listed, Name, Operation
from antiphon.types.runs import (
    Action,
)


class NewProgress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Progress of a tool: `done` of `total`, if the total is known."""

    done: float
    total: float | None = None
    message: Annotated[str, Meta(max_length=1_000)] = ""


class NewToolOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The output of one tool call."""

    tool_call_id: Id
    output: Annotated[str, Meta(max_length=4_000_000)]
    is_error: bool = False
    metadata: Metadata = {}
    attempt: Attempt | None = None


class SubmitToolOutput(Operation[Action], frozen=True):
    """Save the output of one tool call, once. Repeating the same body returns the same response.

    For an action of kind `approval`, the output is `{"approve": true}` or
    `{"approve": false, "reason": "..."}`. `metadata` becomes that of the tool message, such as the
    ids of `files` for the user. `attempt` is that of a claimed action: the output is refused once
    the claim is lost, and the last output of a turn also requests the next turn.
    """

    route: ClassVar[str] = "POST /v1/submit_tool_output"
    answer: ClassVar[Any] = Action

    run_id: Id
    tool_call_id: Id
    output: Annotated[str, Meta(max_length=4_000_000)]
    is_error: bool = False
    metadata: Metadata = {}
    attempt: Attempt | None = None


class SubmitToolOutputs(Operation[Listed[Action]], frozen=True):
    """Save the outputs of several tool calls of a run, all of them or none.

    Each is as in `submit_tool_output`; repeating the same body returns the same response.
    """

    route: ClassVar[str] = "POST /v1/submit_tool_outputs"
    answer: ClassVar[Any] = Listed[Action]

    run_id: Id
    outputs: Annotated[tuple[NewToolOutput, ...], Meta(min_length=1, max_length=128)]


class ListActions(Operation[Listed[Action]], frozen=True):
    """List hand-off records, oldest first; with `run_id`, those of that run, in call order.

    Pending ones of all runs are what waits for a client or a person. `assistant_id`, `model` and
    `metadata` are those of their runs. `created_after` and `created_before` are times in
    milliseconds since 1970.
    """

    route: ClassVar[str] = "GET /v1/actions"
    answer: ClassVar[Any] = Listed[Action]

    run_id: Id | None = None
    status: Literal["pending", "completed", "failed", "expired", "cancelled"] | None = None
    limit: Limit = 100
    after: Id | None = None
    name: ToolName | None = None
    thread_id: Id | None = None
    assistant_id: Id | None = None
    model: Name | None = None
    metadata: Metadata | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    order: ListOrder | None = None


class GetAction(Operation[Action], frozen=True):
    """Get one hand-off record."""

    route: ClassVar[str] = "GET /v1/actions/{action_id}"
    answer: ClassVar[Any] = Action

    action_id: Id


class ClaimActions(Operation[Listed[Action]], frozen=True, kw_only=True):
    """Claim pending calls of these tools, the oldest first, for a worker that runs them.

    Each is claimed until `lease` seconds from now, and by no other worker until then. `attempt` of
    an action counts its claims; name it when the claim is renewed or released, and when the output
    is submitted. If nothing is pending, the answer waits for up to `wait` seconds. `assistant_id`,
    `model` and `metadata` are those of the runs.
    """

    route: ClassVar[str] = "POST /v1/actions/claim"
    answer: ClassVar[Any] = Listed[Action]

    tools: Annotated[tuple[ToolName, ...], Meta(min_length=1, max_length=512)]
    worker: Name = ""
    limit: Limit = 1
    lease: LeaseSeconds = 30.0
    wait: Annotated[float, Meta(ge=0, le=60)] = 0.0
    thread_id: Id | None = None
    assistant_id: Id | None = None
    model: Name | None = None
    metadata: Metadata | None = None


class RenewClaim(Operation[Action], frozen=True):
    """Prolong the claim of an action to `lease` seconds from now, and save its progress, if given.

    A claim that is lost to another worker cannot be renewed.
    """

    route: ClassVar[str] = "POST /v1/actions/{action_id}/renew"
    answer: ClassVar[Any] = Action

    action_id: Id
    attempt: Attempt
    lease: LeaseSeconds = 30.0
    progress: NewProgress | None = None


class SaveTask(Operation[Action], frozen=True):
    """Save the task at an MCP server that carries out a tool call, while the call is pending.

    A program that goes on with the call later polls this task, and does not call the tool again.
    `task_id` is the server's id of the task, `tool` its name of the tool, `origin` identifies the
    server for the program, without secrets. `attempt` is that of a claimed action. The same task
    again changes nothing; a second task for a call is refused.
    """

    route: ClassVar[str] = "POST /v1/actions/{action_id}/task"
    answer: ClassVar[Any] = Action

    action_id: Id
    task_id: Annotated[str, Meta(min_length=1, max_length=1_024)]
    origin: Annotated[str, Meta(min_length=1, max_length=1_024)]
    tool: Annotated[str, Meta(min_length=1, max_length=256)]
    attempt: Attempt | None = None


class ReleaseClaim(Operation[Action], frozen=True):
    """Release a claimed action: another worker may claim it at once."""

    route: ClassVar[str] = "POST /v1/actions/{action_id}/release"
    answer: ClassVar[Any] = Action

    action_id: Id
    attempt: Attempt
