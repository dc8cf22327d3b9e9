"""Operations on folders of threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Deleted, Operation, field_values, select_given_fields
from antiphon.engine import validation
from antiphon.engine.snapshot import ChangeSet, IdempotencyKey, ReadSet, Snapshot
from antiphon.ports import LEASES, Bus, RunStore
from antiphon.runtime.responses import OperationHandler, paginate
from antiphon.runtime.stored_files import check_files
from antiphon.types.accounts import Principal
from antiphon.types.errors import NotFound
from antiphon.types.folders import Folder
from antiphon.types.ids import Mint
from antiphon.types.runs import Thread

PAGE = 100


class FolderService:
    """Creates, reads, changes and deletes folders."""

    def __init__(self, store: RunStore, bus: Bus, mint: Mint) -> None:
        self._store = store
        self._bus = bus
        self._mint = mint
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.CreateFolder: self._create_folder,
            operations.ListFolders: lambda operation, by, _: paginate(
                store, Folder, by.owner, **field_values(operation)
            ),
            operations.GetFolder: lambda operation, by, _: store.get(
                Folder, by.owner, operation.folder_id
            ),
            operations.UpdateFolder: self._update_folder,
            operations.DeleteFolder: self._delete_folder,
        }

    async def _create_folder(
        self, operation: operations.CreateFolder, by: Principal, once: IdempotencyKey | None
    ) -> object:
        name = validation.parse_folder_name(operation.name)
        await check_files(self._store, by.owner, operation.file_ids)
        now = await self._store.now()
        fields: dict[str, Any] = {**field_values(operation), "name": name}
        folder = Folder(id=self._mint("folder"), created_at=now, updated_at=now, **fields)
        return await self._store.put(by.owner, folder, once)

    async def _update_folder(
        self, operation: operations.UpdateFolder, by: Principal, _: IdempotencyKey | None
    ) -> Folder:
        changes = select_given_fields(operation, but="folder_id")
        if "name" in changes:
            changes["name"] = validation.parse_folder_name(changes["name"])
        await check_files(self._store, by.owner, changes.get("file_ids", ()))
        changes["updated_at"] = await self._store.now()
        return await self._store.update_record(
            Folder, by.owner, operation.folder_id, lambda folder: replace(folder, **changes)
        )

    async def _delete_folder(
        self, operation: operations.DeleteFolder, by: Principal, _: IdempotencyKey | None
    ) -> Deleted:
        await self._store.get(Folder, by.owner, operation.folder_id)
        await self._empty(operation, by.owner)
        await self._store.delete(Folder, by.owner, operation.folder_id)
        await self._empty(operation, by.owner)  # of threads that were put in meanwhile
        return Deleted(operation.folder_id)

    async def _empty(self, operation: operations.DeleteFolder, owner: str) -> None:
        """Delete the folder's threads or take them out, one in a transaction."""
        more = True
        while more:
            page = await self._store.list(Thread, owner, limit=PAGE, folder_id=operation.folder_id)
            more = page.has_more
            for thread in page.data:
                try:
                    if operation.delete_threads:
                        await self._store.delete(Thread, owner, thread.id)
                        self._bus.notify(LEASES)
                    else:
                        await take_out(self._store, owner, thread.id, operation.folder_id)
                except NotFound:  # deleted meanwhile
                    continue


async def take_out(store: RunStore, owner: str, thread_id: str, folder_id: str) -> None:
    """Remove the thread from the folder, if it is in it. Raises `NotFound`."""

    def decide(records: Snapshot) -> ChangeSet | None:
        thread = records.thread
        if thread is None:
            raise NotFound("There is no such thread.")
        if thread.folder_id != folder_id:
            return None
        return ChangeSet(thread=replace(thread, folder_id=None))

    await store.change(ReadSet(owner=owner, thread_id=thread_id, what="thread"), decide)
