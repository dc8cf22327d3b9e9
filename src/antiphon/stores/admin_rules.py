"""Decisions about accounts, projects, keys and usage that every store makes alike.

Pure functions: a store reads the records, calls one of these, and writes its result in the same
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from antiphon.engine.accounts import normalize_name
from antiphon.engine.snapshot import RequestUsage
from antiphon.ports import AmendAccount, AmendKey, AmendProject
from antiphon.types.accounts import Account, Key, Person, Project, UsageRow, day
from antiphon.types.chat_imports import ImportClaim, StoredImport
from antiphon.types.errors import Conflict, Fenced, NotFound
from antiphon.types.runs import DOLLAR_DIGITS, Run, Usage

T = TypeVar("T")

SECOND_DIGITS = 3
"""Decimal places of seconds of audio."""


# Accounts and projects.


@dataclass(frozen=True)
class Amendment(Generic[T]):
    """The record after a change, None if it is removed, and the writes that follow.

    Nothing is written and no audit entry is appended unless `is_change`. With `revokes_keys` the
    keys of the person or project are revoked in the same transaction.
    """

    after: T | None
    is_change: bool
    revokes_keys: bool


def amend_account(
    account: Account, amend: AmendAccount, *, has_other_admin: bool
) -> Amendment[Account]:
    """Apply the change; an account that is removed or disabled loses its keys."""
    after = amend(account, has_other_admin)
    return Amendment(after, after != account, after is None or after.person.disabled)


def amend_project(project: Project, amend: AmendProject) -> Amendment[Project]:
    """Apply the change; a project that is removed or disabled loses its keys."""
    after = amend(project)
    return Amendment(after, after != project, after is None or after.disabled)


def account_columns(account: Account) -> dict[str, Any]:
    """Return the columns of an account in a database; names are unique without case."""
    person = account.person
    return {
        "id": person.id,
        "folded": normalize_name(person.name),
        "subject": person.subject,
        "governs": person.is_admin,
        "password": account.password,
        "doc": msgspec.json.encode(person),
    }


def project_columns(project: Project) -> dict[str, Any]:
    """Return the columns of a project in a database; names are unique without case."""
    return {
        "id": project.id,
        "folded": normalize_name(project.name),
        "doc": msgspec.json.encode(project),
    }


def require_enabled(*holders: Project | Person | None) -> None:
    """Raise `Conflict` if one of these is disabled: no key may be added for it.

    Most owners are neither a project nor a person.
    """
    for holder in holders:
        if holder is not None and holder.disabled:
            raise Conflict(
                f"{holder.name} ({holder.id}) is disabled.",
                expected="a project or a person that is not",
                hint="Enable them first.",
            )


def person_conflict(person: Person) -> Conflict:
    """Return the error for a name or a subject that another person has."""
    return Conflict(
        f"Somebody is called {person.name} already, or logs in as the same person.",
        expected="a name and a subject that nobody has",
        hint="Choose another name.",
    )


def project_conflict(project: Project) -> Conflict:
    """Return the error for a name that another project has."""
    return Conflict(
        f"A project is called {project.name} already.",
        expected="a name that no project has",
        hint="Choose another name.",
    )


# Keys.


def amend_keys(keys: Iterable[Key], amend: AmendKey) -> Sequence[Key]:
    """Return the new keys, without those that the change leaves as they are."""
    return [after for key in keys if (after := amend(key)) != key]


def revoke_at(now: int) -> AmendKey:
    """Return a change that revokes a key, and leaves a revoked one as it is."""
    return lambda key: key if key.revoked_at is not None else replace(key, revoked_at=now)


def anonymize_at(now: int) -> AmendKey:
    """Return a change that revokes a key and removes its name and its person."""
    return lambda key: replace(revoke_at(now)(key), name="", person_id=None)


def provider_key_not_found(owner: str, provider: str) -> NotFound:
    """Return the error for a provider key that an owner does not have."""
    return NotFound(f"{owner} has no key of their own for {provider}.")


# Usage.


def count_new_tokens(before: Run | None, after: Run) -> int:
    """Return the tokens that a run has used since it was stored last."""
    used = before.usage if before else Usage()
    return _total_tokens(after.usage) - _total_tokens(used)


def count_request_tokens(request: RequestUsage) -> int:
    """Return the tokens that a request outside a run has used."""
    return _total_tokens(request.usage)


def _total_tokens(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens


def usage_of_run(owner: str, run: Run, now: int) -> UsageRow:
    """Return the usage that a run adds to the day on which it ended."""
    usage = run.usage
    is_priced = usage.cost is not None or not _total_tokens(usage)
    return UsageRow(
        day=day(run.ended_at or now),
        owner=owner,
        model=run.model,
        runs=1,
        unpriced=0 if is_priced else 1,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost=usage.cost or 0.0,
    )


def usage_of_request(owner: str, request: RequestUsage, now: int) -> UsageRow:
    """Return the usage that a request outside a run adds to its day; it is no run.

    A request without a known cost is unpriced, so that reports show it.
    """
    usage = request.usage
    return UsageRow(
        day=day(now),
        owner=owner,
        model=request.model,
        unpriced=int(usage.cost is None),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost=usage.cost or 0.0,
        audio_seconds=request.audio_seconds,
    )


def add_usage(one: UsageRow | None, other: UsageRow) -> UsageRow:
    """Return the sum of two rows of the same day, owner and model."""
    if one is None:
        return other
    sums = {name: getattr(one, name) + getattr(other, name) for name in _COUNTS}
    return _round_sums(replace(other, **sums))


def larger_usage(one: UsageRow | None, other: UsageRow) -> UsageRow:
    """Return the larger of each number in two rows of the same day, owner and model."""
    if one is None:
        return other
    return replace(
        other, **{name: max(getattr(one, name), getattr(other, name)) for name in _COUNTS}
    )


def decode_usage(columns: Iterable[Any]) -> UsageRow:
    """Return a row of usage from its columns; sums of fractions are rounded."""
    return _round_sums(UsageRow(**dict(zip(UsageRow.__struct_fields__, columns, strict=True))))


def _round_sums(row: UsageRow) -> UsageRow:
    cost, seconds = round(row.cost, DOLLAR_DIGITS), round(row.audio_seconds, SECOND_DIGITS)
    return replace(row, cost=cost, audio_seconds=seconds)


_COUNTS = tuple(
    name for name in UsageRow.__struct_fields__ if name not in ("day", "owner", "model")
)


# Webhooks.


def webhook_limit_error(limit: int) -> Conflict:
    """Return the error for one webhook too many."""
    return Conflict(
        "This owner has as many webhooks as an owner may have.",
        expected=f"at most {limit}, by the setting max_webhooks",
        received="one more",
        hint="Delete one, or let one webhook receive more types of events.",
    )


def webhook_disabled_error() -> Conflict:
    """Return the error for sending something to a disabled webhook."""
    return Conflict(
        "The webhook is disabled.",
        expected="an enabled webhook",
        hint="Enable it first: what waits for it is then sent.",
    )


# Limits of owners, and the claim of an import.


def import_limit_error() -> Conflict:
    """Return the error for a second import of chats at a time."""
    return Conflict(
        "An import of chats goes on already.",
        expected="one at a time",
        hint="Wait for its end, or cancel it.",
    )


def check_import_claim(stored: StoredImport | None, claim: ImportClaim) -> None:
    """Raise `Fenced` if the worker has lost the import, or its owner was erased."""
    if stored is None or not stored.is_held_by(claim.worker):
        raise Fenced(f"The import {claim.import_id} has ended, or another worker has it.")


def publication_limit_error(limit: int) -> Conflict:
    """Return the error for one published assistant too many."""
    return Conflict(
        "This owner has published as many assistants as an owner may.",
        expected=f"at most {limit} published assistants",
        hint="Take one back, then publish this one.",
    )


def share_limit_error(limit: int) -> Conflict:
    """Return the error for one share too many."""
    return Conflict(
        "This owner shares as many conversations as an owner may.",
        expected=f"at most {limit} links, by the setting max_shares",
        received="one more",
        hint="Revoke one first.",
    )


def schedule_limit_error(limit: int) -> Conflict:
    """Return the error for one schedule too many."""
    return Conflict(
        "This owner has as many schedules as an owner may have.",
        expected=f"at most {limit}, by the setting max_schedules",
        received="one more",
        hint="Delete one first.",
    )
