"""PersonalStore: personal settings and memories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from antiphon.ports.records import RecordStore
from antiphon.types.personal import PersonalRecord

AmendPersonal = Callable[[PersonalRecord], PersonalRecord]
"""Pure function from the settings and memories of an owner to the new ones."""


class PersonalStore(RecordStore, Protocol):
    """Stores the personal settings and the memories of owners, one record of each owner."""

    async def personal(self, owner: str) -> PersonalRecord:
        """Return the record of an owner, which is empty if nothing was written."""
        ...

    async def change_personal(self, owner: str, amend: AmendPersonal) -> PersonalRecord:
        """Replace the record by the result of `amend`; an exception changes nothing and is raised.

        Changes of one owner that come at once are made one after the other.
        """
        ...
