"""What administrators do, as the audit log keeps it: who, what, to what, when, and never a secret.

Details are ids and words of ours. What people chose, as names are, may have to be erased; what was
done stays.
"""

from __future__ import annotations

import getpass
from contextlib import suppress
from typing import Protocol

from antiphon.types.accounts import LOCAL, Act, Deed, Principal
from antiphon.types.ids import Mint


class StoreClock(Protocol):
    """Tells the store's time."""

    async def now(self) -> int:
        """Ms since 1970."""
        ...


async def create_entry(
    clock: StoreClock,
    mint: Mint,
    by: Principal,
    what: Deed,
    target: str,
    owner: str | None = None,
    **details: str,
) -> Act:
    """The act, to be kept in the transaction that does it; `owner` is whose the target is."""
    return Act(
        id=mint("audit"),
        at=await clock.now(),
        actor=by.actor,
        what=what,
        target=target,
        owner=owner,
        details={**details, **_behind(by)},
    )


def _behind(by: Principal) -> dict[str, str]:
    """Who the actor was, where its name alone does not say."""
    if by.key_id not in (None, by.actor):
        return {"key": str(by.key_id)}
    return {"user": _user()} if by.actor == LOCAL else {}


def _user() -> str:
    with suppress(OSError, KeyError):  # an account that the machine has no name for
        return getpass.getuser()
    return "unknown"
