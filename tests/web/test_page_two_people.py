"""Two people in two browsers: each has their own chats, and shares what they choose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.web.browser import open_context
from tests.support.web.chats import WATCH, Chat, chatting
from tests.support.web.people import ADMIN, add_person, enter

SECOND_PERSON = "bo"


@pytest_asyncio.fixture(loop_scope="session")
async def two_people(chromium: Browser, tmp_path: Path) -> AsyncIterator[tuple[Chat, Chat]]:
    """An admin and a user, each logged in with a browser of their own."""
    add_person(tmp_path, ADMIN, "admin")
    add_person(tmp_path, SECOND_PERSON, "user")
    async with (
        chatting(chromium, tmp_path, "--no-servers", "--login", "password") as ada,
        open_context(chromium) as context,
    ):
        await context.add_init_script(WATCH)
        bo = Chat(ada.up, ada.model, context, await context.new_page())
        await bo.open()
        await enter(ada, ADMIN)
        await enter(bo, SECOND_PERSON)
        yield ada, bo
        await bo.faultless()


async def test_one_persons_chat_is_missing_for_the_other_and_a_shared_assistant_is_a_copy(
    two_people: tuple[Chat, Chat],
) -> None:
    ada, bo = two_people
    await _check_secret(ada, bo)
    await _check_shared_copy(ada, bo)


async def _check_secret(ada: Chat, bo: Chat) -> None:
    ada.model.will_say("It is 42.")
    await ada.say("My secret")
    await ada.sees("It is 42.")
    await ada.wait_until_idle()
    await bo.open(f"/t/{ada.thread}")
    await expect(bo.page.locator(".lost")).to_be_visible()

    assert "secret" not in await bo.page.content()
    await bo.page.get_by_role("link", name="Begin a new chat").click()
    await bo.page.get_by_role("searchbox").fill("secret")
    await expect(bo.page.locator(".side-empty")).to_be_visible()
    await expect(bo.page.locator(".thread")).to_have_count(0)


async def _check_shared_copy(ada: Chat, bo: Chat) -> None:
    """Check that a shared link gives a copy, which its author cannot change."""
    await ada.open("/assistants/new")
    await ada.page.get_by_label("Name", exact=True).fill("Poet")
    await ada.page.get_by_label("Instructions", exact=True).fill("Only verse.")
    await ada.page.get_by_role("button", name="Save").click()
    await ada.page.get_by_role("button", name="Actions for “Poet”").click()
    await ada.page.get_by_role("menuitem", name="Edit").click()
    await ada.page.get_by_role("button", name="Make a link").click()
    link = await ada.page.get_by_label("Link to this assistant").input_value()
    await bo.page.goto(link)
    await bo.page.get_by_role("button", name="Take a copy").click()
    await expect(bo.page.get_by_role("heading", level=1)).to_have_text("Poet")
    await ada.page.get_by_label("Instructions", exact=True).fill("Only prose.")
    await ada.page.get_by_role("button", name="Save").click()
    await expect(ada.page.locator(".assistant h2")).to_have_text(["Poet"])
    await bo.say("On rain")
    reply = await bo.model.next_request()
    await reply.answer("Drip.")
    await bo.sees("Drip.")
    await bo.wait_until_idle()

    assert "Only verse." in str(reply.messages)
    assert "Only prose." not in str(reply.messages)


@pytest.mark.slow
async def test_a_draft_of_a_user_outlives_the_page(two_people: tuple[Chat, Chat]) -> None:
    _, bo = two_people
    await bo.composer.press_sequentially("not yet")
    await bo.wait_until("() => JSON.stringify(localStorage).includes('not yet')")
    await bo.page.reload()

    await expect(bo.composer).to_have_value("not yet")


async def test_an_admin_stops_a_run_of_another_person_and_logs_them_out_by_switching_them_off(
    two_people: tuple[Chat, Chat],
) -> None:
    ada, bo = two_people
    await _check_stopped_run(ada, bo)
    await _check_switch_off(ada, bo)


async def _check_stopped_run(ada: Chat, bo: Chat) -> None:
    await bo.say("Count to a million.")
    reply = await bo.model.next_request()
    await reply.say("One, ")
    await bo.sees("One,")
    await ada.open("/admin/runs")
    row = ada.page.get_by_role("row", name=SECOND_PERSON)
    await row.get_by_role("button", name="Stop").click()
    await reply.closed.wait()
    await bo.sees("Stopped")
    await bo.wait_until_idle()
    await bo.say("Again.")
    await (await bo.model.next_request()).answer("No.", (1000, 234))
    await bo.wait_until_idle()
    await ada.open("/admin/usage")

    await expect(ada.page.locator(".page")).to_contain_text(SECOND_PERSON)
    await expect(ada.page.locator(".total strong")).to_have_text("1.2K")
    await bo.page.reload()
    await expect(bo.composer).to_be_visible()
    await expect(bo.page.get_by_role("link", name="Administration")).to_have_count(0)


async def _check_switch_off(ada: Chat, bo: Chat) -> None:
    """Check that a person who is switched off during an answer is logged out."""
    await bo.say("Count to a billion.")
    reply = await bo.model.next_request()
    await reply.say("Three, ")
    await bo.sees("Three,")
    await ada.open("/admin/people")
    await ada.page.get_by_role("button", name=f"Actions for {SECOND_PERSON}").click()
    await ada.page.get_by_role("menuitem", name="Switch off").click()
    await expect(ada.page.get_by_role("row", name=SECOND_PERSON)).to_contain_text("Switched off")
    await bo.page.evaluate("window.dispatchEvent(new Event('focus'))")
    await reply.say("four, ")

    await expect(bo.page.locator(".login")).to_be_visible()
    assert "Three" not in await bo.page.content()
    await reply.end()
