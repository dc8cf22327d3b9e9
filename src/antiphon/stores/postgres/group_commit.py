"""Group commit: items that arrive while a batch is being written are the next batch.

A statement costs PostgreSQL most of its time for its start, its end and its commit, whatever it
writes: many changes in one statement cost little more than one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MAX_BATCH = 64  # items
SLOW_SECONDS = 0.02
"""Time after which the next batch no longer waits for one, such as one that waits for a lock."""


@dataclass(slots=True, eq=False)
class _PendingItem(Generic[T]):
    item: T
    keys: frozenset[str]
    written: asyncio.Future[None]


class GroupCommit(Generic[T]):
    """Writes items in batches, one batch at a time unless it is slow; used on the loop.

    `write` reports the result to the callers of a batch's items, and raises nothing. Items that
    share a key are never in one batch, nor written at one time, and are written in the order of
    `add`.
    """

    def __init__(self, write: Callable[[Sequence[T]], Coroutine[Any, Any, None]]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_PendingItem[T]] = []
        self._writing: dict[asyncio.Task[None], list[_PendingItem[T]]] = {}
        self._timer: asyncio.Handle | None = None

    def add(self, item: T, keys: Collection[str] = ()) -> None:
        """Write the item soon: with others of this iteration of the loop if none is written."""
        entry = _PendingItem(item, frozenset(keys), self._loop.create_future())
        self._waiting.append(entry)
        if self._timer is None:
            if self._writing:
                self._timer = self._loop.call_later(SLOW_SECONDS, self._start)
            else:
                self._timer = self._loop.call_soon(self._start)

    async def wait(self, key: str | None = None) -> None:
        """Wait until all items with the key, or all items, have been written or have failed."""
        entries = [*self._waiting, *(each for some in self._writing.values() for each in some)]
        awaited = [each.written for each in entries if key is None or key in each.keys]
        if awaited:
            await asyncio.wait(awaited)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        taken = {key for some in self._writing.values() for each in some for key in each.keys}
        batch: list[_PendingItem[T]] = []
        left: list[_PendingItem[T]] = []
        for entry in self._waiting:
            free = len(batch) < MAX_BATCH and taken.isdisjoint(entry.keys)
            (batch if free else left).append(entry)
            taken |= entry.keys
        self._waiting = left
        if batch:
            task = self._loop.create_task(self._write([each.item for each in batch]))
            self._writing[task] = batch
            task.add_done_callback(self._on_written)

    def _on_written(self, task: asyncio.Task[None]) -> None:
        for entry in self._writing.pop(task):
            entry.written.set_result(None)
        if self._waiting:
            self._start()
