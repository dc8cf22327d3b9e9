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
from tests.support.runtime.rig import BY, TOOLS, RuntimeRig, find_ended, find_started, open_rig

HELLO = operations.Process(message=operations.NewMessage("Hello?"), background=True)


def _fail_claim(read_set: ReadSet) -> Exception | None:
    return errors.Unavailable("The queue is not read.") if read_set.what == "claim" else None


async def begin(rig: RuntimeRig, call: operations.Process = HELLO) -> str:
    answer = await rig.dispatcher.open_stream(call, BY)
    assert isinstance(answer, Response)
    run_id: str = answer.value.id
    return run_id


async def get_only_run(rig: RuntimeRig) -> str:
    (run,) = (await rig.store.list(Run, None, limit=2)).data
    return str(run.id)


async def wait_for_end(rig: RuntimeRig, run_id: str) -> Run:
    await rig.read(operations.Follow(run_id))
    return await rig.store.get(Run, None, run_id)


async def test_a_run_that_begins_here_does_not_wait_for_the_queue() -> None:
    async with open_rig("call look {}", "say It is 42.") as rig:
        rig.store.trouble = _fail_claim
        first = await rig.ask(tools=TOOLS)
        await rig.submit(first)
        second = await rig.read(operations.Process(run_id=find_started(first).run_id))

        assert any(isinstance(event, ActionRequired) for _, event in first)
        assert find_ended(second).status == "completed"


async def test_a_run_that_is_claimed_at_once_has_the_events_of_one_from_the_queue() -> None:
    logs = []
    for own_runs in (0, 100):
        async with open_rig("say Hello.", own_runs=own_runs) as rig:
            events = await rig.ask()
            logs.append([type(event) for _, event in events])
            log = await rig.read(operations.Follow(find_started(events).run_id))
            statuses = [event.status for _, event in log if isinstance(event, RunStatus)]
            assert statuses == ["queued", "in_progress", "completed"]

    assert logs[0] == logs[1]


async def test_the_answer_to_a_request_in_the_background_is_a_queued_run() -> None:
    async with open_rig("say Hello.") as rig:
        answer = await rig.dispatcher.open_stream(HELLO, BY)

        assert isinstance(answer, Response)
        assert answer.value.status == "queued"


async def test_no_more_runs_are_in_progress_than_the_settings_allow() -> None:
    settings = Settings(max_concurrent_runs=1)
    async with open_rig("say Hi.\nwait go", "say Hi.", settings=settings) as rig:
        gate = rig.model.gates["go"]
        first = await begin(rig)
        await gate.reached.wait()
        second = await begin(rig)

        assert (await rig.store.get(Run, None, second)).status == "queued"
        gate.opened.set()
        assert (await wait_for_end(rig, first)).status == "completed"
        assert (await wait_for_end(rig, second)).status == "completed"


async def test_a_long_queue_is_claimed_several_runs_at_a_time() -> None:
    async with open_rig(*["say Hi."] * 7, own_runs=0) as rig:
        first = rig.store.slow_claims = ScriptGate()
        run_ids = [await begin(rig)]
        await first.reached.wait()
        run_ids += [await begin(rig) for _ in range(6)]
        second = rig.store.slow_claims = ScriptGate()
        first.opened.set()
        await second.reached.wait()

        statuses = [(await rig.store.get(Run, None, each)).status for each in run_ids]
        assert statuses.count(Status.QUEUED) == 4
        second.opened.set()
        for run_id in run_ids:
            assert (await wait_for_end(rig, run_id)).status == "completed"


async def test_the_model_is_asked_while_the_claim_waits_for_its_commit() -> None:
    async with open_rig("say Hi.\nwait go") as rig:
        gate = rig.store.slow_runs = ScriptGate()
        begin_task = asyncio.create_task(begin(rig))
        await rig.model.gates["go"].reached.wait()
        is_asked_early = not begin_task.done()
        gate.opened.set()
        rig.model.gates["go"].opened.set()

        assert (await wait_for_end(rig, await begin_task)).status == "completed"
        assert is_asked_early
        assert len(rig.model.requests) == 1


async def test_a_model_that_was_asked_for_a_claim_that_fails_is_left_alone() -> None:
    async with open_rig("wait never", "say Hello.", settings=Settings(expiry_interval=0.01)) as rig:
        gate = rig.store.slow_runs = ScriptGate()
        fault = errors.Unavailable("The disk is full.")
        rig.store.trouble_after = lambda read_set: fault if read_set.what == "run" else None
        begin_task = asyncio.create_task(begin(rig))
        await rig.model.gates["never"].reached.wait()
        rig.store.slow_runs = None
        gate.opened.set()
        with pytest.raises(errors.Unavailable):
            await begin_task

        # This store has the run nevertheless, so that it is released and run again.
        assert (await wait_for_end(rig, await get_only_run(rig))).status == "completed"
        assert len(rig.model.requests) == 2


async def test_a_caller_that_leaves_while_its_run_begins_leaves_the_run_running() -> None:
    async with open_rig("say Hello.") as rig:
        gate = rig.store.slow_runs = ScriptGate()
        ask_task = asyncio.create_task(rig.ask())
        await gate.reached.wait()
        ask_task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ask_task
        gate.opened.set()

        assert (await wait_for_end(rig, await get_only_run(rig))).status == "completed"


async def test_a_run_whose_claim_was_committed_with_an_error_is_released() -> None:
    async with open_rig("say Hello.", settings=Settings(expiry_interval=0.01)) as rig:
        faults = iter([errors.Unavailable("The answer of the database was lost.")])
        rig.store.trouble_after = lambda read_set: (
            next(faults, None) if read_set.what == "run" else None
        )
        with pytest.raises(errors.Unavailable):
            await rig.ask()

        run = await wait_for_end(rig, await get_only_run(rig))
        assert run.status == "completed"
        assert rig.now < run.created_at + rig.settings.lease_duration * 1000


async def test_a_worker_that_stops_releases_a_run_that_begins_meanwhile() -> None:
    async with open_rig("say Hi.\nwait never", "say Hi.") as rig:
        gate = rig.store.slow_runs = ScriptGate()
        begin_task = asyncio.create_task(begin(rig))
        await gate.reached.wait()
        stop_task = asyncio.create_task(rig.worker.stop(0))
        gate.opened.set()
        await stop_task

        assert (await rig.store.get(Run, None, await begin_task)).status == "queued"
