"""Events that a WebSocket has besides those of a stream: errors of requests, and of the WebSocket.

    {"type": "error", "status": 400, "error": {"type", "code", "message", "param"}, "stream_id"}

By https://developers.openai.com/api/docs/guides/websocket-mode and the types
`openai.types.responses.responses_server_event` of OpenAI's Python package, 3.54.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from antiphon.types.errors import AntiphonError
from antiphon.wires.openai.errors import status_and_envelope

_encode = msgspec.json.Encoder().encode

_DONE = b"[DONE]"
_ERROR = b'{"type":"error",'
_TOLD = ("retry-after", "x-request-id", "x-should-retry")
"""Headers of a refused request that its error repeats."""


def socket_data(data: Sequence[bytes], lane: str | None) -> Iterator[bytes]:
    """Yield events of a stream as a WebSocket has them.

    An `error` is left out: it has another form here, in which it ends a request, and the
    `response.failed` after it says the same.
    """
    for event in data:
        if event != _DONE and not event.startswith(_ERROR):
            yield _add_lane(event, lane)


def request_error_event(
    status: int, body: bytes, headers: Mapping[str, str], lane: str | None
) -> bytes:
    """Return the event for a request that was refused with this status and body."""
    error: dict[str, Any] = msgspec.json.decode(body)["error"]
    if told := {name: headers[name] for name in _TOLD if name in headers}:
        error["headers"] = told
    return _add_lane(_encode({"type": "error", "status": status, "error": error}), lane)


def error_event(error: AntiphonError) -> bytes:
    """Return the event for an error of the WebSocket."""
    status, envelope = status_and_envelope(error)
    return _encode({"type": "error", "status": status, "error": envelope.error})


class _Steer(msgspec.Struct, frozen=True):
    previous_response_id: str
    input: msgspec.Raw


def refuse_steer(event: bytes) -> bytes | None:
    """Return the refusal of an event `response.steer`; None if it is not a whole one."""
    try:
        steer = msgspec.json.decode(event, type=_Steer)
    except msgspec.DecodeError:
        return None
    error = {
        "type": "invalid_request_error",
        "code": "steering_not_supported",
        "message": "Responses are not steered here. Cancel the response, and send another one.",
    }
    sent = {"previous_response_id": steer.previous_response_id, "input": steer.input}
    return _encode(
        {"type": "response.steer.failed", "sequence_number": 0, "error": error, "steer": sent}
    )


def _add_lane(event: bytes, lane: str | None) -> bytes:
    return event if lane is None else b'%b,"stream_id":%b}' % (event[:-1], _encode(lane))
