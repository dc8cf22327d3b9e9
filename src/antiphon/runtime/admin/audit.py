"""Entries of the audit log: actor, action, target and time, never a secret.

Details are ids and fixed words. Names, which people chose, may have to be erased; the entry stays.
"""

from __future__ import annotations

import getpass
from typing import Protocol

from antiphon.types.accounts import LOCAL, AuditAction, AuditEntry, Principal
from antiphon.types.ids import Mint


class StoreClock(Protocol):
    """Source of the store's time."""

    async def now(self) -> int:
        """Return ms since 1970."""
        ...


async def create_entry(
    clock: StoreClock,
    mint: Mint,
    by: Principal,
    what: AuditAction,
    target: str,
    owner: str | None = None,
    **details: str,
) -> AuditEntry:
    """Return an audit entry for the transaction that does the action; `owner` owns the target."""
    return AuditEntry(
        id=mint("audit"),
        at=await clock.now(),
        actor=by.actor,
        what=what,
        target=target,
        owner=owner,
        details={**details, **_actor_details(by)},
    )


def _actor_details(by: Principal) -> dict[str, str]:
    """Return details that identify the actor where its id alone does not."""
    if by.key_id not in (None, by.actor):
        return {"key": str(by.key_id)}
    if by.actor != LOCAL:
        return {}
    try:
        return {"user": getpass.getuser()}
    except (OSError, KeyError):  # an account that the machine has no name for
        return {"user": "unknown"}
