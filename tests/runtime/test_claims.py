"""Claims of workers on pending calls: who gets which, for how long, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from antiphon.api import operations
from antiphon.api.operations import (
    ClaimActions,
    ReleaseClaim,
    RenewClaim,
    SaveTask,
    SubmitToolOutput,
)
from antiphon.runtime.services import actions
from antiphon.types import errors
from antiphon.types.accounts import Principal
from antiphon.types.messages import TaskHandle
from antiphon.types.runs import Action, Status
from tests.support.runtime.rig import BY, TOOLS, RuntimeRig, find_started, open_rig

CALLS = 'call look {"q":"x"}'
TWO_CALLS = 'call look {"q":"x"}\ncall add {"a":1}'


async def do(rig: RuntimeRig, call: operations.Operation[Any], by: Principal = BY) -> Any:
    return (await rig.dispatcher.dispatch(call, by)).value


async def claim(rig: RuntimeRig, *tools: str, by: Principal = BY, **fields: Any) -> list[Action]:
    return list((await do(rig, ClaimActions(tools=tools or ("look",), **fields), by)).data)


async def hand_off(rig: RuntimeRig, **fields: Any) -> str:
    return find_started(await rig.ask(tools=TOOLS, **fields)).run_id


async def test_a_call_is_claimed_once_until_its_lease_has_run_out() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (first,) = await claim(rig, worker="one", lease=30)
        rig.now += 29_999
        nothing = await claim(rig, worker="two")
        rig.now += 1
        (second,) = await claim(rig, worker="two")

    assert (first.attempt, first.claimed_until) == (1, 1_030_000)
    assert nothing == []
    assert (second.id, second.attempt, second.worker) == (first.id, 2, "two")


async def test_a_renewed_claim_holds_from_its_renewal_on() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (mine,) = await claim(rig, lease=30)
        rig.now += 29_000
        await do(rig, RenewClaim(mine.id, 1, 30))
        rig.now += 29_000

        assert await claim(rig) == []


async def test_a_claim_that_ran_out_is_renewed_while_nobody_else_has_it() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (mine,) = await claim(rig, lease=1)
        rig.now += 5_000
        renewed = await do(rig, RenewClaim(mine.id, 1, 30))
        nothing = await claim(rig)
        saved = await do(rig, SubmitToolOutput(mine.run_id, mine.tool_call_id, "x", attempt=1))

    assert renewed.claimed_until == rig.now + 30_000
    assert nothing == []
    assert saved.status == "completed"


async def test_a_worker_that_comes_back_from_a_pause_is_refused_whatever_it_tries() -> None:
    async with open_rig(CALLS, "say Done.") as rig:
        await hand_off(rig)
        (lost,) = await claim(rig, lease=1)
        rig.now += 5_000
        (theirs,) = await claim(rig)
        tries = (
            SubmitToolOutput(lost.run_id, lost.tool_call_id, "stale", attempt=1),
            RenewClaim(lost.id, 1),
            ReleaseClaim(lost.id, 1),
        )
        for call in tries:
            with pytest.raises(errors.ClaimLost):
                await do(rig, call)
        saved = await do(rig, SubmitToolOutput(lost.run_id, lost.tool_call_id, "good", attempt=2))
        for call in tries:
            with pytest.raises(errors.ClaimLost, match="lost"):
                await do(rig, call)

    assert theirs.attempt == 2
    assert saved.output == "good"


async def test_the_last_output_of_a_worker_starts_the_next_turn() -> None:
    async with open_rig(TWO_CALLS, "say Done.") as rig:
        run_id = await hand_off(rig)
        look, add = await claim(rig, "look", "add", limit=5)
        await do(rig, SubmitToolOutput(run_id, look.tool_call_id, "1", attempt=1))
        between = (await rig.run(run_id)).status
        await do(rig, SubmitToolOutput(run_id, add.tool_call_id, "2", attempt=1))
        await rig.read(operations.Follow(run_id))
        end = await rig.run(run_id)

    assert between is Status.ACTION_REQUIRED
    assert end.status is Status.COMPLETED


async def test_an_output_without_a_claim_leaves_the_next_turn_to_its_client() -> None:
    async with open_rig(CALLS, "say Done.") as rig:
        run_id = await hand_off(rig)
        (mine,) = await claim(rig)
        await do(rig, SubmitToolOutput(run_id, mine.tool_call_id, "by hand"))
        run = await rig.run(run_id)
        lease = await rig.store.run_lease(run_id)

    assert (run.status, lease.wanted) == (Status.QUEUED, False)


async def test_only_the_owners_calls_of_these_tools_are_claimed() -> None:
    async with open_rig(TWO_CALLS) as rig:
        await hand_off(rig)

        assert await claim(rig, by=Principal(owner="somebody")) == []
        assert await claim(rig, "other") == []
        assert [each.name for each in await claim(rig, "add", limit=9)] == ["add"]
        assert [each.name for each in await claim(rig, "add", "look", limit=9)] == ["look"]


async def test_calls_of_a_cancelled_run_are_not_claimed_and_a_claim_of_them_is_lost() -> None:
    async with open_rig(TWO_CALLS) as rig:
        run_id = await hand_off(rig)
        (mine,) = await claim(rig, "look")
        await do(rig, operations.CancelRun(run_id))

        assert await claim(rig, "add") == []
        with pytest.raises(errors.ClaimLost, match="lost"):
            await do(rig, RenewClaim(mine.id, 1))
        with pytest.raises(errors.ClaimLost):
            await do(rig, SubmitToolOutput(run_id, mine.tool_call_id, "x", attempt=1))


async def test_calls_that_have_expired_are_not_claimed() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig, expires_in=10)
        rig.now += 10_000

        assert await claim(rig) == []


async def test_of_many_that_claim_at_once_each_call_goes_to_one() -> None:
    async with open_rig(TWO_CALLS, TWO_CALLS, TWO_CALLS) as rig:
        for _ in range(3):
            await hand_off(rig)
        pages = await asyncio.gather(*(claim(rig, "look", "add", limit=1) for _ in range(20)))

    claimed = [action for page in pages for action in page]
    assert len(claimed) == 6
    assert len({action.id for action in claimed}) == 6
    assert {action.attempt for action in claimed} == {1}


async def test_a_claim_waits_for_a_call_and_is_woken_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "CLAIM_PATIENCE", 3_600.0)
    async with open_rig(CALLS) as rig:
        waiting = asyncio.create_task(claim(rig, wait=60))
        await asyncio.sleep(0)
        run_id = await hand_off(rig)
        (action,) = await waiting

    assert action.run_id == run_id


async def test_a_call_that_is_given_back_wakes_a_claim_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "CLAIM_PATIENCE", 3_600.0)
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (mine,) = await claim(rig)
        waiting = asyncio.create_task(claim(rig, wait=60, worker="two"))
        await asyncio.sleep(0)
        await do(rig, ReleaseClaim(mine.id, 1))
        (theirs,) = await waiting

    assert (theirs.worker, theirs.attempt) == ("two", 2)


async def test_a_call_that_was_given_back_is_nobodys() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (mine,) = await claim(rig)
        await do(rig, ReleaseClaim(mine.id, 1))

        with pytest.raises(errors.ClaimLost):
            await do(rig, RenewClaim(mine.id, 1))


async def test_a_claim_does_not_wait_longer_than_it_is_asked_to() -> None:
    async with open_rig() as rig:
        assert await claim(rig, wait=0.01) == []


async def test_a_call_that_needs_approval_is_not_claimed() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (action,) = await claim(rig)

        assert not Action(
            id="a",
            run_id="r",
            thread_id="t",
            turn=1,
            tool_call_id="c",
            name="look",
            arguments={},
            runs_on="server",
            approval="required",
            created_at=1,
            expires_at=9,
        ).is_claimable(1)
        assert action.is_claimable(action.claimed_until or 0)


# Tasks at MCP servers, which carry out calls.


def task(action: Action, task_id: str = "t1", attempt: int | None = None) -> SaveTask:
    return SaveTask(action.id, task_id, "far (1)", "job", attempt)


async def test_the_task_of_a_call_is_kept_until_the_call_has_its_output() -> None:
    async with open_rig(CALLS) as rig:
        run_id = await hand_off(rig)
        (action,) = (await do(rig, operations.ListActions(run_id))).data
        rig.now += 5
        saved = await do(rig, task(action))
        rig.now += 5
        again = await do(rig, task(action))
        (listed,) = (await do(rig, operations.ListActions(run_id, status="pending"))).data
        done = await do(rig, SubmitToolOutput(run_id, action.tool_call_id, "x"))

    assert saved.task == TaskHandle(
        task_id="t1", origin="far (1)", tool="job", created_at=rig.now - 5
    )
    assert again == saved == listed
    assert done.task is None


async def test_a_worker_that_has_the_call_next_gets_its_task() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (first,) = await claim(rig, lease=1)
        await do(rig, task(first, attempt=1))
        rig.now += 5_000
        (second,) = await claim(rig)
        with pytest.raises(errors.ClaimLost):
            await do(rig, task(first, "t2", attempt=1))

    assert first.task is None
    assert second.attempt == 2
    assert second.task is not None
    assert second.task.task_id == "t1"


async def test_a_call_has_one_task() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (mine,) = await claim(rig)
        await do(rig, task(mine))
        for other in (task(mine, "t2"), SaveTask(mine.id, "t1", "elsewhere", "job")):
            with pytest.raises(errors.Conflict, match="another task"):
                await do(rig, other)


async def test_a_call_that_is_over_gets_no_task() -> None:
    async with open_rig(CALLS, CALLS, "say Done.") as rig:
        run_id = await hand_off(rig)
        (answered,) = await claim(rig)
        await do(rig, SubmitToolOutput(run_id, answered.tool_call_id, "x"))
        with pytest.raises(errors.OutputConflict):
            await do(rig, task(answered))
        cancelled_id = await hand_off(rig)
        (cancelled,) = await claim(rig)
        await do(rig, task(cancelled))
        await do(rig, operations.CancelRun(cancelled_id))
        with pytest.raises(errors.RunEnded):
            await do(rig, task(cancelled))
        (ended,) = (await do(rig, operations.ListActions(cancelled_id))).data

    assert ended.status == "cancelled"
    assert ended.task is None


async def test_a_task_of_somebody_elses_call_is_not_kept() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (mine,) = await claim(rig)
        with pytest.raises(errors.NotFound):
            await do(rig, task(mine), Principal(owner="somebody"))
