"""MCP servers behind the prompt of a chat, and the commands about them."""

from __future__ import annotations

import time
from pathlib import Path

from tests.terminal.chatting import Chatting
from tests.terminal.mcp_servers import WHOLE, config, locked, raw
from tests.terminal.model import Model


async def test_ten_servers_of_which_five_fail_are_each_named_and_the_others_work(
    tmp_path: Path,
) -> None:
    async with locked() as address, Model() as model:
        servers = {f"good{number}": raw() for number in range(5)} | {
            "missing": {"command": "no-such-program"},
            "silent": raw("silent"),
            "noisy": raw("rubbish"),
            "crashing": raw("crash"),
            "locked": {"url": address},
        }
        flags = config(tmp_path, servers)
        async with Chatting(model, *flags, home=tmp_path, columns=160, rows=50) as chat:
            began = time.monotonic()
            await chat.sees("> ")
            prompt_after = time.monotonic() - began
            chat.type("typed ahead")
            for number in range(5):
                await chat.sees(f"good{number} is there: 14 tools")
            await chat.sees("noisy is there: 14 tools")
            await chat.sees("missing is not there: there is no program no-such-program")
            await chat.sees("crashing is not there: ")
            await chat.sees("found")  # the end of its stderr
            await chat.sees("antiphon mcp login locked")
            chat.press("enter")
            reply = await model.asked()
            await chat.sees("silent is still starting; not waited for.")
            names = {tool["function"]["name"] for tool in reply.body["tools"]}
            await reply.answer("Good.")
            await chat.sees("10 in, 5 out")

            assert prompt_after < 5
            assert {"good0__echo", "good4__echo", "noisy__echo"} <= names
            assert reply.messages[-1]["content"] == "typed ahead"
            assert not chat.foreign


async def test_a_tool_of_a_server_runs_in_the_chat(tmp_path: Path) -> None:
    flags = (*config(tmp_path, {"raw": raw()}), "--allow", "raw:echo")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("raw is there")
        chat.say("Echo this")
        reply = await model.asked()
        await reply.call("raw__echo", {"said": "well"}, id="c1")
        await reply.end("tool_calls")
        reply = await model.asked()
        await reply.answer("It said so.")
        await chat.sees("It said so.")

        assert "well" in reply.messages[-1]["content"]


async def test_a_server_that_dies_is_told_with_its_last_words_and_started_again(
    tmp_path: Path,
) -> None:
    flags = (*config(tmp_path, {"raw": raw()}), "--allow", "raw:*")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("raw is there")
        chat.say("Die")
        reply = await model.asked()
        await reply.call("raw__die", id="c1")
        await reply.end("tool_calls")
        reply = await model.asked()
        await reply.answer("It died.")
        await chat.sees("The MCP server raw has died")
        await chat.sees("last words")
        await chat.sees("raw is there again: 14 tools")

        assert not chat.foreign


async def test_tools_that_a_server_gets_are_announced(tmp_path: Path) -> None:
    flags = (*config(tmp_path, {"whole": WHOLE}), "--allow", "whole:*")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("whole is there")
        chat.say("Grow")
        reply = await model.asked()
        await reply.call("whole__grow", {"name": "sprout"}, id="c1")
        await reply.end("tool_calls")
        reply = await model.asked()
        await reply.answer("It grew.")

        await chat.sees("whole has other tools now; new: whole__sprout")


async def test_servers_of_a_folder_that_nobody_approved_are_named_and_not_started(
    tmp_path: Path,
) -> None:
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"theirs": {"command": "true"}}}')
    async with Model() as model, Chatting(model, home=tmp_path, columns=200) as chat:
        await chat.sees("antiphon mcp trust .mcp.json")
        await chat.ready()

        assert "theirs is" not in chat.text


async def test_a_resource_goes_along_with_a_message(tmp_path: Path) -> None:
    flags = config(tmp_path, {"whole": WHOLE})
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("whole is there")
        chat.say("Sum up @whole:note://all, please")
        reply = await model.asked()
        await reply.answer("Many.")
        await chat.sees("with whole:note://all (10 bytes)")

        assert "many notes" in str(reply.messages[-1]["content"])


async def test_a_resource_that_is_not_there_keeps_the_message_in_the_line(tmp_path: Path) -> None:
    flags = config(tmp_path, {"whole": WHOLE})
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("whole is there")
        chat.say("Sum up @whole:gone://x")
        await chat.sees("Unknown resource")
        await chat.sees("> Sum up @whole:gone://x")
        chat.press("ctrl-c")
        model.will_say("Well.")
        chat.say("Never mind")
        await chat.sees("Well.")

        assert len(model.requests) == 1
