"""The web chat and its backend in two processes: either may be killed during an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser

from tests.support.terminal.model import Model
from tests.support.web.browser import open_context
from tests.support.web.chats import WATCH, Chat, Installation, as_shown

ANSWER = "It is 4·2 — naïve and 🙂 exact."
QUICK = ("--lease-duration", "1", "--heartbeat-interval", "0.2", "--expiry-interval", "0.2")
"""The death of a backend is detected soon."""


@pytest_asyncio.fixture(loop_scope="session")
async def page_and_backend(
    chromium: Browser, tmp_path: Path
) -> AsyncIterator[tuple[Chat, Installation]]:
    """A page at the web chat, and the backend behind it."""
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    async with Model() as model:
        flags = ("--base-url", model.url, "--model", "told", *QUICK)
        async with (
            Installation(tmp_path / "there", *flags, command="serve") as backend,
            Installation(
                tmp_path / "here", "--server", backend.url, "--no-servers", command="web"
            ) as web,
            open_context(chromium) as context,
        ):
            await context.add_init_script(WATCH)
            chat = Chat(web, model, context, await context.new_page())
            await chat.open()
            yield chat, backend
            await chat.faultless()


async def test_a_web_chat_that_is_killed_in_an_answer_misses_nothing_of_it(
    page_and_backend: tuple[Chat, Installation],
) -> None:
    chat, _ = page_and_backend
    await chat.say("How much?")
    reply = await chat.model.next_request()
    await reply.say(ANSWER[:6])
    await chat.sees(ANSWER[:5])
    await chat.up.kill()
    await chat.sees("Reconnecting")
    await reply.answer(ANSWER[6:])
    await chat.up.begin()
    await chat.sees(ANSWER)
    await chat.wait_until_idle()

    assert await chat.read_messages() == as_shown(await chat.fetch_messages())
    assert len(chat.model.requests) == 1


async def test_a_backend_that_is_killed_in_an_answer_starts_the_answer_again(
    page_and_backend: tuple[Chat, Installation],
) -> None:
    chat, backend = page_and_backend
    await chat.say("How much?")
    reply = await chat.model.next_request()
    await reply.say("It was ")
    await chat.sees("It was")
    await backend.kill()
    await backend.begin()
    await (await chat.model.next_request()).answer(ANSWER)
    await chat.sees(ANSWER)
    await chat.wait_until_idle()

    assert await chat.read_messages() == as_shown(await chat.fetch_messages())
    assert await chat.read_messages() == [["user", "How much?"], ["assistant", ANSWER]]
