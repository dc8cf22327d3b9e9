"""Views whose modules are loaded when they are opened."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Route, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.chats import Chat

SHORT_WAIT = """{
  const wait = window.setTimeout;
  window.setTimeout = (run, ms, ...more) => wait(run, ms === 20_000 ? 200 : ms, ...more);
}"""
"""Makes timers of twenty seconds fire after 200 milliseconds."""


async def open_busy_tab(chat: Chat) -> Chat:
    """Open a tab whose page is never idle, so that it loads no view before the view is opened."""
    tab = Chat(chat.up, chat.model, chat.context, await chat.context.new_page())
    tab.faults = chat.faults
    await tab.page.add_init_script("window.requestIdleCallback = () => 0")
    return tab


@pytest.mark.slow
async def test_a_dialog_that_cannot_be_loaded_says_so_and_opens_when_it_can(
    chat: Chat, axe: str
) -> None:
    page = (await open_busy_tab(chat)).page
    await chat.context.route("**/bundle-ui-settings.mjs*", lambda route: route.abort())
    await page.goto(chat.up.url)
    await page.get_by_label("Message", exact=True).fill("half a sentence")
    await page.get_by_role("button", name="Settings").click()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("could not be loaded")
    violations = await findings(page, axe)

    await alert.get_by_role("button", name="Close").click()
    await expect(alert).to_have_count(0)
    async with page.expect_event("requestfailed", lambda failed: "settings" in failed.url):
        await page.get_by_role("button", name="Settings").click()
    await expect(alert).to_contain_text("could not be loaded")
    await chat.context.unroute("**/bundle-ui-settings.mjs*")
    await alert.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    assert await page.evaluate("document.activeElement.closest('dialog') !== null")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_label("Message", exact=True)).to_have_value("half a sentence")
    assert violations == []


async def test_esc_closes_a_dialog_that_is_still_loading_before_it_stops_an_answer(
    chat: Chat,
) -> None:
    tab = await open_busy_tab(chat)
    wanted, may_come = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        wanted.set()
        await may_come.wait()
        await route.continue_()

    await tab.page.route("**/bundle-ui-help.mjs*", hold)
    await tab.page.goto(chat.up.url)
    await tab.say("Tell me.")
    reply = await chat.model.next_request()
    await reply.say("It is ")
    await tab.sees("It is")
    await tab.page.keyboard.press("Control+/")
    await expect(tab.page.locator(".later-over")).to_be_visible()
    await wanted.wait()
    await tab.page.keyboard.press("Escape")
    await expect(tab.page.locator(".later-over")).to_have_count(0)
    await reply.answer("so.")
    await tab.sees("It is so.")
    await tab.wait_until_idle()
    async with tab.page.expect_response("**/bundle-ui-help.mjs*"):
        may_come.set()

    await expect(tab.answers).to_have_attribute("data-status", "completed")
    await expect(tab.page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.slow
async def test_a_view_that_cannot_be_loaded_leaves_the_rest_of_the_page_usable(
    chat: Chat, axe: str
) -> None:
    tab = await open_busy_tab(chat)
    page = tab.page
    await chat.context.route("**/bundle-ui-assistants.mjs*", lambda route: route.abort())
    await page.goto(chat.up.url)
    await page.get_by_role("link", name="Assistants").click()
    await expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("updated")
    violations = await findings(page, axe)

    await page.get_by_role("button", name="New chat").first.click()
    await tab.say("Hello")
    await (await chat.model.next_request()).answer("Good day.")
    await tab.wait_until_idle()
    await chat.context.unroute("**/bundle-ui-assistants.mjs*")
    await page.get_by_role("link", name="Assistants").click()
    await expect(page.get_by_role("heading", name="Assistants")).to_be_visible()
    assert violations == []


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["bundle-ui-message.mjs", "vendor/marked.mjs"])
async def test_messages_whose_views_cannot_be_loaded_say_so_until_they_can(
    chat: Chat, missing: str
) -> None:
    page = chat.page
    await chat.say("Hello")
    await (await chat.model.next_request()).answer("Good **day**.")
    await chat.wait_until_idle()
    is_refused = True

    async def refuse(route: Route) -> None:
        await (route.abort() if is_refused else route.fallback())

    # The route stays: the browser loses requests that are sent in the moment a route ends.
    await chat.context.route(f"**/{missing}*", refuse)
    await page.reload()
    alert = page.locator(".messages").get_by_role("alert")
    await expect(alert.first).to_contain_text("could not be loaded")

    is_refused = False
    try_again = "() => document.querySelector('.messages [role=alert] button')?.click()"
    while await alert.count():  # the question has views of its own, and so has the answer
        await page.evaluate(try_again)
    await expect(page.locator(".message.assistant strong")).to_have_text("day")
    # Other views need other modules.
    await page.get_by_role("button", name="Settings").click()
    await expect(page.get_by_role("dialog", name="Settings")).to_be_visible()


@pytest.mark.slow
async def test_views_of_messages_that_do_not_come_are_reported_and_shown_when_they_do(
    chat: Chat,
) -> None:
    await chat.say("Hello")
    await (await chat.model.next_request()).answer("Good **day**.")
    await chat.wait_until_idle()
    release = asyncio.Event()

    async def hold(route: Route) -> None:
        await release.wait()
        await route.continue_()

    await chat.context.route("**/bundle-ui-message.mjs*", hold)
    tab = Chat(chat.up, chat.model, chat.context, await chat.context.new_page())
    await tab.page.add_init_script(SHORT_WAIT)
    await tab.page.goto(f"{chat.up.url}/t/{chat.thread}")
    alert = tab.page.locator(".messages").get_by_role("alert")
    await expect(alert.first).to_contain_text("has not come yet")
    await expect(alert.first.get_by_role("button")).to_have_text(["Load anew"])
    release.set()

    await expect(tab.page.locator(".message.assistant strong")).to_have_text("day")
    await expect(alert).to_have_count(0)
    await chat.context.unroute("**/bundle-ui-message.mjs*")


@pytest.mark.slow
async def test_an_idle_page_loads_what_may_be_opened_next(chat: Chat) -> None:
    await chat.page.reload()
    await chat.wait_until(
        """() => performance.getEntriesByType("resource")
          .some(({ name }) => name.endsWith("/bundle-ui-run.mjs"))"""
    )
    loaded_names = await chat.page.evaluate(
        """() => performance.getEntriesByType("resource").map(({ name }) => name)"""
    )

    assert not any(name.endswith("/bundle-ui-admin.mjs") for name in loaded_names)
