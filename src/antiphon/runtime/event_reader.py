"""Reads a run's event log: the loop of every reader, over HTTP and in this process.

A reader subscribes, then reads, then waits. An append in between notifies the subscription; a lost
notification costs at most `PATIENCE` seconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from functools import partial

from antiphon.ports import Bus, RunStore
from antiphon.telemetry.failpoints import hit
from antiphon.types import events
from antiphon.types.errors import InvalidRequest, TryAgain
from antiphon.types.events import EventPage

PATIENCE = 1.0  # seconds a reader waits for a notification before it reads anyway
MAX_MISSES = (
    4  # failed reads in a row that are ignored, so that a restarted database is only a pause
)

_TURN_ENDED = b'{"type":"turn.ended"'

SendNow = Callable[[int, Sequence[bytes]], bool]
"""Sends encoded events, given the number of the first, at once; returns False if it cannot."""


class RunEventReader:
    """One reader of a run's log; `after` is the number of the last event that it has read.

    With `whole` it reads to the end of the run, else to the end of a turn.
    """

    def __init__(self, store: RunStore, bus: Bus, run_id: str, after: int, *, whole: bool) -> None:
        self.run_id = run_id
        self.after = after
        self._store = store
        self._bus = bus
        self._whole = whole
        self._missed = 0

    async def pages(
        self, send_now: SendNow | None = None
    ) -> AsyncGenerator[tuple[int, Sequence[bytes]], None]:
        """Yield encoded events in order, each once, with the number of the first of them.

        An empty page comes after each second without events, so that the reader can send a sign of
        life. Ends after `turn.ended`, or with the run if the reader reads the `whole` run. A slow
        reader is never dropped: it reads the log. Raises `NotFound` when the thread is deleted, and
        `TryAgain` when the database is unavailable for more than a moment.

        Events that are stored while the reader waits go to `send_now`, which wakes no task. Those
        that it does not send are yielded, as are the last of a turn.
        """
        handle = None if send_now is None else partial(self._send_stored, send_now)
        with self._bus.subscribe(self.run_id) as subscription:
            hit("replay.after_subscribe")
            while True:
                page = await self._read_page(self.after)
                if page is None:
                    await subscription.wait(PATIENCE)
                    yield self.after + 1, ()
                    continue
                lines = page.lines if self._whole else _up_to_turn_end(page.lines)
                if lines:
                    yield page.first, lines
                    self.after = page.first + len(lines) - 1
                    hit("replay.middle")
                    if not self._whole and _ends_turn(lines[-1]):
                        return
                if page.ended:
                    return
                if page.more:
                    continue
                hit("replay.before_live")
                while True:
                    waited_at = self.after
                    if await subscription.wait(PATIENCE, handle):
                        break
                    yield self.after + 1, ()
                    if self.after == waited_at:  # nothing came: a notification may be lost
                        break

    def _send_stored(self, send_now: SendNow) -> bool:
        """Send the events that are in memory; return False if the reader must wake."""
        page = self._store.find_cached_events(self.run_id, self.after)
        if page is None or page.ended or any(map(_ends_turn, page.lines)):
            return False
        if not send_now(page.first, page.lines):
            return False
        self.after += len(page.lines)
        return True

    async def _read_page(self, after: int) -> EventPage | None:
        """Return the next page; None where the database did not answer."""
        try:
            page = await self._store.read_events(self.run_id, after)
        except TryAgain:
            self._missed += 1
            if self._missed > MAX_MISSES:
                raise
            return None
        self._missed = 0
        return page


class SelectedEvents:
    """Some types of a run's events, with the numbers that they have among all."""

    def __init__(self, reader: RunEventReader, types: Collection[bytes]) -> None:
        self.run_id = reader.run_id
        self._reader = reader
        self._types = types

    async def pages(
        self, send_now: SendNow | None = None
    ) -> AsyncGenerator[tuple[int, Sequence[bytes]], None]:
        """Yield pages as `RunEventReader.pages`, each of events that follow each other."""
        async with aclosing(self._reader.pages()) as pages:
            async for first, lines in pages:
                if not lines:
                    yield first, ()
                for number, line in enumerate(lines, first):
                    if events.type_of(line) in self._types:
                        yield number, (line,)


def parse_types(types: str) -> Collection[bytes]:
    """Return the types that a caller selects, and those that end a stream.

    Raises `InvalidRequest`.
    """
    names = {name.strip() for name in types.split(",") if name.strip()}
    if unknown := names - events.TYPES:
        raise InvalidRequest(
            "There is no such type of event.",
            expected=", ".join(sorted(events.TYPES)),
            received=", ".join(sorted(unknown))[:200],
        )
    return frozenset(name.encode() for name in names) | {b"run.status", b"turn.ended"}


def _ends_turn(line: bytes) -> bool:
    return line.startswith(_TURN_ENDED)


def _up_to_turn_end(lines: Sequence[bytes]) -> Sequence[bytes]:
    for place, line in enumerate(lines, 1):
        if _ends_turn(line):
            return lines[:place]
    return lines
