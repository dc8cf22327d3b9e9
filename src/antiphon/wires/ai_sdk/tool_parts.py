"""Tool calls and their approvals as parts of a UI Message Stream."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal, cast

import msgspec

from antiphon.types.events import (
    ActionRequired,
    PendingAction,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolOutputAdded,
)
from antiphon.wires.ai_sdk import parts as ui

CallEvent = ToolCallStarted | ToolCallDelta | ToolCallReady | ActionRequired | ToolOutputAdded


class ToolCallState:
    """A tool call as sent so far; `reply` is the number of complete replies before it.

    `asked` is its open question to a person; `handed_out` is true if the client has to run it.
    """

    __slots__ = ("answered", "asked", "handed_out", "id", "input", "name", "reply")

    def __init__(self, id: str, name: str, reply: int) -> None:
        self.id = id
        self.name = name
        self.reply = reply
        self.input: Any = None
        self.asked: ui.Asked | None = None
        self.handed_out = False
        self.answered = False

    @property
    def running(self) -> bool:
        """Whether its tool may be running."""
        return self.input is not None and self.asked is None and not self.answered

    @property
    def named(self) -> dict[str, Any]:
        """Fields that every part of a complete call has."""
        return {"tool_call_id": self.id, "tool_name": self.name, "input": self.input}


class ToolParts:
    """The calls of a run as parts for a client of this version.

    Clients fail on parts of an unknown call, so none are sent for those.
    """

    def __init__(self, sdk: ui.Sdk) -> None:
        self._sdk = sdk
        self._calls: dict[str, ToolCallState] = {}

    def get(self, tool_call_id: str) -> ToolCallState | None:
        """Return the call, if it was sent."""
        return self._calls.get(tool_call_id)

    @property
    def wait_for_a_person(self) -> bool:
        """Whether only a person's answer is missing."""
        waiting = [call for call in self._calls.values() if not call.answered]
        asked = any(call.asked for call in waiting)
        return asked and not any(call.handed_out and not call.asked for call in waiting)

    def told(self, event: CallEvent, reply: int) -> Iterator[ui.Part]:
        """Yield the parts of this event."""
        match event:
            case ToolCallStarted(tool_call_id=tool_call_id, name=name):
                yield from self._on_start(tool_call_id, name, reply)
            case ToolCallDelta(tool_call_id=tool_call_id, arguments=arguments):
                if tool_call_id in self._calls:
                    yield ui.ToolInputDelta(tool_call_id=tool_call_id, input_text_delta=arguments)
            case ToolCallReady(tool_call_id=tool_call_id, name=name, arguments=arguments):
                if tool_call_id not in self._calls:
                    yield from self._on_start(tool_call_id, name, reply)
                call = self._calls[tool_call_id]
                call.input = safe_input(arguments)
                yield ui.ToolInputAvailable(**call.named)
            case ActionRequired(actions=actions):
                for action in actions:
                    yield from self._on_required(action)
            case ToolOutputAdded():
                yield from self._on_output(event)

    def close(self, why: str, but: Collection[str] = ()) -> Iterator[ui.Part]:
        """Yield an end for every other open call."""
        for call in self._calls.values():
            if not call.answered and call.id not in but:
                call.answered = True
                yield ui.ToolOutputError(tool_call_id=call.id, error_text=why)

    def before(self, reply: int) -> set[str]:
        """Return the ids of calls of earlier replies."""
        return {call.id for call in self._calls.values() if call.reply < reply}

    def forget(self, but: Collection[str]) -> None:
        """Drop all other calls."""
        self._calls = {each: call for each, call in self._calls.items() if each in but}

    # Approvals.

    def ask(self, call: ToolCallState, asked: ui.Asked) -> Iterator[ui.Part]:
        """Yield the question whether the call may run."""
        call.asked = asked
        if self._sdk >= ui.ToolApprovalRequest.since:
            yield ui.ToolApprovalRequest(approval_id=asked.approval_id, tool_call_id=call.id)
        else:
            yield ui.DataApproval(id=call.id, data=asked)

    def ask_here(
        self, call: ToolCallState, approval_id: str, about: ui.About | None
    ) -> Iterator[ui.Part]:
        """Yield a question of this side, or more facts for a question that is already open."""
        known = {} if about is None else msgspec.structs.asdict(about)
        if call.running:
            yield from self.ask(call, ui.Asked(approval_id=approval_id, **call.named, **known))
        elif call.asked is not None and about is not None:
            call.asked = msgspec.structs.replace(call.asked, **known)
            if self._sdk < ui.ToolApprovalRequest.since:
                yield ui.DataApproval(id=call.id, data=call.asked)

    def approve(self, call: ToolCallState) -> Iterator[ui.Part]:
        """Yield the approval, if there was a question."""
        yield from self._settle(call, "approved")

    def approve_all(self) -> Iterator[ui.Part]:
        """Yield the approval of every open question."""
        for call in self._calls.values():
            yield from self.approve(call)

    def run_with(self, call: ToolCallState, arguments: str) -> Iterator[ui.Part]:
        """Yield the arguments with which the call runs, if a person changed them."""
        if (changed := safe_input(arguments)) != call.input:
            call.input = changed
            yield ui.ToolInputAvailable(**call.named)

    def _settle(
        self, call: ToolCallState, state: Literal["approved", "refused", "unanswered", "cancelled"]
    ) -> Iterator[ui.Part]:
        if call.asked is None:
            return
        asked, call.asked = call.asked, None
        if self._sdk < ui.ToolApprovalRequest.since:
            yield ui.DataApproval(id=call.id, data=msgspec.structs.replace(asked, state=state))
        elif self._sdk >= ui.ToolApprovalResponse.since and state in ("approved", "refused"):
            yield ui.ToolApprovalResponse(
                approval_id=asked.approval_id, approved=state == "approved"
            )

    # What happens to a call.

    def _on_start(self, tool_call_id: str, name: str, reply: int) -> Iterator[ui.Part]:
        self._calls[tool_call_id] = ToolCallState(tool_call_id, name, reply)
        yield ui.ToolInputStart(tool_call_id=tool_call_id, tool_name=name)

    def _on_required(self, action: PendingAction) -> Iterator[ui.Part]:
        call = self._calls.get(action.tool_call_id)
        if call is None:
            return
        if action.kind == "tool":
            call.handed_out = True
            return
        asked = ui.Asked(
            approval_id=action.action_id,
            server=action.server or msgspec.UNSET,
            expires_at=action.expires_at,
            **call.named,
        )
        yield from self.ask(call, asked)

    def _on_output(self, event: ToolOutputAdded) -> Iterator[ui.Part]:
        call = self._calls.get(event.tool_call_id)
        if call is None or call.answered:
            return
        if (event.refused or event.cancelled) and self._sdk < ui.ToolApprovalRequest.since:
            # If the client's side asked, the log does not contain the question.
            call.asked = call.asked or ui.Asked(approval_id=call.id, **call.named)
        denied = call.asked is not None and event.refused
        if event.arguments is not None:
            yield from self.run_with(call, event.arguments)
        ended: Literal["refused", "cancelled", "unanswered"] = "refused" if denied else "unanswered"
        yield from self._settle(call, "cancelled" if event.cancelled else ended)
        if denied and self._sdk >= ui.ToolOutputDenied.since:
            yield ui.ToolOutputDenied(tool_call_id=call.id)
        elif event.is_error:
            yield ui.ToolOutputError(tool_call_id=call.id, error_text=event.output)
        else:
            yield ui.ToolOutputAvailable(tool_call_id=call.id, output=event.output)
        call.answered = True
        complete = ui.Complete(tool_call_id=call.id, tool_name=call.name)
        yield ui.DataStatus(id=call.id, data=complete)


def safe_input(arguments: str) -> Any:
    """Return the arguments as an object, or as text if the client would reject the object."""
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError):
        return arguments
    return arguments if _has_unsafe_key(value) else value


def _has_unsafe_key(value: object) -> bool:
    """Return whether a key would change JavaScript's object prototype: clients fail on those."""
    match value:
        case dict():
            fields = cast("dict[str, object]", value)
            maker = fields.get("constructor")
            return (
                "__proto__" in fields
                or (isinstance(maker, dict) and "prototype" in maker)
                or any(map(_has_unsafe_key, fields.values()))
            )
        case list():
            return any(map(_has_unsafe_key, cast("list[object]", value)))
        case _:
            return False
