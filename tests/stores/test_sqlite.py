"""Promises of the SQLite store beyond those of every store: files, processes, crashes."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, Committed, ReadSet, RunUpdate, Snapshot
from antiphon.ports import Store
from antiphon.stores.record_query import NAMES
from antiphon.stores.search_queue import MAX_CONCURRENT_SEARCHES
from antiphon.stores.sql_transaction import Transaction
from antiphon.stores.sqlite import reads
from antiphon.stores.sqlite.file import DatabaseFile
from antiphon.stores.sqlite.reader_pool import ReaderPool
from antiphon.stores.sqlite.reads import SQL
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.stores.sqlite.writer_thread import LockPatience
from antiphon.telemetry import failpoints
from antiphon.types import errors
from antiphon.types.messages import Message
from antiphon.types.runs import Run, RunLease, Status, Thread, Usage
from tests.support.stores.appending import append_lines
from tests.support.stores.openers import Clock
from tests.support.stores.steps import (
    a_message,
    a_run,
    add_claimed,
    add_run,
    add_thread,
    append,
    begin,
    lines,
    move,
    page_through,
    say,
    spend,
    status_of,
    take,
    whole_log,
)

SOON = 60.0


@asynccontextmanager
async def open_store(
    path: Path, on_foreign: Callable[[Sequence[str]], None] | None = None
) -> AsyncIterator[Store]:
    store = await SqliteStore.open(path, clock=Clock(), on_foreign=on_foreign)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "folder" / "antiphon.db"


async def test_everything_is_there_after_the_file_was_closed_and_opened(path: Path) -> None:
    async with open_store(path) as store:
        claim = await add_claimed(store)
        await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(a_message(1, "hello")))
        await append(store, claim, 3, "a", "b")
        secret = await store.installation_secret()
    async with open_store(path) as store:
        assert (await store.get(Thread, "ann", "thread_1")).messages == 1
        assert await whole_log(store, "run_1", 2) == lines("a", "b")
        assert (await store.run_lease("run_1")).last_event == 4
        assert await store.installation_secret() == secret
        await append(store, claim, 5, "c")


async def test_what_was_asked_for_before_the_close_is_kept(path: Path) -> None:
    async with open_store(path) as store:
        claim = await add_claimed(store)
        writing = append_lines(store, "run_1", claim.lease.epoch, 3, lines("last"), urgent=False)
    await writing
    async with open_store(path) as store:
        assert await whole_log(store, "run_1", 2) == lines("last")


async def test_what_was_to_be_read_before_the_close_is_read(path: Path) -> None:
    async with open_store(path) as store:
        await add_thread(store)
        pending_reads = asyncio.gather(*(store.get(Thread, "ann", "thread_1") for _ in range(50)))
        await asyncio.sleep(0)

    assert len(await pending_reads) == 50


async def test_an_owner_who_reads_a_lot_does_not_keep_others_waiting(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    readers = ReaderPool(DatabaseFile(path), 1, "reader")
    gate, order = threading.Event(), list[str]()

    def start_read(owner: str) -> asyncio.Task[None]:
        def read(connection: sqlite3.Connection) -> None:
            gate.wait(30)
            order.append(owner)

        return asyncio.create_task(readers.run(read, owner=owner))

    reads = [*(start_read("ann") for _ in range(100)), start_read("bob")]
    await asyncio.sleep(0)  # all reads are queued, and the first one runs
    gate.set()
    await asyncio.gather(*reads)
    await readers.close()

    assert order.index("bob") <= 2


async def test_a_closed_store_is_unavailable(path: Path) -> None:
    async with open_store(path) as store:
        await add_thread(store)

    with pytest.raises(errors.Unavailable):
        await store.get(Thread, "ann", "thread_1")
    with pytest.raises(errors.Unavailable):
        await add_thread(store, 2)
    with pytest.raises(errors.Unavailable):
        await append_lines(store, "run_1", 1, 1, lines("x"), urgent=True)
    await store.close()


async def test_the_file_is_for_its_owner_only(path: Path) -> None:
    async with open_store(path) as store:
        await add_thread(store)
        modes = {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}

    assert modes == {0o600}


async def test_the_file_alone_holds_everything_after_the_close(path: Path) -> None:
    async with open_store(path) as store:
        await add_thread(store)

    assert [each.name for each in path.parent.iterdir()] == [path.name]


AS_BEFORE_DOCUMENTS = (
    *(f"DROP TRIGGER {each}" for each in ("page_removed", "upload_added", "upload_transferred")),
    *(f"DROP TABLE {each}" for each in ("page_index", "pages", "documents")),
)

AS_BEFORE_OWNERS = (
    *(
        f"DROP TRIGGER {trigger}"
        for trigger in (
            *("message_not_indexed", "message_removed", "thread_transferred"),
            *("title_added", "title_changed", "title_removed"),
        )
    ),
    *(f"DROP TABLE {table}" for table in ("message_index", "title_index", "reindex")),
    "DROP TRIGGER thread_added",
    "DROP TRIGGER thread_replaces",
    "DROP INDEX threads_by_activity",
    "DROP INDEX threads_of_family",
    *(
        f"ALTER TABLE threads DROP COLUMN {column}"
        for column in ("updated_at", "has_messages", "replaces", "family")
    ),
    "DROP INDEX queue_of_destination",
    "ALTER TABLE runs DROP COLUMN destination",
    "DROP INDEX runs_of_key",
    "ALTER TABLE runs DROP COLUMN key_id",
    "ALTER TABLE runs DROP COLUMN trace",
    "DROP INDEX keys_of_owner",
    "ALTER TABLE keys DROP COLUMN owner",
    "DROP TABLE counters",
    "DROP TABLE projects",
    "DROP TABLE provider_keys",
    "DROP TABLE acts",
    "DROP TABLE blank",
)


async def test_the_migration_sums_the_usage_of_earlier_runs(path: Path) -> None:
    run_usage = Usage(
        input_tokens=5, output_tokens=3, cached_tokens=2, reasoning_tokens=1, cost=0.5
    )
    async with open_store(path) as store:
        await add_thread(store, 9, parent_id="thread_1")
        for number, usage in enumerate((run_usage, replace(run_usage, cost=None), Usage()), 1):
            await spend(store, number, usage)
        await add_thread(store, 4)
        await add_run(store, 4, "thread_4")
        before = await store.usage("1970-01-01", 9)
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in (
            *AS_BEFORE_OWNERS,
            "DROP TABLE spent",
            "DROP TABLE people",
            "DROP TABLE webhooks",
            "DROP TABLE deliveries",
            "DROP TABLE schedules",
            "DROP TABLE shares",
            "DROP TABLE import_pieces",
            "DROP TABLE chat_imports",
            "DROP TABLE occurrences",
            "DROP TABLE personal",
            *AS_BEFORE_DOCUMENTS,
            "DROP INDEX threads_of_parent",
            "DROP INDEX pending_actions",
            "DROP INDEX pinned_threads",
            "DROP INDEX temporary_threads",
            "DROP INDEX archived_threads",
            "DROP INDEX tagged_threads",
            "DROP INDEX threads_of_folder",
            "DROP INDEX published_assistants",
            "DROP TABLE folders",
            "DROP INDEX threads_by_client_name",
            "DROP INDEX threads_by_openwebui_chat",
            "ALTER TABLE threads DROP COLUMN parent_id",
            "DELETE FROM migrations WHERE number >= 3",
        ):
            connection.execute(statement)

    async with open_store(path) as store:
        assert await store.usage("1970-01-01", 9) == before
        assert before[0].runs == 3
        assert before[0].unpriced == 1
        assert await page_through(store, Thread, 9, parent_id="thread_1") == ["thread_9"]


async def test_a_newer_schema_is_refused(path: Path) -> None:
    async with open_store(path):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO migrations VALUES (999, 'the future', 0)")

    with pytest.raises(errors.BadSettings, match="newer version"):
        await SqliteStore.open(path)


async def test_the_schema_of_a_file_is_told_without_touching_it(path: Path) -> None:
    known = SqliteStore.schema(path).known
    assert SqliteStore.schema(path) == (0, known)
    assert not path.exists()
    async with open_store(path):
        assert SqliteStore.schema(path) == (known, known)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert SqliteStore.schema(path) == (known, known)
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO migrations VALUES (999, 'the future', 0)")
    assert SqliteStore.schema(path) == (999, known)


async def test_a_file_without_a_schema_has_none_and_another_file_is_refused(tmp_path: Path) -> None:
    empty, notes = tmp_path / "empty ?#.db", tmp_path / "notes.txt"
    empty.touch()
    notes.write_text("these are my notes, not a database\n" * 100)

    assert SqliteStore.schema(empty).found == 0
    with pytest.raises(errors.BadSettings, match=r"notes\.txt"):
        SqliteStore.schema(notes)


async def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, not a database\n" * 100)

    with pytest.raises(errors.BadSettings, match=r"notes\.txt"):
        await SqliteStore.open(path)
    assert path.read_text().startswith("these are my notes")


async def test_a_new_file_may_be_opened_by_many_at_once(path: Path) -> None:
    stores = await asyncio.gather(*(SqliteStore.open(path) for _ in range(8)))
    await asyncio.gather(*(add_thread(store, number) for number, store in enumerate(stores)))

    assert len((await stores[0].list(Thread, "ann", limit=99)).data) == 8
    await asyncio.gather(*(store.close() for store in stores))


async def test_two_stores_on_one_file_see_one_another(path: Path) -> None:
    async with open_store(path) as one, open_store(path) as two:
        claim = await add_claimed(one)
        await append(one, claim, 3, "from one")
        assert await whole_log(two, "run_1", 2) == lines("from one")
        await two.change(ReadSet(owner="ann", run_id="run_1"), move(Status.CANCELLED, epoch=2))

        with pytest.raises(errors.Fenced):
            await append(one, claim, 4, "late")
        assert (await one.get(Run, "ann", "run_1")).status is Status.CANCELLED


async def test_two_stores_on_one_file_never_claim_the_same_run(path: Path) -> None:
    async with open_store(path) as one, open_store(path) as two:
        for number in range(30):
            await add_thread(one, number)
            await add_run(one, number, f"thread_{number}", wanted=True)
        claims = await asyncio.gather(*(store.claim(take()) for store in (one, two) * 30))

        claimed = [claim.run.id for claim in claims if claim]
        assert sorted(claimed) == sorted(f"run_{number}" for number in range(30))


async def test_two_stores_on_one_file_begin_one_run_in_a_thread(path: Path) -> None:
    async with open_store(path) as one, open_store(path) as two:
        await add_thread(one)
        outcomes = await asyncio.gather(
            *(
                store.change(ReadSet(owner="ann", thread_id="thread_1"), begin(a_run(number)))
                for number, store in enumerate((one, two) * 16)
            ),
            return_exceptions=True,
        )

        assert len([outcome for outcome in outcomes if isinstance(outcome, Committed)]) == 1
        assert len([fault for fault in outcomes if isinstance(fault, errors.RunActive)]) == 31


async def test_a_store_hears_which_runs_another_has_added_to(path: Path) -> None:
    notified: asyncio.Queue[str] = asyncio.Queue()

    def notify(run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            notified.put_nowait(run_id)

    async with open_store(path) as one, open_store(path, notify) as two:
        claim = await add_claimed(one)
        await append(one, claim, 3, "a")
        async with asyncio.timeout(SOON):
            assert await notified.get() == "run_1"
        await add_claimed(two, 2)
        await append(one, claim, 4, "b")
        async with asyncio.timeout(SOON):
            notified_runs = {await notified.get()}
        notified_runs |= {notified.get_nowait() for _ in range(notified.qsize())}

        assert notified_runs == {"run_1"}


async def test_a_store_hears_of_a_run_whose_events_come_after_others_were_deleted(
    path: Path,
) -> None:
    notified: asyncio.Queue[str] = asyncio.Queue()

    def notify(run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            notified.put_nowait(run_id)

    async with open_store(path) as one, open_store(path, notify):
        await add_thread(one, 2)
        await add_claimed(one, 3)
        await add_claimed(one, 1)
        async with asyncio.timeout(SOON):
            while await notified.get() != "run_1":
                pass
        await asyncio.gather(
            one.delete(Thread, "ann", "thread_3"),
            one.delete(Thread, "ann", "thread_1"),
            one.change(ReadSet(owner="ann", thread_id="thread_2"), begin(a_run(2, "thread_2"))),
        )

        async with asyncio.timeout(SOON):
            while await notified.get() != "run_2":
                pass


async def test_a_store_hears_of_a_run_whose_events_were_folded_before_it_looked(
    path: Path,
) -> None:
    notified: asyncio.Queue[str] = asyncio.Queue()

    def notify(run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            notified.put_nowait(run_id)

    async with open_store(path) as one:
        claim = await add_claimed(one)
        async with open_store(path, notify):
            await append(one, claim, 3, "a")
            await one.delete_expired(0, 0)  # folds, and finds nothing to forget
            assert rows(path, "fresh") == []

            async with asyncio.timeout(SOON):
                assert await notified.get() == "run_1"


async def test_what_two_processes_wrote_is_folded_in_order_and_tells_who_wrote_it(
    path: Path,
) -> None:
    async with open_store(path) as one, open_store(path) as two:
        first = await add_claimed(one)
        await append(one, first, 3, "a", "b")
        await append(one, first, 5, "c")
        await one.change(ReadSet(owner="ann", run_id="run_1"), move(Status.QUEUED, wanted=True))
        second = await two.claim(take())
        assert second is not None
        await append(two, second, 8, "d")
        await two.change(ReadSet(owner="ann", run_id="run_1"), move(Status.QUEUED, wanted=True))
        third = await one.claim(take())
        assert third is not None
        await append(one, third, 11, "e")
        log = await whole_log(one, "run_1")
        await one.delete_expired(0, 0)

        assert await whole_log(two, "run_1") == log
        assert await whole_log(two, "run_1", 7) == log[7:]
        log_rows = rows(path, "log")
        assert [(first, last) for first, last, _ in log_rows] == [(1, 6), (7, 9), (10, 11)]
        assert log_rows[0][2] == log_rows[2][2] != log_rows[1][2]


async def test_what_a_killed_process_left_is_folded_by_the_next(path: Path) -> None:
    assert await crash(path, "append.after_commit:kill@3") == -signal.SIGKILL
    assert rows(path, "fresh")

    async with open_store(path) as store:
        log = await whole_log(store, "run_1")
    assert rows(path, "fresh") == []
    async with open_store(path) as store:
        assert await whole_log(store, "run_1") == log


def rows(path: Path, table: str) -> list[tuple[int, int, int]]:
    """Return the first event, the last event and the writer of each row."""
    with closing(sqlite3.connect(path)) as connection:
        select = f"SELECT first, last, writer FROM {table} ORDER BY seq"
        return connection.execute(select).fetchall()


GROWING = {
    *("threads", "messages", "runs", "actions", "fresh", "log", "once", "people", "spent"),
    *("counters", "acts", "provider_keys"),
}
PARTIAL = {"queue", "runs_due", "runs_to_forget", "active_run"}
HOT = (
    "thread",
    "version",
    "context",
    "run",
    "actions",
    "call_ids",
    "active_run",
    "next_wanted",
    "destinations",
    "overdue_runs",
    "move_run",
    "renew_leases",
    "append",
    "log",
    "foreign_runs",
    "expire_events",
    "mark_expired",
    "answer",
    "clear_answers",
    "person",
    "person_by_name",
    "person_by_subject",
    "live_runs",
    "add_usage",
    "usage",
    "count_running",
    "tokens_used",
    "count_usage",
    "has_tokens_limit",
    "audit_entries",
    "audit_entries_of_owner",
    "encrypted_key",
    "owners",
    "erase_events",
    "erase_actions",
    "erase_runs",
    "erase_segments",
    "erase_messages",
    "erase_threads",
    "erase_uploads",
    "erase_assistants",
    "erase_answers",
)


@pytest.mark.parametrize("name", HOT)
async def test_no_statement_of_every_day_scans_a_table_that_grows(path: Path, name: str) -> None:
    async with open_store(path):
        pass
    sql = SQL[name].replace("{rows}", "('run_1', 1, 1, 1, 1, x'00')")
    names = dict.fromkeys(re.findall(r":(\w+)", sql), 1)
    with closing(sqlite3.connect(path)) as connection:
        values = names or [1] * sql.count("?")
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()

    scans = [step.split() for *_, step in plan if step.startswith("SCAN")]
    assert [scan for scan in scans if scan[1] in GROWING and scan[-1] not in PARTIAL] == []


@pytest.mark.parametrize("key", NAMES)
async def test_the_thread_of_a_name_is_found_by_an_index(path: Path, key: str) -> None:
    async with open_store(path) as store:
        await add_thread(store, 1, metadata={key: "one"})
        statements: list[str] = []
        with closing(sqlite3.connect(path)) as connection:
            connection.set_trace_callback(statements.append)
            reads.list_records(connection, Thread, "ann", 1, None, {"metadata": {key: "one"}})
            connection.set_trace_callback(None)
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statements[-1]}").fetchall()

    steps = [step for *_, step in plan]
    assert steps == [f"SEARCH threads USING INDEX threads_by_{key} (owner=? AND <expr>=?)"]


async def crash(path: Path, spec: str) -> int:
    """Run a process that writes until a failpoint ends it; return its exit code."""
    program = textwrap.dedent(
        f"""
        import asyncio, sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from tests.support.stores.steps import *
        from antiphon.telemetry import failpoints
        from antiphon.stores.sqlite.store import SqliteStore

        async def main():
            store = await SqliteStore.open({str(path)!r})
            claim = await add_claimed(store)
            print("begun", flush=True)
            failpoints.arm({spec!r})
            for number in range(3, 10):
                await append(store, claim, number, "x")
                print("appended", number, flush=True)
                read_set = ReadSet(owner="ann", thread_id="thread_1", what="message")
                await store.change(read_set, say(a_message(number - 2, "x")))
                print("said", number - 2, flush=True)

        asyncio.run(main())
        """
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, _ = await process.communicate()
    path.with_suffix(".out").write_bytes(out)
    assert process.returncode is not None
    return process.returncode


@pytest.mark.parametrize(
    ("spec", "events", "messages"),
    [
        ("append.before_commit:kill@3", 2 + 2, 2),
        ("append.after_commit:kill@3", 2 + 3, 2),
        ("message.before_commit:kill@2", 2 + 2, 1),
        ("message.after_commit:kill@2", 2 + 2, 2),
    ],
)
async def test_a_killed_process_leaves_what_was_committed_and_no_more(
    path: Path, spec: str, events: int, messages: int
) -> None:
    assert await crash(path, spec) == -signal.SIGKILL

    async with open_store(path) as store:
        assert len(await whole_log(store, "run_1")) == events
        page = await store.list(Message, "ann", limit=99, thread_id="thread_1")
        assert len(page.data) == messages
        output = path.with_suffix(".out").read_text().split("\n")
        assert len([line for line in output if line.startswith("appended")]) <= events - 2
        assert len([line for line in output if line.startswith("said")]) <= messages
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_a_commit_that_fails_is_unavailable_and_leaves_nothing(path: Path) -> None:
    async with open_store(path) as store:
        await add_thread(store)
        failpoints.arm("message.before_commit:raise")
        try:
            with pytest.raises(errors.Unavailable):
                await store.change(
                    ReadSet(owner="ann", thread_id="thread_1", what="message"),
                    say(a_message(1, "lost")),
                )
        finally:
            failpoints.arm("")

        assert (await store.get(Thread, "ann", "thread_1")).messages == 0
        await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(a_message(1, "kept")))


def _begin_claimed(_: Snapshot) -> ChangeSet:
    run = replace(a_run(), status=Status.IN_PROGRESS)
    lease = RunLease(last_event=1, epoch=1, worker="w")
    return ChangeSet(owner="ann", run_updates=(RunUpdate(run, lease, (status_of(run),)),))


async def test_an_append_from_before_a_commit_is_written_after_it(path: Path) -> None:
    async with open_store(path) as store:
        await add_thread(store)
        written: list[Committed] = []
        appended: list[asyncio.Future[None]] = []

        def append_early(committed: Committed) -> None:
            written.append(committed)
            appended.append(append_lines(store, "run_1", 1, 2, lines("early"), urgent=True))

        read_set = ReadSet(owner="ann", thread_id="thread_1", what="run")
        committed = await store.change(read_set, _begin_claimed, append_early)
        await appended[0]

        assert written == [committed]
        assert (await whole_log(store, "run_1"))[1:] == lines("early")


async def test_an_append_from_before_a_commit_is_refused_where_the_commit_fails(
    path: Path,
) -> None:
    async with open_store(path) as store:
        await add_thread(store)
        appended: list[asyncio.Future[None]] = []

        def append_early(_: Committed) -> None:
            appended.append(append_lines(store, "run_1", 1, 2, lines("early"), urgent=True))

        read_set = ReadSet(owner="ann", thread_id="thread_1", what="run")
        failpoints.arm("run.before_commit:raise")
        try:
            with pytest.raises(errors.Unavailable):
                await store.change(read_set, _begin_claimed, append_early)
        finally:
            failpoints.arm("")

        with pytest.raises(errors.Fenced):
            await appended[0]
        with pytest.raises(errors.NotFound):
            await store.get(Run, "ann", "run_1")


async def test_a_caller_that_has_left_is_not_told_of_a_commit_on_its_way(path: Path) -> None:
    async with open_store(path) as store:
        await add_thread(store)
        loop = asyncio.get_running_loop()
        announced: list[Committed] = []

        def cancel_caller(records: Snapshot) -> ChangeSet:
            # This runs in the writer's thread, before the commit.
            loop.call_soon_threadsafe(changing.cancel)
            return _begin_claimed(records)

        read_set = ReadSet(owner="ann", thread_id="thread_1", what="run")
        changing = asyncio.create_task(store.change(read_set, cancel_caller, announced.append))
        with pytest.raises(asyncio.CancelledError):
            await changing
        await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(a_message(1, "on")))

        assert not announced
        assert (await store.get(Run, "ann", "run_1")).status is Status.IN_PROGRESS


async def test_a_commit_on_its_way_is_told_to_each_caller_whatever_another_does(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store(path) as store:
        for number in (1, 2):
            await add_thread(store, number)
        all_queued = threading.Event()
        announced: list[Committed] = []

        def block(_: Snapshot) -> None:
            all_queued.wait()

        def fail(_: Committed) -> None:
            raise RuntimeError("not my day")

        blocking = asyncio.create_task(store.change(ReadSet(owner="ann", what="run"), block))
        changes = [
            asyncio.create_task(
                store.change(
                    ReadSet(owner="ann", thread_id=name), say(a_message(1, "on", name)), on_commit
                )
            )
            for name, on_commit in (("thread_1", fail), ("thread_2", announced.append))
        ]
        await asyncio.sleep(0)
        all_queued.set()
        await asyncio.gather(blocking, *changes)

        assert announced == [changes[1].result()]
        assert "not my day" in caplog.text


async def test_of_writes_committed_together_those_that_fail_are_rolled_back_alone(
    path: Path,
) -> None:
    is_held, go_on = threading.Event(), threading.Event()

    def hold_writer(_: object) -> None:
        is_held.set()
        assert go_on.wait(SOON)

    def refuse(_: object) -> None:
        raise errors.InvalidRequest("no")

    async with open_store(path) as store:
        for number in (1, 2):
            await add_thread(store, number)
        await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(a_message(1, "one")))
        holding = asyncio.create_task(store.change(ReadSet(owner="ann"), hold_writer))
        assert await asyncio.to_thread(is_held.wait, SOON)
        # The thread is written before the database refuses its message, whose id is taken.
        duplicate = a_message(1, "two", "thread_2", id=a_message(1, "one").id)
        writes = [
            asyncio.create_task(work)
            for work in (
                add_thread(store, 3),
                store.change(ReadSet(owner="ann"), refuse),
                store.change(ReadSet(owner="ann", thread_id="thread_2"), say(duplicate)),
                add_thread(store, 4),
            )
        ]
        await asyncio.sleep(0)  # now all of them are queued
        go_on.set()
        await holding
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        failed = [type(each) for each in outcomes if isinstance(each, BaseException)]
        assert failed == [errors.InvalidRequest, errors.Internal]
        assert await page_through(store, Thread, 10) == [f"thread_{n}" for n in (4, 3, 2, 1)]
        assert (await store.get(Thread, "ann", "thread_2")).messages == 0


async def test_what_follows_an_append_that_was_lost_is_refused_and_leaves_no_gap(
    path: Path,
) -> None:
    async with open_store(path) as store:
        claim = await add_claimed(store)
        epoch = claim.lease.epoch
        failpoints.arm("append.before_commit:raise")
        try:
            lost = append_lines(store, "run_1", epoch, 3, lines("lost"), urgent=True)
            with pytest.raises(errors.Unavailable):
                await lost
        finally:
            failpoints.arm("")
        with pytest.raises(errors.Fenced):
            await append_lines(store, "run_1", epoch, 4, lines("late"), urgent=True)

        assert len(await whole_log(store, "run_1")) == 2


async def test_a_full_disk_is_unavailable_and_work_goes_on_when_there_is_room(path: Path) -> None:
    async with open_store(path) as store:
        claim = await add_claimed(store)
        largest = max(each.stat().st_size for each in path.parent.iterdir())
        with no_file_larger_than(largest):
            with pytest.raises(errors.Unavailable):
                await append(store, claim, 3, "x" * 100_000)
            with pytest.raises(errors.Unavailable):
                await store.check()
            assert len(await whole_log(store, "run_1")) == 2
        await append(store, claim, 3, "y")

        assert await whole_log(store, "run_1", 2) == lines("y")


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_reader_that_could_not_open_the_file_tries_again(path: Path) -> None:
    async with open_store(path) as store:
        await add_thread(store)
        with no_file_to_spare():
            for _ in range(4):
                with pytest.raises(errors.Unavailable):
                    await store.get(Thread, "ann", "thread_1")

        assert (await store.get(Thread, "ann", "thread_1")).id == "thread_1"


async def test_a_store_that_cannot_read_does_not_say_that_it_works(path: Path) -> None:
    async with open_store(path) as store:
        with no_file_to_spare(), pytest.raises(errors.Unavailable):
            await store.check()
        await store.check()


@contextmanager
def no_file_to_spare() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.dup(0)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_searches_keep_no_other_reader_waiting(path: Path) -> None:
    store = await SqliteStore.open(path, clock=Clock())
    free = threading.Event()

    async def occupy(_: Transaction) -> None:
        free.wait()

    try:
        await add_thread(store)
        slow_reads = [
            asyncio.create_task(store.read_administration(occupy, slow=True))
            for _ in range(MAX_CONCURRENT_SEARCHES)
        ]
        search = asyncio.create_task(store.list(Thread, "ann", limit=9, query="word"))
        await store.get(Thread, "ann", "thread_1")

        assert not search.done()
        free.set()
        await asyncio.gather(search, *slow_reads)
    finally:
        free.set()
        await store.close()


async def _change_nothing(store: Store, what: str) -> Committed:
    return await store.change(ReadSet(owner="ann", what=what), lambda _: None)


@pytest.mark.parametrize("what", ["messages", "share", "claim_action", "forget_response"])
async def test_a_client_is_refused_as_soon_as_others_while_the_file_is_locked(
    path: Path, what: str
) -> None:
    async with open_store(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            thread_change = asyncio.create_task(_change_nothing(store, "thread"))
            client_change = asyncio.create_task(_change_nothing(store, what))
            await asyncio.wait([thread_change])
            # Both fail in one report of the writer; the longer wait would last some seconds more.
            done, _ = await asyncio.wait([client_change], timeout=2)
            other.execute("ROLLBACK")
        outcomes = await asyncio.gather(thread_change, client_change, return_exceptions=True)

    assert done == {client_change}
    assert [type(outcome) for outcome in outcomes] == [errors.Unavailable] * 2


def test_a_file_that_others_write_to_is_waited_for_longer_than_one_that_is_only_locked() -> None:
    locked, written = LockPatience(1, now=0.0), LockPatience(1, now=0.0)

    assert not locked.is_over(1, now=1.4)
    assert locked.is_over(1, now=1.5)
    assert not any(written.is_over(commits, now=float(commits)) for commits in range(2, 5))
    assert written.is_over(5, now=5.0)
