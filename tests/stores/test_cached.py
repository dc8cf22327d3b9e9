"""Promises of the cache beyond those of every store: fewer reads, and a limit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from antiphon.engine.context_window import Context
from antiphon.engine.snapshot import Committed, Decide, ReadSet
from antiphon.ports import BeforeCommit
from antiphon.stores.cached.log_tails import ENDED_BYTES, TAIL_BYTES, LogTails
from antiphon.stores.cached.store import CachedStore
from antiphon.stores.memory.store import MemoryStore
from antiphon.types import errors
from antiphon.types.events import EventPage
from antiphon.types.runs import Status, Thread
from tests.support.stores.appending import append_lines
from tests.support.stores.openers import Clock
from tests.support.stores.steps import (
    a_message,
    add_claimed,
    add_thread,
    append,
    lines,
    move,
    say,
    whole_log,
)


class CountedStore(MemoryStore):
    """Store that counts reads."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.logs = 0
        self.contexts = 0
        self.versions = 0

    async def read_events(self, run_id: str, after: int) -> EventPage:
        self.logs += 1
        return await super().read_events(run_id, after)

    async def context(
        self, thread_id: str, *, fresh: bool = False, version: int | None = None
    ) -> Context:
        self.contexts += 1
        return await super().context(thread_id, fresh=fresh)

    async def thread_version(self, thread_id: str) -> int:
        self.versions += 1
        return await super().thread_version(thread_id)


class FailingCommits(CountedStore):
    """Store that fails to commit a change after its announcement."""

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if before_commit is None:
            return await super().change(read_set, decide)
        change = decide(self._read_snapshot(read_set))
        assert change is not None
        before_commit(Committed(change.answer, change))
        raise errors.Unavailable("The disk is full.")


class SlowCommits(CountedStore):
    """Store that announces a change, and commits it when the test allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.announced = asyncio.Event()
        self.committing = asyncio.Event()

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if before_commit is not None:
            change = decide(self._read_snapshot(read_set))
            assert change is not None
            before_commit(Committed(change.answer, change))
            self.announced.set()
            await self.committing.wait()
        return await super().change(read_set, decide)


def early_reader(store: CachedStore, early_reads: list[asyncio.Task[Context]]) -> BeforeCommit:
    """Return a callback that reads the context of an announced change, as the new run does."""

    def read(_: Committed) -> None:
        early_reads.append(asyncio.create_task(store.context("thread_1", version=1)))

    return read


@pytest.fixture
def inner() -> CountedStore:
    return CountedStore()


@pytest.fixture
def store(inner: CountedStore) -> CachedStore:
    return CachedStore(inner)


async def test_a_context_is_read_once_while_its_thread_stays_as_it_is(
    store: CachedStore, inner: CountedStore
) -> None:
    await add_thread(store)
    first = await store.context("thread_1")

    assert await store.context("thread_1") is first
    assert inner.contexts == 1


async def test_a_context_that_somebody_else_made_stale_is_read_again(
    store: CachedStore, inner: CountedStore
) -> None:
    await add_thread(store)
    await store.context("thread_1")
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await inner.change(read_set, say(a_message(1, "from another worker")))

    assert (await store.context("thread_1")).messages == 1
    assert inner.contexts == 2


async def test_a_cached_context_grows_with_what_this_process_adds(
    store: CachedStore, inner: CountedStore
) -> None:
    await add_thread(store)
    await store.context("thread_1")
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    for number in (1, 2, 3):
        await store.change(read_set, say(a_message(number, f"number {number}")))
    inner.contexts = 0
    context = await store.context("thread_1")

    assert inner.contexts == 0
    assert context == await inner.context("thread_1")


async def test_a_new_thread_is_known_without_any_read(
    store: CachedStore, inner: CountedStore
) -> None:
    await add_thread(store)
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(a_message(1, "Hello")))
    version = await inner.thread_version("thread_1")
    inner.versions = 0
    context = await store.context("thread_1", version=version)

    assert (inner.contexts, inner.versions) == (0, 0)
    assert context == await inner.context("thread_1")


async def test_a_context_with_places_for_outputs_is_read_again(
    store: CachedStore, inner: CountedStore
) -> None:
    await add_thread(store)
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await store.change(read_set, say(a_message(1, "Look"), places=1))
    await store.change(read_set, say(a_message(3, "And then?")))
    await store.change(read_set, say(a_message(2, "The output")))

    assert (await store.context("thread_1")).chat == (await inner.context("thread_1")).chat
    assert inner.contexts == 2


async def test_a_fresh_context_goes_round_the_cache_and_renews_it(
    store: CachedStore, inner: CountedStore
) -> None:
    await add_thread(store)
    await store.context("thread_1")
    fresh = await store.context("thread_1", fresh=True)

    assert inner.contexts == 2
    assert await store.context("thread_1") is fresh


async def test_what_is_remembered_has_a_limit(inner: CountedStore) -> None:
    store = CachedStore(inner, max_bytes=10_000)
    for number in range(20):
        await add_thread(store, number)
        await store.context(f"thread_{number}")
    inner.contexts = 0
    await store.context("thread_19")
    assert inner.contexts == 0

    await store.context("thread_0")
    assert inner.contexts == 1


async def test_a_thread_of_many_small_messages_weighs_what_it_takes_to_remember_it(
    inner: CountedStore,
) -> None:
    store = CachedStore(inner, max_bytes=50_000)
    await add_thread(store)
    messages = [a_message(number, "") for number in range(1, 1001)]
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(*messages))
    for _ in range(2):
        assert len((await store.context("thread_1")).chat) < 40_000

    assert inner.contexts == 2


async def test_readers_of_what_this_process_wrote_spare_the_inner_store(
    store: CachedStore, inner: CountedStore
) -> None:
    claim = await add_claimed(store)
    await append(store, claim, 3, "a", "b")
    await append(store, claim, 5, "c")
    await store.change(ReadSet(owner=None, run_id="run_1"), move(Status.COMPLETED))

    for after in range(6):
        page = await store.read_events("run_1", after)
        assert len(page.lines) == 6 - after
        assert page.ended
    assert inner.logs == 0


async def test_what_another_process_wrote_is_read_from_the_inner_store(
    store: CachedStore, inner: CountedStore
) -> None:
    claim = await add_claimed(store)
    await append(store, claim, 3, "ours")
    await append_lines(inner, "run_1", claim.lease.epoch, 4, lines("theirs"), urgent=True)
    assert await whole_log(store, "run_1", 2) == lines("ours", "theirs")
    await append(store, claim, 5, "ours again")

    assert await whole_log(store, "run_1", 2) == lines("ours", "theirs", "ours again")
    assert (await store.read_events("run_1", 3)).lines == lines("theirs", "ours again")


async def test_an_end_that_another_process_wrote_is_seen(
    store: CachedStore, inner: CountedStore
) -> None:
    claim = await add_claimed(store)
    await append(store, claim, 3, "ours")
    await inner.change(ReadSet(owner="ann", run_id="run_1"), move(Status.CANCELLED))

    assert len(await whole_log(store, "run_1", 2)) == 2
    assert (await store.read_events("run_1", 3)).ended


async def test_lines_that_were_refused_are_never_read(
    store: CachedStore, inner: CountedStore
) -> None:
    claim = await add_claimed(store)
    await inner.change(ReadSet(owner="ann", run_id="run_1"), move(Status.CANCELLED))
    with pytest.raises(errors.Fenced):
        await append(store, claim, 3, "late")

    assert lines("late")[0] not in await whole_log(store, "run_1")


async def test_a_long_tail_is_cut_and_the_rest_read_from_the_inner_store(
    store: CachedStore, inner: CountedStore
) -> None:
    claim = await add_claimed(store)
    texts = [str(number) * (TAIL_BYTES // 20) for number in range(50)]
    for number, text in enumerate(texts):
        await append(store, claim, 3 + number, text)

    assert await whole_log(store, "run_1", 2) == lines(*texts)
    inner.logs = 0
    await store.read_events("run_1", 50)
    assert inner.logs == 0


async def test_runs_that_have_ended_make_room_and_are_read_from_the_inner_store(
    store: CachedStore, inner: CountedStore
) -> None:
    text = "x" * (TAIL_BYTES // 2)
    runs = range(1, 2 * ENDED_BYTES // TAIL_BYTES + 3)
    for number in runs:
        claim = await add_claimed(store, number)
        await append(store, claim, 3, text)
        await store.change(ReadSet(owner=None, run_id=claim.run.id), move(Status.COMPLETED))
    under_way = await add_claimed(store, runs[-1] + 1)
    await append(store, under_way, 3, "still here")

    assert await whole_log(store, "run_1", 2) == [
        *lines(text),
        (await inner.read_events("run_1", 3)).lines[0],
    ]
    assert inner.logs > 1
    inner.logs = 0
    assert (await store.read_events(f"run_{runs[-1]}", 2)).ended
    assert (await store.read_events(under_way.run.id, 2)).lines == lines("still here")
    assert inner.logs == 0


async def test_a_deleted_thread_is_gone_from_the_cache_too(store: CachedStore) -> None:
    claim = await add_claimed(store)
    await append(store, claim, 3, "canary")
    await store.context("thread_1")
    await store.delete(Thread, "ann", "thread_1")

    reads: list[Any] = [
        store.read_events("run_1", 0),
        store.read_events("run_1", 2),
        store.context("thread_1"),
    ]
    for read in reads:
        with pytest.raises(errors.NotFound):
            await read


async def test_a_context_is_known_before_its_change_is_committed(
    store: CachedStore, inner: CountedStore
) -> None:
    await add_thread(store)
    await store.context("thread_1")
    early_reads: list[asyncio.Task[Context]] = []
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    on_announced = early_reader(store, early_reads)
    await store.change(read_set, say(a_message(1, "hello")), on_announced)

    assert (await early_reads[0]).messages == 1
    assert await store.context("thread_1", version=1) == await early_reads[0]
    assert (inner.contexts, inner.versions) == (1, 0)


async def test_a_context_that_no_cache_has_room_for_is_known_until_the_commit() -> None:
    inner = SlowCommits()
    store = CachedStore(inner, max_bytes=0)
    await add_thread(store)
    early_reads: list[asyncio.Task[Context]] = []
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    on_announced = early_reader(store, early_reads)
    change = asyncio.create_task(store.change(read_set, say(a_message(1, "hello")), on_announced))
    await inner.announced.wait()
    early_context = await early_reads[0]
    inner.contexts = 0
    inner.committing.set()
    await change

    assert early_context.messages == 1
    assert (await store.context("thread_1", version=1)).messages == 1
    assert inner.contexts == 1


async def test_a_context_whose_change_is_not_committed_yet_is_for_its_run_alone() -> None:
    inner = SlowCommits()
    store = CachedStore(inner)
    await add_thread(store)
    early_reads: list[asyncio.Task[Context]] = []
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    on_announced = early_reader(store, early_reads)
    change = asyncio.create_task(store.change(read_set, say(a_message(1, "hello")), on_announced))
    await inner.announced.wait()

    assert (await early_reads[0]).messages == 1
    assert (await store.context("thread_1")).messages == 0
    inner.committing.set()
    await change
    assert (await store.context("thread_1")).messages == 1


async def test_no_change_is_announced_whose_context_must_be_read(
    store: CachedStore, inner: CountedStore
) -> None:
    await add_thread(store)
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await store.change(read_set, say(a_message(1, "hello")))
    other_store = CachedStore(inner)
    announced: list[Committed] = []
    await other_store.change(read_set, say(a_message(2, "again")), announced.append)

    assert not announced


async def test_a_context_is_forgotten_if_the_commit_of_its_change_fails() -> None:
    store = CachedStore(FailingCommits())
    await add_thread(store)
    await store.context("thread_1")
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    announced: list[Committed] = []
    with pytest.raises(errors.Unavailable):
        await store.change(read_set, say(a_message(1, "lost")), announced.append)
    assert len(announced) == 1
    await store.change(read_set, say(a_message(1, "kept")))

    assert b"kept" in bytes((await store.context("thread_1", version=1)).chat)


def test_events_that_are_reported_after_later_ones_precede_them() -> None:
    tails = LogTails(1_000_000)
    tails.extend("run_1", 3, lines("c"), ended=False)
    tails.extend("run_1", 1, lines("a", "b"), ended=False)

    tail = tails.get("run_1")
    assert tail is not None
    assert list(tail.after(0)) == lines("a", "b", "c")
    tails.extend("run_1", 4, lines("d"), ended=False)
    assert list(tail.after(1)) == lines("b", "c", "d")
