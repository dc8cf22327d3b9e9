"""Wakes readers of every process: here at once, elsewhere through a carrier of short messages.

A process has one line to its carrier, however many watch. What rang is gathered as a set of topics:
the first goes out at once, what follows within the carrier's pause goes with the next message. A
line is believed while it brings back what was sent on it; until then nobody waits long for a ring,
and after it broke everybody is woken once, for rings may have been missed.
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
from antiphon.ports import QUEUE
from antiphon.types.terminal_safe import one_line

log = logging.getLogger(__name__)

EVERYTHING = "*"
"""In the place of topics: wake everybody."""

DOWN_PATIENCE = 1.0  # seconds anybody waits for a ring that nobody would carry
HEAD_START = 0.03
"""Seconds for which a turn is offered here alone: a run is told cheapest where it is driven, and
who asked for the turn is connected here."""
MAX_PENDING_TOPICS = 20_000  # gathered; beyond that everybody is woken, which takes less to say
CLOSE_SECONDS = 0.5  # in which the last rings go out
UNHEARD = "what is sent does not come back"


class BusTiming(msgspec.Struct, frozen=True):
    """How soon a bus looks after its line, in seconds.

    After `probe` of silence something is sent, to see whether it comes back. It may be on its way
    for `echo`: a busy service is no broken one. A line is opened anew after the first of `retry`,
    then the second; the last one comes again and again.
    """

    probe: float = 2.0
    echo: float = 4.0
    retry: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0)


class BackendDown(Exception):
    """A line cannot be opened or has broken."""


class BusConnection(Protocol):
    """An open line; one message at a time."""

    async def publish(self, message: str) -> None:
        """Send it to every process, this one included. Raises `BackendDown`."""
        ...


class BusBackend(Protocol):
    """Carries messages of at most `max_bytes`, one each `pause` seconds from every process.

    It may lose, repeat, delay and reorder them.
    """

    name: str
    max_bytes: int
    pause: float

    def connect(
        self, hear: Callable[[str], None], hung_up: Callable[[], None]
    ) -> AbstractAsyncContextManager[BusConnection]:
        """A line on which `hear` is told each message; opening it raises `BackendDown`.

        Both are called on the loop, `hung_up` when nothing will be heard any more.
        """
        ...


class SharedSubscription:
    """A bell that knows whether it is rung from elsewhere just now."""

    __slots__ = ("_bell", "_bus")

    def __init__(self, bell: LocalSubscription, bus: SharedBus) -> None:
        self._bell = bell
        self._bus = bus

    async def wait(self, seconds: float) -> bool:
        """See `Bell.wait`; False comes early where the carrier is down."""
        return await self._bell.wait(
            seconds if self._bus.connected else min(seconds, DOWN_PATIENCE)
        )


class SharedBus:
    """The bus of one process among many; to be made on the loop that uses it.

    `local` notifies the readers of this process. `connected` is true while notifications reach
    other processes; `messages_sent` counts messages. `on_reconnect` is called when a connection is
    open again after one was lost.
    """

    def __init__(
        self,
        carrier: BusBackend,
        local: LocalBus | None = None,
        pace: BusTiming = BusTiming(),  # noqa: B008 - frozen
    ) -> None:
        self.connected = False
        self.messages_sent = 0
        self.on_reconnect: Callable[[], None] = lambda: None
        self._lines = 0
        self._me = secrets.token_hex(8)
        self._carrier = carrier
        self._pace = pace
        self._local = local or LocalBus()
        self._gathered: dict[str, None] = {}
        self._offered: asyncio.TimerHandle | None = None  # a turn, here alone so far
        self._stirred = asyncio.Event()  # there is something to send, or the line has broken
        self._closing = False
        self._told = False  # people were told that the carrier is down
        self._keeping = asyncio.create_task(self._keep_a_line(), name="antiphon wake-ups")

    @property
    def subscribers(self) -> int:
        """How many watch any topic in this process."""
        return self._local.subscribers

    def subscribers_of(self, kind: str) -> int:
        """See `LocalBus.subscribers_of`."""
        return self._local.subscribers_of(kind)

    @contextmanager
    def subscribe(self, topic: str) -> Generator[SharedSubscription]:
        """See `Bus.watch`."""
        with self._local.subscribe(topic) as bell:
            yield SharedSubscription(bell, self)

    def notify(self, topic: str) -> None:
        """See `Bus.ring`."""
        self._local.notify(topic)
        if topic != QUEUE:
            self._gather(topic)
        elif self._offered is None:
            self._offered = asyncio.get_running_loop().call_later(HEAD_START, self._offer)

    def _offer(self) -> None:
        """Tell everybody of a turn that was offered here."""
        self._offered = None
        self._gather(QUEUE)

    def _gather(self, topic: str) -> None:
        if topic in self._gathered:
            return
        if len(self._gathered) >= MAX_PENDING_TOPICS:
            self._gathered.clear()
            topic = EVERYTHING
        self._gathered[topic] = None
        self._stirred.set()

    async def close(self) -> None:
        """Send the last rings, if they go out soon, and hang up."""
        self._closing = True
        if self._offered is not None:
            self._offered.cancel()
            self._offer()
        self._stirred.set()
        if self.connected or (self._gathered and not self._told):
            await asyncio.wait([self._keeping], timeout=CLOSE_SECONDS)
        self._keeping.cancel()
        await asyncio.wait([self._keeping])

    async def _keep_a_line(self) -> None:
        """Open one after the other; whatever befalls the carrier ends no more than one."""
        tries = 0
        while True:
            try:
                await self._hold_a_line()
            except BackendDown as fault:
                why = one_line(str(fault))
            except Exception:  # a wall to a library: a bus without a line is only slower
                why = "for a reason that was logged"
                if not self._told:
                    log.exception("the line to %s stumbled", self._carrier.name)
            else:
                return
            tries = 0 if self.connected else tries + 1
            self._go_down(why)
            if self._closing:
                return
            usual = self._pace.retry[min(tries, len(self._pace.retry) - 1)]
            await asyncio.sleep(usual * uniform(0.5, 1))  # noqa: S311 - spreads load

    async def _hold_a_line(self) -> None:
        echo = _Echo(self._pace.echo)

        def hung_up() -> None:
            echo.lost = True
            self._stirred.set()

        async with AsyncExitStack() as stack:
            opening = self._carrier.connect(partial(self._hear, echo), hung_up)
            async with _in_time(self._pace.echo, "nobody answers"):
                line = await stack.enter_async_context(opening)
            await self._say(line, echo, ())
            await echo.heard()
            self._come_up()
            await self._carry(line, echo)

    async def _carry(self, line: BusConnection, echo: _Echo) -> None:
        """Send what rings, until the line breaks or the bus closes."""
        while not self._closing or self._gathered:
            await self._something_to_send(echo)
            echo.check()
            if self._gathered or not echo.awaited:
                await self._send(line, echo)
            await asyncio.sleep(0 if self._closing else self._carrier.pause)

    async def _something_to_send(self, echo: _Echo) -> None:
        """Or that it is time to look at the line."""
        if self._gathered or self._closing or echo.lost:
            return
        self._stirred.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.probe):
                await self._stirred.wait()

    async def _send(self, line: BusConnection, echo: _Echo) -> None:
        topics = self._taken()
        try:
            await self._say(line, echo, topics)
        except BaseException:
            self._gathered |= dict.fromkeys(topics)  # nobody knows whether they went out
            raise

    async def _say(self, line: BusConnection, echo: _Echo, topics: Sequence[str]) -> None:
        echo.awaits()
        async with _in_time(self._pace.echo, "nothing can be sent"):
            await line.publish(" ".join([self._me, *topics]))
        self.messages_sent += 1

    def _taken(self) -> Sequence[str]:
        """The topics of the next message: those that have waited longest."""
        room = self._carrier.max_bytes - len(self._me)
        taken: list[str] = []
        for topic in self._gathered:
            room -= len(" ") + len(topic.encode())
            if room < 0:
                break
            taken.append(topic)
        if self._gathered and not taken:  # one that no message holds
            self._gathered.clear()
            return [EVERYTHING]
        for topic in taken:
            del self._gathered[topic]
        return taken

    def _hear(self, echo: _Echo, message: str) -> None:
        sender, *topics = message.split(" ")
        if sender == self._me:
            echo.came()
            return
        for topic in topics:
            if topic == EVERYTHING:
                self._local.notify_all()
            else:
                self._local.notify(topic)

    def _come_up(self) -> None:
        self.connected = True
        self._lines += 1
        if self._lines > 1:
            self.on_reconnect()
        if self._told:
            self._told = False
            # As loud as the trouble was: who read of that must read that it is over.
            log.warning("wake-ups come through %s again", self._carrier.name)
        self._local.notify_all()

    def _go_down(self, why: str) -> None:
        was_up, self.connected = self.connected, False
        if was_up:
            self._local.notify_all()  # who waits long shall wait anew, and not so long
        if not self._told and not self._closing:
            self._told = True
            log.warning(
                "no wake-ups come through %s (%s); readers look for themselves each second",
                self._carrier.name,
                why,
            )


class _Echo:
    """Whether a line still brings back what was sent on it."""

    def __init__(self, patience: float) -> None:
        self.lost = False
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self._heard = asyncio.Event()

    @property
    def awaited(self) -> bool:
        """Whether something was sent and nothing has come since."""
        return self._since is not None

    def awaits(self) -> None:
        """Something is sent."""
        if self._since is None:
            self._since = self._loop.time()

    def came(self) -> None:
        """Something has come back."""
        self._since = None
        self._heard.set()

    def check(self) -> None:
        """Raise `BackendDown` where nothing will come any more."""
        if self.lost:
            raise BackendDown("the connection was closed")
        if self._since is not None and self._loop.time() - self._since > self._patience:
            raise BackendDown(UNHEARD)

    async def heard(self) -> None:
        """Until something has come back for the first time. Raises `BackendDown`."""
        async with _in_time(self._patience, UNHEARD):
            await self._heard.wait()


@asynccontextmanager
async def _in_time(seconds: float, otherwise: str) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise BackendDown(otherwise) from None
