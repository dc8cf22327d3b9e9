"""Only the chat moves the cursor, whatever texts pass through it to the terminal."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

from antiphon.terminal.input.keyboard import PAUSE
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.escapes import PAYLOADS
from tests.support.terminal.model import Model, Reply

TOOLS = f'''\
from antiphon import tool

PAYLOADS = {PAYLOADS!r}


@tool
def result(name: str) -> str:
    """Gives it all."""
    return "given " + " ".join(PAYLOADS)


@tool
def error(name: str) -> str:
    """Fails with it all."""
    raise RuntimeError("broken " + " ".join(PAYLOADS))


@tool
def printed(name: str) -> str:
    """Prints it all."""
    for payload in PAYLOADS[:-1]:
        print("printed", payload)
    return "printed"
'''
WELL_FORMED = [each for each in PAYLOADS if each != "\ud83d"]
SENDABLE = [each for each in WELL_FORMED if "\0" not in each]
FORMS = [
    "{}",
    "`{}`",
    "> {}",
    "- {}",
    "[a]({})",
    "**{}**",
    "```py\n{}\n```",
    "|a|\n|-|\n|{}|",
]


def split_text(text: str, rng: random.Random) -> Iterator[str]:
    """Split the text into pieces of one to seven characters."""
    at = 0
    while at < len(text):
        size = rng.randint(1, 7)
        yield text[at : at + size]
        at += size


async def say(reply: Reply, text: str) -> None:
    for piece in split_text(text, random.Random(1)):
        await reply.say(piece)


async def allow(model: Model, chat: Chatting) -> Reply:
    """Press yes until it counts: after all was shown, and after a pause since the last key."""
    request = asyncio.create_task(model.next_request())
    while not request.done():
        for key in ("m", "y"):
            chat.press(key)
            await asyncio.wait({request}, timeout=2 * PAUSE)
    return await request


async def check_marks(chat: Chatting, marks: list[str]) -> None:
    """Check that each mark is there once, in order: nothing was erased, overwritten or repeated."""
    await chat.sees(marks[-1])
    screen = "\n".join(chat.rows[:-1])  # the last row, the status, has the thread's title
    assert [screen.count(mark) for mark in marks] == [1] * len(marks)
    places = [screen.index(mark) for mark in marks]
    assert places == sorted(places)
    assert not chat.foreign
    assert chat.emulator.screen.title == ""


async def test_what_a_model_says_moves_nothing(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, columns=100) as chat:
        await chat.ready()
        chat.say("Try.")
        reply = await model.next_request()
        marks = []
        for number, payload in enumerate(PAYLOADS):
            form = FORMS[number % len(FORMS)]
            marks.append(f"mark-{number:03}")
            await say(reply, f"mark-{number:03}\n\n{form.format(payload)}\n\n")
        await reply.end()
        await chat.sees("10 in, 5 out")
        model.will_say("mark-end")
        chat.say("And on.")

        await check_marks(chat, [*marks, "mark-end"])


async def test_what_a_model_thinks_and_calls_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--tools", "tools.py", "--ask", "error")
    async with Model() as model, Chatting(model, *flags, home=tmp_path, columns=100) as chat:
        await chat.ready()
        chat.say("mark-first")
        reply = await model.next_request()
        for payload in WELL_FORMED:
            await reply.think(payload)
        for index, name in enumerate(("result", "error", "printed", "unheard")):
            arguments = json.dumps({"name": " ".join(WELL_FORMED)}, ensure_ascii=False)
            await reply.call(name, "", id=f"c{index}", index=index)
            for piece in split_text(arguments, random.Random(index)):
                await reply.more(piece, index=index)
        await reply.end("tool_calls")
        reply = await model.next_request()  # one tool was never offered: the reply begins again
        await reply.call("result", {"name": "a"}, id="d1", index=0)
        await reply.call("error", {"name": " ".join(WELL_FORMED)}, id="d2", index=1)
        await reply.call("printed", {"name": "a"}, id="d3", index=2)
        await reply.end("tool_calls")
        await chat.sees("error")
        await chat.until(lambda: " y " in chat.text)
        reply = await allow(model, chat)
        await reply.refuse(400, "refused " + " ".join(WELL_FORMED))
        await chat.sees("refused")
        model.will_say("mark-end")
        chat.say("And on.")

        await check_marks(chat, ["mark-first", "mark-end"])


async def test_what_a_person_pastes_moves_nothing(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, columns=100) as chat:
        await chat.ready()
        chat.paste("mark-first " + " ".join(SENDABLE))
        await chat.sees("mark-first")
        chat.press("enter")
        reply = await model.next_request()
        await reply.answer("mark-end")
        await chat.sees("mark-end")

        assert not chat.foreign
        assert reply.messages[0]["content"].startswith("mark-first")


async def test_a_thread_that_is_resumed_moves_nothing(tmp_path: Path) -> None:
    async with Model() as model:
        async with Chatting(model, home=tmp_path, columns=100) as chat:
            await chat.ready()
            chat.paste("title " + " ".join(SENDABLE))
            chat.press("enter")
            reply = await model.next_request()
            await say(reply, "mark-old\n\n" + "\n\n".join(WELL_FORMED) + "\n\nmark-older\n")
            await reply.end()
            await chat.sees("10 in, 5 out")
            await chat.leave()
        async with Chatting(model, "--resume", home=tmp_path, columns=100) as chat:
            await chat.sees("mark-older")
            await chat.ready()
            chat.say("/threads")
            model.will_say("mark-end")
            chat.say("And on.")

            await check_marks(chat, ["mark-old\n", "mark-older", "mark-end"])
