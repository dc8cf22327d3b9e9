"""A conversation seen to its end, whatever the terminal makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.terminal import spans
from antiphon.terminal.conversation_processor import ConversationProcessor
from antiphon.terminal.input.keyboard import Box, Field
from antiphon.terminal.painters import Frame, InputRows
from antiphon.terminal.themes import THEMES, Ink
from antiphon.terminal.ui_manager import UiManager
from antiphon.tools.consent import Consent
from antiphon.types.runs import Status

SETTINGS = Settings(database="memory:", model="demo", demo_delay=0)


class Silent:
    """A keyboard that nobody touches."""

    by_lines = False
    echoes = False

    def __init__(self, ui: UiManager) -> None:
        """Tells nobody anything."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to leave."""

    def render(self, columns: int) -> InputRows:
        return InputRows()

    def refill(self, text: str) -> None:
        """Nobody goes on."""

    async def choose(self, box: Box) -> str:
        return box.default

    async def write(self, field: Field) -> str | None:
        return None

    async def lend(self, arguments: Sequence[str]) -> int:
        return 0


class Fragile:
    """A painter that breaks once it is given this word, once."""

    def __init__(self, word: str) -> None:
        self.painted: list[str] = []
        self._word = word

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        text = "\n".join(spans.text(line) for line in (*frame.finished, *frame.region))
        if self._word and self._word in text:
            self._word = ""
            raise KeyError("a fault of ours")
        self.painted += [spans.text(line) for line in frame.finished]

    def set_clipboard(self, encoded: str) -> bool:
        return False

    def close(self) -> None:
        """Nothing to leave."""


async def test_nothing_is_left_to_be_stopped_once_a_reply_was_shown_to_its_end() -> None:
    ui = UiManager(
        Fragile(""), Ink(THEMES["dark"]), Silent, size=lambda: (80, 24), clock=lambda: 1.0
    )
    async with AsyncClient(settings=SETTINGS) as client, ui:
        processor = ConversationProcessor(
            client, ui, consent=Consent(), max_tools=1, tool_timeout=1.0
        )
        thread = (await client.create_thread()).id
        with ui.working():
            await processor.process_conversation(thread, "Say 3 words")
            busy_after_it = ui.busy
        with ui.working():
            busy_with_the_next = ui.busy
        await processor.close()

    assert (busy_after_it, busy_with_the_next) == (False, True)


async def test_a_reply_that_cannot_be_shown_is_told_and_the_next_one_is_shown() -> None:
    painter = Fragile("One voice")
    ui = UiManager(painter, Ink(THEMES["dark"]), Silent, size=lambda: (80, 24), clock=lambda: 1.0)
    async with AsyncClient(settings=SETTINGS) as client, ui:
        processor = ConversationProcessor(
            client, ui, consent=Consent(), max_tools=1, tool_timeout=1.0
        )
        thread = (await client.create_thread()).id
        await processor.process_conversation(thread, "Say 3 words")
        shown = await processor.process_conversation(thread, "Say 3 words")
        await processor.close()

    told = " ".join(painter.painted)
    assert "cannot be shown" in told
    assert "a fault of ours" in told
    assert shown.status is Status.COMPLETED
    assert painter.painted.count("One voice calls") == 1


async def test_stopping_before_the_run_has_a_name_stops_nobody_elses_run() -> None:
    ui = UiManager(
        Fragile(""), Ink(THEMES["dark"]), Silent, size=lambda: (80, 24), clock=lambda: 1.0
    )
    async with AsyncClient(settings=SETTINGS) as client, ui:
        processor = ConversationProcessor(
            client, ui, consent=Consent(), max_tools=1, tool_timeout=1.0
        )
        thread = (await client.create_thread()).id
        await client.create_message(thread, "Theirs")
        theirs = await client.create_run(thread)
        ours = asyncio.create_task(processor.process_conversation(thread, "Ours", if_busy="wait"))
        async with asyncio.timeout(60):
            while not ui.busy:
                await asyncio.sleep(0)
        processor.interrupt()
        reply = await ours
        await processor.close()
        run = await client.get_run(theirs.id)

    assert reply.run_id is None
    assert run.status is Status.QUEUED
