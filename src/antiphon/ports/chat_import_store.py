"""ChatImportStore: imports of other chats' exports, and the pieces of their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from antiphon.ports.records import RecordStore
from antiphon.types.chat_imports import StoredImport

AmendImport = Callable[[StoredImport], StoredImport]
"""Pure function from an import to the new one; what it raises changes nothing and is raised."""


class ChatImportStore(RecordStore, Protocol):
    """Stores imports. The pieces of a file are deleted when its import ends, and with its owner."""

    async def add_chat_import(self, stored: StoredImport, keep: int) -> None:
        """Add an import, and delete the owner's ended ones but for the newest `keep`.

        Raises `Conflict` if the owner has one that has not ended.
        """
        ...

    async def chat_imports(self, owner: str) -> Sequence[StoredImport]:
        """Return the imports of an owner, newest first."""
        ...

    async def active_chat_imports(self) -> Sequence[StoredImport]:
        """Return the imports of all owners that have not ended, oldest first."""
        ...

    async def find_chat_import(self, owner: str, import_id: str) -> StoredImport:
        """Return the import. Raises `NotFound`."""
        ...

    async def change_chat_import(
        self, owner: str, import_id: str, amend: AmendImport
    ) -> StoredImport:
        """Replace the import by the result of `amend`. Raises `NotFound`."""
        ...

    async def add_import_piece(
        self, owner: str, import_id: str, offset: int, content: bytes, amend: AmendImport
    ) -> StoredImport:
        """Add bytes of the file, and replace the import, both or neither. Raises `NotFound`."""
        ...

    async def import_piece(self, import_id: str, offset: int) -> bytes | None:
        """Return the piece that begins at this place, None if there is none."""
        ...
