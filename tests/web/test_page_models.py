"""The model of the next message, picked from a list that is searched by typing."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, wider
from tests.support.web.chats import Chat, chatting

NAMES = ["told", *(f"model-{number:04}" for number in range(1500)), "<b>bold</b>"]


@pytest_asyncio.fixture(loop_scope="session")
async def many_models(chat: Chat) -> Chat:
    """A page where the provider has more than a thousand models."""
    chat.model.names = NAMES
    await chat.page.reload()
    return chat


def button(chat: Chat) -> Locator:
    """Return the button that opens the list."""
    return chat.page.locator(".composer").get_by_role("button", name="Model: ")


async def open_list(chat: Chat) -> Locator:
    """Open the list with the keyboard, and return its search field."""
    await button(chat).press("Enter")
    field = chat.page.get_by_role("combobox", name="Search models")
    await expect(field).to_be_focused()
    await expect(chat.page.get_by_role("option").nth(1)).to_be_visible()
    return field


def active_option(chat: Chat) -> Locator:
    """Return the option that Enter takes."""
    return chat.page.locator("[role=option][data-active]")


@pytest.mark.slow
async def test_a_model_is_found_and_taken_by_keys(many_models: Chat) -> None:
    field = await open_list(many_models)
    await expect(active_option(many_models)).to_have_text("told (default)")
    await expect(active_option(many_models)).to_have_attribute("aria-selected", "true")

    await field.press_sequentially("DEL 1234")
    await expect(many_models.page.get_by_role("option")).to_have_text(["model-1234"])
    await expect(many_models.page.get_by_role("dialog").get_by_role("status")).to_have_text(
        "1 model"
    )
    option_id = await field.get_attribute("aria-activedescendant")
    await expect(many_models.page.locator(f'[id="{option_id}"]')).to_have_text("model-1234")
    await field.press("Enter")

    await expect(button(many_models)).to_be_focused()
    await expect(button(many_models)).to_have_text("model-1234")
    await many_models.say("Hello")
    reply = await many_models.model.next_request()
    await reply.answer("Hi.")
    await many_models.wait_until_idle()
    assert reply.body["model"] == "model-1234"
    await many_models.page.reload()
    await expect(button(many_models)).to_have_text("model-1234")


@pytest.mark.slow
async def test_arrows_go_through_the_list(many_models: Chat) -> None:
    field = await open_list(many_models)
    await field.press("ArrowDown")
    await expect(active_option(many_models)).to_contain_text("told")
    await field.press("ArrowDown")
    await expect(active_option(many_models)).to_have_text("model-0000")
    await field.press("PageDown")
    await expect(active_option(many_models)).to_have_text("model-0008")
    await field.press("PageUp")
    await expect(active_option(many_models)).to_have_text("model-0000")
    for _ in range(3):
        await field.press("ArrowUp")
    await expect(active_option(many_models)).to_have_text("told (default)")
    await field.fill("bold")
    await field.press("ArrowDown")
    await expect(active_option(many_models)).to_have_text("<b>bold</b>")

    await field.press("Escape")
    await expect(many_models.page.get_by_role("listbox")).to_have_count(0)
    await expect(button(many_models)).to_be_focused()


@pytest.mark.slow
async def test_only_models_in_view_are_drawn(many_models: Chat) -> None:
    await open_list(many_models)
    options = many_models.page.get_by_role("option")
    assert await options.count() < 100
    await expect(options.first).to_have_attribute("aria-setsize", str(len(NAMES) + 2))

    count = await options.count()
    await options.last.scroll_into_view_if_needed()
    await expect(options.nth(count)).to_be_attached()
    assert await options.count() < 200


@pytest.mark.slow
async def test_a_choice_is_taken_back_and_a_search_without_matches_says_so(
    many_models: Chat,
) -> None:
    field = await open_list(many_models)
    await field.fill("0007")
    await many_models.page.get_by_role("option", name="model-0007").click()
    await expect(button(many_models)).to_have_text("model-0007")
    field = await open_list(many_models)
    await expect(active_option(many_models)).to_have_text("model-0007")
    await expect(active_option(many_models)).to_be_in_viewport()
    await field.fill("no such thing")
    await expect(many_models.page.get_by_role("dialog")).to_contain_text("No model matches.")
    await field.press("Enter")
    await field.fill("")
    await many_models.page.get_by_role("option", name="told (default)").click()

    await expect(button(many_models)).to_have_text("told (default)")


@pytest.mark.slow
async def test_the_list_is_faultless_and_fits_a_window_of_400_percent(
    many_models: Chat, axe: str
) -> None:
    await open_list(many_models)
    violations = await findings(many_models.page, axe)
    await many_models.page.keyboard.press("Escape")
    await many_models.page.set_viewport_size({"width": 320, "height": 256})
    await many_models.page.get_by_role("button", name="Attach files").focus()
    await many_models.page.keyboard.press("Shift+Tab")
    await many_models.page.keyboard.press("Tab")
    await open_list(many_models)
    violations += await findings(many_models.page, axe) + await wider(many_models.page)
    box = await many_models.page.get_by_role("dialog").bounding_box()

    assert violations == []
    assert box is not None
    assert box["x"] >= 0
    assert box["y"] >= 0
    assert box["x"] + box["width"] <= 320
    assert box["y"] + box["height"] <= 256


@pytest.mark.slow
async def test_providers_stand_above_their_models_with_what_is_known(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "antiphon.toml").write_text(
        '[providers.openai]\ncontext_tokens = 128_000\nlacks = ["tools", "images", "seed"]\n'
    )
    flags = ("--no-servers", "--model", "openai:told", "--config-file", "antiphon.toml")
    async with chatting(chromium, tmp_path, *flags) as chat:
        await open_list(chat)
        group = chat.page.get_by_role("group", name="openai")

        await expect(group.get_by_role("option", name="told")).to_have_text(
            "toldDefault · 128K tokens of context · without tools · without images"
        )
        await expect(chat.page.get_by_role("group", name="demo")).to_be_visible()
