"""Ends of an answer in the page: why it is incomplete, and what the user can do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import expect

from antiphon.types import errors
from tests.support.web.chats import Chat

I18N = Path(__file__).parents[2] / "src/antiphon/web/static/chat/i18n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("finish", "words"),
    [("length", "greatest length"), ("content_filter", "content filter stopped")],
)
async def test_an_answer_that_is_cut_says_why_also_after_a_reload(
    chat: Chat, finish: str, words: str
) -> None:
    await chat.say("Tell me.")
    reply = await chat.model.next_request()
    await reply.say("Once upon")
    await reply.end(finish)
    await chat.wait_until_idle()
    await expect(chat.answers.locator(".message-note")).to_contain_text(words)

    await chat.page.reload()

    await expect(chat.answers.locator(".message-note")).to_contain_text(words)
    await expect(chat.page.locator("[data-announced=status]")).to_have_count(1)


@pytest.mark.slow
async def test_why_an_answer_is_not_whole_is_read_aloud(chat: Chat) -> None:
    await chat.say("Tell me.")
    reply = await chat.model.next_request()
    await reply.say("Once upon")
    await chat.sees("Once upon")
    await reply.cut()
    await chat.wait_until_idle()

    status = chat.page.locator("[data-announced=status]")
    await expect(status).to_contain_text("The answer is not complete. The connection to the model")


@pytest.mark.slow
async def test_a_cut_answer_is_continued_by_one_button(chat: Chat) -> None:
    button = chat.page.get_by_role("button", name="Continue", exact=True)
    answers = chat.page.locator(".message.assistant")
    await chat.say("Tell me.")
    reply = await chat.model.next_request()
    await reply.say("Once upon a time there was a **ki")
    await reply.end("length")
    await chat.wait_until_idle()

    await button.click()
    reply = await chat.model.next_request()
    assert "was a **ki</last_words>" in reply.messages[-1]["content"]
    await reply.say("there was a **king** of")
    await expect(answers).to_have_count(1)
    await expect(answers.locator("strong")).to_have_text("king")
    await chat.page.reload()
    await chat.sees("Once upon a time there was a king of")
    await expect(answers).to_have_count(1)
    await chat.page.get_by_role("button", name="Stop the answer").click()
    await chat.wait_until_idle()

    await button.click()
    reply = await chat.model.next_request()
    await reply.refuse(400, "No more.")
    await chat.wait_until_idle()
    await expect(answers).to_have_count(1)
    await button.click()
    reply = await chat.model.next_request()
    await reply.answer("there was a **king** of bees.")
    await chat.wait_until_idle()
    for _ in range(2):
        await expect(answers.locator(".message-text")).to_have_text(
            "Once upon a time there was a king of bees."
        )
        await expect(chat.page.locator(".continue:visible")).to_have_count(0)
        await chat.page.reload()
        await expect(answers).to_have_count(1)
    assert await chat.page.locator(".message.user").count() == 1


@pytest.mark.slow
async def test_an_answer_without_words_says_that_it_is_empty(chat: Chat) -> None:
    await chat.say("Tell me.")
    reply = await chat.model.next_request()
    await reply.end()
    await chat.wait_until_idle()

    note = chat.answers.locator(".message-note")
    await expect(note).to_contain_text("The answer is empty")
    await expect(note.get_by_role("button", name="Try again")).to_be_visible()


def codes() -> set[str]:
    """Return the codes of all errors except those that only the SDK raises."""
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    return {
        kind.code
        for kind in kinds
        if issubclass(kind, errors.AntiphonError) and not issubclass(kind, errors.RunError)
    }


@pytest.mark.parametrize("language", ["en", "de", "es"])
def test_every_code_of_an_error_has_a_sentence_in_each_language(language: str) -> None:
    table = json.loads((I18N / f"{language}.json").read_text())

    assert {code for code in codes() if f"problem.{code}" not in table} == set()
