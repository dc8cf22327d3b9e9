"""The display while a reply comes: one task paints at a pace that the terminal can follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from antiphon.terminal.painters import Frame, InputRows, Painter
from antiphon.terminal.spans import Line

if TYPE_CHECKING:
    from antiphon.terminal.streaming_response_handler import StreamingResponseHandler

IDLE = 0.1
"""Seconds between two paints while nothing is told: spinners and clocks go on."""
BUSY = 0.05
"""Seconds between two paints while text comes: faster is not seen."""
SLOWEST = 0.25
SHARE = 5
"""A paint may take a fifth of the time, so that keys are never waited for."""
SETTLES = 0.3
"""Seconds that the terminal's size stays as it is until it is believed. While a window is dragged,
tmux tells sizes up to 0.25 s late: what is drawn for the old one goes where it is not expected, and
erasing it would take rows along that are finished."""


def nothing_typed(columns: int) -> InputRows:
    """No line is edited."""
    return InputRows()


class ChatDisplayManager:
    """Holds one painter and, while a run streams, the frames that it draws.

    `size` gives columns and rows, `clock` seconds that only grow, `typed` the line editor's rows
    for so many columns. `update_streaming` may be called for each event: it costs nothing.
    """

    def __init__(
        self,
        painter: Painter,
        *,
        size: Callable[[], tuple[int, int]],
        clock: Callable[[], float],
        typed: Callable[[int], InputRows] = nothing_typed,
    ) -> None:
        self.streaming_start_time = 0.0
        self._painter = painter
        self._size = size
        self._clock = clock
        self._typed = typed
        self._handler: StreamingResponseHandler | None = None
        self._was_over = False
        self._refresh_task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._suspended = 0
        self._unpainted: list[Line] = []
        self._fits: tuple[int, int] | None = None
        self._settling: asyncio.TimerHandle | None = None

    @property
    def is_streaming(self) -> bool:
        """Whether a run is shown."""
        return self._handler is not None

    @property
    def is_over(self) -> bool:
        """Whether the run that was shown last has ended, and nothing else has begun since."""
        return self._was_over if self._handler is None else self._handler.response_complete

    @property
    def streaming_content(self) -> str:
        """The text of the reply that is shown."""
        return self._handler.current_response if self._handler else ""

    @property
    def reasoning_content(self) -> str:
        """The reasoning of the reply that is shown."""
        return self._handler.reasoning_content if self._handler else ""

    @property
    def chunks_received(self) -> int:
        """Pieces of the run that is shown."""
        return self._handler.chunk_count if self._handler else 0

    def start_streaming(self, handler: StreamingResponseHandler) -> None:
        """Show this run from now on; the first frame is painted at once."""
        self._handler = handler
        self._was_over = False
        self.streaming_start_time = self._clock()
        self.paint()
        self._refresh_task = asyncio.create_task(self._refresh())

    def update_streaming(self) -> None:
        """Something was told: it is painted soon. Raises what a paint has raised."""
        self._changed.set()
        task = self._refresh_task
        if task and task.done() and not task.cancelled() and (error := task.exception()):
            raise error

    async def finish_streaming(self) -> None:
        """Paint what is left and stop. Safe to call twice."""
        task, self._refresh_task = self._refresh_task, None
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._handler:
            self.paint()
            self._unpainted += self._frame(0, self._clock()).finished
            self._was_over, self._handler = self._handler.response_complete, None
            self.paint()

    def clear_over(self) -> None:
        """Something else is done from now on than to show the last run."""
        self._was_over = False

    def drop_streaming(self) -> None:
        """Show nothing more of the run: it cannot be shown."""
        if self._refresh_task:
            self._refresh_task.cancel()
        self._refresh_task = self._handler = None

    @contextmanager
    def suspend(self) -> Generator[None]:
        """Leave the terminal to another program; what is said meanwhile is painted after it."""
        if not self._suspended:
            self._painter.close()
        self._suspended += 1
        try:
            yield
        finally:
            self._suspended -= 1
            self.paint()

    def paint(self, *said: Line) -> None:
        """Draw now; lines of the program's own, such as the answer to a command, go above."""
        if self._suspended or self._is_resizing():
            if said:
                self._unpainted += (*self._frame(0, self._clock()).finished, *said)
            return
        self._paint(*said)

    def close(self) -> None:
        """Leave the terminal as a program expects it; all that was said is there."""
        if self._settling:
            self._settling.cancel()
            self._settling = None
        if self._unpainted:
            self._paint()
        self._painter.close()

    def _paint(self, *said: Line) -> None:
        columns, _ = self._size()
        now, typed = self._clock(), self._typed(columns)
        frame = self._frame(len(typed.rows), now)
        if said or self._unpainted:
            finished = (*self._unpainted, *frame.finished, *said)
            frame = msgspec.structs.replace(frame, finished=finished)
        self._unpainted = []
        self._painter.paint(frame, typed, columns, now)

    def _frame(self, taken: int, now: float) -> Frame:
        """What the run is like, in the rows that are not taken."""
        if not self._handler:
            return Frame()
        columns, rows = self._size()
        return self._handler.frame(columns, rows - taken, now)

    def _is_resizing(self) -> bool:
        """Whether the window has had another size until just now; once it stays, it is painted."""
        before, self._fits = self._fits, self._size()
        if before not in (None, self._fits):
            if self._settling:
                self._settling.cancel()
            self._settling = asyncio.get_running_loop().call_later(SETTLES, self._end_resizing)
        return self._settling is not None

    def _end_resizing(self) -> None:
        self._settling = None
        self.paint()

    async def _refresh(self) -> None:
        pause = IDLE
        while True:
            busy = await self._wait_for_update(pause)
            began = self._clock()
            self.paint()
            took = self._clock() - began
            pause = min(SLOWEST, max(BUSY if busy else IDLE, SHARE * took))
            if busy:
                await asyncio.sleep(pause)

    async def _wait_for_update(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True
