"""The administration in the page: projects, limits, owners, their keys at providers, the log."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Route, expect

from tests.support.web.chats import Chat, chatting

KEY = "sk-canary-0123456789-abcdefgh"


@pytest_asyncio.fixture(loop_scope="session")
async def admin(chromium: Browser, tmp_path: Path):
    """A page without a login whose user has sent one message."""
    async with chatting(chromium, tmp_path, "--no-servers") as chat:
        await chat.say("Hello, canary-4711.")
        await (await chat.model.next_request()).answer("Hello.")
        await chat.wait_until_idle()
        yield chat


def row(chat: Chat, name: str) -> Locator:
    """Return the row of the table that begins with this name."""
    return chat.page.get_by_role("row").filter(has=chat.page.locator("strong", has_text=name))


async def press(chat: Chat, name: str) -> None:
    await chat.page.get_by_role("dialog").get_by_role("button", name=name).click()


async def fill(chat: Chat, label: str, text: str) -> None:
    await chat.page.get_by_role("dialog").get_by_label(label).fill(text)


@pytest.mark.slow
async def test_a_key_can_be_made_once_its_possible_owners_are_known(admin: Chat) -> None:
    routes: asyncio.Queue[Route] = asyncio.Queue()
    await admin.context.route("**/api/admin/people", routes.put)
    for view, action in (("keys", "Make a key"), ("provider_keys", "Set a key")):
        await admin.open(f"/admin/{view}")
        route = await routes.get()
        await expect(admin.page.get_by_role("button", name=action)).to_be_disabled()
        await route.continue_()
        await admin.page.get_by_role("button", name=action).click()
        owner = admin.page.get_by_role("dialog").get_by_label("Owner")
        await expect(owner).to_have_value("local")


@pytest.mark.slow
async def test_projects_keys_with_limits_and_the_log_of_it(admin: Chat) -> None:
    await admin.open("/admin/projects")
    await admin.page.get_by_role("button", name="Make a project").click()
    await fill(admin, "Name", "Moon")
    await press(admin, "Save")
    await expect(row(admin, "Moon")).to_contain_text("Active")

    await admin.open("/admin/keys")
    await admin.page.get_by_role("button", name="Make a key").click()
    await fill(admin, "Name", "robot")
    await admin.page.get_by_role("dialog").get_by_label("Owner").select_option("Moon")
    await fill(admin, "Requests a minute", "60")
    await fill(admin, "Good for how many days", "7")
    await press(admin, "Make a key")
    await press(admin, "I have kept it")
    await expect(row(admin, "robot").locator(".badge")).to_have_text(["read", "write"])
    await expect(row(admin, "robot")).to_contain_text("60 requests a minute")
    await row(admin, "robot").get_by_role("button", name="Limits").click()
    await fill(admin, "Requests a minute", "")
    await fill(admin, "Tokens a day", "1000")
    await press(admin, "Save")
    await expect(row(admin, "robot")).to_contain_text("1,000 tokens a day")
    await expect(row(admin, "robot")).not_to_contain_text("requests")

    await admin.open("/admin/projects")
    await row(admin, "Moon").get_by_role("button").click()
    await admin.page.get_by_role("menuitem", name="Switch off").click()
    await press(admin, "Switch off")
    await expect(row(admin, "Moon")).to_contain_text("Switched off")
    await admin.page.get_by_role("link", name="Audit log").click()
    rows = admin.page.locator("tbody tr")
    await expect(rows.nth(0)).to_contain_text("changed a project")
    await expect(rows.nth(1)).to_contain_text("changed the limits of a key")
    await expect(rows.nth(2)).to_contain_text("made a key")
    key = rows.nth(2).locator(".id")
    await expect(key).to_have_attribute("title", await key.inner_text())


async def test_a_key_at_a_provider_is_written_once_and_never_shown(admin: Chat) -> None:
    await admin.open("/admin/provider_keys")
    await admin.page.get_by_role("button", name="Set a key").click()
    await fill(admin, "Provider", "nope")
    await fill(admin, "Key", KEY)
    await press(admin, "Keep the key")
    await expect(admin.page.get_by_role("dialog").get_by_role("alert")).to_contain_text("nope")
    await fill(admin, "Provider", "openai")
    await press(admin, "Keep the key")

    await expect(row(admin, "Everybody")).to_contain_text("...efgh")
    assert KEY not in await admin.page.content()
    await admin.page.reload()
    await expect(row(admin, "Everybody")).to_contain_text("openai")
    await row(admin, "Everybody").get_by_role("button", name="Replace").click()
    assert (
        await admin.page.get_by_role("dialog").get_by_label("Key", exact=True).input_value() == ""
    )
    await fill(admin, "Key", f"{KEY}-new1")
    await press(admin, "Keep the key")
    await expect(row(admin, "Everybody")).to_contain_text("...new1")
    await row(admin, "Everybody").get_by_role("button", name="Remove").click()
    await press(admin, "Remove")
    await expect(admin.page.locator(".empty")).to_be_visible()


async def test_an_owner_is_exported_and_erased_by_typing_the_name(
    admin: Chat, tmp_path: Path
) -> None:
    await admin.open("/admin/owners")
    async with admin.page.expect_download() as download_info:
        await row(admin, "Everybody").get_by_role("link", name="Export").click()
    download = await download_info.value
    await download.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert "canary-4711" in archive.read("messages.jsonl").decode()
    assert download.suggested_filename.startswith("antiphon-local-")

    await row(admin, "Everybody").get_by_role("button", name="Erase").click()
    field = admin.page.get_by_role("dialog").get_by_role("textbox")
    await field.fill("somebody else")
    erase = admin.page.get_by_role("dialog").get_by_role("button", name="Erase all of it")
    await expect(erase).to_have_class("button danger")
    await erase.click()
    await expect(admin.page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
        "another name"
    )
    await expect(row(admin, "Everybody")).to_have_count(1)
    await field.fill("Everybody without a login")
    await press(admin, "Erase all of it")
    await expect(admin.page.locator(".toast")).to_contain_text("is gone")

    await expect(admin.page.locator(".page .empty")).to_be_visible()
