"""Lets many replies come in together, so that a word does not cost a wake-up of its own.

With a few replies under way each piece is taken as it comes. With hundreds the process would be
woken thousands of times a second for some bytes each. So whoever has read a piece rests for a
moment, and what came meanwhile is then read, parsed, kept and told at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

FEW = 200
"""So many replies are read as they come: a process carries them easily."""
REPLY_SECONDS = 0.0003  # of rest for each reply under way
LONGEST_SECONDS = 0.160  # words then come by fives, where a model says 30 a second
STEPS = 16  # of a tide, so that not all replies are read at one moment


class Tide:
    """The rests of the replies of one loop: one timer ends all that are due."""

    def __init__(self) -> None:
        self._resting: list[list[asyncio.Future[None]]] = [[] for _ in range(STEPS)]
        self._step = 0
        self._newest = 0
        self._replies = 0
        self._alarm: asyncio.TimerHandle | None = None

    @contextmanager
    def riding(self) -> Generator[int]:
        """A reply under way, for as long as the block lasts: its place among the steps."""
        self._replies += 1
        self._newest += 1
        try:
            yield self._newest % STEPS
        finally:
            self._replies -= 1

    async def rest(self, place: int) -> None:
        """Until the tide has come round; not at all while few replies are under way."""
        if self._replies <= FEW:
            return
        resting = asyncio.get_running_loop().create_future()
        self._resting[place].append(resting)
        if self._alarm is None:
            self._set_alarm()
        await resting

    def _set_alarm(self) -> None:
        seconds = min(LONGEST_SECONDS, self._replies * REPLY_SECONDS) / STEPS
        self._alarm = asyncio.get_running_loop().call_later(seconds, self._advance)

    def _advance(self) -> None:
        self._step = (self._step + 1) % STEPS
        due, self._resting[self._step] = self._resting[self._step], []
        for resting in due:
            if not resting.done():  # as it is where its reply was broken off
                resting.set_result(None)
        self._alarm = None
        if any(self._resting):
            self._set_alarm()
