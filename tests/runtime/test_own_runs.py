"""Runs that a worker claims in the change that begins them."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.api import operations
from antiphon.engine.snapshot import ReadSet
from antiphon.providers.scripted import ScriptGate
from antiphon.runtime.services.dispatch import Response
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.events import ActionRequired, RunStatus
from antiphon.types.runs import Run, Status
from tests.support.runtime.rig import BY, TOOLS, House, find_started, house, last

HELLO = operations.Process(message=operations.NewMessage("Hello?"), background=True)


def _fails_to_claim(about: ReadSet) -> Exception | None:
    return errors.Unavailable("The queue is not read.") if about.what == "claim" else None


async def begin(h: House, call: operations.Process = HELLO) -> str:
    answer = await h.dispatcher.open_stream(call, BY)
    assert isinstance(answer, Response)
    run_id: str = answer.value.id
    return run_id


async def only_run(h: House) -> str:
    (run,) = (await h.store.list(Run, None, limit=2)).data
    return str(run.id)


async def wait_for_end(h: House, run_id: str) -> Run:
    await h.read(operations.Follow(run_id))
    return await h.store.get(Run, None, run_id)


async def test_a_run_that_begins_here_does_not_wait_for_the_queue() -> None:
    async with house("call look {}", "say It is 42.") as h:
        h.store.trouble = _fails_to_claim
        first = await h.ask(tools=TOOLS)
        await h.submit(first)
        second = await h.read(operations.Process(run_id=find_started(first).run_id))

        assert any(isinstance(event, ActionRequired) for _, event in first)
        assert last(second).status == "completed"


async def test_a_run_that_is_claimed_at_once_has_the_events_of_one_from_the_queue() -> None:
    logs = []
    for own_runs in (0, 100):
        async with house("say Hello.", own_runs=own_runs) as h:
            told = await h.ask()
            logs.append([type(event) for _, event in told])
            log = await h.read(operations.Follow(find_started(told).run_id))
            statuses = [event.status for _, event in log if isinstance(event, RunStatus)]
            assert statuses == ["queued", "in_progress", "completed"]

    assert logs[0] == logs[1]


async def test_the_answer_to_a_request_in_the_background_is_a_queued_run() -> None:
    async with house("say Hello.") as h:
        answer = await h.dispatcher.open_stream(HELLO, BY)

        assert isinstance(answer, Response)
        assert answer.value.status == "queued"


async def test_no_more_runs_are_in_progress_than_the_settings_allow() -> None:
    settings = Settings(max_concurrent_runs=1)
    async with house("say Hi.\nwait go", "say Hi.", settings=settings) as h:
        gate = h.model.gates["go"]
        first = await begin(h)
        await gate.reached.wait()
        second = await begin(h)

        assert (await h.store.get(Run, None, second)).status == "queued"
        gate.opened.set()
        assert (await wait_for_end(h, first)).status == "completed"
        assert (await wait_for_end(h, second)).status == "completed"


async def test_a_long_queue_is_claimed_several_runs_at_a_time() -> None:
    async with house(*["say Hi."] * 7, own_runs=0) as h:
        first = h.store.slow_claims = ScriptGate()
        waiting = [await begin(h)]
        await first.reached.wait()
        waiting += [await begin(h) for _ in range(6)]
        second = h.store.slow_claims = ScriptGate()
        first.opened.set()
        await second.reached.wait()

        statuses = [(await h.store.get(Run, None, each)).status for each in waiting]
        assert statuses.count(Status.QUEUED) == 4
        second.opened.set()
        for run_id in waiting:
            assert (await wait_for_end(h, run_id)).status == "completed"


async def test_the_model_is_asked_while_the_claim_waits_for_its_commit() -> None:
    async with house("say Hi.\nwait go") as h:
        gate = h.store.slow_runs = ScriptGate()
        beginning = asyncio.create_task(begin(h))
        await h.model.gates["go"].reached.wait()
        asked_early = not beginning.done()
        gate.opened.set()
        h.model.gates["go"].opened.set()

        assert (await wait_for_end(h, await beginning)).status == "completed"
        assert asked_early
        assert len(h.model.requests) == 1


async def test_a_model_that_was_asked_for_a_claim_that_fails_is_left_alone() -> None:
    async with house("wait never", "say Hello.", settings=Settings(expiry_interval=0.01)) as h:
        gate = h.store.slow_runs = ScriptGate()
        fault = errors.Unavailable("The disk is full.")
        h.store.trouble_after = lambda about: fault if about.what == "run" else None
        beginning = asyncio.create_task(begin(h))
        await h.model.gates["never"].reached.wait()
        h.store.slow_runs = None
        gate.opened.set()
        with pytest.raises(errors.Unavailable):
            await beginning

        # This store has the run all the same, so that it is released and run again.
        assert (await wait_for_end(h, await only_run(h))).status == "completed"
        assert len(h.model.requests) == 2


async def test_a_caller_that_leaves_while_its_run_begins_leaves_the_run_running() -> None:
    async with house("say Hello.") as h:
        gate = h.store.slow_runs = ScriptGate()
        asking = asyncio.create_task(h.ask())
        await gate.reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        gate.opened.set()

        assert (await wait_for_end(h, await only_run(h))).status == "completed"


async def test_a_run_whose_claim_was_committed_with_an_error_is_released() -> None:
    async with house("say Hello.", settings=Settings(expiry_interval=0.01)) as h:
        faults = iter([errors.Unavailable("The answer of the database was lost.")])
        h.store.trouble_after = lambda about: next(faults, None) if about.what == "run" else None
        with pytest.raises(errors.Unavailable):
            await h.ask()

        run = await wait_for_end(h, await only_run(h))
        assert run.status == "completed"
        assert h.now < run.created_at + h.settings.lease_duration * 1000


async def test_a_worker_that_stops_releases_a_run_that_begins_meanwhile() -> None:
    async with house("say Hi.\nwait never", "say Hi.") as h:
        gate = h.store.slow_runs = ScriptGate()
        beginning = asyncio.create_task(begin(h))
        await gate.reached.wait()
        stopping = asyncio.create_task(h.worker.stop(0))
        gate.opened.set()
        await stopping

        assert (await h.store.get(Run, None, await beginning)).status == "queued"
