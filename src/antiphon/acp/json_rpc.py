"""JSON-RPC 2.0: messages as lines, and our errors as its errors.

The transport of the protocol's library ends the connection at a line that is JSON and no object.
Here a line that is no message is answered by an error, and skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import msgspec
from acp.exceptions import RequestError

from antiphon.types.errors import AntiphonError, CallerError, Forbidden, NotFound, Unauthorized
from antiphon.types.json_values import is_object

P = ParamSpec("P")
T = TypeVar("T")

PARSE_ERROR, INVALID_REQUEST = -32700, -32600
INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603
"""Codes of JSON-RPC 2.0."""
AUTH_REQUIRED, RESOURCE_NOT_FOUND = -32000, -32002
"""Codes of the Agent Client Protocol."""


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


def translate_errors(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the method with our errors as those of JSON-RPC, which name what was wanted."""

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except AntiphonError as error:
            raise _request_error(error) from error

    return call


def _request_error(error: AntiphonError) -> RequestError:
    data = {"code": error.code, "details": error.full_message}
    match error:
        case Unauthorized() | Forbidden():
            return RequestError(AUTH_REQUIRED, error.full_message, data)
        case NotFound():
            return RequestError(RESOURCE_NOT_FOUND, error.full_message, data)
        case CallerError():
            return RequestError(INVALID_PARAMS, error.full_message, data)
        case _:
            return RequestError(INTERNAL_ERROR, error.full_message, data)
