"""Operations on owners: what they have, their provider keys, export and deletion."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

from antiphon.api import operations
from antiphon.api.operations import Deleted, Erasure, Listed, Operation, OwnerImport
from antiphon.engine import sanitize
from antiphon.ports import AdminStore
from antiphon.runtime.admin.deletion import OwnerDeleter
from antiphon.runtime.admin.export import Archive, OwnerExporter
from antiphon.runtime.admin.import_owner import OwnerImporter, Tell, quiet
from antiphon.runtime.admin.provider_keys import ProviderKeyService
from antiphon.types.accounts import OwnerProviderKey, OwnerTotals, Principal, ProviderKey

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
        check: CheckProviderKey,
        eraser: OwnerDeleter,
        exporter: OwnerExporter,
        importer: OwnerImporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keys = keys
        self._check = check
        self._eraser = eraser
        self._exporter = exporter
        self._importer = importer
        self._clock = clock
        self.handlers: Mapping[type[Operation[Any]], Callable[[Any, Principal], Awaitable[Any]]] = {
            operations.SetProviderKey: self._set_own_key,
            operations.ListProviderKeys: self._list_own_keys,
            operations.DeleteProviderKey: self._delete_own_key,
            operations.SetOwnersProviderKey: self._set_key,
            operations.ListAllProviderKeys: self._list_keys,
            operations.ListOwners: self._list_owners,
            operations.EraseOwner: self._erase,
        }

    async def dispatch(self, call: Operation[A], by: Principal) -> A:
        """Execute the operation."""
        answer: A = await self.handlers[type(call)](call, by)
        return answer

    async def reencrypt_keys(self, by: Principal) -> int:
        """Encrypt again with the current key what an older key encrypted; return how many keys."""
        return await self._keys.reencrypt(by)

    async def export(self, call: operations.ExportOwner, by: Principal) -> Archive:
        """Return everything of an owner as an archive. Raises `NotFound`."""
        return await self._exporter.begin(sanitize.validate_owner(call.owner), by)

    async def import_owner(
        self, call: operations.ImportOwner, path: Path, by: Principal, tell: Tell = quiet
    ) -> OwnerImport:
        """Import the archive at this path. Raises as `OwnerImporter.run`."""
        return await self._importer.run(call, path, by, tell)

    async def _set_own_key(self, call: operations.SetProviderKey, by: Principal) -> ProviderKey:
        return await self._set(by.owner, call.provider, OwnerProviderKey(key=call.key), by)

    async def _set_key(self, call: operations.SetOwnersProviderKey, by: Principal) -> ProviderKey:
        own = OwnerProviderKey(key=call.key, base_url=call.base_url)
        return await self._set(sanitize.validate_owner(call.owner), call.provider, own, by)

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
        self, _call: operations.ListAllProviderKeys, _: Principal
    ) -> Listed[ProviderKey]:
        return Listed(await self._keys.list(None), has_more=False)

    async def _delete_own_key(self, call: operations.DeleteProviderKey, by: Principal) -> Deleted:
        await self._keys.delete(by.owner, call.provider, by)
        return Deleted(call.provider)

    async def _list_owners(self, call: operations.ListOwners, _: Principal) -> Listed[OwnerTotals]:
        page = await self._store.owners(call.limit, call.after, call.owner)
        last = page.data[-1].owner if page.data and page.has_more else None
        return Listed(tuple(page.data), has_more=page.has_more, next=last)

    async def _erase(self, call: operations.EraseOwner, by: Principal) -> Erasure:
        owner, ends, erased = sanitize.validate_owner(call.owner), self._clock() + ERASE_SECONDS, 0
        async with aclosing(self._eraser.delete(owner, by)) as batches:
            async for erased in batches:
                if self._clock() >= ends:
                    return Erasure(owner, erased, done=False)
        return Erasure(owner, erased, done=True)
