"""ChatImportStore: imports of other chats' exports, and the pieces of their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from antiphon.ports.records import RecordStore
from antiphon.types.chat_imports import StoredImport

AmendImport = Callable[[StoredImport], StoredImport]
"""Pure function from an import to the new one; what it raises changes nothing and is raised."""


class ChatImportStore(RecordStore, Protocol):
    """Stores imports and the pieces of their files, which are deleted with the owner at last."""

    async def add_chat_import(self, stored: StoredImport, keep: int) -> None:
        """Add an import, and delete the owner's ended ones but for the newest `keep`.

        One that still has its file stays. Raises `Conflict` if one has not ended.
        """
        ...

    async def chat_imports(self, owner: str) -> Sequence[StoredImport]:
        """Return the imports of an owner, newest first."""
        ...

    async def due_chat_imports(self, now: int, limit: int) -> Sequence[StoredImport]:
        """Return at most `limit` imports of all owners that are due (`engine.chat_imports.due_at`).

        Those that have been due for longest come first.
        """
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

    async def delete_import_pieces(self, import_id: str) -> int:
        """Delete some pieces of the import's file; return how many, 0 when none are left."""
        ...

    async def delete_chat_import(self, owner: str, import_id: str) -> None:
        """Delete an import that has ended, with what is left of its file.

        Raises `NotFound`, and `Conflict` if it has not ended.
        """
        ...

    async def import_piece(self, import_id: str, offset: int) -> bytes | None:
        """Return the piece that begins at this place, None if there is none."""
        ...
