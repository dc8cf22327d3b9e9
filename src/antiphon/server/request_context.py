"""A request with its caller, its responses, and the detection of disconnects.

Header fields of responses cannot contain line breaks; every error is a problem document.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from antiphon.api import problems
from antiphon.limits import hold_bytes, send_body
from antiphon.server.auth import Caller
from antiphon.types.errors import AntiphonError

Field = tuple[bytes, bytes]

_encode = msgspec.json.Encoder().encode
_ALWAYS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
_CONTROLS = bytes([*range(0x20), 0x7F])


class RequestContext(msgspec.Struct, frozen=True):
    """An admitted request; `began` is a time of the monotonic clock."""

    scope: Scope
    receive: Receive
    send: Send
    caller: Caller
    began: float

    async def respond_json(self, status: int, value: Any, more: Iterable[Field] = ()) -> None:
        """Respond with a value as JSON; `msgspec.Raw` is sent as it is. Raises `Overloaded`."""
        await self.respond(status, _encode(value), b"application/json", more)

    async def respond(
        self, status: int, body: bytes, media_type: bytes, more: Iterable[Field] = ()
    ) -> None:
        """Respond with these bytes. Raises `Overloaded` if too many bytes wait to be read."""
        with self.hold_bytes(len(body)):
            await send_response(self.send, status, body, media_type, more)

    def hold_bytes(self, size: int) -> AbstractContextManager[None]:
        """Count these bytes as held for this caller. Raises `Overloaded` on entry."""
        return hold_bytes(self.scope, self.caller.share_key, size)


def field(name: bytes, value: str) -> Field:
    """A header field whose value came from outside: nothing in it can end the line."""
    return name, value.encode("latin-1", "replace").translate(None, _CONTROLS)


async def send_response(
    send: Send, status: int, body: bytes, media_type: bytes, more: Iterable[Field] = ()
) -> None:
    """Send a complete response."""
    fields = [
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(body)),
        *_ALWAYS,
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send_body(send, body)


async def send_problem(send: Send, error: AntiphonError) -> None:
    """Send an error as a problem document."""
    status, _ = problems.status_and_title(error)
    body = problems.problem_document(error)
    await send_response(send, status, body, problems.MEDIA_TYPE, problems.problem_headers(error))


T = TypeVar("T")


class ClientDisconnected(Exception):
    """The client disconnected before the response."""


@asynccontextmanager
async def watch_disconnect(receive: Receive) -> AsyncGenerator[asyncio.Task[None]]:
    """Yield a task that ends when the client disconnects; read the request's body before."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    watching = asyncio.create_task(watch())
    try:
        yield watching
    finally:
        watching.cancel()


async def run_while_connected(
    receive: Receive,
    work: Coroutine[Any, Any, T],
    check: Callable[[], Awaitable[None]],
    recheck: float,
) -> T:
    """Return the result of `work`, which is cancelled when the client disconnects.

    `check` is called every `recheck` seconds; its exception ends the wait and is raised. Raises
    `ClientDisconnected`.
    """
    async with watch_disconnect(receive) as left:
        working = asyncio.create_task(work)
        try:
            while not working.done():
                await asyncio.wait(
                    {left, working}, timeout=recheck, return_when=asyncio.FIRST_COMPLETED
                )
                if left.done() and not working.done():
                    raise ClientDisconnected
                if not working.done():
                    await check()
            return await working
        finally:
            working.cancel()
            await asyncio.wait({working})
