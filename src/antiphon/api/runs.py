"""Operations on runs: create and list them, request their turns, read their events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Generic, TypedDict

import msgspec
from msgspec import Meta

from antiphon.api.fields import (
    IfBusy,
    ListOrder,
    Long,
    MaxCost,
    MaxTokens,
    MaxToolCalls,
    Metadata,
    Seconds,
    Servers,
    Time,
    Tools,
)
from antiphon.api.operation import A_co, Id, Limit, Listed, Name, Operation
from antiphon.api.threads import NewMessage, PastMessage, PastMessages
from antiphon.types.events import Event
from antiphon.types.runs import (
    EXPIRES_IN,
    MAX_ATTEMPTS,
    MAX_TURNS,
    Deadlines,
    Glob,
    Globs,
    McpServer,
    OnExpiry,
    Run,
    Sampling,
    Status,
)


class RunCall(Operation[A_co], Generic[A_co], frozen=True, kw_only=True):
    """Fields of both operations that start a run; those not given are the assistant's.

    `mcp_servers` are MCP servers whose tools the backend runs, if its operator allows that.
    The model reads `additional_instructions` behind `instructions`, also behind the assistant's.
    With `continues` the run goes on with the last answer of the thread, which was cut: its first
    reply is the rest of that message. It takes neither a message nor a history.
    With `personal` of false it reads neither the caller's personal instructions nor the memories.
    `if_busy` decides what happens to an active run of the thread. The run ends between two turns
    once it has used `max_total_tokens` tokens or cost `max_cost` US dollars, and in any case after
    `timeout` seconds. `allowed_tools` are globs of the names of tools that the model is offered.
    """

    assistant_id: Id | None = None
    model: Name | None = None
    instructions: Long | None = None
    additional_instructions: Long | None = None
    personal: bool = True
    continues: bool = False
    tools: Tools | None = None
    mcp_servers: Servers | None = None
    sampling: Sampling | None = None
    deadlines: Deadlines = Deadlines()
    background: bool = False
    max_turns: Annotated[int, Meta(ge=1, le=1000)] = MAX_TURNS
    max_tool_calls: MaxToolCalls | None = None
    max_total_tokens: MaxTokens | None = None
    max_cost: MaxCost | None = None
    allowed_tools: Globs | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=10)] = MAX_ATTEMPTS
    on_expiry: OnExpiry = "continue"
    expires_in: Seconds = EXPIRES_IN
    timeout: Seconds | None = None
    if_busy: IfBusy = "reject"
    metadata: Metadata = {}


class Options(TypedDict, total=False):
    """Keyword options of `converse`: those fields of `Process` that it does not set itself."""

    thread_id: str
    assistant_id: str
    model: str
    instructions: str
    additional_instructions: str
    personal: bool
    continues: bool
    mcp_servers: tuple[McpServer, ...]
    sampling: Sampling
    deadlines: Deadlines
    max_turns: int
    max_tool_calls: int
    max_total_tokens: int
    max_cost: float
    allowed_tools: tuple[Glob, ...]
    max_attempts: int
    on_expiry: OnExpiry
    expires_in: int
    timeout: int
    if_busy: IfBusy
    metadata: dict[str, str]
    history: tuple[PastMessage, ...]
    temporary: bool
    force_refresh: bool


class CreateRun(RunCall[Run], frozen=True):
    """Create a run; `tools` are those that the caller runs itself.

    The run stays `queued` until `/process` or `/completions` requests its first turn. With
    `background`, the first turn starts at once.
    """

    route: ClassVar[str] = "POST /v1/runs"
    answer: ClassVar[Any] = Run
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    thread_id: Id


class ListRuns(Operation[Listed[Run]], frozen=True):
    """List runs, newest first; with `thread_id`, those of that thread.

    `metadata` selects the runs that have these pairs, and perhaps others. `created_after` and
    `created_before` are times in milliseconds since 1970.
    """

    route: ClassVar[str] = "GET /v1/runs"
    answer: ClassVar[Any] = Listed[Run]

    thread_id: Id | None = None
    limit: Limit = 20
    after: Id | None = None
    status: Status | None = None
    assistant_id: Id | None = None
    model: Name | None = None
    metadata: Metadata | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    order: ListOrder | None = None


class GetRun(Operation[Run], frozen=True):
    """Get one run."""

    route: ClassVar[str] = "GET /v1/runs/{run_id}"
    answer: ClassVar[Any] = Run

    run_id: Id


class CancelRun(Operation[Run], frozen=True):
    """Cancel a run. Returns 202 with the cancelled run; 200, unchanged, if it had ended."""

    route: ClassVar[str] = "POST /v1/runs/{run_id}/cancel"
    answer: ClassVar[Any] = Run
    http_status: ClassVar[int] = 202

    run_id: Id


class Complete(Operation[None], frozen=True):
    """Start the next turn of a run and stream its events."""

    route: ClassVar[str] = "POST /v1/completions"
    answer: ClassVar[Any] = None
    creates: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    run_id: Id
    force_refresh: bool = False


class Process(RunCall[None], frozen=True, kw_only=True):
    """Create the thread, message and run as needed, then stream the turn.

    `history` are messages of a conversation that took place elsewhere; they are added before
    `message`, which may then be missing. With `temporary`, the new thread is in no list or search,
    and is deleted when nothing has changed in it for the setting `temporary_retention`.

    With `run_id`, stream that run's next turn or its turn in progress. With `background`, return
    the run at once.
    """

    route: ClassVar[str] = "POST /v1/process"
    answer: ClassVar[Any] = Run
    creates: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    thread_id: Id | None = None
    message: NewMessage | None = None
    history: PastMessages = ()
    temporary: bool = False
    run_id: Id | None = None
    force_refresh: bool = False


class Follow(Operation[None], frozen=True):
    """Stream a run's events after number `after`, stored and new ones, until the run ends.

    `types` selects events by their types, separated by commas; `run.status` and `turn.ended` always
    come.
    """

    route: ClassVar[str] = "GET /v1/runs/{run_id}/events"
    answer: ClassVar[Any] = None
    streams: ClassVar[bool] = True

    run_id: Id
    after: Annotated[int, Meta(ge=0)] = 0
    types: Name | None = None


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event of a run with its number, counted from 1."""

    number: int
    event: Event


class EventList(msgspec.Struct, frozen=True):
    """Some events of a run, in order; `ended` if the run has ended and these are its last."""

    data: Sequence[LoggedEvent]
    ended: bool


class ListEvents(Operation[EventList], frozen=True):
    """List a run's events after number `after`, for clients that cannot read a stream.

    If there is none yet, the answer waits for up to `wait` seconds. Ask again with the last number
    until `ended`. An answer has about 1 MB at most.
    """

    route: ClassVar[str] = "GET /v1/runs/{run_id}/log"
    answer: ClassVar[Any] = EventList

    run_id: Id
    after: Annotated[int, Meta(ge=0)] = 0
    wait: Annotated[float, Meta(ge=0, le=60)] | None = None
