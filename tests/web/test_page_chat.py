"""A conversation in the page: messages are sent, answered, stopped and edited."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Route, expect

from tests.support.web.chats import Chat, as_shown


async def test_an_answer_is_seen_as_it_is_written(chat: Chat) -> None:
    await chat.say("Hello")
    reply = await chat.model.next_request()
    await reply.say("Hi ")
    await chat.sees("Hi")
    await reply.answer("there.")
    await chat.wait_until_idle()

    assert await chat.read_messages() == [["user", "Hello"], ["assistant", "Hi there."]]


async def test_shift_enter_begins_a_line_and_ctrl_enter_sends(chat: Chat) -> None:
    chat.model.will_say("Seen.")
    await chat.composer.press_sequentially("one")
    await chat.composer.press("Shift+Enter")
    await chat.composer.press_sequentially("two")
    await chat.composer.press("Control+Enter")
    await chat.sees("Seen.")

    assert chat.model.requests[0]["messages"][-1]["content"] == "one\ntwo"
    assert await chat.composer.input_value() == ""


async def test_a_message_that_is_written_meanwhile_waits_and_is_sent(chat: Chat) -> None:
    await chat.say("One")
    reply = await chat.model.next_request()
    await reply.say("First")
    await chat.sees("First")
    await chat.say("Two")
    await expect(chat.asked.nth(1)).to_contain_text("Will be sent")
    await reply.end()
    reply = await chat.model.next_request()
    await reply.answer("Second")
    await chat.sees("Second")
    await chat.wait_until_idle()

    assert await chat.read_messages() == as_shown(await chat.fetch_messages())
    assert [text for _, text in await chat.read_messages()] == ["One", "First", "Two", "Second"]


async def test_a_message_that_waits_can_be_taken_back(chat: Chat) -> None:
    await chat.say("One")
    reply = await chat.model.next_request()
    await reply.say("First")
    await chat.sees("First")
    await chat.say("Two")
    await chat.say("Three")
    await chat.asked.nth(1).get_by_role("button", name="Remove").click()
    await chat.asked.nth(1).get_by_role("button", name="Edit").click()
    await expect(chat.composer).to_have_value("Three")
    await expect(chat.asked).to_have_count(1)
    await reply.end()
    await chat.wait_until_idle()

    assert len(chat.model.requests) == 1


async def test_a_stop_ends_the_work_and_is_shown_once_it_has_ended(chat: Chat) -> None:
    await chat.say("One")
    reply = await chat.model.next_request()
    await reply.say("It begins")
    await chat.sees("It begins")
    await chat.page.get_by_role("button", name="Stop the answer").click()
    await asyncio.wait_for(reply.closed.wait(), 60)
    await chat.sees("Stopped")
    await chat.wait_until_idle()
    [_, answer] = await chat.fetch_messages()

    assert answer["metadata"]["status"] == "cancelled"
    assert await chat.read_messages() == [["user", "One"], ["assistant", "It begins"]]


async def test_a_stop_works_after_a_reload_of_the_page(chat: Chat) -> None:
    await chat.say("One")
    reply = await chat.model.next_request()
    await reply.say("It begins")
    await chat.sees("It begins")
    await chat.page.reload()
    await chat.sees("It begins")
    await chat.page.keyboard.press("Escape")
    await asyncio.wait_for(reply.closed.wait(), 60)

    await chat.sees("Stopped")


async def test_another_answer_stands_beside_the_first(chat: Chat) -> None:
    chat.model.will_say("First", "Second")
    await chat.say("One")
    await chat.sees("First")
    await chat.wait_until_idle()
    first = chat.thread
    await chat.page.get_by_role("button", name="Answer again").click()
    await chat.sees("Second")
    await chat.wait_until_idle()
    assert chat.thread != first
    await expect(chat.page.locator(".branches")).to_contain_text("2/2")
    await chat.page.get_by_role("button", name="Previous version").click()
    await chat.sees("First")

    await expect(chat.page.locator(".branches")).to_contain_text("1/2")
    assert chat.thread == first


async def test_a_message_can_be_edited_and_sent_again(chat: Chat) -> None:
    chat.model.will_say("First", "Second", "Anew")
    await chat.say("One")
    await chat.sees("First")
    await chat.wait_until_idle()
    await chat.say("Two")
    await chat.sees("Second")
    await chat.wait_until_idle()
    await chat.composer.press("ArrowUp")
    editor = chat.page.locator(".rewrite textarea")
    await expect(editor).to_be_focused()  # by then its cursor is at the end, and stays there
    await editor.fill("Three")
    await editor.press("Enter")
    await chat.sees("Anew")
    await chat.wait_until_idle()

    assert [text for _, text in await chat.read_messages()] == ["One", "First", "Three", "Anew"]
    assert await chat.read_messages() == as_shown(await chat.fetch_messages())
    await expect(chat.page.locator(".branches")).to_contain_text("2/2")


async def test_an_answer_that_failed_says_why_and_can_be_asked_for_again(chat: Chat) -> None:
    await chat.say("One")
    await (await chat.model.next_request()).refuse(400, "no such thing")
    await chat.sees("no such thing")
    await chat.wait_until_idle()
    chat.model.will_say("Now it goes.")
    await chat.page.get_by_role("button", name="Try again").click()
    await chat.sees("Now it goes.")
    await chat.wait_until_idle()

    assert await chat.read_messages() == [["user", "One"], ["assistant", "Now it goes."]]


async def test_a_draft_outlives_the_page_and_belongs_to_its_thread(chat: Chat) -> None:
    chat.model.will_say("First")
    await chat.say("One")
    await chat.sees("First")
    await chat.wait_until_idle()
    await chat.composer.press_sequentially("not yet")
    await chat.page.reload()
    await expect(chat.composer).to_have_value("not yet")
    await chat.open("/")
    await expect(chat.composer).to_have_value("")
    await chat.page.go_back(wait_until="commit")

    await expect(chat.composer).to_have_value("not yet")


async def test_what_is_written_before_the_user_is_known_follows_their_draft(chat: Chat) -> None:
    await chat.composer.press_sequentially("kept")
    await chat.wait_until("() => JSON.stringify(localStorage).includes('kept')")
    release = asyncio.Event()

    async def answer_late(route: Route) -> None:
        await release.wait()
        await route.continue_()

    await chat.page.route("**/api/me", answer_late)
    await chat.page.reload()
    await chat.composer.press_sequentially("early")
    await chat.composer.press("Enter")
    file = {"name": "early.txt", "mimeType": "text/plain", "buffer": b"Soon."}
    await chat.page.locator(".composer input[type=file]").set_input_files(file)
    await expect(chat.page.locator(".attachment")).to_have_count(1)
    release.set()

    await expect(chat.composer).to_have_value("kept\nearly")
    await expect(chat.page.locator(".attachment")).to_have_attribute("data-state", "ready")
    await expect(chat.page.locator(".attachment")).to_contain_text("early.txt")


async def test_what_is_typed_while_a_chat_begins_stays(chat: Chat) -> None:
    await chat.say("One")
    await chat.composer.press_sequentially("more")
    reply = await chat.model.next_request()
    await reply.answer("First")
    await chat.sees("First")

    await expect(chat.composer).to_have_value("more")
    await expect(chat.composer).to_be_focused()


async def test_a_refused_message_stays_with_the_reason_and_is_sent_again_once(chat: Chat) -> None:
    refusal = {"type": "about:blank", "title": "No", "status": 422, "code": "invalid_request"}

    async def refuse(route: Route) -> None:
        await route.fulfill(status=422, json={**refusal, "detail": "Not on Sundays."})

    await chat.page.route("**/api/messages/process*", refuse)
    await chat.say("One")
    await chat.sees("Not on Sundays.")
    await chat.page.reload()
    await chat.sees("Not on Sundays.")
    await chat.page.unroute("**/api/messages/process*")
    chat.model.will_say("First")
    await chat.page.get_by_role("button", name="Try again").click()
    await chat.sees("First")
    await chat.wait_until_idle()

    assert await chat.read_messages() == [["user", "One"], ["assistant", "First"]]


@pytest.mark.slow
async def test_the_document_has_the_title_of_its_thread(chat: Chat) -> None:
    chat.model.will_say("First")
    await chat.say("The tides of Brest")
    await chat.wait_until_idle()

    await expect(chat.page).to_have_title(re.compile("The tides of Brest"))


async def test_typing_draws_nothing_again(chat: Chat) -> None:
    chat.model.will_say("First")
    await chat.say("One")
    await chat.wait_until_idle()
    await expect(chat.page.locator(".topbar")).to_contain_text("15 tokens")
    await expect(chat.page.locator(".message.assistant")).to_contain_text("15 tokens")
    stored_message = chat.page.locator('.message.user[data-message^="msg_"][data-status="sent"]')
    await expect(stored_message).to_have_count(1)
    await chat.composer.press_sequentially("a")
    await expect(chat.page.locator("button.send")).to_be_enabled()
    await chat.page.evaluate(
        """() => { window.drawn = []; new MutationObserver((all) => window.drawn.push(
            ...all.map(({ type, target }) => `${type}: ${(target.outerHTML ?? target.data)}`)))
          .observe(document.querySelector("main"),
            {subtree: true, childList: true, attributes: true, characterData: true}); }"""
    )
    await chat.composer.press_sequentially("bcdefghijk")

    assert await chat.page.evaluate("window.drawn") == []


async def test_a_thread_that_does_not_exist_is_shown_as_missing(chat: Chat) -> None:
    await chat.page.goto(f"{chat.up.url}/t/thread_of_nobody")

    await expect(chat.page.locator(".lost")).to_be_visible()


async def test_the_page_is_two_modules_and_names_them_with_the_libraries_they_need(
    chat: Chat,
) -> None:
    loaded_modules, named_modules, main_module = await chat.page.evaluate(
        """() => [
          performance.getEntriesByType("resource").map((entry) => entry.name)
            .filter((name) => name.endsWith(".mjs")),
          [...document.querySelectorAll("link[rel=modulepreload]")].map((link) => link.href),
          document.querySelector("script[type=module]").src,
        ]"""
    )

    libraries = {name for name in loaded_modules if "/vendor/" in name}
    bundles = {name for name in loaded_modules if "/bundle-" in name}
    assert {*loaded_modules} == {main_module, *libraries, *bundles}
    assert {name.rpartition("/")[2] for name in {*named_modules} - libraries} == {
        "bundle-ui-message.mjs"
    }
    assert {*named_modules} <= {*loaded_modules}
