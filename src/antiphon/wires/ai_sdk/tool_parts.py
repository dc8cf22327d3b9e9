"""Tool calls and their approvals as parts of a UI Message Stream."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET

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


Place = Literal["page", "elsewhere", "unknown"]
_PLACES: Mapping[Place, Mapping[str, Any]] = {
    "page": {"dynamic": UNSET},
    "elsewhere": {"provider_executed": True},
    "unknown": {},
}


class ToolCallState:
    """A tool call as sent so far; `reply` is the number of complete replies before it.

    `approval` is its open question to a person; `handed_out` is true if the client has to run it.
    `place` is where its tool runs: with the client, elsewhere, or unknown. `streamed` is true once
    a piece of its arguments was sent.
    """

    __slots__ = (
        "answered",
        "approval",
        "handed_out",
        "id",
        "input",
        "name",
        "place",
        "reply",
        "streamed",
    )

    def __init__(self, id: str, name: str, reply: int, place: Place) -> None:
        self.id = id
        self.name = name
        self.reply = reply
        self.place: Place = place
        self.input: Any = None
        self.approval: ui.ApprovalState | None = None
        self.handed_out = False
        self.answered = False
        self.streamed = False

    @property
    def running(self) -> bool:
        """True while the tool may be running."""
        return self.input is not None and self.approval is None and not self.answered

    @property
    def call_fields(self) -> dict[str, Any]:
        """The fields of every part about a complete call."""
        return {"tool_call_id": self.id, "tool_name": self.name, "input": self.input}

    @property
    def place_fields(self) -> Mapping[str, Any]:
        """The fields of every part that tell the client whether it runs the call."""
        return _PLACES[self.place]


class PageCalls(msgspec.Struct, frozen=True, kw_only=True):
    """Relation of a client that runs tools itself to the calls of a run.

    `tools` are the tools that it runs. A person must approve each call of those that `ask`;
    `approved` are the actions of such calls that were approved. `answered` are the calls whose
    outputs the client has given.
    """

    tools: frozenset[str] = frozenset()
    ask: frozenset[str] = frozenset()
    approved: frozenset[str] = frozenset()
    answered: frozenset[str] = frozenset()


class ToolParts:
    """The calls of a run as parts for a client of this version.

    Clients fail on parts of an unknown call, so none are sent for those. `page` is None for a
    client of which it is not known what it runs.
    """

    def __init__(self, sdk: ui.Sdk, page: PageCalls | None = None) -> None:
        self._sdk = sdk
        self._page = page
        self._approved: list[ToolCallState] = []
        self._calls: dict[str, ToolCallState] = {}

    def get(self, tool_call_id: str) -> ToolCallState | None:
        """Return the call, if it was sent."""
        return self._calls.get(tool_call_id)

    @property
    def wait_for_a_person(self) -> bool:
        """True if only a person's answer is missing."""
        waiting = [call for call in self._calls.values() if not call.answered]
        needs_approval = any(call.approval for call in waiting)
        return needs_approval and not any(call.handed_out and not call.approval for call in waiting)

    @property
    def wait_for_page(self) -> bool:
        """True if the page has to run a call, or a person's answer is all that is missing.

        A page sends a person's answer only when no other call of the reply is running.
        """
        waiting = [call for call in self._calls.values() if not call.answered]
        if any(call.handed_out and call.place == "page" for call in waiting):
            return True
        running = any(call.handed_out for call in waiting)
        return any(call.approval for call in waiting) and not running

    def encode(self, event: CallEvent, reply: int) -> Iterator[ui.UiPart]:
        """Yield the parts of this event."""
        match event:
            case ToolCallStarted(tool_call_id=tool_call_id, name=name):
                yield from self._on_start(tool_call_id, name, reply)
            case ToolCallDelta(tool_call_id=tool_call_id, arguments=arguments):
                if tool_call_id in self._calls:
                    self._calls[tool_call_id].streamed = True
                    yield ui.ToolInputDelta(tool_call_id=tool_call_id, input_text_delta=arguments)
            case ToolCallReady(tool_call_id=tool_call_id, name=name, arguments=arguments):
                if tool_call_id not in self._calls:
                    yield from self._on_start(tool_call_id, name, reply)
                call = self._calls[tool_call_id]
                call.input = safe_input(arguments)
                if call.place != "page":
                    yield ui.ToolInputAvailable(**call.call_fields, **call.place_fields)
                elif not call.streamed and self._asks(call):  # a person reads them before the page
                    yield ui.ToolInputDelta(tool_call_id=tool_call_id, input_text_delta=arguments)
            case ActionRequired(actions=actions):
                for action in actions:
                    yield from self._on_required(action)
            case ToolOutputAdded():
                yield from self._on_output(event)

    def hand_over_approved(self) -> Iterator[ui.UiPart]:
        """Yield the page's calls that a person has approved, so that it runs them."""
        for call in self._approved:
            if not call.answered:
                yield ui.ToolInputAvailable(**call.call_fields, **call.place_fields)

    def close(self, why: str, but: Collection[str] = ()) -> Iterator[ui.UiPart]:
        """Yield an end for every other open call."""
        for call in self._calls.values():
            if not call.answered and call.id not in but:
                call.answered = True
                yield ui.ToolOutputError(tool_call_id=call.id, error_text=why, **call.place_fields)

    def before(self, reply: int) -> set[str]:
        """Return the ids of calls of earlier replies."""
        return {call.id for call in self._calls.values() if call.reply < reply}

    def forget(self, but: Collection[str]) -> None:
        """Drop all other calls."""
        self._calls = {each: call for each, call in self._calls.items() if each in but}

    # Approvals.

    def ask(self, call: ToolCallState, approval: ui.ApprovalState) -> Iterator[ui.UiPart]:
        """Yield the question whether the call may run."""
        call.approval = approval
        if self._sdk >= ui.ToolApprovalRequest.since:
            yield ui.ToolApprovalRequest(approval_id=approval.approval_id, tool_call_id=call.id)
        else:
            yield ui.DataApproval(id=call.id, data=approval)

    def ask_here(
        self, call: ToolCallState, approval_id: str, about: ui.CallFacts | None
    ) -> Iterator[ui.UiPart]:
        """Yield a question of this side, or more facts for a question that is already open."""
        known = {} if about is None else msgspec.structs.asdict(about)
        if call.running:
            yield from self.ask(
                call, ui.ApprovalState(approval_id=approval_id, **call.call_fields, **known)
            )
        elif call.approval is not None and about is not None:
            call.approval = msgspec.structs.replace(call.approval, **known)
            if self._sdk < ui.ToolApprovalRequest.since:
                yield ui.DataApproval(id=call.id, data=call.approval)

    def approve(self, call: ToolCallState) -> Iterator[ui.UiPart]:
        """Yield the approval, if there was a question."""
        yield from self._settle(call, "approved")

    def approve_all(self) -> Iterator[ui.UiPart]:
        """Yield the approval of every open question."""
        for call in self._calls.values():
            yield from self.approve(call)

    def run_with(self, call: ToolCallState, arguments: str) -> Iterator[ui.UiPart]:
        """Yield the arguments with which the call runs, if a person changed them."""
        if (changed := safe_input(arguments)) != call.input:
            call.input = changed
            yield ui.ToolInputAvailable(**call.call_fields, **call.place_fields)

    def _settle(
        self, call: ToolCallState, state: Literal["approved", "refused", "unanswered", "cancelled"]
    ) -> Iterator[ui.UiPart]:
        if call.approval is None:
            return
        approval, call.approval = call.approval, None
        if self._sdk < ui.ToolApprovalRequest.since:
            yield ui.DataApproval(id=call.id, data=msgspec.structs.replace(approval, state=state))
        elif self._sdk >= ui.ToolApprovalResponse.since and state in ("approved", "refused"):
            yield ui.ToolApprovalResponse(
                approval_id=approval.approval_id, approved=state == "approved"
            )

    # Events of a call.

    def _on_start(self, tool_call_id: str, name: str, reply: int) -> Iterator[ui.UiPart]:
        place: Place = "unknown"
        if self._page is not None:
            place = "page" if name in self._page.tools else "elsewhere"
        call = ToolCallState(tool_call_id, name, reply, place)
        self._calls[tool_call_id] = call
        yield ui.ToolInputStart(tool_call_id=tool_call_id, tool_name=name, **call.place_fields)

    def _asks(self, call: ToolCallState) -> bool:
        """Return whether a person must approve the page's call."""
        return self._page is not None and call.name in self._page.ask

    def _on_required(self, action: PendingAction) -> Iterator[ui.UiPart]:
        call = self._calls.get(action.tool_call_id)
        if call is None:
            return
        approved = self._page.approved if self._page else frozenset[str]()
        asks = call.place == "page" and self._asks(call)
        if asks and action.action_id in approved:
            call.handed_out = True
            self._approved.append(call)
            return
        if action.kind == "tool" and not asks:
            call.handed_out = True
            if call.place == "page":
                # Only now: pages run a call as soon as they see that its arguments are complete,
                # and a reply that is cut after that begins again.
                yield ui.ToolInputAvailable(**call.call_fields, **call.place_fields)
            return
        approval = ui.ApprovalState(
            approval_id=action.action_id,
            server=action.server or msgspec.UNSET,
            expires_at=action.expires_at,
            **call.call_fields,
        )
        yield from self.ask(call, approval)

    def _on_output(self, event: ToolOutputAdded) -> Iterator[ui.UiPart]:
        call = self._calls.get(event.tool_call_id)
        if call is None or call.answered:
            return
        if (event.refused or event.cancelled) and self._sdk < ui.ToolApprovalRequest.since:
            # If the client's side asked, the log does not contain the question.
            call.approval = call.approval or ui.ApprovalState(
                approval_id=call.id, **call.call_fields
            )
        denied = call.approval is not None and event.refused
        if event.arguments is not None:
            yield from self.run_with(call, event.arguments)
        ended: Literal["refused", "cancelled", "unanswered"] = "refused" if denied else "unanswered"
        yield from self._settle(call, "cancelled" if event.cancelled else ended)
        if denied and self._sdk >= ui.ToolOutputDenied.since:
            yield ui.ToolOutputDenied(tool_call_id=call.id)
        elif self._page is not None and call.id in self._page.answered:
            pass
        elif event.is_error:
            yield ui.ToolOutputError(
                tool_call_id=call.id, error_text=event.output, **call.place_fields
            )
        else:
            yield ui.ToolOutputAvailable(
                tool_call_id=call.id, output=event.output, **call.place_fields
            )
        call.answered = True
        complete = ui.OutputSaved(tool_call_id=call.id, tool_name=call.name)
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
