"""The tools of an assistant: one list, by the server that offers them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, wider
from tests.support.web.chats import Chat, chatting

TOOLS = '''
from antiphon import tool


@tool
def draw(at: str) -> str:
    """Draw a place on <b>paper</b>."""
    return at


@tool
def sing(song: str) -> str:
    """Sing a song \u202eloudly."""
    return song
'''
NARROW = {"width": 320, "height": 640}


async def open_form(chat: Chat, tmp_path: Path) -> Locator:
    """Open the form of a new assistant with a choice of tools; return the choice."""
    await chat.open("/assistants/new")
    await chat.page.get_by_label("All tools of this chat").uncheck()
    return chat.page.locator(".tool-choice")


def form_script(chat: Chat) -> str:
    """Return a script that lists the tools and servers that the form would send."""
    return """() => {
      const form = new FormData(document.querySelector(".editor form"));
      return [form.getAll("tool"), form.getAll("server")];
    }"""


@pytest.mark.slow
async def test_tools_are_searched_described_and_chosen_one_by_one_or_all(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    async with chatting(chromium, tmp_path, "--no-servers", "--tools", "tools.py") as chat:
        choice = await open_form(chat, tmp_path)
        chat_tools = choice.get_by_role("region", name="This chat")
        every = chat_tools.get_by_label("All tools of This chat")
        await expect(chat_tools).to_contain_text("0 of 4")
        await expect(chat_tools).to_contain_text("Draw a place on <b>paper</b>.")
        await expect(chat_tools).to_contain_text("<U+202E>loudly")

        await choice.get_by_role("searchbox").fill("paper draw")
        await expect(chat_tools.locator(".tool-list input")).to_have_count(1)
        await choice.get_by_role("searchbox").press("Enter")
        await chat_tools.get_by_label("draw").check()
        await expect(chat_tools).to_contain_text("1 of 4")
        assert await every.evaluate("(box) => box.indeterminate")
        await choice.get_by_role("searchbox").fill("nothing like it")
        await expect(choice).to_contain_text("No tool matches.")
        await choice.get_by_role("searchbox").fill("")

        await every.check()
        await expect(chat_tools).to_contain_text("4 of 4")
        await every.uncheck()
        assert await chat.page.evaluate(form_script(chat)) == [[], []]
        await chat_tools.get_by_label("sing").check()
        assert await chat.page.evaluate(form_script(chat)) == [["sing"], []]
        violations = await findings(chat.page, axe)
        await chat.page.set_viewport_size(NARROW)
        violations += await findings(chat.page, axe) + await wider(chat.page)

        assert violations == []


@pytest.mark.slow
async def test_an_assistant_keeps_its_model_limits_and_tools(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    async with chatting(chromium, tmp_path, "--no-servers", "--tools", "tools.py") as chat:
        chat.model.names = ["told", "other"]
        choice = await open_form(chat, tmp_path)
        await choice.get_by_label("sing").check()
        page = chat.page
        await page.get_by_label("Name", exact=True).fill("Bard")
        await page.get_by_role("button", name="Model").click()
        await page.get_by_role("combobox").fill("other")
        await page.get_by_role("combobox").press("Enter")
        await expect(page.get_by_role("button", name="Model other")).to_be_focused()
        await page.get_by_label("Tool calls").fill("3")
        await page.get_by_label("Tokens of a reply").fill("500")
        await page.get_by_role("button", name="Save").click()
        await page.get_by_role("button", name="Start a chat").click()
        await chat.say("Sing.")
        reply = await chat.model.next_request()
        await reply.answer("La.")
        await chat.wait_until_idle()
        listing = await chat.context.request.get(f"{chat.up.url}/api/assistants")
        [bard] = (await listing.json())["data"]
        await chat.open(f"/assistants/{bard['id']}")
        await expect(page.get_by_label("Tool calls")).to_have_value("3")
        await expect(page.get_by_label("Tokens of a reply")).to_have_value("500")
        await expect(page.locator(".tool-choice")).to_contain_text("1 of 4")
        await page.get_by_label("Tool calls").fill("")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator(".assistant")).to_be_visible()
        response = await chat.context.request.get(f"{chat.up.url}/api/assistants/{bard['id']}")
        changed_bard = await response.json()

    assert (bard["model"], bard["tools"], bard["mcp_servers"]) == ("other", ["sing"], [])
    assert (bard["max_tool_calls"], bard["max_output_tokens"]) == (3, 500)
    assert (changed_bard["max_tool_calls"], changed_bard["max_output_tokens"]) == (None, 500)
    assert reply.body["model"] == "other"
    assert "500" in json.dumps(reply.body)
    assert [tool["function"]["name"] for tool in reply.body["tools"]] == ["sing"]
