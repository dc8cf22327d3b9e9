"""The exact text once, whatever breaks: reloads, tabs, the network, the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect

from tests.support.terminal.model import Reply
from tests.support.web.chats import LOOK, Chat, as_shown, chatting
from tests.support.web.cuttable_line import Line

PIECES = ("It is ", "4·2 — ", "naïve ", "and ", "🙂 exact", ".")
ANSWER = "".join(PIECES)
QUICK = ("--lease-duration", "1", "--heartbeat-interval", "0.2", "--expiry-interval", "0.2")
"""The death of a server is detected soon."""


@pytest_asyncio.fixture(loop_scope="session")
async def page_and_line(chromium: Browser, tmp_path: Path) -> AsyncIterator[tuple[Chat, Line]]:
    """A page behind a line that can be broken."""
    async with (
        chatting(chromium, tmp_path, "--no-servers") as chat,
        Line(chat.up.url) as line,
    ):
        chat.up.url = line.url
        await chat.open()
        await expect(chat.page.locator(".composer")).to_have_attribute("aria-busy", "false")
        yield chat, line


async def _check_exact_text(chat: Chat) -> None:
    """Check that the page shows the stored thread, and the same elements after a reload."""
    await chat.wait_until_idle()
    saved_messages = as_shown(await chat.fetch_messages())
    assert await chat.read_messages() == saved_messages
    answers = await _read_answers(chat)
    await chat.page.reload()
    await expect(chat.page.locator(".message")).to_have_count(len(saved_messages))
    await chat.wait_until_idle()

    assert await _read_answers(chat) == answers
    assert await chat.read_messages() == saved_messages


async def _read_answers(chat: Chat) -> str:
    """Return the elements of the answers, without those that show times."""
    return await chat.page.evaluate(
        """() => [...document.querySelectorAll(".message .message-text, .message .tool-name")]
          .map((each) => each.outerHTML).join("\\n")"""
    )


async def _send_rest(reply: Reply, pieces: tuple[str, ...] = PIECES) -> None:
    for piece in pieces:
        await reply.say(piece)
    await reply.end()


async def _before_the_first_token(chat: Chat, reply: Reply) -> None:
    await chat.page.wait_for_url("**/t/*")  # a page without a run is tested below
    await chat.page.reload()
    await _send_rest(reply)


async def _in_the_reasoning(chat: Chat, reply: Reply) -> None:
    await reply.think("Let me see. ")
    await expect(chat.page.locator(".reasoning")).to_be_visible()
    await chat.page.reload()
    await reply.think("Yes.")
    await _send_rest(reply)


async def _in_the_text(chat: Chat, reply: Reply) -> None:
    await reply.say(PIECES[0])
    await chat.sees(PIECES[0].strip())
    await chat.page.reload()
    await chat.sees(PIECES[0].strip())
    await _send_rest(reply, PIECES[1:])


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param(_before_the_first_token, marks=pytest.mark.slow),
        pytest.param(_in_the_reasoning, marks=pytest.mark.slow),
        _in_the_text,
    ],
)
async def test_a_reloaded_page_goes_on_where_it_was(
    chat: Chat, phase: Callable[[Chat, Reply], Awaitable[None]]
) -> None:
    await chat.say("How much?")
    reply = await chat.model.next_request()
    await phase(chat, reply)

    await chat.sees(ANSWER)
    await _check_exact_text(chat)
    assert len(chat.model.requests) == 1


async def _ask_and_wait_for_answer(chat: Chat, question: str, answer: str) -> str:
    """Send a question in the open thread and wait for its answer; return the id of the thread."""
    await chat.say(question)
    await (await chat.model.next_request()).answer(answer)
    await chat.sees(answer)
    await chat.wait_until_idle()
    return chat.thread


@asynccontextmanager
async def _hold_responses(chat: Chat, address: str) -> AsyncIterator[asyncio.Event]:
    """Fetch responses from this address at once, and hand them to the page after the block.

    The event that it yields is set once a response is held. The route stays: the browser loses
    requests that are sent in the moment a route ends.
    """
    held, release = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        if release.is_set():
            await route.fallback()
            return
        response = await route.fetch()
        held.set()
        await release.wait()
        await route.fulfill(response=response)

    await chat.page.route(address, hold)
    yield held
    release.set()


@pytest.mark.parametrize(
    "late_address",
    [pytest.param("**/api/me", marks=pytest.mark.slow), "**/api/threads/*/messages*"],
)
async def test_a_question_that_is_sent_while_the_page_loads_belongs_to_its_thread(
    chat: Chat, late_address: str
) -> None:
    thread = await _ask_and_wait_for_answer(chat, "First?", "One.")
    async with _hold_responses(chat, late_address):
        await chat.page.reload()
        await chat.say("Second?")
        await expect(chat.page.locator(".composer")).to_have_attribute("aria-busy", "true")
    reply = await chat.model.next_request()
    await reply.answer("Two.")
    await chat.sees("Two.")

    assert chat.thread == thread
    assert [each["content"] for each in reply.messages] == ["First?", "One.", "Second?"]
    await expect(chat.composer).to_have_value("")
    await _check_exact_text(chat)


async def test_a_question_that_is_sent_while_another_thread_opens_belongs_to_that(
    chat: Chat,
) -> None:
    first = await _ask_and_wait_for_answer(chat, "Of cats?", "Cats.")
    await chat.open()
    await _ask_and_wait_for_answer(chat, "Of dogs?", "Dogs.")
    async with _hold_responses(chat, f"**/api/threads/{first}/messages*"):
        await chat.page.locator(".thread", has_text="Of cats?").click()
        await chat.page.wait_for_url(f"**/t/{first}")
        await chat.say("And kittens?")
    reply = await chat.model.next_request()
    await reply.answer("Kittens.")
    await chat.sees("Kittens.")

    assert chat.thread == first
    assert [each["content"] for each in reply.messages] == ["Of cats?", "Cats.", "And kittens?"]


async def test_a_question_stays_though_an_older_history_arrives_after_it(chat: Chat) -> None:
    thread = await _ask_and_wait_for_answer(chat, "First?", "One.")
    other_tab = await chat.tab(f"/t/{thread}")
    async with _hold_responses(chat, "**/messages?limit=40") as held:
        await _ask_and_wait_for_answer(other_tab, "Second?", "Two.")
        await held.wait()
        reply = await _begin_third(chat)
    await _end_third(chat, reply)


async def test_a_question_stays_though_a_history_that_ends_with_another_arrives_after_it(
    chat: Chat,
) -> None:
    thread = await _ask_and_wait_for_answer(chat, "First?", "One.")
    other_tab = await chat.tab(f"/t/{thread}")
    async with _hold_responses(chat, "**/messages?limit=40") as held:
        await other_tab.say("Second?")
        second_reply = await chat.model.next_request()
        await held.wait()
        await second_reply.answer("Two.")
        await other_tab.sees("Two.")
        await other_tab.wait_until_idle()
        reply = await _begin_third(chat)
    await _end_third(chat, reply)


async def _begin_third(chat: Chat) -> Reply:
    """Ask a third question; return its reply, of which the page shows the beginning."""
    await chat.say("Third?")
    reply = await chat.model.next_request()
    await reply.say("Thr")
    await chat.sees("Thr")
    return reply


async def _end_third(chat: Chat, reply: Reply) -> None:
    """Check that the page shows the questions during the reply, and all messages after it."""
    await chat.sees("Second?")
    await chat.sees("Third?")
    await reply.say("ee.")
    await reply.end()
    await chat.sees("Three.")
    await chat.sees("Two.")  # it may come only with the messages that are loaded after the reply
    await _check_exact_text(chat)


@pytest.mark.slow
async def test_an_answer_goes_on_after_a_reload_while_a_tool_runs(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "tools.py").write_text(LOOK)
    flags = ("--no-servers", "--tools", "tools.py", "--allow", "look")
    async with chatting(chromium, tmp_path, *flags) as chat:
        await chat.say("How much?")
        reply = await chat.model.next_request()
        await reply.call("look", {"at": str(tmp_path / "found")}, id="c1")
        await reply.end("tool_calls")
        await expect(chat.page.locator(".tool")).to_be_visible()
        await chat.page.reload()
        await expect(chat.page.locator(".tool")).to_be_visible()
        assert chat.model.waiting == 0
        (tmp_path / "found").write_text("42")
        reply = await chat.model.next_request()
        await _send_rest(reply)

        assert reply.messages[-1]["content"] == "42"
        await chat.sees(ANSWER)
        await _check_exact_text(chat)
        assert await chat.page.locator(".tool").count() == 1


async def test_a_cut_line_loses_nothing_and_says_nothing_twice(
    page_and_line: tuple[Chat, Line],
) -> None:
    chat, line = page_and_line
    await chat.say("How much?")
    reply = await chat.model.next_request()
    for piece in PIECES:
        await reply.say(piece)
        await chat.sees(piece.strip())
        line.cut()
        await expect(chat.page.locator(".message.assistant")).to_contain_text("Reconnecting")
        line.mend()
        await chat.page.evaluate("window.dispatchEvent(new Event('online'))")
    await reply.end()

    await chat.sees(ANSWER)
    await _check_exact_text(chat)


async def test_a_line_that_is_cut_before_the_first_word_sends_nothing_twice(
    page_and_line: tuple[Chat, Line],
) -> None:
    chat, line = page_and_line
    line.swallow("POST /api/messages/process")
    await chat.say("How much?")
    reply = await chat.model.next_request()
    await line.swallowed.wait()
    line.cut()
    line.mend()
    await _send_rest(reply)

    await chat.sees(ANSWER)
    await _check_exact_text(chat)
    assert len(chat.model.requests) == 1
    assert len([each for each in line.requests if "process" in each]) > 1


async def test_a_page_that_is_reloaded_before_it_knew_its_run_sends_nothing_twice(
    page_and_line: tuple[Chat, Line],
) -> None:
    chat, line = page_and_line
    line.swallow("POST /api/messages/process")
    await chat.say("How much?")
    reply = await chat.model.next_request()
    await line.swallowed.wait()
    line.mend()
    await chat.page.reload()
    await _send_rest(reply)

    await chat.sees(ANSWER)
    await _check_exact_text(chat)
    assert len(chat.model.requests) == 1


async def test_a_message_that_is_sent_without_a_network_goes_out_with_it(
    page_and_line: tuple[Chat, Line],
) -> None:
    chat, line = page_and_line
    line.cut()
    await chat.say("How much?")
    await chat.sees("How much?")
    await chat.page.evaluate("0")
    line.mend()
    await _send_rest(await chat.model.next_request())

    await chat.sees(ANSWER)
    await _check_exact_text(chat)
    assert len(chat.model.requests) == 1


async def test_a_server_that_is_killed_and_begun_again_goes_on(
    chromium: Browser, tmp_path: Path
) -> None:
    async with chatting(chromium, tmp_path, "--no-servers", *QUICK) as chat:
        await chat.say("How much?")
        reply = await chat.model.next_request()
        await reply.say("It was ")
        await chat.sees("It was")
        await chat.up.kill()
        await expect(chat.page.locator(".message.assistant")).to_contain_text("Reconnecting")
        await chat.sees("It was")
        await chat.up.begin()
        await _send_rest(await chat.model.next_request())

        await chat.sees(ANSWER)
        await _check_exact_text(chat)
        assert await chat.read_messages() == [["user", "How much?"], ["assistant", ANSWER]]


@pytest.mark.slow
async def test_another_chat_can_be_opened_while_an_answer_goes_on_after_a_reload(
    chat: Chat,
) -> None:
    await chat.say("How much?")
    reply = await chat.model.next_request()
    await reply.say(PIECES[0])
    await chat.sees(PIECES[0].strip())
    await chat.page.reload()
    await chat.sees(PIECES[0].strip())
    await chat.page.get_by_role("button", name="New chat").click()
    await expect(chat.answers).to_have_count(0)

    await _send_rest(reply, PIECES[1:])
    await chat.page.locator(".thread a").click()
    await chat.sees(ANSWER)


async def test_two_tabs_show_the_same_run_each_once(chat: Chat) -> None:
    await chat.say("How much?")
    reply = await chat.model.next_request()
    await reply.say(PIECES[0])
    await chat.sees(PIECES[0].strip())
    other_tab = await chat.tab(f"/t/{chat.thread}")
    await other_tab.sees(PIECES[0].strip())
    await expect(other_tab.page.get_by_role("button", name="Stop the answer")).to_be_visible()
    await _send_rest(reply, PIECES[1:])

    for tab in (chat, other_tab):
        await tab.sees(ANSWER)
        await _check_exact_text(tab)


@pytest.mark.slow
async def test_what_is_said_in_one_tab_is_seen_in_the_other(chat: Chat) -> None:
    await chat.exchange("One", "First.")
    other_tab = await chat.tab(f"/t/{chat.thread}")
    await other_tab.sees("First.")
    await other_tab.say("Two")
    reply = await chat.model.next_request()
    await reply.say("Second")
    await chat.page.bring_to_front()
    await chat.sees("Second")
    await reply.end()

    await _check_exact_text(chat)
    await _check_exact_text(other_tab)


@pytest.mark.slow
async def test_a_run_that_another_program_began_is_seen(chat: Chat) -> None:
    chat.model.will_say("First.")
    await chat.say("One")
    await chat.sees("First.")
    await chat.wait_until_idle()
    request = {
        "thread_id": chat.thread,
        "message": {"role": "user", "content": "From elsewhere"},
        "background": True,
    }
    answer = await chat.context.request.post(f"{chat.up.url}/v1/process", data=request)
    assert answer.ok, await answer.text()
    reply = await chat.model.next_request()
    await chat.page.evaluate("window.dispatchEvent(new Event('focus'))")
    await chat.sees("From elsewhere")
    await _send_rest(reply)

    await chat.sees(ANSWER)
    await _check_exact_text(chat)


async def test_a_reader_who_leaves_a_thread_during_an_answer_finds_all_of_it_later(
    chat: Chat,
) -> None:
    await chat.say("How much?")
    reply = await chat.model.next_request()
    await reply.say(PIECES[0])
    await chat.sees(PIECES[0].strip())
    thread = chat.thread
    await (
        chat.page.get_by_role("button", name="New chat")
        .or_(chat.page.get_by_role("link", name="New chat"))
        .first.click()
    )
    await expect(chat.page.locator(".message")).to_have_count(0)
    await reply.say(PIECES[1])
    await chat.page.go_back(wait_until="commit")
    await expect(chat.page).to_have_url(f"{chat.up.url}/t/{thread}")
    await chat.sees(PIECES[1].strip())
    await _send_rest(reply, PIECES[2:])

    await chat.sees(ANSWER)
    await _check_exact_text(chat)


async def test_a_message_that_waits_in_a_thread_that_was_left_is_sent_all_the_same(
    chat: Chat,
) -> None:
    await chat.say("One")
    reply = await chat.model.next_request()
    await reply.say("First")
    await chat.sees("First")
    thread = chat.thread
    await chat.say("Two")
    await chat.sees("Will be sent")
    await chat.page.keyboard.press("Control+Shift+O")
    await expect(chat.page.locator(".message")).to_have_count(0)
    chat.model.will_say("Second")
    await reply.end()
    await chat.page.evaluate("setInterval(() => window.dispatchEvent(new Event('focus')), 1000)")
    await expect(chat.page.locator(".sidebar .spinner")).to_have_count(0)
    await chat.open(f"/t/{thread}")
    await chat.sees("Second")

    await _check_exact_text(chat)
    assert [text for _, text in await chat.read_messages()] == ["One", "First", "Two", "Second"]
    assert len(chat.model.requests) == 2


@pytest.mark.slow
async def test_files_of_a_draft_outlive_the_page(chat: Chat) -> None:
    file = {"name": "note.txt", "mimeType": "text/plain", "buffer": b"Remember."}
    await chat.page.locator(".composer input[type=file]").set_input_files(file)
    await expect(chat.page.locator(".composer")).to_contain_text("note.txt")
    is_stored = "() => Object.values(localStorage).some((value) => value.includes('note.txt'))"
    await chat.wait_until(is_stored)
    await chat.page.reload()
    await expect(chat.page.locator(".composer")).to_contain_text("note.txt")
    chat.model.will_say("Read.")
    await chat.say("What is in it?")
    await chat.sees("Read.")
    await chat.wait_until_idle()
    [question, _] = await chat.fetch_messages()

    assert [part.get("filename") for part in question["parts"]] == [None, "note.txt"]
    await expect(chat.page.locator(".composer")).not_to_contain_text("note.txt")


@pytest.mark.slow
async def test_how_far_a_thread_was_read_is_kept(chat: Chat) -> None:
    chat.model.will_say("\n\n".join(f"Paragraph {number}." for number in range(100)))
    await chat.say("Tell me")
    await chat.sees("Paragraph 99.")
    await chat.wait_until_idle()
    await chat.page.evaluate("document.getElementById('conversation').scrollTop -= 900")
    await chat.wait_until("() => JSON.stringify(localStorage).includes('scroll')")
    await chat.page.reload()
    await chat.sees("Paragraph 99.")
    distance = await chat.page.evaluate(
        """() => { const it = document.getElementById("conversation");
          return it.scrollHeight - it.clientHeight - it.scrollTop; }"""
    )

    assert 800 < distance < 1000
