"""Imports of other chats' exports in memory."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from antiphon.engine.chat_imports import check_ended, due_at
from antiphon.ports import AmendImport
from antiphon.stores import admin_rules, invariants
from antiphon.stores.invariants import Clock
from antiphon.stores.memory.admin import MemoryAdministration, delete_all
from antiphon.types.chat_imports import ENDED, ChatImport, ImportClaim, StoredImport


class MemoryChatImports(MemoryAdministration):
    """`ChatImportStore`; the table has the oldest first."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._chat_imports: dict[str, StoredImport] = {}
        self._import_pieces: dict[str, dict[int, bytes]] = {}

    async def add_chat_import(self, stored: StoredImport, keep: int) -> None:
        """See `ChatImportStore.add_chat_import`."""
        own = list(await self.chat_imports(stored.owner))
        if any(each.record.status not in ENDED for each in own):
            raise admin_rules.import_limit_error()
        old = [each.record.id for each in own[keep:] if due_at(each) is None]
        delete_all(self._chat_imports, old)
        self._chat_imports[stored.record.id] = stored

    async def chat_imports(self, owner: str) -> Sequence[StoredImport]:
        """See `ChatImportStore.chat_imports`."""
        return [each for each in self._chat_imports.values() if each.owner == owner][::-1]

    async def due_chat_imports(self, now: int, limit: int) -> Sequence[StoredImport]:
        """See `ChatImportStore.due_chat_imports`."""
        times = [(due_at(each), each) for each in self._chat_imports.values()]
        due = [(at, each) for at, each in times if at is not None and at <= now]
        return [each for _, each in sorted(due, key=itemgetter(0))][:limit]

    async def find_chat_import(self, owner: str, import_id: str) -> StoredImport:
        """See `ChatImportStore.find_chat_import`."""
        stored = self._chat_imports.get(import_id)
        if stored is None or stored.owner != owner:
            raise invariants.not_found(ChatImport, import_id)
        return stored

    async def change_chat_import(
        self, owner: str, import_id: str, amend: AmendImport
    ) -> StoredImport:
        """See `ChatImportStore.change_chat_import`."""
        changed = amend(await self.find_chat_import(owner, import_id))
        self._chat_imports[import_id] = changed
        return changed

    async def add_import_piece(
        self, owner: str, import_id: str, offset: int, content: bytes, amend: AmendImport
    ) -> StoredImport:
        """See `ChatImportStore.add_import_piece`."""
        changed = amend(await self.find_chat_import(owner, import_id))
        self._chat_imports[import_id] = changed
        self._import_pieces.setdefault(import_id, {})[offset] = content
        return changed

    async def import_piece(self, import_id: str, offset: int) -> bytes | None:
        """See `ChatImportStore.import_piece`."""
        return self._import_pieces.get(import_id, {}).get(offset)

    async def delete_import_pieces(self, import_id: str) -> int:
        """See `ChatImportStore.delete_import_pieces`; deletes all at once."""
        return len(self._import_pieces.pop(import_id, {}))

    async def delete_chat_import(self, owner: str, import_id: str) -> None:
        """See `ChatImportStore.delete_chat_import`."""
        check_ended(await self.find_chat_import(owner, import_id))
        self._import_pieces.pop(import_id, None)
        delete_all(self._chat_imports, [import_id])

    def _check_claim(self, claim: ImportClaim | None) -> None:
        """Raise `Fenced` if the worker has lost the import."""
        if claim is not None:
            stored = self._chat_imports.get(claim.import_id)
            admin_rules.check_import_claim(stored, claim)

    def _delete_chat_imports(self, owner: str) -> int:
        """Delete the imports of an owner that have ended; return how many there were."""
        own = [
            key
            for key, each in self._chat_imports.items()
            if each.owner == owner and each.record.status in ENDED
        ]
        for import_id in own:
            self._import_pieces.pop(import_id, None)
        return delete_all(self._chat_imports, own)
