"""Operations on imports of other chats' exports; a `ChatImporter` does the work."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import partial
from typing import Any

from antiphon.api import operations
from antiphon.api.operations import Deleted, Listed, Operation
from antiphon.engine import chat_imports
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import CHAT_IMPORTS, AmendImport, Bus, Store
from antiphon.runtime.responses import OperationHandler
from antiphon.settings.settings import Settings
from antiphon.types.accounts import Principal
from antiphon.types.chat_imports import MAX_PIECE, ChatImport, StoredImport
from antiphon.types.errors import InvalidRequest, TooLarge
from antiphon.types.ids import Mint

KEPT = 20
"""Imports of an owner that are listed after their end."""


class ChatImportService:
    """Takes the files of imports of chats, starts and cancels imports, and lists them."""

    def __init__(self, store: Store, bus: Bus, mint: Mint, settings: Settings) -> None:
        self._store = store
        self._bus = bus
        self._mint = mint
        self._max_size = settings.max_chat_import
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.CreateChatImport: self._create,
            operations.AddImportPiece: self._add_piece,
            operations.ListChatImports: self._list,
            operations.GetChatImport: self._get,
            operations.StartChatImport: self._start,
            operations.CancelChatImport: self._cancel,
            operations.DeleteChatImport: self._delete,
        }

    async def _create(
        self, operation: operations.CreateChatImport, by: Principal, _: IdempotencyKey | None
    ) -> ChatImport:
        if operation.size > self._max_size:
            raise TooLarge(
                "The export is too large to be imported here.",
                expected=f"at most {self._max_size:,} bytes, by the setting max_chat_import",
                received=f"{operation.size:,} bytes",
                hint="An operator can import it on the server's machine: `antiphon import`.",
            )
        now = await self._store.now()
        record = ChatImport(
            id=self._mint("import"),
            name=operation.name,
            source=operation.source,
            size=operation.size,
            created_at=now,
            updated_at=now,
        )
        stored = StoredImport(
            owner=by.owner, record=record, start=operation.start, key_id=by.key_id, actor=by.actor
        )
        await self._store.add_chat_import(stored, KEPT)
        return record

    async def _add_piece(
        self, operation: operations.AddImportPiece, by: Principal, _: IdempotencyKey | None
    ) -> ChatImport:
        try:
            content = base64.b64decode(operation.content, validate=True)
        except (binascii.Error, ValueError):
            content = b""
        if not 0 < len(content) <= MAX_PIECE:
            raise InvalidRequest(
                "The piece of the file cannot be read.",
                expected=f"1 to {MAX_PIECE:,} bytes as base64",
                where="$.content",
            )
        amend = partial(
            chat_imports.add_piece,
            offset=operation.offset,
            size=len(content),
            now=await self._store.now(),
        )
        stored = await self._store.add_import_piece(
            by.owner, operation.import_id, operation.offset, content, amend
        )
        if stored.record.status == "checking":
            self._bus.notify(CHAT_IMPORTS)
        return stored.record

    async def _list(
        self, _operation: operations.ListChatImports, by: Principal, _: IdempotencyKey | None
    ) -> Listed[ChatImport]:
        found = await self._store.chat_imports(by.owner)
        return Listed([each.record for each in found], has_more=False)

    async def _get(
        self, operation: operations.GetChatImport, by: Principal, _: IdempotencyKey | None
    ) -> ChatImport:
        return (await self._store.find_chat_import(by.owner, operation.import_id)).record

    async def _start(
        self, operation: operations.StartChatImport, by: Principal, _: IdempotencyKey | None
    ) -> ChatImport:
        now = await self._store.now()
        return await self._change(
            operation.import_id, by, partial(chat_imports.start_import, now=now)
        )

    async def _cancel(
        self, operation: operations.CancelChatImport, by: Principal, _: IdempotencyKey | None
    ) -> ChatImport:
        now = await self._store.now()
        return await self._change(
            operation.import_id, by, partial(chat_imports.cancel_import, now=now)
        )

    async def _delete(
        self, operation: operations.DeleteChatImport, by: Principal, _: IdempotencyKey | None
    ) -> Deleted:
        chat_imports.check_ended(await self._store.find_chat_import(by.owner, operation.import_id))
        while await self._store.delete_import_pieces(operation.import_id):
            pass  # in short transactions: a file may have hundreds of MB
        await self._store.delete_chat_import(by.owner, operation.import_id)
        return Deleted(operation.import_id)

    async def _change(self, import_id: str, by: Principal, amend: AmendImport) -> ChatImport:
        changed = await self._store.change_chat_import(by.owner, import_id, amend)
        self._bus.notify(CHAT_IMPORTS)
        return changed.record
