"""A run as frames for one reader: from a relay in this process, or from the log.

Frames depend on the events alone, so that a replay builds the same message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from typing import Literal, Protocol

from antiphon.client.async_client import AsyncClient
from antiphon.tools.tool_events import (
    ConsentAsked,
    ToolAwaited,
    ToolBegan,
    ToolEnded,
    ToolEvent,
    ToolProgressed,
)
from antiphon.types.errors import AntiphonError, TryAgain
from antiphon.types.events import Numbered, ReasoningDelta, RefusalDelta, TextDelta
from antiphon.types.runs import Fault
from antiphon.types.terminal_safe import clean
from antiphon.web.approvals import approval_details
from antiphon.web.relay import Relay
from antiphon.wires.ai_sdk.parts import CallFacts
from antiphon.wires.framing import drop_void_events

Frames = AsyncGenerator[bytes, None]

BATCH_SECONDS = 0.05
"""Seconds for which deltas are batched: a write costs more than its contents."""
DELTAS = (TextDelta, ReasoningDelta, RefusalDelta)
MAX_BATCH = 256
"""Most events that are encoded at once for a late reader, to bound memory."""


class Wire(Protocol):
    """Encoder of `antiphon.wires` for one run and one reader."""

    def feed_all(self, events: Iterable[Numbered]) -> list[bytes]:
        """Return the frames of these events."""
        ...

    def close(self) -> Sequence[bytes]:
        """Return the frames that end the stream."""
        ...

    def fail(self, fault: Fault) -> Sequence[bytes]:
        """Return the frames that report a fault."""
        ...

    def tool_status(
        self,
        tool_call_id: str,
        state: Literal["waiting", "running", "ended"],
        elapsed: float = 0,
        servers: Sequence[str] = (),
        arguments: str | None = None,
    ) -> Sequence[bytes]:
        """Return the frames with a tool's state; `servers` are those that it waits for.

        `arguments` are those with which it runs, which the user may have edited.
        """
        ...

    def progress(
        self, tool_call_id: str, done: float, total: float | None = None, message: str = ""
    ) -> Sequence[bytes]:
        """Return the frames with a tool's progress."""
        ...

    def approval_asked(
        self, tool_call_id: str, approval_id: str, about: CallFacts | None = None
    ) -> Sequence[bytes]:
        """Return the frames that ask the user about a call."""
        ...

    def approval_given(self, tool_call_id: str) -> Sequence[bytes]:
        """Return the frames that say the user has agreed."""
        ...


def never_rests() -> bool:
    """Return False: the page's own streams last as long as their run."""
    return False


async def stream_relay(
    relay: Relay, wire: Wire, after: int = 0, rests: Callable[[], bool] = never_rests
) -> Frames:
    """Yield the frames of a run that is carried on here, to its end or until it `rests`.

    Events up to `after` are left out, as the reader has them.
    """
    events = happenings = 0
    progress: dict[str, ToolProgressed] = {}
    first = True
    with relay.subscribe() as bell:
        known, events = drop_void_events(relay.events, after), len(relay.events)
        for start in range(0, len(known), MAX_BATCH):
            if frames := wire.feed_all(known[start : start + MAX_BATCH]):
                yield b"".join(frames)
        while True:
            bell.clear()
            over = relay.is_over
            begins = not events
            new, events = relay.events[events:], len(relay.events)
            told, happenings = relay.tool_events[happenings:], len(relay.tool_events)
            frames = wire.feed_all(drop_void_events(new, after) if begins else new)
            frames += (
                _encode_current_tools(wire, relay) if first else _encode_tool_events(wire, told)
            )
            told_before, progress = progress, relay.progress
            further = [how for call, how in progress.items() if how is not told_before.get(call)]
            frames += [] if first else _encode_tool_events(wire, further)
            first = first and not events
            if over or rests():
                yield b"".join([*frames, *_end(wire, relay.fault if over else None)])
                return
            if frames:
                yield b"".join(frames)
            if further or any(isinstance(event, DELTAS) for _, event in new):
                await asyncio.sleep(BATCH_SECONDS)
            await bell.wait()


async def stream_log(client: AsyncClient, run_id: str, wire: Wire) -> Frames:
    """Yield the frames of a run that is carried on elsewhere or has ended, to its end."""
    fault: Fault | None = None
    try:
        async with client.events(run_id) as events:
            async for batch in events.batches():
                if frames := wire.feed_all(batch):
                    yield b"".join(frames)
    except TryAgain:
        pass  # the reader reconnects
    except AntiphonError as problem:
        fault = Fault(problem.code, problem.message)
    yield b"".join(_end(wire, fault))


def _end(wire: Wire, fault: Fault | None) -> Iterator[bytes]:
    if fault is not None:
        yield from wire.fail(fault)
    yield from wire.close()


def _encode_current_tools(wire: Wire, relay: Relay) -> list[bytes]:
    """Return the frames with the present state of tools, for a reader that joins now."""
    frames: list[bytes] = []
    for question in relay.open_questions.values():
        frames += wire.approval_asked(question.call.id, question.digest, approval_details(question))
    frames += _encode_tool_events(wire, relay.awaited_tools.values())
    for call_id, working in relay.running_tools.items():
        elapsed = time.monotonic() - working.since
        frames += wire.tool_status(call_id, "running", elapsed, arguments=working.arguments)
        if working.last is not None:
            frames += _encode_tool_event(wire, working.last)
    return frames


def _encode_tool_events(wire: Wire, happenings: Iterable[ToolEvent]) -> list[bytes]:
    return [frame for happening in happenings for frame in _encode_tool_event(wire, happening)]


def _encode_tool_event(wire: Wire, happening: ToolEvent) -> Sequence[bytes]:
    match happening:
        case ToolAwaited(call=call, servers=servers):
            return wire.tool_status(call.id, "waiting", servers=[clean(each) for each in servers])
        case ConsentAsked(question=question):
            return wire.approval_asked(
                question.call.id, question.digest, approval_details(question)
            )
        case ToolBegan(call=call):
            status = wire.tool_status(call.id, "running", arguments=call.arguments)
            return [*wire.approval_given(call.id), *status]
        case ToolProgressed(tool_call_id=call_id, progress=how):
            return wire.progress(call_id, how.done, how.total, how.message)
        case ToolEnded(tool_call_id=call_id, seconds=seconds):
            return wire.tool_status(call_id, "ended", seconds)
        case _:
            return []
