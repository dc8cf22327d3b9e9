"""Databases of older versions get the order and the families of their threads."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from antiphon.ports import Store
from antiphon.stores import statements
from antiphon.stores.postgres.migrations import KNOWN, prepare
from antiphon.stores.postgres.store import PostgresStore
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.types.runs import Thread
from tests.support.services.postgres import Postgres
from tests.support.stores.databases import PATIENT

NAME = "thread_order"
MANY = 100_000


def a_row(
    name: str, at: int, replaces: str | None = None, owner: str = "ann", **fields: Any
) -> tuple[str, str, bytes]:
    """Return a thread as older versions have written it: id, owner, JSON."""
    thread = {
        "id": name,
        "title": "Bees",
        "metadata": {"replaces": replaces} if replaces else {},
        "parent_id": replaces,
        "messages": 1,
        "version": 1,
        "created_at": 1,
        "updated_at": at,
        **fields,
    }
    return name, owner, json.dumps(thread, separators=(",", ":")).encode()


OLD = [
    a_row("a", 1),
    a_row("a2", 5, "a"),
    a_row("a3", 3, "a2"),
    a_row("b2", 4, "gone"),
    a_row("b3", 6, "gone", messages=0),
    a_row("c", 2, title='its "updated_at":7 and a NUL: \x00 \\u0000 \\'),
    a_row("d", 8, "d2"),
    a_row("d2", 7, "d"),
    a_row("e", 9, "a", owner="bob"),
]


def make_sqlite_file(path: Path, rows: Iterator[tuple[str, str, bytes]]) -> None:
    """Make a file as it was before the migration."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE migrations"
            " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT"
        )
        for migration in statements.load_migrations("sqlite"):
            if migration.name == NAME:
                break
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO migrations VALUES (?, ?, 0)", (migration.number, migration.name)
            )
        connection.executemany(
            "INSERT INTO threads (id, owner, version, words, doc) VALUES (?, ?, 1, '', ?)", rows
        )


async def make_postgres_database(address: str, rows: Iterator[tuple[str, str, bytes]]) -> None:
    """Make a database as it was before the migration."""
    connection = await asyncpg.connect(address)
    before = [*itertools.takewhile(lambda each: each.name != NAME, KNOWN)]
    await prepare(connection, 0, all_migrations=True, known=before)
    await connection.copy_records_to_table(
        "threads",
        columns=("id", "owner", "doc", "version", "changes", "words"),
        records=[(*row, 1, 0, b"") for row in rows],
    )
    await connection.close()


async def assert_threads_are_ordered(store: Store) -> None:
    latest = await store.list(Thread, "ann", limit=9, order="activity", branches="latest")
    assert [each.id for each in latest.data] in (
        ["d", "d2", "a2", "b2", "c"],
        ["d", "a2", "b2", "c"],
    )
    family = await store.list(Thread, "ann", limit=9, order="activity", family="a3")
    assert [each.id for each in family.data] == ["a2", "a3", "a"]
    bobs = await store.list(Thread, "bob", limit=9, order="activity", branches="latest")
    assert [each.id for each in bobs.data] == ["e"]


async def test_a_file_of_an_older_version_has_its_threads_in_order(tmp_path: Path) -> None:
    make_sqlite_file(tmp_path / "old.db", iter(OLD))
    store = await SqliteStore.open(tmp_path / "old.db")
    await assert_threads_are_ordered(store)
    await store.close()


async def test_a_server_of_an_older_version_has_its_threads_in_order(postgres: Postgres) -> None:
    address = await postgres.create()
    await make_postgres_database(address, iter(OLD))
    store = await PostgresStore.open(address, timeouts=PATIENT)
    await assert_threads_are_ordered(store)
    await store.close()


async def test_threads_that_an_older_version_writes_beside_this_one_are_in_order(
    tmp_path: Path, postgres: Postgres
) -> None:
    address = await postgres.create()
    newer = a_row("c", 9, title="\x00")[2]
    stores = (
        await SqliteStore.open(tmp_path / "new.db"),
        await PostgresStore.open(address, timeouts=PATIENT),
    )
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO threads (id, owner, version, words, doc) VALUES (?, ?, 1, '', ?)", OLD
        )
        connection.execute("UPDATE threads SET doc = ? WHERE id = 'c'", (newer,))
    other = await asyncpg.connect(address)
    for row in OLD:
        await other.execute(
            "INSERT INTO threads (id, owner, doc, version, changes, words)"
            " VALUES ($1, $2, $3, 1, 0, '')",
            *row,
        )
    await other.execute("UPDATE threads SET doc = $1 WHERE id = 'c'", newer)
    await other.close()
    for store in stores:
        latest = await store.list(Thread, "ann", limit=9, order="activity", branches="latest")
        assert [each.id for each in latest.data] == ["c", "d", "a2", "b2"]
        await store.close()


def old_rows(count: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield threads: of every ten three are a family, and the last thousand are one family."""
    for number in range(count):
        above = f"t{number - 1}" if number % 10 in (1, 2) or number >= count - 1000 else None
        yield a_row(f"t{number}", number, above)


@pytest.mark.soak
async def test_a_hundred_thousand_threads_are_put_in_order_in_seconds(
    tmp_path: Path, postgres: Postgres
) -> None:
    address = await postgres.create()
    make_sqlite_file(tmp_path / "old.db", old_rows(MANY))
    await make_postgres_database(address, old_rows(MANY))
    for opening in (
        SqliteStore.open(tmp_path / "old.db"),
        PostgresStore.open(address, timeouts=PATIENT),
    ):
        began = time.monotonic()
        store = await opening
        open_seconds = time.monotonic() - began
        page = await store.list(Thread, "ann", limit=100, order="activity", branches="latest")
        list_seconds = time.monotonic() - began - open_seconds
        print(
            type(store).__name__, f"opened in {open_seconds:.2f} s, listed in {list_seconds:.3f} s"
        )
        assert page.data[0].id == f"t{MANY - 1}"
        assert len({each.id for each in page.data}) == 100
        await store.close()
