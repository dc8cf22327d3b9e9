"""The administration in the page: people, keys, runs, usage."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, ViewportSize, expect

from tests.support.web.chats import Chat, chatting
from tests.support.web.people import ADMIN, PASSWORD, enter, give
from tests.support.web.people import locked as locked

PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest.mark.slow
async def test_people_are_added_promoted_kept_out_and_removed(locked: Chat) -> None:
    await enter(locked, ADMIN)
    await locked.page.get_by_role("link", name="Administration").click()
    await add(locked, "bo")
    await act(locked, "bo", "Make an administrator")
    await expect(row(locked, "bo")).to_contain_text("Administrator")
    await act(locked, "bo", "Switch off")
    await expect(row(locked, "bo")).to_contain_text("Switched off")
    await act(locked, "bo", "Remove")
    await locked.page.get_by_role("dialog").get_by_role("button", name="Remove").click()

    await expect(row(locked, "bo")).to_have_count(0)
    await act(locked, ADMIN, "Make a user")
    await expect(locked.page.locator(".toast.bad")).to_contain_text("last admin")


async def test_a_person_who_is_added_logs_in_and_does_not_administrate(locked: Chat) -> None:
    await enter(locked, ADMIN)
    await locked.open("/admin")
    await add(locked, "bo")
    await act(locked, "bo", "Set a new password")
    await locked.page.get_by_role("dialog").get_by_role("textbox").fill("staple battery horse")
    await locked.page.get_by_role("button", name="Set password").click()
    await expect(locked.page.locator(".toast").last).to_contain_text("has a new password")
    await locked.context.clear_cookies()
    await locked.open("/admin")
    await give(locked, "bo", "staple battery horse")

    await expect(locked.page.locator(".lost")).to_be_visible()
    await expect(locked.page.get_by_role("link", name="Administration")).to_have_count(0)


@pytest.mark.slow
async def test_the_sections_stand_beside_the_present_one(locked: Chat) -> None:
    await enter(locked, ADMIN)
    await locked.open("/admin/acts")
    sections = locked.page.get_by_role("navigation", name="Sections")
    present_link = sections.locator("[aria-current=page]")
    await expect(present_link).to_have_text("Audit log")
    await expect(sections.get_by_role("button")).to_have_count(0)

    await sections.get_by_role("link", name="Projects").click()

    await expect(present_link).to_have_text("Projects")
    await expect(locked.page.get_by_role("region", name="Projects")).to_be_visible()
    region = await locked.page.get_by_role("region", name="Projects").bounding_box()
    menu = await sections.bounding_box()
    assert region is not None
    assert menu is not None
    assert menu["x"] + menu["width"] <= region["x"]


@pytest.mark.slow
async def test_on_a_phone_the_sections_are_a_menu(locked: Chat) -> None:
    await enter(locked, ADMIN)
    await locked.page.set_viewport_size(PHONE)
    await locked.open("/admin")
    sections = locked.page.get_by_role("navigation", name="Sections")
    opener, links = sections.get_by_role("button"), sections.get_by_role("link")
    await expect(opener).to_have_text("People")
    await expect(links).to_have_count(0)

    await opener.press("Enter")
    await expect(links.filter(has_text="People")).to_have_attribute("aria-current", "page")
    await locked.page.keyboard.press("Escape")
    await expect(links).to_have_count(0)
    await expect(opener).to_be_focused()

    await opener.press("Enter")
    await links.filter(has_text="Audit log").press("Enter")
    await expect(opener).to_have_text("Audit log")
    await expect(links).to_have_count(0)
    await expect(opener).to_be_focused()

    await opener.click()
    await locked.page.get_by_role("button", name="New chat").focus()
    await expect(links).to_have_count(0)


@pytest.mark.slow
async def test_on_a_phone_each_value_of_a_table_stands_beside_its_name(locked: Chat) -> None:
    await enter(locked, ADMIN)
    await locked.page.set_viewport_size(PHONE)
    await locked.open("/admin/people")
    admin = row(locked, ADMIN)

    await expect(admin.get_by_role("cell")).to_have_count(5)
    role = admin.get_by_role("cell").nth(1)
    name = "(cell) => getComputedStyle(cell, '::before').content"
    assert await role.evaluate(name) == '"Role"'
    overflow = "(table) => table.scrollWidth > table.clientWidth"
    assert not await locked.page.get_by_role("table").evaluate(overflow)
    card = await admin.bounding_box()
    assert card is not None
    for cell in await admin.get_by_role("cell").all():
        box = await cell.bounding_box()
        assert box is not None
        assert card["x"] <= box["x"]
        assert box["x"] + box["width"] <= card["x"] + card["width"]


@pytest.mark.slow
async def test_a_chat_is_begun_from_the_top_bar_of_a_phone(chat: Chat) -> None:
    await chat.page.set_viewport_size(PHONE)
    for address in ("/assistants", "/admin/keys", "/nowhere"):
        await chat.open(address)
        await chat.page.get_by_role("button", name="New chat").click()
        await expect(chat.page).to_have_url(f"{chat.up.url}/")
        await expect(chat.composer).to_be_visible()
    await chat.say("Hello")
    await (await chat.model.next_request()).answer("Hi.")
    await chat.wait_until_idle()

    await chat.page.get_by_role("button", name="New chat").click()

    await expect(chat.answers).to_have_count(0)
    await expect(chat.page.get_by_role("heading", level=1)).to_have_text(
        "What would you like to know?"
    )


async def add(chat: Chat, name: str) -> None:
    """Add a person with the form."""
    await chat.page.get_by_role("button", name="Add a person").click()
    dialog = chat.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill(name)
    await dialog.get_by_label("New password").fill(PASSWORD)
    await dialog.get_by_role("button", name="Add a person").click()
    await expect(row(chat, name)).to_be_visible()


def row(chat: Chat, name: str) -> Locator:
    """Return the row of the table that begins with this name."""
    return chat.page.get_by_role("row").filter(has=chat.page.locator("strong", has_text=name))


async def act(chat: Chat, name: str, action: str) -> None:
    await chat.page.get_by_role("button", name=f"Actions for {name}").click()
    await chat.page.get_by_role("menuitem", name=action).click()


@pytest.mark.slow
async def test_a_key_is_shown_once_and_revoked(chromium: Browser, tmp_path: Path) -> None:
    async with chatting(chromium, tmp_path, "--no-servers") as chat:
        await chat.open("/admin/keys")
        await chat.page.get_by_role("button", name="Make a key").click()
        dialog = chat.page.get_by_role("dialog")
        await dialog.get_by_label("Name").fill("Nightly report")
        await dialog.get_by_role("button", name="Make a key").click()
        token = await chat.page.get_by_role("textbox", name="The key").input_value()
        await chat.page.get_by_role("button", name="I have kept it").click()
        await expect(row(chat, "Nightly report")).to_be_visible()
        await chat.page.reload()
        await expect(row(chat, "Nightly report")).to_be_visible()
        assert token
        assert token not in await chat.page.content()

        await row(chat, "Nightly report").get_by_role("button", name="Revoke").click()
        await chat.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(row(chat, "Nightly report")).to_have_count(0)


@pytest.mark.slow
async def test_a_run_is_seen_and_stopped_and_what_was_used_is_drawn(
    chromium: Browser, tmp_path: Path
) -> None:
    async with chatting(chromium, tmp_path, "--no-servers") as chat:
        await chat.say("Count to a million.")
        reply = await chat.model.next_request()
        await reply.say("One")
        await chat.sees("One")
        other_tab = await chat.tab("/admin/runs")
        await other_tab.page.get_by_role("button", name="Stop").click()
        await chat.wait_until_idle()
        await expect(other_tab.page.locator(".empty")).to_have_text("Nothing runs now.")
        await chat.say("Go on.")
        await (await chat.model.next_request()).answer("Two.", (1000, 234))
        await chat.wait_until_idle()
        await other_tab.page.get_by_role("link", name="Usage").click()

        await expect(other_tab.page.locator(".total strong")).to_have_text("1.2K")


@pytest.mark.slow
async def test_models_servers_and_shared_assistants_are_listed(chat: Chat) -> None:
    await chat.open("/admin/models")
    await expect(row(chat, "told")).to_contain_text("Default")
    for section in ("MCP servers", "Assistants"):
        await chat.page.get_by_label("Sections").get_by_role("link", name=section).click()
        await expect(chat.page.locator(".page .empty")).to_be_visible()
