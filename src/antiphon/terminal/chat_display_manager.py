"""Paint a streaming reply at a rate that the terminal can follow."""

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
"""Seconds between two paints while no events arrive: spinners and clocks move on."""
BUSY = 0.05
"""Seconds between two paints while text arrives: a higher rate is not visible."""
SLOWEST = 0.25
SHARE = 5
"""Painting may take a fifth of the time, so that keys never wait."""
SETTLES = 0.3
"""Seconds that the terminal's size must stay the same before it is used. While a window is dragged,
tmux reports sizes up to 0.25 s late: rows drawn for the old size land in the wrong place, and
erasing them would erase finished rows."""


def nothing_typed(columns: int) -> InputRows:
    """Return no rows: no input line is edited."""
    return InputRows()


class ChatDisplayManager:
    """Holds one painter and, while a run streams, the handler that makes its frames.

    `size` returns columns and rows, `clock` monotonic seconds, `typed` the rows of the input line
    for so many columns. `update_streaming` is cheap enough to be called for each event.
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
        """True while a run is shown."""
        return self._handler is not None

    @property
    def is_over(self) -> bool:
        """True if the last run shown has ended and nothing else has begun since."""
        return self._was_over if self._handler is None else self._handler.response_complete

    @property
    def streaming_content(self) -> str:
        """Text of the reply that is shown."""
        return self._handler.current_response if self._handler else ""

    @property
    def reasoning_content(self) -> str:
        """Reasoning of the reply that is shown."""
        return self._handler.reasoning_content if self._handler else ""

    @property
    def chunks_received(self) -> int:
        """Number of chunks of the run that is shown."""
        return self._handler.chunk_count if self._handler else 0

    def start_streaming(self, handler: StreamingResponseHandler) -> None:
        """Show this run from now on; paint its first frame at once."""
        self._handler = handler
        self._was_over = False
        self.streaming_start_time = self._clock()
        self.paint()
        self._refresh_task = asyncio.create_task(self._refresh())

    def update_streaming(self) -> None:
        """Schedule a paint: there is something new. Raises the error of an earlier paint."""
        self._changed.set()
        task = self._refresh_task
        if task and task.done() and not task.cancelled() and (error := task.exception()):
            raise error

    async def finish_streaming(self) -> None:
        """Paint the rest and stop. Safe to call twice. Raises the error of an earlier paint."""
        task, self._refresh_task = self._refresh_task, None
        if task:
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ended, Exception):
                raise ended
        if self._handler:
            self.paint()
            self._unpainted += self._frame(0, self._clock()).finished
            self._was_over, self._handler = self._handler.response_complete, None
            self.paint()

    def clear_over(self) -> None:
        """Note that something else than the last run is now in progress."""
        self._was_over = False

    def drop_streaming(self) -> None:
        """Stop showing the run, which cannot be shown."""
        if self._refresh_task:
            self._refresh_task.cancel()
        self._refresh_task = self._handler = None

    @contextmanager
    def suspend(self) -> Generator[None]:
        """Leave the terminal to another program; text printed meanwhile is painted afterwards."""
        if not self._suspended:
            self._painter.close()
        self._suspended += 1
        try:
            yield
        finally:
            self._suspended -= 1
            self.paint()

    def paint(self, *lines: Line) -> None:
        """Paint now. `lines` are further lines to print above, such as the output of a command."""
        if self._suspended or self._is_resizing():
            if lines:
                self._unpainted += (*self._frame(0, self._clock()).finished, *lines)
            return
        self._paint(*lines)

    def close(self) -> None:
        """Print everything that is left, and restore the terminal."""
        if self._settling:
            self._settling.cancel()
            self._settling = None
        if self._unpainted:
            self._paint()
        self._painter.close()

    def _paint(self, *lines: Line) -> None:
        columns, _ = self._size()
        now, typed = self._clock(), self._typed(columns)
        frame = self._frame(len(typed.rows), now)
        if lines or self._unpainted:
            finished = (*self._unpainted, *frame.finished, *lines)
            frame = msgspec.structs.replace(frame, finished=finished)
        self._unpainted = []
        self._painter.paint(frame, typed, columns, now)

    def _frame(self, taken: int, now: float) -> Frame:
        """Return the run's frame for the rows that are not taken."""
        if not self._handler:
            return Frame()
        columns, rows = self._size()
        return self._handler.frame(columns, rows - taken, now)

    def _is_resizing(self) -> bool:
        """Return True while the window's size changes; paint once it has settled."""
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
