"""Reads a run's log aloud: every reader's loop, whatever face it listens through.

Subscribe first, then read, then wait: what is added in between rings the bell, and a ring that is
lost costs at most the reader's patience.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from antiphon.failpoints import hit
from antiphon.ports import Bus, Store

PATIENCE = 1.0  # seconds a reader waits for a ring before it looks for itself

_TURN_ENDED = b'{"type":"turn.ended"'


class Listening:
    """One reader of a run's log: where it starts, and whether it ends with the turn."""

    def __init__(self, store: Store, bus: Bus, run_id: str, after: int, *, whole: bool) -> None:
        self.run_id = run_id
        self.after = after
        self._store = store
        self._bus = bus
        self._whole = whole

    async def pages(self) -> AsyncGenerator[tuple[int, Sequence[bytes]], None]:
        """Encoded events in order, each once, with the first one's number; empty when all is quiet.

        An empty page comes after each second without news, so that the reader can say that it is
        alive. Ends after `turn.ended`, or with the run where the whole run is followed. A slow
        reader is never dropped: it reads the log. Raises `NotFound` when the thread is deleted.
        """
        after = self.after
        with self._bus.watch(self.run_id) as bell:
            hit("replay.after_subscribe")
            while True:
                page = await self._store.log(self.run_id, after)
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
                if not await bell.wait(PATIENCE):
                    yield after + 1, ()


def _up_to_turn_end(lines: Sequence[bytes]) -> Sequence[bytes]:
    for place, line in enumerate(lines, 1):
        if line.startswith(_TURN_ENDED):
            return lines[:place]
    return lines
