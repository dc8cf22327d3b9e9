"""Erased texts are not in the bytes of an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from antiphon.engine.snapshot import Claim, ReadSet
from antiphon.stores.sqlite.file import OVERWRITE_BYTES
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.types.messages import Upload
from antiphon.types.runs import Thread
from tests.support.stores.steps import a_message, add_run, add_thread, append, say, take

CANARY = "canary-4711-" * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "antiphon.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    yield store
    await store.close()


async def fill(store: SqliteStore, number: int, owner: str) -> Claim:
    """Add a thread with messages, a run with events that move to the log, and a file."""
    await add_thread(store, number, owner, title=CANARY)
    thread = f"thread_{number}"
    messages = [a_message(place, CANARY, thread) for place in range(1, 40)]
    await store.change(ReadSet(owner=owner, thread_id=thread), say(*messages))
    await add_run(store, number, thread, wanted=True)
    claim = await store.claim(take())
    assert claim is not None
    for first in range(3, 103, 10):
        await append(store, claim, first, *[CANARY] * 10)
    upload = Upload(id=f"file_{number}", name="x", media_type="text/plain", size=9, created_at=1)
    await store.put(owner, upload, None, CANARY.encode() * 3000)
    return claim


def count_canaries(path: Path) -> dict[str, int]:
    """Count the canary in the files of the database."""
    return {file.name: file.read_bytes().count(CANARY[:24].encode()) for file in _files(path)}


def _files(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}*"))


async def erase(store: SqliteStore, owner: str) -> None:
    while await store.delete_owned(owner, 50):
        pass


async def test_nothing_of_an_owner_is_left_in_the_file_nor_in_its_log(
    store: SqliteStore, path: Path
) -> None:
    await fill(store, 1, "ann")
    await fill(store, 2, "ann")
    await store.delete(Thread, "ann", "thread_2")  # earlier deletions leave pages, too
    assert sum(count_canaries(path).values()) > 0

    await erase(store, "ann")
    assert set(count_canaries(path).values()) == {0}

    await store.close()
    assert set(count_canaries(path).values()) == {0}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM blank").fetchone() == (0,)


async def test_records_of_another_owner_stay_unchanged(store: SqliteStore, path: Path) -> None:
    claim = await fill(store, 1, "ann")
    await fill(store, 2, "ben")

    await erase(store, "ben")

    page = await store.read_events(claim.run.id, 0)
    assert len(page.lines) == 102
    assert len(await store.content("ann", "file_1")) == len(CANARY) * 3000


async def test_many_free_pages_are_blanked_in_steps(store: SqliteStore, path: Path) -> None:
    large = CANARY.encode() * (2 * OVERWRITE_BYTES // len(CANARY))
    upload = Upload(id="file_1", name="x", media_type="text/plain", size=9, created_at=1)
    await store.put("ann", upload, None, large)

    await erase(store, "ann")

    assert set(count_canaries(path).values()) == {0}
    assert path.stat().st_size > OVERWRITE_BYTES  # the pages are still in the file, for reuse


async def test_a_reader_in_the_way_delays_the_logs_end_and_nothing_else(
    store: SqliteStore, path: Path
) -> None:
    await fill(store, 1, "ann")
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()
        await erase(store, "ann")
        assert sum(count_canaries(path).values()) > 0

    await store.check()  # the next write can truncate the log
    await store.check()
    assert set(count_canaries(path).values()) == {0}
