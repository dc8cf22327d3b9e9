"""Observations about one session: why it ended, its stderr, its oddities."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import TracebackType
from typing import Any

import anyio
from mcp.client import Transport
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from antiphon.mcp.metadata import clean_line, normalize_tools, pop_output_schemas, truncate_lists

CLOSED = "the connection was closed"
LARGEST = 32 * 1024 * 1024
"""Bytes of one message. A larger one is discarded as it arrives, and its call fails."""
STDERR_LINES = 20
MOST_PER_SECOND = 1_000
"""Log lines, progress and questions beyond these are dropped: each costs a task."""
MOST_NAMED = 5
"""Tools named in a note."""
MOST_ITEMS = 5_000
"""Items of a list in a result; each costs far more than its bytes."""

Item = SessionMessage | Exception
Reading = Any  # the SDK's ReadStream, which it does not export


class SessionMonitor:
    """Collects what transports observe; `ended` is set when the session ends by itself."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.modern = False
        self.end_reason = ""
        self.last_failure = ""
        self.http_status: int | None = None
        self.invalid_lines = 0
        self.invalid_line_sample = ""
        self.dropped = 0
        self.left_out: dict[str, str] = {}
        self.output_schemas: dict[str, dict[str, Any] | None] = {}
        self.unvalidated: set[str] = set()
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._second, self._count = 0, 0

    def end(self, why: str) -> None:
        """Record the end of the session; the first reason wins, except over `CLOSED`."""
        if self.end_reason in {"", CLOSED}:
            self.end_reason = why
        self.ended.set()

    def add_stderr(self, line: str) -> None:
        """Add a line of stderr."""
        if shown := clean_line(line, 500):
            self._stderr.append(shown)

    def count_invalid_line(self, line: bytes) -> None:
        """Count a line of stdout that is not a message."""
        self.invalid_lines += 1
        self.invalid_line_sample = clean_line(line[:200].decode(errors="replace"), 100)

    @property
    def stderr(self) -> tuple[str, ...]:
        """Last lines of stderr."""
        return tuple(self._stderr)

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities, in words."""
        notes: list[str] = []
        if self.invalid_lines:
            notes.append(
                f"wrote {self.invalid_lines} lines to its stdout that are no messages, the last: "
                f"{self.invalid_line_sample}"
            )
        if self.dropped:
            notes.append(f"sent so much at once that {self.dropped} messages were dropped")
        if self.unvalidated:
            tools = ", ".join(
                sorted(clean_line(name, 60) for name in self.unvalidated)[:MOST_NAMED]
            )
            notes.append(
                f"has output schemas that cost too much to judge by, so that outputs of {tools} "
                "are taken as they come"
            )
        return tuple(notes)

    def inspect(self, item: Item) -> Item | None:
        """Return the incoming item as the session may see it; None to drop it.

        Lists of tools are normalized, long lists cut, floods dropped.
        """
        match item:
            case SessionMessage(message=JSONRPCResponse(result=result)):
                if "tools" in result and "content" not in result:  # a list, not a call's result
                    self.left_out.update(normalize_tools(result, modern=self.modern))
                    self.output_schemas |= pop_output_schemas(result)
                truncate_lists(result, MOST_ITEMS)
            case SessionMessage(message=JSONRPCRequest()):
                return item if self._is_within_rate() else None
            case SessionMessage(message=JSONRPCNotification(method=method)) if (
                method in _RATE_LIMITED
            ):
                return item if self._is_within_rate() else None
            case _:
                pass
        return item

    def _is_within_rate(self) -> bool:
        """Return whether one more message fits into this second; count it as dropped if not."""
        second = int(_now())
        self._second, self._count = second, self._count + 1 if second == self._second else 1
        if self._count <= MOST_PER_SECOND:
            return True
        self.dropped += 1
        return False


class MonitoredTransport:
    """Transport whose messages and end the monitor sees."""

    def __init__(self, transport: Transport, monitor: SessionMonitor) -> None:
        self._transport = transport
        self._monitor = monitor

    async def __aenter__(self) -> tuple[Any, Any]:
        """Open the transport; return its two streams."""
        read, write = await self._transport.__aenter__()
        return _MonitoredStream(read, self._monitor), write

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._transport.__aexit__(kind, error, trace)


_now = time.monotonic
_RATE_LIMITED = ("notifications/message", "notifications/progress")


class _MonitoredStream:
    """Stream of messages inspected by the monitor."""

    def __init__(self, inner: Reading, monitor: SessionMonitor) -> None:
        self._inner = inner
        self._monitor = monitor

    @property
    def last_context(self) -> Any:
        """Sender's context, which the SDK passes to its handlers."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Item:
        while True:
            try:
                item = await self._inner.receive()
            except (anyio.EndOfStream, anyio.ClosedResourceError):
                self._monitor.end(CLOSED)
                raise
            if (seen := self._monitor.inspect(item)) is not None:
                return seen

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> _MonitoredStream:
        return self

    async def __anext__(self) -> Item:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> _MonitoredStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
