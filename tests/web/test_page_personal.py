"""Instructions and memories of the person, in the page: the view `/you`, and notes in a chat."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, wider
from tests.support.web.chats import Chat

MARKUP = "<img src=x onerror=alert(1)> \u200b"


async def open_you(chat: Chat) -> None:
    await chat.page.goto(f"{chat.up.url}/you")
    await expect(chat.page.get_by_role("heading", name="About you")).to_be_visible()


def rows(chat: Chat) -> Locator:
    return chat.page.get_by_role("main").get_by_role("listitem")


async def add(chat: Chat, text: str) -> None:
    page = chat.page
    await page.get_by_role("button", name="Add a memory").click()
    await page.get_by_label("Memory", exact=True).fill(text)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def read_personal(chat: Chat) -> Any:
    return await (await chat.context.request.get(f"{chat.up.url}/api/personal")).json()


@pytest.mark.slow
async def test_instructions_are_written_used_and_switched_off(chat: Chat) -> None:
    page = chat.page
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("link", name="Instructions and memories").click()
    await page.get_by_label("Instructions for every assistant").fill("Answer in Basque.")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Your instructions are saved.")).to_be_visible()
    await page.get_by_role("button", name="New chat").first.click()
    await chat.say("Hello")
    reply = await chat.model.next_request()
    await reply.answer("Kaixo.")
    await chat.wait_until_idle()
    assert "Answer in Basque." in reply.messages[0]["content"]

    await open_you(chat)
    await expect(page.get_by_label("Instructions for every assistant")).to_have_value(
        "Answer in Basque."
    )
    await page.get_by_label("Use your instructions").uncheck()
    await page.reload()
    await expect(page.get_by_label("Use your instructions")).not_to_be_checked()
    assert (await read_personal(chat))["settings"]["instructions_enabled"] is False


@pytest.mark.slow
async def test_memories_are_added_found_edited_and_deleted(chat: Chat) -> None:
    page = chat.page
    await open_you(chat)
    await expect(page.get_by_text("Nothing is remembered about you.")).to_be_visible()
    await add(chat, f"Likes tea. {MARKUP}")
    await add(chat, "Speaks Basque.")
    await expect(rows(chat)).to_have_count(2)
    await expect(rows(chat).nth(1)).to_contain_text("Likes tea. <img src=x onerror=alert(1)>")

    await page.get_by_label("Search memories").fill("BASQUE")
    await expect(rows(chat)).to_have_count(1)
    await expect(page.get_by_text("1 memory", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Actions for “Speaks Basque.”").click()
    await page.get_by_role("menuitem", name="Edit").click()
    await page.get_by_label("Memory", exact=True).fill("Speaks Basque and Catalan.")
    await page.get_by_role("button", name="Save").last.click()
    await expect(rows(chat)).to_contain_text(["Speaks Basque and Catalan."])
    await page.get_by_role("button", name="Actions for “Speaks Basque and Catalan.”").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await expect(rows(chat)).to_have_count(0)

    await page.get_by_label("Search memories").fill("")
    await page.get_by_role("button", name="Delete all memories").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(rows(chat)).to_have_count(1)
    await page.get_by_role("button", name="Delete all memories").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete all memories").click()
    await expect(page.get_by_text("Nothing is remembered about you.")).to_be_visible()
    assert (await read_personal(chat))["memories"] == []


@pytest.mark.slow
async def test_a_text_that_is_refused_stays_in_its_field_with_the_reason(chat: Chat) -> None:
    page = chat.page
    await open_you(chat)
    await page.get_by_role("button", name="Add a memory").click()
    await page.get_by_label("Memory", exact=True).fill("Likes \u202eaet.")
    await page.keyboard.press("Enter")

    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("alert")).to_contain_text("controls, turns or hides text")
    await expect(page.get_by_label("Memory", exact=True)).to_have_value("Likes \u202eaet.")


async def test_what_a_model_remembers_is_asked_shown_and_undone(chat: Chat) -> None:
    page = chat.page
    await chat.say("I am a vegetarian.")
    reply = await chat.model.next_request()
    await reply.call("remember", {"text": "Is a vegetarian."}, id="c1")
    await reply.end("tool_calls")
    question = page.locator(".approval[data-open]")
    await expect(question).to_contain_text("Is a vegetarian.")
    await expect(question.get_by_role("button", name="Allow for longer")).to_have_count(0)
    allow = question.get_by_role("button", name="Allow once")
    await allow.evaluate("() => new Promise((read) => setTimeout(read, 350))")
    await allow.click()
    await (await chat.model.next_request()).answer("Noted.")
    await chat.wait_until_idle()

    note = page.locator(".remembered")
    await expect(note).to_contain_text("Remembered about you: Is a vegetarian.")
    (memory,) = (await read_personal(chat))["memories"]
    await note.get_by_role("link", name="Remembered about you:").click()
    await expect(rows(chat)).to_contain_text(["Is a vegetarian."])
    await rows(chat).get_by_role("link", name="From a chat").click()
    await expect(page).to_have_url(f"{chat.up.url}/t/{memory['thread_id']}")
    await note.get_by_role("button", name="Undo").click()
    await expect(note).to_contain_text("Removed: assistants no longer remember it.")
    assert (await read_personal(chat))["memories"] == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1280, 800), (320, 640)], ids=["wide", "narrow"])
async def test_the_view_is_accessible_and_fits(chat: Chat, axe: str, size: tuple[int, int]) -> None:
    page = chat.page
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await open_you(chat)
    await add(chat, "Likes tea, and a very long word: " + "x" * 200)
    await add(chat, "Speaks Basque.")

    violations = await findings(page, axe)
    await page.emulate_media(color_scheme="dark")
    await page.reload()
    await expect(rows(chat)).to_have_count(2)
    violations += await findings(page, axe)
    assert violations == []
    assert await wider(page) == []


@pytest.mark.slow
async def test_the_view_is_used_by_keyboard_alone(chat: Chat) -> None:
    page = chat.page
    await open_you(chat)
    await page.get_by_role("button", name="Add a memory").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.type("Likes tea.")
    await page.keyboard.press("Enter")
    await expect(rows(chat)).to_have_count(1)
    await page.get_by_role("button", name="Actions for “Likes tea.”").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menuitem", name="Edit")).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(rows(chat)).to_have_count(0)
