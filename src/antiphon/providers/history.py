"""Adaptation of a conversation to one server: unsupported parts left out, required ones added.

A thread is stored in one form for all servers (see `messages.chat`), as bytes that are joined and
never rebuilt. Differences between servers are edited in these bytes, at marks that cannot occur
inside a JSON string: a bare quote. A history is decoded only if a server would refuse it as it
stands.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from antiphon.providers.quirks import Quirks
from antiphon.types.messages import DETAILS, EXTRA, REASONING, REFUSAL

# Repair of a history, decoded, for strict servers.


Message = dict[str, Any]
"""A message of chat completions, decoded."""

UNKEPT = "The output of this call was not saved; the call may or may not have been executed."
NO_ANSWER = "(no answer)"
BEGIN = "(the conversation continues)"
GO_ON = "Go on."


def pair_outputs(messages: Sequence[Message]) -> list[Message]:
    """Pair every call with exactly one output, directly after the calls and in their order.

    A late output is moved to its call, and a lost one is replaced by a note. Outputs without a call
    and second outputs become user messages.
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


def rename_duplicate_ids(messages: Sequence[Message]) -> list[Message]:
    """Make the ids of calls unique: a repeated one gets a number appended, in outputs too."""
    seen: set[str] = set()
    now: dict[str, str] = {}
    out: list[Message] = []
    for message in messages:
        if calls := message.get("tool_calls"):
            renamed = [{**call, "id": _make_unique(seen, call["id"])} for call in calls]
            now = {was["id"]: call["id"] for was, call in zip(calls, renamed, strict=True)}
            out.append(_with_ids_in_details({**message, "tool_calls": renamed}, now))
        elif message["role"] == "tool":
            call_id = message["tool_call_id"]
            out.append({**message, "tool_call_id": now.get(call_id, call_id)})
        else:
            out.append(message)
    return out


def _with_ids_in_details(message: Message, ids: Mapping[str, str]) -> Message:
    """Return the message with new ids of calls in its opaque details."""
    details = message.get(DETAILS)
    if details is None:
        return message
    written = {_encode(was).decode(): _encode(now).decode() for was, now in ids.items()}
    details = _ID_PATTERN.sub(lambda found: f'"id":{written.get(found[1], found[1])}', details)
    return {**message, DETAILS: details}


def merge_system_messages(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with all system messages merged into one at the beginning."""
    system = [message for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    return [_join_messages(system), *others] if system else others


def alternate_roles(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with user and assistant in turn; the user is first and last.

    Neighbours of one role are joined. Between tool outputs and a user message, the assistant says
    that there was no answer.
    """
    system = [message for message in messages if message["role"] == "system"]
    out: list[Message] = []
    for message in _merge_neighbours(
        message for message in messages if message["role"] != "system"
    ):
        out += _between(out[-1]["role"] if out else None, message["role"])
        out.append(message)
    if not out or out[-1]["role"] == "assistant":
        out.append({"role": "user", "content": GO_ON})
    return [*system, *out]


_encode = msgspec.json.Encoder().encode
_ID_PATTERN = re.compile(r'"id":("(?:[^"\\]+|\\.)*+")')


def _make_unique(seen: set[str], call_id: str) -> str:
    free, number = call_id, 1
    while free in seen:
        number += 1
        free = f"{call_id}_{number}"
    seen.add(free)
    return free


def _merge_neighbours(messages: Iterable[Message]) -> Iterator[Message]:
    """Yield the messages with neighbours of one role joined, except tool outputs and calls."""
    group: list[Message] = []
    for message in messages:
        last = group[-1] if group else None
        if last and (
            last["role"] == "tool" or last["role"] != message["role"] or last.get("tool_calls")
        ):
            yield _join_messages(group)
            group = []
        group.append(message)
    if group:
        yield _join_messages(group)


def _between(before: str | None, role: str) -> list[Message]:
    match before, role:
        case None, "assistant":
            return [{"role": "user", "content": BEGIN}]
        case "tool", "user":
            return [{"role": "assistant", "content": NO_ANSWER}]
        case _:
            return []


def _join_messages(messages: Sequence[Message]) -> Message:
    """Return one message with the content of these; calls and other fields are the last one's."""
    if len(messages) == 1:
        return messages[0]
    contents = [message["content"] for message in messages if message.get("content")]
    if all(isinstance(content, str) for content in contents):
        return {**messages[-1], "content": "\n\n".join(contents)}
    parts: list[Message] = []
    for content in contents:
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {**messages[-1], "content": parts}


EMPTY = "(empty)"
"""Content of messages that have none: many servers reject an empty message."""


def adapt_history(
    chat: bytes, instructions: str | None, quirks: Quirks, origin: str | None = None
) -> bytes:
    """Return instructions and conversation as JSON objects joined by commas.

    `origin` names the server: its own opaque reasoning details go back to it.
    """
    ids = _call_ids(chat)
    if len(set(ids)) < len(ids):
        chat = _join(rename_duplicate_ids(_split(chat)))
        ids = _call_ids(chat)
    if _OURS in chat or quirks.reasoning_required:
        chat = _with_reasoning(chat, quirks)
        chat = _with_extras(chat, quirks)
        chat = _with_refusals(chat, quirks)
    chat = _without_empty(chat)
    if ids:
        chat = _with_ids(chat, ids, quirks)
    if instructions:
        first = _encode({"role": "system", "content": instructions})
        chat = b",".join((first, chat)) if chat else first
    if not chat:
        chat = _encode({"role": "user", "content": EMPTY})
    if _is_refused(chat, len(ids), quirks):
        chat = _repair(chat, quirks)
    # Last, so that their content, which servers wrote, is not mistaken for our own marks.
    return _with_details(chat, ids, quirks, origin)


def _call_ids(chat: bytes) -> list[bytes]:
    return [_first_string(piece) for piece in chat.split(_CALL_ID)[1:]]


def _first_string(piece: bytes) -> bytes:
    """Return the rest of a JSON string as it is written, up to its closing quote."""
    end = piece.index(b'"')
    if piece[end - 1 : end] != b"\\":
        return piece[:end]
    found = _STRING.match(piece)
    return found[0] if found else b""


def _without_empty(chat: bytes) -> bytes:
    """Remove empty messages; empty content of a user or a tool becomes `EMPTY`."""
    if _NOTHING not in chat:
        return chat
    for silent in _SILENT:
        chat = chat.replace(b"," + silent, b"")
        if chat.startswith(silent):
            chat = chat[len(silent) + 1 :]
    return chat.replace(_NOTHING, b'"content":' + _encode(EMPTY))


def _with_reasoning(chat: bytes, quirks: Quirks) -> bytes:
    """Rename the reasoning of all replies to the server's name for it, or remove it."""
    if quirks.reasoning_back is None:
        first, *others = chat.split(_REASONING)
        pieces = [first]
        for other in others:  # each begins with the reasoning, up to the next key
            ends = [at for key in _AFTER_REASONING if (at := other.find(key)) >= 0]
            pieces.append(other[min(ends) + 1 :])
        return b"".join(pieces)
    name = _encode(quirks.reasoning_back) + b":"
    if quirks.reasoning_required:
        # Moonshot treats an empty string as missing (earendil-works/pi#4178).
        blank = name + b'" ",'
        chat = chat.replace(_ASSISTANT, _ASSISTANT + blank).replace(blank + _REASONING, _REASONING)
    return chat.replace(_REASONING, name)


def _with_extras(chat: bytes, quirks: Quirks) -> bytes:
    """Restore the opaque extras of calls, or remove them."""
    if _EXTRA not in chat:  # faster than the pattern
        return chat
    if not quirks.extra_content:
        return _WITH_EXTRA.sub(b"", chat)
    return _WITH_EXTRA.sub(
        lambda found: b',"extra_content":' + msgspec.json.decode(found[1], type=str).encode(), chat
    )


def _with_refusals(chat: bytes, quirks: Quirks) -> bytes:
    """Rename refusals to the server's name for them, or append them to the content."""
    if _REFUSAL not in chat:
        return chat
    if quirks.refusal_back:
        return chat.replace(_NOTHING + _REFUSAL, b'"content":null' + _REFUSAL).replace(
            _REFUSAL, b',"refusal":'
        )
    alone = _NOTHING + _REFUSAL
    return chat.replace(alone, b'"content":').replace(b'"' + _REFUSAL + b'"', rb"\n\n")


def _with_details(chat: bytes, ids: Sequence[bytes], quirks: Quirks, origin: str | None) -> bytes:
    """Restore the reasoning details that came from this server; remove those of other servers."""
    if _DETAILS not in chat:
        return chat
    renamed = _new_call_ids(ids, quirks)

    def restore(found: re.Match[bytes]) -> bytes:
        kept = _decode_details(msgspec.json.decode(found[1], type=str))
        if kept.origin != origin or not quirks.reasoning_details:
            return b""
        # A detail may name the call that it belongs to.
        details = _ID_OF_DETAIL.sub(
            lambda named: b'"id":"%b"' % renamed.get(named[1], named[1]), bytes(kept.details)
        )
        return b'"reasoning_details":' + details + b","

    return _WITH_DETAILS.sub(restore, chat)


def _new_call_ids(ids: Iterable[bytes], quirks: Quirks) -> dict[bytes, bytes]:
    """Return new ids for those that the server would reject; each depends on the old id alone."""
    if quirks.call_ids == "nine":
        # Nine letters and digits have some 54 bits, so that two ids of a thread stay distinct.
        return {
            call_id: base64.b64encode(hashlib.sha256(call_id).digest(), altchars=b"xy")[:9]
            for call_id in set(ids)
            if not (len(call_id) == 9 and call_id.isalnum())
        }
    return {
        call_id: b"call_" + hashlib.sha256(call_id).hexdigest()[:32].encode()
        for call_id in set(ids)
        if len(call_id) > _MAX_ID_LENGTH
    }


def _with_ids(chat: bytes, ids: Sequence[bytes], quirks: Quirks) -> bytes:
    """Replace ids that the server would reject, in calls and outputs."""
    renamed = _new_call_ids(ids, quirks)
    if not renamed:
        return chat
    pieces = chat.split(_ID)
    for at in range(1, len(pieces)):
        call_id = _first_string(pieces[at])
        if call_id in renamed and pieces[at - 1].endswith(_OF_CALLS):
            pieces[at] = renamed[call_id] + pieces[at][len(call_id) :]
    return _ID.join(pieces)


def _is_refused(chat: bytes, calls: int, quirks: Quirks) -> bool:
    """Return whether the server may refuse this history, without decoding it."""
    if chat.count(_OUTPUT) != calls:
        return True
    match quirks.roles:
        case "any":
            return False
        case "system_first":
            return chat.find(_SYSTEM, 1) > 0
        case "alternate":
            return True


def _repair(chat: bytes, quirks: Quirks) -> bytes:
    messages = _split(chat)
    messages = pair_outputs(messages)
    if quirks.roles != "any":
        messages = merge_system_messages(messages)
    if quirks.roles == "alternate":
        messages = alternate_roles(messages)
    return _join(messages)


def _split(chat: bytes) -> list[Message]:
    messages: list[Message] = msgspec.json.decode(b"[" + chat + b"]")
    return messages


def _join(messages: Sequence[Message]) -> bytes:
    return _encode(messages)[1:-1]


class _Details(msgspec.Struct):
    origin: str
    details: msgspec.Raw


_decode_details = msgspec.json.Decoder(_Details).decode

# As `messages.chat` writes them. None of them occurs inside a string, where quotes are escaped.
_NOTHING = b'"content":""'
_SILENT = (b'{"role":"assistant","content":""}', b'{"role":"system","content":""}')
_ASSISTANT = b'{"role":"assistant",'
_SYSTEM = b'{"role":"system",'
_OUTPUT = b'"tool_call_id":'
_OURS = b'"antiphon:'  # the beginning of our own keys
_REASONING = f'"{REASONING}":'.encode()
_DETAILS = f'"{DETAILS}":'.encode()
_WITH_DETAILS = re.compile(_DETAILS + rb'("(?:[^"\\]+|\\.)*+"),')
_ID_OF_DETAIL = re.compile(rb'"id":"((?:[^"\\]+|\\.)*+)"')
_REFUSAL = f',"{REFUSAL}":'.encode()
_AFTER_REASONING = (b"," + _DETAILS, b',"content":', b',"tool_calls":')
_EXTRA = f',"{EXTRA}":'.encode()
_WITH_EXTRA = re.compile(_EXTRA + rb'("(?:[^"\\]+|\\.)*+")')
_CALL_ID = b'{"id":"'
_ID = b'id":"'
_OF_CALLS = (b'{"', b'"tool_call_')
_STRING = re.compile(rb'(?:[^"\\]|\\.)*+')
_MAX_ID_LENGTH = 40  # characters; OpenAI's limit
