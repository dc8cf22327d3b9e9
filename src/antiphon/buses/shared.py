"""Bus of many processes: notifies this process at once, the others through a backend.

A process has one connection to its backend, however many subscribers it has. Topics to send are
gathered in a set: the first is sent at once, those that follow within the backend's `pause` go with
the next message. A connection counts as open while it echoes what was sent on it. Until then no
subscriber waits long for a notification, and after a connection was lost every subscriber is
notified once, because notifications may have been missed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from functools import partial
from random import uniform
from typing import Protocol

import msgspec

from antiphon.buses.local import LocalBus, LocalSubscription
from antiphon.ports import QUEUE, Handle
from antiphon.types.terminal_safe import one_line

log = logging.getLogger(__name__)

ALL_TOPICS = "*"
"""Sent in place of topics: notify every subscriber."""

DISCONNECTED_WAIT_SECONDS = 1.0  # of a subscriber, while no notification could arrive
LOCAL_HEAD_START_SECONDS = 0.03
"""Time for which a requested turn is offered to this process alone: the client that asked for it is
connected here, and a run is streamed most cheaply by the process that runs it."""
MAX_PENDING_TOPICS = 20_000  # beyond that all subscribers are notified, which is shorter to send
CLOSE_SECONDS = 0.5  # to send the last notifications
NO_ECHO = "what is sent does not come back"


class BusTiming(msgspec.Struct, frozen=True):
    """Seconds after which a connection is probed, given up, and opened again.

    After `probe` of silence a message is sent, to see whether it comes back. It may take `echo`: a
    busy service is not a broken one. The delays before the attempts to reconnect are those of
    `retry`; the last one repeats.
    """

    probe: float = 2.0
    echo: float = 4.0
    retry: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0)


class BackendDown(Exception):
    """A connection cannot be opened or has broken."""


class BusConnection(Protocol):
    """An open connection; it sends one message at a time."""

    async def publish(self, message: str) -> None:
        """Send the message to every process, this one included. Raises `BackendDown`."""
        ...


class BusBackend(Protocol):
    """Carries messages of at most `max_bytes`, one each `pause` seconds from every process.

    It may lose, repeat, delay and reorder them.
    """

    name: str
    max_bytes: int
    pause: float

    def connect(
        self, on_message: Callable[[str], None], on_disconnect: Callable[[], None]
    ) -> AbstractAsyncContextManager[BusConnection]:
        """Open a connection that passes each message to `on_message`. Raises `BackendDown`.

        Both are called on the loop, `on_disconnect` when no more messages will come.
        """
        ...


class SharedSubscription:
    """A subscription whose waits are short while the bus is disconnected."""

    __slots__ = ("_bus", "_local")

    def __init__(self, local: LocalSubscription, bus: SharedBus) -> None:
        self._local = local
        self._bus = bus

    async def wait(self, seconds: float, handle: Handle | None = None) -> bool:
        """See `Subscription.wait`; returns False early while the bus is disconnected."""
        if not self._bus.connected:
            seconds = min(seconds, DISCONNECTED_WAIT_SECONDS)
        return await self._local.wait(seconds, handle)


class SharedBus:
    """The bus of one process among many; create it on the loop that uses it.

    `local` notifies the subscribers of this process. `connected` is true while notifications reach
    other processes; `messages_sent` counts messages. `on_reconnect` is called when a connection is
    open again after one was lost.
    """

    def __init__(
        self,
        backend: BusBackend,
        local: LocalBus | None = None,
        timing: BusTiming = BusTiming(),  # noqa: B008 - frozen
    ) -> None:
        self.connected = False
        self.messages_sent = 0
        self.on_reconnect: Callable[[], None] = lambda: None
        self._connections = 0  # opened so far
        self._sender = secrets.token_hex(8)
        self._backend = backend
        self._timing = timing
        self._local = local or LocalBus()
        self._pending: dict[str, None] = {}  # topics to send, in order
        self._head_start: asyncio.TimerHandle | None = None  # of a turn that is offered here alone
        self._work = asyncio.Event()  # there is something to send, or the connection was lost
        self._closing = False
        self._warned = False  # the log says that the backend is down
        self._task = asyncio.create_task(self._keep_connected(), name="antiphon wake-ups")

    @property
    def subscribers(self) -> int:
        """The number of subscriptions in this process."""
        return self._local.subscribers

    def subscribers_of(self, kind: str) -> int:
        """See `LocalBus.subscribers_of`."""
        return self._local.subscribers_of(kind)

    @contextmanager
    def subscribe(self, topic: str) -> Generator[SharedSubscription]:
        """See `Bus.subscribe`."""
        with self._local.subscribe(topic) as local:
            yield SharedSubscription(local, self)

    def notify(self, topic: str) -> None:
        """See `Bus.notify`."""
        self._local.notify(topic)
        if topic != QUEUE:
            self._add_pending(topic)
        elif self._head_start is None:
            loop = asyncio.get_running_loop()
            self._head_start = loop.call_later(LOCAL_HEAD_START_SECONDS, self._end_head_start)

    def _end_head_start(self) -> None:
        self._head_start = None
        self._add_pending(QUEUE)

    def _add_pending(self, topic: str) -> None:
        if topic in self._pending:
            return
        if len(self._pending) >= MAX_PENDING_TOPICS:
            self._pending.clear()
            topic = ALL_TOPICS
        self._pending[topic] = None
        self._work.set()

    async def close(self) -> None:
        """Send the last notifications, for `CLOSE_SECONDS` at most, and disconnect."""
        self._closing = True
        if self._head_start is not None:
            self._head_start.cancel()
            self._end_head_start()
        self._work.set()
        if self.connected or (self._pending and not self._warned):
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _keep_connected(self) -> None:
        """Open one connection after another; no fault of the backend ends more than one of them."""
        tries = 0
        while True:
            try:
                await self._run_connection()
            except BackendDown as fault:
                why = one_line(str(fault))
            except Exception:  # any error of a library: without a connection a bus is only slower
                why = "for a reason that was logged"
                if not self._warned:
                    log.exception("the connection to %s failed", self._backend.name)
            else:
                return
            tries = 0 if self.connected else tries + 1
            self._on_lost(why)
            if self._closing:
                return
            delay = self._timing.retry[min(tries, len(self._timing.retry) - 1)]
            await asyncio.sleep(delay * uniform(0.5, 1))  # noqa: S311 - spreads load

    async def _run_connection(self) -> None:
        """Open a connection, wait for an echo, and send until it breaks or the bus closes."""
        echo = _EchoMonitor(self._timing.echo)

        def on_disconnect() -> None:
            echo.disconnected = True
            self._work.set()

        async with AsyncExitStack() as stack:
            opening = self._backend.connect(partial(self._receive, echo), on_disconnect)
            async with _deadline(self._timing.echo, "nobody answers"):
                connection = await stack.enter_async_context(opening)
            await self._publish(connection, echo, ())
            await echo.wait_for_first()
            self._on_connected()
            while not self._closing or self._pending:
                await self._wait_for_work(echo)
                echo.check()
                if self._pending or not echo.is_due:
                    await self._send_pending(connection, echo)
                await asyncio.sleep(0 if self._closing else self._backend.pause)

    async def _wait_for_work(self, echo: _EchoMonitor) -> None:
        """Wait until there is something to send, or it is time to probe the connection."""
        if self._pending or self._closing or echo.disconnected:
            return
        self._work.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.probe):
                await self._work.wait()

    async def _send_pending(self, connection: BusConnection, echo: _EchoMonitor) -> None:
        topics = self._take_pending()
        try:
            await self._publish(connection, echo, topics)
        except BaseException:
            self._pending |= dict.fromkeys(topics)  # they may or may not have been sent
            raise

    async def _publish(
        self, connection: BusConnection, echo: _EchoMonitor, topics: Sequence[str]
    ) -> None:
        echo.mark_sent()
        async with _deadline(self._timing.echo, "nothing can be sent"):
            await connection.publish(" ".join([self._sender, *topics]))
        self.messages_sent += 1

    def _take_pending(self) -> Sequence[str]:
        """Remove and return the topics of the next message: those that have waited longest."""
        room = self._backend.max_bytes - len(self._sender)
        taken: list[str] = []
        for topic in self._pending:
            room -= len(" ") + len(topic.encode())
            if room < 0:
                break
            taken.append(topic)
        if self._pending and not taken:  # the first topic is too long for any message
            self._pending.clear()
            return [ALL_TOPICS]
        for topic in taken:
            del self._pending[topic]
        return taken

    def _receive(self, echo: _EchoMonitor, message: str) -> None:
        sender, *topics = message.split(" ")
        if sender == self._sender:
            echo.mark_received()
            return
        for topic in topics:
            if topic == ALL_TOPICS:
                self._local.notify_all()
            else:
                self._local.notify(topic)

    def _on_connected(self) -> None:
        self.connected = True
        self._connections += 1
        if self._connections > 1:
            self.on_reconnect()
        if self._warned:
            self._warned = False
            # At the level of the warning: an operator who read that must read that it is over.
            log.warning("wake-ups come through %s again", self._backend.name)
        self._local.notify_all()

    def _on_lost(self, why: str) -> None:
        was_connected, self.connected = self.connected, False
        if was_connected:
            self._local.notify_all()  # a subscriber in a long wait waits again, now for less
        if not self._warned and not self._closing:
            self._warned = True
            log.warning(
                "no wake-ups come through %s (%s); readers look for themselves each second",
                self._backend.name,
                why,
            )


class _EchoMonitor:
    """Checks that a connection still brings back what was sent on it."""

    def __init__(self, max_delay: float) -> None:
        self.disconnected = False
        self._max_delay = max_delay
        self._loop = asyncio.get_running_loop()
        self._sent_at: float | None = None
        self._received = asyncio.Event()

    @property
    def is_due(self) -> bool:
        """True if something was sent and nothing has come back since."""
        return self._sent_at is not None

    def mark_sent(self) -> None:
        """Note that something is sent."""
        if self._sent_at is None:
            self._sent_at = self._loop.time()

    def mark_received(self) -> None:
        """Note that something has come back."""
        self._sent_at = None
        self._received.set()

    def check(self) -> None:
        """Raise `BackendDown` if the connection was closed or the echo is late."""
        if self.disconnected:
            raise BackendDown("the connection was closed")
        if self._sent_at is not None and self._loop.time() - self._sent_at > self._max_delay:
            raise BackendDown(NO_ECHO)

    async def wait_for_first(self) -> None:
        """Wait until something has come back for the first time. Raises `BackendDown`."""
        async with _deadline(self._max_delay, NO_ECHO):
            await self._received.wait()


@asynccontextmanager
async def _deadline(seconds: float, fault: str) -> AsyncGenerator[None]:
    """Raise `BackendDown` with this text if the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise BackendDown(fault) from None
