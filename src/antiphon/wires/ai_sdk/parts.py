"""The parts of the AI SDK's UI Message Stream that we send, as they stand in its JSON.

By `packages/ai/src/ui-message-stream/ui-message-chunks.ts` of vercel/ai. A client dies of a type
that it does not know, and the first releases of version 5 of a key too many, so each part has what
it needs and no more. `since` is the version of the client that a part came with; a name that begins
with `data-` is ours, and every version takes it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

Sdk = Literal[5, 6, 7]
"""The major version of the npm package `ai` that a client has declared."""


class _Camel(msgspec.Struct, frozen=True, rename="camel"):
    """Names as JavaScript writes them."""


class Part(_Camel, frozen=True, tag_field="type"):
    """One thing that a client is told."""

    since: ClassVar[Sdk] = 5


# The message as a whole.


class Tokens(_Camel, frozen=True):
    """What a run used so far."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int


class Problem(_Camel, frozen=True):
    """Why a run failed, with a stable code."""

    code: str
    message: str


class Named(_Camel, frozen=True):
    """What a message belongs to, known from its first part on."""

    run_id: str
    thread_id: str


class Account(_Camel, frozen=True):
    """How a run stands and what it used; `cost` in US dollars, null where it is not known."""

    run_id: str
    thread_id: str
    status: str
    usage: Tokens
    cost: float | None
    reason: str | UnsetType = UNSET
    error: Problem | UnsetType = UNSET


FinishReason = Literal["stop", "length", "content-filter", "tool-calls", "error", "other"]
"""The words that all versions have in common."""


class Start(Part, frozen=True, tag="start"):
    """The message begins."""

    message_id: str
    message_metadata: Named


class Metadata(Part, frozen=True, tag="message-metadata"):
    """About the message, before its end."""

    message_metadata: Account


class Abort(Part, frozen=True, tag="abort"):
    """The run was cancelled."""


class Error(Part, frozen=True, tag="error"):
    """The run failed; `useChat` reads nothing after it."""

    error_text: str


class Finish(Part, frozen=True, tag="finish"):
    """The message ends. The first clients of version 5 take no reason."""

    message_metadata: Account
    finish_reason: FinishReason | UnsetType = UNSET


# Steps: one is one reply of the model.


class StartStep(Part, frozen=True, tag="start-step"):
    """A reply begins."""


class FinishStep(Part, frozen=True, tag="finish-step"):
    """A reply is at its end."""


class ResetStep(Part, frozen=True, tag="reset-step"):
    """All that the step has said so far is void."""

    since: ClassVar[Sdk] = 7


# What is said.


class Said(_Camel, frozen=True):
    """Metadata of a text: `refusal` marks the model's reason not to answer."""

    refusal: bool


class OfText(_Camel, frozen=True):
    """The metadata of a text, under the name of its provider."""

    antiphon: Said


REFUSAL = OfText(Said(refusal=True))


class TextStart(Part, frozen=True, tag="text-start"):
    """A piece of the answer begins."""

    id: str
    provider_metadata: OfText | UnsetType = UNSET


class TextDelta(Part, frozen=True, tag="text-delta"):
    """Its next characters."""

    id: str
    delta: str


class TextEnd(Part, frozen=True, tag="text-end"):
    """It is at its end."""

    id: str


class ReasoningStart(Part, frozen=True, tag="reasoning-start"):
    """A piece of the reasoning begins."""

    id: str


class ReasoningDelta(Part, frozen=True, tag="reasoning-delta"):
    """Its next characters."""

    id: str
    delta: str


class ReasoningEnd(Part, frozen=True, tag="reasoning-end"):
    """It is at its end."""

    id: str


# Tool calls. `dynamic`, for the client has no types of our tools.


class ToolInputStart(Part, frozen=True, tag="tool-input-start"):
    """The model began a call."""

    tool_call_id: str
    tool_name: str
    dynamic: bool = True


class ToolInputDelta(Part, frozen=True, tag="tool-input-delta"):
    """The next characters of its arguments, as JSON text."""

    tool_call_id: str
    input_text_delta: str


class ToolInputAvailable(Part, frozen=True, tag="tool-input-available"):
    """The call is whole."""

    tool_call_id: str
    tool_name: str
    input: Any
    dynamic: bool = True


class ToolApprovalRequest(Part, frozen=True, tag="tool-approval-request"):
    """A person has to approve the call."""

    since: ClassVar[Sdk] = 6

    approval_id: str
    tool_call_id: str


class ToolApprovalResponse(Part, frozen=True, tag="tool-approval-response"):
    """What the person said."""

    since: ClassVar[Sdk] = 7

    approval_id: str
    approved: bool
    reason: str | UnsetType = UNSET


class ToolOutputAvailable(Part, frozen=True, tag="tool-output-available"):
    """The call's output, or, `preliminary`, how far it is."""

    tool_call_id: str
    output: Any
    dynamic: bool = True
    preliminary: bool | UnsetType = UNSET


class ToolOutputError(Part, frozen=True, tag="tool-output-error"):
    """The call failed, and why."""

    tool_call_id: str
    error_text: str
    dynamic: bool = True


class ToolOutputDenied(Part, frozen=True, tag="tool-output-denied"):
    """The call was refused and not carried out."""

    since: ClassVar[Sdk] = 6

    tool_call_id: str


# Parts of our own.


class Complete(_Camel, frozen=True, tag_field="status", tag="complete"):
    """The output of a call is saved."""

    tool_call_id: str
    tool_name: str


class Done(_Camel, frozen=True, tag_field="status", tag="done"):
    """The run has ended."""

    run_id: str
    run_status: str


class DataStatus(Part, frozen=True, tag="data-status"):
    """The two words that a page learns beside what the model says."""

    id: str
    data: Complete | Done


class Running(_Camel, frozen=True):
    """State of a tool, and for how many seconds already.

    `servers` are the MCP servers that it waits for, which are starting.
    """

    tool_call_id: str
    tool_name: str
    state: str
    elapsed: float
    servers: tuple[str, ...] | UnsetType = UNSET


class DataToolStatus(Part, frozen=True, tag="data-tool-status"):
    """Shown while it is true, and not kept with the message."""

    data: Running
    transient: bool = True


class About(_Camel, frozen=True):
    """What is known of a call only where a person is asked about it.

    An answer repeats `args_hash`, which names the call, its tool and its arguments. `arguments` are
    these as the model wrote them, for a browser rounds large numbers. `others` are the tools that
    an answer for the whole server is for, too. `changed` says that the tool was allowed before and
    is another now, `elsewhere` that it was allowed for another model server. An answer for longer
    holds for calls of `asked_by`. `destructive` and `read_only` are what the tool says of itself.
    """

    args_hash: str
    arguments: str = ""
    description: str = ""
    server: str = ""
    others: tuple[str, ...] = ()
    changed: bool = False
    elsewhere: bool = False
    asked_by: str = ""
    destructive: bool = False
    read_only: bool = False


class Asked(_Camel, frozen=True):
    """A call that a person has to approve; `expires_at` in milliseconds since 1970."""

    approval_id: str
    tool_call_id: str
    tool_name: str
    input: Any
    server: str | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET
    args_hash: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    others: tuple[str, ...] | UnsetType = UNSET
    changed: bool | UnsetType = UNSET
    elsewhere: bool | UnsetType = UNSET
    asked_by: str | UnsetType = UNSET
    destructive: bool | UnsetType = UNSET
    read_only: bool | UnsetType = UNSET
    state: Literal["requested", "approved", "refused", "unanswered", "cancelled"] = "requested"


class DataApproval(Part, frozen=True, tag="data-approval"):
    """An approval, for a client that has no part of its own for it."""

    id: str
    data: Asked


class Restarted(_Camel, frozen=True):
    """Why the turn began again, and for which time."""

    reason: str
    attempt: int


class DataTurnRestarted(Part, frozen=True, tag="data-turn-restarted"):
    """What its step holds is void, for a client that has no part of its own to say so."""

    data: Restarted
