"""The page of a run: its steps and times, and two runs beside each other."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.support.web.chats import Chat


async def answer(chat: Chat, question: str, reply: str) -> None:
    await chat.say(question)
    await (await chat.model.next_request()).answer(reply)
    await chat.wait_until_idle()


async def open_run(chat: Chat) -> None:
    """Open the page of the last answer's run."""
    await chat.page.get_by_role("link", name="Steps and times of this answer").last.click()
    await expect(chat.page.get_by_role("heading", name="Steps of an answer")).to_be_visible()


@pytest.mark.slow
async def test_the_steps_of_an_answer_are_shown_and_lead_back_to_the_chat(chat: Chat) -> None:
    await answer(chat, "How do tides work?", "The moon pulls.")
    await open_run(chat)

    await expect(chat.page.locator(".step-name")).to_have_text(["Waiting for a worker", "Reply 1"])
    await expect(chat.page.locator(".facts")).to_contain_text("completed")
    await expect(chat.page.locator(".step-details")).to_contain_text("15 characters")
    await chat.page.get_by_role("link", name="Back to the chat").click()
    await chat.sees("The moon pulls.")


@pytest.mark.slow
async def test_two_runs_of_a_chat_are_compared_and_the_comparison_is_an_address(
    chat: Chat,
) -> None:
    await answer(chat, "How do tides work?", "The moon pulls.")
    await answer(chat, "And the sun?", "It pulls too.")
    await open_run(chat)
    await chat.page.get_by_label("Compare with another run of this chat").select_option(index=1)
    await expect(chat.page.get_by_role("heading", name="Two answers compared")).to_be_visible()
    await expect(chat.page.locator("section.run")).to_have_count(2)

    await chat.page.reload()

    await expect(chat.page.locator("section.run")).to_have_count(2)
    await expect(chat.page.locator(".step-details").first).to_contain_text("13 characters")


@pytest.mark.slow
async def test_a_run_that_does_not_exist_is_shown_as_unknown(chat: Chat) -> None:
    await chat.page.goto(f"{chat.up.url}/r/run_none")

    await expect(chat.page.get_by_text("There is no such run, or it is not yours.")).to_be_visible()
