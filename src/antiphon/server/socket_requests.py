"""WebSockets as requests: the opening of one, and each message that asks for an answer.

Both pass through the application like every request over HTTP, with the same access control,
limits, quotas, metrics and errors:

    opening, send = opening_request(scope, receive, send)  # a handler finds its socket, and accepts
    request = MessageRequest(opening, body, extensions, deliver, disconnected)
    await application(request.scope, request.receive, request.send)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.types import Message, Receive, Scope, Send

from antiphon.limits.unsent_bytes import UNSENT
from antiphon.server.streaming import ABORT

SOCKET = "antiphon.socket"
"""ASGI extension of a request that opens a WebSocket: its `Socket`, as `opened`."""

_OF_ONE_REQUEST = (b"connection", b"expect", b"idempotency-key", b"upgrade", b"x-request-id")
_PREFIXES_OF_ONE_REQUEST = (b"content-", b"sec-websocket-", b"transfer-")
"""Header fields of the opening that its messages do not have."""
_KEPT_EXTENSIONS = (ABORT, UNSENT)
_JSON = b"application/json"


class Socket(NamedTuple):
    """The messages of a WebSocket, as ASGI has them."""

    receive: Receive
    send: Send


def opening_request(scope: Scope, receive: Receive, send: Send) -> tuple[Scope, Send]:
    """Return the opening of a WebSocket as a GET request, and how its response is sent."""
    socket = Socket(receive, send)
    request: dict[str, Any] = {
        **scope,
        "type": "http",
        "method": "GET",
        "scheme": "https" if scope.get("scheme") == "wss" else "http",
        "extensions": {**(scope.get("extensions") or {}), SOCKET: {"opened": socket}},
    }

    async def send_response(message: Message) -> None:
        kind = message["type"]
        await send({**message, "type": f"websocket.{kind}" if kind.startswith("http") else kind})

    return request, send_response


def find_socket(scope: Scope) -> Socket | None:
    """Return the WebSocket that a request opens; None for a request that opens none."""
    socket: Socket | None = scope.get("extensions", {}).get(SOCKET, {}).get("opened")
    return socket


Deliver = Callable[[int, Sequence[bytes], Mapping[str, str]], Awaitable[None]]
"""Takes the status of a response, the data of its events or its body, and its headers by name."""


class MessageRequest:
    """A message of a WebSocket as a POST request, whose response goes to `deliver` as it comes.

    `opening` is the request that opened the WebSocket; the message has its caller. `extensions` are
    added to those of the connection. The request ends when `disconnected` is set.
    """

    def __init__(
        self,
        opening: Scope,
        body: bytes,
        extensions: Mapping[str, Any],
        deliver: Deliver,
        disconnected: asyncio.Event,
    ) -> None:
        given = opening["extensions"]
        kept = {name: given[name] for name in _KEPT_EXTENSIONS if name in given}
        self.scope: Scope = {
            **opening,
            "method": "POST",
            "query_string": b"",
            "headers": [*filter(_is_kept, opening["headers"]), (b"content-type", _JSON)],
            "extensions": {**kept, **extensions},
        }
        self._body: bytes | None = body
        self._deliver = deliver
        self._disconnected = disconnected
        self._status = 0
        self._headers: dict[str, str] = {}
        self._unread = b""

    async def receive(self) -> Message:
        """Return the body, and then wait for the end of the WebSocket."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Deliver what there is of the response."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            pairs = message.get("headers", ())
            self._headers = {name.decode("latin-1"): each.decode("latin-1") for name, each in pairs}
            return
        body: bytes = message.get("body", b"")
        self._unread += body
        if self._headers.get("content-type", "").startswith("text/event-stream"):
            whole, end, self._unread = self._unread.rpartition(b"\n\n")
            lines = (whole + end).split(b"\n")  # comments have no data
            data = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
            if data:
                await self._deliver(self._status, data, self._headers)
        elif not message.get("more_body", False):
            await self._deliver(self._status, [self._unread], self._headers)


def _is_kept(field: tuple[bytes, bytes]) -> bool:
    name = field[0].lower()
    return name not in _OF_ONE_REQUEST and not name.startswith(_PREFIXES_OF_ONE_REQUEST)
