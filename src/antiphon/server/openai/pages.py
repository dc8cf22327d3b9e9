"""Pages of a run's events as the answers of OpenAI's API need them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from antiphon.runtime.event_reader import RunEventReader, SendNow
from antiphon.server.streaming import EventPages
from antiphon.types import events
from antiphon.types.events import ActionRequired

PATIENCE = 9  # seconds that the headers of a stream wait for the answer to begin, or to fail

Page = tuple[int, Sequence[bytes]]


class ApprovedPages:
    """Pages of a run's turns; a turn in which only approvals are asked is followed by the next."""

    def __init__(
        self,
        reader: RunEventReader,
        refuse: Callable[[str, Sequence[str]], Coroutine[Any, Any, RunEventReader]],
    ) -> None:
        self.run_id = reader.run_id
        self._reader = reader
        self._refuse = refuse

    async def pages(self, send_now: SendNow | None = None) -> AsyncGenerator[Page, None]:
        """Yield pages as `RunEventReader.pages`."""
        reader = self._reader
        while True:
            refused: Sequence[str] = ()
            async with aclosing(reader.pages(send_now)) as pages:
                async for first, lines in pages:
                    for line in lines:
                        if events.type_of(line) == b"action.required":
                            refused = _only_approvals(line)
                    yield first, lines
            if not refused:
                return
            reader = await self._refuse(self.run_id, refused)


class HeldPages:
    """Pages of a run, the first of which are read before they are sent."""

    def __init__(self, pages: EventPages) -> None:
        self.run_id = pages.run_id
        self._send_now: SendNow | None = None
        self._held: list[Page] = []
        self._pages = pages.pages(self._try_to_send)

    async def hold_next(self) -> Sequence[bytes] | None:
        """Read one more page and hold it; return its events, None after the last page."""
        page = await anext(self._pages, None)
        if page is None:
            return None
        self._held.append(page)
        return page[1]

    @property
    def held_lines(self) -> Sequence[bytes]:
        """The events that are held."""
        return [line for _, lines in self._held for line in lines]

    async def pages(self, send_now: SendNow | None = None) -> AsyncGenerator[Page, None]:
        """Yield the held pages, then the others."""
        for first, lines in self._held:
            if lines:
                yield first, lines
        self._held.clear()
        self._send_now = send_now
        async for page in self._pages:
            yield page

    async def aclose(self) -> None:
        """Stop reading."""
        await self._pages.aclose()

    def _try_to_send(self, first: int, lines: Sequence[bytes]) -> bool:
        return self._send_now is not None and self._send_now(first, lines)


async def hold_until_answer(pages: HeldPages) -> None:
    """Hold pages until the run has text or has ended, or for `PATIENCE` seconds."""
    silent = 0
    while (lines := await pages.hold_next()) is not None:
        silent += not lines
        if silent >= PATIENCE or any(events.type_of(line) not in _SILENT for line in lines):
            return


_SILENT = (b"run.status", b"turn.restarted", b"usage")


def _only_approvals(line: bytes) -> Sequence[str]:
    """Return the calls of a manifest if all of them wait for approval, else none."""
    manifest = events.decode(line)
    if not isinstance(manifest, ActionRequired):
        return ()
    if any(action.kind == "tool" for action in manifest.actions):
        return ()
    return [action.tool_call_id for action in manifest.actions]
