"""Every operation of the API as a type: its fields, its route, its response.

The server's routes, the OpenAPI document, and the methods of both clients with their signatures are
made from these classes. Operations of administrators are in `admin_operations`, and named here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Generic, Literal, TypedDict

import msgspec
from msgspec import Meta

from antiphon.api.admin_operations import ADMIN_OPERATIONS, OWNER_OPERATIONS
from antiphon.api.admin_operations import MAX_KEY_LENGTH as MAX_KEY_LENGTH
from antiphon.api.admin_operations import BackendServer as BackendServer
from antiphon.api.admin_operations import BaseUrl as BaseUrl
from antiphon.api.admin_operations import CreateKey as CreateKey
from antiphon.api.admin_operations import CreatePerson as CreatePerson
from antiphon.api.admin_operations import CreateProject as CreateProject
from antiphon.api.admin_operations import DeletePerson as DeletePerson
from antiphon.api.admin_operations import DeleteProject as DeleteProject
from antiphon.api.admin_operations import DeleteProviderKey as DeleteProviderKey
from antiphon.api.admin_operations import EraseOwner as EraseOwner
from antiphon.api.admin_operations import Erasure as Erasure
from antiphon.api.admin_operations import ExportOwner as ExportOwner
from antiphon.api.admin_operations import GetPerson as GetPerson
from antiphon.api.admin_operations import GetProject as GetProject
from antiphon.api.admin_operations import GetUsage as GetUsage
from antiphon.api.admin_operations import ImportOwner as ImportOwner
from antiphon.api.admin_operations import KeyScope as KeyScope
from antiphon.api.admin_operations import KeySeconds as KeySeconds
from antiphon.api.admin_operations import ListActs as ListActs
from antiphon.api.admin_operations import ListAllProviderKeys as ListAllProviderKeys
from antiphon.api.admin_operations import ListKeys as ListKeys
from antiphon.api.admin_operations import ListLiveRuns as ListLiveRuns
from antiphon.api.admin_operations import ListOwners as ListOwners
from antiphon.api.admin_operations import ListPeople as ListPeople
from antiphon.api.admin_operations import ListProjects as ListProjects
from antiphon.api.admin_operations import ListProviderKeys as ListProviderKeys
from antiphon.api.admin_operations import ListServers as ListServers
from antiphon.api.admin_operations import LiveRun as LiveRun
from antiphon.api.admin_operations import NewKey as NewKey
from antiphon.api.admin_operations import NewLimits as NewLimits
from antiphon.api.admin_operations import OwnerImport as OwnerImport
from antiphon.api.admin_operations import Password as Password
from antiphon.api.admin_operations import PersonName as PersonName
from antiphon.api.admin_operations import ProviderName as ProviderName
from antiphon.api.admin_operations import ProviderSecret as ProviderSecret
from antiphon.api.admin_operations import RevokeKey as RevokeKey
from antiphon.api.admin_operations import SetOwnersProviderKey as SetOwnersProviderKey
from antiphon.api.admin_operations import SetProviderKey as SetProviderKey
from antiphon.api.admin_operations import SignIn as SignIn
from antiphon.api.admin_operations import UpdateKey as UpdateKey
from antiphon.api.admin_operations import UpdatePerson as UpdatePerson
from antiphon.api.admin_operations import UpdateProject as UpdateProject
from antiphon.api.admin_operations import UsageReport as UsageReport
from antiphon.api.operation import A_co
from antiphon.api.operation import Deleted as Deleted
from antiphon.api.operation import Id as Id
from antiphon.api.operation import Limit as Limit
from antiphon.api.operation import Listed as Listed
from antiphon.api.operation import Name as Name
from antiphon.api.operation import Operation as Operation
from antiphon.api.operation import field_values as field_values
from antiphon.api.operation import given_fields as given_fields
from antiphon.api.operation import path_fields as path_fields
from antiphon.api.operation import to_http as to_http
from antiphon.types.events import Event
from antiphon.types.messages import IndexProgress, Message, Part, Role, ToolSpec, Upload
from antiphon.types.runs import (
    DAY,
    EXPIRES_IN,
    MAX_ATTEMPTS,
    MAX_TOOL_CALLS,
    MAX_TURNS,
    Action,
    Assistant,
    Deadlines,
    McpServer,
    OnExpiry,
    Run,
    Sampling,
    Status,
    Thread,
)

Title = Annotated[str, Meta(max_length=512)]
Long = Annotated[str, Meta(max_length=1_000_000)]
Content = (
    Annotated[str, Meta(max_length=4_000_000)] | Annotated[tuple[Part, ...], Meta(max_length=256)]
)
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]
MaxToolCalls = Annotated[int, Meta(ge=1, le=MAX_TOOL_CALLS)]
Tools = Annotated[tuple[ToolSpec, ...], Meta(max_length=512)]
Servers = Annotated[tuple[McpServer, ...], Meta(max_length=32)]
Seconds = Annotated[int, Meta(ge=1, le=365 * DAY)]
IfBusy = Literal["reject", "wait", "interrupt", "rollback"]
ListOrder = Literal["newest", "oldest"]
ToolName = Annotated[str, Meta(min_length=1, max_length=128)]
Attempt = Annotated[int, Meta(ge=1)]
LeaseSeconds = Annotated[float, Meta(ge=1, le=3_600)]
Time = Annotated[int, Meta(ge=0)]


class Model(msgspec.Struct, frozen=True):
    """A model that can be named: `id` is `provider:name`.

    `context_tokens` is how much of a conversation the model gets at most, if that is known: the
    model's own limit, or a smaller one from the settings.
    """

    id: str
    provider: str
    default: bool = False
    context_tokens: int | None = None


class ProviderProblem(msgspec.Struct, frozen=True):
    """A provider whose models could not be listed, with `code` and `message` of the error."""

    provider: str
    code: str
    message: str


class ModelList(Listed[Model], frozen=True):
    """The models of all providers that answered; `problems` lists the other providers."""

    problems: Sequence[ProviderProblem] = ()


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """A place where a search found its words: a message, or a thread's title without `message_id`.

    `number` is the message's place in its thread, from 1. `snippet` is a part of the text on one
    line, `highlights` are the places of words in it as `[start, end)`, counted in code points.
    `score` is higher for a better match. `created_at` is the time of the message, or of the thread,
    in milliseconds since 1970.
    """

    thread_id: str
    title: str
    message_id: str | None = None
    number: int | None = None
    role: Role | None = None
    snippet: str
    highlights: Sequence[tuple[int, int]]
    score: float
    created_at: int


class SearchResults(Listed[SearchHit], frozen=True):
    """Results of a search; while older messages are still being indexed, `indexing` says so."""

    indexing: IndexProgress | None = None


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


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event of a run with its number, counted from 1."""

    number: int
    event: Event


class EventList(msgspec.Struct, frozen=True):
    """Some events of a run, in order; `ended` if the run has ended and these are its last."""

    data: Sequence[LoggedEvent]
    ended: bool


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new message for `/process`."""

    content: Content
    role: Literal["user", "system"] = "user"


class PastMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message of a conversation that took place elsewhere."""

    content: Content
    role: Literal["user", "assistant", "system"] = "user"
    metadata: Metadata = {}


class CreateAssistant(Operation[Assistant], frozen=True):
    """Create an assistant: a model, instructions, tools and sampling settings."""

    route: ClassVar[str] = "POST /v1/assistants"
    answer: ClassVar[Any] = Assistant
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    name: Name = ""
    model: Name | None = None
    instructions: Long | None = None
    tools: Tools = ()
    mcp_servers: Servers = ()
    sampling: Sampling = Sampling()
    max_tool_calls: MaxToolCalls | None = None
    metadata: Metadata = {}


class ListAssistants(Operation[Listed[Assistant]], frozen=True):
    """List assistants, newest first."""

    route: ClassVar[str] = "GET /v1/assistants"
    answer: ClassVar[Any] = Listed[Assistant]

    limit: Limit = 20
    after: Id | None = None


class GetAssistant(Operation[Assistant], frozen=True):
    """Get one assistant."""

    route: ClassVar[str] = "GET /v1/assistants/{assistant_id}"
    answer: ClassVar[Any] = Assistant

    assistant_id: Id


class UpdateAssistant(Operation[Assistant], frozen=True):
    """Change the given fields of an assistant; the others stay."""

    route: ClassVar[str] = "PATCH /v1/assistants/{assistant_id}"
    answer: ClassVar[Any] = Assistant

    assistant_id: Id
    name: Name | msgspec.UnsetType = msgspec.UNSET
    model: Name | msgspec.UnsetType | None = msgspec.UNSET
    instructions: Long | msgspec.UnsetType | None = msgspec.UNSET
    tools: Tools | msgspec.UnsetType = msgspec.UNSET
    mcp_servers: Servers | msgspec.UnsetType = msgspec.UNSET
    sampling: Sampling | msgspec.UnsetType = msgspec.UNSET
    max_tool_calls: MaxToolCalls | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET


class DeleteAssistant(Operation[Deleted], frozen=True):
    """Delete an assistant; its runs stay."""

    route: ClassVar[str] = "DELETE /v1/assistants/{assistant_id}"
    answer: ClassVar[Any] = Deleted

    assistant_id: Id


class CreateThread(Operation[Thread], frozen=True):
    """Create a thread, empty or with the messages of a conversation that took place elsewhere.

    Without a title, a thread with messages is named after the first one of the user.
    """

    route: ClassVar[str] = "POST /v1/threads"
    answer: ClassVar[Any] = Thread
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    title: Title = ""
    metadata: Metadata = {}
    messages: Annotated[tuple[PastMessage, ...], Meta(max_length=10_000)] = ()


class ListThreads(Operation[Listed[Thread]], frozen=True):
    """List threads, newest first; `q` searches titles and messages.

    `q` finds the threads whose title, or one of whose messages, contains all of its words and its
    quoted phrases. `parent_id` selects the threads that were forked from that thread. The default
    `order` is `created`; `activity` lists the last changed thread first. Pass `next` of a page as
    `after`, with the same `order`.

    Threads that replaced each other, as editing a message does, are a family: the metadata field
    `replaces` of a thread is the id of the thread whose place it takes. The default `branches` is
    `all`; `latest` lists only the last changed thread of each family and omits threads without
    messages. `family` is the id of a thread and selects its whole family.

    `metadata` selects the threads that have these pairs, and perhaps others. `created_after` and
    `created_before` are times in milliseconds since 1970.
    """

    route: ClassVar[str] = "GET /v1/threads"
    answer: ClassVar[Any] = Listed[Thread]

    limit: Limit = 20
    after: Annotated[str, Meta(max_length=160)] | None = None
    q: Name | None = None
    parent_id: Id | None = None
    order: Literal["created", "activity", "newest", "oldest"] | None = None
    branches: Literal["all", "latest"] | None = None
    family: Id | None = None
    metadata: Metadata | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    pinned: bool | None = None


class GetThread(Operation[Thread], frozen=True):
    """Get one thread."""

    route: ClassVar[str] = "GET /v1/threads/{thread_id}"
    answer: ClassVar[Any] = Thread

    thread_id: Id


class UpdateThread(Operation[Thread], frozen=True):
    """Change the given fields of a thread; the others stay.

    `metadata` replaces the whole of it. A change of `pinned` alone does not count as activity.
    """

    route: ClassVar[str] = "PATCH /v1/threads/{thread_id}"
    answer: ClassVar[Any] = Thread

    thread_id: Id
    title: Title | msgspec.UnsetType = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET
    pinned: bool | msgspec.UnsetType = msgspec.UNSET


class DeleteThread(Operation[Deleted], frozen=True):
    """Delete a thread with its messages, runs, actions and events."""

    route: ClassVar[str] = "DELETE /v1/threads/{thread_id}"
    answer: ClassVar[Any] = Deleted

    thread_id: Id


class ForkThread(Operation[Thread], frozen=True):
    """Create a thread from a copy of this one's messages up to `message_id`, or of all of them.

    With `before`, that message is left out. A tool call whose output is not copied is not copied
    either.
    """

    route: ClassVar[str] = "POST /v1/threads/{thread_id}/fork"
    answer: ClassVar[Any] = Thread
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    thread_id: Id
    message_id: Id | None = None
    title: Title | None = None
    before: bool = False


class CreateMessage(Operation[Message], frozen=True):
    """Append a user or system message; with role `tool`, save a tool output.

    A tool output needs `tool_call_id`, and `run_id` unless it is for the thread's active run. A
    system message with `compacts` is a summary: models get it in place of the messages up to that
    number, which stay in the thread. 0 cancels all earlier summaries.
    """

    route: ClassVar[str] = "POST /v1/messages"
    answer: ClassVar[Any] = Message
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    thread_id: Id
    content: Content
    role: Literal["user", "system", "tool"] = "user"
    tool_call_id: Id | None = None
    run_id: Id | None = None
    is_error: bool = False
    metadata: Metadata = {}
    compacts: Annotated[int, Meta(ge=0)] | None = None


class ListMessages(Operation[Listed[Message]], frozen=True):
    """List a thread's messages, in order; without `thread_id`, those of all threads as they came.

    The default `order` is `oldest`; `newest` lists the last message first. `metadata` selects the
    messages that have these pairs, and perhaps others. `created_after` and `created_before` are
    times in milliseconds since 1970.
    """

    route: ClassVar[str] = "GET /v1/messages"
    answer: ClassVar[Any] = Listed[Message]

    thread_id: Id | None = None
    limit: Limit = 20
    after: Id | None = None
    order: ListOrder | None = None
    role: Role | None = None
    run_id: Id | None = None
    metadata: Metadata | None = None
    created_after: Time | None = None
    created_before: Time | None = None


class GetMessage(Operation[Message], frozen=True):
    """Get one message."""

    route: ClassVar[str] = "GET /v1/messages/{message_id}"
    answer: ClassVar[Any] = Message

    message_id: Id


class RunCall(Operation[A_co], Generic[A_co], frozen=True, kw_only=True):
    """Fields of both operations that start a run; those not given are the assistant's.

    `mcp_servers` are MCP servers whose tools the backend runs, if its operator allows that.
    `if_busy` decides what happens to an active run of the thread.
    """

    assistant_id: Id | None = None
    model: Name | None = None
    instructions: Long | None = None
    tools: Tools | None = None
    mcp_servers: Servers | None = None
    sampling: Sampling | None = None
    deadlines: Deadlines = Deadlines()
    background: bool = False
    max_turns: Annotated[int, Meta(ge=1, le=1000)] = MAX_TURNS
    max_tool_calls: MaxToolCalls | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=10)] = MAX_ATTEMPTS
    on_expiry: OnExpiry = "continue"
    expires_in: Seconds = EXPIRES_IN
    if_busy: IfBusy = "reject"
    metadata: Metadata = {}


class Options(TypedDict, total=False):
    """Keyword options of `converse`: those fields of `Process` that it does not set itself."""

    thread_id: str
    assistant_id: str
    model: str
    instructions: str
    mcp_servers: tuple[McpServer, ...]
    sampling: Sampling
    deadlines: Deadlines
    max_turns: int
    max_tool_calls: int
    max_attempts: int
    on_expiry: OnExpiry
    expires_in: int
    if_busy: IfBusy
    metadata: dict[str, str]
    force_refresh: bool


class Search(Operation[SearchResults], frozen=True):
    """Search titles and messages; the best matches come first.

    `q` is words, all of which a message must contain; `deploy` also finds "deployment". Text in
    quotation marks is found as it stands. Case and diacritics do not count. In a script without
    spaces, such as Chinese, characters that follow each other are found so. Nothing is found
    without a letter, a digit or an emoji.

    Threads whose title matches are first, at most `limit`; then messages. Of these, the hundred
    newest that match are ranked together, then the hundred before them, and so on. A page may have
    fewer items than `limit` although there are more: pass its `next` as `after`. Of a message and
    its copies in forked threads the newest is listed.
    """

    route: ClassVar[str] = "GET /v1/search"
    answer: ClassVar[Any] = SearchResults

    q: Name
    limit: Limit = 20
    after: Annotated[str, Meta(max_length=160)] | None = None


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


class ReleaseClaim(Operation[Action], frozen=True):
    """Give a claimed action back: another worker may claim it at once."""

    route: ClassVar[str] = "POST /v1/actions/{action_id}/release"
    answer: ClassVar[Any] = Action

    action_id: Id
    attempt: Attempt


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

    With `run_id`, stream that run's next turn or its turn in progress. With `background`, return
    the run at once.
    """

    route: ClassVar[str] = "POST /v1/process"
    answer: ClassVar[Any] = Run
    creates: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    thread_id: Id | None = None
    message: NewMessage | None = None
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


class ListFiles(Operation[Listed[Upload]], frozen=True):
    """List uploaded files, newest first."""

    route: ClassVar[str] = "GET /v1/files"
    answer: ClassVar[Any] = Listed[Upload]

    limit: Limit = 20
    after: Id | None = None


class GetFile(Operation[Upload], frozen=True):
    """Get the record of one file; its bytes are at `/v1/files/{file_id}/content`."""

    route: ClassVar[str] = "GET /v1/files/{file_id}"
    answer: ClassVar[Any] = Upload

    file_id: Id


class DeleteFile(Operation[Deleted], frozen=True):
    """Delete a file. Messages that it is attached to stay; models read that it is gone."""

    route: ClassVar[str] = "DELETE /v1/files/{file_id}"
    answer: ClassVar[Any] = Deleted

    file_id: Id


class ListModels(Operation[ModelList], frozen=True):
    """List the available models; with `model`, only that one, without asking its provider."""

    route: ClassVar[str] = "GET /v1/models"
    answer: ClassVar[Any] = ModelList

    model: Name | None = None


OPERATIONS: tuple[type[Operation[Any]], ...] = (
    CreateAssistant,
    ListAssistants,
    GetAssistant,
    UpdateAssistant,
    DeleteAssistant,
    CreateThread,
    ListThreads,
    GetThread,
    UpdateThread,
    DeleteThread,
    ForkThread,
    CreateMessage,
    ListMessages,
    GetMessage,
    Search,
    CreateRun,
    ListRuns,
    GetRun,
    CancelRun,
    SubmitToolOutput,
    SubmitToolOutputs,
    ListActions,
    GetAction,
    ClaimActions,
    RenewClaim,
    ReleaseClaim,
    Complete,
    Process,
    Follow,
    ListEvents,
    ListFiles,
    GetFile,
    DeleteFile,
    ListModels,
    *ADMIN_OPERATIONS,
    *OWNER_OPERATIONS,
)
