"""While a run streams, one task paints it; it can be stopped, and a failure is seen."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from antiphon.terminal import spans
from antiphon.terminal.chat_display_manager import ChatDisplayManager
from antiphon.terminal.painters import Frame, InputRows
from antiphon.terminal.spans import StyledText
from antiphon.terminal.streaming_response_handler import StreamingResponseHandler
from antiphon.terminal.themes import THEMES
from antiphon.types.events import RunStatus, TextDelta
from antiphon.types.runs import Status

DEADLINE = 60.0


class Canvas:
    """Painter that keeps its frames, and can be waited for."""

    def __init__(self, fails_at: int = -1) -> None:
        self.frames: list[Frame] = []
        self._fails_at = fails_at
        self._painted = asyncio.Condition()
        self._painting: set[asyncio.Task[None]] = set()

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        if len(self.frames) == self._fails_at:
            raise RuntimeError("the terminal is gone")
        self.frames.append(frame)
        task = asyncio.get_running_loop().create_task(self._notify())
        self._painting.add(task)
        task.add_done_callback(self._painting.discard)

    def close(self) -> None:
        """Do nothing: there is nothing to leave."""

    async def _notify(self) -> None:
        async with self._painted:
            self._painted.notify_all()

    async def until(self, text: str) -> None:
        async with asyncio.timeout(DEADLINE), self._painted:
            await self._painted.wait_for(lambda: text in self.text)

    @property
    def text(self) -> str:
        last = self.frames[-1]
        finished_lines = [line for frame in self.frames for line in frame.finished]
        return "\n".join(map(spans.text, (*finished_lines, *last.region)))


def open_display(canvas: Canvas) -> tuple[ChatDisplayManager, StreamingResponseHandler]:
    seconds = count()
    display = ChatDisplayManager(canvas, size=lambda: (80, 24), clock=lambda: float(next(seconds)))
    return display, StreamingResponseHandler(THEMES["none"])


async def test_the_first_frame_is_painted_before_any_event():
    canvas = Canvas()
    display, handler = open_display(canvas)

    display.start_streaming(handler)

    assert [frame.phase for frame in canvas.frames] == ["connecting"]
    assert display.is_streaming
    await display.finish_streaming()


async def test_events_are_painted_soon_and_the_rest_at_the_end():
    canvas = Canvas()
    display, handler = open_display(canvas)
    display.start_streaming(handler)

    handler.handle_event(TextDelta(text="One.\n\nTwo"), 1.0)
    display.update_streaming()
    await canvas.until("Two")
    assert display.streaming_content == "One.\n\nTwo"
    assert display.chunks_received == 1

    handler.handle_event(RunStatus(run_id="r", thread_id="t", status=Status.COMPLETED), 2.0)
    await display.finish_streaming()
    await display.finish_streaming()
    assert canvas.text == "One.\n\nTwo\n2.0 s"
    assert not display.is_streaming


async def test_clocks_go_on_while_no_event_comes():
    canvas = Canvas()
    display, handler = open_display(canvas)
    display.start_streaming(handler)

    await canvas.until("9 s")

    await display.finish_streaming()


async def test_a_paint_that_fails_is_not_kept_quiet():
    canvas = Canvas(fails_at=1)
    display, handler = open_display(canvas)
    display.start_streaming(handler)
    display.update_streaming()

    async def emit_on_and_on() -> None:
        while True:
            await asyncio.sleep(0)
            display.update_streaming()

    with pytest.raises(RuntimeError, match="the terminal is gone"):
        await asyncio.wait_for(emit_on_and_on(), DEADLINE)


async def test_own_lines_of_the_program_go_above_the_typed_text():
    canvas = Canvas()
    display, _ = open_display(canvas)

    display.paint((StyledText("/help says"),))

    assert canvas.text == "/help says"
