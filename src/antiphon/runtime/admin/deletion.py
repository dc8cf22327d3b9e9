"""Deletes everything of an owner in batches, so that other users do not have to wait.

A deletion that was interrupted is finished by requesting it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial

from antiphon.engine import accounts, transitions
from antiphon.ports import LEASES, Bus, ReadSet, Store
from antiphon.runtime.admin import audit
from antiphon.runtime.notify import commit_in_parts
from antiphon.types.accounts import Account, Principal
from antiphon.types.errors import Conflict, NotFound
from antiphon.types.ids import Mint

BATCH = 500  # records deleted in one transaction
PAGE = 100
SETTLE_SECONDS = 3.0  # until revoked keys and cancelled runs have ended in every process


class OwnerDeleter:
    """Deletes owners; keys and runs that were just ended may still act for `settle` seconds."""

    def __init__(
        self, store: Store, bus: Bus, mint: Mint, *, settle: float = SETTLE_SECONDS
    ) -> None:
        self._store = store
        self._bus = bus
        self._mint = mint
        self._settle = settle

    async def delete(self, owner: str, by: Principal) -> AsyncGenerator[int, None]:
        """Yield the number of deleted records after each batch; end when nothing is left.

        A person is deleted with what they own, and so is a project. Raises `Conflict` for the last
        admin, and for the owner of the key that asks.
        """
        await self._check_not_own(owner, by)
        erased = 0
        for again in (False, True):
            ended = await self._stop_everything(owner, by)
            if not again:
                await self._store.append_audit_entry(
                    await audit.create_entry(
                        self._store, self._mint, by, "owner.erased", owner, owner
                    )
                )
            while deleted := await self._store.delete_owned(owner, BATCH):
                erased += deleted
                yield erased
            if again or not ended:
                return
            # A request that was admitted just before may have created records since.
            await asyncio.sleep(self._settle)

    async def _stop_everything(self, owner: str, by: Principal) -> bool:
        """Stop everything of the owner's; return whether anything could have been active."""
        removed = await self._remove_person(owner, by)
        removed = await self._remove_project(owner, by) or removed
        revoked = await self._revoke_keys(owner, by)
        return await self._stop_runs(owner) or removed or revoked

    async def _check_not_own(self, owner: str, by: Principal) -> None:
        own = [key for key in await self._store.keys() if key.id == by.key_id]
        if own and own[0].owner == owner:
            raise Conflict(
                "The key that asks is one of this owner's, and would end with them.",
                expected="an admin key of somebody else's",
            )

    async def _remove_person(self, owner: str, by: Principal) -> bool:
        def amend(account: Account, others: bool) -> None:
            accounts.validate_admin_remains(account.person, None, others=others)

        act = await audit.create_entry(self._store, self._mint, by, "person.removed", owner, owner)
        try:
            await self._store.change_person(owner, amend, act)
        except NotFound:  # most owners are no people
            return False
        return True

    async def _remove_project(self, owner: str, by: Principal) -> bool:
        act = await audit.create_entry(self._store, self._mint, by, "project.removed", owner, owner)
        try:
            await self._store.change_project(owner, lambda _: None, act)
        except NotFound:
            return False
        return True

    async def _revoke_keys(self, owner: str, by: Principal) -> bool:
        standing = [
            key for key in await self._store.keys() if key.owner == owner and key.revoked_at is None
        ]
        for key in standing:
            act = await audit.create_entry(
                self._store, self._mint, by, "key.revoked", key.id, owner
            )
            await self._store.revoke_key(key.id, act)
        return bool(standing)

    async def _stop_runs(self, owner: str) -> bool:
        """Cancel all active runs; return whether there were any."""
        stopped, after = False, None
        while True:
            page = await self._store.live_runs(PAGE, after)
            for whose, run in page.data:
                if whose == owner:
                    stopped = True
                    await self._cancel_run(owner, run.id)
            if not page.has_more:
                return stopped
            after = page.data[-1][1].id

    async def _cancel_run(self, owner: str, run_id: str) -> None:
        about = ReadSet(owner=owner, run_id=run_id, turn_log=True, what="cancel")
        with suppress(NotFound):  # deleted meanwhile
            await commit_in_parts(self._store, about, partial(transitions.cancel, mint=self._mint))
        self._bus.notify(run_id)
        self._bus.notify(LEASES)
