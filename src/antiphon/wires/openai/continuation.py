"""Finds where a request with a whole conversation continues a stored thread.

A client of Chat Completions sends every message each time, and does not know the calls that the
server ran itself. It sees each answer as one message: the texts of all its turns, and the calls
that it has to run. What it sends is compared with that view, message by message. A thread is never
recognized by its messages: the caller names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from antiphon.types.messages import (
    File,
    Image,
    Message,
    MessagePart,
    Refusal,
    Text,
    ToolCall,
    join_text,
    parts,
)
from antiphon.wires.framing import InlineFile
from antiphon.wires.openai.chat_request import SentMessage
from antiphon.wires.openai.chat_stream import BETWEEN_TURNS

FILES = "openai_files"
"""Metadata key of a message with inline files: their digests, which tell equal ones from others."""

_SHOWN_DIGEST = 12  # bytes


class Continuation(NamedTuple):
    """A request as a continuation of a thread.

    `matched` messages of the request are in the thread already. `kept` is the number of the last
    stored message among these, 0 for none; `forks` is true if the thread goes on after it.
    """

    matched: int
    kept: int
    forks: bool


ClientTools = Mapping[str, frozenset[str]]
"""Names of the tools that clients ran, by the ids of the runs in which they were offered."""


def find_continuation(
    stored: Sequence[Message], sent: Sequence[SentMessage], client_tools: ClientTools
) -> Continuation:
    """Compare a thread's messages, all of them in order, with those of a request."""
    matched = kept = 0
    for number, seen in _visible_messages(stored, client_tools):
        if matched == len(sent) or _key_of_sent(sent[matched]) != seen:
            return Continuation(matched, kept, forks=True)
        matched, kept = matched + 1, number
    return Continuation(matched, kept, forks=False)


def digest_files(files: Sequence[InlineFile]) -> str:
    """Return digests of these files, in order."""
    return ",".join(
        blake2b(file.data.encode(), digest_size=_SHOWN_DIGEST).hexdigest() for file in files
    )


class _Seen(NamedTuple):
    """A message as a client sees it. Calls and attachments in an order that can be compared."""

    role: str
    text: str
    calls: tuple[tuple[str, str, str], ...] = ()
    attachments: tuple[str, ...] = ()
    call_id: str | None = None


def _visible_messages(
    stored: Sequence[Message], client_tools: ClientTools
) -> Iterator[tuple[int, _Seen]]:
    """Yield each visible message with the number of the last stored one that it stands for.

    A reply all of whose calls the server ran is joined with the next one.
    """
    texts: list[str] = []
    hidden: set[str] = set()
    for message in stored:
        if message.role == "tool" and message.tool_call_id in hidden:
            continue
        if message.role != "assistant":
            yield message.number, _key_of_stored(message)
            continue
        texts.append(message.full_text)
        shown = _calls_of_client(message, client_tools)
        hidden = {call.id for call in message.tool_calls} - {call.id for call in shown}
        if hidden and not shown:
            continue
        text = BETWEEN_TURNS.join(filter(None, texts))
        calls = tuple(_call_key(call.id, call.name, call.arguments) for call in shown)
        yield message.number, _Seen("assistant", _squeeze(text), calls)
        texts = []


def _calls_of_client(message: Message, client_tools: ClientTools) -> Sequence[ToolCall]:
    """Return the calls that a client ran; all of them in a message that came from elsewhere."""
    names = client_tools.get(message.run_id or "")
    if names is None:
        return message.tool_calls
    return [call for call in message.tool_calls if call.name in names]


def _key_of_stored(message: Message) -> _Seen:
    attachments = _attachments(message.content)
    if digests := message.metadata.get(FILES):
        ids = [each for each in attachments if not each.startswith("file:")]
        attachments = (*ids, *digests.split(","))
    return _Seen(
        message.role,
        _squeeze(message.full_text),
        attachments=attachments,
        call_id=message.tool_call_id,
    )


def _key_of_sent(sent: SentMessage) -> _Seen:
    message = sent.message
    content = parts(message.content)
    attachments = [each for each in _attachments(content) if each != "file:"]
    return _Seen(
        message.role,
        _squeeze(join_text(content)),
        tuple(_call_key(call.id, call.name, call.arguments) for call in message.tool_calls),
        (*attachments, *filter(None, digest_files(sent.files).split(","))),
        message.tool_call_id,
    )


def _squeeze(text: str) -> str:
    """Return the text with one space for each run of blanks: clients join parts as they like."""
    return " ".join(text.split())


def _attachments(content: Sequence[MessagePart]) -> tuple[str, ...]:
    found: list[str] = []
    for part in content:
        match part:
            case Image(url, file_id):
                found.append(f"image:{url or file_id}")
            case File(file_id):
                found.append(f"file:{file_id}")
            case Text() | Refusal():
                pass
    return tuple(found)


def _call_key(id: str, name: str, arguments: str) -> tuple[str, str, str]:
    """Return a key of a call in which spaces and the order of its arguments do not count."""
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError):
        return id, name, arguments
    return id, name, msgspec.json.encode(value, order="deterministic").decode()
