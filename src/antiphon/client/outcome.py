"""Errors of runs that did not complete."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.types.errors import RunCancelled, RunError, RunExpired, RunFailed, RunIncomplete
from antiphon.types.messages import Message
from antiphon.types.run_ends import find_run_end
from antiphon.types.runs import Fault, Reason, Status
from antiphon.types.terminal_safe import clean

_AUTH = "Check the provider's key and address; `antiphon doctor` names the keys that are set."
_HINTS = {
    "provider_auth": _AUTH,
    "provider_unavailable": "Check that the provider's address is right and that it answers.",
    "bad_settings": "Correct the setting, then create a new run in the thread.",
}
"""Advice by error code of a failed run."""


def hint_for(code: str) -> str | None:
    """Return advice for a run that failed with this error code; None if there is none."""
    return _HINTS.get(code)


def run_error(
    run_id: str,
    thread_id: str,
    status: Status,
    reason: Reason | None,
    fault: Fault | None,
    text: str,
) -> RunError | None:
    """Return the error of a run in this status; None if it goes on or has completed.

    The message is safe to print: control characters in the provider's words are removed.
    """
    ids = {"run_id": run_id, "thread_id": thread_id, "run_status": status.value}
    match status:
        case Status.FAILED:
            fault = fault or Fault("internal", "No reason was recorded.")
            return RunFailed(
                f"The run failed: {clean(fault.message)} ({clean(fault.code)})",
                hint=hint_for(fault.code),
                error_code=fault.code,
                **ids,
            )
        case Status.INCOMPLETE:
            why = find_run_end(status, reason).why or reason or "no reason was recorded"
            return RunIncomplete(
                f"The answer is incomplete: {why} ({reason}).",
                reason=reason or "",
                text=text,
                **ids,
            )
        case Status.EXPIRED:
            return RunExpired(
                "The run expired: it was not continued in time.",
                hint="Create a new run in the thread.",
                **ids,
            )
        case Status.CANCELLED:
            return RunCancelled("The run was cancelled.", **ids)
        case _:
            return None


def last_reply(messages: Sequence[Message], run_id: str) -> str:
    """Return the text of this run's last reply; "" if there is none."""
    replies = [each for each in messages if each.run_id == run_id and each.role == "assistant"]
    return replies[-1].text if replies else ""
