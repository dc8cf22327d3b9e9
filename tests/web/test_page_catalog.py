"""MCP servers in the page: prompts with their arguments as fields, and resources to attach."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.terminal.mcp_servers import config, raw, whole
from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, wider
from tests.support.web.chats import chatting

READY = """async () => {
  const { data } = await (await fetch('/api/servers')).json();
  return data.length > 1 && data.every(({ status }) => status !== 'starting');
}"""


@pytest.mark.slow
async def test_a_prompt_and_a_resource_come_into_the_message_and_are_sent_with_it(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    broken = {"command": str(tmp_path / "nothing"), "args": []}
    servers = config(tmp_path, {"whole": whole(), "evil": raw("evil"), "broken": broken})
    async with chatting(chromium, tmp_path, *servers) as chat:
        page = chat.page
        while not await page.evaluate(READY):
            await page.wait_for_load_state()
        await page.reload()
        await chat.composer.fill("Thanks.")
        await page.get_by_role("button", name="MCP servers").press("Enter")
        dialog = page.get_by_role("dialog", name="MCP servers")
        await expect(dialog.locator(".catalog-server")).to_have_count(3)
        await expect(dialog).to_contain_text("failed")
        await dialog.locator("summary", has_text="evil").press("Enter")
        await expect(dialog).to_contain_text("forged other: ready")
        await dialog.locator("summary", has_text="whole").press("Enter")
        await expect(dialog.get_by_role("button", name="Use: city")).to_be_visible()
        violations = await findings(page, axe)
        await page.set_viewport_size({"width": 320, "height": 600})
        violations += await wider(page)
        await page.set_viewport_size({"width": 1280, "height": 800})

        await dialog.get_by_role("button", name="Use: city").press("Enter")
        form = page.get_by_role("dialog", name="city")
        violations += await findings(page, axe)
        await form.get_by_role("button", name="Use").press("Enter")
        await expect(form).to_be_visible()  # the browser asks for what is required
        await form.get_by_label("name").fill("Bern")
        await form.get_by_role("button", name="Use").press("Enter")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(chat.composer).to_have_value("Tell me of Bern, dry.\nThanks.")
        await expect(chat.composer).to_be_focused()

        await page.get_by_role("button", name="MCP servers").press("Enter")
        await dialog.locator("summary", has_text="whole").press("Enter")
        await dialog.get_by_role("button", name="Attach: notes").press("Enter")
        await expect(page.locator(".composer .attachment")).to_contain_text("all")
        count = "async () => (await (await fetch('/api/threads')).json()).data.length"
        assert await page.evaluate(count) == 0
        await chat.composer.press("Enter")
        reply = await chat.model.next_request()
        await reply.answer("A city.")
        await chat.wait_until_idle()

        assert "Tell me of Bern, dry." in str(reply.messages)
        assert "many notes" in str(reply.messages)
        assert violations == []
