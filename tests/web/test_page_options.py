"""Options of one chat in the page: chosen, sent, marked, stored with the thread, reset."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from tests.support.web.chats import Chat


async def say(chat: Chat, question: str, reply: str) -> None:
    await chat.say(question)
    await (await chat.model.next_request()).answer(reply)
    await chat.sees(reply)
    await chat.wait_until_idle()


async def open_options(chat: Chat, name: str) -> Locator:
    await chat.page.get_by_role("button", name=name, exact=True).click()
    return chat.page.get_by_role("dialog", name="Options for this chat")


@pytest.mark.slow
async def test_options_of_a_new_chat_go_with_it_and_stay(chat: Chat) -> None:
    dialog = await open_options(chat, "Options for this chat")
    await dialog.get_by_label("Temperature").fill("0.25")
    await dialog.get_by_label("Reasoning effort").select_option("low")
    await dialog.get_by_label("Longest answer").fill("300")
    await dialog.get_by_role("checkbox", name="All tools of this chat").uncheck()
    for box in await dialog.locator(".tool-group-head input").all():
        await box.uncheck()
    await dialog.locator(".tool-list input[value=calculate]").check()
    await dialog.get_by_role("button", name="Save").click()
    changed_button = chat.page.get_by_role("button", name="Options for this chat: changed")
    await expect(changed_button).to_be_visible()
    await say(chat, "How much is it?", "Four.")

    request = chat.model.requests[-1]
    assert (request["temperature"], request["reasoning_effort"]) == (0.25, "low")
    assert 300 in (request.get("max_tokens"), request.get("max_completion_tokens"))
    assert [tool["function"]["name"] for tool in request["tools"]] == ["calculate"]
    await chat.page.reload()
    await chat.sees("Four.")
    dialog = await open_options(chat, "Options for this chat: changed")
    await expect(dialog.get_by_label("Temperature")).to_have_value("0.25")
    await expect(dialog.locator(".tool-list input:checked")).to_have_count(1)

    await dialog.get_by_role("button", name="Reset all").click()
    await expect(changed_button).to_have_count(0)
    await say(chat, "And now?", "Five.")
    request = chat.model.requests[-1]
    assert "temperature" not in request
    assert len(request["tools"]) > 1
    await chat.page.get_by_role("button", name="New chat").click()
    await expect(chat.page.get_by_role("button", name="Options for this chat")).to_be_visible()
