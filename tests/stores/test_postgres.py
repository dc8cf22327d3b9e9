"""Promises of the PostgreSQL store beyond those of every store."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from antiphon.engine.snapshot import ChangeSet, Claim, Committed, ReadSet, Snapshot
from antiphon.engine.text_search import Phrase
from antiphon.ports import Store
from antiphon.stores.postgres import reads
from antiphon.stores.postgres.change_statement import ChangeShape, change_statement
from antiphon.stores.postgres.connections import (
    DEFAULT_TIMEOUTS,
    SQL,
    ConnectionPool,
    number_parameters,
)
from antiphon.stores.postgres.migrations import (
    DAY_MS,
    KNOWN,
    PARTS_AHEAD_DAYS,
    make_parts,
    prepare,
)
from antiphon.stores.postgres.store import START_SECONDS, PostgresStore
from antiphon.stores.record_query import NAMES, RecordQuery
from antiphon.stores.statements import Migration
from antiphon.types import errors
from antiphon.types.events import TextDelta
from antiphon.types.messages import Message
from antiphon.types.runs import Run, Status, Thread
from tests.support.ports import find_port
from tests.support.services.postgres import Postgres
from tests.support.stores.appending import append_lines
from tests.support.stores.databases import PATIENT
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
    move_run,
    say,
    take,
    whole_log,
)

pytestmark = pytest.mark.processes

SOON = 60.0
NOTICED = 10.0
"""Seconds until a caller gets an error without a server: two, and more on a busy machine."""


@asynccontextmanager
async def open_store(address: str, **options: Any) -> AsyncGenerator[PostgresStore]:
    store = await PostgresStore.open(address, **{"timeouts": PATIENT, **options})
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def connect(address: str) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(address)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def address(postgres: Postgres) -> str:
    return await postgres.create()


@pytest.fixture
def own_server(open_folder: Path) -> Any:
    """A server that a test may kill."""
    server = Postgres(open_folder / "pg")
    server.start()
    yield server
    server.stop()


# Many processes


async def test_new_databases_may_be_opened_by_many_at_once(address: str) -> None:
    stores = await asyncio.gather(
        *(PostgresStore.open(address, timeouts=PATIENT) for _ in range(6))
    )
    await asyncio.gather(*(add_thread(store, number) for number, store in enumerate(stores)))

    assert len((await stores[0].list(Thread, "ann", limit=99)).data) == 6
    await asyncio.gather(*(store.close() for store in stores))


def add_message(records: Snapshot) -> ChangeSet:
    assert records.thread is not None
    number = records.thread.messages + 1
    return say(a_message(number, f"text {number}"))(records)


async def test_what_was_decided_upon_something_old_is_decided_anew(address: str) -> None:
    async with open_store(address) as one, open_store(address) as two:
        await add_thread(one)
        read_set = ReadSet(owner="ann", thread_id="thread_1")
        await asyncio.gather(*(store.change(read_set, add_message) for store in (one, two) * 16))

        page = await two.list(Message, "ann", limit=99, thread_id="thread_1")
        assert [message.number for message in page.data] == list(range(1, 33))


async def test_two_processes_begin_one_run_in_a_thread(address: str) -> None:
    async with open_store(address) as one, open_store(address) as two:
        await add_thread(one)
        read_set = ReadSet(owner="ann", thread_id="thread_1")
        outcomes = await asyncio.gather(
            *(
                store.change(read_set, begin(a_run(number)))
                for number, store in enumerate((one, two) * 16)
            ),
            return_exceptions=True,
        )

        assert len([outcome for outcome in outcomes if isinstance(outcome, Committed)]) == 1
        assert len([fault for fault in outcomes if isinstance(fault, errors.RunActive)]) == 31


async def test_of_32_claimants_each_run_goes_to_one(address: str) -> None:
    async with open_store(address) as one, open_store(address) as two:
        for number in range(12):
            await add_thread(one, number)
            await add_run(one, number, f"thread_{number}", wanted=True)
        claims = await asyncio.gather(*(store.claim(take()) for store in (one, two) * 16))

        claimed = [claim.run.id for claim in claims if claim]
        assert sorted(claimed) == sorted(f"run_{number}" for number in range(12))


async def test_an_append_that_waits_for_a_takeover_is_refused_by_it(address: str) -> None:
    async with open_store(address) as store, connect(address) as other:
        claim = await add_claimed(store)
        async with other.transaction():
            await other.execute("UPDATE drives SET epoch = 2")
            writing = append_lines(store, "run_1", 1, 3, lines("late"), urgent=True)
            await wait_until(lambda: waits_for_a_lock(other))

        with pytest.raises(errors.Fenced):
            await writing
        assert len(await whole_log(store, "run_1")) == claim.lease.last_event


async def test_a_change_that_waits_for_a_takeover_is_decided_after_it(address: str) -> None:
    async with open_store(address) as store, connect(address) as other:
        await add_claimed(store)
        epochs: list[int] = []

        def finish(records: Snapshot) -> ChangeSet:
            assert records.lease is not None
            epochs.append(records.lease.epoch)
            return move(Status.COMPLETED)(records)

        async with other.transaction():
            await other.execute("UPDATE threads SET changes = changes + 1")
            await other.execute("UPDATE drives SET epoch = 2")
            change = asyncio.ensure_future(
                store.change(ReadSet(owner=None, run_id="run_1"), finish)
            )
            await wait_until(lambda: waits_for_a_lock(other))
        await change

        assert set(epochs) == {1, 2}
        assert epochs[-1] == 2


# Changes that are decided from what this process has written


class Decisions:
    """Decision that moves a run, and keeps the records of each call."""

    def __init__(self, to: Status) -> None:
        self.records: list[Snapshot] = []
        self._move = move(to)

    def __call__(self, records: Snapshot) -> ChangeSet:
        self.records.append(records)
        return self._move(records)


async def test_a_run_that_this_process_drives_is_changed_without_a_read(address: str) -> None:
    async with open_store(address) as store, connect(address) as other:
        claim = await add_claimed(store)
        await append(store, claim, claim.lease.last_event + 1, "one", "two")
        assert await store.renew_leases({"run_1": claim.lease.epoch}, 60_000) == frozenset()
        await other.execute("UPDATE runs SET doc = 'what no read would understand'")
        finish = Decisions(Status.COMPLETED)
        await store.change(ReadSet(owner=None, run_id="run_1"), finish)

        (records,) = finish.records
        assert records.lease is not None
        assert records.lease.last_event == claim.lease.last_event + 2
        assert (await store.get(Run, "ann", "run_1")).status is Status.COMPLETED


@pytest.mark.parametrize("changed", ["thread", "run", "log"])
async def test_what_another_process_changed_meanwhile_is_read(address: str, changed: str) -> None:
    async with open_store(address) as store, open_store(address) as other:
        claim = await add_claimed(store)
        match changed:
            case "thread":
                read_set = ReadSet(owner="ann", thread_id="thread_1")
                await other.change(read_set, say(a_message(1, "hello")))
            case "run":
                read_set = ReadSet(owner="ann", run_id="run_1")
                await other.change(read_set, move(Status.IN_PROGRESS, epoch=7))
            case _:
                await append(other, claim, claim.lease.last_event + 1, "one")
        finish = Decisions(Status.COMPLETED)
        await store.change(ReadSet(owner=None, run_id="run_1"), finish)

        last_records = finish.records[-1]
        assert len(finish.records) == 2
        assert last_records.thread is not None
        assert last_records.lease is not None
        assert last_records.thread.messages == (changed == "thread")
        assert last_records.lease.epoch == (7 if changed == "run" else claim.lease.epoch)
        assert last_records.lease.last_event - claim.lease.last_event == (changed != "thread")


async def test_a_decision_that_fails_on_known_records_is_made_on_those_of_a_read(
    address: str,
) -> None:
    async with open_store(address) as store, open_store(address) as other:
        await add_claimed(store)
        read_set = ReadSet(owner=None, run_id="run_1")
        await other.change(read_set, move(Status.IN_PROGRESS, epoch=7))

        def finish_if_current(records: Snapshot) -> ChangeSet:
            if records.lease is None or records.lease.epoch != 7:
                raise errors.Fenced("It has another epoch.")
            return move(Status.COMPLETED)(records)

        await store.change(read_set, finish_if_current)

        assert (await store.get(Run, "ann", "run_1")).status is Status.COMPLETED


async def test_other_owners_are_not_given_a_run_that_is_known(address: str) -> None:
    async with open_store(address) as store:
        await add_claimed(store)
        finish = Decisions(Status.COMPLETED)
        with pytest.raises(AssertionError):
            await store.change(ReadSet(owner="bob", run_id="run_1"), finish)

        assert [records.run for records in finish.records] == [None]


async def test_a_beat_in_between_is_no_lease_that_has_run_out(address: str) -> None:
    """The sweep decides that the lease has expired; then the worker renews it."""
    clock = Clock()
    async with open_store(address, clock=clock) as store, connect(address) as other:
        await add_claimed(store)
        clock.now += 20_000
        due_times: list[int] = []

        def requeue_if_overdue(records: Snapshot) -> ChangeSet | None:
            assert records.lease is not None
            assert records.lease.due_at is not None
            due_times.append(records.lease.due_at)
            return None if records.lease.due_at > records.now else move(Status.QUEUED)(records)

        async with other.transaction():
            await other.execute("UPDATE drives SET due_at = $1", clock.now + 15_000)
            sweep = asyncio.ensure_future(
                store.change(ReadSet(owner=None, run_id="run_1"), requeue_if_overdue)
            )
            await wait_until(lambda: waits_for_a_lock(other))
        await sweep

        assert len(set(due_times)) == 2
        assert (await store.get(Run, None, "run_1")).status is Status.IN_PROGRESS


# Changes that are written together


async def claim_some(store: Store, count: int) -> list[ReadSet]:
    """Claim the runs 1 to `count`, each in its own thread; return their read sets."""
    for number in range(1, count + 1):
        await add_claimed(store, number)
    return [ReadSet(owner=None, run_id=f"run_{number}") for number in range(1, count + 1)]


async def test_changes_that_come_at_once_share_a_transaction(address: str) -> None:
    async with open_store(address, clock=Clock()) as store, connect(address) as other:
        runs = await claim_some(store, 5)
        await asyncio.gather(*(add_thread(store, number) for number in range(10, 40)))
        await asyncio.gather(*(store.change(run, move(Status.COMPLETED)) for run in runs))

        ended = await other.fetchval("SELECT count(DISTINCT xmin::text) FROM drives")
        added = "SELECT count(DISTINCT xmin::text) FROM threads WHERE seq > 5"
        assert (ended, await other.fetchval(added)) == (1, 1)
        for run in runs:
            assert run.run_id is not None
            assert (await store.get(Run, "ann", run.run_id)).status is Status.COMPLETED


async def test_each_of_many_changes_is_written_as_it_was_decided(address: str) -> None:
    """Messages, events and words of a change do not get into another one."""

    def answer(number: int) -> Callable[[Snapshot], ChangeSet]:
        def decide(records: Snapshot) -> ChangeSet:
            thread = f"thread_{number}"
            messages = [
                a_message(each, f"word{number} {each}", thread) for each in range(1, number)
            ]
            run_update = move_run(
                records, Status.COMPLETED, *(TextDelta(text=str(number)),) * number
            )
            return say(*messages, run_updates=(run_update,), answer=number)(records)

        return decide

    async with open_store(address, clock=Clock()) as store:
        runs = await claim_some(store, 5)
        commits = await asyncio.gather(
            *(store.change(run, answer(number)) for number, run in enumerate(runs, 1))
        )

        assert [each.answer for each in commits] == [1, 2, 3, 4, 5]
        for number in range(1, 6):
            page = await store.list(Message, "ann", limit=9, thread_id=f"thread_{number}")
            assert [message.full_text for message in page.data] == [
                f"word{number} {each}" for each in range(1, number)
            ]
            log = await whole_log(store, f"run_{number}")
            assert log[3:] == lines(*[str(number)] * number)
            hits = await store.search("ann", [Phrase((f"word{number}",), prefix=False)], limit=9)
            assert len(hits.messages) == number - 1


async def test_an_overtaken_change_is_decided_again_and_those_beside_it_are_not(
    address: str,
) -> None:
    async with open_store(address, clock=Clock()) as store, connect(address) as other:
        runs = await claim_some(store, 3)
        await other.execute("UPDATE threads SET changes = changes + 1 WHERE id = 'thread_2'")
        finishes = [Decisions(Status.COMPLETED) for _ in runs]
        await asyncio.gather(*map(store.change, runs, finishes))

        assert [len(finish.records) for finish in finishes] == [1, 2, 1]
        for number in (1, 2, 3):
            assert (await store.get(Run, "ann", f"run_{number}")).status is Status.COMPLETED


async def test_a_change_that_waits_for_a_lock_holds_up_none_beside_it(address: str) -> None:
    async with open_store(address, clock=Clock()) as store, connect(address) as other:
        runs = await claim_some(store, 3)
        async with other.transaction():
            await other.execute("SELECT 1 FROM threads WHERE id = 'thread_2' FOR UPDATE")
            first, second, third = (
                asyncio.ensure_future(store.change(run, move(Status.COMPLETED))) for run in runs
            )
            await asyncio.gather(first, third)
            assert not second.done()
        await second

        assert (await store.get(Run, "ann", "run_2")).status is Status.COMPLETED


async def test_a_change_that_is_refused_takes_none_with_it(address: str) -> None:
    async with open_store(address, clock=Clock()) as store:
        outcomes = await asyncio.gather(
            *(add_thread(store, number) for number in (1, 2, 2, 3)), return_exceptions=True
        )

        faults = [fault for fault in outcomes if isinstance(fault, BaseException)]
        assert [type(fault) for fault in faults] == [errors.Internal]
        threads = (await store.list(Thread, "ann", limit=9)).data
        assert {thread.id for thread in threads} == {"thread_1", "thread_2", "thread_3"}


async def test_two_changes_of_a_thread_are_not_written_together(address: str) -> None:
    async with open_store(address, clock=Clock()) as store:
        await add_claimed(store)
        read_set = ReadSet(owner="ann", thread_id="thread_1")
        run = ReadSet(owner=None, run_id="run_1")
        await asyncio.gather(
            store.change(run, say(a_message(2, "of the run"))), store.change(read_set, add_message)
        )

        messages = (await store.list(Message, "ann", limit=9, thread_id="thread_1")).data
        assert len(messages) == 2
        assert (await store.get(Thread, "ann", "thread_1")).messages == messages[-1].number


async def test_an_append_that_waits_for_a_lock_holds_up_none_of_another_run(address: str) -> None:
    async with open_store(address) as store, connect(address) as other:
        claims = [await add_claimed(store, number) for number in (1, 2)]
        async with other.transaction():
            await other.execute("SELECT 1 FROM drives WHERE id = 'run_1' FOR UPDATE")
            first_append = asyncio.ensure_future(append(store, claims[0], 3, "one"))
            await wait_until(lambda: waits_for_a_lock(other))
            await append(store, claims[1], 3, "two")
            assert not first_append.done()
        await first_append

        assert len(await whole_log(store, "run_1")) == 3


async def waits_for_a_lock(connection: asyncpg.Connection) -> bool:
    return await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )


async def wait_until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SOON):
        while not await condition():
            await asyncio.sleep(0.005)


# Faults


async def test_a_change_whose_caller_went_away_is_finished_and_its_connection_goes_on(
    address: str,
) -> None:
    async with open_store(address, connections=1) as store:
        await add_thread(store)
        change = asyncio.ensure_future(
            store.change(ReadSet(owner="ann", thread_id="thread_1"), add_message)
        )
        await asyncio.sleep(0)
        change.cancel()
        await asyncio.wait([change])

        await wait_until(lambda: is_message_stored(store))
        assert (await store.get(Thread, "ann", "thread_1")).messages == 1


async def is_message_stored(store: Store) -> bool:
    return bool((await store.list(Message, "ann", limit=9, thread_id="thread_1")).data)


async def test_connections_that_are_killed_are_replaced_and_no_event_is_lost_or_doubled(
    own_server: Postgres,
) -> None:
    async with open_store(await own_server.create(), timeouts=DEFAULT_TIMEOUTS) as store:
        claim = await add_claimed(store)
        texts = [str(number) for number in range(300)]
        for number, text in enumerate(texts):
            if number in (100, 200):
                own_server.kill_backends()
            await append(store, claim, 3 + number, text)

        assert await whole_log(store, "run_1", 2) == lines(*texts)
        assert await store.claim(take()) is None


async def test_a_server_that_is_away_is_noticed_soon_and_found_again_when_it_is_back(
    own_server: Postgres,
) -> None:
    async with open_store(await own_server.create(), timeouts=DEFAULT_TIMEOUTS) as store:
        await add_thread(store)
        own_server.kill()
        await expect_prompt_errors(store)
        own_server.start()

        await wait_until(partial(is_working, store))
        await store.change(ReadSet(owner="ann", thread_id="thread_1"), add_message)
        assert (await store.get(Thread, "ann", "thread_1")).messages == 1


async def test_a_server_that_stalls_is_noticed_soon_and_found_again_when_it_goes_on(
    own_server: Postgres,
) -> None:
    async with open_store(await own_server.create(), timeouts=DEFAULT_TIMEOUTS) as store:
        await add_thread(store)
        with own_server.freeze():
            await expect_prompt_errors(store)

        await wait_until(partial(is_working, store))


async def test_a_store_is_closed_soon_also_while_its_server_stalls_in_clearing_up(
    own_server: Postgres,
) -> None:
    async with open_store(await own_server.create(), timeouts=DEFAULT_TIMEOUTS) as store:
        await add_thread(store)
        with own_server.freeze():
            clearing_up = asyncio.create_task(store.delete_expired(0, 0))
            await asyncio.sleep(0)
            async with asyncio.timeout(3 * NOTICED):
                await store.close()

            with pytest.raises(errors.Unavailable):
                await clearing_up


async def expect_prompt_errors(store: Store) -> None:
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    for call in (
        lambda: store.get(Thread, "ann", "thread_1"),
        lambda: store.change(read_set, add_message),
    ):
        called_at = time.monotonic()
        with pytest.raises(errors.Unavailable):
            await call()
        assert time.monotonic() - called_at < NOTICED


async def is_working(store: Store) -> bool:
    try:
        await store.check()
    except errors.Unavailable:
        return False
    return True


async def test_what_is_acknowledged_has_been_written_and_a_beat_is_not_waited_for(
    open_folder: Path,
) -> None:
    server = Postgres(open_folder / "pg", {"wal_writer_delay": "10s", "autovacuum": "off"})
    server.start()
    try:
        address = await server.create()
        async with open_store(address) as store, connect(address) as other:
            claim = await add_claimed(store)
            # The first statement of a connection writes to the catalogue.
            await count_unwritten_bytes(other)
            await append(store, claim, 3, "a")
            assert await count_unwritten_bytes(other) == 0
            await store.renew_leases({"run_1": 1}, 15_000)
            assert await count_unwritten_bytes(other) > 0
            await store.change(ReadSet(owner="ann", thread_id="thread_1"), add_message)
            assert await count_unwritten_bytes(other) == 0
    finally:
        server.stop()


async def count_unwritten_bytes(connection: asyncpg.Connection) -> int:
    """Return the bytes of PostgreSQL's log that are not on disk yet."""
    behind = "pg_wal_lsn_diff(pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn())"
    return int(await connection.fetchval(f"SELECT {behind}"))


@pytest.mark.parametrize("name", ["\x00", "\ud800"])
async def test_what_has_a_name_that_cannot_be_kept_is_not_there(address: str, name: str) -> None:
    async with open_store(address) as store:
        for call in (
            store.get(Thread, "ann", name),
            store.list(Run, "ann", limit=9, after=name),
            store.read_events(name, 0),
            store.context(name),
        ):
            with pytest.raises(errors.NotFound):
                await call
        assert await store.find_key(name) is None
        assert await store.find_person(name=name) is None


# The database


async def test_a_database_that_is_not_there_is_a_bad_setting(postgres: Postgres) -> None:
    with pytest.raises(errors.BadSettings, match="does not exist"):
        await PostgresStore.open(postgres.address("nowhere"))


async def test_a_missing_server_is_an_error_after_a_short_wait() -> None:
    began = time.monotonic()

    with pytest.raises(errors.Unavailable, match="nothing listens"):
        await PostgresStore.open(f"postgresql://antiphon@127.0.0.1:{find_port()}/nowhere")
    assert time.monotonic() - began < 6 * START_SECONDS


async def test_a_newer_schema_is_refused(address: str) -> None:
    async with open_store(address):
        pass
    async with connect(address) as other:
        await other.execute("INSERT INTO migrations VALUES (999, 'the future', 0)")

    with pytest.raises(errors.BadSettings, match="newer version"):
        await PostgresStore.open(address)
    assert (await PostgresStore.schema(address)).found == 999


async def test_the_schema_is_told_without_touching_the_database(address: str) -> None:
    database_schema, known_schema = await PostgresStore.schema(address)
    async with connect(address) as other:
        table_count = await other.fetchval(
            "SELECT count(*) FROM pg_class WHERE relname = 'migrations'"
        )

    assert (database_schema, table_count) == (0, 0)
    async with open_store(address):
        assert await PostgresStore.schema(address) == (known_schema, known_schema)


async def test_what_takes_long_is_left_to_the_command_where_the_database_is_in_use(
    address: str,
) -> None:
    later = [
        *KNOWN,
        Migration(len(KNOWN) + 1, "sort", ["CREATE TABLE pears (kind TEXT)"]),
        Migration(
            len(KNOWN) + 2, "find", ["CREATE INDEX CONCURRENTLY found ON pears (kind)"], online=True
        ),
        Migration(len(KNOWN) + 3, "count", ["ALTER TABLE pears ADD COLUMN number INTEGER"]),
    ]
    async with connect(address) as other:
        await prepare(other, 0, all_migrations=False)
        await prepare(other, 0, all_migrations=False, known=later)
        assert await other.fetchval("SELECT to_regclass('found')") is None
        assert await other.fetch("SELECT number FROM pears") == []  # the later column exists
        await prepare(other, 0, all_migrations=False, known=later)
        await prepare(other, 0, all_migrations=True, known=later)

        assert await other.fetchval("SELECT to_regclass('found')") == "found"
        assert await other.fetchval("SELECT count(*) FROM migrations") == len(later)
        await prepare(other, 0, all_migrations=True, known=later)


@pytest.mark.parametrize("key", NAMES)
async def test_the_thread_of_a_name_is_found_by_an_index(address: str, key: str) -> None:
    async with open_store(address), connect(address) as other:
        query = RecordQuery(Thread, None, {})
        query.require_found({"metadata": {key: "one"}}, reads.DIALECT)
        sql = query.sql("doc").replace(":metadata_value0", "'one'").replace(":limit", "1")
        await other.execute("SET enable_seqscan = off")
        plan = await other.fetch("EXPLAIN " + sql.replace("TRUE", "owner = 'ann'", 1))

    assert f"threads_by_{key}" in "".join(step for (step,) in plan)


async def test_a_pooler_in_between_is_told_of_in_the_address(address: str) -> None:
    async with open_store(f"{address}?pgbouncer=true") as store:
        claim = await add_claimed(store)
        await append(store, claim, 3, "a")

        assert await whole_log(store, "run_1", 2) == lines("a")
    with pytest.raises(errors.BadSettings, match="pgbouncer"):
        await PostgresStore.open(f"{address}?pgbouncer=perhaps")


async def test_without_another_clock_time_is_the_databases(address: str) -> None:
    async with open_store(address) as store:
        claim = await add_claimed(store)

        assert claim.lease.due_at is not None
        assert abs(claim.lease.due_at - 15_000 - await store.now()) < SOON * 1000
        assert await store.renew_leases({"run_1": 1}, 15_000) == frozenset()
        assert await store.overdue_runs(9) == []


# Upkeep


async def end_run(store: Store, number: int) -> Claim:
    claim = await add_claimed(store, number)
    await store.change(ReadSet(owner=None, run_id=f"run_{number}"), move(Status.COMPLETED))
    return claim


async def list_part_days(connection: asyncpg.Connection) -> list[int]:
    """Return the days of the parts of the log, in order."""
    rows = await connection.fetch("SELECT inhrelid::regclass::text FROM pg_inherits")
    names = [name for (name,) in rows if re.fullmatch(r"log_\d+", name)]
    return sorted(int(name.removeprefix("log_")) for name in names)


async def test_the_log_has_parts_for_the_coming_days_and_more_as_time_goes_on(
    address: str,
) -> None:
    clock = Clock()
    async with open_store(address, clock=clock) as store, connect(address) as other:
        assert await list_part_days(other) == list(range(PARTS_AHEAD_DAYS + 1))
        clock.now = 3 * DAY_MS
        await store.delete_expired(0, 0)
        assert await list_part_days(other) == list(range(3 + PARTS_AHEAD_DAYS + 1))
        clock.now = 40 * DAY_MS

        await add_claimed(store)
        assert 40 in await list_part_days(other)
        assert len(await whole_log(store, "run_1")) == 2


async def test_a_run_begins_though_somebody_else_has_just_made_the_part_of_its_day(
    address: str,
) -> None:
    """The database refuses the run's events; when the store checks, no part is missing."""
    clock = Clock()
    async with open_store(address, clock=clock) as store, connect(address) as other:
        await add_claimed(store, 1)
        await add_thread(store, 2)
        clock.now = 40 * DAY_MS
        async with other.transaction():
            await other.execute("LOCK TABLE pg_inherits IN ACCESS EXCLUSIVE MODE")
            start = asyncio.create_task(add_run(store, 2, "thread_2", wanted=True))
            await wait_until(lambda: waits_for_a_lock(other))
            await make_parts(other, 40)
        await start

        assert len(await whole_log(store, "run_2")) == 1


async def test_the_events_of_a_day_are_dropped_as_a_whole_once_all_its_runs_are_forgotten(
    address: str,
) -> None:
    clock = Clock()
    async with open_store(address, clock=clock) as store, connect(address) as other:
        await end_run(store, 1)
        await add_claimed(store, 2)
        clock.now = DAY_MS
        await end_run(store, 3)
        clock.now = 2 * DAY_MS
        assert await store.delete_expired(2 * DAY_MS, 0) == 2

        # A run of the first day is still active; the expired events of that day are deleted by row.
        assert await list_part_days(other) == [0, *range(2, 2 + PARTS_AHEAD_DAYS + 1)]
        assert await other.fetchval("SELECT count(DISTINCT run) FROM log") == 1
        assert len(await whole_log(store, "run_2")) == 2
        for number in (1, 3):
            with pytest.raises(errors.EventExpired):
                await store.read_events(f"run_{number}", 0)
            assert (await store.read_events(f"run_{number}", 3)).ended
        await store.change(ReadSet(owner=None, run_id="run_2"), move(Status.COMPLETED))
        assert await store.delete_expired(3 * DAY_MS, 0) == 1
        assert 0 not in await list_part_days(other)


async def test_a_part_that_somebody_reads_goes_the_next_time(address: str) -> None:
    clock, briefly = Clock(), PATIENT._replace(lock=0.1)
    async with (
        open_store(address, clock=clock, timeouts=briefly) as store,
        connect(address) as other,
    ):
        await end_run(store, 1)
        clock.now = 2 * DAY_MS
        async with other.transaction():
            await other.execute("LOCK TABLE log_0 IN ACCESS SHARE MODE")
            assert await store.delete_expired(2 * DAY_MS, 0) == 1
            assert await other.fetchval("SELECT to_regclass('log_0')") == "log_0"
        await store.delete_expired(2 * DAY_MS, 0)

        assert await other.fetchval("SELECT to_regclass('log_0')") is None


HOT = {
    name: SQL[name]
    for name in (
        *(
            "read_change",
            "version",
            "context",
            "run_lease",
            "run_number",
            "log",
            "append",
            "renew_leases",
        ),
        *("overdue_runs", "leases", "claim_next_wanted", "active_run", "call_ids", "answer"),
        *(
            "expire_events",
            "expire_answers",
            "days_to_keep",
            "drop_events",
            "join_segment",
            "find_key",
        ),
        *(
            "count_usage",
            "live_runs",
            "usage",
            "audit_entries",
            "audit_entries_of_owner",
            "owners",
            "encrypted_key",
            "person",
        ),
        *("person_by_name", "person_by_subject", "clear_answers", "erase_messages", "drop_actions"),
        *("runs_to_erase", "threads_to_erase", "erase_uploads", "erase_answers", "erase_usage"),
        *("remove_drives", "remove_actions", "remove_runs", "remove_messages", "key_for_update"),
    )
} | {
    "a change": change_statement(
        ChangeShape(
            ("threads", "keys", "drives"),
            (
                *(
                    "thread_saved",
                    "key_held",
                    "messages_cut",
                    "segments_dropped",
                    "messages_added",
                    "run_moved",
                    "run_saved",
                    "events_added",
                ),
                *(
                    "run_added",
                    "lease_added",
                    "first_events_added",
                    "actions_saved",
                    "answer_saved",
                    "tokens_counted",
                ),
                *("usage_added", "audit_entry_added", "deliveries_added"),
            ),
        ),
        wait=True,
    ),
    "a new thread": change_statement(
        ChangeShape((), ("thread_added", "messages_added", "run_added", "lease_added")), wait=False
    ),
    "a list": number_parameters(
        "SELECT doc FROM threads WHERE owner = :owner AND seq < :place LIMIT :n"
    ),
}


PARTIAL = {"queue", "runs_due", "live_runs", "drives_of_day"}
"""Indexes of a few rows, which infrequent statements may read completely."""
OF_EVERY_TURN = {"read_change", "a change", "a new thread", "append", "log"}
"""Frequent statements, which may not: removed rows stay in an index until the next vacuum."""


async def test_no_statement_of_every_day_reads_a_whole_table(address: str) -> None:
    scans: dict[str, list[str]] = {}
    async with open_store(address):
        connection = await ConnectionPool(address, 1).connect()
        try:
            for name, statement in HOT.items():
                # The generic plan, made while the tables are empty, as in a new database.
                await connection.execute(f"PREPARE hot AS {statement.sql}")
                nothing = ", ".join(["NULL"] * len(statement.names))
                explain = f"EXPLAIN (FORMAT JSON) EXECUTE hot{f' ({nothing})' if nothing else ''}"
                (plan,) = msgspec.json.decode(await connection.fetchval(explain))
                await connection.execute("DEALLOCATE hot")
                allowed: set[str] = set() if name in OF_EVERY_TURN else PARTIAL
                if full := sorted({*full_scans(plan["Plan"])} - allowed):
                    scans[name] = full
        finally:
            await connection.close()

    assert scans == {}


FEW = 10
"""Most rows that a step may read to find one of three waiting runs."""


@pytest.mark.parametrize("name", ["next_wanted", "claim_next_wanted", "destinations"])
async def test_runs_that_only_others_can_take_cost_nothing_however_many_wait(
    address: str, name: str
) -> None:
    async with open_store(address) as store:
        for number, destination in enumerate(("here", "there", "here")):
            await add_thread(store, number)
            await add_run(store, number, f"thread_{number}", wanted=True, destination=destination)
        connection = await ConnectionPool(address, 1).connect()
        try:
            await connection.execute(MANY_ELSEWHERE)
            statement = await connection.prepare(SQL[name].sql)
            parameters = {"destinations": ["here", "there"], "declined": ["run_0"]}
            for mode in ("force_custom_plan", "force_generic_plan"):
                await connection.execute(f"SET plan_cache_mode = {mode}")
                (plan,) = await statement.explain(*SQL[name].values(parameters), analyze=True)
                assert most_rows(plan["Plan"]) <= FEW, plan
            rows = await statement.fetch(*SQL[name].values(parameters))
        finally:
            await connection.close()

    expected = {
        "next_wanted": {"many_1", "run_1", "run_2"},
        "claim_next_wanted": {"run_1"},
        "destinations": {"elsewhere", "here", "there"},
    }
    assert {each for each, *_ in rows} == expected[name]


MANY_ELSEWHERE = """
INSERT INTO drives (
    run, last_event, epoch, id, thread_id, status, wanted, wanted_at, turn_began_after, kept_after,
    fresh, destination
)
SELECT n, 0, 0, 'many_' || n, 'many_' || n, 'queued', TRUE, 0, 0, 0, FALSE, 'elsewhere'
FROM generate_series(1, 20000) AS n;
ANALYZE drives
"""


def most_rows(step: dict[str, Any]) -> int:
    """Return the most rows that a step of this plan has read, filtered rows included."""
    rows_read = step["Actual Rows"] + step.get("Rows Removed by Filter", 0)
    return max([int(rows_read * step["Actual Loops"]), *map(most_rows, step.get("Plans", []))])


def full_scans(step: dict[str, Any]) -> Iterator[str]:
    """Yield the tables and indexes that a plan reads completely."""
    if step["Node Type"] == "Seq Scan":
        yield step["Relation Name"]
    elif "Index Name" in step and "Index Cond" not in step:
        yield step["Index Name"]
    for inner in step.get("Plans", []):
        yield from full_scans(inner)
