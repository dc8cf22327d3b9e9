"""Errors in the form of OpenAI's API, which its clients translate to their own exceptions.

    {"error": {"message": "...", "type": "invalid_request_error", "param": "model", "code": "..."}}

openai-python raises by the status, and repeats requests with 408, 409, 429 and 5xx; so what a
repetition cannot mend has another status here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from antiphon.api import problems
from antiphon.types import errors
from antiphon.types.errors import AntiphonError
from antiphon.types.runs import Fault
from antiphon.wires.framing import json_line

INSUFFICIENT_QUOTA = "insufficient_quota"


class Body(msgspec.Struct, frozen=True):
    """The value of `error`."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Envelope(msgspec.Struct, frozen=True):
    """A body of an error, or an event of one in a stream."""

    error: Body


class MissingParameter(errors.InvalidRequest):
    """A field that the request needs is not there."""


class PreviousResponseNotFound(errors.NotFound):
    """The response that a request continues is not there, or is of another owner."""


class InvalidStreamId(errors.CallerError):
    """The `stream_id` of an event cannot be one."""

    code = "invalid_stream_id"


class TooManyStreams(errors.CallerError):
    """A WebSocket has used all stream ids that it may use."""

    code = "websocket_stream_limit_reached"


class SocketExpired(errors.CallerError):
    """A WebSocket has reached the age at which it is closed."""

    code = "websocket_connection_limit_reached"


class _Category(NamedTuple):
    """Status, type and code by which the original's clients know a kind of error."""

    status: int
    type: str
    code: str | None = None


_CATEGORIES: dict[type[AntiphonError], _Category] = {
    errors.Unauthorized: _Category(401, "invalid_request_error", "invalid_api_key"),
    errors.Forbidden: _Category(403, "invalid_request_error"),
    errors.RunActive: _Category(400, "invalid_request_error", "conversation_locked"),
    MissingParameter: _Category(400, "invalid_request_error", "missing_required_parameter"),
    PreviousResponseNotFound: _Category(
        400, "invalid_request_error", "previous_response_not_found"
    ),
    errors.TooLarge: _Category(413, "invalid_request_error"),
    errors.Conflict: _Category(400, "invalid_request_error"),
    errors.InvalidRequest: _Category(400, "invalid_request_error"),
    errors.BadSettings: _Category(404, "invalid_request_error", "model_not_found"),
    errors.QuotaExceeded: _Category(429, "rate_limit_exceeded", "rate_limit_exceeded"),
    errors.ProviderRateLimited: _Category(429, "rate_limit_exceeded", "rate_limit_exceeded"),
    errors.ProviderRejected: _Category(400, "invalid_request_error"),
}
_USED_UP = _Category(429, INSUFFICIENT_QUOTA, INSUFFICIENT_QUOTA)
"""An error that the original's clients do not repeat: more comes on another day."""
_CLIENT_ERROR = 500
"""Statuses below are the caller's fault."""

_SERVER_ERROR = _Category(502, "server_error")
_FAULTS: dict[str, type[AntiphonError]] = {
    kind.code: kind
    for kind in (errors.ProviderRejected, errors.ProviderRateLimited, errors.BadSettings)
}
"""Faults of runs that are not the server's, by their codes."""


def status_and_envelope(error: AntiphonError) -> tuple[int, Envelope]:
    """Return the HTTP status of an error, and the body of its response."""
    category = next(
        (_CATEGORIES[each] for each in type(error).__mro__ if each in _CATEGORIES), None
    )
    if category is None:
        status, _ = problems.status_and_title(error)
        kind = "invalid_request_error" if status < _CLIENT_ERROR else "server_error"
        category = _Category(400 if status in (408, 409, 410) else status, kind)
    if error.details.get("limit") == "tokens_per_day":
        category = _USED_UP
    where = str(error.details.get("where", "")).removeprefix("$").lstrip(".")
    # A run has the servers of the request's tools in a field of their own.
    in_tools = where.startswith("mcp_servers[")
    parameter = "tools" if in_tools else where.removeprefix("sampling.")
    code = category.code or _field_code(error, parameter)
    return category.status, Envelope(
        Body(error.full_message, category.type, parameter or None, code)
    )


_OTHER_TYPE = re.compile(r"Expected `[^`]*`, got ")


def _field_code(error: AntiphonError, parameter: str) -> str:
    """Return the original's code for a field that is wrong, else the error's own code."""
    if isinstance(error, errors.UnsupportedByProvider):
        return "unsupported_parameter" if parameter.isidentifier() else "unsupported_value"
    text = str(error.__cause__)
    if not isinstance(error.__cause__, msgspec.ValidationError):
        return error.code
    if text.startswith("Object missing required field"):
        return "missing_required_parameter"
    return "invalid_type" if _OTHER_TYPE.match(text) else "invalid_value"


def fault_envelope(fault: Fault) -> tuple[int, Envelope]:
    """Return the HTTP status and the body for a run that failed with this fault."""
    category = _CATEGORIES.get(_FAULTS.get(fault.code, errors.Internal), _SERVER_ERROR)
    body = Body(fault.message, category.type, code=category.code or fault.code)
    return category.status, Envelope(body)


def encode_event(envelope: Envelope) -> bytes:
    """Return an error as an event of a stream."""
    return b"data: %b\n\n" % json_line(envelope)
