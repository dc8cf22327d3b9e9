"""The events of the AG-UI protocol that we send.

By the specification 1.0 (https://docs.ag-ui.com/spec/1.0) and `@ag-ui/core`. Clients of version
0.0.x fail on unknown types and outcomes, so they get only those that existed. The `THINKING_*`
events are not used: their replacements are older than the oldest supported client.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from antiphon.wires.framing import CamelStruct

Version = Literal["0", "1"]
"""Major version of the protocol; 0 is a client that declares none."""

PROTOCOL = "1.0"
"""Version that we declare to a client that declares one."""

Json = dict[str, Any]


class AgUiEvent(CamelStruct, frozen=True, tag_field="type"):
    """Base of all events."""


# Runs. One of ours may be several of the client's: a hand-off to the client ends one.


class ModelUsage(CamelStruct, frozen=True):
    """Tokens that the run's model calls used."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    reasoning_tokens: int
    cached_input_tokens: int


class Success(CamelStruct, frozen=True, tag_field="type", tag="success"):
    """The run is complete; the client has to run these calls."""

    pending_tool_call_ids: tuple[str, ...] | UnsetType = UNSET


class Cancelled(CamelStruct, frozen=True, tag_field="type", tag="cancelled"):
    """The run was cancelled."""


class Interrupt(CamelStruct, frozen=True):
    """A question to a person; `expires_at` is ISO 8601."""

    id: str
    reason: str
    message: str
    tool_call_id: str
    response_schema: Json
    metadata: Json
    expires_at: str | UnsetType = UNSET


class Interrupted(CamelStruct, frozen=True, tag_field="type", tag="interrupt"):
    """The run continues when every interrupt has an answer."""

    interrupts: tuple[Interrupt, ...]


class RunStarted(AgUiEvent, frozen=True, tag="RUN_STARTED"):
    """A run begins."""

    thread_id: str
    run_id: str
    protocol_version: str | UnsetType = UNSET


class RunFinished(AgUiEvent, frozen=True, tag="RUN_FINISHED"):
    """A run ends; no message or call may be open."""

    thread_id: str
    run_id: str
    outcome: Success | Cancelled | Interrupted | UnsetType = UNSET
    usage: tuple[ModelUsage, ...] | UnsetType = UNSET


class RunErrorEvent(AgUiEvent, frozen=True, tag="RUN_ERROR"):
    """A run failed."""

    message: str
    code: str
    usage: tuple[ModelUsage, ...] | UnsetType = UNSET


class StepStarted(AgUiEvent, frozen=True, tag="STEP_STARTED"):
    """A reply of the model begins."""

    step_name: str


class StepFinished(AgUiEvent, frozen=True, tag="STEP_FINISHED"):
    """A reply of the model ends."""

    step_name: str


# Messages.


class TextMessageStart(AgUiEvent, frozen=True, tag="TEXT_MESSAGE_START"):
    """A text message begins, or continues if there is one with this id."""

    message_id: str
    role: str = "assistant"


class TextMessageContent(AgUiEvent, frozen=True, tag="TEXT_MESSAGE_CONTENT"):
    """The next characters of the message."""

    message_id: str
    delta: str


class TextMessageEnd(AgUiEvent, frozen=True, tag="TEXT_MESSAGE_END"):
    """The message pauses or ends."""

    message_id: str


class ReasoningStart(AgUiEvent, frozen=True, tag="REASONING_START"):
    """The model begins to reason."""

    message_id: str


class ReasoningMessageStart(AgUiEvent, frozen=True, tag="REASONING_MESSAGE_START"):
    """A reasoning message begins, or continues if there is one with this id."""

    message_id: str
    role: str = "reasoning"


class ReasoningMessageContent(AgUiEvent, frozen=True, tag="REASONING_MESSAGE_CONTENT"):
    """The next characters of the reasoning."""

    message_id: str
    delta: str


class ReasoningMessageEnd(AgUiEvent, frozen=True, tag="REASONING_MESSAGE_END"):
    """The reasoning message pauses or ends."""

    message_id: str


class ReasoningEnd(AgUiEvent, frozen=True, tag="REASONING_END"):
    """The reasoning ends."""

    message_id: str


# Tool calls.


class ToolCallStart(AgUiEvent, frozen=True, tag="TOOL_CALL_START"):
    """The model began a call, in the message of this id."""

    tool_call_id: str
    tool_call_name: str
    parent_message_id: str


class ToolCallArgs(AgUiEvent, frozen=True, tag="TOOL_CALL_ARGS"):
    """The next characters of the call's arguments, as JSON text."""

    tool_call_id: str
    delta: str


class ToolCallEnd(AgUiEvent, frozen=True, tag="TOOL_CALL_END"):
    """The call's arguments are complete."""

    tool_call_id: str


class ToolCallResult(AgUiEvent, frozen=True, tag="TOOL_CALL_RESULT"):
    """The call's output; a failure shows in its text alone."""

    message_id: str
    tool_call_id: str
    content: str
    role: str = "tool"


# The rest.


class MessagesSnapshot(AgUiEvent, frozen=True, tag="MESSAGES_SNAPSHOT"):
    """All messages in their current state; the client drops all others."""

    messages: tuple[Json, ...]


class Custom(AgUiEvent, frozen=True, tag="CUSTOM"):
    """An event outside the protocol; `name` begins with `antiphon.`."""

    name: str
    value: Any
