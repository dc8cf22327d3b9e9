"""The parts of the AI SDK's UI Message Stream that we send.

By `packages/ai/src/ui-message-stream/ui-message-chunks.ts` of vercel/ai. Clients fail on unknown
types, and the first releases of version 5 on extra keys, so each part has only what it needs.
`since` is the client version that introduced a part; names that begin with `data-` are ours, and
every version accepts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from msgspec import UNSET, UnsetType

from antiphon.types.messages import Message, list_pages
from antiphon.wires.framing import CamelStruct

Sdk = Literal[5, 6, 7]
"""Major version of the npm package `ai` that a client declared."""


class UiPart(CamelStruct, frozen=True, tag_field="type"):
    """Base of all parts."""

    since: ClassVar[Sdk] = 5


# The message as a whole.


class TokenUsage(CamelStruct, frozen=True):
    """Tokens that a run used so far."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int


class Problem(CamelStruct, frozen=True):
    """Why a run failed, with a stable code."""

    code: str
    message: str


class MessageIds(CamelStruct, frozen=True):
    """Ids of a message, known from its first part on.

    With `continues` it is the rest of the message before it, which was cut.
    """

    run_id: str
    thread_id: str
    continues: bool | UnsetType = UNSET


class RunMetadata(CamelStruct, frozen=True):
    """Status and usage of a run; `cost` in US dollars, null if unknown."""

    run_id: str
    thread_id: str
    status: str
    usage: TokenUsage
    cost: float | None
    reason: str | UnsetType = UNSET
    error: Problem | UnsetType = UNSET


FinishReason = Literal["stop", "length", "content-filter", "tool-calls", "error", "other"]
"""Finish reasons that all versions know."""


class StartPart(UiPart, frozen=True, tag="start"):
    """The message begins."""

    message_id: str
    message_metadata: MessageIds


class MetadataPart(UiPart, frozen=True, tag="message-metadata"):
    """Metadata of the message, before its end."""

    message_metadata: RunMetadata


class AbortPart(UiPart, frozen=True, tag="abort"):
    """The run was cancelled."""


class ErrorPart(UiPart, frozen=True, tag="error"):
    """The run failed; `useChat` reads nothing after it."""

    error_text: str


class FinishPart(UiPart, frozen=True, tag="finish"):
    """The message ends. The first clients of version 5 accept no reason."""

    message_metadata: RunMetadata
    finish_reason: FinishReason | UnsetType = UNSET


# Steps: one is one reply of the model.


class StartStep(UiPart, frozen=True, tag="start-step"):
    """A reply begins."""


class FinishStep(UiPart, frozen=True, tag="finish-step"):
    """A reply ends."""


class ResetStep(UiPart, frozen=True, tag="reset-step"):
    """Everything in the step so far is void."""

    since: ClassVar[Sdk] = 7


# Text and reasoning.


class RefusalFlag(CamelStruct, frozen=True):
    """Metadata of a text: `refusal` marks a refusal."""

    refusal: bool


class TextMetadata(CamelStruct, frozen=True):
    """Metadata of a text, under its provider's name."""

    antiphon: RefusalFlag


REFUSAL = TextMetadata(RefusalFlag(refusal=True))


class TextStartPart(UiPart, frozen=True, tag="text-start"):
    """A piece of the answer begins."""

    id: str
    provider_metadata: TextMetadata | UnsetType = UNSET


class TextDeltaPart(UiPart, frozen=True, tag="text-delta"):
    """The next characters of the answer."""

    id: str
    delta: str


class TextEndPart(UiPart, frozen=True, tag="text-end"):
    """A piece of the answer ends."""

    id: str


class SourceUrlPart(UiPart, frozen=True, tag="source-url"):
    """A page that the provider names as a source of the reply."""

    source_id: str
    url: str
    title: str | UnsetType = UNSET


class ReasoningTime(CamelStruct, frozen=True):
    """Duration of a piece of reasoning in whole seconds."""

    seconds: int


class ReasoningMetadata(CamelStruct, frozen=True):
    """Metadata of a piece of reasoning, under its provider's name."""

    antiphon: ReasoningTime


def reasoning_metadata(seconds: int) -> ReasoningMetadata | UnsetType:
    """Return the metadata of reasoning that took this long; none for less than a second."""
    return ReasoningMetadata(ReasoningTime(seconds)) if seconds else UNSET


class ReasoningStartPart(UiPart, frozen=True, tag="reasoning-start"):
    """A piece of the reasoning begins."""

    id: str


class ReasoningDeltaPart(UiPart, frozen=True, tag="reasoning-delta"):
    """The next characters of the reasoning; with the time so far where that has grown."""

    id: str
    delta: str
    provider_metadata: ReasoningMetadata | UnsetType = UNSET


class ReasoningEndPart(UiPart, frozen=True, tag="reasoning-end"):
    """A piece of the reasoning ends."""

    id: str
    provider_metadata: ReasoningMetadata | UnsetType = UNSET


def source_parts(message: Message) -> Iterator[SourceUrlPart]:
    """Yield a part for each page that the reply cites, numbered in the order of its list."""
    for place, page in enumerate(list_pages(message.citations), 1):
        source_id = f"{message.id}-{place}"
        yield SourceUrlPart(source_id=source_id, url=page.url, title=page.title or UNSET)


# Tool calls. `dynamic`, for the client has no types of our tools; those that a page runs itself are
# not. A client runs no call that is `provider_executed`, and waits for none.


class ToolInputStart(UiPart, frozen=True, tag="tool-input-start"):
    """The model began a call."""

    tool_call_id: str
    tool_name: str
    dynamic: bool | UnsetType = True
    provider_executed: bool | UnsetType = UNSET


class ToolInputDelta(UiPart, frozen=True, tag="tool-input-delta"):
    """The next characters of the call's arguments, as JSON text."""

    tool_call_id: str
    input_text_delta: str


class ToolInputAvailable(UiPart, frozen=True, tag="tool-input-available"):
    """The call is complete."""

    tool_call_id: str
    tool_name: str
    input: Any
    dynamic: bool | UnsetType = True
    provider_executed: bool | UnsetType = UNSET


class ToolApprovalRequest(UiPart, frozen=True, tag="tool-approval-request"):
    """A person has to approve the call."""

    since: ClassVar[Sdk] = 6

    approval_id: str
    tool_call_id: str


class ToolApprovalResponse(UiPart, frozen=True, tag="tool-approval-response"):
    """The person's answer."""

    since: ClassVar[Sdk] = 7

    approval_id: str
    approved: bool
    reason: str | UnsetType = UNSET


class ToolOutputAvailable(UiPart, frozen=True, tag="tool-output-available"):
    """The call's output or, if `preliminary`, its progress."""

    tool_call_id: str
    output: Any
    dynamic: bool | UnsetType = True
    provider_executed: bool | UnsetType = UNSET
    preliminary: bool | UnsetType = UNSET


class ToolOutputError(UiPart, frozen=True, tag="tool-output-error"):
    """The call failed; the error text says why."""

    tool_call_id: str
    error_text: str
    dynamic: bool | UnsetType = True
    provider_executed: bool | UnsetType = UNSET


class ToolOutputDenied(UiPart, frozen=True, tag="tool-output-denied"):
    """The call was refused and not run."""

    since: ClassVar[Sdk] = 6

    tool_call_id: str


# Parts of our own.


class OutputSaved(CamelStruct, frozen=True, tag_field="status", tag="complete"):
    """A call's output was saved."""

    tool_call_id: str
    tool_name: str


class RunDone(CamelStruct, frozen=True, tag_field="status", tag="done"):
    """The run has ended."""

    run_id: str
    run_status: str


class DataStatus(UiPart, frozen=True, tag="data-status"):
    """Status of the run or of a call's output, for the page."""

    id: str
    data: OutputSaved | RunDone


class ToolStatus(CamelStruct, frozen=True):
    """State of a tool, and its running time in seconds.

    `servers` are the starting MCP servers that it waits for.
    """

    tool_call_id: str
    tool_name: str
    state: str
    elapsed: float
    servers: tuple[str, ...] | UnsetType = UNSET


class DataToolStatus(UiPart, frozen=True, tag="data-tool-status"):
    """Transient: shown while true, and not stored with the message."""

    data: ToolStatus
    transient: bool = True


class CallFacts(CamelStruct, frozen=True):
    """Facts about a call for the person who approves it.

    An answer repeats `args_hash`, which identifies the call, its tool and its arguments.
    `arguments` are the model's own text, because browsers round large numbers. `others` are the
    other tools that an answer for the whole server covers. `changed`: the tool was allowed before
    and is different now; `elsewhere`: it was allowed for another model server. A lasting answer
    covers calls of `asked_by`. `destructive` and `read_only` are the tool's own claims.
    `hook_reason` is why a hook has the person asked. With `each_time` no answer lasts.
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
    hook_reason: str = ""
    each_time: bool = False


class ApprovalState(CamelStruct, frozen=True):
    """A call that waits for approval; `expires_at` in milliseconds since 1970."""

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
    hook_reason: str | UnsetType = UNSET
    each_time: bool | UnsetType = UNSET
    state: Literal["requested", "approved", "refused", "unanswered", "cancelled"] = "requested"


class DataApproval(UiPart, frozen=True, tag="data-approval"):
    """An approval, for clients without a part for it."""

    id: str
    data: ApprovalState


class TurnRestart(CamelStruct, frozen=True):
    """Reason and number of a turn's restart."""

    reason: str
    attempt: int


class DataTurnRestarted(UiPart, frozen=True, tag="data-turn-restarted"):
    """The step is void, for clients without a part for it."""

    data: TurnRestart
