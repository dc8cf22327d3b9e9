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


class Telling:
    """One chat: who did what is written down where it happens, in one file."""

    def __init__(self, model: Model, chat: Chatting, folder: Path) -> None:
        self.model = model
        self.chat = chat
        self._file = folder / "story"

    @property
    def story(self) -> list[str]:
        return self._file.read_text().splitlines()

    def note(self, step: str) -> None:
        with self._file.open("a") as story:
            story.write(f"{step}\n")

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
async def telling(folder: Path, *flags: str, **environ: str) -> AsyncGenerator[Telling]:
    (folder / "tools.py").write_text(TOOLS)
    async with (
        Model() as model,
        Chatting(model, "--tools", "tools.py", *flags, home=folder, environ=environ) as chat,
    ):
        await chat.ready()
        yield Telling(model, chat, folder)
        assert not chat.foreign


PAINTERS = pytest.mark.parametrize("environ", [{}, {"TERM": "dumb"}], ids=["region", "plain"])


@PAINTERS
async def test_a_text_is_shown_as_it_comes_and_once(
    tmp_path: Path, environ: dict[str, Any]
) -> None:
    async with telling(tmp_path, **environ) as told:
        told.say("Say something.")
        reply = await told.next_request()
        await reply.say("The first words.\n\nThe last")
        await told.sees("The first words.")
        await reply.answer(" of them.")
        await told.sees("10 in, 5 out")

        assert told.chat.text.count("The first words.") == 1
        assert told.chat.text.count("The last of them.") == 1
        assert told.story == [
            "person: Say something.",
            "model: asked, user",
            "terminal: The first words.",
            "terminal: 10 in, 5 out",
        ]


@PAINTERS
async def test_a_tool_call_without_a_text_runs_and_the_next_turn_answers(
    tmp_path: Path, environ: dict[str, Any]
) -> None:
    async with telling(tmp_path, **environ) as told:
        told.say("When does it leave?")
        reply = await told.next_request()
        await reply.call("get_flight_times", FLIGHT, id="c1")
        await reply.end("tool_calls")
        reply = await told.next_request()
        await told.sees("16:35")
        await reply.answer("At 16:35.")
        await told.sees("At 16:35.")

        assert told.story == [
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
    async with telling(tmp_path, **environ) as told:
        told.say("Flight and weather?")
        reply = await told.next_request()
        await reply.say("Let me look.")
        await reply.call("get_flight_times", FLIGHT, id="c1", index=0)
        await reply.call("get_weather", {"city": "NYC"}, id="c2", index=1)
        await reply.end("tool_calls")
        reply = await told.next_request()
        await told.sees("sunny")
        await reply.answer("16:35, and sunny.")
        await told.sees("16:35, and sunny.")

        assert told.chat.text.count("Let me look.") == 1
        _, said, *outputs = reply.messages
        assert said["content"] == "Let me look."
        assert [call["id"] for call in said["tool_calls"]] == ["c1", "c2"]
        assert [(each["tool_call_id"], each["content"]) for each in outputs] == [
            ("c1", "16:35"),
            ("c2", "sunny"),
        ]
        assert sorted(step for step in told.story if step.startswith("tool")) == [
            "tool: get_flight_times LAX JFK",
            "tool: get_weather NYC",
        ]
        rows = [row for row in told.chat.rows if "get_" in row]
        assert [name in row for name, row in zip(("flight", "weather"), rows, strict=True)]


@PAINTERS
async def test_an_interrupted_reply_is_closed_kept_and_shown_as_it_is(
    tmp_path: Path, environ: dict[str, Any]
) -> None:
    async with telling(tmp_path, **environ) as told:
        told.say("Tell me a story.")
        reply = await told.next_request()
        await reply.say("A story.\n\nOnce upon a ti")
        await told.sees("A story.")
        told.stop()
        await told.sees("[stopped]")
        await told.wait_for_disconnect(reply)
        told.say("And then?")
        reply = await told.next_request()
        await reply.answer("They lived.")
        await told.sees("They lived.")

        assert told.story == [
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
        assert told.chat.text.count("Once upon a ti") == 1


@PAINTERS
@pytest.mark.parametrize("said", ["", "Half of i"], ids=["before a chunk", "amid a text"])
async def test_a_silent_model_is_left_and_the_person_may_go_on(
    tmp_path: Path, environ: dict[str, Any], said: str
) -> None:
    limits = ("--chunk-timeout", "4", "--first-chunk-timeout", "4")
    async with telling(tmp_path, *limits, **environ) as told:
        told.say("Tell me a story.")
        reply = await told.next_request()
        if said:
            await reply.say(said)
        await told.sees("incomplete (stalled)")
        await told.sees("/continue continues it.")
        await told.wait_for_disconnect(reply)
        told.say("/continue")
        reply = await told.next_request()
        await reply.answer("the rest.")
        await told.sees("the rest.")

        assert told.story[:4] == [
            "person: Tell me a story.",
            "model: asked, user",
            "terminal: incomplete (stalled)",
            "terminal: /continue continues it.",
        ]
        assert said in told.chat.text
        assert not said or said in str(reply.messages)


@PAINTERS
async def test_a_model_that_falls_silent_amid_arguments_is_left_and_nothing_runs(
    tmp_path: Path, environ: dict[str, Any]
) -> None:
    limits = ("--chunk-timeout", "4", "--first-chunk-timeout", "4")
    async with telling(tmp_path, *limits, **environ) as told:
        told.say("How is the weather?")
        reply = await told.next_request()
        await reply.say("Let me look.")
        await reply.call("get_weather", '{"city": "NY', id="c1")
        await told.sees("incomplete (stalled)")
        await told.sees("/continue continues it.")
        await told.wait_for_disconnect(reply)
        told.say("/continue")
        reply = await told.next_request()
        await reply.answer("It is sunny.")
        await told.sees("It is sunny.")

        assert not any(step.startswith("tool") for step in told.story)
        assert "Let me look." in str(reply.messages)
        assert "tool_calls" not in str(reply.messages)
