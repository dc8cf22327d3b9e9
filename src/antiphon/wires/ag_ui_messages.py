"""Messages as an AG-UI client has them: those of a thread, and those that a run is adding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from antiphon.messages import Message, ToolCall
from antiphon.wires import ag_ui_events as ag
from antiphon.wires.ag_ui_events import Json


def reply_id(run_id: str, reply: int) -> str:
    """The message that a run's reply is, counted from 1: known before the reply is stored."""
    return f"{run_id}:{reply}"


def reasoning_id(reply: str) -> str:
    """The message that the reasoning of a reply is."""
    return f"{reply}:reasoning"


def output_id(run_id: str, tool_call_id: str) -> str:
    """The message that the output of a call is."""
    return f"{run_id}:{tool_call_id}"


def as_messages(thread: Iterable[Message]) -> list[Json]:
    """A thread's messages with the ids that their runs' streams give them.

    Only texts: an upload is not shown. Summaries are for models, and left out.
    """
    replies: Counter[str] = Counter()
    told: list[Json] = []
    for message in thread:
        match message.role:
            case "assistant" if message.run_id:
                replies[message.run_id] += 1
                told += _reply(reply_id(message.run_id, replies[message.run_id]), message)
            case "assistant":
                told += _reply(message.id, message)
            case "tool":
                told.append(_output(message))
            case _ if message.compacts is None:
                told.append({"id": message.id, "role": message.role, "content": message.text})
            case _:
                pass
    return told


class Messages:
    """What a client has after `history` and the events that it was told.

    An output that it has itself given a call stays as it is there.
    """

    def __init__(self, history: Sequence[Json]) -> None:
        self._history = history
        self._run: dict[str, _Message] = {}

    def hear(self, event: ag.Event) -> None:
        """What this event makes of them."""
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
        """A call's arguments as they were told."""
        return "".join(self._arguments(tool_call_id))

    def correct(self, tool_call_id: str, arguments: str) -> None:
        """They are these, whatever was told."""
        self._arguments(tool_call_id)[:] = [arguments]

    def forget(self, reply: str, *, in_history: bool) -> None:
        """Drop what was said in this reply, which is void; `in_history` drops it there as well.

        A history that is newer than the void reply has none of it: under the reply's id it has
        what the model said when it began again. A client keeps reasoning where a snapshot has none
        at all, so reasoning that is void stays as a message without words.
        """
        said = self._run.get(reply)
        calls = said.calls if said else {}
        void = {reply, *(each.id for each in self._run.values() if each.answers in calls)}
        self._run = {each.id: each for each in self._run.values() if each.id not in void}
        if in_history:
            self._history = [known for known in self._history if known.get("id") not in void]
        reasoned = self._run.get(reasoning_id(reply))
        if reasoned is not None:
            reasoned.said = []

    def all(self) -> tuple[Json, ...]:
        """The messages as a snapshot has them: in the client's order, what is new at the end.

        What it has of a reply may be half of it.
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

    def _get(self, id: str, role: str) -> _Message:
        return self._run.setdefault(id, _Message(id, role))


class _Message:
    """A message while it grows; `answers` is the call whose output it is."""

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
                _call(call, name, "".join(said)) for call, (name, said) in self.calls.items()
            ]
        if self.answers is not None:
            message["toolCallId"] = self.answers
        return message


def _reply(id: str, message: Message) -> list[Json]:
    reply: Json = {"id": id, "role": "assistant", "content": message.full_text}
    if message.tool_calls:
        reply["toolCalls"] = [_stored(call) for call in message.tool_calls]
    if not message.reasoning:
        return [reply]
    thought = {"id": reasoning_id(id), "role": "reasoning", "content": message.reasoning}
    return [thought, reply]


def _output(message: Message) -> Json:
    call = message.tool_call_id or ""
    named = output_id(message.run_id, call) if message.run_id else message.id
    return {"id": named, "role": "tool", "toolCallId": call, "content": message.text}


def _stored(call: ToolCall) -> Json:
    return _call(call.id, call.name, call.arguments)


def _call(id: str, name: str, arguments: str) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
