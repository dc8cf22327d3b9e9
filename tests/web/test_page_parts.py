"""The parts of an answer in the page: calls and their results, reasoning, files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Locator, expect

from antiphon import AsyncClient, ToolSpec
from tests.support.terminal.model import Reply
from tests.support.web.chats import Chat, chatting

TOOLS = '''
import threading
from pathlib import Path

from antiphon import Progress, ProgressCallback
from antiphon.tools.functions import tool

@tool
def look(at: str = "") -> dict[str, object]:
    """Look at something."""
    return {"seen": at, "big": 12345678901234567890}

@tool
def fail(at: str = "") -> str:
    """Look at something that is not there."""
    raise ValueError(f"There is no {at}.")

@tool
def wordy(name: str, tell: ProgressCallback) -> str:
    """Say much about what is done, until a file is there."""
    tell(Progress(1, 4, "reading " + "page " * 100 + "and the last"))
    while not Path(name).exists():
        threading.Event().wait(0.02)
    return "at last"

@tool
def slow(name: str, tell: ProgressCallback) -> str:
    """Take time, until a file is there."""
    tell(Progress(1, 4, "reading page 1"))
    while not Path(name).exists():
        threading.Event().wait(0.02)
    return "at last"
'''


@pytest_asyncio.fixture(loop_scope="session")
async def chat(chromium: Browser, tmp_path: Path) -> AsyncIterator[Chat]:
    """A page whose model has tools."""
    (tmp_path / "tools.py").write_text(TOOLS)
    async with chatting(
        chromium, tmp_path, "--no-servers", "--tools", str(tmp_path / "tools.py")
    ) as chat:
        yield chat


async def call_tools(chat: Chat, *calls: tuple[str, object]) -> Reply:
    """Have the model call these tools; return its next reply."""
    reply = await chat.model.next_request()
    for number, (name, arguments) in enumerate(calls):
        await reply.call(name, arguments, id=f"c{number}", index=number)
    await reply.end("tool_calls")
    return await chat.model.next_request()


def tool(chat: Chat, name: str) -> Locator:
    """Return the call of this tool in the page."""
    return chat.page.locator(".tool").filter(has=chat.page.locator(".tool-name", has_text=name))


@pytest.mark.slow
async def test_results_and_failures_are_seen_at_once_and_stay(chat: Chat) -> None:
    await chat.say("Look.")
    reply = await call_tools(chat, ("look", {"at": "the sea"}), ("fail", {"at": "shore"}))

    await check_calls(chat)
    await reply.answer("I have looked.")
    await chat.wait_until_idle()
    await check_calls(chat)
    await chat.page.reload()
    await chat.sees("I have looked.")
    await check_calls(chat)


@pytest.mark.slow
async def test_a_refusal_is_marked_as_one_and_stays_so(chat: Chat) -> None:
    await chat.say("Say it.")
    reply = await chat.model.next_request()
    await reply.decline("I **will** not.")
    answer = chat.page.locator(".message.assistant")
    await expect(answer.locator(".message-note", has_text="refuses")).to_be_visible()
    await reply.end()
    await chat.wait_until_idle()
    await chat.page.reload()

    await chat.sees("I will not.")
    await expect(answer.locator(".message-note", has_text="refuses")).to_be_visible()
    await expect(answer.locator(".message-text strong")).to_have_text("will")
    assert "empty" not in await answer.inner_text()


async def check_calls(chat: Chat) -> None:
    """Check that the page shows both calls with their arguments and results."""
    await expect(tool(chat, "look")).to_contain_text('"at": "the sea"')
    await expect(tool(chat, "look")).to_contain_text("12345678901234567890")
    await expect(tool(chat, "fail")).to_contain_text("There is no shore.")


@pytest.mark.slow
async def test_thirty_calls_are_one_group_that_stays_as_the_reader_left_it(chat: Chat) -> None:
    await chat.say("Look around.")
    calls = [("look", {"at": f"place {number}"}) for number in range(29)]
    reply = await call_tools(chat, *calls, ("fail", {"at": "lighthouse"}))
    group = chat.page.locator(".tools-head")

    await expect(group).to_contain_text("30 calls")
    await expect(group).to_contain_text("1 failed")
    await expect(chat.page.locator(".tool")).to_have_count(1)
    await expect(tool(chat, "fail")).to_contain_text("There is no lighthouse.")
    await group.click()
    await expect(chat.page.locator(".tool")).to_have_count(30)
    await group.click()
    await reply.say("I have seen ")
    await chat.sees("I have seen")
    await reply.call("look", {"at": "more"}, id="d0")
    await reply.end("tool_calls")
    last = await chat.model.next_request()
    await expect(group.first).to_have_attribute("aria-expanded", "false")
    await last.answer("all of it.")
    await chat.wait_until_idle()
    await expect(group.first).to_have_attribute("aria-expanded", "false")


@pytest.mark.slow
async def test_a_result_of_two_megabytes_is_cut_and_opens(chat: Chat) -> None:
    await chat.open(f"/t/{await create_foreign_thread(chat, LOG)}")
    result = tool(chat, "read_log").locator(".result")

    await expect(result).to_contain_text("line 1 of a log")
    assert len(await result.inner_text()) < 2_000
    await result.get_by_role("button", name="Show all (2").click()
    await expect(result.get_by_role("button", name="Show less")).to_be_visible()
    assert await result.locator("pre").evaluate("it => it.textContent.length") > 2_000_000
    box = await result.bounding_box()
    assert box
    assert box["height"] < 700
    assert await chat.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


async def create_foreign_thread(chat: Chat, output: str) -> str:
    """Create a thread in which a tool of another client returned this; return its id."""
    async with AsyncClient(chat.up.url) as client:
        thread = await client.create_thread()
        await client.create_message(thread.id, "Read the log.")
        run = await client.create_run(thread.id, tools=(ToolSpec("read_log"),))
        turn = asyncio.create_task(collect(client.completions(run.id)))
        reply = await chat.model.next_request()
        await reply.call("read_log", id="c0")
        await reply.end("tool_calls")
        await turn
        await client.submit_tool_output(run.id, "c0", output)
        turn = asyncio.create_task(collect(client.completions(run.id)))
        await (await chat.model.next_request()).answer("Long.")
        await turn
    return thread.id


async def collect(events: AsyncIterator[object]) -> list[object]:
    """Return all events, to the last."""
    return [event async for event in events]


LOG = "".join(f"line {number} of a log, as long as they are\n" for number in range(1, 50_000))


@pytest.mark.slow
async def test_a_long_tool_shows_its_time_and_can_be_stopped_alone(
    chat: Chat, tmp_path: Path
) -> None:
    await chat.say("Wait.")
    first_reply = await chat.model.next_request()
    await first_reply.call("slow", {"name": str(tmp_path / "never")}, id="c0")
    await first_reply.end("tool_calls")
    slow_tool = tool(chat, "slow")

    await expect(slow_tool.locator(".tool-state")).to_contain_text("running, 1 sec")
    await expect(slow_tool.locator(".tool-state")).to_contain_text("running, 2 sec")
    await expect(slow_tool.locator(".tool-progress")).to_contain_text("1 of 4")
    await expect(slow_tool.locator(".tool-progress")).to_contain_text("reading page 1")
    stop = slow_tool.get_by_role("button", name="Stop this call")
    await chat.page.route("**/stop", lambda route: route.abort())
    await stop.click()
    await expect(chat.page.locator(".toast")).to_be_visible()
    await chat.page.unroute("**/stop")
    await stop.click()
    reply = await chat.model.next_request()
    await expect(slow_tool).to_have_attribute("data-state", "stopped")
    await reply.answer("Never mind.")
    await chat.wait_until_idle()


@pytest.mark.slow
async def test_long_progress_of_a_running_tool_is_cut_and_opens(chat: Chat, tmp_path: Path) -> None:
    await chat.say("Wait.")
    first_reply = await chat.model.next_request()
    await first_reply.call("wordy", {"name": str(tmp_path / "there")}, id="c0")
    await first_reply.end("tool_calls")
    progress = tool(chat, "wordy").locator(".tool-said")

    await expect(progress.locator("pre")).to_have_text(re.compile(r"^reading page.*…$"))
    await progress.get_by_role("button", name="Show all").click()
    await expect(progress.locator("pre")).to_have_text(re.compile(r"and the last$"))
    (tmp_path / "there").touch()
    reply = await chat.model.next_request()
    await reply.answer("Done.")
    await chat.wait_until_idle()


@pytest.mark.slow
async def test_reasoning_is_a_line_that_opens_and_stays_open(chat: Chat) -> None:
    await chat.say("Think.")
    reply = await chat.model.next_request()
    await reply.think("The **sea** is wide. ")
    reasoning = chat.page.locator(".reasoning")
    await expect(reasoning).to_contain_text("Thinking")
    await expect(reasoning).not_to_contain_text("wide")
    await reasoning.get_by_role("button").click()
    await expect(reasoning.locator("strong")).to_have_text("sea")
    await expect(reasoning).to_contain_text("Thinking for 1 sec")

    await reply.answer("Yes.")
    await chat.wait_until_idle()

    duration = reasoning.get_by_text(re.compile(r"^Thought for [1-9]\d* sec$"))
    duration_text = await duration.inner_text()
    await expect(reasoning).to_contain_text("about 5 tokens")
    await expect(reasoning).to_contain_text("The sea is wide.")

    await chat.page.reload()
    await expect(duration).to_have_text(duration_text)


PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)


async def test_files_are_seen_before_they_are_sent_and_refused_with_words(chat: Chat) -> None:
    await chat.page.set_input_files(
        "input[type=file]",
        files=[
            FilePayload(name="sea.png", mimeType="image/png", buffer=PICTURE),
            FilePayload(name="notes.ts", mimeType="video/mp2t", buffer=b"const a = 1;"),
            FilePayload(name="all.zip", mimeType="application/zip", buffer=b"PK\x03\x04\0\0"),
        ],
    )
    files = chat.page.locator(".attachment")

    await expect(files.nth(0).locator("img")).to_have_attribute("src", re.compile("^blob:"))
    await expect(files.nth(1)).to_have_attribute("data-state", "ready")
    await expect(files.nth(2)).to_contain_text("Models read pictures")
    await chat.page.get_by_role("button", name="Remove all.zip").click()
    await chat.say("What is this?")
    reply = await chat.model.next_request()
    await reply.answer("A picture of the sea.")
    await chat.wait_until_idle()

    parts = reply.messages[-1]["content"]
    assert [part["type"] for part in parts if part["type"] != "text"] == ["image_url"]
    assert "const a = 1;" in str(parts)
    await expect(chat.asked.locator("img")).to_have_count(1)


@pytest.mark.slow
async def test_files_are_pasted_and_dropped_and_words_are_only_written(chat: Chat) -> None:
    files = chat.page.locator(".attachment")

    await chat.composer.evaluate(PASTE, {"files": ["paste.png"], "text": None})
    await expect(files).to_have_count(1)
    await chat.composer.evaluate(PASTE, {"files": ["cells.png"], "text": "a\tb"})
    await chat.page.locator("#conversation").evaluate(DROP)

    await expect(files).to_have_count(2)
    await expect(files.nth(1)).to_contain_text("dropped.txt")
    await expect(files.nth(1)).to_have_attribute("data-state", "ready")


PASTE = """(field, {files, text}) => {
  const data = new DataTransfer();
  for (const name of files) data.items.add(new File(["picture"], name, {type: "image/png"}));
  if (text !== null) data.setData("text/plain", text);
  const event = new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
  field.dispatchEvent(event);
}"""

DROP = """(place) => {
  const data = new DataTransfer();
  data.items.add(new File(["words"], "dropped.txt", {type: "text/plain"}));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = {dataTransfer: data, bubbles: true, cancelable: true};
    place.dispatchEvent(new DragEvent(kind, event));
  }
}"""
