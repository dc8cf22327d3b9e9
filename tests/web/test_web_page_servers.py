"""What an admin sees of MCP servers and of what runs, in words of the page."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Browser, expect

from tests.terminal.mcp_servers import config, raw
from tests.web.chats import chatting


async def test_servers_that_work_and_fail_and_what_runs_are_told_in_words(
    chromium: Browser, tmp_path: Path
) -> None:
    broken = {"command": str(tmp_path / "nothing"), "args": []}
    servers = config(tmp_path, {"far": raw(), "broken": broken})
    async with chatting(chromium, tmp_path, *servers) as chat:
        await chat.page.wait_for_function(
            "async () => (await (await fetch('/api/me')).json()).tools.some((t) => t.server)"
        )
        await chat.open("/admin/servers")
        await expect(chat.page.get_by_role("row", name="far")).to_contain_text("ready")
        await expect(chat.page.get_by_role("row", name="broken")).to_contain_text("failed")
        await expect(chat.page.get_by_role("row", name="broken")).to_contain_text("nothing")
        await chat.open()
        await chat.say("Echo.")
        reply = await chat.model.asked()
        await reply.call("far__echo", {"x": 1}, id="c1")
        await reply.end("tool_calls")
        await expect(chat.page.locator(".approval")).to_be_visible()
        other = await chat.tab("/admin/runs")
        await expect(other.page.locator(".badge")).to_have_text("waits for a tool or a person")
        await other.page.get_by_role("button", name="Stop").click()
        await chat.sees("Stopped")
        await chat.settled()
