"""Wakes readers in this process.

Rings happen on the loop's own thread; from elsewhere it takes
`loop.call_soon_threadsafe(bus.ring, topic)`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager


class LocalSubscription:
    """One watcher's bell: a ring is kept until `wait` has seen it.

    A wait costs no timer of its own: the bell keeps one, which looks at its time how long the
    watcher has been waiting, and is set again only then.
    """

    __slots__ = ("_alarm", "_deadline", "_loop", "_rung", "_waiting")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = False
        self._waiting: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    def notify(self) -> None:
        """Let the watcher's wait, or else its next one, return."""
        self._rung = True
        if self._waiting is not None:
            _release(self._waiting)

    async def wait(self, seconds: float) -> bool:
        """True when rung, False after `seconds`; for one task at a time."""
        if not self._rung:
            self._waiting = self._loop.create_future()
            self._set_alarm(self._loop.time() + seconds)
            try:
                await self._waiting
            finally:
                self._waiting = None
        rung, self._rung = self._rung, False
        return rung

    def close(self) -> None:
        """Nobody watches any more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _set_alarm(self, deadline: float) -> None:
        self._deadline = deadline
        if self._alarm is None:
            self._alarm = self._loop.call_at(deadline, self._look)
        elif deadline < self._alarm.when():
            self._alarm.cancel()
            self._alarm = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._alarm = None
        if self._waiting is None:
            return
        if self._loop.time() < self._deadline:
            self._set_alarm(self._deadline)
        else:
            _release(self._waiting)


class LocalBus:
    """The bus of a single process; `subscribers` is how many watch any topic."""

    def __init__(self) -> None:
        self._bells: dict[str, set[LocalSubscription]] = {}
        self._of_kind: Counter[str] = Counter()
        self.subscribers = 0

    def subscribers_of(self, kind: str) -> int:
        """How many watch topics of a kind, which is what stands before the first `_`, as in ids.

        May be asked from any thread.
        """
        return self._of_kind[kind]

    @contextmanager
    def subscribe(self, topic: str) -> Generator[LocalSubscription]:
        """A bell for this topic; subscribe first, then read."""
        bell = LocalSubscription()
        self._bells.setdefault(topic, set()).add(bell)
        self._count(topic, 1)
        try:
            yield bell
        finally:
            bell.close()
            self._count(topic, -1)
            bells = self._bells[topic]
            bells.discard(bell)
            if not bells:
                del self._bells[topic]

    def notify(self, topic: str) -> None:
        """Wake whoever watches the topic."""
        for bell in self._bells.get(topic, ()):
            bell.notify()

    def notify_all(self) -> None:
        """Wake everybody."""
        for bells in self._bells.values():
            for bell in bells:
                bell.notify()

    async def close(self) -> None:
        """Nothing is held."""

    def _count(self, topic: str, change: int) -> None:
        self.subscribers += change
        self._of_kind[topic.partition("_")[0]] += change


def _release(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
