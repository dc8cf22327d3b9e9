"""An answer with every kind of content in the page: drawn, harmless, with its price, saved."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, wider
from tests.support.web.chats import Chat, chatting
from tests.support.web.payloads import PAYLOADS

CODE = 'print("four")\n'
RICH_ANSWER = f"""## Tides

A *word*, a [link](https://example.org/tides) and ![a chart](https://example.org/chart.png).

| sea | height |
|-----|-------:|
| Brest | 7 |

```python
{CODE}```

Height is $h = a \\cos(\\omega t)$.
"""
PRICES = """
[providers.openai]
prices = { "told" = { input = 2.0, output = 2.0 } }
"""
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
TOOLS = f'''
from antiphon import tool


@tool
def look(at: str) -> str:
    """Look at a place."""
    return at + {MARKUP!r}


@tool
def fail(at: str) -> str:
    """Look at what is not there."""
    raise ValueError({MARKUP!r})
'''
LIST_ACTIVE_PARTS = """() => {
  const inert = "script:not([src]), iframe, object, embed, form[action]";
  const acts = ({ tagName }, { name, value }) =>
    name.startsWith("on")
    || (/^(href|src|action)$/.test(name) && /^\\s*(javascript|vbscript|data:text)/i.test(value))
    || (tagName === "IMG" && name === "src" && /^https?:/.test(value));
  return [...document.querySelectorAll(inert)].map((it) => it.outerHTML).concat(
    [...document.querySelectorAll("*")].flatMap((it) => [...it.attributes]
      .filter((attribute) => acts(it, attribute))
      .map(({ name, value }) => `${it.tagName} ${name}=${value}`)));
}"""


@pytest.mark.parametrize("colours", ["light", pytest.param("dark", marks=pytest.mark.slow)])
async def test_everything_that_an_answer_may_hold_is_drawn(
    chat: Chat, axe: str, colours: str
) -> None:
    await chat.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await chat.page.emulate_media(color_scheme=colours, reduced_motion="reduce")
    await chat.say("Tell me everything.")
    reply = await chat.model.next_request()
    for start in range(0, len(RICH_ANSWER), 17):
        await reply.say(RICH_ANSWER[start : start + 17])
    await reply.end()
    await chat.wait_until_idle()
    answer = chat.answers
    await expect(answer.locator("td").last).to_have_text("7")
    await expect(answer.locator("math")).to_have_count(1)
    await expect(answer.get_by_role("link", name="a chart")).to_have_attribute(
        "href", "https://example.org/chart.png"
    )
    await expect(answer.locator("img")).to_have_count(0)
    await expect(answer.locator("pre span").first).to_be_visible()
    await answer.locator("pre").hover()
    await answer.get_by_role("button", name="Copy").first.click()
    clipboard_text = await chat.page.evaluate("navigator.clipboard.readText()")

    assert clipboard_text.strip() == CODE.strip()
    assert await findings(chat.page, axe) == []
    await chat.page.set_viewport_size({"width": 320, "height": 640})
    assert await wider(chat.page) == []


async def test_nothing_that_anybody_says_acts_in_the_page(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    async with chatting(chromium, tmp_path, "--no-servers", "--tools", "tools.py") as chat:
        await chat.page.set_input_files(
            "input[type=file]",
            files=[{"name": f"{MARKUP}.txt", "mimeType": "text/plain", "buffer": b"words"}],
        )
        await expect(chat.page.locator(".attachment")).to_have_attribute("data-state", "ready")
        await chat.say(MARKUP)
        reply = await chat.model.next_request()
        await reply.think(f"{MARKUP} [x](javascript:alert(3))")
        await reply.call("look", {"at": MARKUP, MARKUP: 1}, id="c1")
        await reply.call("fail", {"at": MARKUP}, id="c2", index=1)
        await reply.call(MARKUP, {"at": MARKUP}, id=MARKUP, index=2)
        await reply.end("tool_calls")
        await (await chat.model.next_request()).answer("\n\n".join(PAYLOADS))
        await chat.wait_until_idle()
        for fold in await chat.page.locator("#conversation [aria-expanded=false]").all():
            await fold.click()
        assert await chat.page.evaluate(LIST_ACTIVE_PARTS) == []
        await chat.page.reload()
        await expect(chat.answers.locator(".message-text")).not_to_have_text("")

        assert await chat.page.evaluate(LIST_ACTIVE_PARTS) == []
        await expect(chat.page).to_have_title(re.compile(re.escape(MARKUP[:10])))
        await chat.say("Again")
        await (await chat.model.next_request()).refuse(400, MARKUP)
        await chat.wait_until_idle()
        assert await chat.page.evaluate(LIST_ACTIVE_PARTS) == []


@pytest.mark.slow
async def test_the_price_of_an_answer_is_shown_and_another_model_is_picked(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "antiphon.toml").write_text(PRICES)
    flags = ("--no-servers", "--model", "openai:told", "--config-file", "antiphon.toml")
    async with chatting(chromium, tmp_path, *flags) as chat:
        chat.model.names = ["told", "other"]
        await chat.page.reload()
        await chat.say("How much?")
        await (await chat.model.next_request()).answer("Much.", (1_000_000, 234_000))
        await chat.wait_until_idle()
        await expect(chat.answers).to_contain_text("1.2M tokens · $2.47")
        await chat.page.get_by_role("button", name="Model: told (default)").click()
        await chat.page.get_by_role("option", name="other").click()
        await expect(chat.page.get_by_role("button", name="Model: other")).to_be_focused()
        await chat.say("Who are you?")
        reply = await chat.model.next_request()
        await reply.answer("The other one.")
        await chat.sees("The other one.")
        await chat.wait_until_idle()

    assert reply.body["model"] == "other"


@pytest.mark.slow
async def test_a_thread_is_saved_as_json_and_as_a_page(chat: Chat, tmp_path: Path) -> None:
    chat.model.will_say("The moon pulls.")
    await chat.say("How do tides work?")
    await chat.sees("The moon pulls.")
    await chat.wait_until_idle()
    downloads = {}
    for kind in ("JSON", "web page"):
        await chat.page.locator(".thread").hover()
        await chat.page.locator(".thread").get_by_role("button").click()
        async with chat.page.expect_download() as download_info:
            await chat.page.get_by_role("menuitem", name=kind).click()
        downloads[kind] = Path(await (await download_info.value).path()).read_text()

    assert "The moon pulls." in json.dumps(json.loads(downloads["JSON"]))
    assert "The moon pulls." in downloads["web page"]


@pytest.mark.slow
async def test_a_file_goes_along_when_its_message_is_answered_again_or_edited(
    chat: Chat,
) -> None:
    notes = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"the sea is wide"}
    await chat.page.set_input_files("input[type=file]", files=[notes])
    await expect(chat.page.locator(".attachment")).to_have_attribute("data-state", "ready")
    await chat.say("What is this?")
    await (await chat.model.next_request()).answer("Notes.")
    await chat.wait_until_idle()
    await chat.page.get_by_role("button", name="Answer again").click()
    second = await chat.model.next_request()
    await second.answer("Words.")
    await chat.sees("Words.")
    await chat.wait_until_idle()
    await chat.composer.press("ArrowUp")
    editor = chat.page.locator(".rewrite textarea")
    await editor.fill("And what is that?")
    await editor.press("Enter")
    third = await chat.model.next_request()
    await third.answer("The same.")
    await chat.sees("The same.")
    await chat.wait_until_idle()

    assert "the sea is wide" in str(second.messages)
    assert "the sea is wide" in str(third.messages)
    assert "And what is that?" in str(third.messages)
    await expect(chat.asked.locator("a[download]")).to_have_count(1)
    await expect(chat.page.locator(".branches")).to_contain_text("3/3")
