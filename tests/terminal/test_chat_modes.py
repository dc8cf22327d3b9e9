"""Permission modes of the chat: plan, ask and allow, by command, key and flag."""

from __future__ import annotations

from pathlib import Path

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

TOOLS = '''\
from pathlib import Path

from antiphon import tool


@tool
def paint(colour: str) -> str:
    """Paint the wall."""
    Path("painted").write_text(colour)
    return "painted"


@tool(read_only=True)
def look() -> str:
    """Look at the wall."""
    return "it is grey"
'''
FLAGS = ("--tools", "tools.py")


async def call_tool(model: Model, chat: Chatting, name: str, arguments: str = "{}") -> str:
    """Have the model call the tool; return the output that it then reads."""
    answers_before = chat.text.count("Done.")
    chat.say("Do it")
    reply = await model.next_request()
    await reply.call(name, arguments, id=f"call_{len(model.requests)}")
    await reply.end("tool_calls")
    reply = await model.next_request()
    output = str(reply.messages[-1]["content"])
    await reply.answer("Done.")
    await chat.until(lambda: chat.text.count("Done.") > answers_before)
    return output


async def test_in_plan_mode_only_tools_that_read_run_and_the_model_knows(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    async with Model() as model, Chatting(model, *FLAGS, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/mode plan")
        await chat.sees("plan mode: propose only")
        look_output = await call_tool(model, chat, "look")
        paint_output = await call_tool(model, chat, "paint", '{"colour": "red"}')
        instructions = str(model.requests[-1]["messages"][0])
        chat.say("/mode ask")
        await chat.sees("ask mode:")
        await call_tool(model, chat, "paint", '{"colour": "red"}')

        assert look_output == "it is grey"
        assert "the user wants a plan first" in paint_output
        assert "The user wants a plan." in instructions
        assert "The user wants a plan." not in str(model.requests[-1]["messages"][0])
        assert (tmp_path / "painted").read_text() == "red"


async def test_a_key_enters_plan_mode_and_leaves_it_and_the_last_row_says_so(
    tmp_path: Path,
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.press("shift-tab")
        await chat.until(lambda: chat.rows[-1].startswith("plan · "))
        chat.press("shift-tab")
        await chat.until(lambda: not chat.rows[-1].startswith("plan"))
        chat.say("/mode allow")
        await chat.sees("allow mode: run every tool that the settings do not deny")
        chat.say("/mode sometimes")
        await chat.sees("There is no such mode")
        chat.say("?")
        await chat.sees("/help COMMAND explains one command.")

        await chat.until(lambda: chat.rows[-1].startswith("allow · "))


async def test_a_chat_starts_in_the_mode_of_its_flag_and_a_denied_tool_stays_denied(
    tmp_path: Path,
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = (*FLAGS, "--mode", "allow", "--deny", "paint")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        paint_output = await call_tool(model, chat, "paint", '{"colour": "red"}')

        assert "do not allow paint" in paint_output
        assert not (tmp_path / "painted").exists()
