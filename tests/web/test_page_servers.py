"""The administrator's view of MCP servers and runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.support.terminal.mcp_servers import Gate, config, raw
from tests.support.web.chats import Chat, chatting


@pytest.mark.slow
async def test_servers_that_work_and_fail_and_what_runs_are_told_in_words(
    chromium: Browser, tmp_path: Path
) -> None:
    broken = {"command": str(tmp_path / "nothing"), "args": []}
    servers = config(tmp_path, {"far": raw(), "broken": broken})
    async with chatting(chromium, tmp_path, *servers) as chat:
        await chat.wait_until(
            "async () => (await (await fetch('/api/me')).json()).tools.some((t) => t.server)"
        )
        await chat.open("/admin/servers")
        await expect(chat.page.get_by_role("row", name="far")).to_contain_text("ready")
        await expect(chat.page.get_by_role("row", name="broken")).to_contain_text("failed")
        await expect(chat.page.get_by_role("row", name="broken")).to_contain_text("nothing")
        await chat.open()
        await chat.say("Echo.")
        reply = await chat.model.next_request()
        await reply.call("far__echo", {"x": 1}, id="c1")
        await reply.end("tool_calls")
        await expect(chat.page.locator(".approval")).to_be_visible()
        other_tab = await chat.tab("/admin/runs")
        await expect(other_tab.page.locator(".badge")).to_have_text("waits for a tool or a person")
        await other_tab.page.get_by_role("button", name="Stop").click()
        await chat.sees("Stopped")
        await chat.wait_until_idle()


async def test_a_server_that_fails_is_told_in_the_chat_with_its_last_words(
    chromium: Browser, tmp_path: Path
) -> None:
    arguments = ["-c", "echo 'no licence found' >&2; exit 3"]
    servers = config(tmp_path, {"far": raw(), "broken": {"command": "/bin/sh", "args": arguments}})
    async with chatting(chromium, tmp_path, *servers) as chat:
        note = chat.page.locator(".servers-note")
        await expect(note.locator("summary")).to_contain_text("1 MCP server does not work: broken")
        await expect(note.get_by_text("no licence found")).to_be_hidden()
        mark, words = note.locator("summary > svg"), note.locator("summary > span")
        # Both are in one line.
        assert await _middle_height(mark) == pytest.approx(await _middle_height(words), abs=6)

        await note.locator("summary").press("Enter")

        await expect(note.locator("pre")).to_contain_text("no licence found")
        await expect(note).not_to_contain_text("far")
        await note.get_by_role("button", name="Close").press("Enter")
        await expect(note).to_have_count(0)
        await expect(chat.composer).to_be_focused()
        await chat.page.reload()
        await expect(note).to_be_visible()


async def _middle_height(element: Locator) -> float:
    """Return how far below the top of the page the middle of the element is."""
    box = await element.bounding_box()
    assert box
    return box["y"] + box["height"] / 2


WITH_SERVERS = "async () => (await (await fetch('/api/me')).json()).tools.some((t) => t.server)"


async def ask_for_a_call(chat: Chat, *, text: str = "Echo.") -> None:
    """Have the model call the server's tool, which a person has to allow."""
    await chat.say(text)
    reply = await chat.model.next_request()
    await reply.call("far__echo", {"x": 1}, id="c1")
    await reply.end("tool_calls")


async def test_a_call_that_waits_to_be_allowed_waits_for_its_server_after_a_restart(
    chromium: Browser, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    gate.leave_open()
    async with chatting(chromium, tmp_path, *config(tmp_path, {"far": gate.behind(raw())})) as chat:
        await chat.wait_until(WITH_SERVERS)
        await ask_for_a_call(chat)
        await expect(chat.page.locator(".approval")).to_be_visible()
        await chat.up.kill()
        gate.close()
        await chat.up.begin()
        await chat.page.reload()
        row = chat.page.locator(".tool")
        await expect(row).to_contain_text("waits for the MCP server far to start")
        await expect(chat.page.locator(".approval")).to_have_count(0)
        await gate.let_through()
        await expect(chat.page.locator(".approval")).to_be_visible()
        button = chat.page.get_by_role("button", name="Allow once")
        await button.evaluate("() => new Promise((read) => setTimeout(read, 350))")
        await button.click()
        reply = await chat.model.next_request()
        assert '"x"' in str(reply.messages[-1]["content"])
        await reply.answer("Echoed.")
        await chat.wait_until_idle()


@pytest.mark.slow
async def test_a_call_of_a_server_that_fails_after_a_restart_says_so(
    chromium: Browser, tmp_path: Path
) -> None:
    async with chatting(chromium, tmp_path, *config(tmp_path, {"far": raw()})) as chat:
        await chat.wait_until(WITH_SERVERS)
        await ask_for_a_call(chat)
        await expect(chat.page.locator(".approval")).to_be_visible()
        await chat.up.kill()
        config(tmp_path, {"far": {"command": str(tmp_path / "nothing"), "args": []}})
        await chat.up.begin()
        reply = await chat.model.next_request()
        assert "The MCP server far is failed." in str(reply.messages[-1]["content"])
        await reply.answer("It is not there.")
        await chat.page.reload()
        await chat.sees("It is not there.")


async def test_a_message_sent_right_after_a_start_waits_for_servers_that_are_starting(
    chromium: Browser, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    async with chatting(chromium, tmp_path, *config(tmp_path, {"far": gate.behind(raw())})) as chat:
        await chat.say("Echo.")
        await chat.sees("Waiting for MCP servers that are starting: far")
        await gate.let_through()
        reply = await chat.model.next_request()
        assert "far__echo" in [tool["function"]["name"] for tool in reply.body["tools"]]
        await reply.answer("Here.")
        await chat.wait_until_idle()


@pytest.mark.slow
async def test_a_message_says_which_servers_it_went_without(
    chromium: Browser, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    async with chatting(chromium, tmp_path, *config(tmp_path, {"far": gate.behind(raw())})) as chat:
        await chat.say("Echo.")
        reply = await chat.model.next_request()
        assert "far__echo" not in [tool["function"]["name"] for tool in reply.body["tools"]]
        await expect(chat.page.locator(".toasts")).to_contain_text("Without the tools of far")
        await reply.answer("Without.")
        await chat.wait_until_idle()
        await gate.let_through()


@pytest.mark.slow
async def test_an_assistant_is_offered_what_is_ticked(chromium: Browser, tmp_path: Path) -> None:
    servers = config(tmp_path, {"far": raw(), "near": raw()})
    async with chatting(chromium, tmp_path, *servers) as chat:
        await chat.wait_until(
            "async () => (await (await fetch('/api/me')).json())"
            ".servers.every((s) => s.status === 'ready')"
        )
        await chat.open("/assistants/new")
        page = chat.page

        async def list_offered(name: str, *tool_names: str) -> set[str]:
            """Save a new assistant with these tools; return the tools that its model is offered."""
            await page.get_by_label("Name").fill(name)
            all_tools = page.get_by_label("All tools of this chat")
            await all_tools.set_checked(not tool_names)
            for name_or_server in tool_names:
                await page.get_by_role("searchbox", name="Search tools").fill(name_or_server)
                await page.locator(f'.tool-group input[value="{name_or_server}"]').check()
            await page.get_by_role("button", name="Save").click()
            await page.get_by_role("button", name="Start a chat").first.click()
            await chat.say("Hello")
            reply = await chat.model.next_request()
            await reply.answer("Hi.")
            await chat.wait_until_idle()
            await chat.open("/assistants/new")
            return {tool["function"]["name"] for tool in reply.body.get("tools", [])}

        every_tool = await list_offered("Every")
        far_tools = {name for name in every_tool if name.startswith("far__")}
        assert {"far__echo", "near__echo", "calculate"} < every_tool
        assert await list_offered("Tool", "near__echo") == {"near__echo"}
        assert await list_offered("Server", "far") == far_tools
        assert await list_offered("Both", "far", "near__echo", "calculate") == far_tools | {
            "near__echo",
            "calculate",
        }
