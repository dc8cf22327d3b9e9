"""Personal settings and memories in memory."""

from __future__ import annotations

from antiphon.ports import AmendPersonal
from antiphon.stores.invariants import Clock
from antiphon.stores.memory.admin import MemoryAdministration
from antiphon.types.personal import NOTHING_PERSONAL, PersonalRecord


class MemoryPersonal(MemoryAdministration):
    """`PersonalStore`; an owner that has written nothing has no record."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._personal: dict[str, PersonalRecord] = {}

    async def personal(self, owner: str) -> PersonalRecord:
        """See `PersonalStore.personal`."""
        return self._find_personal(owner)

    def _find_personal(self, owner: str) -> PersonalRecord:
        return self._personal.get(owner, NOTHING_PERSONAL)

    async def change_personal(self, owner: str, amend: AmendPersonal) -> PersonalRecord:
        """See `PersonalStore.change_personal`."""
        changed = amend(await self.personal(owner))
        if changed == NOTHING_PERSONAL:
            self._delete_personal(owner)
        else:
            self._personal[owner] = changed
        return changed

    def _delete_personal(self, owner: str) -> int:
        """Delete the record of an owner; return how many there were."""
        return 0 if self._personal.pop(owner, None) is None else 1
