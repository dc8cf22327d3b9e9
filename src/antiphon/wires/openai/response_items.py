"""Writes the items of a response, and their events, while a reply arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from antiphon.types.events import ToolCallReady, ToolOutputAdded
from antiphon.types.messages import Citation, ToolCall, ToolListing
from antiphon.wires.openai import items as kinds
from antiphon.wires.openai.custom_input import CustomInputReader
from antiphon.wires.openai.hosted_tools import find_links, make_hosted_call_item
from antiphon.wires.openai.item_builders import (
    approval_request_item,
    call_item,
    cite,
    list_tools_item,
    mcp_call_item,
    name_in_namespace,
    output_item,
    reasoning_item,
    select_fields,
)
from antiphon.wires.openai.items import Item
from antiphon.wires.openai.object_ids import item_id
from antiphon.wires.openai.response_object import CarriedCall, ResponseHead


class WireEvent(NamedTuple):
    """An event of this wire, without its number."""

    type: str
    fields: dict[str, Any]


class ItemWriter:
    """The items of a response by their places, and the events that are not yet taken.

    `titles` are those of the sources that searches have found, by their URLs; `cited` are the
    citations that the provider has named for the reply that is being written.
    """

    def __init__(self, include: Sequence[str], titles: Mapping[str, str]) -> None:
        self.output: list[Item] = []
        self.titles: dict[str, str] = dict(titles)
        self.cited: list[Citation] = []
        self._include = include
        self._events: list[WireEvent] = []
        self._ids: set[str] = set()
        self._void: set[int] = set()

    @property
    def kept(self) -> Sequence[Item]:
        """The items without void ones: the output of the response."""
        return [item for index, item in enumerate(self.output) if index not in self._void]

    def drop(self, first: int, last: int | None = None) -> None:
        """Make items void: those from this place to the last one, which is left out, or the end."""
        self._void.update(range(first, len(self.output) if last is None else last))

    def emit(self, name: str, /, **fields: Any) -> None:
        """Add an event."""
        self._events.append(WireEvent(name, fields))

    def take_events(self) -> list[WireEvent]:
        """Return the events since the last time."""
        events, self._events = self._events, []
        return events

    def add(self, item: Item) -> int:
        """Add an item to the output; return its place."""
        index = len(self.output)
        self.output.append(item)
        self.emit("response.output_item.added", output_index=index, item=item)
        return index

    def finish(self, index: int, item: Item) -> None:
        """Replace an item by its last form."""
        item = self.output[index] = select_fields(item, self._include)
        self.emit("response.output_item.done", output_index=index, item=item)

    def unique(self, wanted: str) -> str:
        """Return the id; with a number where an item of the response has it: text after calls."""
        made, number = wanted, 1
        while made in self._ids:
            number += 1
            made = f"{wanted}-{number}"
        self._ids.add(made)
        return made


def write_listings(writer: ItemWriter, reply_id: str, listings: Sequence[ToolListing]) -> None:
    """Write an item for the tools of each MCP server, which is whole as soon as it begins."""
    for place, listing in enumerate(listings):
        item = list_tools_item(reply_id, place, listing)
        index = writer.add(replace(item, tools=(), error=None))
        at: dict[str, Any] = {"item_id": item.id, "output_index": index}
        writer.emit("response.mcp_list_tools.in_progress", **at)
        step = "failed" if listing.error else "completed"
        writer.emit(f"response.mcp_list_tools.{step}", **at)
        writer.finish(index, item)


class MessageWriter:
    """The message or the reasoning that is being written; one of them at a time."""

    def __init__(self, writer: ItemWriter) -> None:
        self._writer = writer
        self._kind = ""  # "message", "reasoning", or none is open
        self._index = 0
        self._id = ""
        self._parts: list[tuple[str, list[str]]] = []
        self._item_place: dict[str, Any] = {}
        self._place: dict[str, Any] = {}  # of the last part

    def add_text(self, reply_id: str, part: str, text: str) -> None:
        """Add to the text (`output_text`) or the refusal of a message."""
        if self._kind != "message":
            self.close()
            self._id = self._writer.unique(item_id("msg", reply_id))
            self._open(
                "message",
                kinds.MessageItem(id=self._id, role="assistant", status="in_progress", content=()),
            )
        if not self._parts or self._parts[-1][0] != part:
            self._close_part()
            self._parts.append((part, []))
            self._place = {**self._item_place, "content_index": len(self._parts) - 1}
            added = _text_part(part, "")
            self._writer.emit("response.content_part.added", **self._place, part=added)
        self._parts[-1][1].append(text)
        if part == "output_text":
            self._writer.emit("response.output_text.delta", **self._place, delta=text, logprobs=())
        else:
            self._writer.emit("response.refusal.delta", **self._place, delta=text)

    def add_reasoning(self, reply_id: str, text: str) -> None:
        """Add to the summary of a reasoning."""
        emit = self._writer.emit
        if self._kind != "reasoning":
            self.close()
            self._id = self._writer.unique(item_id("rs", reply_id))
            self._open("reasoning", kinds.ReasoningItem(id=self._id, summary=()))
            self._parts.append(("summary_text", []))
            self._place = {**self._item_place, "summary_index": 0}
            part = kinds.SummaryText("")
            emit("response.reasoning_summary_part.added", **self._place, part=part)
        self._parts[-1][1].append(text)
        emit("response.reasoning_summary_text.delta", **self._place, delta=text)

    def close(self, *, whole: bool = True) -> None:
        """Close the item that is being written, if there is one."""
        kind, self._kind = self._kind, ""
        if kind == "message":
            self._close_part()
            texts = [(part, "".join(pieces)) for part, pieces in self._parts]
            item: Item = kinds.MessageItem(
                id=self._id,
                role="assistant",
                status="completed" if whole else "incomplete",
                content=tuple(self._whole_part(part, text) for part, text in texts),
            )
            self._writer.finish(self._index, item)
        elif kind == "reasoning":
            self._close_reasoning(whole=whole)
        self._parts = []

    def _open(self, kind: str, item: Item) -> None:
        self._kind = kind
        self._index = self._writer.add(item)
        self._item_place = {"item_id": self._id, "output_index": self._index}

    def _close_part(self) -> None:
        if not self._parts:
            return
        part, pieces = self._parts[-1]
        text = "".join(pieces)
        more: dict[str, Any] = (
            {"refusal": text} if part == "refusal" else {"text": text, "logprobs": ()}
        )
        whole = self._whole_part(part, text)
        if isinstance(whole, kinds.OutputText):
            for number, citation in enumerate(whole.annotations or ()):
                at: dict[str, Any] = {"annotation_index": number, "annotation": citation}
                name = "response.output_text.annotation.added"
                self._writer.emit(name, **self._place, **at)
        self._writer.emit(f"response.{part}.done", **self._place, **more)
        self._writer.emit("response.content_part.done", **self._place, part=whole)

    def _whole_part(self, part: str, text: str) -> kinds.ContentPart:
        return cite(_text_part(part, text), self._writer.titles, self._writer.cited)

    def _close_reasoning(self, *, whole: bool) -> None:
        text = "".join(self._parts[0][1])
        place, emit = self._place, self._writer.emit
        emit("response.reasoning_summary_text.done", **place, text=text)
        emit("response.reasoning_summary_part.done", **place, part=kinds.SummaryText(text))
        item = replace(reasoning_item(self._id, text), id=self._id)
        if not whole:
            item = replace(item, status="incomplete", encrypted_content=msgspec.UNSET)
        self._writer.finish(self._index, item)


def _text_part(part: str, text: str) -> kinds.OutputText | kinds.RefusalPart:
    return kinds.RefusalPart(text) if part == "refusal" else kinds.OutputText(text)


class _OpenCall:
    """A call of the client's that is being written, and its arguments or input so far."""

    def __init__(self, index: int, item: kinds.FunctionCall | kinds.CustomToolCall) -> None:
        self.index = index
        self.item = item
        self._pieces: list[str] = []
        self._reader = CustomInputReader() if isinstance(item, kinds.CustomToolCall) else None

    def add(self, arguments: str) -> str:
        """Return what these arguments add, as the client sees it."""
        added = arguments if self._reader is None else self._reader.feed(arguments)
        self._pieces.append(added)
        return added

    @property
    def text(self) -> str:
        return "".join(self._pieces)


class ClientCallWriter:
    """The calls that the client runs, while their arguments arrive."""

    def __init__(self, writer: ItemWriter, head: ResponseHead) -> None:
        self._writer = writer
        self._head = head
        self._calls: dict[str, _OpenCall] = {}

    def start(self, reply_id: str, place: int, call_id: str, name: str) -> None:
        """Add the item of a call."""
        custom = name in self._head.custom_tools
        item: Any = call_item(reply_id, place, ToolCall(call_id, name, ""), custom=custom)
        item = replace(name_in_namespace(item, self._head.namespaces), status="in_progress")
        self._calls[call_id] = _OpenCall(self._writer.add(item), item)

    def add(self, call_id: str, arguments: str) -> None:
        """Add arguments to a call; nothing for one that is not the client's."""
        call = self._calls.get(call_id)
        if call is not None and (delta := call.add(arguments)):
            emit_arguments(self._writer, call.item, call.index, delta)

    def finish(self, event: ToolCallReady) -> None:
        """Close a call that is whole."""
        call = self._calls.pop(event.tool_call_id, None)
        if call is None:
            return
        custom = isinstance(call.item, kinds.CustomToolCall)
        whole = kinds.custom_input(event.arguments) if custom else event.arguments
        sent = call.text
        if whole.startswith(sent) and whole != sent:
            emit_arguments(self._writer, call.item, call.index, whole.removeprefix(sent))
        item: Any = (
            replace(call.item, input=whole, status="completed")
            if isinstance(call.item, kinds.CustomToolCall)
            else replace(call.item, arguments=whole, status="completed")
        )
        emit_arguments(self._writer, item, call.index, whole, done=True)
        self._writer.finish(call.index, item)

    def cut(self) -> None:
        """Drop the calls that are not whole. None of them is done: a client would run it."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self._writer.drop(call.index, call.index + 1)


def emit_arguments(
    writer: ItemWriter, item: Item, index: int, text: str, *, done: bool = False
) -> None:
    """Emit a part of a call's arguments or input, or with `done` all of it."""
    place = {"item_id": item.id, "output_index": index}
    step = "done" if done else "delta"
    match item:
        case kinds.CustomToolCall():
            more = {"input" if done else "delta": text}
            writer.emit(f"response.custom_tool_call_input.{step}", **place, **more)
        case kinds.McpCall():
            more = {"arguments" if done else "delta": text}
            writer.emit(f"response.mcp_call_arguments.{step}", **place, **more)
        case kinds.FunctionCall(name=name) if done:
            more = {"name": name, "arguments": text}
            writer.emit("response.function_call_arguments.done", **place, **more)
        case _:
            writer.emit("response.function_call_arguments.delta", **place, delta=text)


_HOSTED_STEPS = {"code_interpreter": "interpreting", "image_generation": "generating"}
"""Word of an event for a hosted tool that runs; other tools are `searching`."""


class ServerCallWriter:
    """The calls that the backend runs, until their outputs come.

    `waiting` are those of the reply that neither run nor wait for approval yet.
    """

    def __init__(self, writer: ItemWriter, head: ResponseHead) -> None:
        self.waiting: dict[str, CarriedCall] = dict(head.carried)
        self._writer = writer
        self._head = head
        self._running: dict[str, tuple[CarriedCall, int]] = {}

    def run(self, call_id: str) -> None:
        """Add the item of a call that runs now."""
        call = self.waiting.pop(call_id)
        if (kind := self._find_hosted_kind(call)) is not None:
            self._run_hosted(call_id, call, kind)
            return
        item: Any = (
            self._mcp_item(call_id, call)
            if self._head.mcp_items
            else call_item(
                call.reply_id,
                call.place,
                ToolCall(call_id, call.name, call.arguments),
                custom=False,
            )
        )
        index = self._writer.add(replace(item, arguments="", status="in_progress"))
        self._running[call_id] = call, index
        if self._head.mcp_items:
            place = {"item_id": item.id, "output_index": index}
            self._writer.emit("response.mcp_call.in_progress", **place)
        emit_arguments(self._writer, item, index, call.arguments)
        emit_arguments(self._writer, item, index, call.arguments, done=True)
        if self._head.mcp_items:
            self._writer.output[index] = item
        else:
            self._writer.finish(index, item)

    def add_output(self, event: ToolOutputAdded) -> None:
        """Add the output of a call; nothing for a call of the client's, whose request has it."""
        if event.tool_call_id in self.waiting:
            self.run(event.tool_call_id)
        if event.tool_call_id not in self._running:
            return
        call, index = self._running.pop(event.tool_call_id)
        if (kind := self._find_hosted_kind(call)) is not None:
            self._finish_hosted(call, kind, index, event)
            return
        if not self._head.mcp_items:
            item = output_item(
                call.reply_id, call.place, event.tool_call_id, event.output, custom=False
            )
            self._writer.finish(self._writer.add(item), item)
            return
        done = self._mcp_item(event.tool_call_id, call)
        if event.is_error:
            error = {"type": "mcp_tool_execution_error", "content": event.output}
            done = replace(done, error=error, status="failed")
        else:
            done = replace(done, output=event.output, status="completed")
        step = "failed" if event.is_error else "completed"
        self._writer.emit(f"response.mcp_call.{step}", item_id=done.id, output_index=index)
        self._writer.finish(index, done)

    def ask_approval(self, call_id: str) -> None:
        """Add the question whether a call may run."""
        call = self.waiting.pop(call_id, None)
        if call is None:
            return
        found = self._head.find_server(call.name)
        label, name = (found[0].name, found[1]) if found else ("", call.name)
        item = approval_request_item(call.reply_id, call.place, name, call.arguments, label)
        self._writer.finish(self._writer.add(item), item)

    def cut(self) -> None:
        """Close the calls whose outputs never came."""
        for call, index in self._running.values():
            if self._head.mcp_items or self._find_hosted_kind(call):
                item: Any = self._writer.output[index]
                self._writer.finish(index, replace(item, status="incomplete"))
        self._running = {}

    # Hosted tools.

    def _find_hosted_kind(self, call: CarriedCall) -> str | None:
        """Return the type of hosted tool that a call belongs to, None for another call."""
        return None if self._head.asks(call.name) else self._head.hosted.calls.find(call.name)

    def _make_hosted_item(self, call: CarriedCall, kind: str, **output: Any) -> kinds.HostedCall:
        found = self._head.find_server(call.name)
        server = found[0].name if found else ""
        return make_hosted_call_item(
            kind, call.reply_id, call.place, call.arguments, server=server, **output
        )

    def _run_hosted(self, call_id: str, call: CarriedCall, kind: str) -> None:
        item = self._make_hosted_item(call, kind)
        index = self._writer.add(item)
        self._running[call_id] = call, index
        place = {"item_id": item.id, "output_index": index}
        self._writer.emit(f"response.{kind}_call.in_progress", **place)
        if isinstance(item, kinds.CodeInterpreterCall):
            code = item.code or ""
            self._writer.emit("response.code_interpreter_call_code.delta", **place, delta=code)
            self._writer.emit("response.code_interpreter_call_code.done", **place, code=code)
        step = _HOSTED_STEPS.get(kind, "searching")
        self._writer.emit(f"response.{kind}_call.{step}", **place)

    def _finish_hosted(
        self, call: CarriedCall, kind: str, index: int, event: ToolOutputAdded
    ) -> None:
        picture = self._head.hosted.find_picture(event.files)
        item = self._make_hosted_item(
            call, kind, output=event.output, is_error=event.is_error, picture=picture
        )
        place = {"item_id": item.id, "output_index": index}
        self._writer.emit(f"response.{kind}_call.completed", **place)
        self._writer.finish(index, item)
        if kind == "web_search" and not event.is_error:
            for url, title in find_links(event.output).items():
                self._writer.titles[url] = title

    def _mcp_item(self, call_id: str, call: CarriedCall) -> kinds.McpCall:
        found = self._head.find_server(call.name)
        item = mcp_call_item(
            call.reply_id,
            call.place,
            ToolCall(call_id, call.name, call.arguments),
            found[0].name if found else "",
            None,
            approved=call.asked,
        )
        return replace(item, name=found[1]) if found else item
