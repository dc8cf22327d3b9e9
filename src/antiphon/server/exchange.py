"""One request and its answer on their way: what came, who asks, and how to answer.

Header fields that go out cannot be broken out of, and every error is a problem document.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from antiphon import problems
from antiphon.errors import AntiphonError
from antiphon.server.access import Caller
from antiphon.unsent import hold_bytes, send_body

Field = tuple[bytes, bytes]

_encode = msgspec.json.Encoder().encode
_ALWAYS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
_CONTROLS = bytes([*range(0x20), 0x7F])


class Exchange(msgspec.Struct, frozen=True):
    """A request that was let in; `began` is by the monotonic clock."""

    scope: Scope
    receive: Receive
    send: Send
    caller: Caller
    began: float

    async def say(self, status: int, value: Any, more: Iterable[Field] = ()) -> None:
        """Answer with a value as JSON; `msgspec.Raw` goes out as it is. Raises `Overloaded`."""
        await self.reply(status, _encode(value), b"application/json", more)

    async def reply(
        self, status: int, body: bytes, media_type: bytes, more: Iterable[Field] = ()
    ) -> None:
        """Answer with these bytes. Raises `Overloaded` where too much waits to be read."""
        with self.hold_bytes(len(body)):
            await reply(self.send, status, body, media_type, more)

    def hold_bytes(self, size: int) -> AbstractContextManager[None]:
        """Count so many bytes as held for this caller. Entering it raises `Overloaded`."""
        return hold_bytes(self.scope, self.caller.who, size)


def field(name: bytes, value: str) -> Field:
    """A header field whose value came from outside: nothing in it can end the line."""
    return name, value.encode("latin-1", "replace").translate(None, _CONTROLS)


async def reply(
    send: Send, status: int, body: bytes, media_type: bytes, more: Iterable[Field] = ()
) -> None:
    """A whole answer at once."""
    fields = [
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(body)),
        *_ALWAYS,
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send_body(send, body)


async def refuse(send: Send, error: AntiphonError) -> None:
    """An error as a problem document."""
    status, _ = problems.placed(error)
    body = problems.document(error)
    await reply(send, status, body, problems.MEDIA_TYPE, problems.headers(error))
