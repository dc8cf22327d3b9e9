"""Ctrl+C in every state of a chat, again and again in one chat."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model, Reply

TOOLS = '''\
import asyncio
from pathlib import Path

from antiphon import tool


@tool
async def dawdle(name: str) -> str:
    """Never ends."""
    Path(f"began-{name}").touch()
    try:
        await asyncio.Event().wait()
    finally:
        Path(f"ended-{name}").touch()
'''


class Scene:
    """Chat with its model, and the number of times that it was stopped."""

    def __init__(self, model: Model, chat: Chatting, folder: Path, presses: int = 1) -> None:
        self.model = model
        self.chat = chat
        self.folder = folder
        self.presses = presses
        self.stops = 0

    async def ask(self, text: str) -> Reply:
        self.chat.say(text)
        return await self.model.next_request()

    async def stop(self) -> None:
        """Press Ctrl+C, and wait until the chat says so and nothing is going on."""
        self.stops += 1
        self.chat.press(*["ctrl-c"] * self.presses)
        await self.chat.until(lambda: self.chat.text.count("[stopped]") == self.stops)


async def before_the_first_word(scene: Scene) -> None:
    reply = await scene.ask("Silence?")
    await scene.stop()
    await asyncio.wait_for(reply.closed.wait(), 60)


async def in_a_word(scene: Scene) -> None:
    reply = await scene.ask("Words?")
    await reply.say("Half a wo")
    await scene.chat.sees("Half a wo")
    await scene.stop()
    await asyncio.wait_for(reply.closed.wait(), 60)


async def in_a_fence(scene: Scene) -> None:
    reply = await scene.ask("Code?")
    await reply.say("So:\n\n```python\nprint('open')\nwhile Tr")
    await scene.chat.sees("while Tr")
    await scene.stop()


async def in_a_thought(scene: Scene) -> None:
    reply = await scene.ask("Thoughts?")
    await reply.think("Let me see, ")
    await scene.chat.sees("thinking")
    await scene.stop()


async def in_arguments(scene: Scene) -> None:
    reply = await scene.ask("Arguments?")
    await reply.call("dawdle", '{"name": "never', id=f"cut{scene.stops}")
    await scene.chat.sees("never")
    await scene.stop()

    assert not (scene.folder / "began-never").exists()


async def in_tools(scene: Scene) -> None:
    reply = await scene.ask("Tools?")
    names = [f"t{scene.stops}{letter}" for letter in "abcd"]
    for index, name in enumerate(names):
        await reply.call("dawdle", {"name": name}, id=f"call-{name}", index=index)
    await reply.end("tool_calls")
    await scene.chat.until(lambda: all((scene.folder / f"began-{name}").exists() for name in names))
    await scene.stop()

    assert scene.chat.text.count("cancelled") % 4 == 0
    assert "not run" not in scene.chat.text.rpartition("Tools?")[2]


STATES: list[Callable[[Scene], Awaitable[None]]] = [
    before_the_first_word,
    in_a_word,
    in_a_fence,
    in_a_thought,
    in_arguments,
    in_tools,
]


async def _play(
    tmp_path: Path, states: list[Callable[[Scene], Awaitable[None]]], presses: int = 1
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    async with Model() as model, Chatting(model, "--tools", "tools.py", home=tmp_path) as chat:
        await chat.ready()
        scene = Scene(model, chat, tmp_path, presses)
        for state in states:
            await state(scene)
        reply = await scene.ask("Are you still there?")
        await reply.answer("As ever.")
        await chat.sees("As ever.")
        conversation = str(reply.messages)

        assert not chat.foreign
        for partial_text, state in (("Half a wo", in_a_word), ("while Tr", in_a_fence)):
            assert conversation.count(partial_text) == states.count(state)
        begun_tools = {each.name.removeprefix("began-") for each in tmp_path.glob("began-*")}
        ended_tools = {each.name.removeprefix("ended-") for each in tmp_path.glob("ended-*")}
        assert begun_tools == ended_tools


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_ctrl_c_stops_whatever_runs_and_the_chat_goes_on(
    tmp_path: Path, state: Callable[[Scene], Awaitable[None]]
) -> None:
    await _play(tmp_path, [state])


async def test_escape_stops_a_reply_too(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        scene = Scene(model, chat, tmp_path)
        reply = await scene.ask("Words?")
        await reply.say("Half a wo")
        await chat.sees("Half a wo")
        chat.press("escape")

        await chat.sees("[stopped]")


@pytest.mark.slow
async def test_a_chat_that_was_stopped_fifty_times_answers(tmp_path: Path) -> None:
    await _play(tmp_path, [STATES[number % len(STATES)] for number in range(50)])


@pytest.mark.slow
async def test_ten_presses_at_once_are_one_in_every_state(tmp_path: Path) -> None:
    await _play(tmp_path, STATES, presses=10)


async def test_pressing_on_and_on_stops_the_reply_alone_and_keeps_the_line(
    tmp_path: Path,
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        scene = Scene(model, chat, tmp_path)
        reply = await scene.ask("Words?")
        await reply.say("Half a wo")
        await chat.sees("Half a wo")
        chat.type("a draft")
        chat.press(*["ctrl-c"] * 10)
        await chat.sees("[stopped]")
        chat.press("enter")
        reply = await model.next_request()

        assert reply.messages[-1]["content"] == "a draft"
