"""A TCP proxy that injects faults, exact to the byte.

It forwards connections to a service of this machine from its own thread, so that it acts like a
network for client and service, whether they run in an event loop or not. `up` is the way to the
service, `down` the way back.
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
"""How long the thread may take to execute a command, on a busy machine."""


@dataclass(frozen=True)
class Cut:
    """Plan to cut one connection: the first on whose way up `seen` has passed.

    It is cut after `after` more bytes, counted on these `ways` together; the next byte does not
    pass. With `reset` both sides get a RST, else a FIN. An empty `seen` means the first connection
    with any bytes.
    """

    after: int
    seen: bytes = b""
    ways: tuple[Way, ...] = BOTH
    reset: bool = True


class FaultProxy:
    """Proxy of the service at `port` of loopback; clients connect to `self.port` instead.

    `cuts` counts the connections that were cut as planned, `passed` the bytes that the newest plan
    has let pass so far, `held` the bytes that were held back since the newest stall.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.cuts = self.passed = self.held = 0
        self._service = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)
        self._links: set[_Link] = set()
        self._plan: Cut | None = None
        self._delays = dict.fromkeys(BOTH, 0.0)
        self._open: dict[Way, asyncio.Event] = {}
        self._refusing = False

    def start(self) -> FaultProxy:
        """Start to listen, and let everything pass."""
        self._thread.start()
        self._run_in_thread(self._listen())
        return self

    def stop(self) -> None:
        """End every connection and the thread."""
        self._run_in_thread(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

    def heal(self) -> None:
        """Let everything pass from now on, also what was held back."""

        def heal() -> None:
            self._plan, self._refusing = None, False
            for way in BOTH:
                self._delays[way] = 0.0
                self._open[way].set()

        self._apply(heal)

    def slow(self, seconds: float, ways: Iterable[Way] = BOTH) -> None:
        """Delay all bytes by this many seconds."""
        self._apply(lambda: self._delays.update(dict.fromkeys(ways, seconds)))

    def stall(self, ways: Iterable[Way] = BOTH) -> None:
        """Let nothing pass until `heal`: no byte, no end, no reset; new connections are silent."""

        def stall() -> None:
            self.held = 0
            for way in ways:
                self._open[way].clear()

        self._apply(stall)

    def refuse(self) -> None:
        """Reset all connections, now and when they are opened."""

        def refuse() -> None:
            self._refusing = True
            self._end_all(reset=True)

        self._apply(refuse)

    def end(self, *, reset: bool = True) -> None:
        """End all open connections now; new ones pass."""
        self._apply(lambda: self._end_all(reset=reset))

    def cut(self, plan: Cut) -> None:
        """Plan to cut one connection; this replaces a plan that was not executed yet."""

        def cut() -> None:
            self._plan, self.passed = plan, 0

        self._apply(cut)

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
                service_reader, service_writer = await asyncio.open_connection(
                    "127.0.0.1", self._service
                )
                link.add(service_writer)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(link, "up", reader, service_writer))
                    group.create_task(self._pump(link, "down", service_reader, writer))
        except* (OSError, _ConnectionCut):
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
            if delay := self._delays[way]:
                await asyncio.sleep(delay)
            if not self._open[way].is_set():
                self.held += len(data)
            await self._open[way].wait()
            passing_count = self._count_passing(link, way, data)
            writer.write(data[:passing_count])
            await writer.drain()
            if passing_count < len(data):
                self._cut(link)
                raise _ConnectionCut
        await self._open[way].wait()
        writer.write_eof()

    def _count_passing(self, link: _Link, way: Way, data: bytes) -> int:
        """Return the number of these bytes that may pass, and count them."""
        plan = self._plan
        if plan is None:
            return len(data)
        uncounted = 0  # bytes before the counted ones
        if link.plan is not plan:
            if way == "down" and plan.seen:
                return len(data)
            start = link.look_for(plan, data)
            if start is None:
                return len(data)
            uncounted = start
        if way not in plan.ways:
            return len(data)
        passing = min(len(data), uncounted + link.left)
        counted = max(0, passing - uncounted)
        link.left -= counted
        self.passed += counted
        return passing

    def _cut(self, link: _Link) -> None:
        assert link.plan
        self.cuts += 1
        self._plan = None
        link.end(reset=link.plan.reset)

    def _end_all(self, *, reset: bool) -> None:
        for link in self._links:
            link.end(reset=reset)

    # From outside

    def _apply(self, action: Callable[[], Any]) -> None:
        async def run_action() -> None:
            action()

        self._run_in_thread(run_action())

    def _run_in_thread(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)


class _ConnectionCut(Exception):
    """The connection was cut."""


class _Link:
    """A connection through the proxy; once `plan` applies to it, `left` more bytes may pass."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.plan: Cut | None = None
        self.left = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._last = b""
        self.add(writer)

    def add(self, writer: asyncio.StreamWriter) -> None:
        """Add one of the two ends."""
        writer.transport.set_write_buffer_limits(0)  # so that `drain` waits for the last byte
        self._writers.append(writer)

    def look_for(self, plan: Cut, data: bytes) -> int | None:
        """Return where in these bytes the count begins: behind `seen`, which may come in pieces."""
        before = self._last
        at = (before + data).find(plan.seen)
        if at < 0:
            self._last = (before + data)[1 - len(plan.seen) :] if len(plan.seen) > 1 else b""
            return None
        self.plan, self.left, self._last = plan, plan.after, b""
        return max(0, at + len(plan.seen) - len(before))

    def end(self, *, reset: bool) -> None:
        """Start to close both ends."""
        for writer in self._writers:
            _end(writer, reset=reset)

    async def close(self) -> None:
        """Wait until both ends are closed; reset those that are still open."""
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
