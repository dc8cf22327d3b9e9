"""Folders in the sidebar: chats are put into them, and models read their instructions."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio
from playwright.async_api import Locator, ViewportSize, expect

from antiphon.client.async_client import AsyncClient
from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.chats import Chat

PHONE: ViewportSize = {"width": 390, "height": 844}
HOSTILE = '<img src=x onerror="alert(1)"> \u05e9\u05dc\u05d5\u05dd {name}'


@pytest_asyncio.fixture(loop_scope="session")
async def two_chats(chat: Chat) -> Chat:
    """A page with two chats and a folder that has none."""
    async with AsyncClient(chat.up.url) as client:
        for title in ("Travel costs", "Pancakes"):
            thread = await client.create_thread(title=title)
            await client.create_message(thread.id, "Hello")
        await client.create_folder("Taxes", "Name the paragraph.")
    await chat.open()
    await expect(folder(chat, "Taxes")).to_be_visible()
    return chat


def folder(chat: Chat, name: str) -> Locator:
    """Return the button that opens and closes this folder."""
    return chat.page.get_by_role("button", name=name, exact=True)


def rows(chat: Chat) -> Locator:
    """Return the chats in folders that are open."""
    return chat.page.locator(".folder-threads .thread > a")


def entry(chat: Chat, title: str) -> Locator:
    return chat.page.locator(".thread", has_text=title)


async def choose(chat: Chat, row: Locator, action: str) -> None:
    await row.hover()
    await row.get_by_role("button", name="Actions for").click()
    await chat.page.get_by_role("menuitem", name=action).click()


async def move(chat: Chat, title: str, target: str) -> None:
    await choose(chat, entry(chat, title), "Move to folder")
    dialog = chat.page.get_by_role("dialog")
    await dialog.get_by_label("Folder").select_option(label=target)
    await dialog.get_by_role("button", name="Move", exact=True).click()


@pytest.mark.slow
async def test_a_chat_is_moved_to_a_folder_out_of_it_and_back_by_undo(two_chats: Chat) -> None:
    await move(two_chats, "Travel costs", "Taxes")

    await expect(rows(two_chats)).to_have_text(["Travel costs"])
    await expect(two_chats.page.locator(".threads .thread > a")).to_have_text(
        ["Travel costs", "Pancakes"]
    )
    await two_chats.page.reload()
    await expect(rows(two_chats)).to_have_text(["Travel costs"])  # still open
    await folder(two_chats, "Taxes").click()
    await expect(folder(two_chats, "Taxes")).to_have_attribute("aria-expanded", "false")
    await expect(two_chats.page.locator(".thread > a")).to_have_text(["Pancakes"])
    await folder(two_chats, "Taxes").click()
    await move(two_chats, "Travel costs", "No folder")
    await expect(rows(two_chats)).to_have_count(0)
    await expect(two_chats.page.locator(".thread > a")).to_have_count(2)
    await two_chats.page.get_by_role("button", name="Undo").last.click()
    await expect(rows(two_chats)).to_have_text(["Travel costs"])


async def test_a_new_chat_in_a_folder_gives_the_model_its_instructions(two_chats: Chat) -> None:
    await choose(two_chats, two_chats.page.locator(".folder"), "New chat in this folder")
    await expect(two_chats.page.locator(".folder-mark")).to_contain_text("In the folder “Taxes”")
    await two_chats.say("What may I deduct?")
    request = await two_chats.model.next_request()
    await request.answer("Paragraph 9.")
    await two_chats.wait_until_idle()

    body = json.dumps(request.body, ensure_ascii=False)
    assert '<folder_instructions name=\\"Taxes\\">\\nName the paragraph.' in body
    await expect(rows(two_chats)).to_have_text(["What may I deduct?"])
    await expect(two_chats.page.locator(".folder-mark")).to_contain_text("Taxes")
    await two_chats.page.get_by_role("button", name="New chat").click()
    await expect(two_chats.page.locator(".folder-mark")).to_have_count(0)


@pytest.mark.slow
async def test_a_folder_is_made_changed_and_deleted_with_its_chats_and_it_can_be_undone(
    two_chats: Chat,
) -> None:
    page = two_chats.page
    await page.get_by_role("button", name="New folder").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("Name")).to_be_focused()
    await dialog.get_by_label("Name").fill(HOSTILE)
    await dialog.get_by_label("Instructions").fill("Answer in French.")
    await dialog.get_by_role("button", name="Save").click()
    await expect(folder(two_chats, HOSTILE)).to_be_visible()
    row = page.locator(".folder", has_text="onerror")
    await choose(two_chats, row, "Edit folder")
    await expect(dialog.get_by_label("Instructions")).to_have_value("Answer in French.")
    await dialog.get_by_label("Name").fill("Cooking")
    await dialog.get_by_role("button", name="Save").click()
    await move(two_chats, "Pancakes", "Cooking")
    await expect(rows(two_chats)).to_have_text(["Pancakes"])

    await choose(two_chats, page.locator(".folder", has_text="Cooking"), "Delete folder")
    await dialog.get_by_label("Delete its chats too").check()
    await dialog.get_by_role("button", name="Delete folder").click()
    await expect(folder(two_chats, "Cooking")).to_have_count(0)
    await expect(page.locator(".thread > a")).to_have_text(["Travel costs"])
    await page.get_by_role("button", name="Undo").last.click()
    await expect(rows(two_chats)).to_have_text(["Pancakes"])

    await choose(two_chats, page.locator(".folder", has_text="Cooking"), "Delete folder")
    await dialog.get_by_role("button", name="Delete folder").click()
    await expect(page.locator(".thread > a")).to_have_text(["Pancakes", "Travel costs"])
    await page.goto("about:blank")  # pending changes are made when the page is left
    async with AsyncClient(two_chats.up.url) as client:
        while len((await client.list_folders()).data) > 1:
            pass
        threads = (await client.list_threads(folder_id="none")).data
    assert {thread.title for thread in threads} >= {"Pancakes", "Travel costs"}


@pytest.mark.slow
async def test_files_are_put_into_a_folder_and_taken_out(two_chats: Chat) -> None:
    dialog = two_chats.page.get_by_role("dialog")
    await choose(two_chats, two_chats.page.locator(".folder"), "Edit folder")
    await dialog.locator("input[type=file]").set_input_files(
        [{"name": f"{name}.txt", "mimeType": "text/plain", "buffer": b"Law"} for name in "ab"]
    )
    await expect(dialog.locator("input[name=file_id]")).to_have_count(2)
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)
    await choose(two_chats, two_chats.page.locator(".folder"), "Edit folder")
    await dialog.get_by_role("button", name="Remove a.txt").click()
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)

    async with AsyncClient(two_chats.up.url) as client:
        (stored_folder,) = (await client.list_folders()).data
        (file_id,) = stored_folder.file_ids
        assert (await client.get_file(file_id)).name == "b.txt"
    assert stored_folder.instructions == "Name the paragraph."


@pytest.mark.slow
async def test_several_chats_are_moved_at_once_into_a_folder_that_is_made_for_them(
    two_chats: Chat,
) -> None:
    await two_chats.page.get_by_role("button", name="Select", exact=True).click()
    await two_chats.page.get_by_role("button", name="Select all shown").click()
    await (
        two_chats.page.locator(".side-marked").get_by_role("button", name="Move to folder").click()
    )
    dialog = two_chats.page.get_by_role("dialog")
    await dialog.get_by_label("Folder").select_option(label="New folder")
    await dialog.get_by_label("Name").fill("Everything")
    await dialog.get_by_role("button", name="Move", exact=True).click()

    await expect(folder(two_chats, "Everything")).to_have_attribute("aria-expanded", "true")
    await expect(rows(two_chats)).to_have_count(2)
    await expect(two_chats.page.locator(".side-marked")).to_have_count(0)


@pytest.mark.slow
async def test_folders_are_opened_by_keys_and_on_a_phone(two_chats: Chat, axe: str) -> None:
    await move(two_chats, "Travel costs", "Taxes")
    await folder(two_chats, "Taxes").click()
    await two_chats.page.get_by_role("searchbox").focus()
    await two_chats.page.keyboard.press("ArrowDown")
    await expect(folder(two_chats, "Taxes")).to_be_focused()
    await two_chats.page.keyboard.press("Enter")
    await two_chats.page.keyboard.press("ArrowDown")
    await expect(rows(two_chats)).to_be_focused()

    violations = await findings(two_chats.page, axe)
    await two_chats.page.set_viewport_size(PHONE)
    await two_chats.page.get_by_role("button", name="Show sidebar").click()
    await choose(two_chats, two_chats.page.locator(".folder"), "New chat in this folder")
    await expect(two_chats.page.locator("#sidebar")).to_be_hidden()
    await expect(two_chats.page.locator(".folder-mark")).to_be_visible()
    width = await two_chats.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    assert violations == []
