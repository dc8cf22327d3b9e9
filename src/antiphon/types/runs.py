"""Assistants, threads, runs and actions, and the legal status changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import msgspec

from antiphon.types.messages import Progress, TaskHandle, ToolSpec


class Status(StrEnum):
    """Status of a run. The last five are final."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    ACTION_REQUIRED = "action_required"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """True if the status is final."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.IN_PROGRESS, Status.CANCELLED, Status.EXPIRED, Status.FAILED}),
    Status.IN_PROGRESS: frozenset(
        {
            Status.ACTION_REQUIRED,
            Status.COMPLETED,
            Status.INCOMPLETE,
            Status.FAILED,
            Status.CANCELLED,
            Status.QUEUED,
        }
    ),
    Status.ACTION_REQUIRED: frozenset({Status.QUEUED, Status.EXPIRED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.INCOMPLETE: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset(),
}

Reason = Literal[
    "length",
    "content_filter",
    "stalled",
    "disconnected",
    "worker_lost",
    "max_turns",
    "max_tool_calls",
    "max_total_tokens",
    "max_cost",
    "timeout",
]
"""Why a run is `incomplete`."""

DAY = 86_400
Seconds = Annotated[float, msgspec.Meta(gt=0, le=DAY)]


class Fault(msgspec.Struct, frozen=True):
    """Reason of a failed run: a code of the closed list in `errors`, and a message for a person."""

    code: str
    message: str


TOOL_CHOICES = ("auto", "none", "required")
"""Values of `tool_choice` that name no tool."""

Bias = Annotated[
    dict[
        Annotated[str, msgspec.Meta(pattern="^[0-9]{1,9}$")],
        Annotated[float, msgspec.Meta(ge=-100, le=100)],
    ],
    msgspec.Meta(min_length=1, max_length=1024),
]
"""Bias of tokens by their numbers: above 0 is more likely, below 0 less likely."""


Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
Effort = Annotated[str, msgspec.Meta(pattern="^[a-z]{1,16}$(?!\n)")]


class Sampling(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Sampling settings of a model. The provider decides those that are None.

    `tool_choice` is `auto`, `none`, `required` or the name of a tool that is offered, or the object
    in which chat completions names one. A call is forced in the first turn of a run alone: else it
    could never answer. `reasoning_effort` is the provider's word for it: `none`,
    `minimal`, `low`, `medium`, `high`, `xhigh`, `max`. `response_format` has the `type` `text`,
    `json_object` or `json_schema`, the last one with a `json_schema` that has a name and a schema.
    """

    temperature: Temperature | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    stop: (
        Annotated[
            tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=256)], ...],
            msgspec.Meta(min_length=1, max_length=16),
        ]
        | None
    ) = None
    seed: int | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Effort | None = None
    response_format: dict[str, Any] | None = None
    logit_bias: Bias | None = None
    presence_penalty: Annotated[float, msgspec.Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, msgspec.Meta(ge=-2, le=2)] | None = None

    @property
    def chosen_tool(self) -> str | None:
        """The tool that the model must call; None if `tool_choice` names no tool."""
        match self.tool_choice:
            case str(name) if name not in TOOL_CHOICES:
                return name
            case {"type": "function", "function": {"name": str(name)}}:
                return name
            case _:
                return None

    @property
    def forces_call(self) -> bool:
        """True if the model must call a tool."""
        return self.chosen_tool is not None or self.tool_choice == "required"


class Deadlines(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Deadlines in seconds: for the first chunk, between chunks, and for a whole turn.

    None means the value of the settings; for `first_chunk` that of `chunk`.
    """

    chunk: Seconds | None = None
    first_chunk: Seconds | None = None
    turn: Seconds | None = None


Glob = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
"""Pattern of names, as in `fnmatch`."""
Globs = Annotated[tuple[Glob, ...], msgspec.Meta(max_length=256)]
ApprovalPolicy = Literal["always", "never"]


class McpServer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An MCP server whose tools the worker runs; off unless the operator allows it.

    Without `url` it is the server of that name in the operator's own configuration. Its tools are
    those that match one of `allowed_tools`, or all. `require_approval` decides whether a person
    must approve each call, for all tools or by globs of the server's own tool names; a tool that no
    glob matches, or that one matches with `always`, needs approval. A command cannot be given.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,63}$(?!\n)")]
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)] | None = None
    allowed_tools: Globs | None = None
    require_approval: (
        ApprovalPolicy | Annotated[dict[Glob, ApprovalPolicy], msgspec.Meta(max_length=256)]
    ) = "always"

    def offers(self, tool: str) -> bool:
        """Return whether the server's tool of this name may be used."""
        globs = self.allowed_tools
        return globs is None or any(fnmatchcase(tool, glob) for glob in globs)

    def asks(self, tool: str) -> bool:
        """Return whether a call of the server's tool of this name needs approval."""
        if isinstance(self.require_approval, str):
            return self.require_approval == "always"
        policies = [when for glob, when in self.require_approval.items() if fnmatchcase(tool, glob)]
        return not policies or "always" in policies


class HostedTool(msgspec.Struct, frozen=True):
    """A tool of an MCP server that the worker runs; `asks` if a call needs approval.

    `digest` identifies the tool as it is now; the server may change it later.
    """

    server: str
    asks: bool
    digest: str = ""


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A person's answer about a call that waits for approval; the model reads the reason."""

    approve: bool
    reason: Annotated[str, msgspec.Meta(max_length=10_000)] = ""

    def to_output(self) -> str:
        """Return the answer as the output of the call, the form in which it is submitted."""
        return msgspec.json.encode(self).decode()


class Assistant(msgspec.Struct, frozen=True, kw_only=True):
    """A model as `provider:name`, with instructions, tools and sampling. Times in ms.

    `file_ids` are uploads whose text its runs may search. `published_at` is None unless all owners
    of the installation may use and copy it.
    """

    id: str
    name: str = ""
    model: str | None = None
    instructions: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    sampling: Sampling = Sampling()
    max_tool_calls: int | None = None
    file_ids: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    published_at: int | None = None
    created_at: int
    updated_at: int


class ThreadOptions(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Choices of a person for the runs of one thread; None leaves each to the assistant.

    Only tools whose names match one of `allowed_tools` are offered, of those that the run has. A
    limit of the assistant for `max_output_tokens` can be lowered and not raised. What the model's
    provider is known to lack is left out.
    """

    temperature: Temperature | None = None
    reasoning_effort: Effort | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] | None = None
    allowed_tools: Globs | None = None

    def adapt(self, sampling: Sampling, lacks: AbstractSet[str]) -> Sampling:
        """Return the sampling with these choices, but for those that the provider lacks."""
        chosen: dict[str, Any] = {
            name: value
            for name in ("temperature", "reasoning_effort", "max_output_tokens")
            if name not in lacks and (value := getattr(self, name)) is not None
        }
        if (limit := sampling.max_output_tokens) is not None and "max_output_tokens" in chosen:
            chosen["max_output_tokens"] = min(limit, chosen["max_output_tokens"])
        return msgspec.structs.replace(sampling, **chosen)


MARKS = ("pinned", "archived", "tags", "folder_id")
"""Fields of a thread with which people mark it: to set one is no activity, and a branch that
replaces the thread takes it over."""


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """An ordered conversation. `version` grows with every change that a model would see.

    `messages` counts the messages, including places reserved for outputs of open tool calls. User
    interfaces list a `pinned` thread before all others. An `archived` thread is left out of lists
    until it goes on: a message of the user, or a run, takes it out of the archive. `tags` are words
    under which people find it. `title_from` says where the title comes from: a client, the first
    message, or a model that was asked for one, which may not have answered. A `temporary` thread is
    deleted soon after its last change, and is in no list. `folder_id` is the folder that it is in.
    """

    id: str
    title: str = ""
    metadata: dict[str, str] = {}
    parent_id: str | None = None
    pinned: bool = False
    archived: bool = False
    tags: tuple[str, ...] = ()
    folder_id: str | None = None
    title_from: Literal["client", "message", "model"] | None = None
    temporary: bool = False
    options: ThreadOptions = ThreadOptions()
    messages: int = 0
    version: int = 0
    created_at: int
    updated_at: int


DOLLAR_DIGITS = 12
"""Decimals of a cost: more than any price has, few enough to hide errors of binary fractions."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens, and cost in US dollars if the price is known.

    `cached_tokens` are part of the input tokens, `reasoning_tokens` of the output tokens. The cost
    of a sum is known if the cost of each part is.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None

    def __add__(self, other: Usage) -> Usage:
        spent = [usage for usage in (self, other) if usage != Usage()]
        costs = [usage.cost for usage in spent if usage.cost is not None]
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cost=round(sum(costs), DOLLAR_DIGITS) if spent and len(costs) == len(spent) else None,
        )


class Destination(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider that a run's text is sent to, by the settings of the program that started the run.

    `provider` is its name in the catalog, "" for the server at the setting `base_url`. `address` is
    the scheme, host and port of that server, "" if the provider's library knows it. `digest` is of
    the settings that decide where the text is sent, none of them a secret: a program with the same
    digest can serve the run. `seal` identifies the secret that encrypts the owner's own provider
    key, "" if the program's key is used. `servers` are the operator's MCP servers that the run
    names.
    """

    provider: str
    address: str = ""
    digest: str = ""
    seal: str = ""
    servers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The provider's name for display."""
        return self.provider or self.address.rpartition("/")[2]

    @property
    def text(self) -> str:
        """The destination as stores compare it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, text: str) -> Destination | None:
        """Return the destination of this text; None for the empty text of an older version.

        Raises `msgspec.DecodeError` for the text of a later version.
        """
        return msgspec.json.decode(text, type=cls) if text else None


Serves = Callable[[str], bool]
"""Return whether this program can run the runs of a destination, given as `Destination.text`.

Must be pure, fast and safe to call from any thread of the operating system.
"""


def serve_all(destination: str) -> bool:
    """Return True for every destination: where all programs have the same settings."""
    return True


# Defaults of a run: of requests, and of stored runs from a version without the field.
MAX_TURNS = 50
MAX_ATTEMPTS = 3
EXPIRES_IN = 7 * DAY

MAX_TOOL_CALLS = 10_000
"""Highest limit of tool calls that a run can have; by default it has none."""

OnExpiry = Literal["continue", "expire"]
"""Reaction of a run whose actions have expired: it waits for its next turn, or ends."""


InstructionSource = Literal["folder", "person", "memory"]


class InstructionPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """Instructions that a run got from elsewhere than its assistant and its request.

    `source` is `folder` for the instructions of the thread's folder, whose name is `name`; `person`
    for those of the person; `memory` for what is remembered of the person. The text is that of
    the time at which the run was created.
    """

    source: InstructionSource
    text: str
    name: str = ""


class ResponseRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A response of OpenAI's wire: a part of a run, from a request to the next hand-off.

    `request` holds the fields of the request that its wire needs again; in that of a run's first
    response, `list_tools` are the MCP servers whose tools the log lists. `after` is the number of
    the event before the first one of the response, `turn` that of the turn before its first,
    `messages` the number of messages that the request added, `created_at` its time in ms. A
    `deleted` one is no longer found.
    """

    request: dict[str, Any]
    after: int = 0
    turn: int = 0
    messages: int = 0
    created_at: int = 0
    deleted: bool = False


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All turns from a user's message to the final answer.

    `turn` counts the started turns, `attempt` the attempts at the current one; a turn begins with
    the calls of the previous turn that the worker runs itself. Actions wait `expires_in` seconds
    for their outputs. `tool_calls` counts the calls of all turns, of which there may be
    `max_tool_calls`. Between two turns the run ends if it has used `max_total_tokens` tokens, read
    and written, or has cost `max_cost` US dollars; a cost that is not known counts as too much. It
    ends at the latest `timeout` seconds after its creation. Of its tools and those of its MCP
    servers the model is offered only those whose names match one of `allowed_tools`, or all where
    that is None, and, with `thread_tools`, one of these too: the options of its thread say so.

    `messages_before` is the number of messages in the thread before the run and the message that
    came with it. `waiting_for` is the provider that a queued run waits for: no worker that can
    reach it has claimed the run yet. With `continues` the run goes on with the answer of the run
    before it, which was cut. `responses` are those that it gave on OpenAI's wire, if it was started
    there.

    The model reads `instructions`, whether these are the run's own or the assistant's, then the
    `instruction_parts`, and last `additional_instructions`. With `personal` of false the person's
    instructions and memories are not among the parts; it is false in temporary threads.
    """

    id: str
    thread_id: str
    assistant_id: str | None = None
    status: Status = Status.QUEUED
    reason: Reason | None = None
    error: Fault | None = None
    waiting_for: str | None = None
    model: str
    instructions: str | None = None
    instruction_parts: tuple[InstructionPart, ...] = ()
    additional_instructions: str | None = None
    personal: bool = True
    continues: bool = False
    tools: tuple[ToolSpec, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    sampling: Sampling = Sampling()
    deadlines: Deadlines = Deadlines()
    background: bool = False
    max_turns: int = MAX_TURNS
    max_tool_calls: int | None = None
    max_total_tokens: int | None = None
    max_cost: float | None = None
    allowed_tools: tuple[Glob, ...] | None = None
    thread_tools: tuple[Glob, ...] | None = None
    max_attempts: int = MAX_ATTEMPTS
    on_expiry: OnExpiry = "continue"
    expires_in: int = EXPIRES_IN
    timeout: int | None = None
    turn: int = 0
    attempt: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    messages_before: int = 0
    responses: tuple[ResponseRecord, ...] | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, str] = {}
    created_at: int
    started_at: int | None = None
    ended_at: int | None = None

    @property
    def servers_to_list(self) -> Sequence[str]:
        """Names of the MCP servers whose tools the log of this turn lists."""
        if self.responses is msgspec.UNSET or self.turn > 1:
            return ()
        return self.responses[0].request.get("list_tools") or ()

    @property
    def ends_by(self) -> int | None:
        """The time in ms at which it ends at the latest; None if it has no `timeout`."""
        return None if self.timeout is None else self.created_at + self.timeout * 1000

    def is_overdue(self, now: int) -> bool:
        """Return whether its time is over at `now` (ms)."""
        return self.ends_by is not None and self.ends_by <= now

    def allows(self, tool: str) -> bool:
        """Return whether the model may be offered the tool of this name."""
        return all(
            globs is None or any(fnmatchcase(tool, glob) for glob in globs)
            for globs in (self.allowed_tools, self.thread_tools)
        )


class RunLease(msgspec.Struct, frozen=True, kw_only=True):
    """Lease and log position of a run: for workers and readers, not for callers.

    `wanted` is true if the next turn was requested. `last_event` is the number of the newest event,
    `turn_began_after` that of the previous turn's `turn.ended` (0 for the first turn), `kept_after`
    that of the newest event past retention. At `due_at` a worker must handle the run even without a
    request, because its lease, its actions or its wait have expired. Times in ms. `key_id` is the
    key that started the run, `trace` the W3C `traceparent` of the request for its next turn.
    `destination` is the text of the run's `Destination`, "" without one: a worker claims only runs
    whose text it would send to the same place.
    """

    epoch: int = 0
    wanted: bool = False
    worker: str | None = None
    due_at: int | None = None
    last_event: int = 0
    turn_began_after: int = 0
    kept_after: int = 0
    fresh: bool = False
    key_id: str | None = None
    trace: str | None = None
    destination: str = ""


class LeaseInfo(msgspec.Struct, frozen=True):
    """The lease of a run: the worker's name, its epoch, and the lease's end `due_at` (ms)."""

    run_id: str
    epoch: int
    worker: str
    due_at: int


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """The hand-off record of one tool call; `arguments` is the object for the tool.

    The backend runs a call of one of the run's MCP servers, named by `server`: then `runs_on` is
    `server`. If `approval` is required, the client submits an approval instead of an output.
    `tool_digest` identifies the tool as it was at the call.

    A worker for tools claims the action until `claimed_until` (ms). `attempt` counts the claims and
    fences them: what a worker submits for an earlier one is refused. `progress` is what the worker
    last reported. A call of a tool that a page in a browser runs has the worker `page` from the
    beginning.

    `task` is the task at an MCP server that carries out the call, while it is pending. The
    client that goes on with the call polls that task, and does not call the tool again.
    """

    id: str
    run_id: str
    thread_id: str
    turn: int
    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    status: Literal["pending", "completed", "failed", "expired", "cancelled"] = "pending"
    output: str | None = None
    is_error: bool = False
    runs_on: Literal["client", "server"] = "client"
    server: str | None = None
    approval: Literal["required", "given", "refused"] | None = None
    tool_digest: str | None = None
    attempt: int = 0
    worker: str | None = None
    claimed_until: int | None = None
    progress: Progress | None = None
    task: TaskHandle | None = None
    created_at: int
    expires_at: int
    ended_at: int | None = None

    def is_claimable(self, now: int) -> bool:
        """Return whether a worker for tools may claim it at that time (ms)."""
        is_free = self.claimed_until is None or self.claimed_until <= now
        is_open = self.status == "pending" and self.runs_on == "client"
        return is_open and is_free and self.expires_at > now

    @property
    def awaited(self) -> bool:
        """True if it waits for the client to run the tool or approve the call."""
        return self.status == "pending" and (
            self.runs_on == "client" or self.approval == "required"
        )

    @property
    def due(self) -> bool:
        """True if the worker must run it."""
        return self.status == "pending" and not self.awaited
