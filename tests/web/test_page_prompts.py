"""A user's own prompts in the page: as starters, in the settings, and by `/` in the composer."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, wider
from tests.support.web.chats import Chat

MARKUP = "<img src=x onerror=alert(1)>"
FLIGHT = "Fly from {{city}} to {{other city}} and back to {{city}}."


async def save_prompts(chat: Chat, *prompts: dict[str, Any]) -> None:
    """Save these as the user's prompts, and load the page again."""
    me = await (await chat.context.request.get(f"{chat.up.url}/api/me")).json()
    headers = {"Origin": chat.up.url, "X-Antiphon-CSRF": me["csrf"]}
    address = f"{chat.up.url}/api/prompts"
    version = (await (await chat.context.request.get(address)).json())["version"]
    body = {"data": list(prompts), "version": version}
    answer = await chat.context.request.put(address, data=body, headers=headers)
    assert answer.ok, await answer.text()
    await chat.open()


def prompt(name: str, text: str, *, starter: bool = False) -> dict[str, Any]:
    return {"name": name, "text": text, "starter": starter}


def options(chat: Chat) -> Locator:
    """Return the prompts that `/` lists."""
    return chat.page.get_by_role("listbox", name="Your prompts").get_by_role("option")


async def selected_text(chat: Chat) -> str:
    """Return the text that is selected in the composer."""
    script = "(field) => field.value.slice(field.selectionStart, field.selectionEnd)"
    return await chat.composer.evaluate(script)


@pytest.mark.slow
async def test_a_starter_of_ones_own_is_added_asked_edited_and_removed(chat: Chat) -> None:
    await save_prompts(chat)
    page = chat.page
    own_starters = page.get_by_role("list", name="Your own starters")
    await page.get_by_role("button", name="Add one of your own").click()
    await page.get_by_label("Name").fill("tides")
    await page.get_by_label("Text", exact=True).fill(f"How do tides work? {MARKUP}")
    await page.get_by_role("button", name="Save").click()
    await expect(own_starters.get_by_role("listitem")).to_have_text(
        [f"How do tides work? {MARKUP}EditRemove"]
    )
    await page.reload()
    await own_starters.get_by_role("button", name="How do tides work?").click()
    await (await chat.model.next_request()).answer("The moon pulls.")
    await chat.wait_until_idle()
    assert (await chat.read_messages())[0] == ["user", f"How do tides work? {MARKUP}"]

    await page.get_by_role("button", name="New chat").click()
    await act(chat, "tides", "Edit")
    await page.get_by_label("Text", exact=True).fill("Why is the sea salty?")
    await page.get_by_role("button", name="Save").click()
    await expect(own_starters.get_by_role("button", name="Why is the sea salty?")).to_be_visible()
    await act(chat, "tides", "Remove")
    await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await expect(own_starters).to_have_count(0)
    await page.reload()
    await expect(page.get_by_role("button", name="Add one of your own")).to_be_visible()
    await expect(own_starters).to_have_count(0)


async def act(chat: Chat, name: str, action: str) -> None:
    await chat.page.get_by_role("button", name=f"Actions for /{name}").press("Enter")
    await chat.page.get_by_role("menuitem", name=action).click()


@pytest.mark.slow
async def test_a_prompt_is_taken_by_its_name_and_its_places_are_filled_in(chat: Chat) -> None:
    await save_prompts(
        chat, prompt("flight", FLIGHT), prompt("reflect", "Think."), prompt("x", MARKUP)
    )
    await chat.composer.press_sequentially("/")
    await expect(options(chat)).to_have_count(3)
    await expect(chat.page.locator("[data-announced=status]")).to_contain_text("3 prompts")
    await chat.composer.press_sequentially("fl")
    await expect(options(chat)).to_have_text([f"/flight{FLIGHT}", "/reflectThink."])
    await chat.composer.press("ArrowDown")
    await expect(options(chat).nth(1)).to_have_attribute("aria-selected", "true")
    await chat.composer.press("ArrowUp")
    await chat.composer.press("Enter")

    await expect(chat.composer).to_have_value(FLIGHT)
    await expect(options(chat)).to_have_count(0)
    assert await selected_text(chat) == "{{city}}"
    await expect(chat.page.locator("[data-announced=status]")).to_contain_text("Fill in city")
    await chat.composer.press_sequentially("Rome")
    await chat.composer.press("Tab")
    await expect(chat.composer).to_have_value("Fly from Rome to {{other city}} and back to Rome.")
    assert await selected_text(chat) == "{{other city}}"
    await chat.composer.press_sequentially("Oslo")
    await chat.composer.press("Enter")
    await expect(chat.composer).to_have_value("Fly from Rome to Oslo and back to Rome.")
    await expect(chat.page.locator(".filling")).to_have_count(0)
    await expect(chat.asked).to_have_count(0)

    await chat.composer.press("Enter")
    await (await chat.model.next_request()).answer("Ciao.")
    await chat.wait_until_idle()
    assert (await chat.read_messages())[0] == ["user", "Fly from Rome to Oslo and back to Rome."]


@pytest.mark.slow
async def test_filling_in_goes_back_and_ends_by_escape(chat: Chat) -> None:
    await save_prompts(chat, prompt("flight", "From {{a}} to {{b}}", starter=True))
    await chat.composer.fill("Written before")
    await chat.page.get_by_role("button", name="From {{a}} to {{b}}").click()
    await expect(chat.composer).to_have_value("Written before\nFrom {{a}} to {{b}}")
    await expect(chat.composer).to_be_focused()
    assert await selected_text(chat) == "{{a}}"
    await chat.composer.press("Tab")
    assert await selected_text(chat) == "{{b}}"
    await chat.composer.press("Shift+Tab")
    assert await selected_text(chat) == "{{a}}"
    await chat.composer.press("Escape")
    await expect(chat.page.locator(".filling")).to_have_count(0)

    await chat.composer.press("Enter")
    await (await chat.model.next_request()).answer("Well.")
    await chat.wait_until_idle()
    assert (await chat.read_messages())[0][1].endswith("From {{a}} to {{b}}")


@pytest.mark.slow
async def test_a_text_after_a_slash_that_is_no_prompt_is_sent_as_it_is(chat: Chat) -> None:
    await save_prompts(chat, prompt("flight", FLIGHT))
    await chat.composer.press_sequentially("/fli")
    await expect(options(chat)).to_have_count(1)
    await chat.composer.press("Escape")
    await expect(options(chat)).to_have_count(0)
    await chat.composer.press_sequentially("ck the switch")
    await chat.composer.press("Enter")
    await (await chat.model.next_request()).answer("Done.")
    await chat.wait_until_idle()

    assert (await chat.read_messages())[0] == ["user", "/flick the switch"]


@pytest.mark.slow
async def test_prompts_are_kept_in_the_settings_and_a_late_change_is_reported(
    chat: Chat, axe: str
) -> None:
    await save_prompts(chat, prompt("flight", FLIGHT, starter=True))
    page = chat.page
    await page.get_by_role("button", name="Settings").click()
    prompts = page.get_by_role("dialog").locator(".prompts")
    await expect(prompts).to_contain_text("/flight")
    await page.get_by_role("button", name="Add a prompt").click()
    form = page.get_by_role("dialog", name="Add a prompt")
    await form.get_by_label("Name").fill("two words")
    await form.get_by_label("Text", exact=True).fill("{{one}} and {{two}}")
    await expect(form.get_by_role("status")).to_have_text("2 places to fill in")
    await form.get_by_role("button", name="Save").click()
    await expect(form).to_be_visible()
    await form.get_by_label("Name").fill("pair")
    violations = await findings(page, axe)
    other_tab = await chat.tab()
    await save_prompts(other_tab, prompt("elsewhere", "Made in another tab, and long. " * 20))
    await form.get_by_role("button", name="Save").click()
    await expect(form.get_by_role("alert")).to_contain_text("changed elsewhere")
    await form.get_by_role("button", name="Save").click()
    await expect(form).to_have_count(0)
    await expect(prompts.locator("strong")).to_have_text(["/elsewhere", "/pair"])
    await page.set_viewport_size({"width": 320, "height": 640})
    violations += await findings(page, axe) + await wider(page)

    assert violations == []


async def test_after_a_prompt_was_added_in_the_settings_keys_write_a_message(chat: Chat) -> None:
    await expect(chat.composer).to_be_focused()
    await chat.page.keyboard.press("Control+,")
    await chat.page.get_by_role("button", name="Add a prompt").click()
    form = chat.page.get_by_role("dialog", name="Add a prompt")
    await form.get_by_role("textbox", name="Name").fill("trip")
    await form.get_by_role("textbox", name="Text").fill("Plan {{days}} days.")
    await form.get_by_role("button", name="Save").click()
    await expect(chat.page.get_by_role("dialog")).to_have_count(1)
    await chat.page.keyboard.press("Escape")
    await expect(chat.page.get_by_role("dialog")).to_have_count(0)
    await chat.page.keyboard.type("ab")

    await expect(chat.composer).to_have_value("ab")
