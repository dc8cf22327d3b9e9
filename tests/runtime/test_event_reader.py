"""A reader outlasts a database that is away for a moment, and no longer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from antiphon.buses.local import LocalBus
from antiphon.ports import EventPage
from antiphon.runtime.event_reader import MISSES, RunEventReader
from antiphon.stores.memory.store import MemoryStore
from antiphon.types.errors import Unavailable

END = b'{"type":"turn.ended"}'


class Flickering(MemoryStore):
    """A store that holds one event, and does not answer the first so many looks at it."""

    def __init__(self, bus: LocalBus, away: int) -> None:
        super().__init__()
        self._bus = bus
        self._away = away

    async def read_events(self, run_id: str, after: int) -> EventPage:
        if self._away:
            self._away -= 1
            self._bus.notify(run_id)  # so that nobody waits for the clock
            raise Unavailable("The database does not answer.")
        return EventPage(1, [END], ended=False)


async def heard(away: int) -> list[Sequence[bytes]]:
    bus = LocalBus()
    listening = RunEventReader(Flickering(bus, away), bus, "run_1", 0, whole=False)
    return [lines async for _, lines in listening.pages() if lines]


@pytest.mark.parametrize("away", [0, 1, MISSES])
async def test_a_database_that_is_away_for_a_moment_is_only_a_pause(away: int) -> None:
    assert await heard(away) == [[END]]


async def test_a_database_that_stays_away_ends_the_reading() -> None:
    with pytest.raises(Unavailable):
        await heard(MISSES + 1)
