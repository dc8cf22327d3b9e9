"""Streams of OpenAI's client whose server is killed: another one goes on, with the same numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from antiphon import AsyncClient
from tests.support.harness.servers import Server, start_server

WORDS = 300
OPTIONS: dict[str, Any] = {"model": "demo", "input": f"{WORDS} words"}
SETTINGS = {
    "ANTIPHON_DEMO_DELAY": "0.01",
    "ANTIPHON_LEASE_DURATION": "4",
    "ANTIPHON_HEARTBEAT_INTERVAL": "0.5",
    "ANTIPHON_REAPER_INTERVAL": "0.5",
}

Start = Callable[[], Awaitable[Server]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a server on one database."""
    async with AsyncExitStack() as stack:

        async def start() -> Server:
            database = f"sqlite:///{tmp_path}/antiphon.db"
            server = await start_server({**SETTINGS, "ANTIPHON_DATABASE": database})
            stack.push_async_callback(server.kill)
            return server

        yield start


def client_of(server: Server) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=f"{server.url}/openai/v1", api_key="none", max_retries=0, timeout=60
    )


async def read_until_killed(server: Server, stream: Any) -> list[Any]:
    """Return the events of a stream whose server is killed in the middle of its text."""
    received: list[Any] = []
    with suppress(openai.APIError, httpx2.TransportError):
        async for event in stream:
            received.append(event)
            if len(received) == 20:
                await server.kill()
    assert not server.alive
    return received


@pytest.mark.parametrize("background", [False, True])
async def test_a_response_goes_on_where_its_server_was_killed(
    start: Start, background: bool
) -> None:
    server = await start()

    async with client_of(server) as client:
        stream = await client.responses.create(**OPTIONS, stream=True, background=background)
        received = await read_until_killed(server, stream)
    async with client_of(await start()) as client:
        response_id, after = received[0].response.id, received[-1].sequence_number
        replay = await client.responses.retrieve(response_id, stream=True, starting_after=after)
        events = [*received, *[event async for event in replay]]
        stored = await client.responses.retrieve(response_id)

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output == stored.output
    answer = stored.output[-1]
    assert len(answer.content[0].text.split()) == WORDS
    deltas = [
        event.delta
        for event in events
        if event.type == "response.output_text.delta" and event.item_id == answer.id
    ]
    assert "".join(deltas) == answer.content[0].text


async def test_a_chat_that_names_its_thread_goes_on_where_its_server_was_killed(
    start: Start,
) -> None:
    server = await start()

    async with client_of(server) as client, AsyncClient(server.url) as native_client:
        thread = await native_client.create_thread()
        stream = await client.chat.completions.create(
            model="demo",
            messages=[{"role": "user", "content": OPTIONS["input"]}],
            stream=True,
            extra_headers={"Antiphon-Thread": thread.id},
        )
        await read_until_killed(server, stream)
    async with AsyncClient((await start()).url) as native_client:
        (run,) = (await native_client.list_runs(thread.id)).data
        _ = [event async for event in native_client.events(run.id)]
        *_, answer = (await native_client.list_messages(thread.id)).data

    assert len(answer.text.split()) == WORDS
