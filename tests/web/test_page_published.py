"""Published assistants in the page: the author publishes, another person uses and copies."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.browser import open_context
from tests.support.web.chats import WATCH, Chat, chatting
from tests.support.web.people import ADMIN, add_person, enter

NAME = "<img src=x onerror=alert(1)> \u202epoet"
SHOWN_NAME = "<img src=x onerror=alert(1)> <U+202E>poet"
INSTRUCTIONS = "Rhyme.\n<script>alert(1)</script>"


async def make_assistant(page: Page) -> None:
    await page.get_by_role("link", name="Assistants").click()
    await page.get_by_role("link", name="New assistant").first.click()
    await page.get_by_label("Name", exact=True).fill(NAME)
    await page.get_by_label("Instructions").fill(INSTRUCTIONS)
    await page.get_by_role("button", name="Save").click()
    await page.locator(".card.assistant").get_by_role("button", name="Actions").click()
    await page.get_by_role("menuitem", name="Edit").click()


@pytest.mark.slow
async def test_a_published_assistant_is_chatted_with_and_copied_until_it_is_taken_back(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    add_person(tmp_path, ADMIN, "admin")
    add_person(tmp_path, "ben", "user")
    flags = ("--no-servers", "--login", "password")
    async with chatting(chromium, tmp_path, *flags) as ada, open_context(chromium) as context:
        await context.add_init_script(WATCH)
        ben = Chat(ada.up, ada.model, context, await context.new_page())
        await enter(ada, ADMIN)
        await make_assistant(ada.page)
        await ada.page.get_by_role("button", name="Publish to everyone").click()
        take_back = ada.page.get_by_role("button", name="Take back")
        await expect(take_back).to_be_visible()
        assert not await findings(ada.page, axe)

        await ben.page.goto(ada.up.url)
        await enter(ben, "ben")
        await expect(ben.page.get_by_role("combobox", name="Assistant")).to_be_visible()
        group = ben.page.locator("optgroup[label='Published by others'] option")
        assert await group.all_inner_texts() == [f"{SHOWN_NAME} · {ADMIN}"]
        await ben.page.get_by_role("link", name="Assistants").click()
        published_region = ben.page.get_by_role("region", name="Published by others")
        await expect(published_region.get_by_role("heading", level=3)).to_have_text(SHOWN_NAME)
        await expect(published_region.get_by_text(f"By {ADMIN}")).to_be_visible()
        await published_region.get_by_text("Instructions").click()
        await expect(published_region.locator("pre")).to_have_text(INSTRUCTIONS)
        await expect(published_region.locator("img, script")).to_have_count(0)
        assert not await findings(ben.page, axe)
        await ben.page.set_viewport_size({"width": 320, "height": 640})
        assert not await findings(ben.page, axe)
        assert await ben.page.evaluate("document.documentElement.scrollWidth") <= 320
        await ben.page.set_viewport_size({"width": 1280, "height": 800})

        await published_region.get_by_role("button", name="Take a copy").click()
        await expect(ben.page.locator(".page > .cards .card")).to_have_count(1)
        await published_region.get_by_role("button", name="Start a chat").click()
        ben.model.will_say("A rhyme.")
        await ben.say("Sing of tides.")
        await ben.sees("A rhyme.")
        await ben.wait_until_idle()
        assert ben.model.requests[-1]["messages"][0]["content"] == INSTRUCTIONS

        await take_back.click()
        publish = ada.page.get_by_role("button", name="Publish to everyone")
        await expect(publish).to_be_visible()
        await ben.page.reload()
        await expect(ben.page.get_by_role("combobox", name="Assistant")).to_be_visible()
        await expect(group).to_have_count(0)

        await publish.click()
        await expect(take_back).to_be_visible()
        await ada.page.goto(f"{ada.up.url}/admin/assistants")
        table = ada.page.get_by_role("table", name="Assistants")
        await expect(table.get_by_role("row").nth(1)).to_contain_text(f"{SHOWN_NAME}{ADMIN}")
        await table.get_by_role("button", name="Take back").click()
        question = ada.page.get_by_role("dialog")
        await expect(question).to_contain_text("the owner may publish it again")
        assert not await findings(ada.page, axe)
        await question.get_by_role("button", name="Take back").click()
        await expect(ada.page.get_by_text("Nobody shares an assistant yet.")).to_be_visible()
        await ben.faultless()
