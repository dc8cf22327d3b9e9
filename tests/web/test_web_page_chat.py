"""A conversation in the page: said, answered, stopped, said anew."""

from __future__ import annotations

from tests.web.chats import Chat


async def test_an_answer_is_seen_as_it_is_written(chat: Chat) -> None:
    await chat.say("Hello")
    reply = await chat.model.asked()
    await reply.say("Hi ")
    await chat.sees("Hi")
    await reply.answer("there.")
    await chat.settled()

    assert await chat.shown() == [["user", "Hello"], ["assistant", "Hi there."]]
