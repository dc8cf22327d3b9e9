"""The five ways through the terminal's flow, as person, terminal, model and tools see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model, Reply

TOOLS = '''\
from pathlib import Path

from antiphon import tool


@tool
def get_flight_times(departure: str, arrival: str) -> str:
    """When flights leave."""
    with Path("story").open("a") as story:
        story.write(f"tool: get_flight_times {departure} {arrival}\\n")
    return "16:35"


@tool
def get_weather(city: str) -> str:
    """How the weather is."""
    with Path("story").open("a") as story:
        story.write(f"tool: get_weather {city}\\n")
    return "sunny"
'''
FLIGHT = {"departure": "LAX", "arrival": "JFK"}


class LoggedChat:
    """Chat whose steps, of person, model, tools and terminal, are logged in one file."""

    def __init__(self, model: Model, chat: Chatting, folder: Path) -> None:
        self.model = model
        self.chat = chat
        self._file = folder / "story"

    @property
    def steps(self) -> list[str]:
        return self._file.read_text().splitlines()

    def note(self, step: str) -> None:
        with self._file.open("a") as log:
            log.write(f"{step}\n")

    def say(self, text: str) -> None:
        self.note(f"person: {text}")
        self.chat.say(text)

    def stop(self) -> None:
        self.note("person: Ctrl+C")
        self.chat.press("ctrl-c")

    async def next_request(self) -> Reply:
        reply = await self.model.next_request()
        roles = [message["role"] for message in reply.messages]
        self.note(f"model: asked, {' '.join(roles)}")
        return reply

    async def sees(self, text: str) -> None:
        await self.chat.sees(text)
        self.note(f"terminal: {text}")

    async def wait_for_disconnect(self, reply: Reply) -> None:
        await asyncio.wait_for(reply.closed.wait(), 60)
        self.note("model: the line is closed")


@asynccontextmanager
async def open_logged_chat(folder: Path, *flags: str, **environ: str) -> AsyncGenerator[LoggedChat]:
    (folder / "tools.py").write_text(TOOLS)
    async with (
        Model() as model,
        Chatting(model, "--tools", "tools.py", *flags, home=folder, environ=environ) as chat,
    ):
        await chat.ready()
        yield LoggedChat(model, chat, folder)
        assert not chat.foreign


PAINTERS = pytest.mark.parametrize("environ", [{}, {"TERM": "dumb"}], ids=["region", "plain"])


@PAINTERS
async def test_a_text_is_shown_as_it_comes_and_once(
    tmp_path: Path, environ: dict[str, Any]
) -> None:
    async with open_logged_chat(tmp_path, **environ) as session:
        session.say("Say something.")
        reply = await session.next_request()
        await reply.say("The first words.\n\nThe last")
        await session.sees("The first words.")
        await reply.answer(" of them.")
        await session.sees("10 in, 5 out")

        assert session.chat.text.count("The first words.") == 1
        assert session.chat.text.count("The last of them.") == 1
        assert session.steps == [
            "person: Say something.",
            "model: asked, user",
            "terminal: The first words.",
            "terminal: 10 in, 5 out",
        ]


@PAINTERS
async def test_a_tool_call_without_a_text_runs_and_the_next_turn_answers(
    tmp_path: Path, environ: dict[str, Any]
) -> None:
    async with open_logged_chat(tmp_path, **environ) as session:
        session.say("When does it leave?")
        reply = await session.next_request()
        await reply.call("get_flight_times", FLIGHT, id="c1")
        await reply.end("tool_calls")
        reply = await session.next_request()
        await session.sees("16:35")
        await reply.answer("At 16:35.")
        await session.sees("At 16:35.")

        assert session.steps == [
            "person: When does it leave?",
            "model: asked, user",
            "tool: get_flight_times LAX JFK",
            "model: asked, user assistant tool",
            "terminal: 16:35",
            "terminal: At 16:35.",
        ]
        assert reply.messages[-1] == {"role": "tool", "tool_call_id": "c1", "content": "16:35"}


@PAINTERS
async def test_a_text_with_calls_is_one_message_and_each_call_has_its_answer(
    tmp_path: Path, environ: dict[str, Any]
) -> None:
    async with open_logged_chat(tmp_path, **environ) as session:
        session.say("Flight and weather?")
        reply = await session.next_request()
        await reply.say("Let me look.")
        await reply.call("get_flight_times", FLIGHT, id="c1", index=0)
        await reply.call("get_weather", {"city": "NYC"}, id="c2", index=1)
        await reply.end("tool_calls")
        reply = await session.next_request()
        await session.sees("sunny")
        await reply.answer("16:35, and sunny.")
        await session.sees("16:35, and sunny.")

        assert session.chat.text.count("Let me look.") == 1
        _, message, *outputs = reply.messages
        assert message["content"] == "Let me look."
        assert [call["id"] for call in message["tool_calls"]] == ["c1", "c2"]
        assert [(each["tool_call_id"], each["content"]) for each in outputs] == [
            ("c1", "16:35"),
            ("c2", "sunny"),
        ]
        assert sorted(step for step in session.steps if step.startswith("tool")) == [
            "tool: get_flight_times LAX JFK",
            "tool: get_weather NYC",
        ]
        rows = [row for row in session.chat.rows if "get_" in row]
        assert [name in row for name, row in zip(("flight", "weather"), rows, strict=True)]


@PAINTERS
async def test_an_interrupted_reply_is_closed_kept_and_shown_as_it_is(
    tmp_path: Path, environ: dict[str, Any]
) -> None:
    async with open_logged_chat(tmp_path, **environ) as session:
        session.say("Tell me a story.")
        reply = await session.next_request()
        await reply.say("A story.\n\nOnce upon a ti")
        await session.sees("A story.")
        session.stop()
        await session.sees("[stopped]")
        await session.wait_for_disconnect(reply)
        session.say("And then?")
        reply = await session.next_request()
        await reply.answer("They lived.")
        await session.sees("They lived.")

        assert session.steps == [
            "person: Tell me a story.",
            "model: asked, user",
            "terminal: A story.",
            "person: Ctrl+C",
            "terminal: [stopped]",
            "model: the line is closed",
            "person: And then?",
            "model: asked, user assistant user",
            "terminal: They lived.",
        ]
        assert reply.messages[1]["content"] == "A story.\n\nOnce upon a ti"
        assert session.chat.text.count("Once upon a ti") == 1


@PAINTERS
@pytest.mark.parametrize("partial_text", ["", "Half of i"], ids=["before a chunk", "amid a text"])
async def test_a_silent_model_is_left_and_the_person_may_go_on(
    tmp_path: Path, environ: dict[str, Any], partial_text: str
) -> None:
    limits = ("--chunk-timeout", "4", "--first-chunk-timeout", "4")
    async with open_logged_chat(tmp_path, *limits, **environ) as session:
        session.say("Tell me a story.")
        reply = await session.next_request()
        if partial_text:
            await reply.say(partial_text)
        await session.sees("incomplete (stalled)")
        await session.sees("/continue continues it.")
        await session.wait_for_disconnect(reply)
        session.say("/continue")
        reply = await session.next_request()
        await reply.answer("the rest.")
        await session.sees("the rest.")

        assert session.steps[:4] == [
            "person: Tell me a story.",
            "model: asked, user",
            "terminal: incomplete (stalled)",
            "terminal: /continue continues it.",
        ]
        assert partial_text in session.chat.text
        assert not partial_text or partial_text in str(reply.messages)


@PAINTERS
async def test_a_model_that_falls_silent_amid_arguments_is_left_and_nothing_runs(
    tmp_path: Path, environ: dict[str, Any]
) -> None:
    limits = ("--chunk-timeout", "4", "--first-chunk-timeout", "4")
    async with open_logged_chat(tmp_path, *limits, **environ) as session:
        session.say("How is the weather?")
        reply = await session.next_request()
        await reply.say("Let me look.")
        await reply.call("get_weather", '{"city": "NY', id="c1")
        await session.sees("incomplete (stalled)")
        await session.sees("/continue continues it.")
        await session.wait_for_disconnect(reply)
        session.say("/continue")
        reply = await session.next_request()
        await reply.answer("It is sunny.")
        await session.sees("It is sunny.")

        assert not any(step.startswith("tool") for step in session.steps)
        assert "Let me look." in str(reply.messages)
        assert "tool_calls" not in str(reply.messages)
