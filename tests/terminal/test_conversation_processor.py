"""A conversation is processed to its end, whatever happens to the terminal."""

from __future__ import annotations

import asyncio

from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.terminal.conversation_processor import ConversationProcessor
from antiphon.terminal.themes import THEMES, Ink
from antiphon.terminal.ui_manager import UiManager
from antiphon.tools.consent import Consent
from antiphon.types.runs import Status
from tests.support.terminal.idle_terminal import FailingPainter, IdleKeyboard

SETTINGS = Settings(database="memory:", model="demo", demo_delay=0)


async def test_nothing_is_left_to_be_stopped_once_a_reply_was_shown_to_its_end() -> None:
    ui = UiManager(
        FailingPainter(""),
        Ink(THEMES["dark"]),
        IdleKeyboard,
        size=lambda: (80, 24),
        clock=lambda: 1.0,
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


async def test_a_reply_that_cannot_be_shown_is_reported_and_the_next_one_is_shown() -> None:
    painter = FailingPainter("One voice")
    ui = UiManager(
        painter, Ink(THEMES["dark"]), IdleKeyboard, size=lambda: (80, 24), clock=lambda: 1.0
    )
    async with AsyncClient(settings=SETTINGS) as client, ui:
        processor = ConversationProcessor(
            client, ui, consent=Consent(), max_tools=1, tool_timeout=1.0
        )
        thread = (await client.create_thread()).id
        await processor.process_conversation(thread, "Say 3 words")
        reply = await processor.process_conversation(thread, "Say 3 words")
        await processor.close()

    painted_text = " ".join(painter.painted)
    assert "cannot be shown" in painted_text
    assert "a fault of ours" in painted_text
    assert reply.status is Status.COMPLETED
    assert painter.painted.count("One voice calls") == 1


async def test_stopping_before_the_run_has_an_id_stops_no_other_run() -> None:
    ui = UiManager(
        FailingPainter(""),
        Ink(THEMES["dark"]),
        IdleKeyboard,
        size=lambda: (80, 24),
        clock=lambda: 1.0,
    )
    async with AsyncClient(settings=SETTINGS) as client, ui:
        processor = ConversationProcessor(
            client, ui, consent=Consent(), max_tools=1, tool_timeout=1.0
        )
        thread = (await client.create_thread()).id
        await client.create_message(thread, "Theirs")
        other_run = await client.create_run(thread)
        own_task = asyncio.create_task(
            processor.process_conversation(thread, "Ours", if_busy="wait")
        )
        async with asyncio.timeout(60):
            while not ui.busy:
                await asyncio.sleep(0)
        processor.interrupt()
        reply = await own_task
        await processor.close()
        run = await client.get_run(other_run.id)

    assert reply.run_id is None
    assert run.status is Status.QUEUED
