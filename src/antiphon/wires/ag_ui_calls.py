"""Tool calls, their outputs, and the approvals that some of them need, as AG-UI tells them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from msgspec import UNSET

from antiphon.clean import clean
from antiphon.events import PendingAction
from antiphon.wires import ag_ui_events as ag
from antiphon.wires.ag_ui_messages import output_id

APPROVAL: ag.Json = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
}
"""What answers an interrupt; a reason is told to the model."""


class Call:
    """A tool call as far as it was told; `reply` is the message that it is in.

    `asked` is what a person was asked of it and has not answered; `handed_out` says that somebody
    other than the worker has to run it.
    """

    __slots__ = ("answered", "asked", "handed_out", "id", "name", "open", "reply")

    def __init__(self, id: str, name: str, reply: str) -> None:
        self.id = id
        self.name = name
        self.reply = reply
        self.open = True
        self.asked: PendingAction | None = None
        self.handed_out = False
        self.answered = False


class Calls:
    """The calls of a run; `here` are the tools that this side runs where the worker does not."""

    def __init__(self, version: ag.Version, here: Collection[str]) -> None:
        self._version = version
        self._here = here
        self._calls: dict[str, Call] = {}

    def get(self, tool_call_id: str) -> Call | None:
        """The call, if it was told."""
        return self._calls.get(tool_call_id)

    @property
    def interrupts(self) -> tuple[ag.Interrupt, ...]:
        """What a person is asked."""
        waiting = [call for call in self._calls.values() if not call.answered]
        return tuple(self._interrupt(call.asked) for call in waiting if call.asked)

    @property
    def pending(self) -> tuple[str, ...]:
        """The calls that the client has to carry out."""
        return tuple(
            call.id
            for call in self._calls.values()
            if call.handed_out and not call.answered and call.name not in self._here
        )

    @property
    def open(self) -> list[Call]:
        """Those whose arguments are not at their end."""
        return [call for call in self._calls.values() if call.open]

    # What is told of each.

    def began(self, id: str, name: str, reply: str) -> Iterator[ag.Event]:
        """The model began a call."""
        self._calls[id] = Call(id, name, reply)
        yield ag.ToolCallStart(tool_call_id=id, tool_call_name=name, parent_message_id=reply)

    def more(self, id: str, arguments: str) -> Iterator[ag.Event]:
        """The next characters of a call's arguments."""
        call = self._calls.get(id)
        if call is not None and call.open and arguments:
            yield ag.ToolCallArgs(tool_call_id=id, delta=arguments)

    def ready(self, id: str, arguments: str, said: str) -> Iterator[ag.Event]:
        """The call is whole; what was not `said` of its arguments is said now."""
        if arguments.startswith(said):
            yield from self.more(id, arguments[len(said) :])
        yield from self.end(self._calls[id])

    def end(self, call: Call) -> Iterator[ag.Event]:
        """No more is said of its arguments."""
        if call.open:
            call.open = False
            yield ag.ToolCallEnd(tool_call_id=call.id)

    def required(self, action: PendingAction) -> None:
        """The client has to run the call, or to ask a person about it."""
        call = self._calls.get(action.tool_call_id)
        if call is None:
            return
        call.handed_out = action.kind == "tool"
        call.asked = action if action.kind == "approval" else None

    def went_on(self) -> None:
        """Every question has its answer."""
        for call in self._calls.values():
            call.asked = None

    def answer(self, run_id: str, id: str, output: str) -> Iterator[ag.Event]:
        """The call has an output; of a call that was not told there is none to tell."""
        call = self._calls.get(id)
        if call is None or call.answered:
            return
        yield from self.end(call)
        call.answered = True
        yield ag.ToolCallResult(message_id=output_id(run_id, id), tool_call_id=id, content=output)

    def close(
        self, run_id: str, why: str, reply: str | None = None, but: Collection[str] = ()
    ) -> Iterator[ag.Event]:
        """No other call, of this reply or any, is left as if it were still to be run."""
        for call in list(self._calls.values()):
            if call.id not in but and reply in (None, call.reply):
                yield from self.answer(run_id, call.id, why)

    def forget(self, reply: str) -> None:
        """The calls of this reply were never made."""
        kept = [call for call in self._calls.values() if call.reply != reply]
        self._calls = {call.id: call for call in kept}

    def _interrupt(self, asked: PendingAction) -> ag.Interrupt:
        """Clients of version 0 never ask for anything again once a question of theirs expires."""
        of = {"server": asked.server} if asked.server else {}
        expires_at = datetime.fromtimestamp(asked.expires_at / 1000, UTC).isoformat()
        return ag.Interrupt(
            id=asked.action_id,
            reason="tool_call",
            message=f"May {clean(' of '.join([asked.name, *of.values()]))} be called?",
            tool_call_id=asked.tool_call_id,
            response_schema=APPROVAL,
            metadata={"toolName": asked.name, **of},
            expires_at=UNSET if self._version == "0" else expires_at,
        )
