"""Stored messages without one of their items."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from antiphon.api.threads import PastCall, PastMessage
from antiphon.types.messages import Message, Part, Refusal, Text
from antiphon.wires.openai.object_ids import ItemId
from antiphon.wires.openai.sent_items import CALLS


def remove_item(group: Sequence[Message], item: ItemId) -> list[PastMessage]:
    """Return a message, or a reply and the outputs of its calls, without an item.

    A call and its output go together, since a thread has one output for each call. Reasoning goes
    with the last of what it led to.
    """
    message, *outputs = map(_past_message, group)
    if item.place is not None:
        removed = message.tool_calls[item.place].id
        message = _without_call(message, item.place)
        outputs = [each for each in outputs if each.tool_call_id != removed]
    elif item.prefix == "rs":
        message = replace(message, reasoning=None)
    else:
        message = replace(message, content=())
    return [message, *outputs] if message.content or message.tool_calls else []


def _past_message(message: Message) -> PastMessage:
    return PastMessage(
        content=tuple(_past_part(part) for part in message.content),
        role=message.role,
        metadata=message.metadata,
        tool_calls=tuple(PastCall(c.id, c.name, c.arguments) for c in message.tool_calls),
        tool_call_id=message.tool_call_id,
        is_error=message.is_error,
        reasoning=message.reasoning,
    )


def _past_part(part: Part | Refusal) -> Part:
    return Text(part.refusal) if isinstance(part, Refusal) else part


def _without_call(reply: PastMessage, place: int) -> PastMessage:
    calls = (*reply.tool_calls[:place], *reply.tool_calls[place + 1 :])
    metadata = dict(reply.metadata)
    if CALLS in metadata:
        marks = msgspec.json.decode(metadata.pop(CALLS), type=dict[int, list[str]])
        moved = {at - (at > place): mark for at, mark in marks.items() if at != place}
        if moved:
            metadata[CALLS] = msgspec.json.encode(moved).decode()
    return replace(reply, tool_calls=calls, metadata=metadata)
