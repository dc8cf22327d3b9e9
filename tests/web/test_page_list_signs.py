"""Signs in the list of chats for those that are not open."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.terminal.mcp_servers import config, raw
from tests.support.web.chats import Chat, chatting


@pytest.mark.slow
async def test_a_chat_that_waits_for_its_person_says_so_in_the_list(
    chromium: Browser, tmp_path: Path
) -> None:
    async with chatting(chromium, tmp_path, *config(tmp_path, {"far": raw()})) as chat:
        await chat.wait_until(
            "async () => (await (await fetch('/api/me')).json()).tools.some((t) => t.server)"
        )
        await chat.say("Echo.")
        reply = await chat.model.next_request()
        await reply.call("far__echo", {"x": 1}, id="c1")
        await reply.end("tool_calls")
        await expect(chat.page.locator(".approval")).to_be_visible()

        await chat.page.get_by_role("button", name="New chat").click()

        sign = chat.page.locator(".thread .sign")
        await expect(sign).to_have_attribute("aria-label", "It waits for your answer")
        await expect(chat.page.get_by_label("An answer is being written")).to_have_count(0)


@pytest.mark.slow
async def test_a_chat_that_was_answered_while_closed_is_marked_until_it_is_opened(
    chat: Chat,
) -> None:
    await chat.say("Tell me.")
    reply = await chat.model.next_request()
    await expect(chat.page.locator(".thread")).to_have_count(1)
    await chat.page.get_by_role("button", name="New chat").click()
    await reply.answer("It is forty-two.")
    mark = chat.page.get_by_label("New messages")
    await expect(mark).to_have_count(1)

    await chat.page.locator(".thread > a").click()
    await chat.sees("It is forty-two.")
    await expect(mark).to_have_count(0)
    await chat.page.get_by_role("button", name="New chat").click()

    await expect(chat.page.locator(".thread")).to_have_count(1)
    await expect(mark).to_have_count(0)
