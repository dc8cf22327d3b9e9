"""What may become of people who log in; pure, as all that is decided is."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from msgspec.structs import replace

from antiphon.engine import sanitize
from antiphon.types.accounts import Account, Person
from antiphon.types.errors import Conflict, InvalidRequest, SignInRefused
from antiphon.types.terminal_safe import INVISIBLE

MAX_NAME = 128
MIN_PASSWORD = 8
SESSION_MS = 31 * 86_400_000
"""For how long an ended login is remembered: longer than any lasts."""
MAX_ENDED = 200
_INVISIBLE = re.compile(rf"[\x00-\x1f\x7f\ud800-\udfff{INVISIBLE}]")


def normalize_name(name: str) -> str:
    """The name as names are compared: without case, one form for letters that look alike."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def validate_name(name: str) -> str:
    """The name as it is kept. Raises `InvalidRequest` for one that is none."""
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
    """The password, if it is one; of what was sent nothing is repeated. Raises `InvalidRequest`."""
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
    """The account with these fields of the person changed, and the new password if there is one.

    `others` says whether somebody else governs. Raises `Conflict` where nobody would.
    """
    was = account.person
    person = replace(was, **changes)
    validate_admin_remains(was, person, others=others)
    if hashed is not None or sign_out or (person.disabled and not was.disabled):
        person = _sign_out(person)
    return Account(person, account.password if hashed is None else hashed)


def end_session(account: Account, session: str, now: int) -> Account:
    """Return the account without this one login; `now` is in milliseconds.

    Who ends very many logins within their lifetime ends all of them: what is forgotten would be
    open again.
    """
    person = account.person
    ended = {name: until for name, until in person.ended_sessions.items() if until > now}
    ended[session] = now + SESSION_MS
    if len(ended) > MAX_ENDED:
        return replace(account, person=_sign_out(person))
    return replace(account, person=replace(person, ended_sessions=ended))


def _sign_out(person: Person) -> Person:
    """Return the person, for whom every login up to now is void."""
    return replace(person, generation=person.generation + 1, ended_sessions={})


def validate_admin_remains(was: Person, person: Person | None, *, others: bool) -> None:
    """Raise `Conflict` where the last admin would be removed, demoted or disabled."""
    if was.governs and not others and (person is None or not person.governs):
        raise Conflict(
            f"{was.name} is the last admin.",
            expected="an admin who can log in",
            hint="Make somebody else an admin first.",
        )


def sign_in(account: Account, generation: int, now: int) -> Account:
    """The account of somebody who was proven to be it, at that generation.

    Raises `SignInRefused` for who is disabled, or was changed meanwhile.
    """
    person = account.person
    if person.disabled:
        raise SignInRefused("This account is disabled.", hint="An admin can enable it.")
    if person.generation != generation:
        raise sign_in_error()
    return replace(account, person=replace(person, signed_in_at=now))


def sign_in_error() -> SignInRefused:
    """The one answer to whoever is not who they say, so that it tells nothing."""
    return SignInRefused("The name or the password is wrong.")
