"""Folds the events of a run into one response, and encodes it as events of OpenAI's wire.

    stream = ResponseFrames(head)
    for event in events:                 # from the first one of the response on
        body += stream.encode(event)
    body += stream.close()

The fold is pure: the number of an event on this wire is its place in the fold, so that a response
has the same numbers in every replay, on every worker, however its stream is cut.

A reply's reasoning, text and calls are items in the order in which they came. Calls that the
backend runs are items once the reply is whole: whether they run now, wait for approval, or wait for
the client's own calls is known only then. What a restart made void is closed as incomplete and
stays in the output; the turn begins again with new items, whose ids have another suffix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from antiphon.types.events import (
    ActionRequired,
    Event,
    MessageCompleted,
    ReasoningDelta,
    RefusalDelta,
    RunStatus,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolOutputAdded,
    TurnRestarted,
    UsageAdded,
)
from antiphon.types.ids import reply_id
from antiphon.types.messages import Message, ToolCall
from antiphon.types.runs import Fault, Reason, Status, Usage
from antiphon.wires.framing import escape_line_breaks
from antiphon.wires.openai import items as kinds
from antiphon.wires.openai.custom_input import CustomInputReader
from antiphon.wires.openai.errors import Envelope, fault_envelope
from antiphon.wires.openai.items import Item
from antiphon.wires.openai.object_ids import item_id
from antiphon.wires.openai.response_object import (
    CarriedCall,
    ResponseHead,
    ResponseState,
    ResponseStatus,
    response_object,
)
from antiphon.wires.openai.stored_items import (
    approval_request_item,
    call_item,
    mcp_call_item,
    output_item,
    reasoning_item,
    select_fields,
)

DONE = b"data: [DONE]\n\n"

INCOMPLETE_REASONS: Mapping[Reason | None, str] = {"length": "max_output_tokens"}
"""The original's words for reasons of an incomplete run; other reasons keep ours."""


class WireEvent(NamedTuple):
    """An event of this wire, without its number."""

    type: str
    fields: dict[str, Any]


class _OpenText:
    """A message, or reasoning, that is being written: parts with their pieces of text."""

    def __init__(self, kind: str, index: int, id: str) -> None:
        self.kind = kind
        self.index = index
        self.id = id
        self.parts: list[tuple[str, list[str]]] = []


class _OpenCall:
    """A call of the client's that is being written."""

    def __init__(self, index: int, item: kinds.FunctionCall | kinds.CustomToolCall) -> None:
        self.index = index
        self.item = item
        self.pieces: list[str] = []
        self.reader = CustomInputReader() if isinstance(item, kinds.CustomToolCall) else None


class ResponseFold:
    """Folds events into one response. `ended` is true once the response is over."""

    def __init__(self, head: ResponseHead) -> None:
        self.ended = False
        self._head = head
        self._status: ResponseStatus = "queued" if head.background else "in_progress"
        self._created = self._started = False
        self._output: list[Item] = []
        self._usage = Usage()
        self._error: dict[str, str] | None = None
        self._incomplete_reason: str | None = None
        self._completed_at: int | None = None
        self._turn = head.turn + 1
        self._restarts = 0
        self._first_of_turn = 0  # place in the output
        self._ids: set[str] = set()
        self._text: _OpenText | None = None
        self._calls: dict[str, _OpenCall] = {}
        self._places: dict[str, int] = {}
        self._arguments: dict[str, ToolCall] = {}
        self._running: dict[str, CarriedCall] = dict(head.carried)
        self._running_items: dict[str, int] = {}
        self._hands_off = False
        self._failure: tuple[int, Envelope] | None = None

    @property
    def failure(self) -> tuple[int, Envelope] | None:
        """Status and body of an answer that is nothing but an error."""
        return None if self._output else self._failure

    @property
    def state(self) -> ResponseState:
        """The response as far as it has come."""
        return ResponseState(
            status=self._status,
            output=tuple(self._output),
            usage=self._usage,
            error=self._error,
            incomplete_reason=self._incomplete_reason,
            completed_at=self._completed_at,
        )

    def feed(self, event: Event) -> list[WireEvent]:
        """Return what the event becomes on this wire."""
        if self.ended:
            return []
        out: list[WireEvent] = []
        if not self._created:
            self._created = True
            out.append(self._snapshot("response.created"))
            if self._status == "queued":
                out.append(self._snapshot("response.queued"))
        match event:
            case TextDelta(text=text):
                self._add_text(out, "output_text", text)
            case ReasoningDelta(text=text):
                self._add_reasoning(out, text)
            case RefusalDelta(text=text):
                self._add_text(out, "refusal", text)
            case ToolCallStarted(tool_call_id=call_id, name=name):
                self._start_call(out, call_id, name)
            case ToolCallDelta(tool_call_id=call_id, arguments=arguments):
                self._continue_call(out, call_id, arguments)
            case ToolCallReady():
                self._finish_call(out, event)
            case _:
                self._feed_rest(out, event)
        return out

    def _feed_rest(self, out: list[WireEvent], event: Event) -> None:
        """Feed an event that is no part of a reply."""
        match event:
            case MessageCompleted(message=message) if message.role == "assistant":
                self._end_reply(out, message)
            case ActionRequired(actions=actions):
                self._hands_off = True
                for action in actions:
                    if action.kind == "approval":
                        self._ask_approval(out, action.tool_call_id)
            case ToolOutputAdded():
                self._add_output(out, event)
            case TurnRestarted():
                self._restart(out, event)
            case UsageAdded(usage=usage):
                self._usage += usage
            case RunStatus(status=Status.IN_PROGRESS) if not self._started:
                self._started = True
                self._status = "in_progress"
                out.append(self._snapshot("response.in_progress"))
            case RunStatus(status=Status.ACTION_REQUIRED) if self._hands_off:
                self._end(out, "completed")
            case RunStatus(status=status) if status.ended:
                self._end_run(out, event)
            case _:
                pass

    def _snapshot(self, type: str) -> WireEvent:
        return WireEvent(type, {"response": response_object(self._head, self.state)})

    # Items.

    @property
    def _reply_id(self) -> str:
        """The id of the turn's message; after a restart with another suffix."""
        plain = reply_id(self._head.run_id, self._turn)
        return f"{plain}-{self._restarts + 1}" if self._restarts else plain

    def _add_item(self, out: list[WireEvent], item: Item) -> int:
        """Add an item to the output; return its place."""
        index = len(self._output)
        self._output.append(item)
        fields = {"output_index": index, "item": item}
        out.append(WireEvent("response.output_item.added", fields))
        return index

    def _finish_item(self, out: list[WireEvent], index: int, item: Item) -> None:
        item = select_fields(item, self._head.include)
        self._output[index] = item
        fields = {"output_index": index, "item": item}
        out.append(WireEvent("response.output_item.done", fields))

    def _unique(self, id: str) -> str:
        """Return the id; with a number where an item of the response has it: text after calls."""
        made, number = id, 1
        while made in self._ids:
            number += 1
            made = f"{id}-{number}"
        self._ids.add(made)
        return made

    # Text and reasoning.

    def _add_text(self, out: list[WireEvent], kind: str, text: str) -> None:
        opened = self._text
        if opened is None or opened.kind != "message":
            self._close_text(out)
            own_id = self._unique(item_id("msg", self._reply_id))
            item = kinds.MessageItem(id=own_id, role="assistant", status="in_progress", content=())
            opened = self._text = _OpenText("message", self._add_item(out, item), own_id)
        if not opened.parts or opened.parts[-1][0] != kind:
            self._close_part(out, opened)
            opened.parts.append((kind, []))
            fields = {**_place(opened), "part": _text_part(kind, "")}
            out.append(WireEvent("response.content_part.added", fields))
        opened.parts[-1][1].append(text)
        fields = {**_place(opened), "delta": text}
        if kind == "output_text":
            fields["logprobs"] = ()
        out.append(WireEvent(f"response.{kind}.delta", fields))

    def _add_reasoning(self, out: list[WireEvent], text: str) -> None:
        opened = self._text
        if opened is None or opened.kind != "reasoning":
            self._close_text(out)
            own_id = self._unique(item_id("rs", self._reply_id))
            item = kinds.ReasoningItem(id=own_id, summary=())
            opened = self._text = _OpenText("reasoning", self._add_item(out, item), own_id)
            opened.parts.append(("summary_text", []))
            fields = {**_summary_place(opened), "part": kinds.SummaryText("")}
            out.append(WireEvent("response.reasoning_summary_part.added", fields))
        opened.parts[-1][1].append(text)
        fields = {**_summary_place(opened), "delta": text}
        out.append(WireEvent("response.reasoning_summary_text.delta", fields))

    def _close_part(self, out: list[WireEvent], opened: _OpenText) -> None:
        if not opened.parts:
            return
        kind, pieces = opened.parts[-1]
        text = "".join(pieces)
        fields: dict[str, Any] = {**_place(opened)}
        if kind == "refusal":
            fields["refusal"] = text
        else:
            fields |= {"text": text, "logprobs": ()}
        out.append(WireEvent(f"response.{kind}.done", fields))
        fields = {**_place(opened), "part": _text_part(kind, text)}
        out.append(WireEvent("response.content_part.done", fields))

    def _close_text(self, out: list[WireEvent], *, whole: bool = True) -> None:
        """Close the item that is being written, if there is one."""
        opened, self._text = self._text, None
        if opened is None:
            return
        status: kinds.Progress = "completed" if whole else "incomplete"
        if opened.kind == "message":
            self._close_part(out, opened)
            content = tuple(_text_part(kind, "".join(pieces)) for kind, pieces in opened.parts)
            item: Item = kinds.MessageItem(
                id=opened.id, role="assistant", status=status, content=content
            )
        else:
            text = "".join(opened.parts[0][1])
            place = _summary_place(opened)
            out.append(WireEvent("response.reasoning_summary_text.done", {**place, "text": text}))
            fields = {**place, "part": kinds.SummaryText(text)}
            out.append(WireEvent("response.reasoning_summary_part.done", fields))
            item = replace(reasoning_item(self._reply_id, text), id=opened.id)
            if not whole:
                item = replace(item, status=status, encrypted_content=msgspec.UNSET)
        self._finish_item(out, opened.index, item)

    # Calls that the client runs.

    def _start_call(self, out: list[WireEvent], call_id: str, name: str) -> None:
        place = self._places[call_id] = len(self._places)
        if name not in self._head.client_tools:
            return
        self._close_text(out)
        custom = name in self._head.custom_tools
        item: Any = call_item(self._reply_id, place, ToolCall(call_id, name, ""), custom=custom)
        item = replace(item, status="in_progress")
        self._calls[call_id] = _OpenCall(self._add_item(out, item), item)

    def _continue_call(self, out: list[WireEvent], call_id: str, arguments: str) -> None:
        call = self._calls.get(call_id)
        if call is None:
            return
        call.pieces.append(arguments)
        delta = arguments if call.reader is None else call.reader.feed(arguments)
        if delta:
            self._add_arguments(out, call, "delta", delta)

    def _finish_call(self, out: list[WireEvent], event: ToolCallReady) -> None:
        call = self._calls.pop(event.tool_call_id, None)
        if call is None:
            self._arguments[event.tool_call_id] = ToolCall(
                event.tool_call_id, event.name, event.arguments
            )
            return
        sent = "".join(call.pieces) if call.reader is None else call.reader.text
        item: Any
        if isinstance(call.item, kinds.CustomToolCall):
            whole = kinds.custom_input(event.arguments)
            item = replace(call.item, input=whole, status="completed")
        else:
            whole = event.arguments
            item = replace(call.item, arguments=whole, status="completed")
        if whole.startswith(sent) and whole != sent:
            self._add_arguments(out, call, "delta", whole.removeprefix(sent))
        self._add_arguments(out, call, "done", whole)
        self._finish_item(out, call.index, item)

    def _add_arguments(self, out: list[WireEvent], call: _OpenCall, step: str, text: str) -> None:
        fields: dict[str, Any] = {"item_id": call.item.id, "output_index": call.index}
        if isinstance(call.item, kinds.CustomToolCall):
            fields["delta" if step == "delta" else "input"] = text
            out.append(WireEvent(f"response.custom_tool_call_input.{step}", fields))
            return
        if step == "done":
            fields["name"] = call.item.name
        fields["delta" if step == "delta" else "arguments"] = text
        out.append(WireEvent(f"response.function_call_arguments.{step}", fields))

    def _cut_calls(self, out: list[WireEvent]) -> None:
        """Close the calls that are not whole."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            sent = "".join(call.pieces) if call.reader is None else call.reader.text
            item: Any = (
                replace(call.item, input=sent, status="incomplete")
                if isinstance(call.item, kinds.CustomToolCall)
                else replace(call.item, arguments=sent, status="incomplete")
            )
            self._finish_item(out, call.index, item)

    # Calls that the backend runs.

    def _run_call(self, out: list[WireEvent], call_id: str, call: CarriedCall) -> None:
        """Add the item of a call that runs now."""
        tool_call = ToolCall(call_id, call.name, call.arguments)
        if not self._head.mcp_items:
            item: Any = call_item(call.reply_id, call.place, tool_call, custom=False)
            index = self._add_item(out, replace(item, arguments="", status="in_progress"))
            opened = _OpenCall(index, item)
            self._add_arguments(out, opened, "delta", call.arguments)
            self._add_arguments(out, opened, "done", call.arguments)
            self._finish_item(out, index, item)
            self._running_items[call_id] = index
            return
        mcp_item = self._mcp_item(call_id, call)
        index = self._add_item(out, replace(mcp_item, arguments=""))
        self._running_items[call_id] = index
        place = {"item_id": mcp_item.id, "output_index": index}
        out.append(WireEvent("response.mcp_call.in_progress", dict(place)))
        fields = {**place, "delta": call.arguments}
        out.append(WireEvent("response.mcp_call_arguments.delta", fields))
        fields = {**place, "arguments": call.arguments}
        out.append(WireEvent("response.mcp_call_arguments.done", fields))
        self._output[index] = mcp_item

    def _mcp_item(self, call_id: str, call: CarriedCall) -> kinds.McpCall:
        found = self._head.find_server(call.name)
        label = found[0].name if found else ""
        item = mcp_call_item(
            call.reply_id,
            call.place,
            ToolCall(call_id, call.name, call.arguments),
            label,
            None,
            approved=call_id in self._head.carried,
        )
        return replace(item, name=found[1]) if found else item

    def _add_output(self, out: list[WireEvent], event: ToolOutputAdded) -> None:
        call = self._running.pop(event.tool_call_id, None)
        if call is None:
            return  # the output of a call that the client ran is an item of its request
        if event.tool_call_id not in self._running_items:
            self._run_call(out, event.tool_call_id, call)
        index = self._running_items.pop(event.tool_call_id)
        if not self._head.mcp_items:
            item = output_item(
                call.reply_id, call.place, event.tool_call_id, event.output, custom=False
            )
            index = self._add_item(out, item)
            self._finish_item(out, index, item)
            return
        done = self._mcp_item(event.tool_call_id, call)
        if event.is_error:
            error = {"type": "mcp_tool_execution_error", "content": event.output}
            done = replace(done, error=error, status="failed")
        else:
            done = replace(done, output=event.output, status="completed")
        fields = {"item_id": done.id, "output_index": index}
        step = "failed" if event.is_error else "completed"
        out.append(WireEvent(f"response.mcp_call.{step}", fields))
        self._finish_item(out, index, done)

    def _ask_approval(self, out: list[WireEvent], call_id: str) -> None:
        call = self._running.pop(call_id, None)
        if call is None:
            return
        found = self._head.find_server(call.name)
        label, name = (found[0].name, found[1]) if found else ("", call.name)
        item = approval_request_item(call.reply_id, call.place, name, call.arguments, label)
        index = self._add_item(out, item)
        self._finish_item(out, index, item)

    # Turns.

    def _end_reply(self, out: list[WireEvent], message: Message) -> None:
        """Close the items of a reply, and begin those of its calls that run now."""
        whole = message.status == "completed"
        self._completed_at = message.created_at // 1000
        self._close_text(out, whole=whole)
        self._cut_calls(out)
        hosted = {
            call.id: CarriedCall(self._reply_id, place, call.name, call.arguments)
            for place, call in enumerate(message.tool_calls)
            if call.name not in self._head.client_tools
        }
        waits = len(hosted) < len(message.tool_calls) or any(
            self._asks(call.name) for call in hosted.values()
        )
        self._running |= hosted
        if not waits:
            for call_id, call in hosted.items():
                self._run_call(out, call_id, call)
        self._turn += 1
        self._restarts = 0
        self._first_of_turn = len(self._output)
        self._places = {}

    def _asks(self, tool: str) -> bool:
        found = self._head.find_server(tool)
        return found is not None and found[0].asks(found[1])

    def _restart(self, out: list[WireEvent], event: TurnRestarted) -> None:
        self._close_text(out, whole=False)
        self._cut_calls(out)
        void = [item.id for item in self._output[self._first_of_turn :]]
        fields = {"item_ids": void, "reason": event.reason, "attempt": event.attempt}
        out.append(WireEvent("antiphon:turn.restarted", fields))
        self._restarts += 1
        self._first_of_turn = len(self._output)
        self._places = {}

    # The end.

    def _end_run(self, out: list[WireEvent], event: RunStatus) -> None:
        match event.status:
            case Status.COMPLETED:
                self._end(out, "completed")
            case Status.INCOMPLETE:
                self._incomplete_reason = INCOMPLETE_REASONS.get(event.reason, str(event.reason))
                self._end(out, "incomplete")
            case Status.CANCELLED:
                self._end(out, "cancelled")
            case Status.EXPIRED:
                self._incomplete_reason = "expired"
                self._end(out, "incomplete")
            case _:
                self._fail(out, event.error or Fault("internal", "The run failed."))

    def _fail(self, out: list[WireEvent], fault: Fault) -> None:
        self._failure = fault_envelope(fault)
        body = self._failure[1].error
        code = body.code or body.type
        self._error = {"code": code, "message": body.message}
        fields = {"code": code, "message": body.message, "param": body.param}
        self._close(out)
        out.append(WireEvent("error", fields))
        self._end(out, "failed")

    def _close(self, out: list[WireEvent]) -> None:
        """Close whatever is open; an output that never came leaves its call incomplete."""
        self._close_text(out, whole=False)
        self._cut_calls(out)
        if self._head.mcp_items:
            for index in self._running_items.values():
                item: Any = self._output[index]
                self._finish_item(out, index, replace(item, status="incomplete"))
        self._running_items = {}

    def _end(self, out: list[WireEvent], status: ResponseStatus) -> None:
        self._close(out)
        self.ended = True
        self._status = status
        # The original has no event for a cancelled response; its status says it.
        name = "incomplete" if status == "cancelled" else status
        out.append(self._snapshot(f"response.{name}"))


def _place(opened: _OpenText) -> dict[str, Any]:
    return {
        "item_id": opened.id,
        "output_index": opened.index,
        "content_index": max(0, len(opened.parts) - 1),
    }


def _summary_place(opened: _OpenText) -> dict[str, Any]:
    return {"item_id": opened.id, "output_index": opened.index, "summary_index": 0}


def _text_part(kind: str, text: str) -> kinds.OutputText | kinds.RefusalPart:
    return kinds.RefusalPart(text) if kind == "refusal" else kinds.OutputText(text)


_encode = msgspec.json.Encoder().encode


class ResponseFrames:
    """Encodes the events of a response as server-sent events.

    Events up to number `after` are left out: a reader has them. `count` is the number of events so
    far.
    """

    def __init__(self, head: ResponseHead, after: int = -1) -> None:
        self.head = head
        self.fold = ResponseFold(head)
        self.count = 0
        self._after = after

    def encode(self, event: Event) -> bytes:
        """Return the frames of this event, which may be none."""
        frames: list[bytes] = []
        for name, fields in self.fold.feed(event):
            number = self.count
            self.count += 1
            if number > self._after:
                data = _encode({"type": name, "sequence_number": number, **fields})
                frames.append(
                    b"event: %b\ndata: %b\n\n" % (name.encode(), escape_line_breaks(data))
                )
        return b"".join(frames)

    def close(self) -> bytes:
        """Return the frame that ends the stream; nothing where the response goes on."""
        return DONE if self.fold.ended else b""


def fold_response(head: ResponseHead, events: Sequence[Event]) -> ResponseState:
    """Return the response after these events, the first of which are its own first."""
    fold = ResponseFold(head)
    for event in events:
        fold.feed(event)
    return fold.state
