"""A server that ends says so first, and servers are replaced under load without anybody noticing.

Guarantee G26.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx2
import pytest

from antiphon.api.operations import NewMessage
from antiphon.client.async_client import AsyncClient
from antiphon.types.events import Event, Numbered, TextDelta, TurnEnded, TurnRestarted
from tests.support.harness.servers import Server, start_server
from tests.support.server.served import DEADLINE, eventually
from tests.support.services.balancer import Balancer, run_balancer
from tests.support.services.postgres import Postgres

QUESTION = "When does the next flight from LAX to JFK leave?"
SHORT = {"ANTIPHON_SHUTDOWN_TIMEOUT": "0.3", "ANTIPHON_DEMO_DELAY": "0.01667"}
PEOPLE = 4


async def test_it_says_that_it_leaves_before_it_takes_no_more(tmp_path: Path) -> None:
    environ = {
        "ANTIPHON_DRAIN_DELAY": "0.5",
        "ANTIPHON_SHUTDOWN_TIMEOUT": "20",
        "ANTIPHON_DEMO_DELAY": "0.003333",
    }
    server = await start_server({**SHORT, **environ, "ANTIPHON_DATABASE": _database(tmp_path)})
    async with httpx2.AsyncClient(base_url=server.url, timeout=DEADLINE) as client:
        server.send(signal.SIGTERM)

        async def is_unready() -> bool:
            return (await client.get("/readyz")).status_code == 503

        await eventually(is_unready)
        answer = await client.post("/v1/process", json={"message": {"content": "Hello"}})
    await server.end()

    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"
    assert "event: turn.ended" in answer.text


async def test_servers_that_are_replaced_under_load_lose_nothing(tmp_path: Path) -> None:
    await _replace_servers(_database(tmp_path), 3)


@pytest.mark.soak
@pytest.mark.parametrize("places", [2, 3])
async def test_a_hundred_replacements_lose_nothing(postgres: Postgres, places: int) -> None:
    await _replace_servers(await postgres.create(), 50, places)


async def _replace_servers(database: str, replacements: int, places: int = 2) -> None:
    """Replace one server after the other while people use them; check what each was told."""
    async with AsyncExitStack() as stack:
        fleet = [await _start_replacement(stack, database) for _ in range(places)]
        balancer = await stack.enter_async_context(run_balancer(*(each.url for each in fleet)))
        stop = asyncio.Event()
        people = [Person(number) for number in range(PEOPLE)]
        tasks = [asyncio.create_task(person.live(balancer.url, stop)) for person in people]
        for roll in count():
            if roll >= replacements and any(person.restarts for person in people):
                break
            assert roll < 10 * replacements, "no turn was cut by any of the servers that ended"
            replies_before = sum(len(person.events_by_run) for person in people)
            new_server = await _start_replacement(stack, database)
            old_server, fleet[roll % places] = fleet[roll % places], new_server
            _direct_to(balancer, fleet)
            old_server.send(signal.SIGTERM)
            await old_server.end()
            assert not old_server.complaints
            async with asyncio.timeout(DEADLINE):
                while sum(len(person.events_by_run) for person in people) == replies_before:
                    await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*tasks)
        async with AsyncClient(balancer.url) as client:
            for person in people:
                await person.check(client)

    assert sum(len(person.events_by_run) for person in people) > replacements


@dataclass
class Person:
    """Person who asks repeatedly, with a tool and without, and remembers all replies."""

    number: int
    events_by_run: dict[str, list[Numbered]] = field(default_factory=dict)
    answers: list[tuple[str, str]] = field(default_factory=list)
    restarts: int = 0
    calls: int = 0

    async def live(self, url: str, stop: asyncio.Event) -> None:
        async with AsyncClient(url) as client:
            while not stop.is_set():
                await (self._ask(client) if self.number % 2 else self._converse(client))

    async def _ask(self, client: AsyncClient) -> None:
        """Stream one reply, and keep its numbered events."""
        numbered_events: list[Numbered] = []
        async with client.process(
            message=NewMessage("Tell me a long story of 150 words.")
        ) as events:
            async for batch in events.batches():
                numbered_events += batch
            assert events.run_id
            self.events_by_run[events.run_id] = numbered_events
        self.restarts += sum(isinstance(event, TurnRestarted) for _, event in numbered_events)

    async def _converse(self, client: AsyncClient) -> None:
        """Hold a conversation in which a tool runs once."""
        routes: list[str] = []

        def get_flight_times(departure: str, arrival: str) -> str:
            """When flights leave."""
            routes.append(departure + arrival)
            return "10:15"

        thread = await client.create_thread()
        events = client.converse(QUESTION, thread_id=thread.id, tools=[get_flight_times])
        async with events:
            spoken_events = [event async for event in events]
        self.restarts += sum(isinstance(event, TurnRestarted) for event in spoken_events)
        self.calls += len(routes)
        assert len(routes) == 1
        self.answers.append((thread.id, _last_words(spoken_events)))
        self.events_by_run[thread.id] = []

    async def check(self, client: AsyncClient) -> None:
        """Check that the stream equals the stored events."""
        for run_id, streamed_events in self.events_by_run.items():
            if streamed_events:
                stored_events: list[Numbered] = []
                async with client.events(run_id) as events:
                    async for batch in events.batches():
                        stored_events += batch
                assert streamed_events == stored_events
        for thread_id, words in self.answers:
            messages = (await client.list_messages(thread_id)).data
            roles = sorted(message.role for message in messages)
            assert roles == ["assistant", "assistant", "tool", "user"]
            assert words in {message.text for message in messages}


def _last_words(events: Sequence[Event]) -> str:
    """Return the text of the last turn, without what a restart of the turn took back."""
    words = ""
    for event in events:
        match event:
            case TextDelta(text=text):
                words += text
            case TurnRestarted():
                words = ""
            case TurnEnded():
                last, words = words, ""
    return last


async def _start_replacement(stack: AsyncExitStack, database: str) -> Server:
    server = await start_server({**SHORT, "ANTIPHON_DATABASE": database})
    stack.push_async_callback(server.stop_cleanly)
    return server


def _direct_to(balancer: Balancer, fleet: Sequence[Server]) -> None:
    balancer.backends = [server.url for server in fleet]


def _database(folder: Path) -> str:
    return f"sqlite:///{folder / 'antiphon.db'}"
