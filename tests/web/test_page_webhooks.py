"""The administration of webhooks in the page."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.web.chats import Chat, chatting

URL = "https://hooks.invalid/antiphon"


@pytest_asyncio.fixture(loop_scope="session")
async def admin(chromium: Browser, tmp_path: Path):
    """A page without a login."""
    async with chatting(chromium, tmp_path, "--no-servers") as chat:
        yield chat


async def press(chat: Chat, name: str) -> None:
    await chat.page.get_by_role("dialog").get_by_role("button", name=name).click()


async def choose(chat: Chat, name: str) -> None:
    await chat.page.get_by_role("row").get_by_role("button", name="Actions for").click()
    await chat.page.get_by_role("menuitem", name=name).click()


@pytest.mark.slow
async def test_a_webhook_is_added_tested_switched_off_and_removed(admin: Chat) -> None:
    page = admin.page
    dialog = page.get_by_role("dialog")
    await admin.open("/admin/webhooks")
    await expect(page.locator(".empty")).to_be_visible()

    await page.get_by_role("button", name="Add a webhook").click()
    await dialog.get_by_label("Address").fill("https://127.0.0.1/")
    await press(admin, "Add a webhook")
    await expect(dialog.get_by_role("alert")).to_contain_text("127.0.0.1")
    await dialog.get_by_label("Address").fill(URL)
    await dialog.get_by_label("What it is for").fill("<b>Jobs</b>")
    await dialog.get_by_label("run.failed").check()
    await press(admin, "Add a webhook")
    secret = await dialog.get_by_label("Secret").input_value()
    assert secret.startswith("whsec_")
    await press(admin, "I have kept it")
    row = page.get_by_role("row").filter(has_text=URL)
    address = await row.get_by_text(URL).bounding_box()
    purpose = await row.get_by_text("<b>Jobs</b>").bounding_box()
    assert address
    assert purpose
    assert purpose["y"] >= address["y"] + address["height"]  # on a line of its own
    await expect(row.locator(".badge")).to_have_text(["run.failed", "On"])
    assert secret not in await page.content()

    await choose(admin, "Send a test event")
    delivery = page.get_by_role("row").filter(has_text="webhook.test")
    await expect(delivery).to_contain_text("waiting")
    await delivery.get_by_role("button", name="Send again").click()
    await expect(delivery).to_contain_text("waiting")

    await choose(admin, "Replace the secret")
    await press(admin, "Replace the secret")
    await expect(dialog.get_by_label("Secret")).not_to_have_value(secret)
    await press(admin, "I have kept it")
    await choose(admin, "Switch off")
    await expect(row.locator(".badge")).to_have_text(["run.failed", "Switched off"])
    await choose(admin, "Change")
    await dialog.get_by_label("run.failed").uncheck()
    await press(admin, "Save")
    await expect(row.locator(".badge")).to_have_text(["all", "Switched off"])
    await choose(admin, "Switch on")
    await choose(admin, "Remove")
    await press(admin, "Remove")
    await expect(page.locator(".empty")).to_be_visible()
    await page.get_by_role("link", name="Audit log").click()
    await expect(page.locator("tbody tr").nth(0)).to_contain_text("removed a webhook")
