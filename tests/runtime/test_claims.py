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


async def send(rig: RuntimeRig, call: operations.Operation[Any], by: Principal = BY) -> Any:
    return (await rig.dispatcher.dispatch(call, by)).value


async def claim(rig: RuntimeRig, *tools: str, by: Principal = BY, **fields: Any) -> list[Action]:
    return list((await send(rig, ClaimActions(tools=tools or ("look",), **fields), by)).data)


async def hand_off(rig: RuntimeRig, **fields: Any) -> str:
    return find_started(await rig.ask(tools=TOOLS, **fields)).run_id


async def test_a_call_is_claimed_once_until_its_lease_has_run_out() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (first,) = await claim(rig, worker="one", lease=30)
        rig.now += 29_999
        second_claim = await claim(rig, worker="two")
        rig.now += 1
        (second,) = await claim(rig, worker="two")

    assert (first.attempt, first.claimed_until) == (1, 1_030_000)
    assert second_claim == []
    assert (second.id, second.attempt, second.worker) == (first.id, 2, "two")


async def test_a_renewed_claim_holds_from_its_renewal_on() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (action,) = await claim(rig, lease=30)
        rig.now += 29_000
        await send(rig, RenewClaim(action.id, 1, 30))
        rig.now += 29_000

        assert await claim(rig) == []


async def test_a_claim_that_ran_out_is_renewed_while_nobody_else_has_it() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (action,) = await claim(rig, lease=1)
        rig.now += 5_000
        renewed_action = await send(rig, RenewClaim(action.id, 1, 30))
        second_claim = await claim(rig)
        saved_action = await send(
            rig, SubmitToolOutput(action.run_id, action.tool_call_id, "x", attempt=1)
        )

    assert renewed_action.claimed_until == rig.now + 30_000
    assert second_claim == []
    assert saved_action.status == "completed"


async def test_a_worker_that_comes_back_from_a_pause_is_refused_whatever_it_tries() -> None:
    async with open_rig(CALLS, "say Done.") as rig:
        await hand_off(rig)
        (lost_action,) = await claim(rig, lease=1)
        rig.now += 5_000
        (other_action,) = await claim(rig)
        calls = (
            SubmitToolOutput(lost_action.run_id, lost_action.tool_call_id, "stale", attempt=1),
            RenewClaim(lost_action.id, 1),
            ReleaseClaim(lost_action.id, 1),
        )
        for call in calls:
            with pytest.raises(errors.ClaimLost):
                await send(rig, call)
        saved_action = await send(
            rig, SubmitToolOutput(lost_action.run_id, lost_action.tool_call_id, "good", attempt=2)
        )
        for call in calls:
            with pytest.raises(errors.ClaimLost, match="lost"):
                await send(rig, call)

    assert other_action.attempt == 2
    assert saved_action.output == "good"


async def test_the_last_output_of_a_worker_starts_the_next_turn() -> None:
    async with open_rig(TWO_CALLS, "say Done.") as rig:
        run_id = await hand_off(rig)
        look, add = await claim(rig, "look", "add", limit=5)
        await send(rig, SubmitToolOutput(run_id, look.tool_call_id, "1", attempt=1))
        between = (await rig.run(run_id)).status
        await send(rig, SubmitToolOutput(run_id, add.tool_call_id, "2", attempt=1))
        await rig.read(operations.Follow(run_id))
        end = await rig.run(run_id)

    assert between is Status.ACTION_REQUIRED
    assert end.status is Status.COMPLETED


async def test_an_output_without_a_claim_leaves_the_next_turn_to_its_client() -> None:
    async with open_rig(CALLS, "say Done.") as rig:
        run_id = await hand_off(rig)
        (action,) = await claim(rig)
        await send(rig, SubmitToolOutput(run_id, action.tool_call_id, "by hand"))
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
        (action,) = await claim(rig, "look")
        await send(rig, operations.CancelRun(run_id))

        assert await claim(rig, "add") == []
        with pytest.raises(errors.ClaimLost, match="lost"):
            await send(rig, RenewClaim(action.id, 1))
        with pytest.raises(errors.ClaimLost):
            await send(rig, SubmitToolOutput(run_id, action.tool_call_id, "x", attempt=1))


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

    claimed_actions = [action for page in pages for action in page]
    assert len(claimed_actions) == 6
    assert len({action.id for action in claimed_actions}) == 6
    assert {action.attempt for action in claimed_actions} == {1}


async def test_a_claim_waits_for_a_call_and_is_woken_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "CLAIM_PATIENCE", 3_600.0)
    async with open_rig(CALLS) as rig:
        claim_task = asyncio.create_task(claim(rig, wait=60))
        await asyncio.sleep(0)
        run_id = await hand_off(rig)
        (action,) = await claim_task

    assert action.run_id == run_id


async def test_a_call_that_is_given_back_wakes_a_claim_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "CLAIM_PATIENCE", 3_600.0)
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (action,) = await claim(rig)
        claim_task = asyncio.create_task(claim(rig, wait=60, worker="two"))
        await asyncio.sleep(0)
        await send(rig, ReleaseClaim(action.id, 1))
        (other_action,) = await claim_task

    assert (other_action.worker, other_action.attempt) == ("two", 2)


async def test_a_call_that_was_given_back_is_nobodys() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (action,) = await claim(rig)
        await send(rig, ReleaseClaim(action.id, 1))

        with pytest.raises(errors.ClaimLost):
            await send(rig, RenewClaim(action.id, 1))


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
        (action,) = (await send(rig, operations.ListActions(run_id))).data
        rig.now += 5
        saved_action = await send(rig, task(action))
        rig.now += 5
        repeated_action = await send(rig, task(action))
        (listed_action,) = (await send(rig, operations.ListActions(run_id, status="pending"))).data
        completed_action = await send(rig, SubmitToolOutput(run_id, action.tool_call_id, "x"))

    assert saved_action.task == TaskHandle(
        task_id="t1", origin="far (1)", tool="job", created_at=rig.now - 5
    )
    assert repeated_action == saved_action == listed_action
    assert completed_action.task is None


async def test_a_worker_that_has_the_call_next_gets_its_task() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (first,) = await claim(rig, lease=1)
        await send(rig, task(first, attempt=1))
        rig.now += 5_000
        (second,) = await claim(rig)
        with pytest.raises(errors.ClaimLost):
            await send(rig, task(first, "t2", attempt=1))

    assert first.task is None
    assert second.attempt == 2
    assert second.task is not None
    assert second.task.task_id == "t1"


async def test_a_call_has_one_task() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (action,) = await claim(rig)
        await send(rig, task(action))
        for other in (task(action, "t2"), SaveTask(action.id, "t1", "elsewhere", "job")):
            with pytest.raises(errors.Conflict, match="another task"):
                await send(rig, other)


async def test_a_call_that_is_over_gets_no_task() -> None:
    async with open_rig(CALLS, CALLS, "say Done.") as rig:
        run_id = await hand_off(rig)
        (answered_action,) = await claim(rig)
        await send(rig, SubmitToolOutput(run_id, answered_action.tool_call_id, "x"))
        with pytest.raises(errors.OutputConflict):
            await send(rig, task(answered_action))
        cancelled_id = await hand_off(rig)
        (cancelled_action,) = await claim(rig)
        await send(rig, task(cancelled_action))
        await send(rig, operations.CancelRun(cancelled_id))
        with pytest.raises(errors.RunEnded):
            await send(rig, task(cancelled_action))
        (ended_action,) = (await send(rig, operations.ListActions(cancelled_id))).data

    assert ended_action.status == "cancelled"
    assert ended_action.task is None


async def test_a_task_of_somebody_elses_call_is_not_kept() -> None:
    async with open_rig(CALLS) as rig:
        await hand_off(rig)
        (action,) = await claim(rig)
        with pytest.raises(errors.NotFound):
            await send(rig, task(action), Principal(owner="somebody"))
