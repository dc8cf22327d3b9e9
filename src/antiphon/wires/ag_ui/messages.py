"""Messages in the form of AG-UI clients: their history, and those that a run adds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from msgspec import UNSET

from antiphon.types.events import PendingAction
from antiphon.types.terminal_safe import clean
from antiphon.wires.ag_ui import events as ag
from antiphon.wires.ag_ui.events import Json


def reply_id(run_id: str, reply: int) -> str:
    """Return the message id of a run's reply, counted from 1; known before the reply is stored."""
    return f"{run_id}:{reply}"


def reasoning_id(reply: str) -> str:
    """Return the message id of a reply's reasoning."""
    return f"{reply}:reasoning"


def output_id(run_id: str, tool_call_id: str) -> str:
    """Return the message id of a call's output."""
    return f"{run_id}:{tool_call_id}"


class Messages:
    """The client's messages: its `history`, plus the events it received.

    An output that the client gave itself keeps its place there.
    """

    def __init__(self, history: Sequence[Json]) -> None:
        self._history = history
        self._run: dict[str, _MessageBuilder] = {}

    def apply(self, event: ag.AgUiEvent) -> None:
        """Apply an event."""
        match event:
            case ag.TextMessageStart(message_id=id, role=role):
                self._get(id, role)
            case ag.ReasoningMessageStart(message_id=id, role=role):
                self._get(id, role)
            case ag.TextMessageContent(message_id=id, delta=delta):
                self._run[id].said.append(delta)
            case ag.ReasoningMessageContent(message_id=id, delta=delta):
                self._run[id].said.append(delta)
            case ag.ToolCallStart(tool_call_id=call, tool_call_name=name, parent_message_id=id):
                self._get(id, "assistant").calls[call] = (name, [])
            case ag.ToolCallArgs(tool_call_id=call, delta=delta):
                self._arguments(call).append(delta)
            case ag.ToolCallResult(message_id=id, tool_call_id=call, content=content):
                output = self._get(id, "tool")
                output.answers, output.said = call, [content]
            case _:
                pass

    def arguments(self, tool_call_id: str) -> str:
        """Return a call's arguments as sent so far."""
        return "".join(self._arguments(tool_call_id))

    def correct(self, tool_call_id: str, arguments: str) -> None:
        """Replace the arguments of a call."""
        self._arguments(tool_call_id)[:] = [arguments]

    def forget(self, reply: str, *, in_history: bool) -> None:
        """Drop a void reply; `in_history` drops it from the history as well.

        A history newer than the void reply does not contain it: under the reply's id it has the
        text of the new attempt. Clients keep reasoning that a snapshot lacks, so void reasoning
        stays as an empty message.
        """
        builder = self._run.get(reply)
        calls = builder.calls if builder else {}
        void = {reply, *(each.id for each in self._run.values() if each.answers in calls)}
        self._run = {each.id: each for each in self._run.values() if each.id not in void}
        if in_history:
            self._history = [known for known in self._history if known.get("id") not in void]
        reasoned = self._run.get(reasoning_id(reply))
        if reasoned is not None:
            reasoned.said = []

    def all(self) -> tuple[Json, ...]:
        """Return the messages for a snapshot: in the client's order, new ones at the end.

        The client may have half of a reply.
        """
        ours = {message.id: message.as_json() for message in self._run.values()}
        answered = {known.get("toolCallId") for known in self._history} - {None}
        kept = [ours.pop(str(known.get("id")), known) for known in self._history]
        new = [each for each in ours.values() if each.get("toolCallId") not in answered]
        return (*kept, *new)

    def _arguments(self, tool_call_id: str) -> list[str]:
        [pieces] = [
            message.calls[tool_call_id][1]
            for message in self._run.values()
            if tool_call_id in message.calls
        ]
        return pieces

    def _get(self, id: str, role: str) -> _MessageBuilder:
        return self._run.setdefault(id, _MessageBuilder(id, role))


class _MessageBuilder:
    """A message while it grows; `answers` is the call that it is the output of."""

    __slots__ = ("answers", "calls", "id", "role", "said")

    def __init__(self, id: str, role: str) -> None:
        self.id = id
        self.role = role
        self.said: list[str] = []
        self.calls: dict[str, tuple[str, list[str]]] = {}
        self.answers: str | None = None

    def as_json(self) -> Json:
        message: Json = {"id": self.id, "role": self.role, "content": "".join(self.said)}
        if self.calls:
            message["toolCalls"] = [
                {
                    "id": call,
                    "type": "function",
                    "function": {"name": name, "arguments": "".join(arguments)},
                }
                for call, (name, arguments) in self.calls.items()
            ]
        if self.answers is not None:
            message["toolCallId"] = self.answers
        return message


# Tool calls, their outputs and approvals as AG-UI events.


APPROVAL: ag.Json = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
}
"""Schema of the answer to an interrupt; the model reads the reason."""


class AgUiCall:
    """A tool call as sent so far; `reply` is the message that contains it.

    `asked` is its open question to a person; `handed_out` is true if the worker does not run it.
    `hidden` is true while the client must not see it, which would run it; `arguments` are kept for
    then.
    """

    __slots__ = (
        "answered",
        "arguments",
        "asked",
        "handed_out",
        "hidden",
        "id",
        "name",
        "open",
        "reply",
    )

    def __init__(self, id: str, name: str, reply: str) -> None:
        self.id = id
        self.name = name
        self.reply = reply
        self.open = True
        self.asked: PendingAction | None = None
        self.handed_out = False
        self.answered = False
        self.hidden = False
        self.arguments = ""


class AgUiCalls:
    """The calls of a run; the arguments are fields of the `Reader`."""

    def __init__(
        self,
        version: ag.Version,
        here: Collection[str],
        page_tools: Collection[str] | None = None,
        approved: Collection[str] = (),
        ask: Collection[str] = (),
    ) -> None:
        self._ask = ask
        self._version = version
        self._here = here
        self._page_tools = page_tools
        self._approved = approved
        self._calls: dict[str, AgUiCall] = {}

    def get(self, tool_call_id: str) -> AgUiCall | None:
        """Return the call, if it was sent."""
        return self._calls.get(tool_call_id)

    @property
    def interrupts(self) -> tuple[ag.Interrupt, ...]:
        """The open questions."""
        waiting = [call for call in self._calls.values() if not call.answered]
        return tuple(self._interrupt(call.asked) for call in waiting if call.asked)

    @property
    def pending(self) -> tuple[str, ...]:
        """The calls that the client has to run."""
        return tuple(
            call.id
            for call in self._calls.values()
            if call.handed_out and not call.answered and not call.asked and self._is_clients(call)
        )

    @property
    def open(self) -> list[AgUiCall]:
        """The calls with incomplete arguments."""
        return [call for call in self._calls.values() if call.open and not call.hidden]

    # Events of a call.

    def start_call(self, id: str, name: str, reply: str) -> Iterator[ag.AgUiEvent]:
        """Yield the start of a call."""
        call = self._calls[id] = AgUiCall(id, name, reply)
        call.hidden = name in self._ask
        if not call.hidden:
            yield ag.ToolCallStart(tool_call_id=id, tool_call_name=name, parent_message_id=reply)

    def append_arguments(self, id: str, arguments: str) -> Iterator[ag.AgUiEvent]:
        """Yield the next characters of a call's arguments."""
        call = self._calls.get(id)
        if call is not None and call.open and arguments and not call.hidden:
            yield ag.ToolCallArgs(tool_call_id=id, delta=arguments)

    def keep_hidden(self, id: str, arguments: str) -> bool:
        """Store the arguments of a hidden call; return whether it is one."""
        call = self._calls[id]
        if call.hidden:
            call.arguments = arguments
        return call.hidden

    def reveal(self, call: AgUiCall) -> Iterator[ag.AgUiEvent]:
        """Yield a call that was hidden, as a whole."""
        if call.hidden:
            call.hidden = False
            call.open = True
            yield ag.ToolCallStart(
                tool_call_id=call.id, tool_call_name=call.name, parent_message_id=call.reply
            )
            yield from self.append_arguments(call.id, call.arguments)
            yield from self.end_arguments(call)

    def reveal_approved(self) -> Iterator[ag.AgUiEvent]:
        """Yield the client's calls that a person has approved, so that it runs them."""
        for call in self._calls.values():
            if call.handed_out and not call.asked:
                yield from self.reveal(call)

    def complete_call(self, id: str, arguments: str, sent: str) -> Iterator[ag.AgUiEvent]:
        """Yield the end of a call, after those arguments that were not sent yet."""
        if arguments.startswith(sent):
            yield from self.append_arguments(id, arguments[len(sent) :])
        if self._page_tools is None or not self._is_clients(self._calls[id]):
            yield from self.end_arguments(self._calls[id])

    def end_arguments(self, call: AgUiCall) -> Iterator[ag.AgUiEvent]:
        """Yield the end of a call's arguments."""
        if call.open:
            call.open = False
            yield ag.ToolCallEnd(tool_call_id=call.id)

    def require(self, action: PendingAction) -> Iterator[ag.AgUiEvent]:
        """Record that the client has to run or approve the call.

        Yield the end of a call that waited for that: clients run a call as soon as it ends, and a
        reply that is cut before it is handed over begins again.
        """
        call = self._calls.get(action.tool_call_id)
        if call is None:
            return
        call.handed_out = action.kind == "tool"
        asks = action.kind == "approval" or call.hidden
        call.asked = action if asks and action.action_id not in self._approved else None
        if not call.hidden:
            yield from self.end_arguments(call)

    def resolve_all(self) -> None:
        """Drop all open questions."""
        for call in self._calls.values():
            call.asked = None

    def add_output(self, run_id: str, id: str, output: str) -> Iterator[ag.AgUiEvent]:
        """Yield a call's output; nothing for a call that was not sent."""
        call = self._calls.get(id)
        if call is None or call.answered:
            return
        yield from self.reveal(call)
        yield from self.end_arguments(call)
        call.answered = True
        yield ag.ToolCallResult(message_id=output_id(run_id, id), tool_call_id=id, content=output)

    def close(
        self, run_id: str, why: str, reply: str | None = None, but: Collection[str] = ()
    ) -> Iterator[ag.AgUiEvent]:
        """Close every other call, so that none seems to be waiting."""
        for call in list(self._calls.values()):
            never_seen = call.hidden and reply is not None
            if call.id not in but and reply in (None, call.reply) and not never_seen:
                yield from self.add_output(run_id, call.id, why)

    def forget(self, reply: str) -> None:
        """Drop the calls of this reply."""
        kept = [call for call in self._calls.values() if call.reply != reply]
        self._calls = {call.id: call for call in kept}

    def _is_clients(self, call: AgUiCall) -> bool:
        """Return whether the client runs the call, if it has to be run by one."""
        if self._page_tools is None:
            return call.name not in self._here
        return call.name in self._page_tools

    def _interrupt(self, action: PendingAction) -> ag.Interrupt:
        """Return the interrupt, without expiry for clients of version 0: these never ask again."""
        of = {"server": action.server} if action.server else {}
        hidden = {"arguments": action.arguments} if action.kind == "tool" else {}
        expires_at = datetime.fromtimestamp(action.expires_at / 1000, UTC).isoformat()
        return ag.Interrupt(
            id=action.action_id,
            reason="tool_call",
            message=f"May {clean(' of '.join([action.name, *of.values()]))} be called?",
            tool_call_id=action.tool_call_id,
            response_schema=APPROVAL,
            metadata={"toolName": action.name, **of, **hidden},
            expires_at=UNSET if self._version == "0" else expires_at,
        )
