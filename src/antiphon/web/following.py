"""A reader of a run, as frames of the UI message stream: of a relay here, else of the log.

What a reader is sent depends on the events alone, so that a replay builds the same message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence

from antiphon.client.aio import AsyncClient
from antiphon.errors import AntiphonError, TryAgain
from antiphon.events import ReasoningDelta, TextDelta
from antiphon.runs import Fault
from antiphon.tools.happenings import (
    ConsentAsked,
    Happening,
    ToolBegan,
    ToolEnded,
    ToolProgressed,
)
from antiphon.web.questions import asked
from antiphon.web.relay import Relay
from antiphon.wires.framing import Cursor
from antiphon.wires.standing import standing
from antiphon.wires.ui_message_stream import UIMessageStream
from antiphon.wires.ui_parts import Sdk

Frames = AsyncGenerator[bytes, None]

GATHERED = 0.05
"""Seconds for which what comes is gathered: each write costs more than what is in it."""


async def followed(relay: Relay, sdk: Sdk, after: Cursor | None = None) -> Frames:
    """A run that is carried on here, from the cursor to its end."""
    stream = UIMessageStream(sdk, after)
    events = happenings = 0
    first = True
    with relay.bell() as bell:
        while True:
            bell.clear()
            over = relay.over
            new, events = relay.events[events:], len(relay.events)
            frames = stream.feed_all(standing(new, after.number if after else 0) if first else new)
            told, happenings = relay.happenings[happenings:], len(relay.happenings)
            frames += _now(stream, relay) if first else _happened(stream, told)
            if over and events == len(relay.events):
                yield b"".join([*frames, *_end(stream, relay.fault)])
                return
            if frames:
                first = first and not events
                yield b"".join(frames)
            if any(isinstance(event, TextDelta | ReasoningDelta) for _, event in new):
                await asyncio.sleep(GATHERED)
            await bell.wait()


async def read(client: AsyncClient, run_id: str, sdk: Sdk, after: Cursor | None = None) -> Frames:
    """A run that is carried on elsewhere, or has ended, from the cursor to its end."""
    stream = UIMessageStream(sdk, after)
    try:
        async with client.events(run_id) as events:
            async for event in events:
                if frames := stream.feed(events.last_event, event):
                    yield b"".join(frames)
    except TryAgain:
        yield b"".join(stream.close())  # the reader comes back
    except AntiphonError as problem:
        yield b"".join(_end(stream, Fault(problem.code, problem.message)))
    else:
        yield b"".join(stream.close())


def _end(stream: UIMessageStream, fault: Fault | None) -> Iterator[bytes]:
    if fault is not None:
        yield from stream.fail(fault)
    yield from stream.close()


def _now(stream: UIMessageStream, relay: Relay) -> list[bytes]:
    """What somebody who comes now must know of the tools here."""
    frames: list[bytes] = []
    for question in relay.questions.values():
        frames += asked(stream, question)
    for call_id, working in relay.working.items():
        frames += stream.tool_status(call_id, "running", time.monotonic() - working.since)
        if working.last is not None:
            frames += _told(stream, working.last)
    return frames


def _happened(stream: UIMessageStream, happenings: Iterable[Happening]) -> list[bytes]:
    return [frame for happening in happenings for frame in _told(stream, happening)]


def _told(stream: UIMessageStream, happening: Happening) -> Sequence[bytes]:
    match happening:
        case ConsentAsked(question=question):
            return asked(stream, question)
        case ToolBegan(call=call):
            given = stream.approval_given(call.id)
            return [*given, *stream.tool_status(call.id, "running")]
        case ToolProgressed(tool_call_id=id, progress=progress):
            return stream.progress(id, progress.done, progress.total, progress.message)
        case ToolEnded(tool_call_id=id, seconds=seconds):
            return stream.tool_status(id, "ended", seconds)
        case _:
            return []
