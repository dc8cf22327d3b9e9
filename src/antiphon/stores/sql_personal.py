"""Personal settings and memories in a SQL database, the same for SQLite and PostgreSQL."""

from __future__ import annotations

import msgspec

from antiphon.ports import AmendPersonal
from antiphon.stores.rows import decoder
from antiphon.stores.sql_transaction import Transaction, TransactionMethods, reading, writing
from antiphon.types.personal import NOTHING_PERSONAL, PersonalRecord


async def find_personal(sql: Transaction, owner: str) -> PersonalRecord:
    """See `PersonalStore.personal`."""
    row = await sql.fetch_row("personal", owner=owner)
    return decoder(PersonalRecord)(row[0]) if row else NOTHING_PERSONAL


async def change_personal(sql: Transaction, owner: str, amend: AmendPersonal) -> PersonalRecord:
    """See `PersonalStore.change_personal`."""
    await sql.execute("lock_personal", owner=owner)
    before = await find_personal(sql, owner)
    changed = amend(before)
    if changed == NOTHING_PERSONAL:
        await sql.execute("remove_personal", owner=owner)
    elif changed != before:
        await sql.execute("save_personal", owner=owner, doc=msgspec.json.encode(changed))
    return changed


class PersonalMethods(TransactionMethods):
    """`PersonalStore`: each method is a function of this module."""

    personal = reading(find_personal)
    change_personal = writing("personal", change_personal)
