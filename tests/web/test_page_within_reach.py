"""The page without a mouse, at any size, and while the server is away."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.support.web.chats import Chat


async def test_a_server_that_is_gone_is_noticed_without_a_request_and_so_is_its_return(
    chat: Chat,
) -> None:
    await chat.exchange("Hello", "Hi.")
    await chat.up.kill()

    await expect(chat.page.locator(".away")).to_contain_text("The server does not answer")
    await chat.up.begin()

    await expect(chat.page.locator(".away")).to_have_count(0)
    await expect(chat.page.locator("[data-announced=status]")).to_contain_text("answers again")


async def test_no_request_that_checks_the_server_waits_for_its_time_limit(chat: Chat) -> None:
    # At its limit a request is cancelled, which is another event.
    async with chat.page.expect_event(
        "requestfinished", lambda request: request.url.endswith("/healthz")
    ):
        pass


@pytest.mark.slow
async def test_the_focus_stays_on_the_arrows_between_two_versions(chat: Chat) -> None:
    await chat.exchange("Hello", "First.")
    await chat.page.get_by_role("button", name="Answer again").click()
    reply = await chat.model.next_request()
    await reply.answer("Second.")
    await chat.sees("Second.")
    await chat.wait_until_idle()

    await chat.page.get_by_role("button", name="Previous version").press("Enter")
    await chat.sees("First.")
    await expect(chat.page.get_by_role("button", name="Next version")).to_be_focused()

    await chat.page.keyboard.press("Enter")
    await chat.sees("Second.")
    await expect(chat.page.get_by_role("button", name="Previous version")).to_be_focused()


@pytest.mark.slow
async def test_a_chat_keeps_its_heading_while_it_is_answered_again(chat: Chat) -> None:
    await chat.exchange("Tell me of whales", "First.")
    heading = chat.page.locator("h1.topbar-title")
    await expect(heading).to_have_text("Tell me of whales")

    await chat.page.get_by_role("button", name="Answer again").click()
    reply = await chat.model.next_request()

    await expect(heading).to_have_text("Tell me of whales")
    await expect(chat.page).to_have_title("… Tell me of whales – Antiphon")
    await reply.answer("Second.")
    await chat.wait_until_idle()
    await expect(heading).to_have_text("Tell me of whales")


@pytest.mark.slow
async def test_the_usage_of_an_answer_is_opened_with_the_keyboard(chat: Chat) -> None:
    await chat.exchange("Hello", "Hi.")

    usage = chat.answers.locator("button.usage")
    await usage.press("Enter")

    await expect(usage.locator(".usage-details")).to_contain_text("10 tokens in")
    await usage.press("Enter")
    await expect(usage.locator(".usage-details")).to_have_count(0)


@pytest.mark.slow
async def test_threads_that_are_found_are_reached_by_arrows(chat: Chat) -> None:
    for topic in ("whales", "rivers"):
        await chat.exchange(f"Tell me of {topic}", f"All about {topic}.")
        await chat.page.get_by_role("button", name="New chat").click()
    await expect(chat.page.locator(".thread")).to_have_count(2)

    await chat.page.locator("input[type=search]").press("ArrowDown")
    await chat.page.keyboard.press("ArrowDown")
    await expect(chat.page.locator(".thread > a").nth(1)).to_be_focused()
    await chat.page.keyboard.press("ArrowUp")
    await chat.page.keyboard.press("ArrowUp")

    await expect(chat.page.locator("input[type=search]")).to_be_focused()


@pytest.mark.slow
async def test_at_four_times_the_size_most_of_the_window_is_the_conversation(chat: Chat) -> None:
    await chat.exchange("Hello", "Hi.")
    await chat.page.set_viewport_size({"width": 320, "height": 256})

    conversation = await chat.page.locator("#conversation").bounding_box()
    assert conversation is not None
    assert conversation["height"] > 256 / 2
    width = "document.documentElement.scrollWidth"
    assert await chat.page.evaluate(width) <= 320
    await expect(chat.page.locator(".picker")).to_be_hidden()
    await chat.page.get_by_role("button", name="Attach files").focus()
    await chat.page.keyboard.press("Shift+Tab")
    await chat.page.keyboard.press("Tab")
    await expect(chat.page.locator(".picker")).to_be_visible()
    await chat.page.keyboard.press("Tab")
    await expect(chat.page.get_by_role("button", name="Model: told (default)")).to_be_focused()
    await chat.page.keyboard.press("Enter")
    await expect(chat.page.get_by_role("combobox", name="Search models")).to_be_focused()
