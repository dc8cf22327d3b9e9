"""What is gone from a SQLite file is gone from its bytes too.

A deleted row leaves pages that nobody uses, with what was on them. While the file is at work they
are written over when somebody needs them; to wait for that is not enough for what was to be erased.
So zeros take all those pages, and give them back. Bites are small, so that nobody else has to wait.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from antiphon.stores.sqlite.reads import SQL

BITE_BYTES = 8_000_000


def cover(connection: sqlite3.Connection) -> bool:
    """Lay zeros on some of the free pages; whether there were any."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    if not free:
        return False
    connection.execute(SQL["cover"], (min(free * size, BITE_BYTES),))
    return True


def uncover(connection: sqlite3.Connection) -> bool:
    """Give some of the covered pages back, all of their bytes zero; whether there were any."""
    with _thorough(connection):
        return connection.execute(SQL["uncover"]).rowcount > 0


@contextmanager
def _thorough(connection: sqlite3.Connection) -> Generator[None]:
    """Meanwhile what is deleted is written over, whatever that costs."""
    connection.execute("PRAGMA secure_delete = TRUE")
    try:
        yield
    finally:
        connection.execute("PRAGMA secure_delete = FAST")
