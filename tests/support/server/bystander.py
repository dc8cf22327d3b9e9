"""A server whose cost is measured while it serves a party and answers a bystander.

    async with run_measured_server(ANTIPHON_BASE_URL=upstream.url) as server:
        await server.cost(flood(100))  # loads what is loaded at the first use
        small = await server.cost(flood(1_000))
        large = await server.cost(flood(10_000))
    large.refuse_growth(small, times=10)
    large.refuse_hold()

The cost of a party is the processor time and memory of the server, and is compared by ratios, which
do not depend on how busy the machine is. The bystander sends its requests in its own Python thread;
by default it creates threads, for which the server needs its loop and its store's writer. It has
an address of its own, because servers process requests of one address in order.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from tests.support.harness.servers import Server, start_server

MARGIN = 3.0
"""Factor by which a cost may exceed linear growth, for caches and garbage collections."""
LEAST_CPU = 0.2
"""Seconds of processor time below which a cost shows no growth."""
LEAST_HOLD = 0.8
"""Seconds of processor time in one wait that prove no delay by others."""
LEAST_BYTES = 30_000_000
"""Bytes below which memory shows no growth: an allocator takes and keeps pieces of this size."""
BYSTANDER_ADDRESS = "127.0.0.2"
TCP_INFO_BYTES = 104
LAST_DATA_SENT_AT = 44
"""Offset of `tcpi_last_data_sent` in `tcp_info`."""
ASK_SECONDS = 120.0
"""Seconds that a bystander waits for a response: longer than any response takes."""

Ask = Callable[[http.client.HTTPConnection], None]


@dataclass(frozen=True)
class Cost:
    """Cost of serving a party, and the bystander's response times.

    `cpu` is in seconds of processor time. `memory` is by how many bytes the peak exceeded the use
    before. `held` is the processor time that the server used in the longest wait of the bystander,
    from its request to the arrival of the response; it got `answers` responses before the party was
    served.
    """

    cpu: float
    memory: int
    held: float
    answers: int

    def refuse_growth(self, small: Cost, times: float, margin: float = MARGIN) -> None:
        """Fail if this cost more than `times` the small case, with a margin."""
        seconds = margin * times * max(small.cpu, LEAST_CPU / times)
        assert self.cpu <= seconds, f"{times:g} times as much: {self} after {small}"
        size = margin * times * max(small.memory, LEAST_BYTES / times)
        assert self.memory <= size, f"{times:g} times as much: {self} after {small}"

    def refuse_hold(self, share: float = 0.34, admission: float = 0.0) -> None:
        """Fail if one response to the bystander waited for more than this share of all work.

        `admission` is the cost of as many requests that read nothing: on a busy machine all of them
        may come before one of the bystander. A party that costs too little to delay others may be
        served before the bystander gets its first response.
        """
        allowed = max(share * self.cpu, LEAST_HOLD) + admission
        assert self.answers or self.cpu < LEAST_HOLD, f"nobody else was answered: {self}"
        assert self.held <= allowed, f"others waited: {self}"


def new_thread(connection: http.client.HTTPConnection) -> None:
    """Create a thread, which needs the server's loop and its store's writer."""
    connection.request("POST", "/v1/threads", b"{}", {"content-type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 201, body


def health(connection: http.client.HTTPConnection) -> None:
    """Request `/healthz`, which needs the server's loop alone."""
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    assert answer.read(), answer.status
    assert answer.status == 200


def measure_wait(connection: socket.socket) -> float:
    """Return the seconds from the last request to the arrival of its response at this machine.

    A busy machine may let a client sleep for half a second after the response has arrived. The
    kernel knows the times of both (`tcp_info` in linux/tcp.h, in milliseconds ago).
    """
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    last_data_sent, last_data_received = struct.unpack_from("=I4xI", info, LAST_DATA_SENT_AT)
    return float(last_data_sent - last_data_received) / 1000


class Bystander:
    """Client that sends one request after another, from `start` to `stop`."""

    def __init__(
        self, url: str, cpu: Callable[[], float], ask: Ask, key: str | None = None
    ) -> None:
        self.answers = 0
        self.held = 0.0
        self._address = urlsplit(url).netloc
        self._cpu = cpu
        self._ask = ask
        self._key = key
        self._stopped = threading.Event()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._ask_repeatedly, name="bystander", daemon=True)

    def start(self) -> None:
        """Begin to send requests."""
        self._thread.start()

    def stop(self) -> None:
        """Wait for the response to the current request; raise the first error of any request."""
        self._stopped.set()
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _ask_repeatedly(self) -> None:
        connection = http.client.HTTPConnection(
            self._address, timeout=ASK_SECONDS, source_address=(BYSTANDER_ADDRESS, 0)
        )
        try:
            while not self._stopped.is_set():
                before, start = self._cpu(), time.monotonic()
                self._ask(connection)
                used, seconds = self._cpu() - before, time.monotonic() - start
                waited = min(seconds, measure_wait(connection.sock))
                self.held = max(self.held, used * waited / seconds)
                self.answers += not self._stopped.is_set()
                self._stopped.wait(0.005)  # leaves time of the server to the party
        except Exception as fault:  # noqa: BLE001 - raised again in the thread of the test
            self._fault = fault
        finally:
            connection.close()


class MeasuredServer:
    """Server in its own process, whose use of processor and memory can be read."""

    def __init__(self, process: Server) -> None:
        self.process = process
        self.url = process.url

    def pids(self) -> list[int]:
        """Return the ids of the server's process and of those that it has started."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [self.process.pid, *map(int, path.read_text().split())]

    def cpu(self) -> float:
        """Return the processor seconds used by all threads of its processes that still run."""
        used = 0.0
        for pid in self.pids():
            with suppress(OSError):  # it has ended meanwhile, such as a reader of a document
                used += time.clock_gettime(((~pid) << 3) | 2)
        return used

    def memory(self, line: str) -> int:
        """Return the bytes of its processes: `VmRSS` for now, `VmHWM` for their peak."""
        total = 0
        for pid in self.pids():
            with suppress(FileNotFoundError, ProcessLookupError):
                status = Path(f"/proc/{pid}/status").read_text()
                total += sum(
                    int(row.split()[1]) * 1024
                    for row in status.splitlines()
                    if row.startswith(f"{line}:")  # none for a process that has just ended
                )
        return total

    async def cost(self, party: Awaitable[object], ask: Ask = new_thread) -> Cost:
        """Measure the cost of serving this party until the awaitable is done."""
        bystander = Bystander(self.url, self.cpu, ask)
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # its peak begins again from here
        memory, cpu = self.memory("VmRSS"), self.cpu()
        bystander.start()
        try:
            await party
        finally:
            await asyncio.to_thread(bystander.stop)
        return Cost(
            cpu=self.cpu() - cpu,
            memory=max(0, self.memory("VmHWM") - memory),
            held=bystander.held,
            answers=bystander.answers,
        )


class UnreadConnection:
    """Connection that sends a request and reads nothing; its receive buffer is small."""

    def __init__(self, url: str, path: str, **headers: str) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((address.hostname, address.port))
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n{fields}\r\n"
        self._socket.sendall(request.encode())

    async def wait_for_first_bytes(self) -> bytes:
        """Wait for the first bytes of the response and return them; the rest stays unread."""
        self._socket.setblocking(False)
        async with asyncio.timeout(ASK_SECONDS):
            return await asyncio.get_running_loop().sock_recv(self._socket, 12)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


async def open_unread_connections(
    stack: ExitStack, url: str, paths: Sequence[str], **headers: str
) -> None:
    """Open an unread connection for each path, and wait until the responses have begun."""
    readers = [UnreadConnection(url, path, **headers) for path in paths]
    for reader in readers:
        stack.callback(reader.close)
    answers = await asyncio.gather(*(reader.wait_for_first_bytes() for reader in readers))
    assert set(answers) <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}


@asynccontextmanager
async def run_measured_server(
    *flags: str, command: str = "serve", **settings: str
) -> AsyncGenerator[MeasuredServer]:
    """Run `antiphon serve` with these flags and variables, by default on a new SQLite file."""
    with TemporaryDirectory(prefix="bystander-") as folder:
        variables = {"ANTIPHON_DATABASE": f"sqlite:///{folder}/antiphon.db", **settings}
        process = await start_server(variables, *flags, command=command)
        try:
            yield MeasuredServer(process)
        finally:
            await process.stop_cleanly()


async def wait_for_answer(
    url: str, path: str, is_wanted: Callable[[dict[str, object]], bool]
) -> None:
    """Wait until `is_wanted` is true of the JSON at `path`, under a deadline."""

    def read_answer() -> dict[str, object]:
        """Read it once; return an empty dict if the process died meanwhile."""
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ASK_SECONDS)
        try:
            connection.request("GET", path)
            answer: dict[str, object] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return {}
        else:
            return answer
        finally:
            connection.close()

    async with asyncio.timeout(ASK_SECONDS):
        while not ((answer := await asyncio.to_thread(read_answer)) and is_wanted(answer)):
            await asyncio.sleep(0.05)
