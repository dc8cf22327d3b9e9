"""An answer that is sent piece by piece, as fast as its reader takes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from antiphon.server import stream
from antiphon.server.exchange import Exchange, Field
from antiphon.server.presence import departure


async def send_pieces(
    exchange: Exchange,
    headers: Iterable[Field],
    pieces: AsyncGenerator[bytes, None],
    welcome: stream.Welcome,
    pace: stream.Pace,
) -> None:
    """Send 200 with these headers and the pieces.

    A reader who has left, takes nothing or is not welcome any more is cut off: half a file has no
    end. What fails before the first piece is there is raised; what fails later cuts the answer off.
    """
    async with departure(exchange.receive) as left, aclosing(pieces):
        first = await anext(pieces, b"")
        await exchange.send(
            {"type": "http.response.start", "status": 200, "headers": [*headers, *HEADERS]}
        )
        if exchange.scope["method"] == "HEAD":
            await exchange.send({"type": "http.response.body", "body": b""})
            return
        whole = await _send(exchange, first, pieces, left, welcome, pace)
        if whole:
            await exchange.send({"type": "http.response.body", "body": b""})
            return
    stream.cutter(exchange.scope)()


async def _send(
    exchange: Exchange,
    first: bytes,
    pieces: AsyncGenerator[bytes, None],
    left: asyncio.Task[None],
    welcome: stream.Welcome,
    pace: stream.Pace,
) -> bool:
    """Send all pieces; returns whether the reader took them."""
    if not await _take(exchange, first, pace.patience):
        return False
    checked = time.monotonic()
    async for piece in pieces:
        if time.monotonic() - checked >= pace.recheck:
            checked = time.monotonic()
            if not await welcome.stands():
                return False
        if left.done() or not await _take(exchange, piece, pace.patience):
            return False
    return True


async def _take(exchange: Exchange, piece: bytes, patience: float) -> bool:
    """Hand the piece over; returns whether the reader took what came before it in time."""
    if not piece:
        return True
    try:
        with exchange.hold_bytes(len(piece)):
            async with asyncio.timeout(patience):
                await exchange.send(
                    {"type": "http.response.body", "body": piece, "more_body": True}
                )
    except TimeoutError:
        return False
    return True


HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
]
