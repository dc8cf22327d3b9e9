"""A file that is made while it is sent: everything of an owner."""

from __future__ import annotations

from antiphon.administration.exporting import Archive
from antiphon.server import stream
from antiphon.server.exchange import Exchange, field
from antiphon.server.files import disposition
from antiphon.server.pieces import send_pieces


async def send(
    exchange: Exchange,
    archive: Archive,
    media_type: str,
    welcome: stream.Welcome,
    pace: stream.Pace,
) -> None:
    """Send it piece by piece, as fast as the reader takes it."""
    headers = [
        (b"content-type", media_type.encode()),
        field(b"content-disposition", disposition(archive.name)),
    ]
    await send_pieces(exchange, headers, archive.pieces, welcome, pace)
