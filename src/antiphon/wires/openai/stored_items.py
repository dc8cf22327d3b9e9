"""Messages of a thread as items, and without one of these.

    items = to_items(messages, index_actions(actions), custom_tools=names)

Ids follow from those of the replies, so that a stream, a list and a single item agree. A call that
the backend ran is a `function_call` and its `function_call_output`, which every client shows; with
`mcp_items` it is one `mcp_call`, as the original has it. A call that a person had to approve begins
with the question and the answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from antiphon.api.threads import PastMessage, to_past_message
from antiphon.types.messages import Message, Text, ToolCall
from antiphon.types.runs import Action
from antiphon.wires.openai import items as kinds
from antiphon.wires.openai.hosted_tools import (
    NO_HOSTED_RUN,
    NO_HOSTED_RUNS,
    HostedRun,
    make_hosted_call_item,
)
from antiphon.wires.openai.item_builders import (
    approval_request_item,
    call_item,
    cite,
    list_tools_item,
    mcp_call_item,
    message_content,
    name_in_namespace,
    output_item,
    reasoning_item,
)
from antiphon.wires.openai.items import Item, NamespacedName, Opaque, encode_opaque
from antiphon.wires.openai.object_ids import (
    HOSTED_PREFIXES,
    ItemId,
    call_item_id,
    item_id,
    parse_item_id,
)
from antiphon.wires.openai.sent_items import CALLS, PHASE, ROLE, SUMMARY

Actions = Mapping[tuple[str, str], Action]
"""Actions by the ids of their runs and calls."""

NO_ACTIONS: Actions = {}


def index_actions(actions: Iterable[Action]) -> Actions:
    """Return the actions by run and call."""
    return {(action.run_id, action.tool_call_id): action for action in actions}


def to_items(
    messages: Sequence[Message],
    actions: Actions = NO_ACTIONS,
    *,
    custom_tools: Collection[str] = (),
    mcp_items: bool = False,
    hosted: Mapping[str, HostedRun] = NO_HOSTED_RUNS,
) -> list[Item]:
    """Return the items of messages that follow each other; the first is not a tool's output.

    `custom_tools` are the names of those tools that were offered as custom ones, `hosted` the runs
    with hosted tools by their ids.
    """
    items: list[Item] = []
    for group in group_by_reply(messages):
        first = group[0]
        if first.role in ("assistant", "tool"):
            run = hosted.get(first.run_id or "")
            items += _ReplyItems(group, actions, custom_tools, run, mcp_items=mcp_items).items()
        elif (item := _message_item(first)) is not None:
            items.append(item)
    return items


def find_item(items: Iterable[Item], id: str) -> Item | None:
    """Return the item with this id."""
    return next((item for item in items if item.id == id), None)


def message_of_item(id: str) -> str | None:
    """Return the id of the message, or reply, that the item with this id belongs to."""
    parsed = parse_item_id(id)
    return None if parsed is None else parsed.message_id


def group_by_reply(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield each message; a reply with the outputs of its calls."""
    group: list[Message] = []
    for message in messages:
        if message.role == "tool" and group:
            group.append(message)
            continue
        if group:
            yield group
        group = [message]
    if group:
        yield group


def _message_item(message: Message) -> Item | None:
    """Return the item of a message of the user or the system; None for an end of summaries."""
    if message.compacts is not None:
        if not message.compacts:
            return None
        return kinds.CompactionItem(
            id=item_id("cmp", message.id),
            encrypted_content=encode_opaque(Opaque(summary=message.text)),
        )
    if SUMMARY in message.metadata:
        return kinds.CompactionItem(
            id=item_id("cmp", message.id),
            encrypted_content=encode_opaque(Opaque(summary=message.text)),
        )
    is_user = message.role == "user"
    developer = message.metadata.get(ROLE) == "developer"
    return kinds.MessageItem(
        id=item_id("msg", message.id),
        role="user" if is_user else "developer" if developer else "system",
        content=tuple(message_content(message.content, of_model=False)),
    )


_CALLS_WITH_OUTPUT = (kinds.McpCall, *kinds.HostedCall.__args__)
"""Items that are a call and its output in one."""


class _ReplyItems:
    """Makes the items of one reply, and of the outputs of its calls."""

    def __init__(
        self,
        group: Sequence[Message],
        actions: Actions,
        custom_tools: Collection[str],
        hosted: HostedRun | None,
        *,
        mcp_items: bool,
    ) -> None:
        self._reply = reply = group[0]
        self._outputs = {
            each.tool_call_id: each for each in group if each.role == "tool" and each.tool_call_id
        }
        self._places = {call.id: place for place, call in enumerate(reply.tool_calls)}
        self._actions = actions
        self._custom_tools = custom_tools
        self._hosted = hosted
        self._mcp_items = mcp_items
        self._marks = _call_marks(reply)

    def items(self) -> list[Item]:
        """Return lists of tools, reasoning, text, calls, and outputs, in this order."""
        reply = self._reply
        items: list[Item] = [
            list_tools_item(reply.id, place, listing)
            for place, listing in enumerate(reply.tool_listings or ())
        ]
        if reply.role == "tool":  # its reply is not among the messages
            return [self._output_item(output) for output in self._outputs.values()]
        if reply.reasoning:
            items.append(reasoning_item(reply.id, reply.reasoning))
        if reply.content:
            hosted = self._hosted or NO_HOSTED_RUN
            items.append(reply_text_item(reply, hosted.titles_before(reply.number)))
        for place, call in enumerate(reply.tool_calls):
            items += self._call_items(place, call)
        items += [
            self._output_item(output)
            for call_id, output in self._outputs.items()
            if self._has_output_item(call_id)
        ]
        return items

    def _action(self, call_id: str) -> Action | None:
        return self._actions.get((self._reply.run_id or "", call_id))

    def _mark(self, place: int) -> Sequence[str]:
        return self._marks.get(str(place), ())

    def _call_items(self, place: int, call: ToolCall) -> Iterator[Item]:
        action = self._action(call.id)
        output = self._outputs.get(call.id)
        reply_id = self._reply.id
        match self._mark(place):
            case ["mcp_call", label]:
                yield mcp_call_item(reply_id, place, call, label, output)
                return
            case [kind] if item := _make_hosted_item(reply_id, place, call, kind, output):
                yield item
                return
            case _:
                pass
        server = "" if action is None else action.server or ""
        if (hosted := self._find_hosted_kind(call.name, action)) is not None:
            failed = output is not None and output.is_error
            text = None if output is None else output.text
            run, files = self._hosted or NO_HOSTED_RUN, () if output is None else output.file_ids
            yield make_hosted_call_item(
                hosted,
                reply_id,
                place,
                call.arguments,
                text,
                is_error=failed,
                server=server,
                picture=run.find_picture(files),
            )
            return
        if action is not None and action.approval is not None:
            yield approval_request_item(reply_id, place, call.name, call.arguments, server)
            if action.approval == "required":
                return
            yield kinds.McpApprovalResponse(
                id=call_item_id("mcpa", reply_id, place),
                approval_request_id=call_item_id("mcpr", reply_id, place),
                approve=action.approval == "given",
            )
        if action is not None and action.runs_on == "server" and self._mcp_items:
            approved = action.approval is not None
            yield mcp_call_item(reply_id, place, call, server, output, approved=approved)
            return
        item = call_item(reply_id, place, call, custom=self._is_custom(call.name, place))
        yield name_in_namespace(item, self._namespace(place, call.name))

    def _namespace(self, place: int, name: str) -> Mapping[str, NamespacedName]:
        """Return the namespace with which a call came, by its name for a model."""
        match self._mark(place):
            case ["function_call" | "custom_tool_call", namespace]:
                own = name.removeprefix(kinds.full_tool_name(namespace, ""))
                return {name: NamespacedName(namespace, own)}
            case _:
                return {}

    def _find_hosted_kind(self, name: str, action: Action | None) -> str | None:
        """Return the type of hosted tool that a call belongs to, None for another call."""
        if self._hosted is None or action is None or action.runs_on != "server":
            return None
        return None if action.approval else self._hosted.calls.find(name)

    def _has_output_item(self, call_id: str) -> bool:
        """Return whether a call's output is an item of its own."""
        place = self._places.get(call_id)
        if place is not None:
            first = next(self._call_items(place, self._reply.tool_calls[place]), None)
            if isinstance(first, _CALLS_WITH_OUTPUT):
                return False
        action = self._action(call_id)
        return action is None or action.approval != "required"

    def _is_custom(self, name: str, place: int) -> bool:
        return name in self._custom_tools or self._mark(place)[:1] == ["custom_tool_call"]

    def _output_item(self, output: Message) -> Item:
        call_id = output.tool_call_id or ""
        place = self._places.get(call_id, 0)
        calls = self._reply.tool_calls
        custom = bool(calls) and self._is_custom(calls[place].name, place)
        texts = all(isinstance(part, Text) for part in output.content)
        content: Any = (
            output.text if texts else tuple(message_content(output.content, of_model=False))
        )
        return output_item(self._reply.id, place, call_id, content, custom=custom)


def reply_text_item(reply: Message, titles: Mapping[str, str]) -> kinds.MessageItem:
    """Return the item of a reply's text, with its citations and those of URLs that have a title."""
    phase: Any = reply.metadata.get(PHASE, UNSET)
    return kinds.MessageItem(
        id=item_id("msg", reply.id),
        role="assistant",
        status=reply.status,
        content=tuple(
            cite(part, titles, reply.citations or ())
            for part in message_content(reply.content, of_model=True)
        ),
        phase=phase,
    )


def _call_marks(reply: Message) -> Mapping[str, list[str]]:
    try:
        return msgspec.json.decode(reply.metadata.get(CALLS, "{}"), type=dict[str, list[str]])
    except msgspec.DecodeError:
        return {}


def _make_hosted_item(
    reply_id: str, place: int, call: ToolCall, kind: str, output: Message | None
) -> Item | None:
    """Return a call of a hosted tool that came as an item; None if it is another call."""
    prefix = HOSTED_PREFIXES.get(kind)
    if prefix is None:
        return None
    failed = output is not None and output.is_error
    ours = {
        "type": kind,
        "id": call_item_id(prefix, reply_id, place),
        "status": "failed" if failed else "completed",
    }
    try:
        fields = msgspec.json.decode(call.arguments, type=dict[str, Any])
        if kind == "web_search_call":
            fields.setdefault("action", {"type": "search", "query": ""})
        if output is not None and output.text:
            name = "outputs" if kind == "code_interpreter_call" else "results"
            fields[name] = msgspec.json.decode(output.text)
        item: Item = msgspec.convert(fields | ours, kinds.HostedCall)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    return item


# Without one of them.


def remove_item(group: Sequence[Message], item: ItemId) -> list[PastMessage]:
    """Return a message, or a reply and the outputs of its calls, without an item.

    A call and its output go together, since a thread has one output for each call. Reasoning goes
    with the last of what it led to.
    """
    message, *outputs = map(to_past_message, group)
    if item.prefix == "mcpl":
        pass  # messages that are added again have no lists
    elif item.place is not None:
        removed = message.tool_calls[item.place].id
        message = _without_call(message, item.place)
        outputs = [each for each in outputs if each.tool_call_id != removed]
    elif item.prefix == "rs":
        message = replace(message, reasoning=None)
    else:
        message = replace(message, content=())
    return [message, *outputs] if message.content or message.tool_calls else []


def _without_call(reply: PastMessage, place: int) -> PastMessage:
    calls = (*reply.tool_calls[:place], *reply.tool_calls[place + 1 :])
    metadata = dict(reply.metadata)
    if CALLS in metadata:
        marks = msgspec.json.decode(metadata.pop(CALLS), type=dict[int, list[str]])
        moved = {at - (at > place): mark for at, mark in marks.items() if at != place}
        if moved:
            metadata[CALLS] = msgspec.json.encode(moved).decode()
    return replace(reply, tool_calls=calls, metadata=metadata)
