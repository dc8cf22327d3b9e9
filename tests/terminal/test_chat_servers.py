"""MCP servers behind the prompt of a chat, and the commands about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import deliberately
from tests.support.terminal.mcp_servers import Gate, config, raw, run_locked_server, whole
from tests.support.terminal.model import Model


@pytest.mark.slow
async def test_ten_servers_of_which_five_fail_are_each_named_and_the_others_work(
    tmp_path: Path,
) -> None:
    async with run_locked_server() as address, Model() as model:
        servers = {f"good{number}": raw() for number in range(5)} | {
            "missing": {"command": "no-such-program"},
            "silent": raw("silent"),
            "noisy": raw("rubbish"),
            "crashing": raw("crash"),
            "locked": {"url": address},
        }
        flags = config(tmp_path, servers)
        async with Chatting(model, *flags, home=tmp_path, columns=160, rows=50, cold=True) as chat:
            await chat.sees(">")
            chat.type("typed ahead")
            for number in range(5):
                await chat.sees(f"good{number} is there: 14 tools")
            await chat.sees("noisy is there: 14 tools")
            await chat.sees("missing is not there: there is no program no-such-program")
            await chat.sees("crashing is not there: ")
            await chat.sees("found")  # the end of its stderr
            await chat.sees("antiphon mcp login locked")
            chat.press("enter")
            reply = await model.next_request()
            await chat.sees("silent is still starting; not waited for.")
            names = {tool["function"]["name"] for tool in reply.body["tools"]}
            await reply.answer("Good.")
            await chat.sees("10 in, 5 out")

            assert {"good0__echo", "good4__echo", "noisy__echo"} <= names
            assert reply.messages[-1]["content"] == "typed ahead"
            assert not chat.foreign
            await chat.leave()  # a server that ignores the end of its stdin ends only so


async def test_a_server_offers_the_chat_as_many_tools_as_mcp_test_says(tmp_path: Path) -> None:
    flags = config(tmp_path, {"raw": raw("choosy")})
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("new: raw__for_elicitation")
        chat.say("/servers")
        await chat.sees("3 tools")


async def test_a_tool_of_a_server_runs_in_the_chat(tmp_path: Path) -> None:
    flags = (*config(tmp_path, {"raw": raw()}), "--allow", "raw:echo")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("raw is there")
        chat.say("Echo this")
        reply = await model.next_request()
        await reply.call("raw__echo", {"said": "well"}, id="c1")
        await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("It said so.")
        await chat.sees("It said so.")

        assert "well" in reply.messages[-1]["content"]


@pytest.mark.slow
async def test_a_server_that_dies_is_told_with_its_last_words_and_started_again(
    tmp_path: Path,
) -> None:
    flags = (*config(tmp_path, {"raw": raw()}), "--allow", "raw:*")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("raw is there")
        chat.say("Die")
        reply = await model.next_request()
        await reply.call("raw__die", id="c1")
        await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("It died.")
        await chat.sees("The MCP server raw has died")
        await chat.sees("last words")
        await chat.sees("raw is there again: 14 tools")

        assert not chat.foreign


@pytest.mark.slow
async def test_tools_that_a_server_gets_are_announced(tmp_path: Path) -> None:
    flags = (*config(tmp_path, {"whole": whole()}), "--allow", "whole:*")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("whole is there")
        chat.say("Grow")
        reply = await model.next_request()
        await reply.call("whole__grow", {"name": "sprout"}, id="c1")
        await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("It grew.")

        await chat.sees("whole has other tools now; new: whole__sprout")


async def test_servers_of_a_folder_that_nobody_approved_are_named_and_not_started(
    tmp_path: Path,
) -> None:
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"theirs": {"command": "true"}}}')
    async with Model() as model, Chatting(model, home=tmp_path, columns=200) as chat:
        await chat.sees("antiphon trust .mcp.json")
        await chat.ready()

        assert "theirs is" not in chat.text


async def test_a_resource_goes_along_with_a_message(tmp_path: Path) -> None:
    flags = config(tmp_path, {"whole": whole()})
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("whole is there")
        chat.say("Sum up @whole:note://all, please")
        reply = await model.next_request()
        await reply.answer("Many.")
        await chat.sees("with whole:note://all (10 bytes)")

        assert "many notes" in str(reply.messages[-1]["content"])


async def test_a_resource_that_is_not_there_keeps_the_message_in_the_line(tmp_path: Path) -> None:
    flags = config(tmp_path, {"whole": whole()})
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


# Commands.


async def test_tools_lists_them_by_server_with_what_consent_says(tmp_path: Path) -> None:
    tools = tmp_path / "mine.py"
    tools.write_text('def greet(name: str) -> str:\n    """Greet them."""\n    return name\n')
    flags = config(tmp_path, {"whole": whole()})
    rules = ("--tools", f"{tools}:greet", "--allow", "whole:add", "--deny", "whole:echo")
    async with Model() as model, Chatting(model, *flags, *rules, home=tmp_path) as chat:
        await chat.sees("whole is there")
        chat.say("/tools")
        await chat.sees("/tools NAME shows")
        rows = {row.split()[0]: row for row in chat.rows if row.startswith("  ")}

        await chat.sees("Python functions: 1 tool, about")
        assert "Greet them." in rows["greet"]
        assert "runs" in rows["whole__add"]
        assert "denied" in rows["whole__echo"]
        assert "asks first" in rows["whole__steps"]


async def test_tools_with_a_name_shows_what_it_takes(tmp_path: Path) -> None:
    flags = config(tmp_path, {"whole": whole()})
    async with Model() as model, Chatting(model, *flags, home=tmp_path, rows=60) as chat:
        await chat.sees("whole is there")
        chat.say("/tools whole__greet nobody")
        await chat.sees("No tool has 'whole__greet nobody' in it.")
        chat.say("/tools whole__add")
        await chat.sees('"required": [')

        await chat.sees("is asked about first")


async def test_servers_tells_of_each_and_restarts_one_that_failed(tmp_path: Path) -> None:
    program = tmp_path / "late"
    servers = {"late": {"command": str(program), "args": raw()["args"]}, "raw": raw()}
    unset_server = {"command": "x", "args": ["${NOT_SET_ANYWHERE}"]}
    flags = config(tmp_path, {**servers, "unset": unset_server})
    async with Model() as model, Chatting(model, *flags, home=tmp_path, columns=160) as chat:
        await chat.sees("late is not there")
        await chat.sees("raw is there")
        chat.say("/servers")
        await chat.sees("/servers NAME tells more")
        await chat.sees("the variable NOT_SET_ANYWHERE is not set")
        await chat.sees("protocol 2025-11-25")

        program.symlink_to(raw()["command"])
        chat.say("/servers restart late")
        await chat.sees("late is there: 14 tools")
        chat.say("/servers late")
        await chat.sees("program:")
        await chat.sees("14 tools, about")
        chat.say("/servers nobody")

        await chat.sees("There is no MCP server nobody; wanted one of: late, raw, unset")


@pytest.mark.slow
async def test_resources_are_listed_shown_and_attached(tmp_path: Path) -> None:
    flags = config(tmp_path, {"whole": whole()})
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("whole is there")
        chat.say("/resources")
        await chat.sees("note://{number}")
        chat.say("/resources whole note://7")
        await chat.sees("note 7")
        chat.say("/attach whole:note://8")
        await chat.sees("Goes along with the next message: whole:note://8 (6 bytes)")
        chat.say("What is it?")
        reply = await model.next_request()
        await reply.answer("A note.")
        await chat.sees("A note.")
        model.will_say("Nothing.")
        chat.say("And now?")
        await chat.sees("Nothing.")

        assert "note 8" in str(reply.messages[-1]["content"])
        assert model.requests[-1]["messages"][-1]["content"] == "And now?"


async def test_a_prompt_of_a_server_is_a_command_that_asks_for_what_is_missing(
    tmp_path: Path,
) -> None:
    flags = config(tmp_path, {"whole": whole()})
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("whole is there: 18 tools, 1 prompt")
        chat.say("/prompts")
        await chat.sees("/whole.city name=... [tone=...]  Ask about a city")
        chat.say("/whole.city tone=warm")
        await chat.sees("name:")
        chat.press("enter")
        await chat.sees("It cannot be empty")
        chat.say("Rome")
        reply = await model.next_request()
        await reply.answer("Old.")
        await chat.sees("> Tell me of Rome, warm.")

        assert reply.messages[-1]["content"] == "Tell me of Rome, warm."


async def test_a_prompt_that_is_not_filled_in_is_not_sent(tmp_path: Path) -> None:
    flags = config(tmp_path, {"whole": whole()})
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("whole is there: 18 tools, 1 prompt")
        chat.say("/prompts")
        await chat.sees("/whole.city name=")
        chat.say("/whole.city town=Rome")
        await chat.sees("wanted name=..., tone=...; got town=Rome")
        chat.say("/whole.city")
        await chat.sees("name:")
        chat.press("escape")
        await chat.sees("Nothing was sent.")

        assert not model.requests


async def test_stop_with_a_number_cancels_one_call_and_the_run_goes_on(tmp_path: Path) -> None:
    flags = (*config(tmp_path, {"raw": raw("good", str(tmp_path / "cancelled"))}), "--yes")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("raw is there")
        chat.say("/stop")
        await chat.sees("Nothing runs.")
        chat.say("Go")
        reply = await model.next_request()
        await reply.call("raw__hang", id="c1")
        await reply.call("raw__echo", {"said": "well"}, id="c2", index=1)
        await reply.end("tool_calls")
        await chat.sees("running raw__hang")
        chat.say("/stop 7")
        await chat.sees("No such call runs")
        chat.say("/stop 1")
        reply = await model.next_request()
        await reply.answer("One of two.")
        await chat.sees("One of two.")

        assert "well" in reply.messages[-1]["content"]
        assert "stopped this call" in reply.messages[-2]["content"]
        assert (tmp_path / "cancelled").exists()


async def test_stop_alone_stops_the_answer(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Go")
        reply = await model.next_request()
        await reply.say("On and on")
        await chat.sees("On and on")
        chat.say("/stop")

        await chat.sees("[stopped]")


@pytest.mark.slow
async def test_a_call_that_was_left_waits_for_its_server_when_its_chat_is_resumed(
    tmp_path: Path,
) -> None:
    gate = Gate(tmp_path)
    gate.leave_open()
    async with Model() as model:
        flags = config(tmp_path, {"far": gate.behind(raw())})
        async with Chatting(model, *flags, home=tmp_path, rows=50) as chat:
            await chat.sees("far is there")
            chat.say("Echo.")
            reply = await model.next_request()
            await reply.call("far__echo", {"x": 1}, id="c1")
            await reply.end("tool_calls")
            await chat.sees("yes, once")
            chat.kill()
        gate.close()
        async with Chatting(model, *flags, "--resume", home=tmp_path, rows=50) as chat:
            await deliberately(chat, "y", "waits for the MCP server far to start")
            await gate.let_through()
            await chat.sees("yes, once")
            await deliberately(chat, "y", "ok 0.")
            reply = await model.next_request()
            assert '"x"' in str(reply.messages[-1]["content"])
            await reply.answer("Echoed.")
            await chat.sees("Echoed.")
