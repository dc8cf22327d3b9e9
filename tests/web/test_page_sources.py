"""Sources of an answer: numbers at its links, and a list of the pages that its tools have found."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, set_theme
from tests.support.web.chats import Chat, chatting

RESULTS = {
    "results": [
        {"url": "https://tides.example/moon", "title": "The moon pulls"},
        {"url": "https://tides.example/sun", "title": "<img src=x onerror=alert(1)>\u202e"},
        {"url": "https://tides.example/unused", "title": "Unused"},
        {"url": "javascript:alert(1)", "title": "Script"},
    ]
}
TOOLS = f'''
import json

from antiphon import tool


@tool
def search(words: str) -> str:
    """Search for pages."""
    return {json.dumps(json.dumps(RESULTS))}
'''
ANSWER = """The [sun](https://tides.example/sun) helps, but the moon is nearer
(https://tides.example/moon). See also [this](https://elsewhere.example/) and
[that](javascript:alert(1)), and again [the sun](https://tides.example/sun)."""


@pytest_asyncio.fixture(loop_scope="session")
async def cited_chat(chromium: Browser, tmp_path: Path) -> AsyncIterator[Chat]:
    """A page with an answer that cites two of the pages that a tool has found."""
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--no-servers", "--tools", str(tmp_path / "tools.py"))
    async with chatting(chromium, tmp_path, *flags) as chat:
        await chat.say("Why are there tides?")
        reply = await chat.model.next_request()
        await reply.call("search", {"words": "tides"}, id="c0")
        await reply.end("tool_calls")
        await (await chat.model.next_request()).answer(ANSWER)
        await chat.wait_until_idle()
        yield chat


@pytest.mark.slow
async def test_links_to_pages_that_a_tool_has_found_are_numbered_and_listed(
    cited_chat: Chat,
) -> None:
    sources = cited_chat.page.get_by_role("region", name="Sources")
    await expect(sources.get_by_role("listitem")).to_have_count(2)
    links = sources.get_by_role("link")
    assert [await link.get_attribute("href") for link in await links.all()] == [
        "https://tides.example/sun",
        "https://tides.example/moon",
    ]
    await expect(links.last).to_have_text("The moon pulls")
    await expect(links.last).to_have_attribute("rel", "noopener noreferrer nofollow")
    assert "\u202e" not in await sources.inner_text()
    await expect(cited_chat.page.locator(".message img")).to_have_count(0)

    marks = cited_chat.page.locator(".source-mark")
    await expect(marks).to_have_text(["1", "2", "1"])
    await marks.nth(1).press("Enter")
    await expect(links.last).to_be_focused()

    await cited_chat.page.reload()
    await expect(marks).to_have_text(["1", "2", "1"])


@pytest.mark.slow
async def test_pages_that_the_provider_cites_are_sources_with_its_numbers(chat: Chat) -> None:
    await chat.say("Why are there tides?")
    reply = await chat.model.next_request()
    await reply.cite(
        ("https://tides.example/moon", "The moon\u202e pulls"),
        ("javascript:alert(1)", "Script"),
        ("https://tides.example/sun", "<img src=x onerror=alert(1)>"),
    )
    await reply.say("The moon[1] and the sun[2][9], `code[1]`, [1](https://tides.example/sun).")
    await reply.end()
    await chat.wait_until_idle()

    sources = chat.page.get_by_role("region", name="Sources")
    links = sources.get_by_role("link")
    marks = chat.page.locator(".source-mark")
    for _ in range(2):
        await expect(links).to_have_text(["The moon pulls", "<img src=x onerror=alert(1)>"])
        await expect(marks).to_have_text(["1", "2", "2"])
        text = await chat.page.locator(".message.assistant .markdown").inner_text()
        assert "[9]" in text
        assert "code[1]" in text
        await marks.nth(1).press("Enter")
        await expect(links.last).to_be_focused()
        await chat.page.reload()
    await expect(chat.page.locator(".message img")).to_have_count(0)


@pytest.mark.slow
async def test_sources_have_no_barriers(cited_chat: Chat, axe: str) -> None:
    await expect(cited_chat.page.locator(".source-mark")).to_have_count(3)
    for theme in ("light", "dark"):
        await set_theme(cited_chat.page, theme)
        assert await findings(cited_chat.page, axe) == []
