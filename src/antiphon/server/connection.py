"""The listening socket, and HTTP connections of uvicorn with limits on headers and slow readers.

uvicorn waits without limit for the end of a header and keeps all of it. It also waits without limit
for a client that does not read its response. Requests that cannot be parsed are answered here,
because they never reach the application.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from antiphon.api import problems
from antiphon.api.problems import HeadTooLarge, Malformed, TooSlow
from antiphon.limits.unsent_bytes import UNSENT, WRITE, UnsentBytes
from antiphon.server.streaming import ABORT
from antiphon.types.errors import AntiphonError, BadSettings

MAX_HEAD = 32_768  # bytes of request line and header fields: four times the most that browsers send
CHECKS = 4  # of a reader, during its timeout
EXCESS_SHARE = 0.1
"""Connections beyond `max_connections` that get a response, as a share of that number."""

CROWDED = "antiphon.crowded"
"""ASGI extension of requests on a connection beyond the limit."""


class HttpConnection(HttpToolsProtocol):
    """A connection with limits on header size, header time and unread responses.

    `head_patience` is the seconds from the start of a request, or of the connection, to the last
    header field. Requests on a connection beyond `max_connections` are refused; if there are too
    many such connections, they are closed at once.

    A client that reads no byte of a response for `send_timeout` seconds loses the connection.

    Trailer fields after the body are dropped: a key or an address that a proxy has checked in the
    header must not change afterwards.
    """

    head_patience = 10.0
    max_connections: int | None = None
    send_timeout = 30.0
    unsent = UnsentBytes(sys.maxsize)

    _crowded = False
    _field_bytes = 0  # bytes of header fields since the last other byte
    _in_head = True
    _too_large = False
    _deadline: asyncio.TimerHandle | None = None
    _watch: asyncio.TimerHandle | None = None  # timer of the next check of a slow reader
    _unsent_at_check = 0  # bytes at the last check
    _progress_at = 0.0  # loop time of the reader's last progress

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        super().connection_made(transport)
        most = self.max_connections
        if most is not None and len(self.connections) > most:
            self._crowded = True
            if len(self.connections) > most + max(8, int(most * EXCESS_SHARE)):
                transport.abort()
                return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self._cancel_deadline()
        self._cancel_watch()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start to watch the reader, as bytes wait for it."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Stop watching; the rest is watched at the next pause or at the end."""
        self._cancel_watch()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Watch the reader until it has read the rest of a finished response."""
        super().on_response_complete()
        if self._watch is None and self.transport.get_write_buffer_size():
            self._watch_reader()

    def data_received(self, data: bytes) -> None:
        """Feed the parser and limit the bytes of header and trailer fields."""
        self._field_bytes += len(data)
        super().data_received(data)
        if self._field_bytes > MAX_HEAD:
            self._give_up(_too_large())

    def on_message_begin(self) -> None:
        """Start a request, with the ASGI extensions to abort it and to account for its bytes."""
        super().on_message_begin()
        self._await_head()
        self.scope["extensions"] = {
            ABORT: {"now": self.transport.abort},
            UNSENT: {"bytes": self.unsent},
        }
        if self._crowded:
            self.scope["extensions"][CROWDED] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Pass on a header field; drop a trailer field."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        self._field_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Pass a complete header to uvicorn, unless it is too large."""
        self._in_head, self._field_bytes = False, 0
        self._cancel_deadline()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD:
            self._too_large = True
            # Ends the parser, which then calls `send_400_response`.
            raise ValueError("the header is too large")
        super().on_headers_complete()
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None where it was not started
        extensions = self.scope.get("extensions")
        if cycle is not None and extensions is not None:
            cycle.transport = _HeadHolder(cycle, self.loop)
            # A weak reference: the cycle refers to the scope, and the scope would refer to it.
            extensions[WRITE] = {"now": partial(_write_now, weakref.ref(cycle))}

    def on_message_complete(self) -> None:
        """Reset the count for the next request."""
        self._field_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Respond with a problem document in place of uvicorn's text."""
        not_http = Malformed("This is not HTTP/1.1.", expected="an HTTP request")
        self._give_up(_too_large() if self._too_large else not_http)

    def _should_upgrade_to_ws(self) -> bool:
        """Return whether a WebSocket may be opened; a connection beyond the limit is refused."""
        return super()._should_upgrade_to_ws() and not self._crowded

    def _await_head(self) -> None:
        self._in_head = True
        self._cancel_deadline()
        self._deadline = self.loop.call_later(self.head_patience, self._too_slow)

    def _too_slow(self) -> None:
        self._give_up(TooSlow(f"No whole header came within {self.head_patience:g} seconds."))

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch_reader(self) -> None:
        self._cancel_watch()
        self._unsent_at_check = self.transport.get_write_buffer_size()
        self._progress_at = self.loop.time()
        self._schedule_check()

    def _schedule_check(self) -> None:
        self._watch = self.loop.call_later(self.send_timeout / CHECKS, self._check_reader)

    def _check_reader(self) -> None:
        """Abort the connection of a reader that has read nothing for too long.

        Fewer unsent bytes mean that the reader made progress; more, that another response began.
        """
        self._watch = None
        left, now = self.transport.get_write_buffer_size(), self.loop.time()
        if left != self._unsent_at_check:
            self._unsent_at_check, self._progress_at = left, now
        if not left:
            return
        if now - self._progress_at >= self.send_timeout:
            self.transport.abort()
        else:
            self._schedule_check()

    def _cancel_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _give_up(self, error: AntiphonError) -> None:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        answering = cycle is not None and not cycle.response_complete
        if answering or self.transport.is_closing():
            self.transport.close()
            return
        status, _ = problems.status_and_title(error)
        body = problems.problem_document(error)
        fields = [
            (b"content-type", problems.MEDIA_TYPE),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%b: %b\r\n" % each for each in fields)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self._watch_reader()
        self.transport.close()


def connection_class(
    max_connections: int, send_timeout: float, max_unsent: int
) -> type[HttpConnection]:
    """Return the connection class of one process with its limits; `max_unsent` is in bytes."""
    limits = {
        "max_connections": max_connections,
        "send_timeout": send_timeout,
        "unsent": UnsentBytes(max_unsent),
    }
    return type("Connection", (HttpConnection,), limits)


def websocket_class(connection: type[HttpConnection]) -> type[asyncio.Protocol] | None:
    """Return the protocol of WebSocket connections; None where its library is not installed."""
    if find_spec("websockets") is None:
        return None

    def make_protocol(**options: Any) -> asyncio.Protocol:
        made: asyncio.Protocol = import_module("antiphon.server.websocket").WebSocketConnection(
            **options, unsent=connection.unsent
        )
        return made

    return cast("type[asyncio.Protocol]", make_protocol)


class _HeadHolder(asyncio.Transport):
    """Transport of a response until its body begins, which sends head and body in one packet.

    If the body does not begin in the same iteration of the loop, the head is sent alone.
    """

    def __init__(self, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._cycle = cycle
        self._transport = cycle.transport
        self._loop = loop
        self._head: bytes | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hold the head; send it with the first piece of the body."""
        if self._head is None:
            self._head = bytes(data)
            self._loop.call_soon(self._send_head)
        else:
            self._cycle.transport = self._transport
            self._transport.writelines((self._head, data))

    def close(self) -> None:
        """Send the head and close the connection."""
        self._send_head()
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        return self._transport.is_closing()

    def _send_head(self) -> None:
        if self._cycle.transport is not self:
            return
        self._cycle.transport = self._transport
        if self._head is not None and not self._transport.is_closing():
            self._transport.write(self._head)


def _write_now(
    weak_cycle: weakref.ref[RequestResponseCycle], make_body: Callable[[], bytes]
) -> bool:
    """Send a piece of a started response; return False if that would wait for the client.

    `make_body` is called only if its piece can be sent. An empty piece is not sent.
    """
    cycle = weak_cycle()
    if cycle is None or cycle.flow.write_paused or cycle.disconnected or not cycle.response_started:
        return False
    body = make_body()
    if not body:
        return True
    try:
        cycle.send({"type": "http.response.body", "body": body, "more_body": True}).send(None)
    except StopIteration:
        return True
    raise RuntimeError("uvicorn waited although the connection had room")


def _too_large() -> HeadTooLarge:
    return HeadTooLarge("The header is too large.", expected=f"at most {MAX_HEAD} bytes")


# The listening socket, and the system's limit of open files.


UNSENT_IN_SYSTEM = 131_072
"""Bytes of a response that the kernel buffers beyond the client's window.

By default it buffers megabytes for each connection, and a client that does not read is unnoticed.
"""
OWN_FILES = 128  # files besides connections: database, providers, tools


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to exactly this address. Raises `BadSettings`.

    `socket.create_server` leaves the protocol at 0, so that asyncio does not disable Nagle's
    algorithm: each response would wait 40 ms for the client's delayed acknowledgement.
    """
    listener: socket.socket | None = None
    try:
        (family, kind, _, _, where), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # connections inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_IN_SYSTEM)
        listener.bind(where)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise BadSettings(
            f"Port {port} of {host} cannot be listened on: {error.strerror or error}.",
            expected="a free port of this machine",
            hint="`antiphon doctor` says what is there; --port 0 takes any that is free.",
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def raise_file_limit(connections: int) -> int:
    """Raise the limit of open files; return how many of these connections fit into it.

    Beyond the limit, connections would hang, because they could not even be refused.
    """
    if os.name != "posix":
        return connections
    resource = import_module("resource")  # Windows has none
    soft, hard = map(int, resource.getrlimit(resource.RLIMIT_NOFILE))
    wanted = connections + OWN_FILES
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - OWN_FILES))
