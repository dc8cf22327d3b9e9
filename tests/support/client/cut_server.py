"""A server on raw sockets with scripted answers, which cuts its streams at any byte."""

from __future__ import annotations

import re
import socketserver
import struct
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from socket import SO_LINGER, SOL_SOCKET
from typing import NamedTuple

from antiphon.types.events import Event, encode
from antiphon.wires import sse

RESET = struct.pack("ii", 1, 0)


class Request(NamedTuple):
    """Received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Plain(NamedTuple):
    """A complete answer."""

    status: int
    body: bytes = b"{}"
    headers: tuple[str, ...] = ()


class Cut(NamedTuple):
    """The first `at` bytes of the stream's body, then the end of the connection.

    Below 0 not even the head is sent. `reset` ends it with RST, else with FIN; with `orderly` the
    body ends regularly.
    """

    at: int
    reset: bool = False
    orderly: bool = False


class Whole(NamedTuple):
    """The complete stream."""


Act = Plain | Cut | Whole


def frames(log: Sequence[Event]) -> list[bytes]:
    """Return the frames in which the events of a log are streamed."""
    return [
        sse.frame(number, event.type.encode(), encode(event)) for number, event in enumerate(log, 1)
    ]


class CutServer(socketserver.ThreadingTCPServer):
    """Streams the log of one run from the requested event, as far as the next act says."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.log: list[Event] = []
        self.first = 1
        self.acts: deque[Act] = deque()
        self.requests: list[Request] = []

    def shutdown_request(self, request: object) -> None:
        self.close_request(request)  # type: ignore[arg-type]  # a shutdown would send FIN before RST

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def plays(self, log: Sequence[Event], acts: Sequence[Act], first: int = 1) -> None:
        """Restart with this log, whose turn starts at event `first`."""
        self.log = list(log)
        self.first = first
        self.acts = deque(acts)
        self.requests = []

    def body(self, request: Request) -> bytes:
        """Return the complete body of the stream."""
        after = int(request.headers.get("last-event-id", self.first - 1))
        return b"".join(frames(self.log)[after:])


class _Connection(socketserver.StreamRequestHandler):
    server: CutServer

    def handle(self) -> None:
        while request := self._read():
            self.server.requests.append(request)
            act = self.server.acts.popleft() if self.server.acts else Whole()
            match act:
                case Plain():
                    self._answer(act)
                case Cut() | Whole():
                    self._stream(request, act)
                    return

    def _read(self) -> Request | None:
        line = self.rfile.readline().decode()
        if not line:
            return None
        method, path, _ = line.split(" ")
        headers: dict[str, str] = {}
        while (field := self.rfile.readline().decode().strip()) != "":
            name, _, value = field.partition(":")
            headers[name.lower()] = value.strip()
        return Request(
            method, path, headers, self.rfile.read(int(headers.get("content-length", 0)))
        )

    def _answer(self, plain: Plain) -> None:
        fields = "".join(f"{field}\r\n" for field in plain.headers)
        head = f"HTTP/1.1 {plain.status} X\r\nContent-Length: {len(plain.body)}\r\n{fields}\r\n"
        self.wfile.write(head.encode() + plain.body)

    def _stream(self, request: Request, act: Cut | Whole) -> None:
        if isinstance(act, Cut) and act.at < 0:
            self._end(act)
            return
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        body = self.server.body(request)
        if isinstance(act, Cut):
            body = body[: act.at]
        for piece in re.findall(rb"(?s).{1,97}", body):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if isinstance(act, Whole) or act.orderly:
            self.wfile.write(b"0\r\n\r\n")
        self._end(act)

    def _end(self, act: Cut | Whole) -> None:
        if isinstance(act, Cut) and act.reset:
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, RESET)

    def finish(self) -> None:
        # The server closes the socket; that a client reads no more is no failure here.
        try:
            super().finish()
        except OSError:
            self.wfile.close()


@contextmanager
def serving() -> Iterator[CutServer]:
    """Run the server in its own thread; yield it."""
    with CutServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
