"""Promises of every store; see `Store` in `ports`.

Guarantees G2, G3, G5, G6, G7, G8, G13, G22, G23, G24, G29 and G30, as far as they are a store's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from antiphon.engine import transitions
from antiphon.engine.context_window import tokens
from antiphon.engine.snapshot import (
    ChangeSet,
    Claim,
    Committed,
    IdempotencyKey,
    ReadSet,
    RequestUsage,
    RunUpdate,
    Snapshot,
)
from antiphon.engine.text_search import index_words
from antiphon.ports import AmendAccount, Store
from antiphon.stores.rows import LIST_PAGE_BYTES
from antiphon.types import errors
from antiphon.types.accounts import Account, Key, Person, UsageRow
from antiphon.types.events import ToolOutputAdded
from antiphon.types.folders import MAX_FOLDERS, Folder
from antiphon.types.messages import Feedback, Message, ToolCall, Upload, to_chat_completions
from antiphon.types.runs import (
    TRANSITIONS,
    Action,
    Assistant,
    LeaseInfo,
    McpServer,
    ResponseRecord,
    Run,
    RunLease,
    Serves,
    Status,
    Thread,
    Usage,
    serve_all,
)
from tests.support.stores.appending import append_lines
from tests.support.stores.openers import Clock, Opener, open_store
from tests.support.stores.steps import (
    a_message,
    a_run,
    a_thread,
    add_claimed,
    add_run,
    add_thread,
    an_action,
    append,
    begin,
    lines,
    move,
    move_run,
    page_through,
    say,
    spend,
    status_of,
    take,
    whole_log,
)

# Changes


async def test_the_usage_of_a_request_outside_runs_is_counted_for_the_owner(store: Store) -> None:
    await add_thread(store, 1)
    tokens = Usage(input_tokens=7, output_tokens=3)
    requests = (
        RequestUsage("demo", replace(tokens, cost=0.5)),
        RequestUsage("demo", tokens),
        RequestUsage("demo", Usage(), audio_seconds=1.1),
        RequestUsage("demo", Usage(), audio_seconds=2.2),
    )
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    for usage in requests:
        change = ChangeSet(request_usage=usage)
        await store.change(read_set, lambda _, change=change: change)
    (row,) = await store.usage("1970-01-01", 9)

    assert (row.owner, row.model, row.runs) == ("ann", "demo", 0)
    assert (row.input_tokens, row.output_tokens, row.cost) == (14, 6, 0.5)
    assert (row.unpriced, row.audio_seconds) == (3, 3.3)


async def test_a_change_is_there_for_every_later_reader(store: Store) -> None:
    thread = await add_thread(store)
    await store.change(ReadSet(owner="ann", thread_id=thread.id), say(a_message(1, "hello")))
    await add_run(store)

    assert (await store.get(Thread, "ann", "thread_1")).messages == 1
    assert (await store.get(Message, "ann", a_message(1, "hello").id)).text == "hello"
    assert (await store.get(Run, "ann", "run_1")).status is Status.QUEUED


async def test_a_change_returns_its_answer(store: Store) -> None:
    await add_thread(store)

    read_set = ReadSet(owner="ann", thread_id="thread_1")
    decide = begin(a_run())

    committed = await store.change(read_set, decide)

    assert committed.answer == "run_1"
    assert committed.change is not None
    assert [update.run.id for update in committed.change.run_updates] == ["run_1"]


async def test_a_decision_for_nothing_changes_nothing(store: Store) -> None:
    assert await store.change(ReadSet(owner="ann"), lambda records: None) == Committed()


async def test_a_decision_sees_the_thread_and_its_active_run(store: Store, clock: Clock) -> None:
    claim = await add_claimed(store)
    await append(store, claim, 3, "a", "b")
    snapshots: list[Snapshot] = []
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), snapshots.append)

    (records,) = snapshots
    assert records.now == clock.now
    assert records.thread == a_thread()
    assert records.run == claim.run
    assert records.lease == replace(claim.lease, last_event=4)
    assert records.log == ()


async def test_a_decision_sees_the_run_it_is_about_even_when_that_has_ended(store: Store) -> None:
    await add_thread(store)
    await add_run(store)
    await store.change(ReadSet(owner="ann", run_id="run_1"), move(Status.CANCELLED))
    snapshots: list[Snapshot] = []
    await store.change(ReadSet(owner="ann", run_id="run_1"), snapshots.append)
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), snapshots.append)

    about_run, about_thread = snapshots
    assert about_run.run is not None
    assert about_run.run.status is Status.CANCELLED
    assert about_thread.run is None


async def test_a_decision_sees_no_run_of_another_thread(store: Store) -> None:
    await add_thread(store, 1)
    await add_thread(store, 2)
    await add_run(store, 1)
    snapshots: list[Snapshot] = []
    await store.change(ReadSet(owner="ann", thread_id="thread_2", run_id="run_1"), snapshots.append)

    assert (snapshots[0].thread, snapshots[0].run) == (a_thread(2), None)


async def test_a_decision_sees_nothing_of_another_owner(store: Store) -> None:
    await add_thread(store)
    await add_run(store)
    snapshots: list[Snapshot] = []
    await store.change(ReadSet(owner="bob", thread_id="thread_1"), snapshots.append)
    await store.change(ReadSet(owner="bob", run_id="run_1"), snapshots.append)

    assert [(records.thread, records.run, records.lease) for records in snapshots] == [
        (None, None, None)
    ] * 2


async def test_a_decision_sees_the_actions_in_order_and_the_events_of_the_turn(
    store: Store,
) -> None:
    claim = await add_claimed(store)
    await append(store, claim, 3, "old")

    def hand_out(records: Snapshot) -> ChangeSet:
        actions = tuple(map(an_action, (2, 1, 3)))
        run_update = move_run(records, Status.ACTION_REQUIRED, turn_began_after=4)
        return ChangeSet(run_updates=(run_update,), actions=actions)

    def answer(records: Snapshot) -> ChangeSet:
        completed = replace(records.actions[1], status="completed", output="seen")
        event = ToolOutputAdded(tool_call_id="call_1", output="seen")
        return ChangeSet(
            run_updates=(move_run(records, Status.QUEUED, event),), actions=(completed,)
        )

    await store.change(ReadSet(owner=None, run_id="run_1"), hand_out)
    await store.change(ReadSet(owner=None, run_id="run_1"), answer)
    snapshots: list[Snapshot] = []
    await store.change(ReadSet(owner=None, run_id="run_1", turn_log=True), snapshots.append)

    assert [(each.tool_call_id, each.status) for each in snapshots[0].actions] == [
        ("call_2", "pending"),
        ("call_1", "completed"),
        ("call_3", "pending"),
    ]
    assert [number for number, _ in snapshots[0].log] == [5, 6]
    assert snapshots[0].log[-1][1] == ToolOutputAdded(tool_call_id="call_1", output="seen")


async def test_an_action_and_a_run_keep_where_tools_run_and_what_was_said_of_a_call(
    store: Store,
) -> None:
    server = McpServer("far", "https://far.example/", ("r*",), {"read": "never"})
    await add_thread(store)
    run = replace(a_run(), mcp_servers=(server,))
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), begin(run, wanted=True))
    await store.claim(take())
    pending_action = an_action(1, runs_on="server", server="far", approval="required")

    def hand_out(records: Snapshot) -> ChangeSet:
        return ChangeSet(
            run_updates=(move_run(records, Status.ACTION_REQUIRED),), actions=(pending_action,)
        )

    def approve(records: Snapshot) -> ChangeSet:
        return ChangeSet(actions=(replace(records.actions[0], approval="given"),))

    await store.change(ReadSet(owner=None, run_id="run_1"), hand_out)
    await store.change(ReadSet(owner=None, run_id="run_1"), approve)

    assert await store.get(Action, "ann", pending_action.id) == replace(
        pending_action, approval="given"
    )
    page = await store.list(Action, "ann", limit=9, run_id="run_1", status="pending")
    assert [action.due for action in page.data] == [True]
    assert (await store.get(Run, "ann", "run_1")).mcp_servers == (server,)


async def test_a_decision_sees_the_actions_of_the_last_turn_and_the_one_it_asks_for(
    store: Store,
) -> None:
    await add_thread(store)
    await add_run(store)
    for turn in (1, 2, 4):
        actions = tuple(an_action(10 * turn + place, turn=turn) for place in range(3))
        change = ChangeSet(actions=actions)
        await store.change(ReadSet(owner=None, run_id="run_1"), lambda records, c=change: c)
    snapshots: list[Snapshot] = []
    for call_id in (None, "call_21", "call_41", "call_99"):
        await store.change(
            ReadSet(owner="ann", run_id="run_1", tool_call_id=call_id), snapshots.append
        )

    assert [[each.tool_call_id for each in records.actions] for records in snapshots] == [
        ["call_40", "call_41", "call_42"],
        ["call_21", "call_40", "call_41", "call_42"],
        ["call_40", "call_41", "call_42"],
        ["call_40", "call_41", "call_42"],
    ]


async def test_the_ids_of_all_calls_of_a_run_are_known(store: Store) -> None:
    for number in (1, 2):
        await add_thread(store, number)
        await add_run(store, number, f"thread_{number}")
    actions = (
        an_action(1, turn=1),
        an_action(2, turn=2, tool_call_id='a\n"b'),
        an_action(3, run="run_2"),
    )
    await store.change(ReadSet(owner=None), lambda records: ChangeSet(actions=actions))

    assert await store.call_ids("run_1") == {"call_1", 'a\n"b'}
    assert await store.call_ids("run_9") == frozenset()


async def test_a_decision_that_raises_changes_nothing_and_its_error_passes(store: Store) -> None:
    await add_thread(store)

    def refuse(records: Snapshot) -> ChangeSet:
        raise errors.OutputsMissing("not yet")

    with pytest.raises(errors.OutputsMissing, match="not yet"):
        await store.change(ReadSet(owner="ann", thread_id="thread_1"), refuse)
    assert await store.get(Thread, "ann", "thread_1") == a_thread()


async def test_a_change_refused_at_its_last_part_leaves_nothing_of_the_others(
    store: Store,
) -> None:
    await add_thread(store)
    await add_run(store)

    def add_second_run(records: Snapshot) -> ChangeSet:
        second = RunUpdate(a_run(2), RunLease(last_event=1), (status_of(a_run(2)),))
        return say(a_message(1, "lost"), run_updates=(second,), owner="ann")(records)

    with pytest.raises(errors.RunActive) as refused:
        await store.change(ReadSet(owner="ann", thread_id="thread_1"), add_second_run)
    assert refused.value.details["run_id"] == "run_1"
    assert await store.get(Thread, "ann", "thread_1") == a_thread()
    assert (await store.context("thread_1")).chat == b""
    assert [run.id for run in (await store.list(Run, "ann", limit=9)).data] == ["run_1"]


async def test_a_change_beside_one_that_raises_is_kept(store: Store) -> None:
    await add_thread(store, 1)
    await add_thread(store, 2)

    def refuse(records: Snapshot) -> ChangeSet:
        raise errors.OutputsMissing("not yet")

    outcomes = await asyncio.gather(
        store.change(ReadSet(owner="ann", thread_id="thread_1"), say(a_message(1, "a"))),
        store.change(ReadSet(owner="ann", thread_id="thread_1"), refuse),
        store.change(
            ReadSet(owner="ann", thread_id="thread_2"), say(a_message(1, "b", "thread_2"))
        ),
        return_exceptions=True,
    )

    assert isinstance(outcomes[1], errors.OutputsMissing)
    assert (await store.context("thread_1")).messages == 1
    assert (await store.context("thread_2")).messages == 1


async def test_a_new_thread_needs_an_owner(store: Store) -> None:
    with pytest.raises(errors.Internal):
        await store.change(ReadSet(owner=None), lambda records: ChangeSet(thread=a_thread()))


async def test_messages_that_do_not_raise_the_version_are_refused(store: Store) -> None:
    await add_thread(store)
    stale = replace(a_thread(), messages=1)

    with pytest.raises(errors.Internal):
        await store.change(
            ReadSet(owner="ann", thread_id="thread_1"),
            lambda records: ChangeSet(thread=stale, messages=(a_message(1, "unseen"),)),
        )
    assert (await store.context("thread_1")).messages == 0


async def test_a_number_is_given_to_one_message_only(store: Store) -> None:
    await add_thread(store)
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await store.change(read_set, say(a_message(1, "first")))

    with pytest.raises(errors.Internal):
        await store.change(read_set, say(a_message(1, "second")))
    assert await page_through(store, Message, 9, thread_id="thread_1") == [a_message(1, "first").id]


async def test_places_kept_for_outputs_are_filled_in_any_order(store: Store) -> None:
    await add_thread(store)
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    for number in (1, 4, 2, 3):
        await store.change(read_set, say(a_message(number, f"text {number}")))

    page = await store.list(Message, "ann", limit=9, thread_id="thread_1")
    assert [message.number for message in page.data] == [1, 2, 3, 4]
    assert_context_is_joined(await store.context("thread_1"), page.data)


async def test_a_thread_is_cut_after_a_number(store: Store) -> None:
    await add_thread(store)
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await store.change(
        read_set, say(*(a_message(number, f"text {number}") for number in (1, 2, 3)))
    )

    def cut(records: Snapshot) -> ChangeSet:
        assert records.thread is not None
        thread = replace(records.thread, messages=2, version=records.thread.version + 1)
        return ChangeSet(thread=thread, keep_messages=1, messages=(a_message(2, "instead"),))

    await store.change(read_set, cut)

    page = await store.list(Message, "ann", limit=9, thread_id="thread_1")
    assert [message.text for message in page.data] == ["text 1", "instead"]
    assert_context_is_joined(await store.context("thread_1"), page.data)


# Moves


LEGAL = [(before, after) for before in Status for after in Status if after in TRANSITIONS[before]]


def list_illegal(before: Status) -> list[Status]:
    """Return the statuses to which no run of this status goes."""
    allowed = TRANSITIONS[before]
    return [each for each in Status if each not in allowed and (each is not before or not allowed)]


async def bring_to(store: Store, status: Status) -> None:
    """Bring run 1 to this status by legal moves."""
    path = {
        Status.QUEUED: (),
        Status.IN_PROGRESS: (Status.IN_PROGRESS,),
        Status.ACTION_REQUIRED: (Status.IN_PROGRESS, Status.ACTION_REQUIRED),
        Status.EXPIRED: (Status.EXPIRED,),
    }.get(status, (Status.IN_PROGRESS, status))
    await add_thread(store)
    await add_run(store)
    for step in path:
        await store.change(ReadSet(owner="ann", run_id="run_1"), move(step))


@pytest.mark.parametrize(("before", "after"), LEGAL)
async def test_every_move_of_the_table_can_be_made(
    store: Store, before: Status, after: Status
) -> None:
    await bring_to(store, before)
    await store.change(ReadSet(owner="ann", run_id="run_1"), move(after))

    assert (await store.get(Run, "ann", "run_1")).status is after


@pytest.mark.parametrize("before", Status)
async def test_no_other_move_can_be_made(store: Store, before: Status) -> None:
    await bring_to(store, before)
    log = await whole_log(store, "run_1")

    for after in list_illegal(before):
        with pytest.raises(errors.Internal if TRANSITIONS[before] else errors.Fenced):
            await store.change(ReadSet(owner="ann", run_id="run_1"), move(after))
        assert (await store.get(Run, "ann", "run_1")).status is before, after
        assert await whole_log(store, "run_1") == log, after


@pytest.mark.parametrize("status", [Status.IN_PROGRESS, Status.COMPLETED])
async def test_a_new_run_is_queued_or_held_by_a_worker(store: Store, status: Status) -> None:
    await add_thread(store)
    read_set = ReadSet(owner="ann", thread_id="thread_1")

    with pytest.raises(errors.Internal):
        await store.change(read_set, begin(a_run(status=status)))


async def test_a_new_run_that_a_worker_holds_is_claimed_by_no_other(
    store: Store, clock: Clock
) -> None:
    await add_thread(store)
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    lease: dict[str, Any] = {"wanted": True, "epoch": 1, "worker": "w", "due_at": clock.now + 9}
    await store.change(read_set, begin(a_run(status=Status.IN_PROGRESS), **lease))

    assert await store.claim(take()) is None
    assert (await store.run_lease("run_1")).worker == "w"
    assert await store.renew_leases({"run_1": 1}, 15_000) == frozenset()
    assert [each.run_id for each in await store.leases(9)] == ["run_1"]
    clock.now += 15_001
    assert list(await store.overdue_runs(9)) == ["run_1"]


async def test_a_driver_that_was_overtaken_can_change_nothing(store: Store) -> None:
    claim = await add_claimed(store)
    await store.change(ReadSet(owner=None, run_id="run_1"), move(Status.QUEUED, epoch=2))

    def finish(records: Snapshot) -> ChangeSet:
        assert records.lease is not None
        late = replace(records, run=claim.run)
        return ChangeSet(run_updates=(move_run(late, Status.COMPLETED, epoch=1),))

    with pytest.raises(errors.Fenced):
        await store.change(ReadSet(owner=None, run_id="run_1"), finish)
    assert (await store.get(Run, None, "run_1")).status is Status.QUEUED


async def test_events_that_would_leave_a_gap_are_refused(store: Store) -> None:
    await add_thread(store)
    await add_run(store)

    with pytest.raises(errors.Internal):
        await store.change(
            ReadSet(owner=None, run_id="run_1"),
            lambda records: ChangeSet(
                run_updates=(replace(move_run(records, Status.CANCELLED), events=()),)
            ),
        )


async def test_of_32_runs_begun_at_once_in_a_thread_one_is_there(store: Store) -> None:
    await add_thread(store)
    outcomes = await asyncio.gather(
        *(
            store.change(ReadSet(owner="ann", thread_id="thread_1"), begin(a_run(number)))
            for number in range(32)
        ),
        return_exceptions=True,
    )

    (winner,) = (outcome.answer for outcome in outcomes if isinstance(outcome, Committed))
    losers = [fault for fault in outcomes if isinstance(fault, errors.RunActive)]
    assert [loser.details["run_id"] for loser in losers] == [winner] * 31


async def test_a_run_may_make_way_for_another_in_one_change(store: Store) -> None:
    await add_thread(store)
    await add_run(store, 1)

    def interrupt(records: Snapshot) -> ChangeSet:
        new = RunUpdate(a_run(2), RunLease(last_event=1), (status_of(a_run(2)),))
        return ChangeSet(owner="ann", run_updates=(move_run(records, Status.CANCELLED), new))

    await store.change(ReadSet(owner="ann", thread_id="thread_1"), interrupt)

    runs = (await store.list(Run, "ann", limit=9, thread_id="thread_1")).data
    assert [(run.id, run.status) for run in runs] == [
        ("run_2", Status.QUEUED),
        ("run_1", Status.CANCELLED),
    ]


# Idempotency


async def test_of_a_run_that_has_ended_only_the_records_of_its_responses_change(
    store: Store,
) -> None:
    await bring_to(store, Status.COMPLETED)
    usage_before = list(await store.usage("2000-01-01", 9))

    def change(records: Snapshot, **fields: object) -> ChangeSet:
        run, lease = records.run, records.lease
        assert run is not None
        assert lease is not None
        return ChangeSet(run_updates=(RunUpdate(replace(run, **fields), lease),))

    read_set = ReadSet(owner="ann", run_id="run_1")
    record = ResponseRecord(request={"a": [1, None]}, after=3, turn=1, messages=2, created_at=5)
    await store.change(read_set, partial(change, responses=(record,)))
    with pytest.raises(errors.Fenced):
        await store.change(read_set, partial(change, model="other", responses=()))

    assert (await store.get(Run, "ann", "run_1")).responses == (record,)
    assert list(await store.usage("2000-01-01", 9)) == usage_before


def an_idempotency_key(
    digest: bytes = b"body", key: str = "k", owner: str = "ann"
) -> IdempotencyKey:
    return IdempotencyKey(owner=owner, route="POST /v1/threads", key=key, digest=digest)


def new_thread(number: int) -> Callable[[Snapshot], ChangeSet]:
    thread = a_thread(number)
    return lambda records: ChangeSet(thread=thread, answer=thread, owner="ann")


async def test_a_repeated_request_gets_the_answer_that_was_kept(store: Store) -> None:
    first = await store.change(
        ReadSet(owner="ann", idempotency_key=an_idempotency_key()), new_thread(1)
    )
    second = await store.change(
        ReadSet(owner="ann", idempotency_key=an_idempotency_key()), new_thread(2)
    )

    assert first.answer == a_thread(1)
    assert isinstance(second.answer, msgspec.Raw)
    assert msgspec.json.decode(second.answer, type=Thread) == first.answer
    assert second.change is None
    assert await page_through(store, Thread, 9) == ["thread_1"]


async def test_a_kept_answer_can_be_looked_up_before_anything_is_asked(store: Store) -> None:
    assert await store.find_answer(an_idempotency_key()) is None
    committed = await store.change(
        ReadSet(owner="ann", idempotency_key=an_idempotency_key()), new_thread(1)
    )
    stored_answer = await store.find_answer(an_idempotency_key())

    assert stored_answer is not None
    assert msgspec.json.decode(stored_answer, type=Thread) == committed.answer
    assert await store.find_answer(an_idempotency_key(key="other")) is None
    assert await store.find_answer(an_idempotency_key(owner="bob")) is None
    with pytest.raises(errors.IdempotencyConflict):
        await store.find_answer(an_idempotency_key(b"other"))
    await store.delete(Thread, "ann", "thread_1")
    with pytest.raises(errors.NotFound):
        await store.find_answer(an_idempotency_key())


async def test_a_key_used_with_another_body_is_refused(store: Store) -> None:
    await store.change(ReadSet(owner="ann", idempotency_key=an_idempotency_key()), new_thread(1))

    with pytest.raises(errors.IdempotencyConflict):
        await store.change(
            ReadSet(owner="ann", idempotency_key=an_idempotency_key(b"other")), new_thread(2)
        )
    assert await page_through(store, Thread, 9) == ["thread_1"]


async def test_a_key_is_bound_to_its_owner(store: Store) -> None:
    await store.change(ReadSet(owner="ann", idempotency_key=an_idempotency_key()), new_thread(1))
    committed = await store.change(
        ReadSet(owner="bob", idempotency_key=an_idempotency_key(owner="bob")), new_thread(2)
    )

    assert committed.answer == a_thread(2)


async def test_nothing_is_kept_under_a_key_whose_request_failed(store: Store) -> None:
    def refuse(records: Snapshot) -> ChangeSet:
        raise errors.InvalidRequest("no")

    with pytest.raises(errors.InvalidRequest):
        await store.change(ReadSet(owner="ann", idempotency_key=an_idempotency_key()), refuse)

    committed = await store.change(
        ReadSet(owner="ann", idempotency_key=an_idempotency_key()), new_thread(1)
    )
    assert committed.answer == a_thread(1)


async def test_of_the_same_requests_at_once_one_is_carried_out(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(
            store.change(
                ReadSet(owner="ann", idempotency_key=an_idempotency_key()), new_thread(number)
            )
            for number in range(16)
        )
    )

    answers = [outcome.answer for outcome in outcomes]
    (thread,) = (answer for answer in answers if isinstance(answer, Thread))
    repeated = [answer for answer in answers if isinstance(answer, msgspec.Raw)]
    assert [msgspec.json.decode(answer, type=Thread) for answer in repeated] == [thread] * 15
    assert await page_through(store, Thread, 99) == [thread.id]


async def test_a_key_outlives_neither_its_time_nor_what_it_made(store: Store, clock: Clock) -> None:
    await store.change(
        ReadSet(owner="ann", idempotency_key=an_idempotency_key(key="old")), new_thread(1)
    )
    clock.now += 1000
    await store.change(
        ReadSet(owner="ann", idempotency_key=an_idempotency_key(key="new")), new_thread(2)
    )
    await store.delete_expired(0, clock.now)
    await store.delete(Thread, "ann", "thread_2")

    committed = await store.change(
        ReadSet(owner="ann", idempotency_key=an_idempotency_key(key="old")), new_thread(3)
    )
    assert committed.answer == a_thread(3)
    with pytest.raises(errors.NotFound):
        await store.change(
            ReadSet(owner="ann", idempotency_key=an_idempotency_key(key="new")), new_thread(4)
        )


# Claims and leases


async def test_the_run_wanted_longest_is_claimed_first(store: Store, clock: Clock) -> None:
    for number in (1, 2, 3):
        await add_thread(store, number)
        await add_run(store, number, f"thread_{number}", wanted=number == 3)
        clock.now += 1
    for number in (2, 1):
        read_set = ReadSet(owner="ann", run_id=f"run_{number}")

        def ask(records: Snapshot) -> ChangeSet:
            assert records.run is not None
            assert records.lease is not None
            return ChangeSet(
                run_updates=(RunUpdate(records.run, replace(records.lease, wanted=True)),)
            )

        await store.change(read_set, ask)
        clock.now += 1
    claims = [await store.claim(take()) for _ in range(4)]

    assert [claim and claim.run.id for claim in claims] == ["run_3", "run_2", "run_1", None]


async def test_a_claim_says_whose_the_run_is_and_how_it_is_driven(
    store: Store, clock: Clock
) -> None:
    claim = await add_claimed(store)

    assert claim.owner == "ann"
    assert claim.run.status is Status.IN_PROGRESS
    assert claim.lease == RunLease(
        epoch=1, wanted=True, worker="w", due_at=clock.now + 15_000, last_event=2
    )
    assert await store.run_lease("run_1") == claim.lease


async def test_how_several_runs_are_driven_is_read_at_once(store: Store) -> None:
    first = await add_claimed(store, 1)
    await append(store, first, 3, "a", "b")
    await add_thread(store, 2)
    await add_run(store, 2, "thread_2", wanted=True, destination="there")

    leases = await store.run_leases(["run_2", "run_1", "run_nowhere"])

    assert leases == {each: await store.run_lease(each) for each in ("run_1", "run_2")}
    assert (leases["run_1"].last_event, leases["run_2"].destination) == (4, "there")
    assert await store.run_leases([]) == {}


async def test_a_run_that_nobody_asked_for_is_not_claimed(store: Store) -> None:
    await add_thread(store)
    await add_run(store)

    assert await store.claim(take()) is None


async def test_a_claim_finds_only_runs_of_the_destinations_it_names(
    store: Store, clock: Clock
) -> None:
    for number, destination in enumerate(("there", "here", "elsewhere", "here", ""), 1):
        await add_thread(store, number)
        await add_run(store, number, f"thread_{number}", wanted=True, destination=destination)
        clock.now += 1

    claims = [await store.claim(take(), {"here", "nowhere"}.__contains__) for _ in range(3)]
    assert [claim and claim.run.id for claim in claims] == ["run_2", "run_4", None]
    assert await store.claim(take(), set[str]().__contains__) is None
    assert claims[0] is not None
    assert claims[0].lease.destination == "here"
    assert (await store.run_lease("run_2")).destination == "here"

    rest = [await store.claim(take(), {"elsewhere", "", "there"}.__contains__) for _ in range(4)]
    assert [claim and claim.run.id for claim in rest] == ["run_1", "run_3", "run_5", None]


@pytest.mark.parametrize("serves", [serve_all, {"", "here"}.__contains__], ids=["any", "named"])
async def test_a_claim_leaves_out_what_was_declined(
    store: Store, clock: Clock, serves: Serves
) -> None:
    for number in range(1, 5):
        await add_thread(store, number)
        await add_run(store, number, f"thread_{number}", wanted=True)
        clock.now += 1

    claims = [await store.claim(take(), serves, ["run_1", "run_3"]) for _ in range(3)]
    assert [claim and claim.run.id for claim in claims] == ["run_2", "run_4", None]
    last = await store.claim(take(), serves)
    assert last is not None
    assert last.run.id == "run_1"


async def test_a_claim_asks_about_the_destinations_of_the_runs_that_wait(store: Store) -> None:
    for number, destination in enumerate(("b", "a", "b", "c"), 1):
        await add_thread(store, number)
        await add_run(store, number, f"thread_{number}", wanted=number < 4, destination=destination)
    destinations: set[str] = set()

    def serves_none(destination: str) -> bool:
        destinations.add(destination)
        return False

    assert await store.claim(take(), serves_none) is None
    assert destinations == {"a", "b"}

    assert await store.claim(take(), {"a"}.__contains__)
    destinations.clear()
    assert await store.claim(take(), serves_none) is None
    assert destinations == {"b"}


async def test_unclaimed_are_runs_that_have_waited_and_are_for_others(
    store: Store, clock: Clock
) -> None:
    before = clock.now
    for number, destination in enumerate(("b", "a", "", "b"), 1):
        await add_thread(store, number)
        await add_run(store, number, f"thread_{number}", wanted=True, destination=destination)
        clock.now += 1

    assert await store.find_unclaimed_runs({"a"}.__contains__, before + 3, 9) == ["run_1", "run_3"]
    assert await store.find_unclaimed_runs({"a"}.__contains__, before + 4, 9) == [
        "run_1",
        "run_3",
        "run_4",
    ]
    assert await store.find_unclaimed_runs(set[str]().__contains__, before + 4, 2) == [
        "run_1",
        "run_2",
    ]
    assert await store.find_unclaimed_runs({"a", "b", ""}.__contains__, before + 4, 9) == []


async def test_where_a_run_goes_is_kept_when_it_moves(store: Store) -> None:
    await add_thread(store)
    await add_run(store, wanted=True)
    read_set = ReadSet(owner=None, run_id="run_1")

    await store.change(read_set, move(Status.IN_PROGRESS, destination="there"))

    assert (await store.run_lease("run_1")).destination == "there"


async def test_a_claim_may_be_declined(store: Store) -> None:
    await add_thread(store)
    await add_run(store, wanted=True)

    assert await store.claim(lambda records: None) is None
    assert (await store.get(Run, None, "run_1")).status is Status.QUEUED


@pytest.mark.parametrize("serves", [serve_all, {"", "here"}.__contains__], ids=["any", "named"])
async def test_each_run_is_claimed_once_by_many_at_once(store: Store, serves: Serves) -> None:
    for number in range(8):
        await add_thread(store, number)
        await add_run(store, number, f"thread_{number}", wanted=True)
    claims = await asyncio.gather(*(store.claim(take(), serves) for _ in range(20)))

    claimed = sorted(claim.run.id for claim in claims if claim)
    assert claimed == [f"run_{number}" for number in range(8)]


async def test_a_beat_prolongs_what_is_held_and_names_what_is_lost(
    store: Store, clock: Clock
) -> None:
    await add_claimed(store, 1)
    await add_claimed(store, 2)
    await add_claimed(store, 3)
    await store.change(ReadSet(owner=None, run_id="run_2"), move(Status.COMPLETED, due_at=None))
    clock.now += 5_000
    lost = await store.renew_leases({"run_1": 1, "run_2": 1, "run_3": 7, "run_4": 1}, 15_000)

    assert lost == {"run_2", "run_3", "run_4"}
    assert (await store.run_lease("run_1")).due_at == clock.now + 15_000
    assert (await store.run_lease("run_3")).due_at == clock.now + 10_000


async def test_a_run_is_due_when_its_time_has_run_out_and_it_has_not_ended(
    store: Store, clock: Clock
) -> None:
    for number in (1, 2, 3):
        await add_claimed(store, number)
    await store.change(ReadSet(owner=None, run_id="run_3"), move(Status.COMPLETED))
    clock.now += 10_000
    await store.renew_leases({"run_1": 1}, 15_000)
    clock.now += 5_000
    assert await store.overdue_runs(9) == ["run_2"]

    clock.now += 10_000
    assert await store.overdue_runs(9) == ["run_2", "run_1"]
    assert await store.overdue_runs(1) == ["run_2"]


async def test_a_run_is_leased_while_a_worker_has_it(store: Store, clock: Clock) -> None:
    for number in (1, 2):
        await add_claimed(store, number)
    await store.change(ReadSet(owner=None, run_id="run_2"), move(Status.COMPLETED))

    lease = await store.run_lease("run_1")
    assert lease.worker
    assert lease.due_at
    assert await store.leases(9) == [LeaseInfo("run_1", 1, lease.worker, lease.due_at)]
    assert await store.leases(0) == []


# The log


async def test_what_was_appended_is_read_in_order_and_numbered(store: Store) -> None:
    claim = await add_claimed(store)
    await append(store, claim, 3, "a", "b")
    await append(store, claim, 5, "c", urgent=False)
    page = await store.read_events("run_1", 2)

    assert page.first == 3
    assert list(page.lines) == lines("a", "b", "c")
    assert not page.ended
    assert (await store.run_lease("run_1")).last_event == 5


async def test_appends_of_one_run_need_not_wait_for_one_another(store: Store) -> None:
    claim = await add_claimed(store)
    await asyncio.gather(
        *(
            append_lines(
                store, "run_1", claim.lease.epoch, 3 + number, lines(str(number)), urgent=urgent
            )
            for number, urgent in enumerate([True, False, False, True, False])
        )
    )

    assert await whole_log(store, "run_1", 2) == lines("0", "1", "2", "3", "4")


async def test_appends_of_many_runs_at_once_are_all_kept(store: Store) -> None:
    claims = [await add_claimed(store, number) for number in range(150)]
    await asyncio.gather(*(append(store, claim, 3, claim.run.id, urgent=False) for claim in claims))

    for claim in claims:
        assert await whole_log(store, claim.run.id, 2) == lines(claim.run.id)


async def test_a_change_after_an_append_finds_it_written(store: Store) -> None:
    claim = await add_claimed(store)
    writing = append_lines(store, "run_1", claim.lease.epoch, 3, lines("said"), urgent=False)
    await store.change(ReadSet(owner=None, run_id="run_1"), move(Status.COMPLETED))
    await writing

    assert (await whole_log(store, "run_1"))[2:3] == lines("said")
    assert (await store.run_lease("run_1")).last_event == 4


async def test_changes_beside_appends_are_whole_however_often_they_are_tried(store: Store) -> None:
    claim = await add_claimed(store)
    changes_done = asyncio.Event()

    async def append_events() -> None:
        last = claim.lease.last_event
        while not changes_done.is_set():
            last += 1
            await append(store, claim, last, "more")

    def add(records: Snapshot) -> ChangeSet:
        assert records.thread is not None
        return say(a_message(records.thread.messages + 1, "hello"))(records)

    appending_task = asyncio.create_task(append_events())
    for _ in range(30):
        await store.change(ReadSet(owner=None, run_id=claim.run.id), add)
    changes_done.set()
    await appending_task

    thread = await store.get(Thread, "ann", "thread_1")
    messages = (await store.list(Message, "ann", limit=100, thread_id="thread_1")).data
    assert [message.number for message in messages] == list(range(1, 31))
    assert (thread.messages, thread.version) == (30, 30)


async def test_an_append_of_a_driver_that_was_overtaken_is_refused(store: Store) -> None:
    claim = await add_claimed(store)
    await store.change(ReadSet(owner=None, run_id="run_1"), move(Status.QUEUED, epoch=2))
    second_claim = await store.claim(take())
    assert second_claim is not None
    with pytest.raises(errors.Fenced):
        await append(store, claim, 5, "late")
    await append(store, second_claim, 5, "now")

    assert await whole_log(store, "run_1", 4) == lines("now")


async def test_an_append_to_a_run_that_has_ended_is_refused(store: Store) -> None:
    claim = await add_claimed(store)
    await store.change(ReadSet(owner="ann", run_id="run_1"), move(Status.CANCELLED))

    with pytest.raises(errors.Fenced):
        await append(store, claim, 4, "late")
    assert len(await whole_log(store, "run_1")) == 3


async def test_an_append_to_a_run_that_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(errors.Fenced):
        await append_lines(store, "run_9", 1, 1, lines("?"), urgent=True)


@pytest.mark.parametrize("first", [1, 2, 4, 9])
async def test_an_append_that_lost_count_is_refused(store: Store, first: int) -> None:
    claim = await add_claimed(store)

    with pytest.raises(errors.Fenced):
        await append(store, claim, first, "off")
    assert len(await whole_log(store, "run_1")) == 2


async def test_one_append_is_refused_and_those_beside_it_are_kept(store: Store) -> None:
    claims = [await add_claimed(store, number) for number in range(5)]
    await store.change(ReadSet(owner="ann", run_id="run_2"), move(Status.CANCELLED))
    outcomes = await asyncio.gather(
        *(append(store, claim, 3, "x", urgent=False) for claim in claims), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes].count(errors.Fenced) == 1
    assert isinstance(outcomes[2], errors.Fenced)
    assert [len(await whole_log(store, claim.run.id)) for claim in claims] == [3] * 5


async def test_a_reader_may_begin_anywhere(store: Store) -> None:
    claim = await add_claimed(store)
    await append(store, claim, 3, "a", "b", "c")
    await append(store, claim, 6, "d")
    everything = await whole_log(store, "run_1")

    for after in range(len(everything) + 1):
        assert await whole_log(store, "run_1", after) == everything[after:]


async def test_a_reader_above_the_end_gets_an_empty_page(store: Store) -> None:
    await add_claimed(store)
    page = await store.read_events("run_1", 7)

    assert (page.first, list(page.lines), page.ended, page.more) == (8, [], False, False)


async def test_a_page_has_ended_when_it_holds_the_last_event_of_a_run_that_has(
    store: Store,
) -> None:
    claim = await add_claimed(store)
    await append(store, claim, 3, "a")
    assert not (await store.read_events("run_1", 0)).ended
    await store.change(ReadSet(owner=None, run_id="run_1"), move(Status.COMPLETED))

    assert (await store.read_events("run_1", 0)).ended
    assert (await store.read_events("run_1", 3)).ended
    assert (await store.read_events("run_1", 4)).ended
    assert len((await store.read_events("run_1", 3)).lines) == 1


async def test_a_long_log_comes_in_pages_that_say_so(store: Store) -> None:
    claim = await add_claimed(store)
    texts = [str(number) * 100_000 for number in range(10)] * 4
    for number, text in enumerate(texts):
        await append(store, claim, 3 + number, text)
    await store.change(ReadSet(owner=None, run_id="run_1"), move(Status.COMPLETED))
    page = await store.read_events("run_1", 2)

    assert page.ended != page.more
    assert len(page.lines) >= 10
    assert (await whole_log(store, "run_1", 2))[:-1] == lines(*texts)


async def test_a_turn_that_is_cancelled_keeps_its_text_however_often_it_was_appended_to(
    store: Store,
) -> None:
    claim = await add_claimed(store)
    texts = [f"{number} " for number in range(4_100)]
    for number, text in enumerate(texts):
        await append(store, claim, 3 + number, text)
    await store.change(
        ReadSet(owner="ann", run_id="run_1", turn_log=True),
        lambda records: transitions.cancel(records, lambda prefix: f"{prefix}_new"),
    )

    (message,) = (await store.list(Message, "ann", limit=9, thread_id="thread_1")).data
    assert message.text == "".join(texts)


async def test_the_log_of_an_unknown_run_is_not_found(store: Store) -> None:
    with pytest.raises(errors.NotFound):
        await store.read_events("run_9", 0)
    with pytest.raises(errors.NotFound):
        await store.run_lease("run_9")


async def test_events_past_retention_have_expired(store: Store, clock: Clock) -> None:
    for number in (1, 2, 3):
        await add_claimed(store, number)
    await store.change(ReadSet(owner=None, run_id="run_1"), move(Status.COMPLETED))
    clock.now += 1000
    await store.change(ReadSet(owner=None, run_id="run_2"), move(Status.COMPLETED))

    assert await store.delete_expired(clock.now, 0) == 1
    assert await store.delete_expired(clock.now, 0) == 0
    with pytest.raises(errors.EventExpired):
        await store.read_events("run_1", 0)
    with pytest.raises(errors.EventExpired):
        await store.read_events("run_1", 2)
    assert (await store.read_events("run_1", 3)).ended
    assert (await store.run_lease("run_1")).kept_after == 3
    assert len(await whole_log(store, "run_2")) == 3
    assert len(await whole_log(store, "run_3")) == 2
    assert (await store.get(Run, "ann", "run_1")).status is Status.COMPLETED


NASTY = ["\x00", "a\x00b", "\u2028\u2029", "\x85\x0b\x0c", "\n\r\n", "👩‍👩‍👧", '"\\', "ﬀ", ""]


@pytest.mark.parametrize("text", NASTY)
async def test_any_text_comes_back_as_it_went_in(store: Store, text: str) -> None:
    thread = a_thread(title=text)
    message = a_message(1, text, metadata={"note": text})
    await store.change(
        ReadSet(owner="ann"),
        lambda records: ChangeSet(
            owner="ann",
            thread=replace(thread, messages=1, version=1),
            messages=(message,),
        ),
    )
    await add_run(store, wanted=True)
    claim = await store.claim(take())
    assert claim is not None
    await append(store, claim, 3, text, text)

    assert (await store.get(Thread, "ann", "thread_1")).title == text
    assert await store.get(Message, "ann", message.id) == message
    assert (await store.context("thread_1")).chat == to_chat_completions(message)
    assert await whole_log(store, "run_1", 2) == lines(text, text)
    page = await store.list(Thread, "ann", limit=9, query=text)
    is_findable = index_words(text) or not text.strip()
    assert [each.id for each in page.data] == (["thread_1"] if is_findable else [])


# Contexts


def assert_context_is_joined(context: Any, messages: Sequence[Message]) -> None:
    pieces = [to_chat_completions(message) for message in messages]
    assert context.chat == b",".join(pieces)
    assert context.messages == len(messages)
    assert context.tokens == sum(tokens(len(piece)) for piece in pieces)
    marked_messages = [message for message in messages if message.role in ("user", "system")]
    assert [(mark.number, mark.role) for mark in context.landmarks] == [
        (message.number, message.role if message.compacts is None else "summary")
        for message in marked_messages
    ]
    assert context.compacted == any(message.compacts is not None for message in marked_messages)
    for mark, message in zip(context.landmarks, marked_messages, strict=True):
        assert context.chat[mark.offset : mark.offset + mark.length] == to_chat_completions(message)
        before = [
            piece for piece, each in zip(pieces, messages, strict=True) if each.number < mark.number
        ]
        assert mark.tokens_before == sum(tokens(len(piece)) for piece in before)


def a_conversation(length: int) -> list[Message]:
    """Return messages of every role, with calls, in text of one to four bytes a letter."""
    messages: list[Message] = []
    roles = ("system", "user", "assistant", "tool", "assistant", "user")
    for number in range(1, length + 1):
        role = roles[number % len(roles)]
        calls = (ToolCall(f"call_{number}", "look", "{}"),) if role == "assistant" else ()
        messages.append(
            a_message(
                number,
                f"{number} aé漢👩" * (number % 7),
                role=role,
                tool_calls=calls,
                tool_call_id=f"call_{number - 1}" if role == "tool" else None,
            )
        )
    return messages


@pytest.mark.parametrize("length", [0, 1, 2, 50, 700])
async def test_a_context_is_the_chat_of_its_messages_joined(store: Store, length: int) -> None:
    await add_thread(store)
    messages = a_conversation(length)
    for start in range(0, length, 40):
        read_set = ReadSet(owner="ann", thread_id="thread_1")
        await store.change(read_set, say(*messages[start : start + 40]))
    context = await store.context("thread_1")

    assert_context_is_joined(context, messages)
    assert context.version == await store.thread_version("thread_1")
    assert msgspec.json.decode(b"[" + context.chat + b"]") is not None


@pytest.mark.parametrize("at", [1, 40, 64, 65, 128, 129, 250])
async def test_a_context_says_where_its_summaries_are(store: Store, at: int) -> None:
    await add_thread(store)
    before, after = a_conversation(at - 1), a_conversation(300)[at:]
    summary = a_message(at, "All of it.", role="system", compacts=at // 2)
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await store.change(read_set, say(*before))
    context_before = await store.context("thread_1")
    await store.change(read_set, say(summary))
    await store.change(read_set, say(*after))

    assert_context_is_joined(context_before, before)
    assert_context_is_joined(await store.context("thread_1"), [*before, summary, *after])
    assert await store.get(Message, "ann", summary.id) == summary


async def test_a_text_that_looks_like_a_summary_is_none(store: Store) -> None:
    await add_thread(store)
    message = a_message(1, '{"role":"user","antiphon:compacts":1,"summary":[1,"summary",0,9,0]}')
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(message))

    assert_context_is_joined(await store.context("thread_1"), [message])


@pytest.mark.parametrize("keep", [0, 1, 63, 64, 65, 128, 200, 299])
async def test_a_context_is_right_after_a_cut_anywhere(store: Store, keep: int) -> None:
    await add_thread(store)
    messages = a_conversation(300)
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await store.change(read_set, say(*messages))
    new_messages = [a_message(keep + place, f"new {place}") for place in range(1, 150)]

    def cut(records: Snapshot) -> ChangeSet:
        assert records.thread is not None
        thread = replace(records.thread, messages=keep + len(new_messages), version=99)
        return ChangeSet(thread=thread, keep_messages=keep, messages=tuple(new_messages))

    await store.change(read_set, cut)

    assert_context_is_joined(await store.context("thread_1"), messages[:keep] + new_messages)


@settings(
    max_examples=settings.default.max_examples,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 150)),
            st.tuples(st.just("cut"), st.integers(0, 300)),
            st.tuples(st.just("fill"), st.permutations(range(1, 6))),
        ),
        max_size=8,
    )
)
async def test_a_context_is_right_whatever_became_of_its_thread(
    opener: Opener, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]
) -> None:
    async with open_store(opener, tmp_path_factory.mktemp("contexts"), Clock()) as store:
        await add_thread(store)
        read_set = ReadSet(owner="ann", thread_id="thread_1")
        expected: dict[int, Message] = {}

        async def change_thread(*numbers: int, keep: int | None = None) -> None:
            messages = [
                a_message(number, f"{len(expected)} {number}", role=("user", "tool")[number % 2])
                for number in numbers
            ]

            def decide(records: Snapshot) -> ChangeSet:
                change = say(*messages)(records)
                assert change.thread is not None
                if keep is None:
                    return change
                return replace(
                    change, thread=replace(change.thread, messages=keep), keep_messages=keep
                )

            await store.change(read_set, decide)
            expected.update((message.number, message) for message in messages)

        for step, what in steps:
            last = max(expected, default=0)
            if step == "add":
                await change_thread(*range(last + 1, last + 1 + what))
            elif step == "fill":
                for place in what:
                    await change_thread(last + place)
            else:
                await change_thread(keep=min(what, last))
                for number in [number for number in expected if number > what]:
                    del expected[number]

            assert_context_is_joined(
                await store.context("thread_1"), [expected[number] for number in sorted(expected)]
            )


async def test_a_context_is_never_stale(store: Store) -> None:
    await add_thread(store)
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    for number in range(1, 6):
        await store.change(read_set, say(a_message(number, str(number))))
        cached = await store.context("thread_1")
        fresh = await store.context("thread_1", fresh=True)

        assert cached.messages == number
        assert cached == fresh == await store.context("thread_1")


async def test_the_context_of_an_unknown_thread_is_not_found(store: Store) -> None:
    with pytest.raises(errors.NotFound):
        await store.context("thread_9")
    with pytest.raises(errors.NotFound):
        await store.thread_version("thread_9")


# Getting, listing, searching


async def test_another_owners_thing_is_as_if_it_were_not_there(store: Store) -> None:
    await add_thread(store)
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(a_message(1, "mine")))
    claim = await add_run(store)
    await store.put("ann", Assistant(id="asst_1", created_at=1, updated_at=1))
    upload = Upload(id="file_1", name="a", media_type="text/plain", size=1, created_at=1)
    await store.put("ann", upload, content=b"a")
    await store.change(
        ReadSet(owner=None, run_id=claim.id), lambda records: ChangeSet(actions=(an_action(1),))
    )
    records_of_ann = [
        (Thread, "thread_1"),
        (Message, a_message(1, "mine").id),
        (Run, "run_1"),
        (Action, an_action(1).id),
        (Assistant, "asst_1"),
        (Upload, "file_1"),
    ]

    for kind, name in records_of_ann:
        assert (await store.get(kind, "ann", name)).id == name
        assert (await store.get(kind, None, name)).id == name
        faults = []
        for owner, record_id in (("bob", name), ("ann", "never"), ("bob", "never")):
            with pytest.raises(errors.NotFound) as fault:
                await store.get(kind, owner, record_id)
            faults.append(fault.value.message.replace(record_id, "X"))
        assert len(set(faults)) == 1
        where = {Message: {"thread_id": "thread_1"}, Action: {"run_id": "run_1"}}.get(kind, {})
        assert (await store.list(kind, "bob", limit=9, **where)).data == []
        assert [each.id for each in (await store.list(kind, "ann", limit=9, **where)).data] == [
            name
        ]
        with pytest.raises(errors.NotFound):
            await store.list(kind, "bob", limit=9, after=name, **where)
    with pytest.raises(errors.NotFound):
        await store.content("bob", "file_1")


async def test_lists_of_threads_and_runs_begin_with_the_newest(store: Store) -> None:
    for number in (3, 1, 2):
        await add_thread(store, number)
        await add_run(store, number, f"thread_{number}")

    assert await page_through(store, Thread, 2) == ["thread_2", "thread_1", "thread_3"]
    assert await page_through(store, Run, 2) == ["run_2", "run_1", "run_3"]
    assert await page_through(store, Run, 2, thread_id="thread_1") == ["run_1"]


async def test_lists_of_messages_and_actions_begin_with_the_oldest(store: Store) -> None:
    await add_thread(store)
    messages = [a_message(number, "x") for number in range(1, 6)]
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(*messages))
    await add_run(store)
    actions = [an_action(number) for number in (5, 1, 4)]
    actions[1] = replace(actions[1], status="completed")
    await store.change(
        ReadSet(owner=None, run_id="run_1"), lambda records: ChangeSet(actions=tuple(actions))
    )

    assert await page_through(store, Message, 2, thread_id="thread_1") == [
        message.id for message in messages
    ]
    assert await page_through(store, Message, 2, thread_id="thread_1", order="newest") == [
        message.id for message in reversed(messages)
    ]
    assert await page_through(store, Action, 2, run_id="run_1") == [each.id for each in actions]
    assert await page_through(store, Action, 2, run_id="run_1", status="pending") == [
        actions[0].id,
        actions[2].id,
    ]


async def test_a_page_of_large_things_ends_early_and_says_that_there_is_more(
    store: Store,
) -> None:
    await add_thread(store)
    large = "x" * (LIST_PAGE_BYTES * 2 // 5)
    texts = (large, large, large, "small", large * 3, "small")
    messages = [a_message(number, text) for number, text in enumerate(texts, 1)]
    for message in messages:
        await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(message))

    sizes: list[int] = []
    after = None
    while True:
        page = await store.list(Message, "ann", limit=4, after=after, thread_id="thread_1")
        sizes.append(len(page.data))
        after = page.data[-1].id
        if not page.has_more:
            break

    assert sizes == [2, 2, 1, 1]
    assert await page_through(store, Message, 4, thread_id="thread_1") == [
        message.id for message in messages
    ]


async def test_a_page_of_large_runs_of_everybody_ends_early(store: Store) -> None:
    for number in (1, 2, 3):
        await add_thread(store, number)
        run = a_run(number, f"thread_{number}", instructions="x" * (LIST_PAGE_BYTES * 2 // 5))
        await store.change(ReadSet(owner="ann", thread_id=run.thread_id), begin(run))

    first = await store.live_runs(9)
    rest = await store.live_runs(9, after="run_2")

    assert [run.id for _, run in first.data] == ["run_3", "run_2"]
    assert first.has_more
    assert [run.id for _, run in rest.data] == ["run_1"]
    assert not rest.has_more


@pytest.mark.parametrize("kind", [Assistant, Thread, Message, Run, Action, Upload])
async def test_a_list_after_an_unknown_id_is_not_found(store: Store, kind: type[Any]) -> None:
    with pytest.raises(errors.NotFound):
        await store.list(kind, "ann", limit=9, after="never")


async def test_a_search_finds_words_of_a_title_or_of_one_message(store: Store) -> None:
    await add_thread(store, 1, title="A trip to Łódź")
    await add_thread(store, 2)
    await add_thread(store, 3)
    read_set = ReadSet(owner="ann", thread_id="thread_2")
    texts = ("100% of the_flights", "leave early")
    messages = [a_message(place, text, "thread_2") for place, text in enumerate(texts, 1)]
    await store.change(read_set, say(*messages))

    async def search(query: str) -> list[str]:
        return [each.id for each in (await store.list(Thread, "ann", limit=9, query=query)).data]

    assert await search("łódź TRIP") == ["thread_1"]
    assert await search("Lodz") == ["thread_1"]
    assert await search("ights") == []
    assert await search("100%") == ["thread_2"]
    assert await search("the_fl") == ["thread_2"]
    assert await search("LEAVE") == ["thread_2"]
    assert await search("flights early") == []
    assert await search("%") == []
    assert await search("' OR 1=1 --") == []
    assert await search("  ") == ["thread_3", "thread_2", "thread_1"]


@settings(
    max_examples=2 * settings.default.max_examples,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    limit=st.integers(1, 5),
    thread_count=st.integers(1, 12),
    steps=st.lists(st.one_of(st.just("add"), st.integers(0, 11)), max_size=8),
)
async def test_pages_under_inserts_and_deletes_neither_repeat_nor_skip(
    opener: Opener,
    tmp_path_factory: pytest.TempPathFactory,
    limit: int,
    thread_count: int,
    steps: list[str | int],
) -> None:
    async with open_store(opener, tmp_path_factory.mktemp("paging"), Clock()) as store:
        for number in range(thread_count):
            await add_thread(store, number)
        listed_ids: list[str] = []
        deleted_ids: set[str] = set()
        after = None
        changes = iter(enumerate(steps))
        while True:
            page = await store.list(Thread, "ann", limit=limit, after=after)
            listed_ids += [thread.id for thread in page.data]
            if not page.has_more:
                break
            after = listed_ids[-1]
            place, step = next(changes, (0, None))
            if step == "add":
                await add_thread(store, 100 + place)
            elif (
                isinstance(step, int)
                and step < thread_count
                and f"thread_{step}" not in {after} | deleted_ids
            ):
                deleted_ids.add(f"thread_{step}")
                await store.delete(Thread, "ann", f"thread_{step}")

        stayed = [f"thread_{number}" for number in reversed(range(thread_count))]
        assert len(listed_ids) == len(set(listed_ids))
        assert [one for one in listed_ids if one not in deleted_ids] == [
            one for one in stayed if one not in deleted_ids
        ]


# Putting and removing


async def test_what_is_put_is_there(store: Store) -> None:
    first = Assistant(id="asst_1", name="first", created_at=1, updated_at=1)
    second = replace(first, id="asst_2")

    assert await store.put("ann", first) == first
    assert await store.put("ann", second) == second
    assert await store.get(Assistant, "ann", "asst_1") == first
    assert await page_through(store, Assistant, 9) == ["asst_2", "asst_1"]


@pytest.mark.parametrize("owner", ["ann", "bob"])
async def test_nothing_is_put_in_the_place_of_another_thing(store: Store, owner: str) -> None:
    mine = Assistant(id="asst_1", name="mine", created_at=1, updated_at=1)
    upload = Upload(id="file_1", name="mine", media_type="a/b", size=1, created_at=1)
    await store.put("ann", mine)
    await store.put("ann", upload, content=b"a")

    with pytest.raises(errors.Internal):
        await store.put(owner, replace(mine, name="other"))
    with pytest.raises(errors.Internal):
        await store.put(owner, replace(upload, name="other"), content=b"b")
    assert await store.get(Assistant, None, "asst_1") == mine
    assert await store.get(Upload, None, "file_1") == upload
    assert await store.content(None, "file_1") == b"a"


async def test_an_assistant_is_changed_from_what_it_is_when_it_is_changed(store: Store) -> None:
    await store.put("ann", Assistant(id="asst_1", created_at=1, updated_at=1))

    def count(assistant: Assistant) -> Assistant:
        return replace(assistant, name=f"{assistant.name}x", updated_at=assistant.updated_at + 1)

    versions = await asyncio.gather(
        *(store.update_record(Assistant, "ann", "asst_1", count) for _ in range(16))
    )

    assert sorted(len(assistant.name) for assistant in versions) == list(range(1, 17))
    assert await store.get(Assistant, "ann", "asst_1") == max(versions, key=lambda a: a.updated_at)


async def test_an_assistant_that_is_gone_or_cannot_be_changed_stays_so(store: Store) -> None:
    mine = Assistant(id="asst_1", name="mine", created_at=1, updated_at=1)
    await store.put("ann", mine)

    def refuse(assistant: Assistant) -> Assistant:
        raise errors.InvalidRequest("no")

    with pytest.raises(errors.InvalidRequest):
        await store.update_record(Assistant, "ann", "asst_1", refuse)
    with pytest.raises(errors.NotFound):
        await store.update_record(Assistant, "bob", "asst_1", lambda it: replace(it, name="taken"))
    assert await store.get(Assistant, "ann", "asst_1") == mine
    await store.delete(Assistant, "ann", "asst_1")
    with pytest.raises(errors.NotFound):
        await store.update_record(Assistant, "ann", "asst_1", lambda it: it)
    assert await page_through(store, Assistant, 9) == []


async def test_folders_are_kept_for_each_owner_up_to_the_limit(store: Store) -> None:
    def a_folder(number: int) -> Folder:
        return Folder(id=f"folder_{number}", name=f"f{number}", created_at=1, updated_at=1)

    for number in range(MAX_FOLDERS - 1):
        await store.put("ann", a_folder(number))
    outcomes = await asyncio.gather(
        *(store.put("ann", a_folder(number)) for number in range(1000, 1008)),
        return_exceptions=True,
    )
    await store.put("bob", a_folder(2000))

    assert [type(each) for each in outcomes].count(errors.Conflict) == 7
    assert len(await page_through(store, Folder, 100)) == MAX_FOLDERS
    assert (await store.list(Folder, "bob", limit=9)).data == [a_folder(2000)]
    with pytest.raises(errors.NotFound):
        await store.update_record(Folder, "bob", "folder_1", lambda it: replace(it, name="taken"))
    with pytest.raises(errors.NotFound):
        await store.delete(Folder, "bob", "folder_1")
    renamed = await store.update_record(
        Folder, "ann", "folder_1", lambda it: replace(it, name="new")
    )
    assert await store.get(Folder, "ann", "folder_1") == renamed
    await store.delete(Folder, "ann", "folder_1")
    with pytest.raises(errors.NotFound):
        await store.get(Folder, None, "folder_1")


async def test_a_rating_changes_its_message_and_nothing_else(store: Store) -> None:
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await add_thread(store)
    question, reply = a_message(1, "question"), a_message(2, "reply", role="assistant")
    await store.change(read_set, say(question, reply))
    thread, context = await store.get(Thread, "ann", "thread_1"), await store.context("thread_1")

    rated = await store.save_feedback(
        "ann", reply.id, Feedback(rating="down", comment="no \0 \u2028", created_at=7)
    )

    assert rated.feedback == Feedback(rating="down", comment="no \0 \u2028", created_at=7)
    assert (await store.list(Message, "ann", limit=9, thread_id="thread_1")).data == [
        question,
        rated,
    ]
    assert await store.get(Thread, "ann", "thread_1") == thread
    assert await store.context("thread_1") == context
    assert await store.save_feedback("ann", reply.id, None) == reply
    assert await store.get(Message, "ann", reply.id) == reply


async def test_a_message_that_is_gone_or_of_another_owner_cannot_be_rated(store: Store) -> None:
    await add_thread(store)
    reply = a_message(1, "reply", role="assistant")
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(reply))
    feedback = Feedback(rating="up", created_at=1)

    with pytest.raises(errors.NotFound):
        await store.save_feedback("bob", reply.id, feedback)
    with pytest.raises(errors.NotFound):
        await store.save_feedback("ann", "msg_none", feedback)
    assert await store.get(Message, "ann", reply.id) == reply


async def test_a_repeated_put_gets_the_answer_that_was_kept(store: Store) -> None:
    first = Assistant(id="asst_1", created_at=1, updated_at=1)
    await store.put("ann", first, an_idempotency_key())
    answer = await store.put("ann", replace(first, id="asst_2"), an_idempotency_key())

    assert msgspec.json.decode(answer, type=Assistant) == first
    assert await page_through(store, Assistant, 9) == ["asst_1"]
    with pytest.raises(errors.IdempotencyConflict):
        await store.put("ann", first, an_idempotency_key(b"other"))


async def test_an_upload_keeps_its_bytes(store: Store) -> None:
    content = bytes(range(256)) * 100
    upload = Upload(id="file_1", name="b", media_type="a/b", size=len(content), created_at=1)
    await store.put("ann", upload, content=content)

    assert await store.get(Upload, "ann", "file_1") == upload
    assert await store.content("ann", "file_1") == content
    assert await store.content(None, "file_1") == content
    pieces = [await store.content("ann", "file_1", at, 10_000) for at in range(0, 40_000, 10_000)]
    assert [len(piece) for piece in pieces] == [10_000, 10_000, 5_600, 0]
    assert b"".join(pieces) == content
    with pytest.raises(errors.NotFound):
        await store.content("ann", "file_2")


async def test_a_deleted_thread_takes_everything_with_it(store: Store) -> None:
    claim = await add_claimed(store, 1)
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), say(a_message(1, "canary")))
    await append(store, claim, 3, "canary")
    await store.change(
        ReadSet(owner=None, run_id="run_1"), lambda records: ChangeSet(actions=(an_action(1),))
    )
    await store.context("thread_1")
    await add_claimed(store, 2)
    await store.delete(Thread, "ann", "thread_1")

    for kind, name in (
        (Thread, "thread_1"),
        (Run, "run_1"),
        (Message, a_message(1, "canary").id),
        (Action, an_action(1).id),
    ):
        with pytest.raises(errors.NotFound):
            await store.get(kind, "ann", name)
    with pytest.raises(errors.NotFound):
        await store.read_events("run_1", 0)
    with pytest.raises(errors.NotFound):
        await store.context("thread_1")
    with pytest.raises(errors.Fenced):
        await append(store, claim, 4, "canary")
    assert await store.renew_leases({"run_1": 1, "run_2": 1}, 1) == {"run_1"}
    assert await page_through(store, Thread, 9) == ["thread_2"]
    assert len(await whole_log(store, "run_2")) == 2


async def test_the_runtime_deletes_without_naming_the_owner(store: Store) -> None:
    await add_thread(store, 1)

    await store.delete(Thread, None, "thread_1")

    with pytest.raises(errors.NotFound):
        await store.delete(Thread, None, "thread_1")


async def test_the_log_of_a_deleted_thread_is_gone_and_others_stay(store: Store) -> None:
    for number in (1, 2):
        await add_claimed(store, number)
    before = await store.read_events("run_2", 0)

    await store.delete(Thread, "ann", "thread_1")

    assert store.find_cached_events("run_1", 0) is None
    assert (await store.read_events("run_2", 0)).lines == before.lines
    with pytest.raises(errors.NotFound):
        await store.read_events("run_1", 0)


async def test_only_the_owner_can_delete(store: Store) -> None:
    await add_thread(store)
    await store.put("ann", Assistant(id="asst_1", created_at=1, updated_at=1))

    upload = Upload(id="file_1", name="a", media_type="text/plain", size=4, created_at=1)
    await store.put("ann", upload, content=b"deed")

    for kind, name in ((Thread, "thread_1"), (Assistant, "asst_1"), (Upload, "file_1")):
        with pytest.raises(errors.NotFound):
            await store.delete(kind, "bob", name)
        await store.delete(kind, "ann", name)
        with pytest.raises(errors.NotFound):
            await store.delete(kind, "ann", name)

    assert not (await store.list(Upload, "ann", limit=1)).data
    with pytest.raises(errors.NotFound):
        await store.content("ann", "file_1")


# The installation


async def test_a_key_is_found_by_its_prefix_until_and_after_it_is_revoked(
    store: Store, clock: Clock
) -> None:
    first = Key(id="key_1", owner="ann", name="laptop", prefix="ak_1", created_at=1)
    second = Key(id="key_2", owner="bob", name="", prefix="ak_2", scopes=("read",), created_at=2)
    await store.add_key(first, b"\x00digest")
    await store.add_key(second, b"other")
    assert await store.find_key("ak_1") == (first, b"\x00digest")
    assert await store.find_key("ak") is None
    assert list(await store.keys()) == [first, second]

    revoked = await store.revoke_key("key_1")
    assert revoked == replace(first, revoked_at=clock.now)
    clock.now += 1
    assert await store.revoke_key("key_1") == revoked
    assert await store.find_key("ak_1") == (revoked, b"\x00digest")
    with pytest.raises(errors.NotFound):
        await store.revoke_key("key_9")


async def test_the_secret_stays_the_same(store: Store) -> None:
    secrets = await asyncio.gather(*(store.installation_secret() for _ in range(4)))

    assert len(set(secrets)) == 1
    assert len(secrets[0]) == 32


async def test_the_time_is_the_stores(store: Store, clock: Clock) -> None:
    clock.now = 77

    assert await store.now() == 77


async def test_a_store_that_works_says_so(store: Store) -> None:
    await store.check()


async def test_many_kinds_of_calls_at_once_all_succeed(store: Store) -> None:
    claims = [await add_claimed(store, number) for number in range(20)]

    async def drive(claim: Claim) -> None:
        for number in range(20):
            await append(store, claim, 3 + number, "x" * number, urgent=number % 5 == 0)
            await store.read_events(claim.run.id, number)
        await store.change(
            ReadSet(owner=None, run_id=claim.run.id, turn_log=True), move(Status.COMPLETED)
        )

    async with asyncio.timeout(30):
        await asyncio.gather(*map(drive, claims))

    for claim in claims:
        assert len(await whole_log(store, claim.run.id)) == 23


async def test_two_stores_side_by_side_are_strangers(opener: Opener, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stores: list[Store] = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            stores.append(
                await stack.enter_async_context(open_store(opener, tmp_path / name, Clock()))
            )
        await add_thread(stores[0])

        assert await page_through(stores[1], Thread, 9) == []


# People


def a_person(number: int = 1, name: str = "Ann", **fields: Any) -> Person:
    return Person(id=f"person_{number}", name=name, created_at=number, **fields)


def rename(name: str) -> AmendAccount:
    return lambda account, others: replace(account, person=replace(account.person, name=name))


async def test_a_person_is_found_by_id_by_name_whatever_its_case_and_by_subject(
    store: Store,
) -> None:
    ann = Account(a_person(1, "Ann STRAẞE", subject="https://id|1"), "hash")
    ben = Account(a_person(2, "Ben"))
    await store.add_person(ann)
    await store.add_person(ben)

    assert list(await store.people()) == [ann.person, ben.person]
    assert await store.find_person(id="person_1") == ann
    assert await store.find_person(name="ann strasse") == ann
    assert await store.find_person(subject="https://id|1") == ann
    assert await store.find_person(name="ＢＥＮ") == ben
    assert await store.find_person(name="ann") is None
    assert await store.find_person(subject="https://id|2") is None
    assert await store.find_person(id="person_3") is None


async def test_no_two_people_share_a_name_or_a_subject(store: Store) -> None:
    await store.add_person(Account(a_person(1, "Ann", subject="a")))
    await store.add_person(Account(a_person(2, "Ben", subject="b")))
    await store.add_person(Account(a_person(3, "Cem")))
    await store.add_person(Account(a_person(4, "Dan")))
    before = list(await store.people())

    for twin in (a_person(5, "ANN"), a_person(5, "Eve", subject="a")):
        with pytest.raises(errors.Conflict):
            await store.add_person(Account(twin))
    with pytest.raises(errors.Conflict):
        await store.change_person("person_2", rename("aNN"))

    assert list(await store.people()) == before
    assert await store.change_person("person_2", rename("BEN")) is not None


async def test_a_change_of_a_person_is_told_whether_somebody_else_governs(store: Store) -> None:
    await store.add_person(Account(a_person(1, "Ann", role="admin")))
    await store.add_person(Account(a_person(2, "Ben")))
    await store.add_person(Account(a_person(3, "Cem", role="admin", disabled=True)))
    answers: list[bool] = []

    def record_answer(account: Account, others: bool) -> Account:
        answers.append(others)
        return account

    for person in ("person_1", "person_2", "person_3"):
        await store.change_person(person, record_answer)

    assert answers == [False, True, True]


async def test_a_person_is_changed_as_a_whole_or_not_at_all(store: Store) -> None:
    await store.add_person(Account(a_person()))

    def fail(account: Account, others: bool) -> Account:
        raise errors.Conflict("no")

    with pytest.raises(errors.Conflict):
        await store.change_person("person_1", fail)
    with pytest.raises(errors.NotFound):
        await store.change_person("person_9", rename("Eve"))
    assert await store.find_person(id="person_1") == Account(a_person())

    changed_account = Account(a_person(generation=2), "hash")
    assert (
        await store.change_person("person_1", lambda account, others: changed_account)
        == changed_account
    )
    assert await store.find_person(name="ann") == changed_account
    assert await store.change_person("person_1", lambda account, others: None) is None
    assert list(await store.people()) == []


async def test_names_are_given_once_however_many_ask_at_once(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.add_person(Account(a_person(number, "Ann"))) for number in range(8)),
        return_exceptions=True,
    )

    assert sum(each is None for each in outcomes) == 1
    assert len(await store.people()) == 1


# Live runs of all owners, and usage


async def test_runs_of_everybody_that_have_not_ended_are_listed_newest_first(store: Store) -> None:
    for number, owner in enumerate(("ann", "bob", "ann", "cem"), 1):
        await add_thread(store, number, owner)
        read_set = ReadSet(owner=owner, thread_id=f"thread_{number}")
        run = a_run(number, f"thread_{number}")
        await store.change(read_set, lambda records, run=run: _begin_run(run, records))
    await store.change(ReadSet(owner=None, run_id="run_3"), move(Status.CANCELLED))

    page = await store.live_runs(2)
    rest = await store.live_runs(2, after="run_2")

    assert [(owner, run.id) for owner, run in page.data] == [("cem", "run_4"), ("bob", "run_2")]
    assert page.has_more
    assert [(owner, run.id) for owner, run in rest.data] == [("ann", "run_1")]
    assert not rest.has_more
    with pytest.raises(errors.NotFound):
        await store.live_runs(2, after="run_9")


def _begin_run(run: Run, records: Snapshot) -> ChangeSet:
    assert records.thread is not None
    return ChangeSet(run_updates=(RunUpdate(run, RunLease(last_event=1), (status_of(run),)),))


async def test_what_runs_used_is_summed_by_day_owner_and_model(store: Store, clock: Clock) -> None:
    usage = Usage(input_tokens=5, output_tokens=3, cached_tokens=2, reasoning_tokens=1, cost=0.1)
    clock.now = 1_763_683_200_000  # 2025-11-21 in UTC, to the millisecond
    await spend(store, 1, usage)
    await spend(store, 2, replace(usage, cost=0.2))
    await spend(store, 3, replace(usage, cost=None))
    await spend(store, 4, Usage(), "other")
    clock.now -= 1
    await spend(store, 5, usage)
    await add_thread(store, 6)
    await add_run(store, 6, "thread_6")
    await store.delete(Thread, "ann", "thread_1")

    rows = list(await store.usage("2025-11-20", 9))

    assert rows == [
        UsageRow(day="2025-11-21", owner="ann", model="other", runs=1),
        UsageRow(
            day="2025-11-21",
            owner="ann",
            model="demo",
            runs=3,
            unpriced=1,
            input_tokens=15,
            output_tokens=9,
            cached_tokens=6,
            reasoning_tokens=3,
            cost=0.3,
        ),
        UsageRow(
            day="2025-11-20",
            owner="ann",
            model="demo",
            runs=1,
            input_tokens=5,
            output_tokens=3,
            cached_tokens=2,
            reasoning_tokens=1,
            cost=0.1,
        ),
    ]
    assert list(await store.usage("2025-11-21", 1)) == rows[:1]
    assert list(await store.usage("2025-11-22", 9)) == []


async def test_threads_that_were_forked_from_one_are_found(store: Store) -> None:
    await add_thread(store, 1)
    await add_thread(store, 2, parent_id="thread_1")
    await add_thread(store, 3, parent_id="thread_2")
    await add_thread(store, 4, parent_id="thread_1")
    await add_thread(store, 5, owner="bob", parent_id="thread_1")

    assert await page_through(store, Thread, 1, parent_id="thread_1") == ["thread_4", "thread_2"]
    assert await page_through(store, Thread, 9, parent_id="thread_9") == []
