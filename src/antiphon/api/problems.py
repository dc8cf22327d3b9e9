"""HTTP status and problem document (RFC 9457) of each error."""

from __future__ import annotations

import logging
import traceback

import msgspec

from antiphon.types import errors
from antiphon.types.errors import AntiphonError

_log = logging.getLogger("antiphon")


class Malformed(errors.InvalidRequest):
    """The request cannot be parsed: broken JSON or an invalid header."""


class MethodNotAllowed(errors.CallerError):
    """The address does not support this method."""

    code = "method_not_allowed"


class UnsupportedMedia(errors.CallerError):
    """The body is in a format or an encoding that this operation does not accept."""

    code = "unsupported_media_type"


class TooSlow(errors.CallerError):
    """The request stalled before its end."""

    code = "request_timeout"


class SignedOut(errors.Unauthorized):
    """The caller is not logged in, or the login has ended."""


class Misdirected(errors.CallerError):
    """The request names a host that this server does not serve."""

    code = "misdirected"


class HeadTooLarge(errors.TooLarge):
    """The request line and header fields exceed the limit."""


STATUS: dict[type[AntiphonError], tuple[int, str]] = {
    Malformed: (400, "The request cannot be read"),
    errors.InvalidEventId: (400, "No such event number"),
    errors.Unauthorized: (401, "A key is needed"),
    SignedOut: (401, "A login is needed"),
    errors.TokenExpired: (401, "The token has expired"),
    errors.Forbidden: (403, "Not allowed"),
    errors.SignInRefused: (403, "Not logged in"),
    errors.NotFound: (404, "Not found"),
    errors.UnknownToolCall: (404, "No such tool call"),
    MethodNotAllowed: (405, "Method not allowed"),
    TooSlow: (408, "The request did not arrive in time"),
    errors.UnsupportedByProvider: (400, "The model's provider does not support this"),
    errors.RunActive: (409, "The thread has an active run"),
    errors.RunEnded: (409, "The run has ended"),
    errors.OutputsMissing: (409, "Tool outputs are missing"),
    errors.ProviderMismatch: (409, "Another provider answers the run"),
    errors.OutputConflict: (409, "The call has another output"),
    errors.ClaimLost: (409, "The claim of the call is lost"),
    errors.IdempotencyConflict: (409, "The Idempotency-Key belongs to another request"),
    errors.Conflict: (409, "It contradicts what is there"),
    errors.EventExpired: (410, "The events are past retention"),
    errors.TooLarge: (413, "Too large"),
    UnsupportedMedia: (415, "Unsupported media type"),
    Misdirected: (421, "Another host is meant"),
    errors.InvalidRequest: (422, "The request is not valid"),
    errors.BadSettings: (422, "A setting cannot be used"),
    errors.CallerError: (400, "The request is not valid"),
    errors.TooMany: (429, "Too many requests"),
    errors.QuotaExceeded: (429, "A limit of the key is reached"),
    HeadTooLarge: (431, "The header is too large"),
    errors.Internal: (500, "Internal error"),
    errors.ProviderError: (502, "The model's provider failed"),
    errors.Cut: (502, "The model's reply was cut"),
    errors.RunError: (502, "The run did not complete"),
    errors.Overloaded: (503, "Overloaded"),
    errors.TryAgain: (503, "Unavailable for now"),
    errors.Fenced: (503, "Taken over by another worker"),
    AntiphonError: (500, "Internal error"),
}
"""Status and title of each error; an unlisted one has those of its nearest base class."""

MEDIA_TYPE = b"application/problem+json"
RETRY_AFTER = 1  # seconds, where the error knows no better


def status_and_title(error: AntiphonError) -> tuple[int, str]:
    """Return the HTTP status and the title of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem_document(error: AntiphonError) -> bytes:
    """Return the problem document, with expectation, received value and hint as members."""
    status, title = status_and_title(error)
    return msgspec.json.encode(
        {
            **error.details,
            "type": f"/problems/{error.code}",
            "title": title,
            "status": status,
            "code": error.code,
            "detail": error.message,
        },
        enc_hook=str,
    )


def problem_headers(error: AntiphonError) -> list[tuple[bytes, bytes]]:
    """Return the headers of an error's response, except type and length of the document."""
    match error:
        case errors.Unauthorized():
            return [(b"www-authenticate", b'Bearer realm="antiphon"')]
        case errors.TryAgain():
            seconds = error.details.get("retry_after", RETRY_AFTER)
            return [(b"retry-after", b"%d" % max(1, round(seconds)))]
        case MethodNotAllowed():
            return [(b"allow", str(error.details.get("allow", "")).encode())]
        case _:
            return []


def internal_error(fault: BaseException, request_id: str, about: str) -> errors.Internal:
    """Log an unexpected error, and return what the caller may see of it.

    Messages of foreign exceptions may contain user text or keys, so only their types are logged.
    `about` must contain nothing of the request but its route.
    """
    _log.error("%s failed (%s)\n%s", about, request_id, "".join(_traceback_lines(fault)).rstrip())
    return errors.Internal(
        "Something went wrong in the server.",
        hint="Its log tells more under this request_id.",
        request_id=request_id,
    )


def _traceback_lines(fault: BaseException) -> list[str]:
    cause = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    before = [*_traceback_lines(cause), "which led to\n"] if cause else []
    kind = f"{type(fault).__module__}.{type(fault).__qualname__}\n"
    return [*before, *traceback.format_tb(fault.__traceback__), kind]
