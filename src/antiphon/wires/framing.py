"""Framing that all wires share: frames with ids, the cursor in such an id, heartbeats."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

import msgspec

from antiphon.types.errors import InvalidEventId
from antiphon.types.events import (
    CitationsAdded,
    Numbered,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    TurnRestarted,
)
from antiphon.types.terminal_safe import clean

HEADERS: Mapping[str, str] = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
"""Response headers of a stream, so that no proxy buffers it."""

HEARTBEAT = b": hb\n\n"
"""Sent in silence: it shows readers that the server lives, and the server that a reader left."""


class CamelStruct(msgspec.Struct, frozen=True, rename="camel"):
    """Struct with camelCase JSON names."""


class InlineFile(msgspec.Struct, frozen=True):
    """A file inside a request; `data` is base64, with or without `data:MEDIA/TYPE;base64,`.

    `where` is the field that holds the data, for errors.
    """

    name: str
    data: str
    where: str = "$.messages"


class Cursor(msgspec.Struct, frozen=True):
    """The last frame that a reader has: `place` among those of event `number`, None for all."""

    run_id: str
    number: int
    place: int | None = None


def parse_cursor(text: str, run_id: str) -> Cursor:
    """Return the cursor in a frame id of this run. Raises `InvalidEventId`.

    The reader of the events checks that the run has such an event.
    """
    found = _ID.fullmatch(text)
    if found is None or found["run"] != run_id:
        raise InvalidEventId(
            "This is not the id of an event of this run.",
            expected=f"{run_id}:<number> or {run_id}:<number>.<place>, as its stream gave it",
            received=clean(text[:100]),
            hint="Leave it out to be sent the whole message.",
        )
    return Cursor(run_id, int(found["number"]), int(found["place"]) if found["place"] else None)


def frame(value: msgspec.Struct, id: str = "") -> bytes:
    """Encode the value as a server-sent event."""
    named = f"id: {id}\n".encode() if id else b""
    return b"%bdata: %b\n\n" % (named, json_line(value))


def json_line(value: msgspec.Struct) -> bytes:
    """Encode the value as JSON on one line.

    Some readers of server-sent events also break lines at U+0085, U+2028 and U+2029: these are
    escaped. Lone surrogates become U+FFFD.
    """
    try:
        data = _encode(value)
    except UnicodeEncodeError:
        data = _encode(_replace_surrogates(msgspec.to_builtins(value)))
    return escape_line_breaks(data)


def escape_line_breaks(data: bytes) -> bytes:
    """Escape those line breaks in JSON that only some readers of server-sent events see as such."""
    if data.isascii():
        return data
    for seen, escaped in _BREAKS:
        data = data.replace(seen, escaped)
    return data


_ID = re.compile(r"(?P<run>[^:]{1,128}):(?P<number>[0-9]{1,15})(?:\.(?P<place>[1-9][0-9]{0,5}))?")
_BREAKS = (
    ("\x85".encode(), rb"\u0085"),
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
)

_encode = msgspec.json.Encoder().encode


def _replace_surrogates(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            fields = cast("dict[str, object]", value)
            return {
                _replace_surrogates(name): _replace_surrogates(each)
                for name, each in fields.items()
            }
        case list():
            return [_replace_surrogates(each) for each in cast("list[object]", value)]
        case _:
            return value


# Reasons why a call was never carried out, the same on every wire.


NOT_WHOLE = "The reply was cut before this call was whole; it was not carried out."
NOT_ANSWERED = "The run ended before this call had an output; it was not carried out."
TAKEN_BACK = "The turn began again; this call was not carried out."


# Events that a restart made void.


_VOIDABLE = (
    TextDelta
    | ReasoningDelta
    | RefusalDelta
    | CitationsAdded
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallReady
)


def drop_void_events(events: Iterable[Numbered], after: int = 0) -> list[Numbered]:
    """Return the events without void ones, unless the reader has some of these.

    A reader whose last event `after` lies between the first void event and the restart may have a
    part of them: the encoder has to take it back.
    """
    kept: list[Numbered] = []
    for number, event in events:
        if isinstance(event, TurnRestarted) and not event.after < after <= number:
            void = event.after
            kept = [each for each in kept if each[0] <= void or not isinstance(each[1], _VOIDABLE)]
        kept.append((number, event))
    return kept
