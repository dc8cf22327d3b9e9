"""MCP servers that are added, restarted, switched off and removed in the page."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page, expect

from tests.support.terminal.mcp_servers import raw
from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, wider
from tests.support.web.chats import chatting

LINE = shlex.join([raw()["command"], *raw()["args"]])


def own_file(home: Path) -> Path:
    return home / "config/antiphon/mcp.json"


def configure(home: Path, servers: dict[str, Any]) -> None:
    """Write servers to the user's file, as a terminal does."""
    own_file(home).parent.mkdir(parents=True, exist_ok=True)
    own_file(home).write_text(json.dumps({"mcpServers": servers}))


def read_servers(home: Path) -> dict[str, Any]:
    return json.loads(own_file(home).read_text())["mcpServers"]


async def open_list(page: Page) -> Locator:
    await page.get_by_role("button", name="MCP servers").press("Enter")
    return page.get_by_role("dialog", name="MCP servers")


async def test_a_program_is_typed_in_a_terminal_and_then_looked_for_and_managed(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    async with chatting(chromium, tmp_path) as chat:
        page = chat.page
        await chat.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await chat.composer.fill("A draft.")
        dialog = await open_list(page)
        await expect(dialog).to_contain_text("There is no MCP server yet.")
        await dialog.get_by_role("button", name="Add a server").press("Enter")
        form = page.get_by_role("dialog", name="Add a server")
        await expect(form.get_by_label("Name", exact=True)).to_be_focused()
        await form.get_by_label("Name", exact=True).fill("far")
        await form.get_by_label("A program on the machine of this chat").check()
        await form.get_by_label("Command").fill(LINE + " 'two words'")
        line = form.locator("pre")
        await expect(line).to_have_text(f"antiphon mcp add far -- {LINE} 'two words'")
        await form.get_by_role("button", name="Copy").press("Enter")
        await expect(form).to_contain_text("Copied")
        clipboard_text = await page.evaluate("() => navigator.clipboard.readText()")
        violations = await findings(page, axe)

        configure(tmp_path, {"far": raw(), "broken": {"command": "/nowhere/at-all"}})
        await form.get_by_role("button", name="Look for new servers").press("Enter")
        far, broken = (
            dialog.locator(".catalog-server", has=page.locator("strong", has_text=name))
            for name in ("far", "broken")
        )
        await expect(far.locator("summary")).to_be_focused()
        await expect(far.locator(".badge")).to_have_text("ready")
        await expect(broken.locator(".badge")).to_have_text("failed")
        await broken.locator("summary").press("Enter")
        await expect(broken).to_contain_text("Correct what the reason names")
        violations += await findings(page, axe)

        await far.get_by_role("button", name="Switch off: far").press("Enter")
        await expect(far.locator(".badge")).to_have_text("off")
        await expect(dialog.locator(".said")).to_have_text("far: off.")
        await expect(far.get_by_role("button", name="Switch on: far")).to_be_focused()
        assert read_servers(tmp_path)["far"]["disabled"] is True
        await far.get_by_role("button", name="Switch on: far").press("Enter")
        await expect(far.locator(".badge")).to_have_text("ready")
        await far.get_by_role("button", name="Restart: far").press("Enter")
        await expect(dialog.locator(".said")).to_contain_text("far: ready, ")
        await expect(far.get_by_role("button", name="Restart: far")).to_be_focused()
        await expect(far.locator(".badge")).to_have_text("ready")
        await broken.get_by_role("button", name="Remove: broken").press("Enter")
        question = page.get_by_role("dialog", name="Remove broken?")
        violations += await findings(page, axe)
        await question.get_by_role("button", name="Remove").press("Enter")
        await expect(broken).to_have_count(0)
        await expect(dialog.locator(".catalog-servers")).to_be_focused()
        await page.set_viewport_size({"width": 390, "height": 800})
        violations += await wider(page)
        await page.set_viewport_size({"width": 1280, "height": 720})
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(chat.composer).to_have_value("A draft.")
        await expect(page.get_by_role("button", name="MCP servers")).to_be_focused()

    assert clipboard_text == f"antiphon mcp add far -- {LINE} 'two words'"
    assert set(read_servers(tmp_path)) == {"far"}
    assert violations == []


async def test_every_argument_is_shown_before_a_program_is_started(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    async with chatting(chromium, tmp_path, "--web-mcp-programs") as chat:
        page = chat.page
        await (await open_list(page)).get_by_role("button", name="Add a server").press("Enter")
        form = page.get_by_role("dialog", name="Add a server")
        await form.get_by_label("Name", exact=True).fill("far")
        await form.get_by_label("A program on the machine of this chat").check()
        await form.get_by_label("Command").fill(f"{LINE} good 'a\u202eb c'")
        await form.get_by_label("Variables").fill("LEVEL=1\nHOME")
        await form.get_by_role("button", name="Check the command").press("Enter")
        question = page.get_by_role("dialog", name="Start this program?")
        words = await question.locator("ol.argv li").all_inner_texts()
        violations = await findings(page, axe)
        file_existed = own_file(tmp_path).exists()
        await question.get_by_role("button", name="Add and start the program").press("Enter")
        dialog = page.get_by_role("dialog", name="MCP servers")
        await expect(dialog.locator(".badge")).to_have_text("ready")
        await expect(dialog.locator("summary")).to_be_focused()
        await page.keyboard.press("Escape")
        await chat.say("Echo.")
        reply = await chat.model.next_request()
        await reply.call("far__echo", {"x": 1}, id="c1")
        await reply.end("tool_calls")
        await expect(page.locator(".approval")).to_be_visible()

    assert [word.strip() for word in words] == [*shlex.split(LINE), "good", "a<U+202E>b c"]
    assert not file_existed
    assert read_servers(tmp_path)["far"] == raw("good", "a\u202eb c") | {
        "env": {"LEVEL": "1", "HOME": "${HOME}"}
    }
    assert violations == []
