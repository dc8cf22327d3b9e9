"""Temporary chats in the page: marked, in no list, deleted when they are left, kept by a click."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from playwright.async_api import Dialog, Locator, expect

from tests.support.web.chats import SECONDS, Chat

READ_STORAGE = "() => Object.entries({ ...localStorage, ...sessionStorage }).flat().join(' ')"
MARK = "Temporary chat: in no list, and deleted when you leave it."


@pytest_asyncio.fixture(loop_scope="session")
async def secret(chat: Chat) -> Chat:
    """A page with a temporary chat that has one message and its answer."""
    await chat.page.get_by_role("checkbox", name="Temporary chat").check()
    await say(chat, "Whom do I trust?", "Nobody.")
    return chat


async def say(chat: Chat, question: str, reply: str) -> None:
    await chat.say(question)
    await (await chat.model.next_request()).answer(reply)
    await chat.sees(reply)
    await chat.wait_until_idle()


def mark(chat: Chat) -> Locator:
    return chat.page.locator(".temporary-mark")


async def thread_exists(chat: Chat, thread: str) -> bool:
    answer = await chat.context.request.get(f"{chat.up.url}/api/threads/{thread}")
    assert answer.status in (200, 404)
    return answer.status == 200


async def test_a_temporary_chat_is_marked_and_in_no_list_and_not_in_the_browser(
    secret: Chat,
) -> None:
    await expect(mark(secret)).to_contain_text(MARK)
    await expect(secret.page.locator(".thread")).to_have_count(0)
    await secret.composer.press_sequentially("half a word")
    await secret.page.evaluate("dispatchEvent(new Event('pagehide', { cancelable: true })), 0")

    storage_text = await secret.page.evaluate(READ_STORAGE)
    assert "half a word" not in storage_text
    assert "trust" not in storage_text


@pytest.mark.slow
async def test_leaving_is_asked_first_and_deletes_the_chat(secret: Chat) -> None:
    thread = secret.thread
    await secret.page.get_by_role("button", name="New chat").click()
    question = secret.page.get_by_role("dialog", name="Leave the temporary chat?")
    await question.get_by_role("button", name="Cancel").click()
    await expect(question).to_have_count(0)
    await secret.sees("Nobody.")
    assert secret.thread == thread
    assert await thread_exists(secret, thread)

    await secret.page.get_by_role("button", name="New chat").click()
    async with secret.page.expect_response(
        lambda response: response.request.method == "DELETE" and thread in response.url
    ):
        await question.get_by_role("button", name="Delete and leave").click()

    await expect(secret.page.get_by_role("checkbox", name="Temporary chat")).not_to_be_checked()
    await expect(mark(secret)).to_have_count(0)
    assert not await thread_exists(secret, thread)


@pytest.mark.slow
async def test_the_back_button_asks_too(chat: Chat) -> None:
    await say(chat, "How do tides work?", "The moon pulls.")
    lasting = chat.thread
    await chat.page.get_by_role("button", name="New chat").click()
    await chat.page.get_by_role("checkbox", name="Temporary chat").check()
    await say(chat, "Whom do I trust?", "Nobody.")
    temporary = chat.thread

    await chat.page.go_back()
    question = chat.page.get_by_role("dialog", name="Leave the temporary chat?")
    await expect(question).to_be_visible()
    assert chat.thread == temporary
    async with chat.page.expect_response(
        lambda response: response.request.method == "DELETE" and temporary in response.url
    ):
        await question.get_by_role("button", name="Delete and leave").click()

    await chat.sees("The moon pulls.")
    assert chat.thread == lasting
    assert not await thread_exists(chat, temporary)


@pytest.mark.slow
async def test_a_kept_chat_is_one_like_any_other_with_its_branches(secret: Chat) -> None:
    first = secret.thread
    await secret.page.get_by_role("button", name="Answer again").click()
    await (await secret.model.next_request()).answer("The cat.")
    await secret.sees("The cat.")
    await secret.wait_until_idle()
    await expect(secret.page.get_by_role("dialog")).to_have_count(0)
    await expect(mark(secret)).to_contain_text(MARK)
    branch = secret.thread

    await secret.page.get_by_role("button", name="Keep this chat").click()
    await expect(mark(secret)).to_have_count(0)
    await expect(secret.page.locator(".thread")).to_have_count(1)
    await secret.page.get_by_role("button", name="New chat").click()
    await expect(secret.page.get_by_role("checkbox", name="Temporary chat")).to_be_visible()

    assert branch != first
    assert await thread_exists(secret, first)
    assert await thread_exists(secret, branch)


@pytest.mark.slow
async def test_a_reload_asks_and_deletes_the_chat(secret: Chat) -> None:
    dialogs: list[str] = []

    async def agree(dialog: Dialog) -> None:
        dialogs.append(dialog.type)
        await dialog.accept()

    secret.page.on("dialog", agree)
    thread = secret.thread
    await secret.page.reload()
    secret.page.remove_listener("dialog", agree)

    assert dialogs == ["beforeunload"]
    async with asyncio.timeout(SECONDS):
        while await thread_exists(secret, thread):
            pass
