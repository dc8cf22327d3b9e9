"""Everything that can go wrong, one tree, sorted by what the caller can do about it.

AntiphonError
├── CallerError             fix the call
│   ├── InvalidRequest          invalid_request
│   ├── InvalidEventId          invalid_event_id
│   ├── Unauthorized            unauthorized
│   ├── Forbidden               forbidden
│   ├── SignInRefused           sign_in_refused
│   ├── NotFound                not_found
│   │   └── UnknownToolCall         unknown_tool_call
│   ├── RunActive               run_active
│   ├── RunEnded                run_ended
│   ├── OutputsMissing          outputs_missing
│   ├── ProviderMismatch        provider_mismatch
│   ├── OutputConflict          output_conflict
│   ├── IdempotencyConflict     idempotency_conflict
│   ├── EventExpired            event_expired
│   ├── Conflict                conflict
│   ├── TooLarge                too_large
│   ├── UnsupportedByProvider   unsupported_by_provider
│   └── BadSettings             bad_settings
├── TryAgain                the same call may succeed later
│   ├── Overloaded              overloaded
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
├── RunError                a run did not complete; `converse` raises it after the last event
│   ├── RunFailed               run_failed
│   ├── RunIncomplete           run_incomplete
│   ├── RunExpired              run_expired
│   └── RunCancelled            run_cancelled
├── Fenced                  somebody else drives this run now
└── Internal                our own fault
"""

from __future__ import annotations

from typing import Any, ClassVar


class AntiphonError(Exception):
    """Base of the tree. `code` is stable; `details` become members of the problem document.

    `expected`, `received` and `hint` say what was wanted, what came and what to do.
    """

    code: ClassVar[str] = "internal"

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
    def told(self) -> str:
        """The whole error in one line: message, expectation, received value, hint."""
        words = {"expected": "wanted ", "received": "got "}
        said = (f"{word}{self.details[key]}" for key, word in words.items() if key in self.details)
        wrong = "; ".join([self.message.rstrip("."), *said])
        hint = self.details.get("hint", "")
        between = ". " if hint[:1].isupper() else "; "  # some hints are sentences of their own
        return f"{wrong}{between}{hint}" if hint else wrong


class CallerError(AntiphonError):
    """The call is wrong as it stands: repeating it unchanged gives the same answer."""


class InvalidRequest(CallerError):
    """A field, a type, a size or a combination that no call of this kind may have."""

    code = "invalid_request"


class InvalidEventId(CallerError):
    """An event number that this run never gave out."""

    code = "invalid_event_id"


class Unauthorized(CallerError):
    """No key, or one that is unknown or revoked."""

    code = "unauthorized"


class Forbidden(CallerError):
    """The key is good, but not for this."""

    code = "forbidden"


class SignInRefused(CallerError):
    """The login failed, or the account may not log in."""

    code = "sign_in_refused"


class NotFound(CallerError):
    """No such thing for this caller; another owner's thing is answered in the same words."""

    code = "not_found"


class UnknownToolCall(NotFound):
    """An output for a call that this run's model never made."""

    code = "unknown_tool_call"


class RunActive(CallerError):
    """The thread has an active run; its id is in `details["run_id"]`."""

    code = "run_active"


class RunEnded(CallerError):
    """The run has reached its end, and an end is final."""

    code = "run_ended"


class OutputsMissing(CallerError):
    """The next turn was asked for while calls still wait for their outputs."""

    code = "outputs_missing"


class ProviderMismatch(CallerError):
    """The run's words go to a provider that this program asks with other settings, or not at all.

    `details["provider"]` names it.
    """

    code = "provider_mismatch"


class OutputConflict(CallerError):
    """This call already has an output, and it is another one."""

    code = "output_conflict"


class IdempotencyConflict(CallerError):
    """The Idempotency-Key was used before, with another body."""

    code = "idempotency_conflict"


class EventExpired(CallerError):
    """The events asked for are past retention; the stored messages are still there."""

    code = "event_expired"


class Conflict(CallerError):
    """It contradicts what is there: a name that somebody has, an admin who is the last."""

    code = "conflict"


class TooLarge(CallerError):
    """More bytes, depth or items than the limits allow."""

    code = "too_large"


class UnsupportedByProvider(CallerError):
    """The model's provider has not got what was asked; `details["settings"]` names what."""

    code = "unsupported_by_provider"


class BadSettings(CallerError):
    """A setting that cannot be used; says which, from where, and what would be right."""

    code = "bad_settings"


class TryAgain(AntiphonError):
    """Nothing is wrong with the call. `details["retry_after"]`, in seconds, where it is known."""


class Overloaded(TryAgain):
    """A limit on what runs at once is reached."""

    code = "overloaded"


class QuotaExceeded(TryAgain):
    """A limit of the caller's key is reached; `details["retry_after"]` is when to ask again."""

    code = "quota_exceeded"


class Unavailable(TryAgain):
    """Something this runtime needs does not answer."""

    code = "unavailable"


class ConnectionLost(TryAgain):
    """The server could not be reached, or went away and did not come back."""

    code = "connection_lost"


class ProviderError(AntiphonError):
    """The model's side said no, or said something that is not a reply."""

    code = "provider_error"


class ProviderAuth(ProviderError):
    """401 or 403: the key is missing or wrong."""

    code = "provider_auth"


class ProviderRejected(ProviderError):
    """Another 4xx: this request will not be taken, whoever sends it."""

    code = "provider_rejected"


class ProviderRateLimited(ProviderError):
    """429, after the retries."""

    code = "provider_rate_limited"


class ProviderUnavailable(ProviderError):
    """5xx, or no connection, after the retries."""

    code = "provider_unavailable"


class ProviderProtocol(ProviderError):
    """Bytes that no reading makes a reply of; a redacted sample is in the message."""

    code = "provider_protocol"


class Cut(AntiphonError):
    """The reply ended before its end; what came is kept."""


class Disconnected(Cut):
    """The stream closed without a terminal marker."""

    code = "disconnected"


class Stalled(Cut):
    """Nothing came for longer than the deadline."""

    code = "stalled"


class RunError(AntiphonError):
    """A run ended without completing; everything that it said has been given before."""

    @property
    def run_id(self) -> str:
        """The run."""
        return str(self.details.get("run_id", ""))

    @property
    def thread_id(self) -> str:
        """The run's thread, which a new run can be started in."""
        return str(self.details.get("thread_id", ""))


class RunFailed(RunError):
    """The run failed: the model's side said no, or the turn could not be asked for."""

    code = "run_failed"

    @property
    def error_code(self) -> str:
        """The stable code of what the run failed of, such as `provider_auth`."""
        return str(self.details.get("error_code", ""))


class RunIncomplete(RunError):
    """The answer was cut; `reason` says why, and `text` is what came of it."""

    code = "run_incomplete"

    @property
    def reason(self) -> str:
        """The run's reason, such as `length` or `stalled`."""
        return str(self.details.get("reason", ""))

    @property
    def text(self) -> str:
        """The text of the last reply, as far as it came."""
        return str(self.details.get("text", ""))


class RunExpired(RunError):
    """The run waited for outputs, or to be asked for its next turn, for longer than it may."""

    code = "run_expired"


class RunCancelled(RunError):
    """The run was cancelled, by this client or another."""

    code = "run_cancelled"


class Fenced(AntiphonError):
    """The lease was lost: another worker has a higher epoch, or the run has ended."""

    code = "fenced"


class Internal(AntiphonError):
    """A fault of our own; the log has the traceback, the caller does not."""

    code = "internal"


def install_hint(extra: str) -> str:
    """Say how an extra that is missing is installed."""
    return f"Install the extra `{extra}`: pip install '.[{extra}]' in a checkout of Antiphon."


def class_for_code(code: str) -> type[AntiphonError]:
    """Return the class with this code; `AntiphonError` for an unknown one."""
    return _BY_CODE.get(code, AntiphonError)


def _subclasses(kind: type[AntiphonError]) -> list[type[AntiphonError]]:
    return [kind, *(member for child in kind.__subclasses__() for member in _subclasses(child))]


_BY_CODE: dict[str, type[AntiphonError]] = {
    kind.code: kind for kind in _subclasses(AntiphonError) if "code" in vars(kind)
}
