"""The administration of schedules in the page."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.web.chats import Chat, chatting


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
async def test_a_schedule_is_added_run_paused_changed_and_removed(admin: Chat) -> None:
    page = admin.page
    dialog = page.get_by_role("dialog")
    await admin.open("/admin/schedules")
    await expect(page.locator(".empty")).to_be_visible()

    await page.get_by_role("button", name="Add a schedule").click()
    await dialog.get_by_label("Message").fill("<b>Report</b>")
    await dialog.get_by_label("Times", exact=True).fill("* * * * *")
    await press(admin, "Add a schedule")
    await expect(dialog.get_by_role("alert")).to_contain_text("too often")
    await dialog.get_by_label("Times", exact=True).fill("30 8 * * mon-fri")
    await dialog.get_by_label("Time zone").fill("Asia/Tokyo")
    await press(admin, "Show the next times")
    await expect(dialog.get_by_role("listitem")).to_have_count(5)
    await expect(dialog.get_by_role("listitem").first).to_contain_text("T08:30:00+09:00")
    await dialog.get_by_label("Tools").fill("search read*")
    await press(admin, "Add a schedule")
    row = page.get_by_role("row").filter(has_text="<b>Report</b>")
    await expect(row.locator(".badge")).to_have_text(["search", "read*", "Active"])

    await choose(admin, "Run now")
    reply = await admin.model.next_request()
    await reply.answer("All is well.")
    manual_run = page.get_by_role("row").filter(has_text="By hand")
    await expect(manual_run).to_contain_text("started")
    await choose(admin, "Pause")
    await expect(row.locator(".badge")).to_have_text(["search", "read*", "Paused"])
    await choose(admin, "Change")
    await dialog.get_by_label("Name").fill("Morning")
    await dialog.get_by_label("Tools").fill("")
    await press(admin, "Save")
    row = page.get_by_role("row").filter(has_text="Morning")
    await expect(row.locator(".badge")).to_have_text(["none", "Paused"])
    await choose(admin, "Resume")
    await expect(row.locator(".badge")).to_have_text(["none", "Active"])

    await manual_run.get_by_role("link").click()
    await page.wait_for_url("**/r/run_*")
    await admin.open("/admin/schedules")
    await choose(admin, "Remove")
    await press(admin, "Remove")
    await expect(page.locator(".empty")).to_be_visible()
    await page.get_by_role("link", name="Audit log").click()
    await expect(page.locator("tbody tr").nth(0)).to_contain_text("removed a schedule")
