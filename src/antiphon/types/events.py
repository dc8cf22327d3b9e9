"""Events of a run, and their JSON.

Events are numbered 1, 2, 3 ... over all turns of a run. The number is sent beside the event (the
SSE `id`), the type inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from antiphon.types.messages import Citation, Message, ToolListing
from antiphon.types.runs import Action, Fault, Reason, Status, Usage


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    @property
    def type(self) -> str:
        """The event's name on every wire, such as `text.delta`."""
        return str(self.__struct_config__.tag)

    def json(self) -> str:
        """Return the event as JSON, as it is on the wire."""
        return msgspec.json.encode(self).decode()


class RunStatus(_Event, frozen=True, tag="run.status"):
    """The run's status changed. The first event of every run, with the ids of run and thread.

    With `continues`, the run goes on with the answer of the run before it, which was cut.

    If no worker has claimed a queued run, `waiting_for` is the provider that a worker must be able
    to reach.
    """

    run_id: str
    thread_id: str
    status: Status
    reason: Reason | None = None
    error: Fault | None = None
    waiting_for: str | None = None
    continues: bool = False


class ToolsListed(_Event, frozen=True, tag="tools.listed"):
    """The tools of MCP servers that the model is offered, where a request asked for their list."""

    listings: tuple[ToolListing, ...]


class TextDelta(_Event, frozen=True, tag="text.delta"):
    """The next characters of the answer."""

    text: str


class ReasoningDelta(_Event, frozen=True, tag="reasoning.delta"):
    """The next characters of the reasoning.

    `seconds` is how long the model has been reasoning in this reply, in whole seconds, wherever
    that has grown; else 0. The last one may have no text: the time until the answer began.
    """

    text: str
    seconds: int = 0


class RefusalDelta(_Event, frozen=True, tag="refusal.delta"):
    """The next characters of the model's refusal to answer."""

    text: str


class CitationsAdded(_Event, frozen=True, tag="citations.added"):
    """The provider named sources of its reply.

    A citation with the address and the bounds of an earlier one replaces it: its title has come.
    """

    citations: tuple[Citation, ...]


class ToolCallStarted(_Event, frozen=True, tag="tool_call.started"):
    """The model started a tool call."""

    tool_call_id: str
    name: str


class ToolCallDelta(_Event, frozen=True, tag="tool_call.delta"):
    """The next characters of a call's arguments, as JSON text."""

    tool_call_id: str
    arguments: str


class ToolCallReady(_Event, frozen=True, tag="tool_call.ready"):
    """The tool call is complete. `repaired` if missing brackets were added to its arguments."""

    tool_call_id: str
    name: str
    arguments: str
    repaired: bool = False


class MessageCompleted(_Event, frozen=True, tag="message.completed"):
    """A message was saved."""

    message: Message


class PendingAction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An action of the manifest; `arguments` is an object, `expires_at` milliseconds since 1970.

    An action of kind `approval` is a call of a tool of the MCP server `server`. The backend runs it
    once the client has submitted `{"approve": true}` as its output;
    `{"approve": false, "reason": "..."}` refuses it. `tool_digest` identifies the tool as it was
    then, regardless of its name.
    """

    action_id: str
    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    expires_at: int
    kind: Literal["tool", "approval"] = "tool"
    server: str | None = None
    tool_digest: str | None = None


def to_pending_action(action: Action) -> PendingAction:
    """Return the action as it appears in `action.required`."""
    return PendingAction(
        action_id=action.id,
        tool_call_id=action.tool_call_id,
        name=action.name,
        arguments=action.arguments,
        expires_at=action.expires_at,
        kind="approval" if action.approval == "required" else "tool",
        server=action.server,
        tool_digest=action.tool_digest,
    )


class ActionRequired(_Event, frozen=True, tag="action.required"):
    """The manifest: every action of this turn that waits for the client.

    The actions are durable before this event is sent.
    """

    run_id: str
    actions: tuple[PendingAction, ...]


class ToolOutputAdded(_Event, frozen=True, tag="tool_output.added"):
    """A tool output was saved.

    `refused` if the call was not allowed to run, `cancelled` if it was stopped. `arguments` is the
    JSON with which the tool ran, if a person changed the model's. `files` are ids of uploads with
    those parts of the result that the output only names, such as pictures.
    """

    tool_call_id: str
    output: str
    is_error: bool = False
    refused: bool = False
    cancelled: bool = False
    arguments: str | None = None
    files: tuple[str, ...] = ()


class TurnRestarted(_Event, frozen=True, tag="turn.restarted"):
    """The turn restarts: all events after number `after` are void and come again."""

    reason: str
    after: int
    attempt: int
    message: str | None = None


class UsageAdded(_Event, frozen=True, tag="usage"):
    """Usage of this turn; cost in US dollars where the price is known."""

    usage: Usage


class TurnEnded(_Event, frozen=True, tag="turn.ended"):
    """The last event of a turn's connection."""

    run_id: str
    status: Status
    reason: Reason | None = None


Event = (
    RunStatus
    | ToolsListed
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | CitationsAdded
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallReady
    | MessageCompleted
    | ActionRequired
    | ToolOutputAdded
    | TurnRestarted
    | UsageAdded
    | TurnEnded
)
Numbered = tuple[int, Event]


class EventPage(msgspec.Struct, frozen=True):
    """Encoded events of a run from number `first` on, without a gap.

    `ended` means that the run has ended and these are its last events; `more` means that the page
    was cut and the rest can be read at once.
    """

    first: int
    lines: Sequence[bytes]
    ended: bool
    more: bool = False


TYPES: frozenset[str] = frozenset(str(kind.__struct_config__.tag) for kind in Event.__args__)
"""All event names."""

_TYPE_AT: int = len(b'{"type":"')

encode = msgspec.json.Encoder().encode
"""Encode an event as one line of JSON; the type comes first."""

_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def decode(data: bytes | str) -> Event:
    """Decode an event. Raises `msgspec.ValidationError` for an unknown one."""
    return _decoder.decode(data)


def type_of(data: bytes) -> bytes:
    """Return the type of an encoded event without decoding it."""
    return data[_TYPE_AT : data.index(b'"', _TYPE_AT)]
