"""A session that another tab has renewed: the page goes on with it."""

from __future__ import annotations

import asyncio

from playwright.async_api import Route, expect

from tests.support.web.chats import Chat


async def test_a_tab_goes_on_with_the_session_that_another_tab_has_renewed(chat: Chat) -> None:
    chat.model.will_say("Well.")
    thread = chat.page.locator(".thread", has_text="Hello")
    await chat.say("Hello")
    await chat.sees("Well.")
    await expect(thread).to_be_visible()
    await chat.wait_until_idle()
    was_renewed = asyncio.Event()

    async def hold(route: Route) -> None:
        await was_renewed.wait()
        await route.continue_()

    # The page polls the server, and would notice that it has no session.
    await chat.page.route("**/api/**", hold)
    await chat.context.clear_cookies()
    await chat.tab()
    was_renewed.set()

    await chat.page.bring_to_front()
    await thread.hover()
    await thread.get_by_role("button").click()
    await chat.page.get_by_role("menuitem", name="Rename").click()
    field = chat.page.get_by_role("textbox", name="Title of the chat")
    await field.fill("Another name")
    async with chat.page.expect_response(
        lambda response: response.request.method == "PATCH" and response.ok
    ):
        await field.press("Enter")
    await expect(chat.page.locator(".topbar h1")).to_have_text("Another name")
    await chat.page.reload()

    await expect(chat.page.locator(".thread", has_text="Another name")).to_be_visible()
