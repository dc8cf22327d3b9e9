"""What is seen of a server beside its session: its end and why, its stderr, its oddities."""

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

from antiphon.mcp.metadata import cut_lists, mend_tools, take_output_schemas, told_line

CLOSED = "the connection was closed"
STDERR_LINES = 20
MOST_PER_SECOND = 1_000
"""Log lines, progress and questions beyond these are dropped: nobody can read them, and each costs
a task."""
MOST_NAMED = 5
"""Tools that a note names."""
MOST_ITEMS = 5_000
"""Items of a list in a result; each costs far more than its bytes."""

Item = SessionMessage | Exception
Reading = Any  # the SDK's ReadStream, which it does not export


class Watch:
    """Gathers what transports tell of one session; `over` is set when it has ended by itself."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.modern = False
        self.why = ""
        self.trouble = ""
        self.http_status: int | None = None
        self.rubbish = 0
        self.rubbish_sample = ""
        self.dropped = 0
        self.left_out: dict[str, str] = {}
        self.output_schemas: dict[str, dict[str, Any] | None] = {}
        self.unjudged: set[str] = set()
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._second, self._count = 0, 0

    def end(self, why: str) -> None:
        """The session is over; the first reason is the one that counts."""
        self.why = self.why or why
        self.over.set()

    def errs(self, line: str) -> None:
        """A line of stderr."""
        if shown := told_line(line, 500):
            self._stderr.append(shown)

    def prints_rubbish(self, line: bytes) -> None:
        """A line where only messages may be."""
        self.rubbish += 1
        self.rubbish_sample = told_line(line[:200].decode(errors="replace"), 100)

    @property
    def stderr(self) -> tuple[str, ...]:
        """Its last lines."""
        return tuple(self._stderr)

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities, in words."""
        notes: list[str] = []
        if self.rubbish:
            notes.append(
                f"wrote {self.rubbish} lines to its stdout that are no messages, the last: "
                f"{self.rubbish_sample}"
            )
        if self.dropped:
            notes.append(f"sent so much at once that {self.dropped} messages were dropped")
        if self.unjudged:
            tools = ", ".join(sorted(told_line(name, 60) for name in self.unjudged)[:MOST_NAMED])
            notes.append(
                f"has output schemas that cost too much to judge by, so that outputs of {tools} "
                "are taken as they come"
            )
        return tuple(notes)

    def seen(self, item: Item) -> Item | None:
        """What a session gets of what arrived: lists of tools are mended, floods are cut."""
        match item:
            case SessionMessage(message=JSONRPCResponse(result=result)):
                if _lists_tools(result):
                    self.left_out.update(mend_tools(result, modern=self.modern))
                    self.output_schemas |= take_output_schemas(result)
                cut_lists(result, MOST_ITEMS)
            case SessionMessage(message=JSONRPCRequest()):
                return item if self._in_time() else None
            case SessionMessage(message=JSONRPCNotification(method=method)) if method in _CHATTER:
                return item if self._in_time() else None
            case _:
                pass
        return item

    def _in_time(self) -> bool:
        """Whether one more may come in this second; it is counted if not."""
        second = int(time.monotonic())
        self._second, self._count = second, self._count + 1 if second == self._second else 1
        if self._count <= MOST_PER_SECOND:
            return True
        self.dropped += 1
        return False


class watched:  # noqa: N801 - used as a function: `watched(transport, watch)`
    """A transport that tells a watch what passes and when it ends."""

    def __init__(self, transport: Transport, watch: Watch) -> None:
        self._transport = transport
        self._watch = watch

    async def __aenter__(self) -> tuple[Any, Any]:
        """The streams of the transport."""
        read, write = await self._transport.__aenter__()
        return _Seen(read, self._watch), write

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._transport.__aexit__(kind, error, trace)


def _lists_tools(result: dict[str, Any]) -> bool:
    return "tools" in result and "content" not in result  # the latter is what a call gives


_CHATTER = ("notifications/message", "notifications/progress")


class _Seen:
    """A stream of messages that a watch looks through."""

    def __init__(self, inner: Reading, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    @property
    def last_context(self) -> Any:
        """The sender's context, which the SDK hands on to its handlers."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Item:
        while True:
            try:
                item = await self._inner.receive()
            except (anyio.EndOfStream, anyio.ClosedResourceError):
                self._watch.end(CLOSED)
                raise
            if (seen := self._watch.seen(item)) is not None:
                return seen

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> _Seen:
        return self

    async def __anext__(self) -> Item:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> _Seen:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
