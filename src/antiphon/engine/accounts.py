"""Decisions about the accounts of people who log in, and about the limits of keys."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

from msgspec.structs import replace

from antiphon.engine import sanitize
from antiphon.engine.snapshot import Snapshot
from antiphon.types.accounts import PERIODS, Account, Limits, Person
from antiphon.types.errors import Conflict, InvalidRequest, QuotaExceeded, SignInRefused
from antiphon.types.terminal_safe import INVISIBLE

MAX_NAME = 128
MIN_PASSWORD = 8
SESSION_MS = 31 * 86_400_000
"""Milliseconds for which an ended login is remembered: longer than any login lasts."""
MAX_ENDED = 200
_INVISIBLE = re.compile(rf"[\x00-\x1f\x7f\ud800-\udfff{INVISIBLE}]")


def normalize_name(name: str) -> str:
    """Return the form in which names are compared: NFKC, without case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def validate_name(name: str) -> str:
    """Return the name as stored, with single spaces. Raises `InvalidRequest`."""
    trimmed = " ".join(name.split())
    if not trimmed or len(trimmed) > MAX_NAME or _INVISIBLE.search(name):
        raise InvalidRequest(
            "This is no name for a person.",
            expected=f"1 to {MAX_NAME} characters that are seen",
            received=ascii(name[:64]),
            where="name",
        )
    return trimmed


def validate_password(password: str) -> str:
    """Return a password of enough characters. Raises `InvalidRequest` without the password."""
    sanitize.validate_text(password, "password")
    if len(password) < MIN_PASSWORD:
        raise InvalidRequest(
            "The password is too short.",
            expected=f"at least {MIN_PASSWORD} characters",
            where="password",
        )
    return password


def amend_account(
    account: Account, changes: dict[str, Any], hashed: str | None, *, sign_out: bool, others: bool
) -> Account:
    """Return the account with changed fields and, if given, a new password hash.

    `others` tells whether another admin can log in. Raises `Conflict` if no admin would be left.
    """
    was = account.person
    person = replace(was, **changes)
    validate_admin_remains(was, person, others=others)
    if hashed is not None or sign_out or (person.disabled and not was.disabled):
        person = _sign_out(person)
    return Account(person, account.password if hashed is None else hashed)


def end_session(account: Account, session: str, now: int) -> Account:
    """Return the account without this login; `now` is in milliseconds.

    If a person ends more than `MAX_ENDED` logins within their lifetime, all logins end: a forgotten
    one would be valid again.
    """
    person = account.person
    ended = {name: until for name, until in person.ended_sessions.items() if until > now}
    ended[session] = now + SESSION_MS
    if len(ended) > MAX_ENDED:
        return replace(account, person=_sign_out(person))
    return replace(account, person=replace(person, ended_sessions=ended))


def _sign_out(person: Person) -> Person:
    """Return the person with every login until now void."""
    return replace(person, generation=person.generation + 1, ended_sessions={})


def validate_admin_remains(was: Person, person: Person | None, *, others: bool) -> None:
    """Raise `Conflict` if the last admin would be removed, demoted or disabled."""
    if was.is_admin and not others and (person is None or not person.is_admin):
        raise Conflict(
            f"{was.name} is the last admin.",
            expected="an admin who can log in",
            hint="Make somebody else an admin first.",
        )


def sign_in(account: Account, generation: int, now: int) -> Account:
    """Return the account after a proven login of that generation.

    Raises `SignInRefused` if the account is disabled or was changed meanwhile.
    """
    person = account.person
    if person.disabled:
        raise SignInRefused("This account is disabled.", hint="An admin can enable it.")
    if person.generation != generation:
        raise sign_in_error()
    return replace(account, person=replace(person, signed_in_at=now))


def sign_in_error() -> SignInRefused:
    """Return the error for every failed login: the same words for each cause."""
    return SignInRefused("The name or the password is wrong.")


# Limits of a key.

RETRY_AFTER_SECONDS = 5  # a guess: the end of the key's runs is not known

_RAISE = "An admin can raise the limit of the key."


def check_run_quota(snapshot: Snapshot, limits: Limits, *, ending: int = 0) -> None:
    """Raise `QuotaExceeded` if the key may not begin a run now.

    `ending` is the number of its runs that end in the same transaction.
    """
    running = snapshot.running - ending
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
