"""Breaks in the middle of an answer: a killed server, a laptop that sleeps, a silent connection.

The text is the saved one afterwards, to the character.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.support.web.chats import LOOK, Chat, as_shown, chatting
from tests.support.web.cuttable_line import Line

ANSWER = "It is 4·2 — naïve and 🙂 exact."
QUICK = ("--lease-duration", "1", "--heartbeat-interval", "0.2", "--expiry-interval", "0.2")
"""The death of a server is detected soon."""


async def _check_exact_text(chat: Chat) -> None:
    """Check that the page shows the saved messages once each, before and after a reload."""
    await chat.wait_until_idle()
    saved_messages = as_shown(await chat.fetch_messages())
    assert await chat.read_messages() == saved_messages
    await chat.page.reload()
    await expect(chat.page.locator(".message")).to_have_count(len(saved_messages))
    for text in await chat.page.locator(".message-text").all():
        await expect(text).not_to_have_text("")
    assert await chat.read_messages() == saved_messages


async def test_a_server_that_is_killed_in_a_tool_runs_it_again_and_goes_on(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "tools.py").write_text(LOOK)
    flags = ("--no-servers", "--tools", "tools.py", *QUICK)
    async with chatting(chromium, tmp_path, *flags) as chat:
        await chat.say("How much?")
        reply = await chat.model.next_request()
        await reply.say("I look.")
        await reply.call("look", {"at": str(tmp_path / "found")}, id="c1")
        await reply.end("tool_calls")
        await expect(chat.page.locator(".tool")).to_have_attribute("data-state", "running")
        await chat.up.kill()
        await chat.sees("Reconnecting")
        await expect(chat.page.locator(".tool")).to_be_visible()
        await chat.up.begin()
        (tmp_path / "written").write_text("42")
        (tmp_path / "written").rename(tmp_path / "found")  # never seen half written
        await (await chat.model.next_request()).answer(ANSWER)
        await chat.sees(ANSWER)

        await _check_exact_text(chat)
        await expect(chat.page.locator(".tool")).to_have_count(1)
        await expect(chat.page.locator(".tool")).to_contain_text("42")


async def test_a_laptop_that_slept_through_the_end_shows_it_when_it_wakes(
    chromium: Browser, tmp_path: Path
) -> None:
    async with (
        chatting(chromium, tmp_path, "--no-servers") as chat,
        Line(chat.up.url) as line,
    ):
        chat.up.url = line.url
        await chat.open()
        await chat.say("How much?")
        reply = await chat.model.next_request()
        await reply.say(ANSWER[:6])
        await chat.sees(ANSWER[:5])
        await _set_lifecycle_state(chat.page, "frozen")
        line.cut()
        await reply.answer(ANSWER[6:])
        line.mend()
        await _set_lifecycle_state(chat.page, "active")
        await chat.sees(ANSWER)

        await _check_exact_text(chat)


async def _set_lifecycle_state(page: Page, state: str) -> None:
    """Set the state of the page: nothing in it goes on while it is frozen."""
    session = await page.context.new_cdp_session(page)
    await session.send("Page.setWebLifecycleState", {"state": state})
    await session.detach()


async def test_a_silent_connection_is_noticed_within_twenty_seconds_and_the_answer_goes_on(
    chromium: Browser, tmp_path: Path
) -> None:
    async with (
        chatting(chromium, tmp_path, "--no-servers", fresh=True) as chat,
        Line(chat.up.url) as line,
    ):
        chat.up.url = line.url
        await chat.page.clock.install()
        await chat.open()
        await chat.say("How much?")
        reply = await chat.model.next_request()
        await reply.say(ANSWER[:6])
        await chat.sees(ANSWER[:5])
        line.silence()
        await reply.say(ANSWER[6:12])
        await line.swallowed.wait()
        await chat.page.clock.fast_forward(20_000)
        await chat.sees("Reconnecting")
        line.mend()
        await chat.page.clock.fast_forward(2_000)
        await reply.answer(ANSWER[12:])
        await chat.sees(ANSWER)

        await _check_exact_text(chat)


@pytest.mark.slow
async def test_any_tab_stops_an_answer_that_another_tab_asked_for(chat: Chat) -> None:
    await chat.say("How much?")
    reply = await chat.model.next_request()
    await reply.say("It begins")
    await chat.sees("It begins")
    other_tab = await chat.tab(f"/t/{chat.thread}")
    await other_tab.page.get_by_role("button", name="Stop the answer").click()
    async with asyncio.timeout(60):
        await reply.closed.wait()
    await other_tab.sees("Stopped")
    await chat.sees("Stopped")

    await _check_exact_text(chat)
    await _check_exact_text(other_tab)


@pytest.mark.slow
async def test_a_waiting_message_that_is_refused_stays_with_the_reason(chat: Chat) -> None:
    await chat.say("One")
    reply = await chat.model.next_request()
    await reply.say("First")
    await chat.sees("First")
    await chat.say("Two")
    await chat.page.route("**/api/messages/process*", _refuse)
    await reply.end()
    await chat.sees("Not on Sundays.")
    await chat.page.unroute("**/api/messages/process*")
    await chat.page.reload()
    await chat.sees("Not on Sundays.")
    chat.model.will_say("Second")
    await chat.page.get_by_role("button", name="Try again").click()
    await chat.sees("Second")
    await chat.wait_until_idle()

    assert [text for _, text in await chat.read_messages()] == ["One", "First", "Two", "Second"]


async def _refuse(route: Route) -> None:
    problem = {"type": "about:blank", "title": "No", "status": 422, "code": "invalid_request"}
    await route.fulfill(status=422, json={**problem, "detail": "Not on Sundays."})
