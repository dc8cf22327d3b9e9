"""Tools in a chat: each call runs once, with its own arguments, and each has its own result."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import answers, calls, chat_that_asks, ran
from tests.support.terminal.mcp_servers import config, raw
from tests.support.terminal.model import Model, Reply

TOOLS = '''\
import json
from pathlib import Path
from typing import Any

from antiphon import tool


def ran(name: str, **arguments: Any) -> str:
    with Path("ran").open("a") as file:
        file.write(json.dumps([name, arguments]) + "\\n")
    return f"{name} {json.dumps(arguments)}"


@tool
def add(a: int, b: int | None = None) -> str:
    """Add."""
    return ran("add", a=a, b=b)


@tool
def echo(text: str) -> str:
    """Say it again."""
    return ran("echo", text=text)


@tool
def status() -> str:
    """How it is."""
    return ran("status")
'''


def open_chat_with_tools(model: Model, home: Path) -> Chatting:
    (home / "tools.py").write_text(TOOLS)
    return Chatting(model, "--tools", "tools.py", home=home, columns=100, rows=40)


def outputs(reply: Reply) -> dict[str, str]:
    """Return the output of each call as the model received it."""
    tools = [each for each in reply.messages if each["role"] == "tool"]
    assert all(count == 1 for count in Counter(each["tool_call_id"] for each in tools).values())
    return {each["tool_call_id"]: each["content"] for each in tools}


async def call_in_pieces(reply: Reply, *tool_calls: tuple[str, str, str]) -> None:
    """Send calls whose arguments come in small pieces, in turn."""
    for index, (call, name, _) in enumerate(tool_calls):
        await reply.call(name, "", id=call, index=index)
    longest = max(len(arguments) for _, _, arguments in tool_calls)
    for at in range(0, longest, 3):
        for index, (_, _, arguments) in enumerate(tool_calls):
            if piece := arguments[at : at + 3]:
                await reply.more(piece, index=index)
    await reply.end("tool_calls")


async def test_calls_that_come_entangled_are_told_apart(tmp_path: Path) -> None:
    async with Model() as model, open_chat_with_tools(model, tmp_path) as chat:
        await chat.ready()
        chat.say("Go")
        reply = await model.next_request()
        await call_in_pieces(
            reply,
            ("c1", "add", '{"a": 1, "b": 2}'),
            ("c2", "add", '{"a": 30, "b": 40}'),
            ("c3", "echo", '{"text": "{\\"a\\": 5}"}'),
        )
        reply = await model.next_request()
        await reply.answer("Done.")
        await chat.sees("Done.")

        assert outputs(reply) == {
            "c1": 'add {"a": 1, "b": 2}',
            "c2": 'add {"a": 30, "b": 40}',
            "c3": 'echo {"text": "{\\"a\\": 5}"}',
        }
        assert len((tmp_path / "ran").read_text().splitlines()) == 3
        assert chat.text.count("✓ add(") == 2
        assert chat.text.count("✓ echo(") == 1


@pytest.mark.parametrize(
    ("name", "arguments", "output"),
    [
        ("status", "", "status {}"),
        ("status", "{}", "status {}"),
        ("status", "null", "status {}"),
        ("add", '{"a": 1, "b": null}', 'add {"a": 1, "b": null}'),
    ],
)
async def test_a_call_without_arguments_or_with_null_is_a_call(
    tmp_path: Path, name: str, arguments: str, output: str
) -> None:
    async with Model() as model, open_chat_with_tools(model, tmp_path) as chat:
        await chat.ready()
        chat.say("Go")
        reply = await model.next_request()
        await reply.call(name, arguments, id="c1")
        await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("Done.")
        await chat.sees("Done.")

        assert outputs(reply) == {"c1": output}


async def test_a_tool_that_is_asked_five_times_alike_runs_five_times(tmp_path: Path) -> None:
    async with Model() as model, open_chat_with_tools(model, tmp_path) as chat:
        await chat.ready()
        chat.say("Wait until it is ready")
        for number in range(5):
            reply = await model.next_request()
            await reply.call("echo", {"text": "ready?"}, id=f"c{number}")
            await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("It is.")
        await chat.sees("It is.")

        assert len((tmp_path / "ran").read_text().splitlines()) == 5
        assert len(outputs(reply)) == 5
        assert [each["role"] for each in reply.messages] == ["user", *["assistant", "tool"] * 5]


async def test_two_servers_may_have_tools_of_one_name(tmp_path: Path) -> None:
    flags = (*config(tmp_path, {"left": raw(), "right": raw()}), "--yes")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("left is there")
        await chat.sees("right is there")
        chat.say("Go")
        reply = await model.next_request()
        names = [tool["function"]["name"] for tool in reply.body["tools"]]
        await reply.call("left__echo", {"said": "one"}, id="c1", index=0)
        await reply.call("right__echo", {"said": "two"}, id="c2", index=1)
        await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("Done.")
        await chat.sees("Done.")

        call_outputs = outputs(reply)
        assert len(names) == len(set(names))
        assert "one" in call_outputs["c1"]
        assert "two" in call_outputs["c2"]


async def test_after_a_refusal_the_next_call_is_asked_about_and_runs(tmp_path: Path) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, {"command": "first"})
        await answers(chat, "n")
        reply = await model.next_request()
        earlier_outputs = outputs(reply)
        await reply.call("shell", {"command": "second"}, id="call_again")
        await reply.end("tool_calls")
        await chat.until(lambda: "second" in chat.text)
        await answers(chat, "y")
        reply = await model.next_request()
        await reply.answer("Done.")
        await chat.sees("Done.")

        assert ran(tmp_path) == ["second"]
        assert "refused" in earlier_outputs["call_0"]
        assert outputs(reply) == {**earlier_outputs, "call_again": "ran second"}
        assert _calls_have_outputs(reply.messages)


async def test_ten_presses_of_ctrl_c_at_a_question_run_nothing_and_the_chat_goes_on(
    tmp_path: Path,
) -> None:
    sent_text = "a draft, and sent"
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await calls(chat, model, {"command": "first"})
        await chat.sees("May the model call")
        chat.type("a draft")
        chat.press(*["ctrl-c"] * 10)
        await chat.until(lambda: "May the model call" not in chat.text)
        model.will_say("Very well.", "Very well.")
        chat.say(", and sent")
        await chat.until(lambda: model.requests[-1]["messages"][-1]["content"] == sent_text)
        await chat.sees("Very well.")

        assert ran(tmp_path) == []
        assert _calls_have_outputs(model.requests[-1]["messages"])


async def test_a_tool_that_never_answers_is_left_at_once_and_its_server_told(
    tmp_path: Path,
) -> None:
    cancelled_file = tmp_path / "cancelled"
    flags = (*config(tmp_path, {"raw": raw("good", str(cancelled_file))}), "--yes")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("raw is there")
        chat.say("Go")
        reply = await model.next_request()
        await reply.call("raw__hang", id="c1")
        await reply.end("tool_calls")
        seconds: set[str] = set()

        def is_counting_seconds() -> bool:
            seconds.update(re.findall(r"raw__hang\(\{\}\) (\d+) s", chat.text))
            return len(seconds) > 1

        await chat.until(is_counting_seconds)
        chat.press("ctrl-c")
        await chat.sees("[stopped]")
        chat.say("And on.")
        reply = await model.next_request()
        await reply.call("raw__echo", {"said": "well"}, id="c2")
        await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("Done.")
        await chat.sees("Done.")

        assert cancelled_file.exists()
        assert "well" in outputs(reply)["c2"]
        assert _calls_have_outputs(reply.messages)


async def test_a_tool_that_never_answers_is_given_up_and_the_run_goes_on(tmp_path: Path) -> None:
    flags = (*config(tmp_path, {"raw": raw()}), "--yes", "--tool-timeout", "1")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("raw is there")
        chat.say("Go")
        reply = await model.next_request()
        await reply.call("raw__hang", id="c1")
        await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("So be it.")
        await chat.sees("So be it.")

        await chat.sees("✗ raw__hang({}) timed out")
        assert "c1" in outputs(reply)


def _calls_have_outputs(messages: list[dict[str, Any]]) -> bool:
    """Return whether each call is followed by its output, and each output has its call."""
    call_ids = [call["id"] for each in messages for call in each.get("tool_calls") or ()]
    output_ids = [each["tool_call_id"] for each in messages if each["role"] == "tool"]
    return call_ids == output_ids and len(call_ids) == len(set(call_ids))
