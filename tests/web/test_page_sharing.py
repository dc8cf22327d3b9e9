"""Links to conversations in the page: made, read by others, continued, updated and revoked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.browser import open_context
from tests.support.web.chats import WATCH, Chat, chatting
from tests.support.web.people import ADMIN, add_person, enter

HOSTILE = "<img src=x onerror=alert(1)> **bold** [link](javascript:alert(1))"


async def open_dialog(chat: Chat) -> Locator:
    await chat.page.locator(".thread").first.hover()
    await chat.page.locator(".thread").first.get_by_role("button").click()
    await chat.page.get_by_role("menuitem", name="Share…").click()
    return chat.page.get_by_role("dialog", name="Share a conversation")


async def make_link(chat: Chat) -> str:
    """Make a link in the dialog, which stays open; return its address."""
    dialog = await open_dialog(chat)
    await dialog.get_by_role("button", name="Make a link").click()
    return await dialog.get_by_label("New link").input_value()


@pytest_asyncio.fixture(loop_scope="session")
async def sharing_pages(chromium: Browser, tmp_path: Path) -> AsyncIterator[tuple[Chat, Chat]]:
    """The page of a person who is logged in, and one without a login; links are for anyone."""
    add_person(tmp_path, ADMIN, "admin")
    flags = ("--no-servers", "--login", "password", "--sharing", "anyone")
    async with (
        chatting(chromium, tmp_path, *flags) as ada,
        open_context(chromium) as context,
    ):
        await context.add_init_script(WATCH)
        stranger = Chat(ada.up, ada.model, context, await context.new_page())
        await enter(ada, ADMIN)
        yield ada, stranger
        await stranger.faultless()


async def test_a_stranger_reads_what_is_shared_until_it_is_revoked_and_nothing_later(
    sharing_pages: tuple[Chat, Chat],
) -> None:
    ada, stranger = sharing_pages
    ada.model.will_say(HOSTILE)
    await ada.say("How do tides work?")
    await ada.wait_until_idle()
    link = await make_link(ada)

    await stranger.page.goto(link)

    conversation = stranger.page.locator(".shared-chat")
    await expect(conversation.get_by_role("heading", level=1)).to_have_text("How do tides work?")
    await expect(conversation.locator(".markdown strong")).to_have_text("bold")
    await expect(conversation.locator("img, iframe, script, a[href^=javascript]")).to_have_count(0)
    await expect(
        conversation.get_by_role("button", name="Continue this conversation")
    ).to_have_count(0)
    assert "local" not in await conversation.inner_text()
    answer = await stranger.context.request.get(link.replace("/shared/", "/api/links/"))
    assert answer.headers["x-robots-tag"] == "noindex"
    assert answer.headers["referrer-policy"] == "no-referrer"

    dialog = ada.page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Revoke the link to How do tides work?").click()
    await expect(dialog.locator(".share-row")).to_have_count(0)
    await stranger.page.reload()
    alert = stranger.page.get_by_role("alert")
    await expect(alert).to_contain_text("Nothing is shared")
    await expect(alert).to_contain_text("Ask the person")
    await expect(alert.get_by_role("link")).to_have_count(0)
    await ada.page.goto(link)
    await expect(ada.page.get_by_role("link", name="Begin a new chat")).to_be_visible()
    await ada.open()
    for end in ("x", "A" * 32, "%E2%80%AE"):
        answer = await stranger.context.request.get(f"{ada.up.url}/api/links/{end}")
        assert answer.status == 404


@pytest.mark.slow
async def test_a_reader_with_a_login_continues_in_a_chat_of_their_own(chat: Chat) -> None:
    chat.model.will_say("The moon pulls.")
    await chat.say("How do tides work?")
    await chat.wait_until_idle()
    link = await make_link(chat)
    first = chat.thread

    await chat.page.goto(link)
    await chat.page.get_by_role("button", name="Continue this conversation").click()

    await expect(chat.page).not_to_have_url(link)
    await chat.sees("The moon pulls.")
    assert chat.thread != first
    chat.model.will_say("The sun pulls too.")
    await chat.say("And the sun?")
    await chat.sees("The sun pulls too.")
    await chat.wait_until_idle()
    await chat.page.goto(link)
    await expect(chat.page.locator(".shared-chat .markdown")).to_have_text("The moon pulls.")
    await expect(chat.page.get_by_text("The sun pulls too.")).to_have_count(0)


@pytest.mark.slow
async def test_the_dialog_and_the_page_of_a_link_have_no_barriers_and_fit_a_phone(
    chat: Chat, axe: str
) -> None:
    chat.model.will_say("The moon pulls.")
    await chat.say("How do tides work?")
    await chat.wait_until_idle()
    link = await make_link(chat)
    await expect(chat.page.locator("dialog .share-row")).to_be_visible()
    assert not await findings(chat.page, axe)

    await chat.page.goto(link)
    await expect(chat.page.locator(".shared-chat .markdown")).to_have_text("The moon pulls.")
    assert not await findings(chat.page, axe)
    await chat.page.set_viewport_size({"width": 320, "height": 640})
    assert not await findings(chat.page, axe)
    assert await chat.page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.slow
async def test_a_link_is_offered_for_no_longer_than_the_servers_limit(
    chromium: Browser, tmp_path: Path
) -> None:
    flags = ("--no-servers", "--max-share-lifetime", str(36 * 3600))
    async with chatting(chromium, tmp_path, *flags) as chat:
        await chat.say("How do tides work?")
        await chat.wait_until_idle()

        link = await make_link(chat)
        choices = chat.page.get_by_label("The link works for")

        assert "/shared/" in link
        assert await choices.locator("option").all_inner_texts() == ["1 day", "36 hours"]
        assert await choices.input_value() == str(36 * 3600)
