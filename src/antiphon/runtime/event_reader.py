"""Reads a run's event log: the loop of every reader, through whichever interface.

A reader subscribes, then reads, then waits. An append in between notifies the subscription; a lost
notification costs at most `PATIENCE` seconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from antiphon.ports import Bus, EventPage, RunStore
from antiphon.telemetry.failpoints import hit
from antiphon.types.errors import TryAgain

PATIENCE = 1.0  # seconds a reader waits for a notification before it reads anyway
MISSES = 4  # failed reads in a row that are ignored, so that a restarted database is only a pause

_TURN_ENDED = b'{"type":"turn.ended"'


class RunEventReader:
    """One reader of a run's log: where it starts, and whether it ends with the turn."""

    def __init__(self, store: RunStore, bus: Bus, run_id: str, after: int, *, whole: bool) -> None:
        self.run_id = run_id
        self.after = after
        self._store = store
        self._bus = bus
        self._whole = whole
        self._missed = 0

    async def pages(self) -> AsyncGenerator[tuple[int, Sequence[bytes]], None]:
        """Yield encoded events in order, each once, with the number of the first of them.

        An empty page comes after each second without events, so that the reader can send a sign of
        life. Ends after `turn.ended`, or with the run where the whole run is followed. A slow
        reader is never dropped: it reads the log. Raises `NotFound` when the thread is deleted, and
        `TryAgain` when the database is unavailable for more than a moment.
        """
        after = self.after
        with self._bus.subscribe(self.run_id) as subscription:
            hit("replay.after_subscribe")
            while True:
                page = await self._read_page(after)
                if page is None:
                    await subscription.wait(PATIENCE)
                    yield after + 1, ()
                    continue
                lines = page.lines if self._whole else _up_to_turn_end(page.lines)
                if lines:
                    yield page.first, lines
                    after = page.first + len(lines) - 1
                    hit("replay.middle")
                    if not self._whole and lines[-1].startswith(_TURN_ENDED):
                        return
                if page.ended:
                    return
                if page.more:
                    continue
                hit("replay.before_live")
                if not await subscription.wait(PATIENCE):
                    yield after + 1, ()

    async def _read_page(self, after: int) -> EventPage | None:
        """Return the next page; None where the database did not answer."""
        try:
            page = await self._store.read_events(self.run_id, after)
        except TryAgain:
            self._missed += 1
            if self._missed > MISSES:
                raise
            return None
        self._missed = 0
        return page


def _up_to_turn_end(lines: Sequence[bytes]) -> Sequence[bytes]:
    for place, line in enumerate(lines, 1):
        if line.startswith(_TURN_ENDED):
            return lines[:place]
    return lines
