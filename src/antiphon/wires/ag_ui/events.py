"""The events of the AG-UI protocol that we send, as they stand in its JSON.

By the specification 1.0 (https://docs.ag-ui.com/spec/1.0) and `@ag-ui/core`. Clients of version
0.0.x die of a type or an outcome that they do not know, so these are told what they had already.
Their `THINKING_*` events are not used: what replaced them is older than the oldest client we serve.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

Version = Literal["0", "1"]
"""The major version of the protocol; 0 is a client that declares none."""

PROTOCOL = "1.0"
"""What we declare to a client that declares something."""

Json = dict[str, Any]


class _Camel(msgspec.Struct, frozen=True, rename="camel"):
    """Names as JavaScript writes them."""


class Event(_Camel, frozen=True, tag_field="type"):
    """One thing that a client is told."""


# Runs. Ours may be several of theirs: what is handed to the client ends one.


class Tokens(_Camel, frozen=True):
    """What the model calls of a run used."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    reasoning_tokens: int
    cached_input_tokens: int


class Success(_Camel, frozen=True, tag_field="type", tag="success"):
    """The run is complete; the calls are those that the client has to carry out."""

    pending_tool_call_ids: tuple[str, ...] | UnsetType = UNSET


class Cancelled(_Camel, frozen=True, tag_field="type", tag="cancelled"):
    """The run was stopped."""


class Interrupt(_Camel, frozen=True):
    """Something that a person is asked; `expires_at` as ISO 8601."""

    id: str
    reason: str
    message: str
    tool_call_id: str
    response_schema: Json
    metadata: Json
    expires_at: str | UnsetType = UNSET


class Interrupted(_Camel, frozen=True, tag_field="type", tag="interrupt"):
    """The run goes on when each of these has an answer."""

    interrupts: tuple[Interrupt, ...]


class RunStarted(Event, frozen=True, tag="RUN_STARTED"):
    """A run begins."""

    thread_id: str
    run_id: str
    protocol_version: str | UnsetType = UNSET


class RunFinished(Event, frozen=True, tag="RUN_FINISHED"):
    """A run is at its end; nothing may be open then."""

    thread_id: str
    run_id: str
    outcome: Success | Cancelled | Interrupted | UnsetType = UNSET
    usage: tuple[Tokens, ...] | UnsetType = UNSET


class RunError(Event, frozen=True, tag="RUN_ERROR"):
    """A run failed."""

    message: str
    code: str
    usage: tuple[Tokens, ...] | UnsetType = UNSET


class StepStarted(Event, frozen=True, tag="STEP_STARTED"):
    """A reply of the model begins."""

    step_name: str


class StepFinished(Event, frozen=True, tag="STEP_FINISHED"):
    """It is at its end."""

    step_name: str


# What is said.


class TextMessageStart(Event, frozen=True, tag="TEXT_MESSAGE_START"):
    """The answer begins, or goes on where there is one of this id."""

    message_id: str
    role: str = "assistant"


class TextMessageContent(Event, frozen=True, tag="TEXT_MESSAGE_CONTENT"):
    """Its next characters."""

    message_id: str
    delta: str


class TextMessageEnd(Event, frozen=True, tag="TEXT_MESSAGE_END"):
    """Nothing is added to it for now."""

    message_id: str


class ReasoningStart(Event, frozen=True, tag="REASONING_START"):
    """The model begins to reason."""

    message_id: str


class ReasoningMessageStart(Event, frozen=True, tag="REASONING_MESSAGE_START"):
    """What it says of it begins, or goes on where there is a message of this id."""

    message_id: str
    role: str = "reasoning"


class ReasoningMessageContent(Event, frozen=True, tag="REASONING_MESSAGE_CONTENT"):
    """Its next characters."""

    message_id: str
    delta: str


class ReasoningMessageEnd(Event, frozen=True, tag="REASONING_MESSAGE_END"):
    """Nothing is added to it for now."""

    message_id: str


class ReasoningEnd(Event, frozen=True, tag="REASONING_END"):
    """The model has reasoned."""

    message_id: str


# Tool calls.


class ToolCallStart(Event, frozen=True, tag="TOOL_CALL_START"):
    """The model began a call, in the message of this id."""

    tool_call_id: str
    tool_call_name: str
    parent_message_id: str


class ToolCallArgs(Event, frozen=True, tag="TOOL_CALL_ARGS"):
    """The next characters of its arguments, as JSON text."""

    tool_call_id: str
    delta: str


class ToolCallEnd(Event, frozen=True, tag="TOOL_CALL_END"):
    """Its arguments are at their end."""

    tool_call_id: str


class ToolCallResult(Event, frozen=True, tag="TOOL_CALL_RESULT"):
    """What the call gave; that it failed is in the words alone."""

    message_id: str
    tool_call_id: str
    content: str
    role: str = "tool"


# The rest.


class MessagesSnapshot(Event, frozen=True, tag="MESSAGES_SNAPSHOT"):
    """All messages as they stand; others of the client's are void."""

    messages: tuple[Json, ...]


class Custom(Event, frozen=True, tag="CUSTOM"):
    """What the protocol has no word for; `name` begins with `antiphon.`."""

    name: str
    value: Any
