"""Operations on the personal instructions and memories of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Deleted, Listed, MemoriesDeleted, Operation, select_given_fields
from antiphon.engine import personal
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import Store
from antiphon.runtime.responses import OperationHandler
from antiphon.types.accounts import Principal
from antiphon.types.errors import Conflict
from antiphon.types.ids import Mint
from antiphon.types.personal import Memory, PersonalRecord, PersonalSettings
from antiphon.types.runs import Run, Thread


class PersonalService:
    """Reads and changes what models know about the caller; all of it is the caller's own."""

    def __init__(self, store: Store, mint: Mint) -> None:
        self._store = store
        self._mint = mint
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.GetPersonalSettings: self._get_settings,
            operations.UpdatePersonalSettings: self._update_settings,
            operations.ListMemories: self._list,
            operations.CreateMemory: self._create,
            operations.UpdateMemory: self._update,
            operations.DeleteMemory: self._delete,
            operations.DeleteMemories: self._delete_all,
        }

    async def _get_settings(
        self, _operation: operations.GetPersonalSettings, by: Principal, _: IdempotencyKey | None
    ) -> PersonalSettings:
        return (await self._store.personal(by.owner)).settings

    async def _update_settings(
        self, operation: operations.UpdatePersonalSettings, by: Principal, _: IdempotencyKey | None
    ) -> PersonalSettings:
        changes = select_given_fields(operation, but="")
        if "instructions" in changes:
            changes["instructions"] = personal.validate_instructions(changes["instructions"])
        now = await self._store.now()

        def amend(before: PersonalRecord) -> PersonalRecord:
            settings = replace(before.settings, **changes)
            if settings != before.settings:
                settings = replace(settings, updated_at=now)
            return replace(before, settings=settings)

        return (await self._store.change_personal(by.owner, amend)).settings

    async def _list(
        self, _operation: operations.ListMemories, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Memory]:
        return Listed((await self._store.personal(by.owner)).memories, has_more=False)

    async def _create(
        self, operation: operations.CreateMemory, by: Principal, _: IdempotencyKey | None
    ) -> Memory:
        now = await self._store.now()
        memory = Memory(
            id=self._mint("mem"),
            text=personal.validate_memory(operation.text),
            created_at=now,
            updated_at=now,
        )
        if operation.run_id is not None:
            run = await self._store.get(Run, by.owner, operation.run_id)
            thread = await self._store.get(Thread, by.owner, run.thread_id)
            if thread.temporary:
                raise Conflict(
                    "Nothing is remembered of a temporary conversation.",
                    expected="a run in a thread that is not temporary",
                    received=f"{run.id}, in the temporary thread {thread.id}",
                )
            memory = replace(memory, source="assistant", run_id=run.id, thread_id=thread.id)
        await self._store.change_personal(
            by.owner, lambda before: personal.add_memory(before, memory)
        )
        return memory

    async def _update(
        self, operation: operations.UpdateMemory, by: Principal, _: IdempotencyKey | None
    ) -> Memory:
        text = personal.validate_memory(operation.text)
        now = await self._store.now()
        changed = await self._store.change_personal(
            by.owner, lambda before: personal.change_memory(before, operation.memory_id, text, now)
        )
        return personal.find_memory(changed, operation.memory_id)

    async def _delete(
        self, operation: operations.DeleteMemory, by: Principal, _: IdempotencyKey | None
    ) -> Deleted:
        await self._store.change_personal(
            by.owner, lambda before: personal.delete_memory(before, operation.memory_id)
        )
        return Deleted(operation.memory_id)

    async def _delete_all(
        self, _operation: operations.DeleteMemories, by: Principal, _: IdempotencyKey | None
    ) -> MemoriesDeleted:
        deleted = 0

        def amend(before: PersonalRecord) -> PersonalRecord:
            nonlocal deleted
            deleted = len(before.memories)
            return replace(before, memories=())

        await self._store.change_personal(by.owner, amend)
        return MemoriesDeleted(deleted)
