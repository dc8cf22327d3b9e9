"""Limits of a key, checked."""

from __future__ import annotations

import math

from antiphon.engine.snapshot import Snapshot
from antiphon.types.accounts import PERIODS, Limits
from antiphon.types.errors import QuotaExceeded

RETRY_AFTER_SECONDS = 5  # a guess: the end of the key's runs is not known

_RAISE = "An admin can raise the limit of the key."


def check_run_quota(snapshot: Snapshot, limits: Limits, *, less: int = 0) -> None:
    """Raise `QuotaExceeded` if the key may not begin a run now.

    `less` is the number of its runs that end in the same transaction.
    """
    running = snapshot.running - less
    if limits.runs_at_once is not None and running >= limits.runs_at_once:
        raise QuotaExceeded(
            f"Runs of this key that have not ended: {running}.",
            expected=f"at most {limits.runs_at_once} at once",
            received="one more",
            hint=f"Finish or cancel one of them. {_RAISE}",
            retry_after=RETRY_AFTER_SECONDS,
            limit="runs_at_once",
        )
    check_turn_quota(snapshot, limits)


def check_turn_quota(snapshot: Snapshot, limits: Limits) -> None:
    """Raise `QuotaExceeded` if today's tokens (UTC) are used up."""
    if limits.tokens_per_day is not None and snapshot.tokens >= limits.tokens_per_day:
        raise QuotaExceeded(
            f"The runs of this key have used {snapshot.tokens} tokens today (UTC).",
            expected=f"less than {limits.tokens_per_day} a day",
            hint=_RAISE,
            retry_after=math.ceil(_seconds_left(snapshot.now, PERIODS["tokens"])),
            limit="tokens_per_day",
        )


def seconds_left_in_minute(now: int) -> float:
    """Return the seconds until the next minute begins."""
    return _seconds_left(now, PERIODS["requests"])


def request_limit_error(limit: int, left: float) -> QuotaExceeded:
    """Return the error for a request above the limit per minute; `left` is in seconds."""
    return QuotaExceeded(
        "This key has made too many requests in this minute.",
        expected=f"at most {limit} a minute",
        hint=_RAISE,
        retry_after=math.ceil(left),
        limit="requests_per_minute",
    )


def _seconds_left(now: int, period: int) -> float:
    return (period - now % period) / 1000
