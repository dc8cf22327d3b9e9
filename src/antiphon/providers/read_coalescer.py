"""Reads the replies of one event loop together, in rounds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from math import ceil
from typing import Any, cast

import aiohttp
from aiohttp.connector import Connection

ROUND_SECONDS = 1 / 30  # as smooth as a film
REPLIES_PER_ROUND = 100  # with more replies, each is read in every second, third or fourth round
CROWDED_ROUND_SECONDS = 1 / 40  # then
MAX_ROUNDS = 4
FULL_READ_BYTES = 16_000
"""After a read of so much the next ones follow at once, until nothing has come."""

RECEIVE_BYTES = 65_536
"""Received at once: half of what the HTTP client buffers."""

TakePiece = Callable[[bytes], bool]
"""Takes bytes of a response at once; returns False if the reader must yield them instead."""


class ReadCoalescer:
    """Reads the replies of one event loop together, in rounds, and wakes no task for what it reads.

    A loop that is woken for each piece spends more time on waking than on the piece, whose code and
    data have left the processor's caches. What is read together is also stored and sent together.
    Rounds begin at multiples of their seconds of the loop's clock, and so together with those of
    other servers.
    """

    def __init__(self) -> None:
        self._readers: dict[_RoundReader, int] = {}
        self._newest = 0
        self._timer: asyncio.TimerHandle | None = None

    async def read(
        self,
        content: aiohttp.StreamReader,
        take: TakePiece,
        connection: Connection | None = None,
    ) -> bytes:
        """Pass what arrives to `take`; return what it does not take, and b"" at the end.

        Through `connection`, if it is not encrypted, the bytes are received in rounds as well.
        Raises what broke the connection, after the bytes before it, and what `take` raises.
        """
        polled = None if connection is None else _poll_connection(connection, content)
        reader = _RoundReader(content, take, polled)
        self._newest += 1
        self._readers[reader] = self._newest
        if self._timer is None:
            self._set_timer()
        try:
            return await reader.untaken
        finally:
            del self._readers[reader]
            if polled is not None:
                polled.stop()

    def _set_timer(self, last_round: int = 0) -> None:
        loop = asyncio.get_running_loop()
        crowded = len(self._readers) > REPLIES_PER_ROUND
        seconds = CROWDED_ROUND_SECONDS if crowded else ROUND_SECONDS
        next_round = int(loop.time() / seconds) + 1
        if next_round == last_round:  # the timer was early by a millisecond
            next_round += 1
        self._timer = loop.call_at(next_round * seconds, self._read_round, next_round)

    def _read_round(self, now: int) -> None:
        self._timer = None
        rounds = min(MAX_ROUNDS, ceil(len(self._readers) / REPLIES_PER_ROUND))
        for reader, number in self._readers.items():
            if (number + now) % rounds == 0:
                reader.read()
        if self._readers:
            self._set_timer(now)


class _RoundReader:
    """Reads one response; `untaken` is the result of `ReadCoalescer.read`."""

    def __init__(
        self, content: aiohttp.StreamReader, take: TakePiece, polled: _PolledTransport | None
    ) -> None:
        self.untaken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._polled = polled
        self._content = content
        self._take = take
        self._flows = False

    def read(self) -> None:
        """Pass on what has arrived."""
        if self.untaken.done():
            return
        try:
            if self._polled is not None:
                self._polled.receive()
            piece = _read_buffered(self._content)
            self._flows = bool(piece) and (self._flows or len(piece) >= FULL_READ_BYTES)
            if piece and self._take(piece):
                if self._flows:
                    asyncio.get_running_loop().call_soon(self.read)
            elif piece or self._content.at_eof():
                self.untaken.set_result(piece)
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            self.untaken.set_exception(error)


def _read_buffered(content: aiohttp.StreamReader) -> bytes:
    """Return what has arrived; raise what broke the connection if nothing came before it.

    The library would raise first, and so lose the end of a reply that is cut.
    """
    error = content.exception()
    if error is None:
        return content.read_nowait()
    content.set_exception(cast("BaseException", None))
    piece = content.read_nowait()
    content.set_exception(error)
    if not piece:
        raise error
    return piece


def _poll_connection(
    connection: Connection, content: aiohttp.StreamReader
) -> _PolledTransport | None:
    """Stop the loop from receiving the response, which is then received by `receive`.

    Returns None where the loop must receive it: the bytes of an encrypted connection are not those
    of the response.
    """
    transport, protocol = connection.transport, connection.protocol
    if transport is None or protocol is None or not transport.is_reading():
        return None
    sock = transport.get_extra_info("socket")
    encrypted = transport.get_extra_info("sslcontext") is not None
    if sock is None or encrypted or os.name != "posix":
        return None
    return _PolledTransport(transport, protocol, content, sock.fileno())


class _PolledTransport(asyncio.Transport):
    """Transport of a response whose bytes are received when `receive` is called.

    The loop is then not woken for each packet. It takes the transport's place at the protocol,
    which resumes reading after each read of its buffer.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: Any,
        content: aiohttp.StreamReader,
        descriptor: int,
    ) -> None:
        super().__init__()
        self._transport = transport
        self._protocol = protocol
        self._content = content
        self._descriptor = descriptor
        self._paused = self._stopped = False
        transport.pause_reading()
        protocol.transport = self

    def receive(self) -> None:
        """Pass what has arrived to the protocol, unless its buffer is full."""
        # A closed descriptor may belong to another connection already.
        if self._paused or self._stopped or self._transport.is_closing():
            return
        try:
            data = os.read(self._descriptor, RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._protocol.data_received(data)
        if not data or self._content.is_eof():
            self.stop()  # an end or an error of the connection is the transport's to find

    def stop(self) -> None:
        """Make the loop receive again."""
        if self._stopped:
            return
        self._stopped = True
        if self._protocol.transport is self:
            self._protocol.transport = self._transport
        if not self._paused:
            self._transport.resume_reading()

    def pause_reading(self) -> None:
        """Receive nothing until `resume_reading`."""
        self._paused = True

    def resume_reading(self) -> None:
        """Receive again, in the next round."""
        self._paused = False

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes of the request."""
        self._transport.write(data)

    def get_extra_info(self, name: str, default: object = None) -> Any:
        """Return what the transport knows of itself."""
        return self._transport.get_extra_info(name, default)
