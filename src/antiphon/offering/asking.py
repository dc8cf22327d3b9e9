"""One run for another program: told of as it goes, cancelled where the asker leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from antiphon.client.aio import AsyncClient, AsyncEvents
from antiphon.errors import AntiphonError, Unavailable
from antiphon.events import (
    Event,
    MessageCompleted,
    RefusalDelta,
    TextDelta,
    TurnEnded,
    TurnRestarted,
)
from antiphon.offering.tools import Answer
from antiphon.runs import Status

Tell = Callable[[int, str], Awaitable[None]]
"""Told how far the run is, by the number of its last event, and what was said so far."""

PAUSE = 0.2  # seconds between two reports: a person sees no more, and each holds the whole text
LONGEST_REPORT = 8_000  # characters; of a longer text, its end
CANCEL_SECONDS = 5.0


class Askings:
    """The runs that are under way for a client, which lets go of none when it closes."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._ending: set[asyncio.Task[None]] = set()

    async def answer(self, events: AsyncEvents, tell: Tell) -> Answer:
        """The answer of this run. Whoever stops waiting for it cancels the run.

        Raises `Unavailable` for a run that failed, was cancelled or has expired.
        """
        asking = _Asking(events, tell)
        listening = asyncio.create_task(asking.listen())
        try:
            await asyncio.shield(listening)
        except asyncio.CancelledError:
            asking.left = True
            ending = asyncio.create_task(self._end(asking, listening))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            raise
        return asking.answer()

    async def close(self) -> None:
        """Wait until every run that was left is cancelled."""
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    async def _end(self, asking: _Asking, listening: asyncio.Task[None]) -> None:
        """Cancel the run. One that has just begun has told nobody its id yet: it is waited for."""
        known = asyncio.create_task(asking.known.wait())
        with suppress(AntiphonError, TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                await asyncio.wait({listening, known}, return_when=asyncio.FIRST_COMPLETED)
                if asking.events.run_id is not None:
                    await self._client.cancel_run(asking.events.run_id)
        listening.cancel()
        known.cancel()
        await asyncio.gather(listening, known, return_exceptions=True)


class _Asking:
    """What was said in a run so far. `left` when nobody wants to be told any more."""

    def __init__(self, events: AsyncEvents, tell: Tell) -> None:
        self.events = events
        self.known = asyncio.Event()
        self.left = False
        self._tell = tell
        self._said: list[str] = []
        self._turn = 0
        self._told_at = 0.0

    async def listen(self) -> None:
        async with self.events:
            async for event in self.events:
                self.known.set()
                self._note(event)
                await self._report()

    def answer(self) -> Answer:
        events = self.events
        status, run_id, thread_id = events.status, events.run_id, events.thread_id
        if status is None or run_id is None or thread_id is None:
            raise Unavailable("The run ended before it began.")
        if status not in (Status.COMPLETED, Status.INCOMPLETE):
            why = f": {events.error.message}" if events.error else ""
            raise Unavailable(f"The run {run_id} in {thread_id} is {status}{why}")
        return Answer(
            text=self._text(),
            thread_id=thread_id,
            run_id=run_id,
            status=status,
            reason=events.reason,
        )

    def _note(self, event: Event) -> None:
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                self._said.append(text)
            case MessageCompleted():
                self._said.append("\n\n")
            case TurnEnded():
                self._turn = len(self._said)
            case TurnRestarted():
                del self._said[self._turn :]
            case _:
                pass

    def _text(self) -> str:
        return "".join(self._said).strip()

    async def _report(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.left or now - self._told_at < PAUSE:
            return
        text = self._text()
        if text:
            self._told_at = now
            await self._tell(self.events.last_event, text[-LONGEST_REPORT:])
