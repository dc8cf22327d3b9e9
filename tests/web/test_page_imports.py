"""Chats of elsewhere are imported in the settings of the page."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import expect

from tests.support.runtime.chat_exports import SCRIPT, as_json, as_zip, chatgpt
from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.chats import Chat


async def test_an_export_is_looked_at_imported_and_not_imported_twice(
    chat: Chat, axe: str, tmp_path: Path
) -> None:
    export = tmp_path / "chatgpt.zip"
    padding = b" " * 600_000  # more than a piece
    export.write_bytes(as_zip(**{"conversations.json": as_json(chatgpt()) + padding}))
    noise = tmp_path / "noise.json"
    noise.write_bytes(b"MZ no export")
    await chat.page.get_by_role("button", name="Settings").click()
    imports = chat.page.get_by_role("region", name="Import chats")
    choose = imports.locator("input[type=file]")

    await choose.set_input_files(export)
    start = imports.get_by_role("button", name="Import", exact=True)
    await expect(start).to_be_visible()
    await expect(imports.get_by_text("Ready. New conversations: 1, messages: ")).to_be_visible()
    assert not await findings(chat.page, axe)
    await expect(chat.page.locator(".thread")).to_have_count(0)

    await start.click()
    await expect(imports.get_by_text("Imported. New conversations: 1")).to_be_visible()
    await expect(chat.page.locator(".thread")).to_have_count(1)
    await expect(chat.page.locator(".thread")).to_contain_text(SCRIPT.partition("\x1b")[0])

    await choose.set_input_files(export)
    await expect(imports.get_by_text("Already here: 1.")).to_be_visible()
    await imports.get_by_role("button", name="Cancel").click()
    await expect(imports.get_by_text("Cancelled. Nothing was added.")).to_be_visible()

    await choose.set_input_files(noise)
    await expect(imports.locator("li").first).to_contain_text("JSON")
    await chat.page.set_viewport_size({"width": 320, "height": 640})
    assert not await findings(chat.page, axe)
    await chat.faultless()
