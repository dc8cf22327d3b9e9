"""A file that is made while it is sent: everything of an owner."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

from antiphon.administration.exporting import Archive
from antiphon.server import stream
from antiphon.server.exchange import Exchange, field
from antiphon.server.files import disposition
from antiphon.server.presence import departure


async def send(
    exchange: Exchange,
    archive: Archive,
    media_type: str,
    welcome: stream.Welcome,
    pace: stream.Pace,
) -> None:
    """Send it piece by piece, as fast as the reader takes it.

    Who has left, takes nothing or is not welcome any more is cut off: half a file has no end.
    """
    async with departure(exchange.receive) as left, aclosing(archive.pieces) as pieces:
        await exchange.send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", media_type.encode()),
                    field(b"content-disposition", disposition(archive.name)),
                    *HEADERS,
                ],
            }
        )
        checked = time.monotonic()
        async for piece in pieces:
            if time.monotonic() - checked >= pace.recheck:
                checked = time.monotonic()
                if not await welcome.stands():
                    break
            if left.done() or not await _taken(exchange, piece, pace.patience):
                break
        else:
            await exchange.send({"type": "http.response.body", "body": b""})
            return
    stream.cutter(exchange.scope)()


async def _taken(exchange: Exchange, piece: bytes, patience: float) -> bool:
    """Whether the reader took it in time."""
    if not piece:
        return True
    try:
        async with asyncio.timeout(patience):
            await exchange.send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        return False
    return True


HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
]
