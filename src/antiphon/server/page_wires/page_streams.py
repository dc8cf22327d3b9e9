"""Streams of a run to a page, which end where the run waits for the page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

from antiphon.runtime.event_reader import RunEventReader, SendNow
from antiphon.server.page_wires.page_requests import PageRun
from antiphon.server.requests import Field, field
from antiphon.types import events
from antiphon.types.events import Numbered, ToolOutputAdded, TurnEnded

RUN_HEADER = b"antiphon-run"
THREAD_HEADER = b"antiphon-thread"

Page = tuple[int, Sequence[bytes]]


class PageWire(Protocol):
    """Encoder of one run for a page, in its protocol."""

    @property
    def awaits_client(self) -> bool:
        """True while the run waits for the page."""
        ...

    def feed_all(self, events: Iterable[Numbered]) -> Sequence[bytes]:
        """Return the frames of these events."""
        ...

    def continue_run(self) -> Sequence[bytes]:
        """Return the frames for a page whose run has not gone on yet."""
        ...

    def close(self) -> Sequence[bytes]:
        """Return the frames that end the stream."""
        ...


class PageEncoder:
    """Encodes a run's log for a page; `rests` once the page has to act."""

    def __init__(self, wire: PageWire, run: PageRun, headers: Iterable[tuple[str, str]]) -> None:
        self.rests = False
        named = [(RUN_HEADER, run.run.id), (THREAD_HEADER, run.run.thread_id)]
        self.headers: Sequence[Field] = [
            *((name.encode(), value.encode()) for name, value in headers),
            *(field(name, value) for name, value in named),
            (b"x-content-type-options", b"nosniff"),
        ]
        self._wire = wire
        self._rests_from = run.rests_from

    def encode(self, first: int, lines: Sequence[bytes]) -> bytes:
        """Return the frames of these events."""
        frames: list[bytes] = []
        unsent: list[Numbered] = []
        for number, event in enumerate(map(events.decode, lines), first):
            unsent.append((number, event))
            was_stored = number <= self._rests_from
            if number == self._rests_from or (not was_stored and isinstance(event, _ENDS)):
                frames += self._wire.feed_all(unsent)
                unsent = []
                if number == self._rests_from:
                    frames += self._wire.continue_run()
                self.rests = self._wire.awaits_client
                if self.rests:
                    break
        frames += self._wire.feed_all(unsent)
        return b"".join(frames)

    def close(self) -> bytes:
        """Return the frames that end the stream."""
        return b"".join(self._wire.close())


_ENDS = (TurnEnded, ToolOutputAdded)
"""Events after which a run may wait for a page."""


class RestingPages:
    """Pages of a run, which end where its encoder rests."""

    def __init__(self, reader: RunEventReader, encoder: PageEncoder) -> None:
        self.run_id = reader.run_id
        self._reader = reader
        self._encoder = encoder

    async def pages(self, send_now: SendNow | None = None) -> AsyncGenerator[Page, None]:
        """Yield pages as `RunEventReader.pages`."""
        async with aclosing(self._reader.pages(send_now)) as pages:
            async for first, lines in pages:
                yield first, lines
                if self._encoder.rests:
                    return
