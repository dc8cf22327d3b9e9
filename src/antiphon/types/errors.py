"""The tree of errors, sorted by what the caller can do about them.

AntiphonError
├── CallerError             fix the request
│   ├── InvalidRequest          invalid_request
│   ├── InvalidEventId          invalid_event_id
│   ├── Unauthorized            unauthorized
│   │   └── TokenExpired            token_expired
│   ├── Forbidden               forbidden
│   ├── SignInRefused           sign_in_refused
│   ├── NotFound                not_found
│   │   └── UnknownToolCall         unknown_tool_call
│   ├── RunActive               run_active
│   ├── RunEnded                run_ended
│   ├── OutputsMissing          outputs_missing
│   ├── ProviderMismatch        provider_mismatch
│   ├── OutputConflict          output_conflict
│   ├── ClaimLost               claim_lost
│   ├── IdempotencyConflict     idempotency_conflict
│   ├── EventExpired            event_expired
│   ├── Conflict                conflict
│   ├── TooLarge                too_large
│   ├── UnsupportedByProvider   unsupported_by_provider
│   └── BadSettings             bad_settings
├── TryAgain                the same request may succeed later
│   ├── Overloaded              overloaded
│   ├── TooMany                 too_many_requests
│   ├── QuotaExceeded           quota_exceeded
│   ├── Unavailable             unavailable
│   └── ConnectionLost          connection_lost
├── ProviderError           the model's side; ends a run as `failed`, code as given
│   ├── ProviderAuth            provider_auth
│   ├── ProviderRejected        provider_rejected
│   ├── ProviderRateLimited     provider_rate_limited
│   ├── ProviderUnavailable     provider_unavailable
│   └── ProviderProtocol        provider_protocol
├── Cut                     a reply that ended too early; ends a run as `incomplete`
│   ├── Disconnected            disconnected
│   └── Stalled                 stalled
├── RunError                a run gave no answer; `converse` raises it after the last event
│   ├── RunFailed               run_failed
│   ├── RunIncomplete           run_incomplete
│   ├── RunExpired              run_expired
│   ├── RunCancelled            run_cancelled
│   └── InvalidAnswer           invalid_answer
├── Fenced                  another worker drives this run now
└── Internal                our own fault
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar


class AntiphonError(Exception):
    """Base of all errors. `code` is stable; `details` become members of the problem document.

    `expected` describes a valid value, `received` is the value that came, `hint` is a remedy.
    """

    code: ClassVar[str] = "internal"
    http_status: int | None = None
    """Status of the server's response, if a server refused the operation over HTTP."""
    request_id: str | None = None
    """Its `X-Request-Id`, which is in the lines that the server logged."""

    def __init__(
        self,
        message: str,
        *,
        expected: str | None = None,
        received: str | None = None,
        hint: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        if hint:
            self.add_note(hint)  # a traceback shows it too
        given = {"expected": expected, "received": received, "hint": hint}
        self.details: dict[str, Any] = {
            **{name: text for name, text in given.items() if text is not None},
            **details,
        }

    @property
    def full_message(self) -> str:
        """The whole error in one line: message, expectation, received value, hint."""
        text = self.message.rstrip(".")
        for name, word in (("expected", "wanted "), ("received", "got "), ("hint", "")):
            if part := self.details.get(name):
                is_sentence = name == "hint" and part[:1].isupper()
                between = " " if text.endswith("?") else ". " if is_sentence else "; "
                text += f"{between}{word}{part}"
        return text

    @property
    def told(self) -> str:
        """Old name of `full_message`, for one more version."""
        warnings.warn("`told` is now `full_message`.", DeprecationWarning, stacklevel=2)
        return self.full_message


class CallerError(AntiphonError):
    """The request is wrong; repeating it unchanged gives the same error."""


class InvalidRequest(CallerError):
    """A field, type, size or combination of fields is not valid."""

    code = "invalid_request"


class InvalidEventId(CallerError):
    """The run has no event with this number."""

    code = "invalid_event_id"


class Unauthorized(CallerError):
    """The key is missing, unknown or revoked."""

    code = "unauthorized"


class TokenExpired(Unauthorized):
    """The token of a page has expired; the page needs a new one from its own backend."""

    code = "token_expired"


class Forbidden(CallerError):
    """The key is valid but lacks the scope for this."""

    code = "forbidden"


class SignInRefused(CallerError):
    """The login failed, or the account may not log in."""

    code = "sign_in_refused"


class NotFound(CallerError):
    """The object does not exist, or belongs to another owner."""

    code = "not_found"


class UnknownToolCall(NotFound):
    """The output is for a tool call that the run's model did not make."""

    code = "unknown_tool_call"


class RunActive(CallerError):
    """The thread has an active run; its id is in `details["run_id"]`."""

    code = "run_active"


class RunEnded(CallerError):
    """The run has ended, which is final."""

    code = "run_ended"


class OutputsMissing(CallerError):
    """The next turn was requested while tool calls wait for their outputs."""

    code = "outputs_missing"


class ProviderMismatch(CallerError):
    """This program has other settings for the run's provider, or none.

    `details["provider"]` is the provider's name.
    """

    code = "provider_mismatch"


class OutputConflict(CallerError):
    """The tool call already has a different output."""

    code = "output_conflict"


class ClaimLost(CallerError):
    """The worker no longer has its claim of a tool call."""

    code = "claim_lost"


class IdempotencyConflict(CallerError):
    """The Idempotency-Key was used before with another body."""

    code = "idempotency_conflict"


class EventExpired(CallerError):
    """The requested events are past retention; the messages are still stored."""

    code = "event_expired"


class Conflict(CallerError):
    """The change conflicts with the stored state: a taken name, the last admin."""

    code = "conflict"


class TooLarge(CallerError):
    """The request has more bytes, depth or items than the limits allow."""

    code = "too_large"


class UnsupportedByProvider(CallerError):
    """The model's provider lacks a requested feature; `details["settings"]` names it."""

    code = "unsupported_by_provider"


class BadSettings(CallerError):
    """A setting cannot be used; the message names the setting and its origin."""

    code = "bad_settings"


class TryAgain(AntiphonError):
    """The same request may succeed later, after `details["retry_after"]` seconds if known."""


class Overloaded(TryAgain):
    """A limit on concurrent work is reached."""

    code = "overloaded"


class TooMany(TryAgain):
    """One person or address made too many requests of this kind."""

    code = "too_many_requests"


class QuotaExceeded(TryAgain):
    """A limit of the caller's key is reached; retry after `details["retry_after"]` seconds."""

    code = "quota_exceeded"


class Unavailable(TryAgain):
    """A service that the runtime needs does not answer."""

    code = "unavailable"


class ConnectionLost(TryAgain):
    """The server could not be reached, or the connection was lost and not restored."""

    code = "connection_lost"


class ProviderError(AntiphonError):
    """The provider returned an error, or a response that is not a reply."""

    code = "provider_error"


class ProviderAuth(ProviderError):
    """The provider returned 401 or 403: the key is missing or wrong."""

    code = "provider_auth"


class ProviderRejected(ProviderError):
    """The provider returned another 4xx: it does not accept the request."""

    code = "provider_rejected"


class ProviderRateLimited(ProviderError):
    """The provider returned 429, also after the retries."""

    code = "provider_rate_limited"


class ProviderUnavailable(ProviderError):
    """The provider returned 5xx or was not reachable, also after the retries."""

    code = "provider_unavailable"


class ProviderProtocol(ProviderError):
    """The provider's response cannot be parsed; the message has a redacted sample."""

    code = "provider_protocol"


class Cut(AntiphonError):
    """The reply was cut off; the received part is kept."""


class Disconnected(Cut):
    """The stream closed without an end marker."""

    code = "disconnected"


class Stalled(Cut):
    """No chunk arrived within the deadline."""

    code = "stalled"


class RunError(AntiphonError):
    """A run ended without the answer that was asked for; all its events were returned before."""

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return str(self.details.get("run_id", ""))

    @property
    def thread_id(self) -> str:
        """The id of the run's thread, in which a new run can be started."""
        return str(self.details.get("thread_id", ""))


class RunFailed(RunError):
    """The run failed: the provider returned an error, or the turn could not be started."""

    code = "run_failed"

    @property
    def error_code(self) -> str:
        """The stable code of the run's error, such as `provider_auth`."""
        return str(self.details.get("error_code", ""))


class RunIncomplete(RunError):
    """The answer was cut off; `reason` is the cause, `text` the received part."""

    code = "run_incomplete"

    @property
    def reason(self) -> str:
        """The run's reason, such as `length` or `stalled`."""
        return str(self.details.get("reason", ""))

    @property
    def text(self) -> str:
        """The received text of the last reply."""
        return str(self.details.get("text", ""))


class RunExpired(RunError):
    """The run waited too long for tool outputs or for the request of its next turn."""

    code = "run_expired"


class RunCancelled(RunError):
    """The run was cancelled, by this client or another."""

    code = "run_cancelled"


class InvalidAnswer(RunError):
    """The run completed, but its answer is not of the wanted type, also after corrections."""

    code = "invalid_answer"

    @property
    def text(self) -> str:
        """The text of the last answer."""
        return str(self.details.get("text", ""))


class Fenced(AntiphonError):
    """The lease was lost: another worker has a higher epoch, or the run has ended."""

    code = "fenced"


class Internal(AntiphonError):
    """An internal error; only the log has the traceback."""

    code = "internal"


def class_for_code(code: str) -> type[AntiphonError]:
    """Return the class with this code; `AntiphonError` for an unknown one."""
    return _BY_CODE.get(code, AntiphonError)


def _subclasses(kind: type[AntiphonError]) -> list[type[AntiphonError]]:
    return [kind, *(member for child in kind.__subclasses__() for member in _subclasses(child))]


_BY_CODE: dict[str, type[AntiphonError]] = {
    kind.code: kind for kind in _subclasses(AntiphonError) if "code" in vars(kind)
}
