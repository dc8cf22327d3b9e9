"""Every call of the API as a value: what it asks, its route, what it answers.

The server's routes, the OpenAPI document, the SDK's methods and their signatures all come from this
file. A call's fields travel in the path where the route names them, in the query of a GET, and in
the JSON body of everything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from antiphon.errors import InvalidRequest
from antiphon.messages import Message, Part, ToolSpec, Upload
from antiphon.people import Discreet, Key, Person, Role, Spent
from antiphon.runs import DAY, Action, Assistant, Deadlines, McpServer, Run, Sampling, Thread

A_co = TypeVar("A_co", covariant=True)

Name = Annotated[str, Meta(max_length=256)]
Title = Annotated[str, Meta(max_length=512)]
Id = Annotated[str, Meta(max_length=128)]
Long = Annotated[str, Meta(max_length=1_000_000)]
Content = (
    Annotated[str, Meta(max_length=4_000_000)] | Annotated[tuple[Part, ...], Meta(max_length=256)]
)
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]
Tools = Annotated[tuple[ToolSpec, ...], Meta(max_length=512)]
Servers = Annotated[tuple[McpServer, ...], Meta(max_length=32)]
Limit = Annotated[int, Meta(ge=1, le=100)]
Seconds = Annotated[int, Meta(ge=1, le=365 * DAY)]
IfBusy = Literal["reject", "wait", "interrupt", "rollback"]


class Listed(msgspec.Struct, Generic[A_co], frozen=True):
    """A page of a list; ask again with `after=next` while `has_more`."""

    data: Sequence[A_co]
    has_more: bool
    next: str | None = None


class Deleted(msgspec.Struct, frozen=True):
    """What was deleted is gone."""

    id: str
    deleted: bool = True


class Model(msgspec.Struct, frozen=True):
    """A model that can be named: `id` is `provider:name`.

    `context_tokens` is how much of a conversation it is told at most, where that is known: what the
    model takes, or less where the settings say so.
    """

    id: str
    provider: str
    default: bool = False
    context_tokens: int | None = None


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message as `/process` takes it."""

    content: Content
    role: Literal["user", "system"] = "user"


class Call(msgspec.Struct, Generic[A_co], frozen=True, forbid_unknown_fields=True):
    """A request. `answer` is the type that comes back; for a stream, events do.

    `http_status` is that of success. `creates` says that an `Idempotency-Key` is honoured. `scope`
    is what a key must be for; without it `read` for a GET, and `write` for everything else.
    """

    route: ClassVar[str]
    answer: ClassVar[Any]
    http_status: ClassVar[int] = 200
    creates: ClassVar[bool] = False
    streams: ClassVar[bool] = False
    scope: ClassVar[str | None] = None


class CreateAssistant(Call[Assistant], frozen=True):
    """Define who answers."""

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
    metadata: Metadata = {}


class ListAssistants(Call[Listed[Assistant]], frozen=True):
    """Assistants, newest first."""

    route: ClassVar[str] = "GET /v1/assistants"
    answer: ClassVar[Any] = Listed[Assistant]

    limit: Limit = 20
    after: Id | None = None


class GetAssistant(Call[Assistant], frozen=True):
    """One assistant."""

    route: ClassVar[str] = "GET /v1/assistants/{assistant_id}"
    answer: ClassVar[Any] = Assistant

    assistant_id: Id


class UpdateAssistant(Call[Assistant], frozen=True):
    """Change what is given; the rest stays."""

    route: ClassVar[str] = "PATCH /v1/assistants/{assistant_id}"
    answer: ClassVar[Any] = Assistant

    assistant_id: Id
    name: Name | msgspec.UnsetType = msgspec.UNSET
    model: Name | msgspec.UnsetType | None = msgspec.UNSET
    instructions: Long | msgspec.UnsetType | None = msgspec.UNSET
    tools: Tools | msgspec.UnsetType = msgspec.UNSET
    mcp_servers: Servers | msgspec.UnsetType = msgspec.UNSET
    sampling: Sampling | msgspec.UnsetType = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET


class DeleteAssistant(Call[Deleted], frozen=True):
    """Delete an assistant; its runs stay."""

    route: ClassVar[str] = "DELETE /v1/assistants/{assistant_id}"
    answer: ClassVar[Any] = Deleted

    assistant_id: Id


class CreateThread(Call[Thread], frozen=True):
    """Begin an empty conversation."""

    route: ClassVar[str] = "POST /v1/threads"
    answer: ClassVar[Any] = Thread
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    title: Title = ""
    metadata: Metadata = {}


class ListThreads(Call[Listed[Thread]], frozen=True):
    """Threads, newest first; `q` searches titles and messages.

    With `parent_id` those alone that were forked from that thread.
    """

    route: ClassVar[str] = "GET /v1/threads"
    answer: ClassVar[Any] = Listed[Thread]

    limit: Limit = 20
    after: Id | None = None
    q: Name | None = None
    parent_id: Id | None = None


class GetThread(Call[Thread], frozen=True):
    """One thread."""

    route: ClassVar[str] = "GET /v1/threads/{thread_id}"
    answer: ClassVar[Any] = Thread

    thread_id: Id


class UpdateThread(Call[Thread], frozen=True):
    """Change what is given; the rest stays."""

    route: ClassVar[str] = "PATCH /v1/threads/{thread_id}"
    answer: ClassVar[Any] = Thread

    thread_id: Id
    title: Title | msgspec.UnsetType = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET


class DeleteThread(Call[Deleted], frozen=True):
    """Delete a thread with its messages, runs, actions and events."""

    route: ClassVar[str] = "DELETE /v1/threads/{thread_id}"
    answer: ClassVar[Any] = Deleted

    thread_id: Id


class ForkThread(Call[Thread], frozen=True):
    """A new thread that begins with this one's messages up to `message_id`, or with all of them.

    With `before` that message is the first that is left out. A tool call whose output would be left
    behind is left behind with it.
    """

    route: ClassVar[str] = "POST /v1/threads/{thread_id}/fork"
    answer: ClassVar[Any] = Thread
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    thread_id: Id
    message_id: Id | None = None
    title: Title | None = None
    before: bool = False


class CreateMessage(Call[Message], frozen=True):
    """Append a user or system message; with role `tool`, save a tool output.

    A tool output needs `tool_call_id`, and `run_id` unless it is the thread's active run. A system
    message with `compacts` is a summary: from now on models are told it in place of the messages up
    to that number, which stay in the thread. 0 takes back every summary before it.
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


class ListMessages(Call[Listed[Message]], frozen=True):
    """A thread's messages, in order."""

    route: ClassVar[str] = "GET /v1/messages"
    answer: ClassVar[Any] = Listed[Message]

    thread_id: Id
    limit: Limit = 20
    after: Id | None = None


class GetMessage(Call[Message], frozen=True):
    """One message."""

    route: ClassVar[str] = "GET /v1/messages/{message_id}"
    answer: ClassVar[Any] = Message

    message_id: Id


class RunCall(Call[A_co], Generic[A_co], frozen=True, kw_only=True):
    """What both ways to start a run may say of it; what is not given follows the assistant.

    `mcp_servers` are servers whose tools this side runs, where its operator allows that. `if_busy`
    says what becomes of an active run in the thread.
    """

    assistant_id: Id | None = None
    model: Name | None = None
    instructions: Long | None = None
    tools: Tools | None = None
    mcp_servers: Servers | None = None
    sampling: Sampling | None = None
    deadlines: Deadlines = Deadlines()
    background: bool = False
    max_turns: Annotated[int, Meta(ge=1, le=1000)] = 50
    max_attempts: Annotated[int, Meta(ge=1, le=10)] = 3
    on_expiry: Literal["continue", "expire"] = "continue"
    expires_in: Seconds = 7 * DAY
    if_busy: IfBusy = "reject"
    metadata: Metadata = {}


class CreateRun(RunCall[Run], frozen=True):
    """Start a run; `tools` are those that the caller will execute itself.

    The run waits in `queued` until its first turn is asked for by `/process` or `/completions`, or
    at once with `background`.
    """

    route: ClassVar[str] = "POST /v1/runs"
    answer: ClassVar[Any] = Run
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    thread_id: Id


class ListRuns(Call[Listed[Run]], frozen=True):
    """Runs, newest first; with `thread_id`, that thread's."""

    route: ClassVar[str] = "GET /v1/runs"
    answer: ClassVar[Any] = Listed[Run]

    thread_id: Id | None = None
    limit: Limit = 20
    after: Id | None = None


class GetRun(Call[Run], frozen=True):
    """One run."""

    route: ClassVar[str] = "GET /v1/runs/{run_id}"
    answer: ClassVar[Any] = Run

    run_id: Id


class CancelRun(Call[Run], frozen=True):
    """Stop a run. 202 with the cancelled run; 200 and unchanged if it had ended."""

    route: ClassVar[str] = "POST /v1/runs/{run_id}/cancel"
    answer: ClassVar[Any] = Run
    http_status: ClassVar[int] = 202

    run_id: Id


class SubmitToolOutput(Call[Action], frozen=True):
    """Save the output of one tool call, once. The same body again gives the same answer.

    Of an action of kind `approval` the output is `{"approve": true}`, or
    `{"approve": false, "reason": "..."}`.
    `metadata` goes to the tool message, such as the ids of `files` that a person may look at.
    """

    route: ClassVar[str] = "POST /v1/submit_tool_output"
    answer: ClassVar[Any] = Action

    run_id: Id
    tool_call_id: Id
    output: Annotated[str, Meta(max_length=4_000_000)]
    is_error: bool = False
    metadata: Metadata = {}


class ListActions(Call[Listed[Action]], frozen=True):
    """The hand-off records of a run, in call order."""

    route: ClassVar[str] = "GET /v1/actions"
    answer: ClassVar[Any] = Listed[Action]

    run_id: Id
    status: Literal["pending", "completed", "failed", "expired", "cancelled"] | None = None
    limit: Limit = 100
    after: Id | None = None


class GetAction(Call[Action], frozen=True):
    """One hand-off record."""

    route: ClassVar[str] = "GET /v1/actions/{action_id}"
    answer: ClassVar[Any] = Action

    action_id: Id


class Complete(Call[None], frozen=True):
    """Run the next turn of this run and stream it."""

    route: ClassVar[str] = "POST /v1/completions"
    answer: ClassVar[Any] = None
    creates: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    run_id: Id
    force_refresh: bool = False


class Process(RunCall[None], frozen=True, kw_only=True):
    """Make what is missing (thread, message, run), then stream the turn.

    With `run_id` it is that run's next turn, or the turn in progress. With `background` the answer
    is the run, at once.
    """

    route: ClassVar[str] = "POST /v1/process"
    answer: ClassVar[Any] = Run
    creates: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    thread_id: Id | None = None
    message: NewMessage | None = None
    run_id: Id | None = None
    force_refresh: bool = False


class Follow(Call[None], frozen=True):
    """Replay a run's events above `after`, then follow them until the run has ended."""

    route: ClassVar[str] = "GET /v1/runs/{run_id}/events"
    answer: ClassVar[Any] = None
    streams: ClassVar[bool] = True

    run_id: Id
    after: Annotated[int, Meta(ge=0)] = 0


class ListFiles(Call[Listed[Upload]], frozen=True):
    """Uploaded files, newest first."""

    route: ClassVar[str] = "GET /v1/files"
    answer: ClassVar[Any] = Listed[Upload]

    limit: Limit = 20
    after: Id | None = None


class GetFile(Call[Upload], frozen=True):
    """What is known of one file; its bytes are at `/v1/files/{file_id}/content`."""

    route: ClassVar[str] = "GET /v1/files/{file_id}"
    answer: ClassVar[Any] = Upload

    file_id: Id


class ListModels(Call[Listed[Model]], frozen=True):
    """The models that can be named here; with `model` that one, without asking any provider."""

    route: ClassVar[str] = "GET /v1/models"
    answer: ClassVar[Any] = Listed[Model]

    model: Name | None = None


# Administration. What holds a password or gives a token takes no idempotency key, for the answer,
# and a digest of the body, are kept under it.


class LiveRun(msgspec.Struct, frozen=True):
    """A run that has not ended, and whose it is."""

    run: Run
    owner: str


class NewKey(Discreet, frozen=True):
    """A key with its text, which is told now and never again."""

    key: Key
    token: str


class UsageReport(msgspec.Struct, frozen=True):
    """What was spent since a day, latest day first; `cut` where there were more rows than these."""

    since: str
    rows: Sequence[Spent]
    cut: bool = False


class BackendServer(msgspec.Struct, frozen=True):
    """An MCP server that runs may name, and how it is.

    `status` is `idle` until a run has named it, then `starting`, `ready`, `restarting`, `failed` or
    `closed`; `unusable` where its configuration is at fault. `problem` says why, in one line.
    """

    name: str
    status: str
    transport: str = ""
    tools: int = 0
    problem: str = ""


PersonName = Annotated[str, Meta(max_length=128)]
Subject = Annotated[str, Meta(max_length=512)]
Password = Annotated[str, Meta(max_length=1024)]
KeyScope = Literal["read", "write", "admin"]


class CreatePerson(Discreet, Call[Person], frozen=True):
    """Let somebody log in: by a password of at least 8 characters, or as `subject` elsewhere.

    Names are unique whatever their case. Raises `Conflict` for one that is taken.
    """

    route: ClassVar[str] = "POST /v1/people"
    answer: ClassVar[Any] = Person
    http_status: ClassVar[int] = 201
    scope: ClassVar[str | None] = "admin"

    name: PersonName
    role: Role = "user"
    password: Password | None = None
    subject: Subject | None = None


class ListPeople(Call[Listed[Person]], frozen=True):
    """Everybody who may log in, or might if they were not disabled; oldest first."""

    route: ClassVar[str] = "GET /v1/people"
    answer: ClassVar[Any] = Listed[Person]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class GetPerson(Call[Person], frozen=True):
    """One person."""

    route: ClassVar[str] = "GET /v1/people/{person_id}"
    answer: ClassVar[Any] = Person
    scope: ClassVar[str | None] = "admin"

    person_id: Id


class UpdatePerson(Discreet, Call[Person], frozen=True):
    """Change what is given; the rest stays. `sign_out` voids every login there is.

    So does a new password, and `disabled`, which revokes their keys besides. The last admin can be
    neither demoted nor disabled.
    """

    route: ClassVar[str] = "PATCH /v1/people/{person_id}"
    answer: ClassVar[Any] = Person
    scope: ClassVar[str | None] = "admin"

    person_id: Id
    name: PersonName | msgspec.UnsetType = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET
    password: Password | msgspec.UnsetType = msgspec.UNSET
    sign_out: bool = False


class DeletePerson(Call[Deleted], frozen=True):
    """Remove somebody, and revoke their keys. Their threads stay; the last admin does too."""

    route: ClassVar[str] = "DELETE /v1/people/{person_id}"
    answer: ClassVar[Any] = Deleted
    scope: ClassVar[str | None] = "admin"

    person_id: Id


class SignIn(Discreet, Call[Person], frozen=True):
    """Who it is that logs in with this name and password, or whom the caller has proven.

    `subject` is who they are where they have just logged in; with `create` they are made where they
    are unknown, called `name` (a number is added where that is taken), in that `role`. An unknown
    name, a wrong password and somebody disabled are `SignInRefused`.
    """

    route: ClassVar[str] = "POST /v1/sign_in"
    answer: ClassVar[Any] = Person
    scope: ClassVar[str | None] = "admin"

    name: PersonName | None = None
    password: Password | None = None
    subject: Subject | None = None
    create: bool = False
    role: Role = "user"


class CreateKey(Call[NewKey], frozen=True):
    """Make an API key. The first one locks the server: from then on every call needs one."""

    route: ClassVar[str] = "POST /v1/keys"
    answer: ClassVar[Any] = NewKey
    http_status: ClassVar[int] = 201
    scope: ClassVar[str | None] = "admin"

    name: Name
    owner: Id
    scopes: Annotated[tuple[KeyScope, ...], Meta(min_length=1, max_length=3)] = ("read", "write")


class ListKeys(Call[Listed[Key]], frozen=True):
    """The keys without their secrets, the revoked ones too; oldest first."""

    route: ClassVar[str] = "GET /v1/keys"
    answer: ClassVar[Any] = Listed[Key]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class RevokeKey(Call[Key], frozen=True):
    """From now on the key opens nothing."""

    route: ClassVar[str] = "DELETE /v1/keys/{key_id}"
    answer: ClassVar[Any] = Key
    scope: ClassVar[str | None] = "admin"

    key_id: Id


class ListLiveRuns(Call[Listed[LiveRun]], frozen=True):
    """The runs of everybody that have not ended, newest first."""

    route: ClassVar[str] = "GET /v1/live_runs"
    answer: ClassVar[Any] = Listed[LiveRun]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class GetUsage(Call[UsageReport], frozen=True):
    """What runs used and cost in the last `days`, by the day they ended, the model and the owner.

    What a thread has used stays when the thread is deleted.
    """

    route: ClassVar[str] = "GET /v1/usage"
    answer: ClassVar[Any] = UsageReport
    scope: ClassVar[str | None] = "admin"

    days: Annotated[int, Meta(ge=1, le=366)] = 30


class ListServers(Call[Listed[BackendServer]], frozen=True):
    """The MCP servers that this side runs, and how they are."""

    route: ClassVar[str] = "GET /v1/servers"
    answer: ClassVar[Any] = Listed[BackendServer]
    scope: ClassVar[str | None] = "admin"


CALLS: tuple[type[Call[Any]], ...] = (
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
    CreateRun,
    ListRuns,
    GetRun,
    CancelRun,
    SubmitToolOutput,
    ListActions,
    GetAction,
    Complete,
    Process,
    Follow,
    ListFiles,
    GetFile,
    ListModels,
    CreatePerson,
    ListPeople,
    GetPerson,
    UpdatePerson,
    DeletePerson,
    SignIn,
    CreateKey,
    ListKeys,
    RevokeKey,
    ListLiveRuns,
    GetUsage,
    ListServers,
)


def path_fields(call: type[Call[Any]]) -> tuple[str, ...]:
    """The fields that the route holds, in order."""
    return tuple(piece[1:-1] for piece in call.route.split("/") if piece.startswith("{"))


def write(call: Call[Any]) -> tuple[str, str, dict[str, str], bytes | None]:
    """A call as HTTP: method, path, query, JSON body (None for GET and DELETE)."""
    method, template = call.route.split(" ")
    fields = msgspec.to_builtins(call)
    held = {name: fields.pop(name) for name in path_fields(type(call))}
    path = "/".join(
        _quoted(str(held[piece[1:-1]])) if piece.startswith("{") else piece
        for piece in template.split("/")
    )
    if method in ("GET", "DELETE"):
        query = {name: str(value) for name, value in fields.items() if value is not None}
        return method, path, query, None
    return method, path, {}, msgspec.json.encode(fields)


_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _quoted(segment: str) -> str:
    """A path segment, percent-encoded; dots alone would climb, so they are encoded too."""
    if segment.strip(".") == "":
        return segment.replace(".", "%2E")
    return "".join(
        letter if letter in _UNRESERVED else "".join(f"%{byte:02X}" for byte in letter.encode())
        for letter in segment
    )


def invalid(error: msgspec.ValidationError) -> InvalidRequest:
    """What msgspec says of a call, in our members: what was wanted, what came, where."""
    said, _, where = str(error).partition(" - at ")
    expected, received = _sides(said)
    return InvalidRequest(
        f"{said} - at {where}." if where else f"{said}.",
        expected=expected,
        received=received,
        **({"where": where.strip("`")} if where else {}),
    )


_SAID = (
    (re.compile(r"Expected (.+), got (.+)", re.DOTALL), r"\1", r"\2"),
    (re.compile(r"Expected (.+)", re.DOTALL), r"\1", None),
    (re.compile(r"Object missing required field (.+)", re.DOTALL), r"a field \1", "none"),
    (re.compile(r"Object contains unknown field (.+)", re.DOTALL), "known fields", r"\1"),
    (re.compile(r"Invalid (?:enum )?value (.+)", re.DOTALL), "one of the documented values", r"\1"),
)


def _sides(said: str) -> tuple[str | None, str | None]:
    """What was wanted and what came, as far as the sentence tells."""
    for sentence, expected, received in _SAID:
        if found := sentence.fullmatch(said):
            came = found.expand(received) if received else None
            return found.expand(expected).replace("`", ""), came and came.replace("`", "")
    return None, None
