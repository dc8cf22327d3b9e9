"""A chat that goes on: after its end or death, beside another, over a line that breaks."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from tests.support.harness.servers import Server, start_server
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import deliberately
from tests.support.terminal.model import Model

LEASE = 15.0
"""Seconds for which a worker has a run, if it lives."""
FOOTER = "10 in, 5 out"
TOOLS = '''\
import asyncio
from pathlib import Path

from antiphon import tool


@tool
async def weigh(thing: str) -> str:
    """Weighs; it never ends the first time."""
    if not Path("began").exists():
        Path("began").touch()
        await asyncio.Event().wait()
    return f"{thing}: 3 kg"
'''


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    async with Model() as model:
        yield model


async def exchange(chat: Chatting, model: Model, message: str, answer: str) -> None:
    """Send a message, answer it, and wait for the end of the answer."""
    footers = chat.text.count(FOOTER)
    model.will_say(answer)
    chat.say(message)
    await chat.until(lambda: chat.text.count(FOOTER) > footers)


def hide_seconds(rows: list[str], first: str) -> list[str]:
    """Return the rows from `first` to the footer, without its seconds."""
    start = rows.index(first)
    end = next(index for index, row in enumerate(rows) if index > start and FOOTER in row)
    return [re.sub(r"\d+\.\d s", "some s", row) for row in rows[start : end + 1]]


@pytest.mark.slow
async def test_the_last_thread_is_gone_on_with_and_looks_as_it_did(
    tmp_path: Path, model: Model
) -> None:
    async with Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        await exchange(
            chat, model, "Hello", "Hi **there**:\n\n- one\n- two\n\n```python\nx = 1\n```"
        )
        live_rows = hide_seconds(chat.rows, "> Hello")
    async with Chatting(model, "--resume", home=tmp_path) as chat:
        await chat.sees(FOOTER)

        assert hide_seconds(chat.rows, "> Hello") == live_rows

        await exchange(chat, model, "And now?", "Still here.")

        assert [message["content"][:5] for message in model.requests[-1]["messages"]] == [
            "Hello",
            "Hi **",
            "And n",
        ]


@pytest.mark.slow
async def test_the_instructions_of_a_thread_hold_again_unless_others_are_named(
    tmp_path: Path, model: Model
) -> None:
    async with Chatting(model, "--system", "Be brief.", home=tmp_path) as chat:
        await chat.ready()
        await exchange(chat, model, "Hello", "Hi.")
    for flags, instructions in (((), "Be brief."), (("--system", "Be long."), "Be long.")):
        async with Chatting(model, "--resume", *flags, home=tmp_path) as chat:
            await chat.sees(FOOTER)
            chat.say("Which?")
            reply = await model.next_request()

            assert reply.messages[0]["content"] == instructions

            await reply.answer("These.")
            await chat.sees("These.")


@pytest.mark.slow
async def test_a_long_thread_is_shown_by_its_end(tmp_path: Path, model: Model) -> None:
    async with Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        for number in range(12):
            await exchange(chat, model, f"Question {number}", f"Answer {number}")
    async with Chatting(model, "--resume", home=tmp_path, rows=16) as chat:
        await chat.sees("Answer 11")

        await chat.sees("earlier messages; /export shows all.")
        assert "> Question 0" not in chat.text


async def test_where_nothing_was_said_yet_resuming_begins(tmp_path: Path, model: Model) -> None:
    async with Chatting(model, "--resume", home=tmp_path) as chat:
        await chat.sees("There is no thread yet: this is the first.")
        await exchange(chat, model, "Hello", "Hi.")


async def test_a_thread_that_is_not_there_ends_the_chat_and_is_named(
    tmp_path: Path, model: Model
) -> None:
    async with Chatting(model, "--thread", "thread_nowhere", home=tmp_path) as chat:
        assert await chat.wait() != 0
        await chat.sees("No thread has 'thread_nowhere' in it")
        assert "Traceback" not in chat.text


async def test_a_chat_that_was_killed_amid_an_answer_goes_on_with_all_that_came(
    tmp_path: Path, model: Model
) -> None:
    async with Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        await exchange(chat, model, "Hello", "Hi.")
        chat.say("Tell me")
        reply = await model.next_request()
        await reply.say("Once upon a time\n\nthere was")
        await chat.sees("there was")
        chat.kill()
        await chat.wait()
    async with Chatting(model, "--resume", home=tmp_path) as chat:
        await chat.sees("there was")
        second_reply = await model.next_request(LEASE / 2)
        await second_reply.answer("In a hole in the ground.")
        await chat.sees("In a hole in the ground.")
        await chat.until(lambda: chat.text.count(FOOTER) == 2)
        await exchange(chat, model, "More", "That was all.")

        contents = [message["content"] for message in model.requests[-1]["messages"]]
        assert contents == ["Hello", "Hi.", "Tell me", "In a hole in the ground.", "More"]
        await chat.sees("worker_lost")


async def test_a_tool_that_ran_when_the_chat_was_killed_is_asked_about_and_run_again(
    tmp_path: Path, model: Model
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--tools", "tools.py")
    async with Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Weigh it")
        reply = await model.next_request()
        await reply.say("I weigh.")
        await reply.call("weigh", {"thing": "A hen"}, id="call-1")
        await reply.end("tool_calls")
        await chat.until((tmp_path / "began").exists)
        chat.kill()
        await chat.wait()
    async with Chatting(model, *flags, "--ask", "*", "--resume", home=tmp_path) as chat:
        await chat.sees("Tool calls wait in this thread: weigh")
        await deliberately(chat, "y", "y yes, once")
        await deliberately(chat, "y", "ok 0.0 s")
        await (await model.next_request()).answer("It weighs 3 kg.")
        await chat.sees(FOOTER)

        await chat.sees("A hen: 3 kg")
        assert chat.text.count("I weigh.") == 1
        assert model.requests[-1]["messages"][-1]["content"] == "A hen: 3 kg"


async def test_tools_that_another_chat_may_be_running_are_left_alone_unless_somebody_says_yes(
    tmp_path: Path, model: Model
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--tools", "tools.py")
    async with Chatting(model, *flags, home=tmp_path) as first_chat:
        await first_chat.ready()
        first_chat.say("Weigh it")
        reply = await model.next_request()
        await reply.call("weigh", {"thing": "A hen"}, id="call-1")
        await reply.end("tool_calls")
        await first_chat.until((tmp_path / "began").exists)
        async with Chatting(model, *flags, "--resume", home=tmp_path) as second_chat:
            await second_chat.sees("Tool calls wait in this thread: weigh")
            second_chat.press("escape")
            await second_chat.sees("They are left alone.")

            assert "3 kg" not in second_chat.text


@pytest.mark.slow
async def test_a_message_into_a_busy_thread_is_refused_and_kept(
    tmp_path: Path, model: Model
) -> None:
    async with Chatting(model, home=tmp_path) as first_chat:
        await first_chat.ready()
        await exchange(first_chat, model, "Hello", "Hi.")
        async with Chatting(model, "--resume", home=tmp_path) as second_chat:
            await second_chat.sees(FOOTER)
            first_chat.say("Tell me")
            reply = await model.next_request()
            await reply.say("Once upon a time")
            await first_chat.sees("Once upon")
            second_chat.say("And me?")
            await second_chat.sees("nothing was sent")
            await second_chat.until(
                lambda: any(row.startswith("> And me?") for row in second_chat.rows[-2:])
            )
            second_chat.press("ctrl-u")
            second_chat.say("/continue")
            await second_chat.sees("Once upon a time")
            await reply.answer(", all was well.")
            await second_chat.sees("Once upon a time, all was well.")
            await first_chat.sees("Once upon a time, all was well.")


# With a server.


@pytest.fixture
async def server(tmp_path: Path, model: Model) -> AsyncIterator[Server]:
    environ = {"ANTIPHON_DATABASE": f"sqlite:///{tmp_path}/served.db"}
    server = await start_server(environ, "--base-url", model.url, "--model", "told")
    yield server
    await server.stop_cleanly()


@pytest.mark.slow
async def test_a_chat_that_was_begun_at_a_server_goes_on_elsewhere(
    tmp_path: Path, model: Model, server: Server
) -> None:
    async with Chatting(None, "--server", server.url, home=tmp_path) as chat:
        await chat.ready()
        await exchange(chat, model, "Hello", "Hi.")
        await exchange(chat, model, "Bye", "So long.")
        chat.say("/undo")
        await chat.sees("Taken back")
        chat.press("ctrl-u")
        chat.say("/rename Greetings")
        await chat.sees("This thread is called")
    async with Chatting(None, "--server", server.url, "--resume", home=tmp_path) as chat:
        await chat.sees("Greetings (thread_")
        await chat.sees("Hi.")
        chat.say("/threads")
        await chat.sees("/resume NUMBER")
        await exchange(chat, model, "Again", "Hello again.")

        assert [row[-17:] for row in chat.rows if " messages  " in row] == ["Greetings  (here)"]
        assert [each["content"] for each in model.requests[-1]["messages"]][:2] == ["Hello", "Hi."]


async def test_a_chat_says_at_its_start_that_its_server_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as closed_socket:
        closed_socket.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed_socket.getsockname()[1]}"
        async with Chatting(None, "--server", url, home=tmp_path) as chat:
            await chat.sees(f"The server at {url} does not answer")
            await chat.sees("Is it running?")


async def test_an_answer_is_shown_once_though_the_line_breaks_amid_it(
    tmp_path: Path, model: Model, server: Server
) -> None:
    async with (
        Proxy(server.url) as proxy,
        Chatting(None, "--server", proxy.url, home=tmp_path) as chat,
    ):
        await chat.ready()
        chat.say("Count")
        reply = await model.next_request()
        await reply.say("one ")
        await chat.sees("one")
        for word in ("two ", "three ", "four "):
            proxy.cut_connections()
            await reply.say(word)
            await chat.sees(word.strip())
        await reply.answer("five.")
        await chat.sees(FOOTER)

        assert chat.text.count("one two three four five.") == 1
        assert chat.text.count("one") == 1
        assert proxy.connections > 3


async def test_a_chat_that_was_killed_finds_the_answer_at_the_server(
    tmp_path: Path, model: Model, server: Server
) -> None:
    async with Chatting(None, "--server", server.url, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Count")
        reply = await model.next_request()
        await reply.say("one two")
        await chat.sees("one two")
        chat.kill()
        await chat.wait()
    await reply.say(" three")
    async with Chatting(None, "--server", server.url, "--resume", home=tmp_path) as chat:
        await chat.sees("one two three")
        await reply.answer(" four.")
        await chat.sees("one two three four.")
        await chat.sees(FOOTER)

        assert chat.text.count("one two three four.") == 1


class Proxy:
    """Proxy before a server, which cuts all connections on demand."""

    def __init__(self, url: str) -> None:
        self._host, _, self._port = url.removeprefix("http://").partition(":")
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut_connections(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut_connections()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        server_reader, server_writer = await asyncio.open_connection(self._host, int(self._port))
        pair = {writer, server_writer}
        self._writers |= pair
        await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
        self._writers -= pair


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()
