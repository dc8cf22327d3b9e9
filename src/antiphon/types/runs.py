"""Assistants, threads, runs and actions, and the legal status changes."""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import msgspec

from antiphon.types.messages import ToolSpec


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
        """Whether the status is final."""
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

Reason = Literal["length", "content_filter", "stalled", "disconnected", "worker_lost", "max_turns"]
"""Why a run is `incomplete`."""

DAY = 86_400
Seconds = Annotated[float, msgspec.Meta(gt=0, le=DAY)]


class Fault(msgspec.Struct, frozen=True):
    """Why a run failed: a code from the closed list in `errors`, and words for a person."""

    code: str
    message: str


TOOL_CHOICES = ("auto", "none", "required")
"""Words for the choice among tools."""

Bias = Annotated[
    dict[
        Annotated[str, msgspec.Meta(pattern="^[0-9]{1,9}$")],
        Annotated[float, msgspec.Meta(ge=-100, le=100)],
    ],
    msgspec.Meta(min_length=1, max_length=1024),
]
"""How much more or less likely tokens become, by their numbers."""


class Sampling(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Sampling settings of a model. The provider decides those that are None.

    `tool_choice` is `auto`, `none`, `required` or the name of a tool that is offered, or the object
    in which chat completions names one. `reasoning_effort` is the provider's word for it: `none`,
    `minimal`, `low`, `medium`, `high`, `xhigh`, `max`. `response_format` has the `type` `text`,
    `json_object` or `json_schema`, the last one with a `json_schema` that has a name and a schema.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
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
    reasoning_effort: Annotated[str, msgspec.Meta(pattern="^[a-z]{1,16}$")] | None = None
    response_format: dict[str, Any] | None = None
    logit_bias: Bias | None = None

    @property
    def chosen_tool(self) -> str | None:
        """The one tool that the model is made to call; the three words are never tools here."""
        match self.tool_choice:
            case str(name) if name not in TOOL_CHOICES:
                return name
            case {"type": "function", "function": {"name": str(name)}}:
                return name
            case _:
                return None


class Deadlines(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Seconds: how long a model may be silent, at first and between chunks, and a turn may last.

    What is None follows the settings; `first_chunk` follows `chunk`.
    """

    chunk: Seconds | None = None
    first_chunk: Seconds | None = None
    turn: Seconds | None = None


Glob = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
ApprovalPolicy = Literal["always", "never"]


class McpServer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An MCP server whose tools the worker runs; off unless the operator allows it.

    Without `url` it is the server of that name in the operator's own configuration. The tools are
    those that match one of `allowed_tools`, or all. `require_approval` says whether a person must
    approve each call; globs over the server's own names of its tools say it for some of them, and
    what none of them names, or one says `always` of, is asked about. No command can be named here.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,63}$(?!\n)")]
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)] | None = None
    allowed_tools: Annotated[tuple[Glob, ...], msgspec.Meta(max_length=256)] | None = None
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
        said = [when for glob, when in self.require_approval.items() if fnmatchcase(tool, glob)]
        return not said or "always" in said


class HostedTool(msgspec.Struct, frozen=True):
    """A tool that the worker runs: the MCP server that has it, and whether a person is asked.

    `digest` tells it from what the server may make of it later.
    """

    server: str
    asks: bool
    digest: str = ""


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A person's answer about a call that waits for approval; the model reads the reason."""

    approve: bool
    reason: Annotated[str, msgspec.Meta(max_length=10_000)] = ""


class Assistant(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers: a model as `provider:name`, instructions, tools, sampling. Times in ms."""

    id: str
    name: str = ""
    model: str | None = None
    instructions: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    sampling: Sampling = Sampling()
    metadata: dict[str, str] = {}
    created_at: int
    updated_at: int


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """An ordered conversation. `version` grows with every change a model would see.

    `messages` counts places, those that are kept for the outputs of open tool calls included.
    """

    id: str
    title: str = ""
    metadata: dict[str, str] = {}
    parent_id: str | None = None
    messages: int = 0
    version: int = 0
    created_at: int
    updated_at: int


DOLLAR_DIGITS = 12
"""Decimals of a cost: more than any price has, and fewer than where binary fractions show."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens, and cost in US dollars where the price is known.

    `cached_tokens` are among the input tokens, `reasoning_tokens` among the output tokens. The cost
    of a sum is known where that of each part is.
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
    """Place where the words of a run go, by the settings of the program that began it.

    `provider` is the catalog's name for who is asked, "" for the server at the setting `base_url`.
    `address` is the scheme, host and port of that server, "" where the provider's library knows it.
    `digest` is of the settings that decide where the words go, none of which is a secret: another
    program serves the run in the same way where it has the same one. `seal` is the mark of what
    opens the owner's own key at the provider, "" where the key is the program's. `servers` are the
    MCP servers that the run names of the operator's own.
    """

    provider: str
    address: str = ""
    digest: str = ""
    seal: str = ""
    servers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The provider's name for people."""
        return self.provider or self.address.rpartition("/")[2]

    @property
    def text(self) -> str:
        """The destination as stores compare it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, text: str) -> Destination | None:
        """Return the destination of this text; None for a run of a version that had none.

        Raises `msgspec.DecodeError` for one of a later version.
        """
        return msgspec.json.decode(text, type=cls) if text else None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """From a user's message to the final answer; one id through all its turns.

    `turn` counts the turns that were begun, `attempt` the tries at this one; a turn begins with
    what the worker has to run of the calls of the turn before. `expires_in` is how
    many seconds its actions wait for their outputs. `messages_before` is how many messages the
    thread held before the run, and the message that came with it, began. `waiting_for` is the
    provider that a queued run waits for: no program that can ask it has taken the run yet.
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
    tools: tuple[ToolSpec, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    sampling: Sampling = Sampling()
    deadlines: Deadlines = Deadlines()
    background: bool = False
    max_turns: int = 50
    max_attempts: int = 3
    on_expiry: Literal["continue", "expire"] = "continue"
    expires_in: int = 7 * DAY
    turn: int = 0
    attempt: int = 0
    usage: Usage = Usage()
    messages_before: int = 0
    metadata: dict[str, str] = {}
    created_at: int
    started_at: int | None = None
    ended_at: int | None = None


class RunLease(msgspec.Struct, frozen=True, kw_only=True):
    """Lease and log position of a run: for workers and readers, not for callers.

    `wanted` records that the next turn was requested. `last_event` is the number of the newest
    event, `turn_began_after` that of the previous turn's `turn.ended` (0 for the first turn),
    `kept_after` that of the newest event past retention. `due_at` is when a worker must look at the
    run even without a request: its lease, its actions or its wait have expired. Times in ms.
    `key_id` is the key that began the run, `trace` the W3C `traceparent` of the request for its
    next turn. `destination` is the text of the run's `Destination`, "" without one: a worker claims
    only runs that it would send to the same place.
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


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """The hand-off record of one tool call; `arguments` as the object the tool gets.

    A call of an MCP server of the run's, `server` by name, `runs_on` the server's side; where
    `approval` is required the client is asked for that, and for no output; `tool_digest` is of the
    tool as it was then.
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
    created_at: int
    expires_at: int
    ended_at: int | None = None

    @property
    def awaited(self) -> bool:
        """Whether it waits for the client to run the tool or approve the call."""
        return self.status == "pending" and (
            self.runs_on == "client" or self.approval == "required"
        )

    @property
    def due(self) -> bool:
        """Whether the worker has to run it."""
        return self.status == "pending" and not self.awaited
