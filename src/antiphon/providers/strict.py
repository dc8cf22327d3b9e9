"""A history as a strict server takes it: the same words, in an order that it accepts.

Only for the servers that refuse what others accept, and for what no thread should hold: everything
here works on decoded messages, changes nothing that is in order, and loses no text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from antiphon.messages import DETAILS

Message = dict[str, Any]
"""A message of chat completions, decoded."""

UNKEPT = "The output of this call was not kept; it may or may not have been carried out."
NO_ANSWER = "(no answer)"
BEGIN = "(the conversation goes on)"
GO_ON = "Go on."


def answered(messages: Sequence[Message]) -> list[Message]:
    """Every call answered once, directly after the calls and in their order.

    An output that comes late is moved to its call, one that was lost is said to be; what is left
    over, an output of no call or a second one, is told as a user's message.
    """
    out: list[Message] = []
    places: dict[str, int] = {}
    for message in messages:
        if message["role"] != "tool":
            out.append(message)
            for call in message.get("tool_calls") or ():
                places[call["id"]] = len(out)
                out.append({"role": "tool", "tool_call_id": call["id"], "content": UNKEPT})
        elif (place := places.pop(message["tool_call_id"], None)) is not None:
            out[place] = message
        else:
            out.append({"role": "user", "content": message["content"]})
    return out


def apart(messages: Sequence[Message]) -> list[Message]:
    """No id for two calls: one that comes again gets a number behind it, wherever it stands."""
    seen: set[str] = set()
    now: dict[str, str] = {}
    out: list[Message] = []
    for message in messages:
        if calls := message.get("tool_calls"):
            renamed = [{**call, "id": _unlike(seen, call["id"])} for call in calls]
            now = {was["id"]: call["id"] for was, call in zip(calls, renamed, strict=True)}
            out.append(_with_ids_in_details({**message, "tool_calls": renamed}, now))
        elif message["role"] == "tool":
            call_id = message["tool_call_id"]
            out.append({**message, "tool_call_id": now.get(call_id, call_id)})
        else:
            out.append(message)
    return out


def _with_ids_in_details(message: Message, ids: Mapping[str, str]) -> Message:
    """The message, its opaque details naming calls by the ids that these now have."""
    details = message.get(DETAILS)
    if details is None:
        return message
    written = {_encode(was).decode(): _encode(now).decode() for was, now in ids.items()}
    details = _ID.sub(lambda found: f'"id":{written.get(found[1], found[1])}', details)
    return {**message, DETAILS: details}


def one_system(messages: Sequence[Message]) -> list[Message]:
    """All system messages as one, at the beginning."""
    system = [message for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    return [_joined(system), *others] if system else others


def alternating(messages: Sequence[Message]) -> list[Message]:
    """User and assistant in turn after the system message: the user begins, and speaks last.

    Neighbours of one role are joined. Between outputs and a user who went on without an answer, the
    assistant says that there was none.
    """
    system = [message for message in messages if message["role"] == "system"]
    out: list[Message] = []
    for message in _grouped(message for message in messages if message["role"] != "system"):
        out += _between(out[-1]["role"] if out else None, message["role"])
        out.append(message)
    if not out or out[-1]["role"] == "assistant":
        out.append({"role": "user", "content": GO_ON})
    return [*system, *out]


_encode = msgspec.json.Encoder().encode
_ID = re.compile(r'"id":("(?:[^"\\]+|\\.)*+")')


def _unlike(seen: set[str], call_id: str) -> str:
    free, number = call_id, 1
    while free in seen:
        number += 1
        free = f"{call_id}_{number}"
    seen.add(free)
    return free


def _grouped(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages, those of one role joined where they are neighbours; never tool outputs."""
    group: list[Message] = []
    for message in messages:
        if group and not _joins(group[-1], message):
            yield _joined(group)
            group = []
        group.append(message)
    if group:
        yield _joined(group)


def _joins(one: Message, other: Message) -> bool:
    return one["role"] == other["role"] != "tool" and not one.get("tool_calls")


def _between(before: str | None, role: str) -> list[Message]:
    match before, role:
        case None, "assistant":
            return [{"role": "user", "content": BEGIN}]
        case "tool", "user":
            return [{"role": "assistant", "content": NO_ANSWER}]
        case _:
            return []


def _joined(messages: Sequence[Message]) -> Message:
    """One message that says what these say; calls and fields are those of the last."""
    if len(messages) == 1:
        return messages[0]
    said = [message["content"] for message in messages if message.get("content")]
    if all(isinstance(content, str) for content in said):
        return {**messages[-1], "content": "\n\n".join(said)}
    return {**messages[-1], "content": [part for content in said for part in _parts(content)]}


def _parts(content: str | list[Message]) -> list[Message]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
