"""A conversation as one server takes it: what it refuses left out, what it asks for put in.

A thread is kept in one form for all servers (see `messages.chat`), as bytes that are joined and
never rebuilt. What differs between servers is changed in these bytes, by what cannot stand inside a
JSON string: a bare quote. Only a history that a server would refuse as it stands is decoded.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

import msgspec

from antiphon.messages import EXTRA, REASONING
from antiphon.providers import strict
from antiphon.providers.reply import Quirks

EMPTY = "(empty)"
"""What a message without content says: many servers refuse one that says nothing."""


def accepted(chat: bytes, instructions: str | None, quirks: Quirks) -> bytes:
    """The conversation with the instructions before it, as JSON objects joined by commas."""
    if _repeats_ids(chat):
        chat = _joined(strict.apart(_split(chat)))
    chat = _with_reasoning(chat, quirks)
    chat = _without_empty(chat)
    chat = _with_extras(chat, quirks)
    chat = _with_ids(chat, quirks)
    if instructions:
        first = _encode({"role": "system", "content": instructions})
        chat = first + b"," + chat if chat else first
    if not chat:
        chat = _encode({"role": "user", "content": EMPTY})
    return _mended(chat, quirks) if _is_refused(chat, quirks) else chat


def _repeats_ids(chat: bytes) -> bool:
    """Whether two calls may have one id: some servers count anew with every run."""
    ids = [piece[: piece.index(b'"')] for piece in chat.split(_CALL_ID)[1:]]
    return len(set(ids)) < len(ids)


def _without_empty(chat: bytes) -> bytes:
    """Without messages that say nothing; a user or a tool that said nothing is told as such."""
    if _NOTHING not in chat:
        return chat
    for silent in _SILENT:
        chat = chat.replace(b"," + silent, b"")
        if chat.startswith(silent):
            chat = chat[len(silent) + 1 :]
    return chat.replace(_NOTHING, b'"content":' + _encode(EMPTY))


def _with_reasoning(chat: bytes, quirks: Quirks) -> bytes:
    """The reasoning of all replies, under the server's name for it, or none."""
    if quirks.reasoning_back is None:
        first, *others = chat.split(_REASONING)
        return b"".join([first, *map(_past_reasoning, others)]) if others else chat
    name = _encode(quirks.reasoning_back) + b":"
    if quirks.reasoning_required:
        # Moonshot takes an empty string for none (earendil-works/pi#4178).
        blank = name + b'" ",'
        chat = chat.replace(_ASSISTANT, _ASSISTANT + blank).replace(blank + _REASONING, _REASONING)
    return chat.replace(_REASONING, name)


def _past_reasoning(chat: bytes) -> bytes:
    """What follows the reasoning that this begins with: the message's next key."""
    ends = [at for key in _AFTER_REASONING if (at := chat.find(key)) >= 0]
    return chat[min(ends) + 1 :]


def _with_extras(chat: bytes, quirks: Quirks) -> bytes:
    if _EXTRA not in chat:
        return chat
    return _WITH_EXTRA.sub(_unfolded if quirks.extra_content else b"", chat)


def _with_ids(chat: bytes, quirks: Quirks) -> bytes:
    """Ids as the server takes them, the same in calls and outputs: read from the id alone."""
    if _OUTPUT not in chat:
        return chat
    fits, renamed = _IDS[quirks.call_ids]
    pieces = chat.split(_ID)
    unfit = [
        at
        for at in range(1, len(pieces))
        if not fits(pieces[at]) and pieces[at - 1].endswith(_OF_CALLS)
    ]
    for at in unfit:
        _, call_id, after = _UP_TO_QUOTE.split(pieces[at], maxsplit=1)
        pieces[at] = renamed(call_id) + b'"' + after
    return _ID.join(pieces) if unfit else chat


def _is_refused(chat: bytes, quirks: Quirks) -> bool:
    """Whether the server may refuse this history, found without reading it."""
    if chat.count(_CALL) != chat.count(_OUTPUT):
        return True
    if not quirks.extra_content and _BARE_EXTRA in chat:
        return True
    match quirks.roles:
        case "any":
            return False
        case "system_first":
            return _SYSTEM in chat[1:]
        case "alternate":
            return True


def _mended(chat: bytes, quirks: Quirks) -> bytes:
    messages = _split(chat)
    if not quirks.extra_content:
        for call in (call for message in messages for call in message.get("tool_calls", ())):
            call.pop("extra_content", None)
    messages = strict.answered(messages)
    if quirks.roles != "any":
        messages = strict.one_system(messages)
    if quirks.roles == "alternate":
        messages = strict.alternating(messages)
    return _joined(messages)


def _split(chat: bytes) -> list[strict.Message]:
    messages: list[strict.Message] = msgspec.json.decode(b"[" + chat + b"]")
    return messages


def _joined(messages: Sequence[strict.Message]) -> bytes:
    return _encode(messages)[1:-1]


def _unfolded(found: re.Match[bytes]) -> bytes:
    return b',"extra_content":' + msgspec.json.decode(found[1], type=str).encode()


def _short(call_id: bytes) -> bytes:
    return b"call_" + hashlib.sha256(call_id).hexdigest()[:32].encode()


def _nine(call_id: bytes) -> bytes:
    """Nine letters and digits: some 54 bits, so that two ids of a thread do not meet in one."""
    return base64.b64encode(hashlib.sha256(call_id).digest(), altchars=b"xy")[:9]


_encode = msgspec.json.Encoder().encode

# As `messages.chat` writes them. None of these can stand inside a string, where quotes are escaped.
_NOTHING = b'"content":""'
_SILENT = (b'{"role":"assistant","content":""}', b'{"role":"system","content":""}')
_ASSISTANT = b'{"role":"assistant",'
_SYSTEM = b'{"role":"system",'
_CALL = b'"function":{"name":'
_OUTPUT = b'"tool_call_id":'
_REASONING = f'"{REASONING}":'.encode()
_AFTER_REASONING = (b',"content":', b',"tool_calls":')
_EXTRA = f',"{EXTRA}":'.encode()
_WITH_EXTRA = re.compile(_EXTRA + rb'("(?:[^"\\]+|\\.)*+")')
_BARE_EXTRA = b'"extra_content":'  # as it was written once
_CALL_ID = b'{"id":"'
_ID = b'id":"'
_OF_CALLS = (b'{"', b'"tool_call_')
_UP_TO_QUOTE = re.compile(rb'((?:[^"\\]|\\.)*+)"')
_IDS = {
    "short": (re.compile(rb'(?:[^"\\]|\\.){1,40}+"').match, _short),
    "nine": (re.compile(rb'[A-Za-z0-9]{9}"').match, _nine),
}
