"""A chat whose one tool asks before it runs, and the keys that answer it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from antiphon.terminal.input.keyboard import PAUSE
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model, Reply

TOOLS = '''
from pathlib import Path

from antiphon.tools.functions import tool

@tool
def shell(command: str = "", note: list[str] | None = None) -> str:
    """Run a command."""
    with Path("ran.txt").open("a") as file:
        file.write(command + "\\n")
    return f"ran {command}"
'''


def chat_that_asks(home: Path, model: Model, *flags: str, **options: Any) -> Chatting:
    """Return a chat with one tool, which asks each time and logs its commands to a file."""
    tools = home / "tools.py"
    tools.write_text(options.pop("tools", TOOLS))
    return Chatting(model, "--tools", str(tools), "--ask", "*", *flags, home=home, **options)


def ran(home: Path) -> list[str]:
    """Return the commands that ran, in order."""
    file = home / "ran.txt"
    return file.read_text().splitlines() if file.exists() else []


async def calls(chat: Chatting, model: Model, *arguments: object) -> Reply:
    """Let the model call the tool in one reply, once with each of these arguments."""
    await chat.ready()
    chat.say("Do it.")
    reply = await model.next_request()
    for number, each in enumerate(arguments):
        await reply.call("shell", each, id=f"call_{number}", index=number)
    await reply.end("tool_calls")
    return reply


async def deliberate() -> None:
    """Wait until the box accepts a key: how soon it does is part of the test."""
    await asyncio.sleep(0.4)


async def deliberately(chat: Chatting, key: str, seen: str) -> None:
    """Press the key until `seen` appears: a key counts only after a pause in typing."""
    while seen not in chat.text:
        chat.press(key)
        with suppress(AssertionError):
            await chat.sees(seen, PAUSE + 0.5)
    chat.press("ctrl-u")


async def answers(chat: Chatting, *keys: str) -> None:
    """Press these keys, each after the time that reading the box takes."""
    await chat.sees("May the model call")
    for key in keys:
        await deliberate()
        chat.press(key)


async def answers_for_longer(chat: Chatting, key: str) -> None:
    """Press this key and the key that confirms it."""
    await answers(chat, key)
    await chat.sees("confirm:")
    await deliberate()
    chat.press("c")


async def pause() -> None:
    """Wait longer than the pause in typing after which the box accepts a key."""
    await asyncio.sleep(PAUSE + 0.3)


async def leaves(chat: Chatting, model: Model) -> None:
    """Let the model end its turn, and end the program."""
    await (await model.next_request()).answer("All done.")
    await chat.sees("All done.")
    await chat.sees("20 in, 10 out")
    assert await chat.leave() == 0


def outputs(reply: Reply) -> list[str]:
    """Return the outputs that the model received."""
    return [str(each["content"]) for each in reply.messages if each["role"] == "tool"]
