"""Workers for tools in trouble: many at once, cancelled, without their claim or their server."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon import AsyncClient, ToolContext, ToolSpec
from antiphon.api.operations import (
    ClaimActions,
    Listed,
    NewMessage,
    Operation,
    RenewClaim,
    SubmitToolOutput,
)
from antiphon.client import tool_worker
from antiphon.client.tool_worker import ToolWorker
from antiphon.ports import ProgressCallback, quiet
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Functions
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import ClaimLost, TryAgain
from antiphon.types.messages import Tool, ToolCall, ToolResult
from antiphon.types.runs import Action, Run, Status
from tests.support.server.served import SETTINGS, serve

QUESTION = "When does the next LAX-JFK flight leave?"


def get_flight_times(departure: str, arrival: str) -> str:
    """Flight times between two airports."""
    return "17:00"


FLIGHTS = Functions([get_flight_times]).specs()


@pytest.fixture(autouse=True)
def shorten_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PAUSE", "LAST_PAUSE", "TOOLS_SECONDS", "PROGRESS_SECONDS"):
        monkeypatch.setattr(tool_worker, name, 0.01)


async def hand_off(client: AsyncClient) -> Run:
    events = client.process(message=NewMessage(QUESTION), tools=FLIGHTS)
    async for _ in events:
        pass
    return await client.get_run(events.run_id or "")


async def get_action(client: AsyncClient, run: Run) -> Action:
    (action,) = (await client.list_actions(run.id)).data
    return action


async def wait_for_end(client: AsyncClient, run: Run) -> Status:
    async for _ in client.events(run.id):
        pass
    return (await client.get_run(run.id)).status


async def test_of_many_workers_each_call_is_run_by_one() -> None:
    calls_by_run: Counter[str] = Counter()

    def get_flight_times(departure: str, arrival: str, ctx: ToolContext) -> str:
        calls_by_run[ctx.run_id] += 1
        return "17:00"

    async with serve() as served, AsyncClient(served.url) as client:
        runs = [await hand_off(client) for _ in range(30)]
        workers = [AsyncClient(served.url) for _ in range(5)]
        calls_by_worker = await asyncio.gather(
            *(each.work([get_flight_times], until_idle=True, max_tools=3) for each in workers)
        )
        statuses = [await wait_for_end(client, run) for run in runs]
        for each in workers:
            await each.close()

    assert sum(calls_by_worker) == 30
    assert calls_by_run == {run.id: 1 for run in runs}
    assert set(statuses) == {Status.COMPLETED}


async def test_a_worker_waits_for_calls_and_is_told_of_new_ones() -> None:
    async with serve() as served, AsyncClient(served.url) as client:
        work_task = asyncio.create_task(client.work([get_flight_times]))
        run = await hand_off(client)
        async with asyncio.timeout(20):
            end = await wait_for_end(client, run)
        work_task.cancel()
        await asyncio.wait({work_task})

    assert end is Status.COMPLETED


async def test_a_cancelled_worker_cancels_its_tool_and_gives_the_call_back() -> None:
    started, tool_ended = asyncio.Event(), asyncio.Event()

    async def get_flight_times(departure: str, arrival: str) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            tool_ended.set()
        return ""

    async with serve() as served, AsyncClient(served.url) as client:
        run = await hand_off(client)
        work_task = asyncio.create_task(client.work([get_flight_times], worker="one"))
        async with asyncio.timeout(20):
            await started.wait()
            claimed_action = await get_action(client, run)
            work_task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work_task
        released_action = await get_action(client, run)
        (second_claim,) = (await client.claim_actions(tools=("get_flight_times",))).data

    assert claimed_action.worker == "one"
    assert tool_ended.is_set()
    assert (released_action.status, released_action.worker, second_claim.attempt) == (
        "pending",
        None,
        2,
    )


async def test_a_worker_that_loses_its_claim_cancels_the_tool_and_submits_nothing() -> None:
    started, tool_ended = asyncio.Event(), asyncio.Event()

    async def get_flight_times(departure: str, arrival: str, ctx: ToolContext) -> str:
        started.set()
        try:
            while True:
                ctx.report(1)  # a report renews the claim
                await asyncio.sleep(0.01)
        finally:
            tool_ended.set()

    async with serve() as served, AsyncClient(served.url) as client:
        run = await hand_off(client)
        work_task = asyncio.create_task(
            client.work([get_flight_times], until_idle=True, max_tools=1)
        )
        async with asyncio.timeout(20):
            await started.wait()
            await client.release_claim((await get_action(client, run)).id, 1)
            (second_claim,) = (await client.claim_actions(tools=("get_flight_times",))).data
            await client.submit_tool_output(run.id, second_claim.tool_call_id, "mine", attempt=2)
            count = await work_task

    assert tool_ended.is_set()
    assert count == 0
    assert second_claim.attempt == 2


async def test_a_worker_outlives_its_server_and_its_output_reaches_the_next_one(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    settings = Settings(
        model="demo",
        demo_delay=0,
        database=f"sqlite:///{tmp_path}/a.db",
        port=unused_tcp_port,
        shutdown_timeout=0.1,
    )
    started, go_on = asyncio.Event(), asyncio.Event()

    async def get_flight_times(departure: str, arrival: str) -> str:
        started.set()
        await go_on.wait()
        return "17:00"

    client = AsyncClient(f"http://127.0.0.1:{unused_tcp_port}", max_retries=0)
    async with client, asyncio.timeout(60):
        async with run_server(settings):
            run = await hand_off(client)
            work_task = asyncio.create_task(client.work([get_flight_times]))
            await started.wait()
        go_on.set()
        async with run_server(settings):
            end = await wait_for_end(client, run)
            action = await get_action(client, run)
        work_task.cancel()
        await asyncio.wait({work_task})

    assert end is Status.COMPLETED
    assert (action.output, action.attempt) == ("17:00", 1)


class Vanishing:
    """A toolbox that loses a tool when it is called, like that of a server that ends."""

    def __init__(self) -> None:
        self._tools = [Tool(spec=spec) for spec in (*FLIGHTS, ToolSpec("other"))]

    def tools(self) -> Sequence[Tool]:
        return self._tools

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        self._tools = [tool for tool in self._tools if tool.spec.name != call.name]
        return ToolResult("There is no such tool.", is_error=True, fault="unknown_tool")


async def test_a_call_whose_tool_has_gone_is_left_to_a_worker_that_has_it() -> None:
    async with serve() as served, AsyncClient(served.url) as client:
        run = await hand_off(client)
        first = await client.work(toolbox=Vanishing(), until_idle=True)
        second = await client.work([get_flight_times], until_idle=True)
        end = await wait_for_end(client, run)

    assert (first, second) == (0, 1)
    assert end is Status.COMPLETED


async def test_an_error_that_does_not_pass_ends_the_worker_and_gives_its_calls_back() -> None:
    started = asyncio.Event()

    async def get_flight_times(departure: str, arrival: str) -> str:
        started.set()
        await asyncio.Event().wait()
        return ""

    async with serve(SETTINGS) as served:
        key = await served.key("ann")
        async with AsyncClient(served.url, api_key=key) as client, asyncio.timeout(20):
            await hand_off(client)
            work_task = asyncio.create_task(client.work([get_flight_times], max_tools=2))
            await started.wait()
            await served.runtime.store.revoke_key(served.keys[key])
            with pytest.raises(Exception, match="key"):
                await work_task


async def test_a_worker_that_stood_still_looks_whether_it_still_has_the_call() -> None:
    calls: list[str] = []
    operations: list[str] = []

    def get_flight_times(departure: str, arrival: str) -> str:
        calls.append("ran")
        return "17:00"

    now = 0.0

    async def send(call: Operation[Any]) -> Any:
        nonlocal now
        operations.append(type(call).__name__)
        match call:
            case ClaimActions() if not calls and now == 0:
                now = 60.0  # as long as the process was stopped
                return Listed([pending_action()], has_more=False)
            case RenewClaim():
                raise ClaimLost("another worker has it")
            case _:
                return Listed([], has_more=False)

    functions = Functions([get_flight_times])
    worker = ToolWorker(
        send,
        functions,
        partial(ToolProcessor, functions),
        ClaimActions(tools=()),
        at_once=1,
        grace=0,
        on_tool_event=lambda event: None,
        clock=lambda: now,
    )

    assert await worker.run(until_idle=True) == 0
    assert calls == []
    assert operations == ["ClaimActions", "RenewClaim", "ClaimActions"]


def pending_action() -> Action:
    return Action(
        id="act_1",
        run_id="run_1",
        thread_id="thread_1",
        turn=1,
        tool_call_id="call_1",
        name="get_flight_times",
        arguments={"departure": "LAX", "arrival": "JFK"},
        created_at=1,
        expires_at=9,
        attempt=1,
    )


async def test_a_worker_that_claims_its_own_call_again_runs_on() -> None:
    attempts: list[int] = []
    saved_attempts: list[int | None] = []
    go_on = asyncio.Event()

    async def get_flight_times(departure: str, arrival: str, ctx: ToolContext) -> str:
        attempts.append(ctx.attempt)
        await go_on.wait()
        return "17:00"

    claims = iter([[pending_action()], [replace(pending_action(), attempt=2)]])

    async def send(call: Operation[Any]) -> Any:
        match call:
            case ClaimActions():
                await asyncio.sleep(0.01)  # as over a network
                actions = next(claims, None)
                if actions is None:  # the lease has run out meanwhile, and was claimed again
                    go_on.set()
                return Listed(actions or [], has_more=False)
            case SubmitToolOutput():
                saved_attempts.append(call.attempt)
                return pending_action()
            case _:
                raise TryAgain("no")

    functions = Functions([get_flight_times])
    worker = ToolWorker(
        send,
        functions,
        partial(ToolProcessor, functions),
        ClaimActions(tools=()),
        at_once=2,
        grace=0,
        on_tool_event=lambda event: None,
    )
    work_task = asyncio.create_task(worker.run())
    async with asyncio.timeout(60):
        while not saved_attempts:
            await asyncio.sleep(0)
    work_task.cancel()
    await asyncio.wait({work_task})

    assert (attempts, saved_attempts) == ([1], [2])


async def test_the_shortest_lease_is_renewed_while_its_tool_runs() -> None:
    go_on = asyncio.Event()

    async def get_flight_times(departure: str, arrival: str) -> str:
        await go_on.wait()
        return "17:00"

    async with serve() as served, AsyncClient(served.url) as client, asyncio.timeout(60):
        run = await hand_off(client)
        work_task = asyncio.create_task(client.work([get_flight_times], lease=1.0))
        lease_ends: set[int | None] = set()
        while len(lease_ends) < 4:  # none before the claim, and then as it is moved on
            lease_ends.add((await get_action(client, run)).claimed_until)
            await asyncio.sleep(0.01)
        go_on.set()
        end = await wait_for_end(client, run)
        work_task.cancel()
        await asyncio.wait({work_task})

    assert end is Status.COMPLETED


@pytest.mark.soak
async def test_the_shortest_lease_holds_while_its_tool_runs() -> None:
    """A machine that stands still for a second loses such a lease."""
    attempts: list[int] = []

    def get_flight_times(departure: str, arrival: str, ctx: ToolContext) -> str:
        attempts.append(ctx.attempt)
        threading.Event().wait(3)
        return "17:00"

    async with serve() as served, AsyncClient(served.url) as one, AsyncClient(served.url) as two:
        run = await hand_off(one)
        work_tasks = [
            asyncio.create_task(each.work([get_flight_times], lease=1.0)) for each in (one, two)
        ]
        end = await wait_for_end(one, run)
        for each in work_tasks:
            each.cancel()
        await asyncio.wait(work_tasks)

    assert (end, attempts) == (Status.COMPLETED, [1])
