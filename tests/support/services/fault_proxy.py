"""A TCP proxy that spoils what passes, exact to the byte.

It stands before any service of this machine and lives in a thread of its own, so that whoever is on
either side, on a loop or not, meets it as one meets a network. `up` is the way to the service,
`down` the way back.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

Way = Literal["up", "down"]

BOTH: tuple[Way, Way] = ("up", "down")
PIECE = 65_536
SECONDS = 30.0
"""For the thread to do as it is told, on a machine that is busy elsewhere."""


@dataclass(frozen=True)
class Cut:
    """One connection shall end: the first on whose way up `seen` has passed.

    `after` so many more bytes, counted on these `ways` together; the next byte does not pass.
    With `reset` both sides get a RST, else a FIN. With nothing `seen` it is whoever speaks next.
    """

    after: int
    seen: bytes = b""
    ways: tuple[Way, ...] = BOTH
    reset: bool = True


class FaultProxy:
    """Before the service at `port` of loopback; `self.port` is where to go instead.

    `cuts` counts the connections that an order to cut has ended, `passed` the bytes that the newest
    order has let pass so far, `held` those that came since the newest stall and were held back.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.cuts = self.passed = self.held = 0
        self._service = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)
        self._links: set[_Link] = set()
        self._order: Cut | None = None
        self._late = dict.fromkeys(BOTH, 0.0)
        self._open: dict[Way, asyncio.Event] = {}
        self._refusing = False

    def start(self) -> FaultProxy:
        """Listen, and let everything pass."""
        self._thread.start()
        self._tell(self._listen())
        return self

    def stop(self) -> None:
        """End every connection and the thread."""
        self._tell(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

    def heal(self) -> None:
        """From now on everything passes, also what was held back."""

        def heal() -> None:
            self._order, self._refusing = None, False
            for way in BOTH:
                self._late[way] = 0.0
                self._open[way].set()

        self._do(heal)

    def slow(self, seconds: float, ways: Iterable[Way] = BOTH) -> None:
        """Delay all bytes by so many seconds."""
        self._do(lambda: self._late.update(dict.fromkeys(ways, seconds)))

    def stall(self, ways: Iterable[Way] = BOTH) -> None:
        """Nothing passes until `heal`: no byte, no end, no reset; who connects hears nothing."""

        def stall() -> None:
            self.held = 0
            for way in ways:
                self._open[way].clear()

        self._do(stall)

    def refuse(self) -> None:
        """Everybody gets a RST, at once and when they connect."""

        def refuse() -> None:
            self._refusing = True
            self._end_all(reset=True)

        self._do(refuse)

    def end(self, *, reset: bool = True) -> None:
        """Every connection there is ends now; new ones are let through."""
        self._do(lambda: self._end_all(reset=reset))

    def cut(self, order: Cut) -> None:
        """One connection ends there; an order that nobody has met yet is taken back."""

        def cut() -> None:
            self._order, self.passed = order, 0

        self._do(cut)

    # In the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> None:
        for way in BOTH:
            self._open[way] = asyncio.Event()
            self._open[way].set()
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        try:
            if not self._refusing:
                there, onward = await asyncio.open_connection("127.0.0.1", self._service)
                link.add(onward)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(link, "up", reader, onward))
                    both.create_task(self._pump(link, "down", there, writer))
        except* (OSError, _Over):
            pass
        else:
            link.end(reset=self._refusing)
        finally:
            self._links.discard(link)
            await link.close()

    async def _pump(
        self, link: _Link, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(PIECE):
            if late := self._late[way]:
                await asyncio.sleep(late)
            if not self._open[way].is_set():
                self.held += len(data)
            await self._open[way].wait()
            passing = self._passing(link, way, data)
            writer.write(data[:passing])
            await writer.drain()
            if passing < len(data):
                self._cut(link)
                raise _Over
        await self._open[way].wait()
        writer.write_eof()

    def _passing(self, link: _Link, way: Way, data: bytes) -> int:
        """Return the number of these bytes that may pass."""
        order = self._order
        if order is None:
            return len(data)
        counted = 0  # of these bytes, those before the count begins
        if link.order is not order:
            if way == "down" and order.seen:
                return len(data)
            begun = link.look_for(order, data)
            if begun is None:
                return len(data)
            counted = begun
        if way not in order.ways:
            return len(data)
        passing = min(len(data), counted + link.left)
        counting = max(0, passing - counted)
        link.left -= counting
        self.passed += counting
        return passing

    def _cut(self, link: _Link) -> None:
        assert link.order
        self.cuts += 1
        self._order = None
        link.end(reset=link.order.reset)

    def _end_all(self, *, reset: bool) -> None:
        for link in self._links:
            link.end(reset=reset)

    # From outside

    def _do(self, deed: Callable[[], Any]) -> None:
        async def done() -> None:
            deed()

        self._tell(done())

    def _tell(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)


class _Over(Exception):
    """The connection was cut."""


class _Link:
    """One connection through the proxy; `left` may still pass once it has met the `order`."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.order: Cut | None = None
        self.left = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._last = b""
        self.add(writer)

    def add(self, writer: asyncio.StreamWriter) -> None:
        """One of its two ends."""
        writer.transport.set_write_buffer_limits(0)  # so that `drain` waits for the last byte
        self._writers.append(writer)

    def look_for(self, order: Cut, data: bytes) -> int | None:
        """Where in these bytes the count begins: behind what was looked for, were it in pieces."""
        before = self._last
        at = (before + data).find(order.seen)
        if at < 0:
            self._last = (before + data)[1 - len(order.seen) :] if len(order.seen) > 1 else b""
            return None
        self.order, self.left, self._last = order, order.after, b""
        return max(0, at + len(order.seen) - len(before))

    def end(self, *, reset: bool) -> None:
        """Begin to end it."""
        for writer in self._writers:
            _end(writer, reset=reset)

    async def close(self) -> None:
        """Both ends are closed, by a RST if they were not before."""
        for writer in self._writers:
            if not writer.is_closing():
                _end(writer, reset=True)
            with suppress(OSError):
                await writer.wait_closed()


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if not reset:
        writer.close()
        return
    if (connection := writer.get_extra_info("socket")) is not None:
        with suppress(OSError):  # it is closed already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
