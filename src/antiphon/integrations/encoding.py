"""Events of a run as server-sent events, on the wire that the reader speaks.

Frames are the same as those of an Antiphon server and of its web chat. The first batch of events is
read before the response begins, so that a refusal is an error of the request and not of its stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import aclosing, closing
from itertools import takewhile
from typing import Literal, NamedTuple, Protocol

from antiphon.api import problems
from antiphon.api.operations import ListMessages
from antiphon.client.async_client import AsyncClient
from antiphon.client.async_events import AsyncEvents
from antiphon.client.sync_client import Client
from antiphon.client.sync_events import Events
from antiphon.types.errors import AntiphonError, InvalidEventId, RunError, TryAgain
from antiphon.types.events import Numbered
from antiphon.types.messages import Message
from antiphon.types.runs import Fault
from antiphon.types.terminal_safe import clean
from antiphon.types.thread_view import Entry
from antiphon.wires import framing, sse
from antiphon.wires.ag_ui.encoder import AgUi, Reader
from antiphon.wires.ag_ui.events import Json
from antiphon.wires.ag_ui.history import as_messages
from antiphon.wires.ai_sdk import message_stream
from antiphon.wires.ai_sdk.message_stream import UIMessageStream

Wire = Literal["events", "ai-sdk", "ag-ui"]
"""Our own events, the UI message stream of the AI SDK, or the events of AG-UI."""

HEARTBEAT_SECONDS = 10.0
PAGE = 100
"""Messages that are read at a time."""


class Encoder(Protocol):
    """Encodes one run for one reader."""

    def feed_all(self, events: Iterable[Numbered]) -> Sequence[bytes]:
        """Return the frames of these events."""
        ...

    def fail(self, fault: Fault) -> Sequence[bytes]:
        """Return the frames that report a fault."""
        ...

    def close(self) -> Sequence[bytes]:
        """Return the frames that end the stream."""
        ...


class _OwnEvents:
    """Our own events; a fault is no event, so the reader finds its stream cut and comes back."""

    def feed_all(self, events: Iterable[Numbered]) -> Sequence[bytes]:
        return [
            sse.frame(number, event.type.encode(), event.json().encode())
            for number, event in events
        ]

    def fail(self, fault: Fault) -> Sequence[bytes]:
        return [sse.comment(fault.code)]

    def close(self) -> Sequence[bytes]:
        return []


def response_headers(wire: Wire) -> dict[str, str]:
    """Return the headers of a response on this wire."""
    return dict(message_stream.HEADERS if wire == "ai-sdk" else framing.HEADERS)


def create_encoder(
    wire: Wire,
    run_id: str = "",
    last_event_id: str | None = None,
    history: Sequence[Json] = (),
) -> tuple[Encoder, int]:
    """Return the encoder for a reader, and the number of the event after which to read the run.

    `last_event_id` is that of the reader. On the wires of others the encoder reads the run from its
    beginning, and skips what the reader has. `history` are the messages before those of the run, as
    an AG-UI client has them: a snapshot replaces all of its messages. Raises `InvalidEventId` for
    an id that no stream of this run has given.
    """
    match wire:
        case "events":
            return _OwnEvents(), _parse_number(last_event_id) if last_event_id else 0
        case "ai-sdk":
            cursor = framing.parse_cursor(last_event_id, run_id) if last_event_id else None
            return UIMessageStream(after=cursor), 0
        case "ag-ui":
            after = framing.parse_cursor(last_event_id, run_id).number if last_event_id else 0
            return AgUi(Reader(after=after, history=tuple(history))), 0


async def read_earlier(client: AsyncClient, run_id: str, wire: Wire) -> list[Json]:
    """Return the messages before those of the run if the wire needs them.

    Raises `NotFound` for a run that is not there.
    """
    if wire != "ag-ui":
        return []
    run = await client.get_run(run_id)
    messages = [each async for each in client.paginate(ListMessages(run.thread_id, limit=PAGE))]
    return _as_earlier(messages, run_id)


def read_earlier_sync(client: Client, run_id: str, wire: Wire) -> list[Json]:
    """Return the same for a sync client."""
    if wire != "ag-ui":
        return []
    run = client.get_run(run_id)
    return _as_earlier(client.paginate(ListMessages(run.thread_id, limit=PAGE)), run_id)


def _as_earlier(messages: Iterable[Message], run_id: str) -> list[Json]:
    """Return the messages before the first one of the run."""
    earlier = tuple(takewhile(lambda message: message.run_id != run_id, messages))
    return as_messages([Entry(number=0, messages=earlier)])


def _parse_number(last_event_id: str) -> int:
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 16):
        raise InvalidEventId(
            "This is not the id of an event of this run.",
            expected="a number, as its stream gave it",
            received=clean(last_event_id[:100]),
        )
    return int(last_event_id)


async def encode_events(
    events: AsyncEvents, encoder: Encoder, heartbeat: float = HEARTBEAT_SECONDS
) -> AsyncGenerator[bytes]:
    """Return the frames of these events, after the first ones have come.

    In silence a heartbeat is sent, which shows that the reader is still there. Closing the
    generator closes the events. Raises `AntiphonError` if there is no first event.
    """
    batches = events.batches()
    try:
        first: Sequence[Numbered] = await anext(batches, ())
    except RunError:
        first = ()
    except BaseException:
        await events.close()
        raise
    return _encode_rest(events, batches, first, encoder, heartbeat)


async def _encode_rest(
    events: AsyncEvents,
    batches: AsyncGenerator[list[Numbered]],
    first: Sequence[Numbered],
    encoder: Encoder,
    heartbeat: float,
) -> AsyncGenerator[bytes]:
    async with events, aclosing(batches):
        if frames := encoder.feed_all(first):
            yield b"".join(frames)
        fault: AntiphonError | None = None
        following = asyncio.ensure_future(anext(batches, None))
        try:
            while True:
                await asyncio.wait([following], timeout=heartbeat)
                if not following.done():
                    yield framing.HEARTBEAT
                    continue
                if (batch := following.result()) is None:
                    break
                following = asyncio.ensure_future(anext(batches, None))
                if frames := encoder.feed_all(batch):
                    yield b"".join(frames)
        except AntiphonError as error:
            fault = error
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        yield b"".join(_end(encoder, fault))


def encode_sync_events(events: Events, encoder: Encoder) -> Generator[bytes]:
    """Return the frames of these events, after the first ones have come.

    Closing the generator closes the events. Raises `AntiphonError` if there is no first event.
    """
    batches = events.batches()
    try:
        first: Sequence[Numbered] = next(batches, ())
    except RunError:
        first = ()
    except BaseException:
        events.close()
        raise
    return _encode_sync_rest(events, batches, first, encoder)


def _encode_sync_rest(
    events: Events,
    batches: Generator[list[Numbered]],
    first: Sequence[Numbered],
    encoder: Encoder,
) -> Generator[bytes]:
    with events, closing(batches):
        if frames := encoder.feed_all(first):
            yield b"".join(frames)
        fault: AntiphonError | None = None
        try:
            for batch in batches:
                if frames := encoder.feed_all(batch):
                    yield b"".join(frames)
        except AntiphonError as error:
            fault = error
        yield b"".join(_end(encoder, fault))


def _end(encoder: Encoder, fault: AntiphonError | None) -> list[bytes]:
    """Return the last frames; the events say themselves how a run ended, and readers come back."""
    frames: list[bytes] = []
    if fault is not None and not isinstance(fault, RunError | TryAgain):
        frames += encoder.fail(Fault(fault.code, fault.message))
    return [*frames, *encoder.close()]


class ProblemResponse(NamedTuple):
    """The response to an error: a problem document (RFC 9457)."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, error: AntiphonError) -> ProblemResponse:
        """Return the response to this error."""
        status, _ = problems.status_and_title(error)
        given = [*problems.problem_headers(error), (b"content-type", problems.MEDIA_TYPE)]
        headers = {name.decode(): value.decode() for name, value in given}
        return cls(status, headers, problems.problem_document(error))
