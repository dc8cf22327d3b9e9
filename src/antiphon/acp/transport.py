"""JSON-RPC messages as lines. A line that is no message is answered by an error, and skipped.

The library's own transport ends the connection at a line that is JSON and no object.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec

from antiphon.types.json_values import is_object

PARSE_ERROR, INVALID_REQUEST = -32700, -32600


class LineTransport:
    """Reads and writes one message a line; a line is at most as long as the reader's limit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._writing = asyncio.Lock()

    async def send(self, message: dict[str, Any]) -> None:
        """Write a message; wait while the editor reads slowly. Raises `ConnectionError`."""
        line = msgspec.json.encode(message) + b"\n"
        async with self._writing:
            self._writer.write(line)
            await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message; None at the end."""
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:  # longer than the limit
                await self._refuse(PARSE_ERROR, "The message is too long.")
                continue
            if not line:
                return None
            if not line.strip():
                continue
            try:
                message = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                await self._refuse(PARSE_ERROR, "This is no JSON.")
                continue
            if is_object(message):
                return message
            await self._refuse(INVALID_REQUEST, "A message is a JSON object.")

    async def close(self) -> None:
        """Close the writing side."""
        with suppress(OSError):
            self._writer.close()

    async def _refuse(self, code: int, why: str) -> None:
        error = {"code": code, "message": why}
        await self.send({"jsonrpc": "2.0", "id": None, "error": error})
