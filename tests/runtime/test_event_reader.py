"""A reader outlasts a short pause of the database, and sends new events without waking its task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from antiphon.buses.local import LocalBus
from antiphon.runtime.event_reader import MAX_MISSES, RunEventReader
from antiphon.stores.cached.log_tails import LogTails
from antiphon.stores.memory.store import MemoryStore
from antiphon.types.errors import Unavailable
from antiphon.types.events import EventPage

END = b'{"type":"turn.ended"}'


class FlickeringStore(MemoryStore):
    """Store that holds one event, and does not answer the first so many reads of it."""

    def __init__(self, bus: LocalBus, misses: int) -> None:
        super().__init__()
        self._bus = bus
        self._misses = misses

    async def read_events(self, run_id: str, after: int) -> EventPage:
        if self._misses:
            self._misses -= 1
            self._bus.notify(run_id)  # so that no reader waits for the clock
            raise Unavailable("The database does not answer.")
        return EventPage(1, [END], ended=False)


async def read_pages(misses: int) -> list[Sequence[bytes]]:
    bus = LocalBus()
    reader = RunEventReader(FlickeringStore(bus, misses), bus, "run_1", 0, whole=False)
    return [lines async for _, lines in reader.pages() if lines]


@pytest.mark.parametrize("misses", [0, 1, MAX_MISSES])
async def test_a_database_that_is_away_for_a_moment_is_only_a_pause(misses: int) -> None:
    assert await read_pages(misses) == [[END]]


async def test_a_database_that_stays_away_ends_the_reading() -> None:
    with pytest.raises(Unavailable):
        await read_pages(MAX_MISSES + 1)


SOON = 60
TEXT = b'{"type":"text.delta","text":"%d"}'


class GrowingLog(MemoryStore):
    """Store whose log of one run grows as a test says; `reads` counts the reads of it."""

    def __init__(self, bus: LocalBus) -> None:
        super().__init__()
        self.reads = 0
        self.cached = True
        self._bus = bus
        self._lines: list[bytes] = []
        self._tails = LogTails(1_000_000)

    def add(self, *lines: bytes) -> None:
        """Store these events, and notify the readers once for each."""
        for line in lines:
            self._lines.append(line)
            self._tails.extend("run_1", len(self._lines), [line], ended=False)
            self._bus.notify("run_1")

    async def read_events(self, run_id: str, after: int) -> EventPage:
        self.reads += 1
        return EventPage(after + 1, self._lines[after:], ended=False)

    def find_cached_events(self, run_id: str, after: int) -> EventPage | None:
        tail = self._tails.get(run_id) if self.cached else None
        lines = tail.after(after) if tail else ()
        return EventPage(after + 1, lines, ended=False) if lines else None


class Reader:
    """Reader of the log: `sent` are events sent without waking its task, `yielded` the others."""

    def __init__(self, store: GrowingLog, bus: LocalBus) -> None:
        self.has_room = True
        self.sent: list[tuple[int, list[bytes]]] = []
        self.yielded: list[tuple[int, list[bytes]]] = []
        self._pages = RunEventReader(store, bus, "run_1", 0, whole=False).pages(self._send)

    def _send(self, first: int, lines: Sequence[bytes]) -> bool:
        if self.has_room:
            self.sent.append((first, [*lines]))
        return self.has_room

    async def read(self) -> None:
        async for first, lines in self._pages:
            if lines:
                self.yielded.append((first, [*lines]))


async def pause() -> None:
    """Let everything happen that is due."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_events_that_are_stored_while_a_reader_waits_are_sent_without_waking_it() -> None:
    bus = LocalBus()
    store = GrowingLog(bus)
    store.add(TEXT % 1)
    reader = Reader(store, bus)
    read_task = asyncio.create_task(reader.read())
    await pause()
    store.add(TEXT % 2, TEXT % 3)
    await pause()
    store.add(TEXT % 4)
    await pause()
    reads = store.reads
    store.add(END)
    async with asyncio.timeout(SOON):
        await read_task

    assert reader.sent == [(2, [TEXT % 2, TEXT % 3]), (4, [TEXT % 4])]
    assert reader.yielded == [(1, [TEXT % 1]), (5, [END])]
    assert reads == 1


@pytest.mark.parametrize("lacks", ["room", "cache"])
async def test_events_that_cannot_be_sent_at_once_are_read_in_order(lacks: str) -> None:
    bus = LocalBus()
    store = GrowingLog(bus)
    store.add(TEXT % 1)
    reader = Reader(store, bus)
    read_task = asyncio.create_task(reader.read())
    await pause()
    store.add(TEXT % 2)
    await pause()
    if lacks == "room":
        reader.has_room = False
    else:
        store.cached = False
    store.add(TEXT % 3)
    await pause()
    reader.has_room = store.cached = True
    store.add(TEXT % 4)
    await pause()
    store.add(END)
    async with asyncio.timeout(SOON):
        await read_task

    assert reader.sent == [(2, [TEXT % 2]), (4, [TEXT % 4])]
    assert reader.yielded == [(1, [TEXT % 1]), (3, [TEXT % 3]), (5, [END])]


def test_lines_that_are_added_after_the_last_ones_do_not_hide_the_end() -> None:
    tails = LogTails(1_000_000)
    tails.extend("run_1", 1, [b"1", b"2"], ended=False)
    tails.extend("run_1", 4, [END], ended=True)

    tails.extend("run_1", 3, [b"3"], ended=False)

    tail = tails.get("run_1")
    assert tail is not None
    assert tail.ended
    assert list(tail.after(2)) == []
    assert list(tail.after(3)) == [END]
