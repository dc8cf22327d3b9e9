"""Rating an answer in the page: thumbs, a comment, and their state after a reload."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Locator, expect

from antiphon.client.async_client import AsyncClient
from tests.support.web.chats import Chat


async def answer(chat: Chat) -> None:
    """Send a question, and have the model answer it."""
    await chat.say("How do tides work?")
    await (await chat.model.next_request()).answer("The moon pulls.")
    await chat.wait_until_idle()


def thumb(chat: Chat, name: str) -> Locator:
    return chat.page.get_by_role("button", name=name)


async def list_ratings(chat: Chat) -> list[Any]:
    """Return the ratings that the server has."""
    async with AsyncClient(chat.up.url) as client:
        messages = (await client.list_messages(rating="any")).data
    return [(message.feedback.rating, message.feedback.comment) for message in messages]  # type: ignore[union-attr]


@pytest.mark.slow
async def test_an_answer_is_rated_with_a_comment_and_stays_so(chat: Chat) -> None:
    await answer(chat)
    await thumb(chat, "Bad answer").click()
    comment = chat.page.get_by_label("What was wrong? (optional)")
    await expect(comment).to_be_focused()
    await comment.fill("Too <b>short</b>.")
    await chat.page.keyboard.press("Enter")
    await expect(comment).to_have_count(0)
    await expect(thumb(chat, "Bad answer")).to_be_focused()

    await chat.page.reload()

    await expect(thumb(chat, "Bad answer")).to_have_attribute("aria-pressed", "true")
    await expect(thumb(chat, "Good answer")).to_have_attribute("aria-pressed", "false")
    assert await list_ratings(chat) == [("down", "Too <b>short</b>.")]


@pytest.mark.slow
async def test_a_rating_is_changed_and_removed(chat: Chat) -> None:
    await answer(chat)
    await thumb(chat, "Good answer").click()
    await expect(thumb(chat, "Good answer")).to_have_attribute("aria-pressed", "true")
    await chat.page.keyboard.press("Escape")
    await thumb(chat, "Bad answer").click()
    await expect(thumb(chat, "Bad answer")).to_have_attribute("aria-pressed", "true")
    await expect(thumb(chat, "Good answer")).to_have_attribute("aria-pressed", "false")
    assert await list_ratings(chat) == [("down", "")]

    await thumb(chat, "Bad answer").click()

    await expect(thumb(chat, "Bad answer")).to_have_attribute("aria-pressed", "false")
    await expect(chat.page.get_by_label("What was wrong? (optional)")).to_have_count(0)
    assert await list_ratings(chat) == []
