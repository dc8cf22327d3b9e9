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
    leaving = {
        "ANTIPHON_DRAIN_DELAY": "0.5",
        "ANTIPHON_SHUTDOWN_TIMEOUT": "20",
        "ANTIPHON_DEMO_DELAY": "0.003333",
    }
    server = await start_server({**SHORT, **leaving, "ANTIPHON_DATABASE": _database(tmp_path)})
    async with httpx2.AsyncClient(base_url=server.url, timeout=DEADLINE) as client:
        server.send(signal.SIGTERM)

        async def unready() -> bool:
            return (await client.get("/readyz")).status_code == 503

        await eventually(unready)
        taken = await client.post("/v1/process", json={"message": {"content": "Hello"}})
    await server.end()

    assert taken.status_code == 200
    assert taken.headers["connection"] == "close"
    assert "event: turn.ended" in taken.text


async def test_servers_that_are_replaced_under_load_lose_nothing(tmp_path: Path) -> None:
    await _roll(_database(tmp_path), 3)


@pytest.mark.soak
@pytest.mark.parametrize("places", [2, 3])
async def test_a_hundred_replacements_lose_nothing(postgres: Postgres, places: int) -> None:
    await _roll(await postgres.create(), 50, places)


async def _roll(database: str, rolls: int, places: int = 2) -> None:
    """Replace one server after the other while people use them, and ask what they were told."""
    async with AsyncExitStack() as stack:
        fleet = [await _replacement(stack, database) for _ in range(places)]
        balancer = await stack.enter_async_context(run_balancer(*(each.url for each in fleet)))
        over = asyncio.Event()
        people = [Person(number) for number in range(PEOPLE)]
        living = [asyncio.create_task(person.live(balancer.url, over)) for person in people]
        for roll in count():
            if roll >= rolls and any(person.restarts for person in people):
                break
            assert roll < 10 * rolls, "no turn was cut by any of the servers that ended"
            heard = sum(len(person.told) for person in people)
            new = await _replacement(stack, database)
            old, fleet[roll % places] = fleet[roll % places], new
            _turn_to(balancer, fleet)
            old.send(signal.SIGTERM)
            await old.end()
            assert not old.complaints
            async with asyncio.timeout(DEADLINE):
                while sum(len(person.told) for person in people) == heard:
                    await asyncio.sleep(0.01)
        over.set()
        await asyncio.gather(*living)
        async with AsyncClient(balancer.url) as client:
            for person in people:
                await person.check(client)

    assert sum(len(person.told) for person in people) > rolls


@dataclass
class Person:
    """Somebody who asks again and again, with a tool and without, and remembers what was said."""

    number: int
    told: dict[str, list[Numbered]] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)
    restarts: int = 0
    calls: int = 0

    async def live(self, url: str, over: asyncio.Event) -> None:
        async with AsyncClient(url) as client:
            while not over.is_set():
                await (self._ask(client) if self.number % 2 else self._converse(client))

    async def _ask(self, client: AsyncClient) -> None:
        """One reply, event for event."""
        heard: list[Numbered] = []
        async with client.process(
            message=NewMessage("Tell me a long story of 150 words.")
        ) as events:
            async for batch in events.batches():
                heard += batch
            assert events.run_id
            self.told[events.run_id] = heard
        self.restarts += sum(isinstance(event, TurnRestarted) for _, event in heard)

    async def _converse(self, client: AsyncClient) -> None:
        """A conversation in which a tool runs, once."""
        asked: list[str] = []

        def get_flight_times(departure: str, arrival: str) -> str:
            """When flights leave."""
            asked.append(departure + arrival)
            return "10:15"

        thread = await client.create_thread()
        events = client.converse(QUESTION, thread_id=thread.id, tools=[get_flight_times])
        async with events:
            spoken = [event async for event in events]
        self.restarts += sum(isinstance(event, TurnRestarted) for event in spoken)
        self.calls += len(asked)
        assert len(asked) == 1
        self.said.append((thread.id, _last_words(spoken)))
        self.told[thread.id] = []

    async def check(self, client: AsyncClient) -> None:
        """Check that the stream equals the stored events."""
        for run_id, heard in self.told.items():
            if heard:
                kept: list[Numbered] = []
                async with client.events(run_id) as events:
                    async for batch in events.batches():
                        kept += batch
                assert heard == kept
        for thread_id, words in self.said:
            messages = (await client.list_messages(thread_id)).data
            roles = sorted(message.role for message in messages)
            assert roles == ["assistant", "assistant", "tool", "user"]
            assert words in {message.text for message in messages}


def _last_words(events: Sequence[Event]) -> str:
    """The text of the last turn, as often as it was begun anew."""
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


async def _replacement(stack: AsyncExitStack, database: str) -> Server:
    server = await start_server({**SHORT, "ANTIPHON_DATABASE": database})
    stack.push_async_callback(server.stop_cleanly)
    return server


def _turn_to(balancer: Balancer, fleet: Sequence[Server]) -> None:
    balancer.backends = [server.url for server in fleet]


def _database(folder: Path) -> str:
    return f"sqlite:///{folder / 'antiphon.db'}"
