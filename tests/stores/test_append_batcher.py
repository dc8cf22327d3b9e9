"""Batches of appends of many runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from antiphon.stores.append_batcher import AppendBatcher, OnWritten, PendingAppend

SOON = 60.0


class Batches:
    """Writer that collects the batches, and reports each as written at once."""

    def __init__(self) -> None:
        self.written: asyncio.Queue[list[tuple[str, int, int]]] = asyncio.Queue()

    def __call__(self, batch: Sequence[PendingAppend], settle: OnWritten) -> None:
        self.written.put_nowait([(each.run_id, each.first, each.last) for each in batch])
        asyncio.get_running_loop().call_soon(settle, None, None)

    async def next(self) -> list[tuple[str, int, int]]:
        async with asyncio.timeout(SOON):
            return await self.written.get()


def add(
    appends: AppendBatcher, run_id: str, first: int, *, urgent: bool = False
) -> asyncio.Future[None]:
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note_outcome(fault: Exception | None) -> None:
        assert fault is None
        written.set_result(None)

    appends.add(run_id, 1, first, [b"x"], note_outcome, urgent=urgent)
    return written


async def test_appends_of_all_runs_are_handed_over_together_those_of_a_run_as_one() -> None:
    batches = Batches()
    appends = AppendBatcher(batches)
    waiting = [add(appends, "a", 1), add(appends, "b", 1), add(appends, "a", 2)]

    assert await batches.next() == [("a", 1, 2), ("b", 1, 1)]
    await asyncio.gather(*waiting)


async def test_what_is_urgent_takes_nothing_with_it() -> None:
    batches = Batches()
    appends = AppendBatcher(batches)
    add(appends, "a", 1)
    add(appends, "b", 1, urgent=True)
    add(appends, "c", 1, urgent=True)

    assert await batches.next() == [("b", 1, 1), ("c", 1, 1)]
    assert await batches.next() == [("a", 1, 1)]


async def test_a_change_of_a_run_hands_over_what_is_gathered_of_that_run_alone() -> None:
    batches = Batches()
    appends = AppendBatcher(batches)
    for run_id in "abc":
        add(appends, run_id, 1)
    appends.flush_run("b")
    appends.flush_run("nobody")

    assert await batches.next() == [("b", 1, 1)]
    assert await batches.next() == [("a", 1, 1), ("c", 1, 1)]
