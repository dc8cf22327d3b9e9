"""Events of a chat-completions stream as values, as tolerantly as servers differ.

Every field may hold anything: the types below fit replies as most servers send them, and the
functions read what some servers send instead.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

from antiphon.engine.partial_json import MAX_DEPTH
from antiphon.engine.sanitize import sanitize_text, validate_depth
from antiphon.engine.turn import LARGE_BYTES
from antiphon.types.chunks import cut_reason
from antiphon.types.errors import ProviderProtocol, TooLarge
from antiphon.types.json_values import is_list, is_object, object_or_empty
from antiphon.wires.sse import SseFrame

MAX_EVENT_VALUES = 1_000_000
"""JSON values in one event: decoding this many blocks the event loop for 0.1 s."""
TOO_DEEP = "An event of the reply is nested too deeply."
_WORDS_IN = ("text", "thinking", "summary", "content", "refusal")
_PART = frozenset(_WORDS_IN)  # a part of a content list has one of these beside its type
_REFERENCES = ("reference", "tool_reference")  # types of parts without a text, as from Mistral
_WHOLE_WORDS = ("stop", "tool_calls", "function_call")


class ReplyDelta(msgspec.Struct, gc=False):
    """A piece of a reply, or a whole one."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: Any = None
    function_call: Any = None
    annotations: Any = None
    citations: Any = None


class ReplyChoice(msgspec.Struct, gc=False):
    """One of the replies to a request; one is requested."""

    delta: ReplyDelta | None = None
    message: ReplyDelta | None = None
    finish_reason: Any = None
    native_finish_reason: Any = None
    index: Any = None
    error: Any = None
    usage: Any = None


class ReplyPayload(msgspec.Struct, gc=False):
    """One event of the stream, or the whole body of a reply that is not streamed."""

    choices: list[ReplyChoice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None
    object: Any = None
    type: Any = None
    message: Any = None
    detail: Any = None
    citations: Any = None
    search_results: Any = None


def only_text(payload: ReplyPayload) -> str:
    """Return the text of a payload that holds nothing else, as most do; "" for any other.

    An empty list of annotations is nothing.
    """
    match payload.choices:
        case [ReplyChoice(index=0, delta=ReplyDelta(content=str(text), annotations=noted))]:
            none = None if noted else noted
            choice = ReplyChoice(index=0, delta=ReplyDelta(content=text, annotations=none))
            return text if payload == ReplyPayload([choice], object=payload.object) else ""
        case _:
            return ""


decode_payload = msgspec.json.Decoder(ReplyPayload).decode
UNREADABLE = (msgspec.DecodeError, UnicodeEncodeError)


def load_json(text: str) -> Any:
    """Decode JSON that msgspec rejects, such as lone surrogates; but no NaN and no Infinity."""
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def is_whole_frame(frame: SseFrame) -> bool:
    """Return whether the frame at the end of a stream was not cut."""
    if frame.event == "error" or frame.data.strip() == "[DONE]":
        return True
    if has_too_many_values(frame.data):
        return True  # it is rejected when it is read
    try:
        load_json(replace_lost_bytes(frame.data))
    except (ValueError, RecursionError):
        return False
    return True


def has_too_many_values(data: str) -> bool:
    """Return whether this JSON has too many values, without decoding it."""
    if len(data) <= LARGE_BYTES or _weight(data) <= MAX_EVENT_VALUES:
        return False
    bare = data.replace("\\\\", "").replace('\\"', "")
    if bare.count('"') > MAX_EVENT_VALUES:
        return True
    # Count only outside of strings.
    return _weight("".join(bare.split('"')[::2])) > MAX_EVENT_VALUES


def _weight(data: str) -> int:
    """Estimate the number of values; a list counts as ten, for its cost to the collector."""
    return data.count(",") + data.count("{") + 10 * data.count("[")


def replace_lost_bytes(data: str) -> str:
    """Replace bytes that are not UTF-8 by U+FFFD."""
    return data.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def name_or_none(value: Any) -> str | None:
    """Return an id or a name; None if it is empty or not a string."""
    return sanitize_text(value) if isinstance(value, str) and value else None


def arguments_text(value: Any) -> str:
    """Return the arguments as JSON text; some servers send them as an object."""
    match value:
        case None:
            return ""
        case str():
            return value
        case _:
            return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def is_json_answer(content: Any) -> bool:
    """Return whether content is the answer as JSON, as in Cloudflare's JSON mode, and not parts."""
    if is_object(content):
        return not _is_part(content)
    if not is_list(content) or not content:
        return False
    return all(is_object(item) and not _is_part(item) for item in content)


def encode_answer(content: Any) -> str:
    """Return an answer that came as JSON as its text. Raises `ProviderProtocol`."""
    try:
        validate_depth(content, MAX_DEPTH)
    except TooLarge as error:
        raise ProviderProtocol(TOO_DEEP) from error
    return _json(content)


def _is_part(value: Any) -> bool:
    if not is_object(value) or not isinstance(value.get("type"), str):
        return False
    return value["type"] in _REFERENCES or bool(_PART & value.keys())


def finish_reason(choice: ReplyChoice) -> Any:
    """Return the finish reason; the native one if a gateway hides a cut behind another."""
    native = choice.native_finish_reason
    if choice.finish_reason and isinstance(native, str) and choice.finish_reason in _WHOLE_WORDS:
        return cut_reason(native) or choice.finish_reason
    return choice.finish_reason


def part_text(value: Any) -> str:
    """Return the text in a part, or in a list of parts."""
    if isinstance(value, str):
        return value
    if is_list(value):
        return "".join(part_text(part) for part in value)
    fields = object_or_empty(value)
    return next((part_text(fields[name]) for name in _WORDS_IN if fields.get(name)), "")


def list_objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list; of a single value, itself if it is one."""
    items = value if is_list(value) else [value]
    return [item for item in items if is_object(item)]
