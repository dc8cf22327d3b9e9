"""Batches of items, and the order of items with a common key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from antiphon.stores.postgres.group_commit import MAX_BATCH, GroupCommit

SOON = 60.0


class Batches:
    """Writer whose batches end when `finish` is called for one of their items."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[Sequence[str]] = asyncio.Queue()
        self._finished: dict[str, asyncio.Event] = {}

    async def write(self, batch: Sequence[str]) -> None:
        finished = asyncio.Event()
        self._finished |= dict.fromkeys(batch, finished)
        self.started.put_nowait(batch)
        await finished.wait()

    def finish(self, item: str) -> None:
        self._finished[item].set()

    async def next(self) -> Sequence[str]:
        async with asyncio.timeout(SOON):
            return await self.started.get()


async def test_what_comes_while_a_batch_is_written_is_the_next_batch() -> None:
    batches = Batches()
    commits = GroupCommit(batches.write)
    commits.add("a")
    commits.add("b")
    assert await batches.next() == ["a", "b"]
    commits.add("c")
    commits.add("d")
    batches.finish("a")

    assert await batches.next() == ["c", "d"]


async def test_a_slow_batch_does_not_hold_up_the_next() -> None:
    batches = Batches()
    commits = GroupCommit(batches.write)
    commits.add("slow")
    assert await batches.next() == ["slow"]
    commits.add("a")

    assert await batches.next() == ["a"]


async def test_items_of_one_key_are_written_one_after_the_other() -> None:
    batches = Batches()
    commits = GroupCommit(batches.write)
    for item, keys in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("ab", "ab"), ("b2", "b")):
        commits.add(item, keys)
    assert await batches.next() == ["a1", "b1"]
    commits.add("c", "c")
    assert await batches.next() == ["c"]  # the others still wait for the first batch
    batches.finish("a1")
    assert await batches.next() == ["a2"]
    batches.finish("a2")
    assert await batches.next() == ["ab"]
    batches.finish("ab")

    assert await batches.next() == ["b2"]


async def test_a_batch_is_limited() -> None:
    batches = Batches()
    commits = GroupCommit(batches.write)
    items = [str(number) for number in range(MAX_BATCH + 1)]
    for item in items:
        commits.add(item)
    assert await batches.next() == items[:-1]
    batches.finish("0")

    assert await batches.next() == items[-1:]


async def test_all_items_or_those_of_a_key_can_be_waited_for() -> None:
    batches = Batches()
    commits = GroupCommit(batches.write)
    commits.add("a1", "a")
    commits.add("a2", "a")
    assert await batches.next() == ["a1"]
    commits.add("b", "b")
    assert await batches.next() == ["b"]
    waiting = {key: asyncio.ensure_future(commits.wait(key)) for key in ("a", "b", "c", None)}
    batches.finish("b")
    await waiting["b"]
    await waiting["c"]
    batches.finish("a1")
    assert await batches.next() == ["a2"]
    assert not waiting["a"].done()
    assert not waiting[None].done()
    batches.finish("a2")

    await waiting["a"]
    await waiting[None]
