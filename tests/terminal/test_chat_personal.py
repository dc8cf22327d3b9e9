"""Personal instructions and memories in a chat: /instructions, /memory, and the tool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import answers, deliberately
from tests.support.terminal.model import Model, Reply

TOOLS = ("--tools", "antiphon.tools.builtin")


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    async with Model() as model:
        yield model


@pytest.fixture
async def chat(model: Model, tmp_path: Path) -> AsyncIterator[Chatting]:
    async with Chatting(model, *TOOLS, home=tmp_path, rows=40, columns=90) as chat:
        await chat.ready()
        yield chat


def offered_tools(reply: Reply) -> set[str]:
    return {each["function"]["name"] for each in reply.body.get("tools", ())}


async def ask(chat: Chatting, model: Model, text: str) -> Reply:
    chat.say(text)
    return await model.next_request()


@pytest.mark.slow
async def test_memories_are_added_listed_changed_and_deleted(chat: Chatting, model: Model) -> None:
    chat.say("/memory")
    await chat.sees("Nothing is remembered about you")
    chat.say("/memory add Likes tea.")
    await chat.sees("Remembered: Likes tea.")
    chat.say("/memory add Speaks Basque.")
    await chat.sees("Remembered: Speaks Basque.")
    chat.say("/memory delete 1")
    await chat.sees("There is no memory of this number")
    chat.say("/memory list basque")
    await chat.sees("  1  Speaks Basque.")
    chat.say("/memory edit 1 Speaks Catalan.")
    await chat.sees("Memory 1 is changed")

    reply = await ask(chat, model, "Hello")
    await reply.answer("Hi.")
    await chat.sees("Hi.")
    system = reply.messages[0]["content"]
    assert "- Likes tea.\n- Speaks Catalan." in system

    chat.say("/memory delete 1")
    await chat.sees("Memory 1 is deleted")
    chat.say("/memory delete all")
    await chat.sees("Delete all memories?")
    await deliberately(chat, "y", "1 memory deleted")


@pytest.mark.slow
async def test_instructions_are_written_switched_off_and_removed(
    chat: Chatting, model: Model
) -> None:
    chat.say("/instructions Answer in Basque.")
    await chat.sees("Every assistant reads this")
    reply = await ask(chat, model, "Hello")
    await reply.answer("Kaixo.")
    await chat.sees("Kaixo.")
    assert "Answer in Basque." in reply.messages[0]["content"]

    chat.say("/instructions off")
    await chat.sees("Your instructions are off")
    chat.say("/instructions")
    await chat.sees("not read, for they are off")
    reply = await ask(chat, model, "Hello again")
    await reply.answer("Hello.")
    await chat.sees("Hello.")
    assert "Basque." not in reply.messages[0]["content"]

    chat.say("/instructions clear")
    await chat.sees("Your instructions are removed")
    chat.say("/instructions")
    await chat.sees("There are none.")


async def test_a_model_remembers_after_a_yes_to_its_exact_text(
    chat: Chatting, model: Model
) -> None:
    reply = await ask(chat, model, "I am a vegetarian.")
    assert offered_tools(reply) >= {"remember", "forget"}
    await reply.call("remember", {"text": "Is a vegetarian.\u200b"}, id="c1")
    await reply.end("tool_calls")
    await chat.sees("May the model call remember")
    await chat.sees("Is a vegetarian.<U+200B>")
    assert "always" not in chat.text.split("May the model call")[-1]
    await answers(chat, "y")
    after = await model.next_request()
    await after.answer("Noted.")
    await chat.sees("Noted.")

    assert "mem_" in after.messages[-1]["content"]
    chat.say("/memory")
    await chat.sees("(from a chat)")


@pytest.mark.slow
async def test_the_tools_are_not_offered_while_memory_is_off_or_in_a_temporary_thread(
    chat: Chatting, model: Model
) -> None:
    chat.say("/memory off")
    await chat.sees("Memory is off")
    reply = await ask(chat, model, "Hello")
    assert offered_tools(reply)
    assert not offered_tools(reply) & {"remember", "forget"}
    await reply.answer("One.")
    await chat.sees("One.")

    chat.say("/memory on")
    await chat.sees("Memory is on")
    chat.say("/new --temporary Secrets")
    await chat.sees("A temporary thread begins")
    reply = await ask(chat, model, "Hello")
    assert not offered_tools(reply) & {"remember", "forget"}
    await reply.answer("Two.")
    await chat.sees("Two.")


async def test_a_chat_without_tools_stays_without(model: Model, tmp_path: Path) -> None:
    async with Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        reply = await ask(chat, model, "Hello")
        await reply.answer("Hi.")
        await chat.sees("Hi.")

        assert offered_tools(reply) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("/memory edit 1", "A text is missing"),
        ("/memory sing", "is not complete, or no action"),
        ("/memory delete 9", "There is no memory of this number"),
        ("/memory delete -1", "There is no memory of this number"),
    ],
)
async def test_a_command_that_is_not_complete_says_what_is_missing(
    chat: Chatting, typed: str, complaint: str
) -> None:
    chat.say(typed)
    await chat.sees(complaint)
