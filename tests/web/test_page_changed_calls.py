"""Calls that a person changed or stopped show their result, live and after a reload."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from antiphon import AsyncClient
from antiphon.client.export import FORMS, export_thread
from tests.support.terminal.consenting import TOOLS, ran
from tests.support.web.chats import Chat, chatting


@pytest_asyncio.fixture(loop_scope="session")
async def chat(chromium: Browser, tmp_path: Path) -> AsyncIterator[Chat]:
    """A page whose model has one tool, which needs approval each time."""
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--no-servers", "--tools", str(tmp_path / "tools.py"), "--ask", "*")
    async with chatting(chromium, tmp_path, *flags) as chat:
        yield chat


async def ask_for_a_call(chat: Chat) -> dict[str, str]:
    """Have the model call the tool; return the values that an approval has to name."""
    await chat.say("Do it.")
    reply = await chat.model.next_request()
    await reply.call("shell", {"command": "rm -rf /"}, id="c0")
    await reply.end("tool_calls")
    await expect(chat.page.locator(".approval")).to_be_visible()
    call = await chat.page.evaluate(
        """async (id) => {
          const { active_run: run } = await (await fetch(`/api/threads/${id}/messages`)).json();
          const reader = (await fetch(`/api/runs/${run.id}/stream`)).body
            .pipeThrough(new TextDecoderStream()).getReader();
          let text = "";
          while (!text.includes('"argsHash"')) text += (await reader.read()).value;
          await reader.cancel();
          return { run: run.id, hash: text.match(/"argsHash":"([^"]+)"/)[1],
            call: text.match(/"toolCallId":"([^"]+)"/)[1] };
        }""",
        chat.thread,
    )
    return dict(call)


async def test_a_call_shows_the_arguments_with_which_it_ran(chat: Chat, tmp_path: Path) -> None:
    call = await ask_for_a_call(chat)
    answer = {"approved": True, "args_hash": call["hash"], "arguments": '{"command": "ls"}'}
    address = f"{chat.up.url}/api/runs/{call['run']}/approvals/{call['call']}"
    assert (await chat.context.request.post(address, data=answer)).ok
    reply = await chat.model.next_request()
    assert ran(tmp_path) == ["ls"]
    await reply.answer("Done.")
    await chat.wait_until_idle()
    row = chat.page.locator(".tool")
    for _ in range(2):
        await expect(row).to_contain_text('"ls"')
        await expect(row.locator(".tool-head")).not_to_contain_text("rm -rf")
        await chat.page.reload()
        await chat.sees("Done.")
    [_, message] = await chat.fetch_messages()
    [part] = [part for part in message["parts"] if part.get("toolName") == "shell"]
    assert part["input"] == {"command": "ls"}
    async with AsyncClient(chat.up.url) as client:
        thread = await client.get_thread(chat.thread)
        for form in FORMS:
            text = "".join([piece async for piece in export_thread(client, thread, form)])
            assert "ran with these" in text or form == "json"
        messages = (await client.list_messages(chat.thread)).data
    assert messages[2].metadata["arguments.0"] == '{"command": "ls"}'


@pytest.mark.slow
async def test_a_call_that_waited_when_its_run_was_stopped_shows_as_stopped(chat: Chat) -> None:
    await ask_for_a_call(chat)
    await chat.page.get_by_role("button", name="Stop the answer").click()
    await chat.sees("Stopped")
    await chat.wait_until_idle()
    row = chat.page.locator(".tool")
    for _ in range(2):
        await expect(row).to_have_attribute("data-state", "stopped")
        await expect(row.locator(".tool-state")).to_have_text("stopped")
        await chat.page.reload()
        await chat.sees("Stopped")
