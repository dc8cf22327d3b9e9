"""Bus of a single process.

Methods are called on the event loop's thread; from another thread use
`loop.call_soon_threadsafe(bus.notify, topic)`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from antiphon.ports import Handle

_log = logging.getLogger("antiphon.buses")


class LocalSubscription:
    """A subscription to a topic: a notification is kept until `wait` returns it.

    A wait creates no timer of its own. The subscription has one, which checks the latest deadline
    when it fires and is set again only then.
    """

    __slots__ = ("_deadline", "_handle", "_handling", "_loop", "_notified", "_timer", "_waiting")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._notified = False
        self._handle: Handle | None = None
        self._handling = False  # a call of `handle` is scheduled
        self._waiting: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    def notify(self) -> None:
        """Make the current `wait`, or else the next one, return True."""
        self._notified = True
        if self._waiting is None:
            return
        if self._handle is None:
            _release(self._waiting)
        elif not self._handling:
            self._handling = True
            self._loop.call_soon(self._call_handle)

    async def wait(self, seconds: float, handle: Handle | None = None) -> bool:
        """See `Subscription.wait`; for one task at a time."""
        if not self._notified:
            self._waiting = self._loop.create_future()
            self._handle = handle
            self._set_timer(self._loop.time() + seconds)
            try:
                await self._waiting
            finally:
                self._waiting = self._handle = None
        notified, self._notified = self._notified, False
        return notified

    def _call_handle(self) -> None:
        """Handle the notifications of one iteration of the loop, or else wake the task."""
        self._handling = False
        if self._handle is None or self._waiting is None or self._waiting.done():
            return
        self._notified = False
        try:
            if self._handle():
                return
        except Exception:  # noqa: BLE001 - one reader must not stop the others
            _log.exception("A notification could not be handled; its task is woken.")
        self._notified = True
        _release(self._waiting)

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, deadline: float) -> None:
        self._deadline = deadline
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._on_timer)
        elif deadline < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
        else:
            _release(self._waiting)


class LocalBus:
    """The bus of a single process; `subscribers` counts the subscriptions to all topics."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[LocalSubscription]] = {}
        self._by_kind: Counter[str] = Counter()
        self.subscribers = 0

    def subscribers_of(self, kind: str) -> int:
        """Count the subscriptions to topics of a kind: the part before the first `_`, as in ids.

        Thread-safe.
        """
        return self._by_kind[kind]

    @contextmanager
    def subscribe(self, topic: str) -> Generator[LocalSubscription]:
        """See `Bus.subscribe`."""
        subscription = LocalSubscription()
        self._subscriptions.setdefault(topic, set()).add(subscription)
        self._count(topic, 1)
        try:
            yield subscription
        finally:
            subscription.close()
            self._count(topic, -1)
            subscriptions = self._subscriptions[topic]
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._subscriptions[topic]

    def notify(self, topic: str) -> None:
        """Notify the subscribers of the topic."""
        for subscription in self._subscriptions.get(topic, ()):
            subscription.notify()

    def notify_all(self) -> None:
        """Notify the subscribers of every topic."""
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.notify()

    async def close(self) -> None:
        """Do nothing: the bus holds no resources."""

    def _count(self, topic: str, change: int) -> None:
        self.subscribers += change
        self._by_kind[topic.partition("_")[0]] += change


def _release(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
