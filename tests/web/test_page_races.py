"""Answers to requests of the page that come late, or in another order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from playwright.async_api import Page, Route, expect

from tests.support.terminal.model import Reply
from tests.support.web.chats import PAINTED, Chat, as_shown

HISTORY = "**/api/threads/*/messages*"
ENTER_OF_AN_INPUT_METHOD = """field => field.dispatchEvent(new KeyboardEvent("keydown",
  { key: "Enter", keyCode: 229, bubbles: true, cancelable: true }))"""
"""Safari marks such a key by its number alone. True if the page leaves the key to the browser."""
STORAGE_IS_FULL = """() => {
  const store = Storage.prototype.setItem;
  Storage.prototype.setItem = function (name, value) {
    if (this === localStorage) throw new DOMException("full", "QuotaExceededError");
    store.call(this, name, value);
  };
}"""


class HeldResponse:
    """Response that the server has sent, and the page has not received."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.is_let_through = asyncio.Event()
        self.was_handed_over = asyncio.Event()

    async def hand_over(self) -> None:
        """Let the page have the response, and wait until the page is drawn."""
        self.is_let_through.set()
        await self.was_handed_over.wait()
        await self._page.evaluate(PAINTED)


class HeldResponses:
    """Responses that are held, in the order in which the server has made them."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._fetched: asyncio.Queue[HeldResponse] = asyncio.Queue()
        self._responses: list[HeldResponse] = []
        self._is_holding = True

    async def next(self) -> HeldResponse:
        return await self._fetched.get()

    async def take(self, route: Route) -> None:
        if not self._is_holding:
            await route.fallback()
            return
        held_response = HeldResponse(self._page)
        self._responses.append(held_response)
        response = await route.fetch()
        self._fetched.put_nowait(held_response)
        await held_response.is_let_through.wait()
        async with self._page.expect_event(
            "requestfinished", lambda request: request == route.request
        ):
            await route.fulfill(response=response)
        held_response.was_handed_over.set()

    def let_through(self) -> None:
        """Let all responses through."""
        self._is_holding = False
        for held_response in self._responses:
            held_response.is_let_through.set()


@asynccontextmanager
async def hold_responses(chat: Chat, pattern: str = HISTORY) -> AsyncIterator[HeldResponses]:
    """Hold the responses to the page at this address, by default the messages of a thread."""
    responses = HeldResponses(chat.page)
    await chat.page.route(pattern, responses.take)
    try:
        yield responses
    finally:
        responses.let_through()


@asynccontextmanager
async def refuse_history(
    chat: Chat, refuse: Callable[[Route], Awaitable[None]]
) -> AsyncIterator[None]:
    """Answer requests for messages with `refuse` in the block, and let them pass after it.

    The route stays: the browser loses requests that are sent in the moment a route ends.
    """
    is_refused = True

    async def take(route: Route) -> None:
        await (refuse(route) if is_refused else route.fallback())

    await chat.page.route(HISTORY, take)
    yield
    is_refused = False


async def ask_and_hold(chat: Chat, question: str) -> Reply:
    await chat.say(question)
    return await chat.model.next_request()


async def check_shown(chat: Chat, *texts: str) -> None:
    """Check that the page shows these messages once each, and the server has them."""
    await chat.wait_until_idle()
    await expect(chat.page.locator(".message")).to_have_count(len(texts))
    stored_messages = as_shown(await chat.fetch_messages())

    assert [text for _, text in stored_messages] == list(texts)
    assert await chat.read_messages() == stored_messages


async def test_a_history_that_was_read_before_an_answer_does_not_remove_it(chat: Chat) -> None:
    async with hold_responses(chat) as history:
        await (await ask_and_hold(chat, "One")).answer("First")
        oldest = await history.next()
        await chat.wait_until_idle()
        await (await ask_and_hold(chat, "Two")).answer("Second")
        newest = await history.next()
        await chat.wait_until_idle()
        for response in (newest, oldest):
            await response.hand_over()
            texts = [text for _, text in await chat.read_messages()]
            assert texts == ["One", "First", "Two", "Second"]
        history.let_through()

    await check_shown(chat, "One", "First", "Two", "Second")


async def test_instructions_that_are_changed_during_an_answer_stay_changed(chat: Chat) -> None:
    reply = await ask_and_hold(chat, "One")
    await reply.say("Fir")
    await chat.sees("Fir")
    await set_instructions(chat, "Speak in verse.")
    await reply.answer("st")
    await chat.sees("First")
    await chat.wait_until_idle()
    async with chat.page.expect_response(HISTORY):
        await chat.page.evaluate("window.dispatchEvent(new Event('focus'))")
    reply = await ask_and_hold(chat, "Two")
    await reply.answer("Second")

    assert reply.messages[0] == {"role": "system", "content": "Speak in verse."}


async def set_instructions(chat: Chat, text: str) -> None:
    await chat.page.get_by_role("button", name="Give this chat instructions").click()
    await chat.page.get_by_label("What should the model keep in mind?").fill(text)
    await chat.page.get_by_role("dialog").get_by_role("button", name="Save").click()


async def test_a_message_whose_chat_is_left_before_it_is_taken_is_seen_once_on_coming_back(
    chat: Chat,
) -> None:
    await (await ask_and_hold(chat, "One")).answer("First")
    await chat.wait_until_idle()
    thread = chat.thread
    has_arrived = asyncio.Event()
    release = asyncio.Event()

    async def lose_answer(route: Route) -> None:
        if not has_arrived.is_set():
            has_arrived.set()
            await route.fetch(headers=await route.request.all_headers())
        else:
            await release.wait()
            await route.continue_()

    await chat.page.route("**/api/messages/process*", lose_answer)
    reply = await ask_and_hold(chat, "Two")
    await chat.page.get_by_role("button", name="New chat").first.click()
    await expect(chat.page.locator(".message")).to_have_count(0)
    await chat.page.locator(f".thread a[href='/t/{thread}']").click()
    await chat.sees("First")
    await expect(chat.asked).to_have_count(2)
    release.set()
    await reply.answer("Second")
    await chat.sees("Second")

    await check_shown(chat, "One", "First", "Two", "Second")


async def test_a_chat_that_could_not_be_read_is_shown_once_it_can_be(chat: Chat) -> None:
    await (await ask_and_hold(chat, "One")).answer("First")
    await chat.wait_until_idle()
    alert = chat.page.locator(".messages").get_by_role("alert")
    async with refuse_history(chat, lambda route: route.abort()):
        await chat.page.reload()
        await expect(alert).to_contain_text("cannot be reached")
        await chat.composer.fill("Two")
        await chat.composer.press("Enter")
    await chat.page.evaluate("setInterval(() => window.dispatchEvent(new Event('focus')), 1000)")
    await (await chat.model.next_request()).answer("Second")
    await chat.sees("Second")

    await expect(alert).to_have_count(0)
    await check_shown(chat, "One", "First", "Two", "Second")


async def test_a_chat_that_a_busy_server_did_not_give_is_shown_once_it_does(chat: Chat) -> None:
    await (await ask_and_hold(chat, "One")).answer("First")
    await chat.wait_until_idle()
    busy = {"code": "unavailable", "title": "The server is busy."}
    alert = chat.page.locator(".messages").get_by_role("alert")
    async with refuse_history(chat, lambda route: route.fulfill(status=503, json=busy)):
        await chat.page.reload()
        await expect(alert).to_be_visible()
    await chat.page.evaluate("dispatchEvent(new Event('focus')), 0")

    await expect(alert).to_have_count(0)
    await check_shown(chat, "One", "First")


async def test_the_note_of_a_chat_that_stays_busy_is_not_announced_again(chat: Chat) -> None:
    await (await ask_and_hold(chat, "One")).answer("First")
    await chat.wait_until_idle()
    busy = {"code": "unavailable", "title": "The server is busy."}
    await chat.page.route(HISTORY, lambda route: route.fulfill(status=503, json=busy))
    await chat.page.reload()
    alert = chat.page.locator(".messages").get_by_role("alert")
    await alert.evaluate("(note) => note.dataset.first = 'yes'")
    async with chat.page.expect_response(lambda answer: answer.status == 503):
        await chat.page.evaluate("dispatchEvent(new Event('focus')), 0")
    async with chat.page.expect_response(lambda answer: answer.status == 503):
        await chat.page.evaluate("dispatchEvent(new Event('focus')), 0")

    await expect(alert).to_have_attribute("data-first", "yes")


async def test_text_for_a_chat_that_does_not_exist_goes_into_a_new_one(chat: Chat) -> None:
    async with hold_responses(chat, HISTORY) as histories:
        await chat.page.goto(f"{chat.up.url}/t/thread_gone")
        await chat.composer.fill("Kept words")
        await chat.composer.press("Enter")
        await histories.next()
    await expect(chat.page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    await chat.page.reload()
    await chat.page.get_by_role("button", name="Put it into a new chat").click()

    await expect(chat.composer).to_have_value("Kept words")
    await chat.page.goto(f"{chat.up.url}/t/thread_gone")
    await expect(chat.page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    await expect(chat.page.get_by_role("button", name="Put it into a new chat")).to_have_count(0)
    await chat.open()
    await expect(chat.composer).to_have_value("Kept words")


async def test_the_note_that_messages_could_not_be_read_again_goes_once_they_can_be(
    chat: Chat,
) -> None:
    reply = await ask_and_hold(chat, "One")
    await reply.say("Fir")
    await chat.sees("Fir")
    alert = chat.page.locator(".messages").get_by_role("alert")
    async with refuse_history(chat, lambda route: route.abort()):
        await reply.answer("st")
        await expect(alert).to_contain_text("cannot be reached")
    await chat.page.evaluate("dispatchEvent(new Event('focus')), 0")

    await expect(alert).to_have_count(0)
    await check_shown(chat, "One", "First")


async def test_a_list_of_chats_that_is_older_than_the_one_in_view_is_not_shown(chat: Chat) -> None:
    spinner = chat.page.locator(".sidebar .spinner")
    async with hold_responses(chat, "**/api/threads?*") as lists:
        reply = await ask_and_hold(chat, "One")
        older = await lists.next()
        await reply.answer("First")
        newer = await lists.next()
        await newer.hand_over()
        await expect(chat.page.locator(".thread")).to_have_count(1)
        assert await spinner.count() == 0
        await older.hand_over()
        assert await spinner.count() == 0


async def test_a_message_of_a_temporary_chat_that_is_written_before_the_page_is_ready_is_sent(
    chat: Chat,
) -> None:
    async with hold_responses(chat, "**/api/me") as responses:
        await chat.page.reload()
        response = await responses.next()
        await chat.page.get_by_role("checkbox", name="Temporary chat").check()
        await chat.say("One")
        await response.hand_over()
        responses.let_through()
        await (await chat.model.next_request()).answer("First")
        await chat.sees("First")

    await expect(chat.page.locator(".temporary-mark")).to_be_visible()
    await expect(chat.page.locator(".thread")).to_have_count(0)
    await check_shown(chat, "One", "First")


async def test_a_message_that_the_browser_does_not_store_is_sent_once_the_page_is_ready(
    chat: Chat,
) -> None:
    async with hold_responses(chat, "**/api/me") as responses:
        await chat.page.reload()
        await responses.next()
        await chat.page.evaluate(STORAGE_IS_FULL)
        await chat.say("One")
        responses.let_through()
        await (await chat.model.next_request()).answer("First")
        await chat.sees("First")

    await check_shown(chat, "One", "First")


async def test_a_chat_that_is_made_temporary_before_the_page_is_ready_stays_temporary(
    chat: Chat,
) -> None:
    async with hold_responses(chat, "**/api/me") as responses:
        await chat.page.reload()
        response = await responses.next()
        await chat.page.get_by_role("checkbox", name="Temporary chat").check()
        await response.hand_over()

    await expect(chat.page.locator(".composer")).to_have_attribute("aria-busy", "false")
    await expect(chat.page.locator(".temporary-mark")).to_be_visible()


async def test_a_question_that_is_edited_is_sent_once_however_often_enter_is_pressed(
    chat: Chat,
) -> None:
    await (await ask_and_hold(chat, "One")).answer("First")
    await chat.wait_until_idle()
    await chat.composer.press("ArrowUp")
    editor = chat.page.locator(".rewrite textarea")
    await editor.fill("Two")
    async with hold_responses(chat, "**/api/threads/*/branch") as branches:
        await editor.press("Enter")
        branch = await branches.next()
        await editor.press("Enter")
        branches.let_through()
        await branch.was_handed_over.wait()
        await (await chat.model.next_request()).answer("Second")
        await chat.sees("Second")

    await check_shown(chat, "Two", "Second")
    await expect(chat.page.locator(".thread")).to_have_count(1)


async def test_an_enter_of_an_input_method_does_not_send_an_edited_question(chat: Chat) -> None:
    await (await ask_and_hold(chat, "One")).answer("First")
    await chat.wait_until_idle()
    await chat.composer.press("ArrowUp")
    editor = chat.page.locator(".rewrite textarea")
    is_left_to_browser = await editor.evaluate(ENTER_OF_AN_INPUT_METHOD)

    assert is_left_to_browser
    await expect(editor).to_have_value("One")


async def test_a_held_message_can_be_sent_again_after_an_upload_that_came_between(
    chat: Chat,
) -> None:
    await (await ask_and_hold(chat, "One")).answer("First")
    await chat.wait_until_idle()
    async with hold_responses(chat) as history, hold_responses(chat, "**/api/files") as files:
        await chat.page.reload()
        messages = await history.next()
        await chat.say("Two")
        await chat.page.locator(".composer input[type=file]").set_input_files(
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"Notes"}
        )
        file = await files.next()
        history.let_through()
        await messages.was_handed_over.wait()
        await chat.sees("First")
        await expect(chat.page.locator(".toast")).to_be_visible()
        await file.hand_over()
        await chat.page.get_by_role("button", name="Send").click()
        await (await chat.model.next_request()).answer("Second")
        await chat.sees("Second")

    await check_shown(chat, "One", "First", "Two", "Second")
