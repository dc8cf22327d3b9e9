"""Imports of other chats' exports in a SQL database, the same for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.engine.chat_imports import check_ended, due_at
from antiphon.ports import AmendImport
from antiphon.stores import admin_rules, invariants
from antiphon.stores.rows import decoder
from antiphon.stores.sql_transaction import Transaction, TransactionMethods, reading, writing
from antiphon.types.chat_imports import ENDED, ChatImport, ImportClaim, StoredImport

DELETED_PIECES = 16
"""Pieces that are deleted in one transaction: each may have some MB."""


async def add_chat_import(sql: Transaction, stored: StoredImport, keep: int) -> None:
    """See `ChatImportStore.add_chat_import`."""
    await sql.execute("lock_chat_imports")
    (count,) = await sql.fetch_row("count_active_chat_imports", owner=stored.owner)
    if count:
        raise admin_rules.import_limit_error()
    await sql.execute("trim_chat_imports", owner=stored.owner, keep=keep)
    await sql.execute("add_chat_import", owner=stored.owner, **_columns(stored))


async def chat_imports(sql: Transaction, owner: str) -> Sequence[StoredImport]:
    """See `ChatImportStore.chat_imports`."""
    return _decode_all(await sql.fetch("chat_imports", owner=owner))


async def due_chat_imports(sql: Transaction, now: int, limit: int) -> Sequence[StoredImport]:
    """See `ChatImportStore.due_chat_imports`."""
    return _decode_all(await sql.fetch("due_chat_imports", now=now, limit=limit))


async def find_chat_import(sql: Transaction, owner: str, import_id: str) -> StoredImport:
    """See `ChatImportStore.find_chat_import`."""
    return await _find(sql, "chat_import", owner, import_id)


async def change_chat_import(
    sql: Transaction, owner: str, import_id: str, amend: AmendImport
) -> StoredImport:
    """See `ChatImportStore.change_chat_import`."""
    before = await _find(sql, "chat_import_for_update", owner, import_id)
    changed = amend(before)
    if changed != before:
        await sql.execute("save_chat_import", **_columns(changed))
    return changed


async def add_import_piece(
    sql: Transaction, owner: str, import_id: str, offset: int, content: bytes, amend: AmendImport
) -> StoredImport:
    """See `ChatImportStore.add_import_piece`."""
    changed = amend(await _find(sql, "chat_import_for_update", owner, import_id))
    await sql.execute("add_import_piece", import_id=import_id, place=offset, content=content)
    await sql.execute("save_chat_import", **_columns(changed))
    return changed


async def import_piece(sql: Transaction, import_id: str, offset: int) -> bytes | None:
    """See `ChatImportStore.import_piece`."""
    row = await sql.fetch_row("import_piece", import_id=import_id, place=offset)
    return None if row is None else bytes(row[0])


async def delete_import_pieces(sql: Transaction, import_id: str) -> int:
    """See `ChatImportStore.delete_import_pieces`."""
    return await sql.execute("delete_import_pieces", import_id=import_id, limit=DELETED_PIECES)


async def delete_chat_import(sql: Transaction, owner: str, import_id: str) -> None:
    """See `ChatImportStore.delete_chat_import`; its pieces go with it."""
    check_ended(await _find(sql, "chat_import_for_update", owner, import_id))
    await sql.execute("delete_chat_import", id=import_id)


async def check_claim(sql: Transaction, claim: ImportClaim | None) -> None:
    """Raise `Fenced` if the worker has lost the import; keep it until the transaction ends."""
    if claim is not None:
        row = await sql.fetch_row("chat_import_for_update", id=claim.import_id, owner=claim.owner)
        stored = None if row is None else decoder(StoredImport)(bytes(row[0]))
        admin_rules.check_import_claim(stored, claim)


async def _find(sql: Transaction, name: str, owner: str, import_id: str) -> StoredImport:
    row = await sql.fetch_row(name, id=import_id, owner=owner)
    if row is None:
        raise invariants.not_found(ChatImport, import_id)
    return decoder(StoredImport)(bytes(row[0]))


def _decode_all(rows: Sequence[Any]) -> Sequence[StoredImport]:
    return [decoder(StoredImport)(bytes(doc)) for (doc,) in rows]


def _columns(stored: StoredImport) -> dict[str, Any]:
    return {
        "id": stored.record.id,
        "active": stored.record.status not in ENDED,
        "due_at": due_at(stored),
        "doc": msgspec.json.encode(stored),
    }


class ChatImportMethods(TransactionMethods):
    """`ChatImportStore`: each method is a function of this module."""

    add_chat_import = writing("chat_import", add_chat_import)
    chat_imports = reading(chat_imports)
    due_chat_imports = reading(due_chat_imports)
    find_chat_import = reading(find_chat_import)
    change_chat_import = writing("chat_import", change_chat_import)
    add_import_piece = writing("chat_import", add_import_piece)
    import_piece = reading(import_piece)
    delete_import_pieces = writing("chat_import", delete_import_pieces, slow=True)
    delete_chat_import = writing("chat_import", delete_chat_import)
