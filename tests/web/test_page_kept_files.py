"""Files of a tool's output can be downloaded from the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.support.web.chats import Chat, chatting

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)
TOOLS = f'''
from antiphon import Blob, ToolResult, tool


@tool
def measure() -> str:
    """Measure everything."""
    return "".join(f"line {{n}} of a measurement\\n" for n in range(20_000))


@tool
def draw() -> ToolResult:
    """Draw the sea."""
    data = bytes.fromhex("{PICTURE.hex()}")
    picture = Blob(media_type="image/png", data=data, name="<b>sea.png")
    return ToolResult("Drawn.", content=(picture,))
'''
MEASUREMENT = "".join(f"line {n} of a measurement\n" for n in range(20_000)).encode()


@pytest.mark.slow
async def test_an_output_that_is_too_long_is_a_file_under_its_call(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    async with chatting(chromium, tmp_path, "--no-servers", "--tools", "tools.py") as chat:
        await chat.say("Measure and draw.")
        reply = await chat.model.next_request()
        await reply.call("measure", id="c1")
        await reply.call("draw", id="c2", index=1)
        await reply.end("tool_calls")
        await (await chat.model.next_request()).answer("Measured and drawn.")
        await chat.wait_until_idle()
        await _check_files(chat)
        await chat.page.reload()
        await chat.sees("Measured and drawn.")

        await _check_files(chat)


async def _check_files(chat: Chat) -> None:
    """Check that both files can be saved, each under its call, and that the picture opens."""
    assert await _download(chat, _tool(chat, "measure").locator("a[download]")) == MEASUREMENT
    picture = _tool(chat, "draw").locator(".picture")
    await expect(picture.locator("img")).to_have_js_property("naturalWidth", 1)
    await picture.click()
    assert await _download(chat, chat.page.get_by_role("link", name="Save picture")) == PICTURE
    await chat.page.keyboard.press("Escape")


def _tool(chat: Chat, name: str) -> Locator:
    return chat.page.locator(".tool", has=chat.page.locator(".tool-name", has_text=name))


async def _download(chat: Chat, link: Locator) -> bytes:
    async with chat.page.expect_download() as download_info:
        await link.click()
    return Path(await (await download_info.value).path()).read_bytes()
