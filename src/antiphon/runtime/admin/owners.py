"""Operations on owners: what they have, their provider keys, export and deletion."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from typing import IO, Any, TypeVar

from antiphon.api import operations
from antiphon.api.operations import Deleted, Erasure, Listed, Operation, OwnerImport
from antiphon.engine import accounts, chat_imports, sanitize, transitions
from antiphon.engine.snapshot import ReadSet
from antiphon.ports import LEASES, AdminStore, Bus, Store
from antiphon.runtime.admin import audit
from antiphon.runtime.admin.export import Archive, OwnerExporter
from antiphon.runtime.admin.import_check import OnImportStep, ignore_step
from antiphon.runtime.admin.import_owner import OwnerImporter
from antiphon.runtime.admin.provider_keys import ProviderKeyService
from antiphon.runtime.admin.webhook_secrets import WebhookSecretService
from antiphon.runtime.notify import commit_in_parts
from antiphon.types.accounts import Account, OwnerProviderKey, OwnerTotals, Principal, ProviderKey
from antiphon.types.chat_imports import ENDED
from antiphon.types.errors import Conflict, NotFound
from antiphon.types.ids import Mint

A = TypeVar("A")

ERASE_SECONDS = 10.0  # of one request, before it returns its progress

CheckProviderKey = Callable[[str, OwnerProviderKey], None]
"""Raises `InvalidRequest` for a key that no provider of this name could use."""


class OwnerService:
    """Executes operations on all owners, and each owner's operations on their provider keys."""

    def __init__(
        self,
        store: AdminStore,
        keys: ProviderKeyService,
        webhook_secrets: WebhookSecretService,
        check: CheckProviderKey,
        eraser: OwnerDeleter,
        exporter: OwnerExporter,
        importer: OwnerImporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keys = keys
        self._webhook_secrets = webhook_secrets
        self._check = check
        self._eraser = eraser
        self._exporter = exporter
        self._importer = importer
        self._clock = clock
        self.handlers: Mapping[type[Operation[Any]], Callable[[Any, Principal], Awaitable[Any]]] = {
            operations.SetProviderKey: lambda operation, by: self._set(
                by.owner, operation.provider, OwnerProviderKey(key=operation.key), by
            ),
            operations.ListProviderKeys: self._list_own_keys,
            operations.DeleteProviderKey: self._delete_own_key,
            operations.SetOwnersProviderKey: self._set_key,
            operations.ListAllProviderKeys: self._list_keys,
            operations.ListOwners: self._list_owners,
            operations.EraseOwner: self._erase,
        }

    async def dispatch(self, operation: Operation[A], by: Principal) -> A:
        """Execute the operation."""
        answer: A = await self.handlers[type(operation)](operation, by)
        return answer

    async def reencrypt_keys(self, by: Principal) -> int:
        """Encrypt again with the current key what an older key encrypted; return how many secrets.

        These are provider keys, and secrets of webhooks.
        """
        return await self._keys.reencrypt(by) + await self._webhook_secrets.reencrypt(by)

    async def export(self, operation: operations.ExportOwner, by: Principal) -> Archive:
        """Return everything of an owner as an archive. Raises `NotFound`."""
        return await self._exporter.begin(sanitize.validate_owner(operation.owner), by)

    async def import_owner(
        self,
        operation: operations.ImportOwner,
        file: IO[bytes],
        by: Principal,
        on_step: OnImportStep = ignore_step,
    ) -> OwnerImport:
        """Import the archive in this file, which is seekable. Raises as `OwnerImporter.run`."""
        return await self._importer.run(operation, file, by, on_step)

    async def _set_key(
        self, operation: operations.SetOwnersProviderKey, by: Principal
    ) -> ProviderKey:
        own = OwnerProviderKey(key=operation.key, base_url=operation.base_url)
        return await self._set(
            sanitize.validate_owner(operation.owner), operation.provider, own, by
        )

    async def _set(
        self, owner: str, provider: str, own: OwnerProviderKey, by: Principal
    ) -> ProviderKey:
        self._check(provider, own)
        return await self._keys.put(owner, provider, own, by)

    async def _list_own_keys(
        self, _: operations.ListProviderKeys, by: Principal
    ) -> Listed[ProviderKey]:
        return Listed(await self._keys.list(by.owner), has_more=False)

    async def _list_keys(
        self, _operation: operations.ListAllProviderKeys, _: Principal
    ) -> Listed[ProviderKey]:
        return Listed(await self._keys.list(None), has_more=False)

    async def _delete_own_key(
        self, operation: operations.DeleteProviderKey, by: Principal
    ) -> Deleted:
        await self._keys.delete(by.owner, operation.provider, by)
        return Deleted(operation.provider)

    async def _list_owners(
        self, operation: operations.ListOwners, _: Principal
    ) -> Listed[OwnerTotals]:
        page = await self._store.owners(operation.limit, operation.after, operation.owner)
        last = page.data[-1].owner if page.data and page.has_more else None
        return Listed(tuple(page.data), has_more=page.has_more, next=last)

    async def _erase(self, operation: operations.EraseOwner, by: Principal) -> Erasure:
        owner, ends, erased = (
            sanitize.validate_owner(operation.owner),
            self._clock() + ERASE_SECONDS,
            0,
        )
        async with aclosing(self._eraser.delete(owner, by)) as batches:
            async for erased in batches:
                if self._clock() >= ends:
                    return Erasure(owner, erased, done=False)
        return Erasure(owner, erased, done=True)


# Deletion in batches, so that other users do not have to wait. One that was interrupted is finished
# by requesting it again.

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
            while deleted := await self._delete_batch(owner):
                erased += deleted
                yield erased
            if again or not ended:
                return
            # A request that was admitted just before may have created records since.
            await asyncio.sleep(self._settle)

    async def _delete_batch(self, owner: str) -> int:
        """Delete some records of the owner's, first those that an import has in staging.

        An import that was admitted just before may have begun to write since the last batch.
        """
        await self._stop_imports(owner)
        for stored in await self._store.chat_imports(owner):
            if stored.staging and (
                deleted := await self._store.delete_owned(stored.staging, BATCH)
            ):
                return deleted
        return await self._store.delete_owned(owner, BATCH)

    async def _stop_everything(self, owner: str, by: Principal) -> bool:
        """Stop everything of the owner's; return whether anything could have been active."""
        removed = await self._remove_person(owner, by)
        removed = await self._remove_project(owner, by) or removed
        revoked = await self._revoke_keys(owner, by)
        importing = await self._stop_imports(owner)
        return await self._stop_runs(owner) or importing or removed or revoked

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

        entry = await audit.create_entry(
            self._store, self._mint, by, "person.removed", owner, owner
        )
        try:
            await self._store.change_person(owner, amend, entry)
        except NotFound:  # most owners are no people
            return False
        return True

    async def _remove_project(self, owner: str, by: Principal) -> bool:
        entry = await audit.create_entry(
            self._store, self._mint, by, "project.removed", owner, owner
        )
        try:
            await self._store.change_project(owner, lambda _: None, entry)
        except NotFound:
            return False
        return True

    async def _revoke_keys(self, owner: str, by: Principal) -> bool:
        standing = [
            key for key in await self._store.keys() if key.owner == owner and key.revoked_at is None
        ]
        for key in standing:
            entry = await audit.create_entry(
                self._store, self._mint, by, "key.revoked", key.id, owner
            )
            await self._store.revoke_key(key.id, entry)
        return bool(standing)

    async def _stop_imports(self, owner: str) -> bool:
        """Cancel all imports of chats; return whether there were any. Their workers are fenced."""
        stopped = False
        for stored in await self._store.chat_imports(owner):
            if stored.record.status not in ENDED:
                amend = partial(chat_imports.revoke_import, now=await self._store.now())
                await self._store.change_chat_import(owner, stored.record.id, amend)
                stopped = True
        return stopped

    async def _stop_runs(self, owner: str) -> bool:
        """Cancel all active runs; return whether there were any."""
        stopped, after = False, None
        while True:
            page = await self._store.live_runs(PAGE, after)
            for run_owner, run in page.data:
                if run_owner == owner:
                    stopped = True
                    await self._cancel_run(owner, run.id)
            if not page.has_more:
                return stopped
            after = page.data[-1][1].id

    async def _cancel_run(self, owner: str, run_id: str) -> None:
        read_set = ReadSet(owner=owner, run_id=run_id, turn_log=True, what="cancel")
        with suppress(NotFound):  # deleted meanwhile
            await commit_in_parts(
                self._store, self._bus, read_set, partial(transitions.cancel, mint=self._mint)
            )
        self._bus.notify(run_id)
        self._bus.notify(LEASES)
