"""Ten turns of ten calls, while connections are cut, servers refuse, workers and clients die.

Guarantees G19 and G20.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from antiphon import AsyncClient, Status, ToolSpec
from antiphon.api.operations import ListActions, ListMessages
from antiphon.providers.quirks import Quirks
from antiphon.types.events import ToolOutputAdded
from antiphon.types.messages import Text
from tests.support.harness.chaos import SHORT
from tests.support.harness.faulty import FAULTS, Faulty
from tests.support.harness.fleet import Fleet, Place
from tests.support.harness.servers import Forge, environment
from tests.support.providers.judge import faults
from tests.support.providers.upstream import (
    CALLS,
    STOP,
    Request,
    Scenario,
    Upstream,
    call_piece,
    chunk,
    sse,
    text_chunks,
)

TURNS = CALLS_OF_A_TURN = 10
TOOL = ToolSpec("f", "", {"type": "object", "properties": {"x": {"type": "integer"}}})
PROGRAM = Path(__file__).parents[1] / "support/harness/tool_client.py"
SECONDS = 60.0


class Model(Upstream):
    """Model that asks for ten tools in each of ten turns, and checks every history."""

    def __init__(self) -> None:
        super().__init__()
        self.complaints: list[str] = []

    async def _answer(self, request: Request, *streams: Any) -> bool:
        self.complaints += faults(json.dumps(request.body).encode(), Quirks())
        turns_done = sum("tool_calls" in message for message in request.body["messages"])
        return await self._play(
            _ask_for_tools(turns_done) if turns_done < TURNS else _final_answer(), request, *streams
        )


def _ask_for_tools(turn: int) -> Scenario:
    pieces = [
        call_piece(
            index=place,
            id=_id(turn, place),
            name="f",
            arguments=json.dumps({"x": _argument(turn, place)}),
        )
        for place in range(CALLS_OF_A_TURN)
    ]
    return Scenario(sse(*(chunk({"tool_calls": [piece]}) for piece in pieces), CALLS))


def _final_answer() -> Scenario:
    return Scenario(sse(*text_chunks("done"), STOP))


def _id(turn: int, place: int) -> str:
    return f"c{turn}_{place}"


def _argument(turn: int, place: int) -> int:
    return turn * CALLS_OF_A_TURN + place


IDS = [_id(turn, place) for turn in range(TURNS) for place in range(CALLS_OF_A_TURN)]


@dataclass
class KillPlan:
    """Plan for a run: how often its worker and its client are killed, and a random source."""

    seed: int
    folder: Path
    worker_kills: int
    client_kills: int
    statuses: list[str] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "calls.log"

    def list_carried_out(self) -> list[str]:
        """Return the ids of the calls that clients have carried out, in order."""
        return self.log.read_text().split() if self.log.exists() else []

    async def clients(self, url: str, run_id: str) -> None:
        """Have one client after another take the run up, until one of them has seen its end."""
        kills = sorted(Random(self.seed).sample(range(1, 95), self.client_kills))
        while not self.statuses:
            client = await asyncio.create_subprocess_exec(
                *(sys.executable, PROGRAM, url, run_id, self.log),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment({"ANTIPHON_DATABASE": "memory:"}),
            )
            output_task = asyncio.create_task(client.communicate())
            try:
                while kills and not output_task.done():
                    if len(self.list_carried_out()) >= kills[0]:
                        kills.pop(0)
                        client.kill()
                        break
                    await asyncio.sleep(0.005)
                output, complaint = await output_task
            finally:
                if client.returncode is None:
                    client.kill()
            match client.returncode:
                case 0:
                    self.statuses.append(output.decode().strip())
                case number if number != -signal.SIGKILL:
                    # A client that has had no answer yet soon gives up: the address may be wrong.
                    assert b"errors.ConnectionLost: " in complaint.splitlines()[-1], complaint

    async def workers(self, fleet: Fleet) -> None:
        """Kill a server whenever some more calls were carried out, at any instant behind that."""
        random = Random(self.seed + 1)
        for count in sorted(random.sample(range(1, 90), self.worker_kills)):
            while len(self.list_carried_out()) < count:
                await asyncio.sleep(0.005)
            await asyncio.sleep(random.uniform(0, 0.2))
            fleet.kill(signal.SIGKILL)


async def run_with_kills(plan: KillPlan) -> None:
    settings = {
        **SHORT,
        "ANTIPHON_DATABASE": f"sqlite:///{plan.folder}/antiphon.db",
        "ANTIPHON_MODEL": "quirk:ten",
    }
    async with Model() as model, Forge() as forge:
        place = Place(forge, {**settings, "ANTIPHON_BASE_URL": model.url})
        fleet = Fleet([place], Random(plan.seed))
        await fleet.start()
        proxy = Faulty(lambda: fleet.urls[0])
        try:
            async with proxy.serving() as url, AsyncClient(fleet.urls[0]) as client:
                thread = await client.create_thread()
                await client.create_message(thread.id, "go")
                run = await client.create_run(thread.id, tools=(TOOL,), max_attempts=10)
                kill_task = asyncio.create_task(plan.workers(fleet))
                await plan.clients(url, run.id)
                await kill_task
            await fleet.calm()
            async with AsyncClient(fleet.urls[0]) as client:
                await check(client, run.id, thread.id)
        finally:
            await fleet.stop()
        assert not fleet.broken
    assert plan.statuses == ["completed"]
    assert set(plan.list_carried_out()) == set(IDS)
    assert (model.complaints, model.rejected) == ([], [])
    for kind in ("POST /v1/process", "POST /v1/submit_tool_output"):
        missing_faults = {fault for fault in FAULTS if not proxy.injected[kind, fault]}
        assert not missing_faults, (kind, missing_faults)


async def check(client: AsyncClient, run_id: str, thread_id: str) -> None:
    """Check that every call has its one output in the records, in the history and in the log."""
    assert (await client.get_run(run_id)).status is Status.COMPLETED
    actions = [each async for each in client.paginate(ListActions(run_id, limit=100))]
    expected = {_id(t, p): f"output of {_argument(t, p)}" for t in range(TURNS) for p in range(10)}
    assert [each.tool_call_id for each in actions] == IDS
    assert {each.tool_call_id: each.output for each in actions} == expected
    messages = [each async for each in client.paginate(ListMessages(thread_id, limit=100))]
    assert [each.role for each in messages] == [
        "user",
        *(["assistant", *["tool"] * CALLS_OF_A_TURN] * TURNS),
        "assistant",
    ]
    tools = [each for each in messages if each.role == "tool"]
    assert [each.tool_call_id for each in tools] == IDS
    assert all(each.content == (Text(expected[each.tool_call_id or ""]),) for each in tools)
    counts = Counter(
        [
            event.tool_call_id
            async for event in client.events(run_id)
            if isinstance(event, ToolOutputAdded)
        ]
    )
    assert counts == Counter(IDS)


@pytest.mark.slow
async def test_every_call_of_ten_turns_has_one_output_whatever_breaks(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS):
        await run_with_kills(KillPlan(1, tmp_path, worker_kills=3, client_kills=4))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 40))
async def test_every_call_has_one_output_however_often_it_breaks(seed: int, tmp_path: Path) -> None:
    await run_with_kills(KillPlan(seed, tmp_path, worker_kills=20, client_kills=20))
