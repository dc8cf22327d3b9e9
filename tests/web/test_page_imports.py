"""Chats of other services are imported in the settings of the page."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Locator, Route, expect

from tests.support.runtime.chat_exports import SCRIPT, as_json, as_zip, chatgpt
from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.chats import Chat


@pytest.mark.slow
async def test_an_export_is_looked_at_imported_and_not_imported_twice(
    chat: Chat, axe: str, tmp_path: Path
) -> None:
    export = tmp_path / "chatgpt.zip"
    padding = b" " * 600_000  # more than a piece
    export.write_bytes(as_zip(**{"conversations.json": as_json(chatgpt()) + padding}))
    noise = tmp_path / "noise.json"
    noise.write_bytes(b"MZ no export")
    imports, choose = await _open_imports(chat)

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
    await _cancel(imports)
    await expect(imports.locator("li").first).to_contain_text("Cancelled. Nothing was added.")

    await choose.set_input_files(noise)
    await expect(imports.locator("li").first).to_contain_text("JSON")
    await chat.page.set_viewport_size({"width": 320, "height": 640})
    assert not await findings(chat.page, axe)
    await chat.page.set_viewport_size({"width": 1280, "height": 720})
    dismiss = imports.get_by_role("button", name="from the list")
    await dismiss.first.press("Enter")
    await expect(imports.get_by_text("noise.json")).to_have_count(0)
    await expect(dismiss.first).to_be_focused()
    await chat.page.reload()
    imports, _ = await _open_imports(chat)
    await expect(imports.locator("li")).to_have_count(2)
    await chat.faultless()


async def test_an_upload_is_cancelled_and_another_one_goes_on_where_it_broke_off(
    chat: Chat, tmp_path: Path
) -> None:
    export = tmp_path / ("x" * 220 + ".json")
    export.write_bytes(as_json(chatgpt()) + b" " * 1_200_000)  # three pieces
    imports, choose = await _open_imports(chat)
    was_requested, may_go_on, refused_urls = asyncio.Event(), asyncio.Event(), list[str]()

    async def hold(route: Route) -> None:
        was_requested.set()
        await may_go_on.wait()
        await route.continue_()

    await chat.page.route("**/pieces", hold)
    await choose.set_input_files(export)
    await was_requested.wait()
    other_imports, _ = await _open_imports(await chat.tab())
    await expect(other_imports.get_by_text("If no other window is sending")).to_be_visible()
    await _cancel(imports)
    async with chat.page.expect_response("**/pieces") as response_info:
        may_go_on.set()
    assert (await response_info.value).status == 409
    await expect(other_imports.get_by_role("button", name="Cancel")).to_have_count(0)
    await expect(chat.page.locator(".toasts")).to_be_empty()

    await chat.page.unroute("**/pieces")
    await chat.page.route("**/pieces", _let_one_pass)
    await choose.set_input_files(export)
    await expect(imports.get_by_text("If no other window is sending")).to_be_visible()
    await chat.page.unroute("**/pieces")
    chat.page.on("response", lambda each: refused_urls.append(each.url) if not each.ok else None)
    await choose.set_input_files(export)
    await expect(imports.get_by_text("Ready.")).to_be_visible()

    assert refused_urls == []
    await _cancel(imports)
    await chat.faultless()


async def _open_imports(chat: Chat) -> tuple[Locator, Locator]:
    """Open the settings; return the part about imports, and its field for a file."""
    await chat.page.get_by_role("button", name="Settings").click()
    imports = chat.page.get_by_role("region", name="Import chats")
    return imports, imports.locator("input[type=file]")


async def _cancel(imports: Locator) -> None:
    """Cancel the running import, and wait until none is running."""
    cancel = imports.get_by_role("button", name="Cancel")
    await cancel.click()
    await expect(cancel).to_have_count(0)


async def _let_one_pass(route: Route) -> None:
    """Let the first piece pass, and break the connection at the next one."""
    first = '"offset":0,' in (route.request.post_data or "")
    await (route.continue_() if first else route.abort())
