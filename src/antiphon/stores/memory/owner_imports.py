"""Imports of owners in memory: records of an archive, which are given to their owner at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from antiphon.stores import invariants
from antiphon.stores.memory.chat_imports import MemoryChatImports
from antiphon.stores.memory.records import MemoryRecords, StoredRecord, StoredRun, StoredThread
from antiphon.types.accounts import AuditEntry
from antiphon.types.chat_imports import ImportClaim
from antiphon.types.folders import Folder
from antiphon.types.imports import ImportBatch
from antiphon.types.messages import Upload
from antiphon.types.runs import Action, Assistant, Run, Thread

T = TypeVar("T")


class MemoryOwnerImports(MemoryRecords, MemoryChatImports):
    """`AdminStore` as far as it imports; a claim is that of an import of chats."""

    async def find_records(self, kind: type[T], ids: Sequence[str]) -> Mapping[str, tuple[str, T]]:
        """See `AdminStore.find_records`."""
        wanted = frozenset(ids)
        owned: Iterable[tuple[str, Any]] = (
            ((entry.owner or "", entry) for entry in self._audit_log)
            if kind is AuditEntry
            else self._records_of(kind)
        )
        found = {
            record.id: (record_owner, record)
            for record_owner, record in owned
            if record.id in wanted
        }
        return cast("dict[str, tuple[str, T]]", found)

    async def thread_families(self, thread_ids: Sequence[str]) -> Mapping[str, str]:
        """See `AdminStore.thread_families`."""
        found = {each: self._families.of(each) for each in thread_ids}
        return {each: family for each, family in found.items() if family != each}

    async def import_records(
        self, owner: str, batch: ImportBatch, claim: ImportClaim | None = None
    ) -> None:
        """See `AdminStore.import_records`."""
        self._check_claim(claim)
        self._check_ids_are_free(batch)
        for assistant in batch.assistants:
            self._records[Assistant][assistant.id] = StoredRecord(owner, assistant)
        for folder in batch.folders:
            self._records[Folder][folder.id] = StoredRecord(owner, folder)
        for upload, content in batch.uploads:
            self._records[Upload][upload.id] = StoredRecord(owner, upload, content)
        for thread, family in batch.threads:
            self._threads[thread.id] = StoredThread(owner, thread)
            self._families.put(thread.id, family)
        for message in batch.messages:
            self._threads[message.thread_id].messages.append(message)
            self._places[message.id] = next(self._next_place)
        for thread_id in {message.thread_id for message in batch.messages}:
            self._threads[thread_id].messages.sort(key=lambda each: each.number)
        for each in batch.runs:
            lease = invariants.lease_of_imported(each)
            self._runs[each.run.id] = StoredRun(owner, each.run, lease, each.run.created_at)
        for events_of in batch.events:
            self._runs[events_of.run_id].lines.extend(events_of.lines)
        self._actions.update({action.id: action for action in batch.actions})

    def _check_ids_are_free(self, batch: ImportBatch) -> None:
        there = (
            (Assistant, self._records[Assistant], (each.id for each in batch.assistants)),
            (Folder, self._records[Folder], (each.id for each in batch.folders)),
            (Upload, self._records[Upload], (each.id for each, _ in batch.uploads)),
            (Thread, self._threads, (each.id for each, _ in batch.threads)),
            (Run, self._runs, (each.run.id for each in batch.runs)),
            (Action, self._actions, (each.id for each in batch.actions)),
        )
        for kind, known, ids in there:
            for each in ids:
                if each in known:
                    raise invariants.import_conflict(f"{kind.__name__.lower()} {each}")
        places = {
            taken
            for stored in self._threads.values()
            for each in stored.messages
            for taken in (each.id, (each.thread_id, each.number))
        }
        for message in batch.messages:
            if not places.isdisjoint((message.id, (message.thread_id, message.number))):
                raise invariants.import_conflict(f"message {message.id}")

    async def transfer_owned(
        self, owner: str, to: str, limit: int, claim: ImportClaim | None = None
    ) -> int:
        """See `AdminStore.transfer_owned`; transfers everything at once."""
        self._check_claim(claim)
        given = 0
        for there in (*self._records.values(), self._threads, self._runs):
            for stored in cast(
                "dict[str, StoredRecord | StoredThread | StoredRun]", there
            ).values():
                if stored.owner == owner:
                    stored.owner = to
                    given += not isinstance(stored, StoredRun)
        return given
