"""Long threads, long messages and long answers, in the time that a person has."""

from __future__ import annotations

import time
from hashlib import sha256

import pytest
from playwright.async_api import expect

from tests.support.web.chats import Chat

BOOK = "".join(f"Line {number} of a book that somebody pastes.\n" for number in range(4000))


async def _create_long_thread(chat: Chat, count: int) -> str:
    """Create a thread of so many messages; return its id."""
    post = chat.context.request.post
    thread = (await (await post(f"{chat.up.url}/v1/threads", data={})).json())["id"]
    for number in range(count):
        message = {"thread_id": thread, "role": "user", "content": f"Message {number}. " * 20}
        assert (await post(f"{chat.up.url}/v1/messages", data=message)).ok
    return thread


@pytest.mark.slow
async def test_a_long_thread_opens_at_its_end_and_more_comes_when_one_goes_up(chat: Chat) -> None:
    thread = await _create_long_thread(chat, 100)
    await chat.open(f"/t/{thread}")
    await chat.sees("Message 99.")
    assert await chat.asked.count() == 40
    for count in (80, 100):
        await chat.asked.first.scroll_into_view_if_needed()
        await expect(chat.asked).to_have_count(count)

    await expect(chat.asked.first).to_contain_text("Message 0.")
    await expect(chat.page.locator(".earlier")).to_have_count(0)


@pytest.mark.slow
async def test_a_pasted_book_is_sent_whole_and_shown_in_part(chat: Chat) -> None:
    chat.model.will_say("Read.")
    await chat.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await chat.page.evaluate("text => navigator.clipboard.writeText(text)", BOOK)
    await chat.composer.press("Control+v")
    await chat.composer.press("Enter")
    await chat.sees("Read.")
    await chat.wait_until_idle()
    drawn_text = await chat.asked.first.inner_text()
    sent_text = chat.model.requests[0]["messages"][-1]["content"]

    assert len(sent_text) == len(BOOK)
    assert sha256(sent_text.encode()).digest() == sha256(BOOK.encode()).digest()
    assert len(drawn_text) < 5000


@pytest.mark.slow
@pytest.mark.soak
async def test_a_thread_of_a_thousand_messages_opens_within_a_second(chat: Chat) -> None:
    thread = await _create_long_thread(chat, 1000)
    await chat.open("/")
    start = time.perf_counter()
    await chat.page.goto(f"{chat.up.url}/t/{thread}")
    await chat.sees("Message 999.")

    assert time.perf_counter() - start < 1


@pytest.mark.slow
@pytest.mark.soak
async def test_a_key_is_seen_within_a_frame_however_much_there_is(chat: Chat) -> None:
    thread = await _create_long_thread(chat, 400)
    await chat.open(f"/t/{thread}")
    await chat.sees("Message 399.")
    for count in range(80, 401, 40):
        await chat.asked.first.scroll_into_view_if_needed()
        await expect(chat.asked).to_have_count(count)
    milliseconds = await chat.page.evaluate(MEASURE_TYPING)

    # The median, for other programs take their time of the processor too.
    assert sorted(milliseconds)[len(milliseconds) // 2] < 16, milliseconds


MEASURE_TYPING = """async () => {
  const composer = document.getElementById("composer");
  composer.value = "some words of a line\\n".repeat(8000);
  composer.focus();
  const spent = [];
  for (let key = 0; key < 30; key += 1) {
    const before = performance.now();
    document.execCommand("insertText", false, "x");
    composer.getBoundingClientRect();
    spent.push(performance.now() - before);
    await new Promise(requestAnimationFrame);
  }
  return spent;
}"""
