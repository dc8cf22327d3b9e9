"""The box in which a person is asked about a call: what it shows is what runs."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import (
    TOOLS,
    answers,
    answers_for_longer,
    calls,
    chat_that_asks,
    deliberate,
    leaves,
    outputs,
    pause,
    ran,
)
from tests.support.terminal.mcp_servers import config, whole
from tests.support.terminal.model import Model


async def test_a_call_runs_once_it_was_allowed_and_asks_again_the_next_time(tmp_path: Path) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, {"command": "ls"})
        await chat.sees('"command": "ls"')
        assert ran(tmp_path) == []
        await answers(chat, "y")
        reply = await model.next_request()
        assert outputs(reply) == ["ran ls"]
        await reply.call("shell", {"command": "pwd"}, id="call_9")
        await reply.end("tool_calls")

        await chat.sees('"command": "pwd"')
        assert ran(tmp_path) == ["ls"]


async def test_enter_escape_and_ctrl_c_each_refuse_the_call_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await chat.ready()
        chat.say("Do it.")
        reply = await model.next_request()
        for number, key in enumerate(("enter", "escape", "ctrl-c", "ctrl-d")):
            await reply.call("shell", {"command": f"rm {number}"}, id=f"call_{number}")
            await reply.end("tool_calls")
            await chat.sees(f'"command": "rm {number}"')
            await answers(chat, key)
            reply = await model.next_request()
        await reply.answer("As you wish.")
        await chat.sees("As you wish.")

        assert ran(tmp_path) == []
        assert all("refused" in each for each in outputs(reply))


async def test_what_is_typed_ahead_approves_nothing_and_stays_in_the_draft(tmp_path: Path) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await chat.ready()
        chat.say("Do it.")
        reply = await model.next_request()
        await reply.call("shell", {"command": "ls"}, id="call_0")
        await reply.end("tool_calls")
        await chat.sees("May the model call")
        chat.type("yyy\r")
        await chat.sees("> yyy")
        await pause()
        chat.press("n")
        await (await model.next_request()).answer("So be it.")
        await chat.sees("So be it.")
        await chat.sees("> yyy")

        assert ran(tmp_path) == []


@pytest.mark.parametrize("typed", ["always delete everything", "session", "yes\r", "even so\r"])
async def test_words_typed_into_an_open_box_answer_nothing_and_stay_in_the_line(
    tmp_path: Path, typed: str
) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, {"command": "ls"})
        await chat.sees("May the model call")
        await deliberate()
        chat.type(typed)
        await chat.sees(f"> {typed.strip()}")
        await pause()
        chat.press("n")
        await (await model.next_request()).answer("So be it.")
        await chat.sees("So be it.")
        await chat.until(lambda: chat.text.rstrip().split("\n")[-2] == f"> {typed.strip()}")

        assert ran(tmp_path) == []


@pytest.mark.parametrize("pasted", ["y", "a", "yes\nalways\n"])
async def test_a_paste_answers_nothing(tmp_path: Path, pasted: str) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, {"command": "ls"})
        await chat.sees("May the model call")
        await deliberate()
        chat.paste(pasted)
        await chat.sees("What you type stays in your line.")
        await pause()
        chat.press("n")

        assert "refused" in outputs(await model.next_request())[0]
        assert ran(tmp_path) == []


async def test_a_yes_for_longer_takes_a_second_key_and_the_first_one_twice_is_none(
    tmp_path: Path,
) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, {"command": "one"})
        await answers(chat, "a")
        await chat.sees("confirm: always")
        await deliberate()
        chat.press("a")
        await chat.sees("> a")
        assert ran(tmp_path) == []
        chat.press("escape")
        await chat.sees("yes, once")
        chat.press("escape")

        assert "refused" in outputs(await model.next_request())[0]
        assert ran(tmp_path) == []


async def test_what_is_dangerous_cannot_hide_in_the_box(tmp_path: Path) -> None:
    command = f"ls{' ' * 500}rm -rf ~ \u202e\r\x1b[2J\x1b]0;x\x07\u200b\u2800\U000e0041\x9b1m end"
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, {"command": command})
        await chat.sees("May the model call")
        box = "".join(chat.rows)

        assert '"ls[500 blanks]rm -rf ~ <U+202E>\\r\\u001b[2J\\u001b]0;x\\u0007<U+200B>' in box
        assert "<U+E0041><U+009B>1m end" in box
        assert not chat.foreign


async def test_long_arguments_are_cut_with_their_length_and_allowed_once_they_were_opened(
    tmp_path: Path,
) -> None:
    lines = [f"line {number}" for number in range(60)]
    environ = {"PAGER": "cat"}
    async with Model() as model, chat_that_asks(tmp_path, model, environ=environ) as chat:
        await calls(chat, model, {"command": "wait", "note": [*lines, "the end"]})
        await chat.sees("characters)")
        assert "line 30" not in chat.text
        assert "yes, once" not in chat.text
        await answers(chat, "v")
        await chat.sees('"line 30"')
        await chat.sees("yes, once")
        await answers(chat, "y")
        await model.next_request()

        assert ran(tmp_path) == ["wait"]


async def test_the_arguments_that_were_edited_are_those_that_run(tmp_path: Path) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, {"command": "rm -rf /"})
        await answers(chat, "e")
        await chat.sees("Enter takes them")
        chat.press(*["backspace"] * 4)
        chat.say('s"')
        await chat.sees("This is no JSON")
        chat.press(*["backspace"] * 10)
        chat.say('"ls"}')
        await chat.sees("edited")
        assert ran(tmp_path) == []
        await answers(chat, "y")
        reply = await model.next_request()

        assert ran(tmp_path) == ["ls"]
        assert "changed the arguments" in outputs(reply)[0]


async def test_the_model_is_told_why_it_may_not(tmp_path: Path) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, {"command": "rm"})
        await answers(chat, "w")
        await chat.sees("Tell the model why")
        chat.say("use trash instead")

        assert "use trash instead" in outputs(await model.next_request())[0]
        assert ran(tmp_path) == []


async def test_of_three_calls_at_once_one_is_refused_and_the_others_run(tmp_path: Path) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, *({"command": name} for name in ("one", "two", "three")))
        for count, key in (("1 of 3", "y"), ("2 of 3", "n"), ("3 of 3", "y")):
            await chat.sees(count)
            await answers(chat, key)
        results = outputs(await model.next_request())

        assert sorted(ran(tmp_path)) == ["one", "three"]
        assert sorted(each.split()[0] for each in results) == ["The", "ran", "ran"]


async def test_a_yes_for_the_session_holds_until_the_program_ends(tmp_path: Path) -> None:
    async with Model() as model:
        async with chat_that_asks(tmp_path, model) as chat:
            await calls(chat, model, {"command": "one"}, {"command": "two"})
            await answers_for_longer(chat, "s")
            await leaves(chat, model)
            assert sorted(ran(tmp_path)) == ["one", "two"]
        async with chat_that_asks(tmp_path, model) as chat:
            await calls(chat, model, {"command": "three"})
            await chat.sees("May the model call")

            assert sorted(ran(tmp_path)) == ["one", "two"]


async def test_always_survives_a_restart_and_is_void_when_the_tool_changes(tmp_path: Path) -> None:
    async with Model() as model:
        async with chat_that_asks(tmp_path, model) as chat:
            await calls(chat, model, {"command": "one"})
            await answers_for_longer(chat, "a")
            await leaves(chat, model)
        async with chat_that_asks(tmp_path, model) as chat:
            await calls(chat, model, {"command": "two"})
            await leaves(chat, model)
            assert ran(tmp_path) == ["one", "two"]
        changed_tools = TOOLS.replace("Run a command.", "Run a command, and more.")
        async with chat_that_asks(tmp_path, model, tools=changed_tools) as chat:
            await calls(chat, model, {"command": "three"})
            await chat.sees("it has changed")
            await chat.sees("Run a command, and more.")

            assert ran(tmp_path) == ["one", "two"]


async def test_a_program_that_is_ended_while_it_asks_runs_nothing(tmp_path: Path) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, {"command": "one"})
        await chat.sees("May the model call")
        chat.kill(signal.SIGTERM)

        assert await chat.wait() == 128 + signal.SIGTERM
        assert ran(tmp_path) == []


async def test_a_listener_answers_by_number_and_hears_all_of_the_arguments(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(40)]
    async with Model() as model, chat_that_asks(tmp_path, model, "--screen-reader") as chat:
        await chat.sees("You:")
        chat.say("Do it.")
        reply = await model.next_request()
        await reply.call("shell", {"command": "ls", "note": lines}, id="call_0")
        await reply.end("tool_calls")
        await chat.sees("Number from 0")
        await chat.sees('"line 39"')
        await deliberate()
        chat.say("1")
        await model.next_request()

        assert ran(tmp_path) == ["ls"]


async def test_keys_count_only_a_moment_after_the_box_could_be_seen(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nwhile [ ! -e closed ]; do sleep 0.05; done\n")
    editor.chmod(0o755)
    environ = {"EDITOR": str(editor)}
    async with Model() as model, chat_that_asks(tmp_path, model, environ=environ) as chat:
        await chat.ready()
        chat.say("Do it.")
        reply = await model.next_request()
        chat.press("ctrl-g")
        await chat.until(lambda: "/help" not in chat.text)  # the editor has the terminal
        await reply.call("shell", {"command": "rm"}, id="call_0")
        await reply.end("tool_calls")
        await deliberate()
        (tmp_path / "closed").touch()
        await chat.sees("May the model call")
        chat.type("y")
        await chat.sees("> y")
        await pause()
        chat.press("n")

        assert "refused" in outputs(await model.next_request())[0]
        assert ran(tmp_path) == []


async def test_a_yes_may_be_for_all_tools_of_a_server_and_for_those_it_has_now(
    tmp_path: Path,
) -> None:
    flags = config(tmp_path, {"whole": whole()})
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("whole is there: 18 tools")
        chat.say("Do it.")
        reply = await model.next_request()
        await reply.call("whole__hinted", {}, id="call_0")
        await reply.call("whole__echo", {"text": "hi"}, id="call_1", index=1)
        await reply.end("tool_calls")
        await chat.sees("May the model call hinted of whole")
        await chat.sees("whole says of it: it only reads.")
        await chat.sees("This session and always mean: this tool")
        await answers(chat, "t")
        await chat.sees("This session and always mean: all 18 tools of whole")
        await answers_for_longer(chat, "s")
        results = outputs(reply := await model.next_request())
        assert sorted(results) == ["hi", "seen"]
        await reply.call("whole__grow", {"name": "later"}, id="call_2")
        await reply.end("tool_calls")
        await (await model.next_request()).answer("Grown.")
        await chat.sees("new: whole__later")
        await chat.sees("Grown.")
        chat.say("Again.")
        reply = await model.next_request()
        await reply.call("whole__later", {}, id="call_3")
        await reply.end("tool_calls")

        await chat.sees("May the model call later of whole")
