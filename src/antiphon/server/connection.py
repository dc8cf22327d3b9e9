"""One HTTP connection: uvicorn's, with the limits that it lacks.

uvicorn waits for ever for a header that does not end, and keeps all of it. It waits for ever for a
reader who takes nothing of an answer, too. Requests that cannot be parsed are answered here,
because no application ever sees them.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from antiphon.api import problems
from antiphon.api.problems import HeadTooLarge, Malformed, TooSlow
from antiphon.limits.send_budget import UNSENT, UnsentBytes
from antiphon.server.streaming import CUT
from antiphon.types.errors import AntiphonError

MAX_HEAD = 32_768  # bytes of request line and header fields: four times what browsers send
LOOKS = 4  # at a reader who takes nothing, until its time is over
REFUSED_AT_ONCE = 0.1  # of the connections that may be open: so many more are told that it is full

CROWDED = "antiphon.crowded"
"""The ASGI extension that a request bears whose connection is one too many."""


class HttpConnection(HttpToolsProtocol):
    """A connection whose requests must begin with a header of bounded size in bounded time.

    `head_patience` is the seconds from a request's first byte, or the connection's, to its last
    header field. Beyond `max_connections` a connection is only told that it is one too many, and
    when there are too many of these, nothing: who is dropped at once knows as much as by waiting.

    A reader who takes no byte of an answer for `send_timeout` seconds loses the connection,
    whatever answers: while it is sent, and while its rest waits behind the last piece.

    Fields that come after the body are not kept: none of ours belongs there, and a
    key or an address that a proxy has looked at in the header must not change behind it.
    """

    head_patience = 10.0
    max_connections: int | None = None
    send_timeout = 30.0
    unsent = UnsentBytes(sys.maxsize)

    _crowded = False
    _field_bytes = 0  # since the last byte that belonged to no field
    _in_head = True
    _too_large = False
    _deadline: asyncio.TimerHandle | None = None
    _watch: asyncio.TimerHandle | None = None  # over a reader who has not taken everything
    _left_unsent = 0  # bytes, at the last look
    _taken_at = 0.0  # when the reader was last seen to take something, by the loop's clock

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        most = self.max_connections
        if most is not None and len(self.connections) > most:
            self._crowded = True
            if len(self.connections) > most + max(8, int(most * REFUSED_AT_ONCE)):
                transport.abort()
                return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._forget_deadline()
        self._forget_watch()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Bytes wait for the reader: watch whether it takes any."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Go on sending; what remains is watched at the next pause, or at the end."""
        self._forget_watch()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """An answer was handed over whole: watch whether the reader takes the rest of it."""
        super().on_response_complete()
        if self._watch is None and self.transport.get_write_buffer_size():
            self._watch_reader()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, counting while a header is on its way, or fields after a body."""
        self._field_bytes += len(data)
        super().data_received(data)
        if self._field_bytes > MAX_HEAD:
            self._give_up(_too_large())

    def on_message_begin(self) -> None:
        """A request begins; it can be dropped without waiting for its reader."""
        super().on_message_begin()
        self._await_head()
        self.scope["extensions"] = {
            CUT: {"now": self.transport.abort},
            UNSENT: {"account": self.unsent},
        }
        if self._crowded:
            self.scope["extensions"][CROWDED] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field, which counts if it comes before the body."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._field_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """The header is whole: uvicorn takes over, unless it came too large in one piece."""
        self._in_head, self._field_bytes = False, 0
        self._forget_deadline()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD:
            self._too_large = True
            # Ends the parser, upon which `send_400_response` answers.
            raise ValueError("the header is too large")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes now is another request."""
        self._field_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn's words for it say less than ours."""
        not_http = Malformed("This is not HTTP/1.1.", expected="an HTTP request")
        self._give_up(_too_large() if self._too_large else not_http)

    def _await_head(self) -> None:
        self._in_head = True
        self._forget_deadline()
        self._deadline = self.loop.call_later(self.head_patience, self._too_slow)

    def _too_slow(self) -> None:
        self._give_up(TooSlow(f"No whole header came within {self.head_patience:g} seconds."))

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch_reader(self) -> None:
        self._forget_watch()
        self._left_unsent = self.transport.get_write_buffer_size()
        self._taken_at = self.loop.time()
        self._look_again()

    def _look_again(self) -> None:
        self._watch = self.loop.call_later(self.send_timeout / LOOKS, self._look_at_reader)

    def _look_at_reader(self) -> None:
        """Drop a reader who has taken nothing for too long.

        Less is left when the reader has taken something; more, when another answer was begun.
        """
        self._watch = None
        left, now = self.transport.get_write_buffer_size(), self.loop.time()
        if left != self._left_unsent:
            self._left_unsent, self._taken_at = left, now
        if not left:
            return
        if now - self._taken_at >= self.send_timeout:
            self.transport.abort()
        else:
            self._look_again()

    def _forget_watch(self) -> None:
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
    """Return the connections of one process, with its limits; `max_unsent` is in bytes."""
    limits = {
        "max_connections": max_connections,
        "send_timeout": send_timeout,
        "unsent": UnsentBytes(max_unsent),
    }
    return type("Connection", (HttpConnection,), limits)


def _too_large() -> HeadTooLarge:
    return HeadTooLarge("The header is too large.", expected=f"at most {MAX_HEAD} bytes")
