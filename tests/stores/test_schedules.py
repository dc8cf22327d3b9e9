"""Promises of every store about schedules; see `ScheduleStore` in `ports`."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, ReadSet, ScheduleUpdate
from antiphon.ports import Store
from antiphon.types import errors
from antiphon.types.runs import Run, Thread
from antiphon.types.schedules import StoredSchedule
from tests.support.stores.openers import Clock
from tests.support.stores.schedules import (
    a_schedule,
    a_schedule_entry,
    add_schedule,
    start,
    start_once,
)


async def test_schedules_are_listed_oldest_first_and_by_owner(store: Store) -> None:
    first = await add_schedule(store, 1)
    other = await add_schedule(store, 2, owner="bob")
    last = await add_schedule(store, 3, cron=None, run_at=5, next_at=None)

    assert list(await store.schedules("ann")) == [first, last]
    assert list(await store.schedules(None)) == [first, other, last]
    assert await store.find_schedule("ann", "sched_1") == first


async def test_a_schedule_of_another_owner_is_not_found(store: Store) -> None:
    stored = await add_schedule(store)

    with pytest.raises(errors.NotFound):
        await store.find_schedule("bob", "sched_1")
    with pytest.raises(errors.NotFound):
        await store.change_schedule("bob", "sched_1", lambda _: None, a_schedule_entry(2))
    with pytest.raises(errors.NotFound):
        await store.occurrences("bob", "sched_1", 10)
    of_bob = ReadSet(owner="bob", schedule_id="sched_1")
    assert (await store.change(of_bob, start_once(stored))).change is None


async def test_an_owner_has_a_limited_number_of_schedules_however_many_are_added_at_once(
    store: Store,
) -> None:
    outcomes = await asyncio.gather(
        *(store.add_schedule(a_schedule(n), 2, a_schedule_entry(n)) for n in range(5)),
        return_exceptions=True,
    )

    assert sum(isinstance(each, errors.Conflict) for each in outcomes) == 3
    assert len(await store.schedules("ann")) == 2
    assert len((await store.audit_entries(10)).data) == 2


async def test_a_change_of_a_schedule_is_stored_with_its_audit_entry_or_not_at_all(
    store: Store,
) -> None:
    stored = await add_schedule(store)
    renamed = replace(stored, schedule=replace(stored.schedule, name="new"), key_id=None)

    def refuse(_: StoredSchedule) -> StoredSchedule:
        raise errors.Conflict("Not now.")

    with pytest.raises(errors.Conflict):
        await store.change_schedule("ann", "sched_1", refuse, a_schedule_entry(2))
    await store.change_schedule("ann", "sched_1", lambda same: same, a_schedule_entry(3))
    changed = await store.change_schedule("ann", "sched_1", lambda _: renamed, a_schedule_entry(4))

    assert changed == renamed.schedule
    assert await store.find_schedule("ann", "sched_1") == renamed
    ids = [entry.id for entry in (await store.audit_entries(10)).data]
    assert ids == ["audit_sched_4", "audit_sched_1"]


async def test_schedules_are_due_when_their_time_has_come(store: Store, clock: Clock) -> None:
    assert await store.next_schedule_time() is None
    for number, next_at in enumerate((1_300_000, 1_200_000, None, 1_200_001), 1):
        await add_schedule(store, number, next_at=next_at)

    assert await store.next_schedule_time() == 1_200_000
    assert not await store.due_schedules(10)
    clock.now = 1_200_000
    assert [each.schedule.id for each in await store.due_schedules(10)] == ["sched_2"]
    clock.now = 2_000_000
    due = [each.schedule.id for each in await store.due_schedules(2)]
    assert due == ["sched_1", "sched_2"]
    assert [each.schedule.id for each in await store.due_schedules(2, "sched_2")] == ["sched_4"]


async def test_an_occurrence_is_started_together_with_the_move_of_its_schedule(
    store: Store, clock: Clock
) -> None:
    stored = await add_schedule(store)
    clock.now = 1_200_000

    assert (await start(store, stored)).answer == "run_1"

    schedule = (await store.find_schedule("ann", "sched_1")).schedule
    assert (schedule.next_at, schedule.last_run_id) == (1_800_000, "run_1")
    (occurrence,) = (await store.occurrences("ann", "sched_1", 10)).data
    assert (occurrence.run_id, occurrence.due_at, occurrence.created_at) == (
        "run_1",
        1_200_000,
        1_200_000,
    )
    assert (await store.get(Run, "ann", "run_1")).thread_id == "thread_1"


async def test_of_many_programs_that_start_an_occurrence_one_does(
    store: Store, clock: Clock
) -> None:
    stored = await add_schedule(store)
    clock.now = 1_200_000

    outcomes = await asyncio.gather(*(start(store, stored, number) for number in range(1, 6)))

    assert sum(each.change is not None for each in outcomes) == 1
    assert len((await store.list(Run, "ann", limit=10)).data) == 1
    assert len((await store.list(Thread, "ann", limit=10)).data) == 1
    assert len((await store.occurrences("ann", "sched_1", 10)).data) == 1


async def test_a_change_of_the_schedule_forestalls_a_start_that_was_decided_before_it(
    store: Store, clock: Clock
) -> None:
    stored = await add_schedule(store)
    paused = replace(stored, schedule=replace(stored.schedule, next_at=None, paused=True))
    clock.now = 1_200_000
    await store.change_schedule("ann", "sched_1", lambda _: paused, a_schedule_entry(2))

    assert (await start(store, stored)).change is None
    assert not (await store.list(Run, "ann", limit=10)).data


async def test_a_start_that_is_refused_leaves_the_schedule_as_it_was(
    store: Store, clock: Clock
) -> None:
    stored = await add_schedule(store)
    clock.now = 1_200_000
    await start(store, stored, 1)
    moved_schedule = await store.find_schedule("ann", "sched_1")

    with pytest.raises(errors.AntiphonError):  # the thread's id is taken, and its run active
        await start(store, moved_schedule, 1)

    assert await store.find_schedule("ann", "sched_1") == moved_schedule
    assert len((await store.occurrences("ann", "sched_1", 10)).data) == 1


async def test_a_change_of_a_schedule_that_was_not_read_is_refused(store: Store) -> None:
    stored = await add_schedule(store)

    with pytest.raises(errors.Internal):
        await store.change(
            ReadSet(owner=None), lambda _: ChangeSet(schedule_update=ScheduleUpdate(stored))
        )


async def test_history_is_read_in_pages_newest_first_and_forgotten(
    store: Store, clock: Clock
) -> None:
    stored = await add_schedule(store)
    for number in (1, 2, 3):
        clock.now += 600_000
        await start(store, stored, number)
        stored = await store.find_schedule("ann", "sched_1")

    page = await store.occurrences("ann", "sched_1", 2)
    rest = await store.occurrences("ann", "sched_1", 2, page.data[-1].id)
    assert [each.id for each in (*page.data, *rest.data)] == ["occ_3", "occ_2", "occ_1"]
    assert (page.has_more, rest.has_more) == (True, False)
    with pytest.raises(errors.NotFound):
        await store.occurrences("ann", "sched_1", 2, "occ_9")

    assert await store.delete_occurrences(clock.now, 10) == 2
    assert [each.id for each in (await store.occurrences("ann", "sched_1", 9)).data] == ["occ_3"]


async def test_a_removed_schedule_takes_its_history_along(store: Store, clock: Clock) -> None:
    stored = await add_schedule(store)
    clock.now = 1_200_000
    await start(store, stored)

    assert (
        await store.change_schedule("ann", "sched_1", lambda _: None, a_schedule_entry(2)) is None
    )

    assert not await store.schedules(None)
    await store.add_schedule(stored, 10, a_schedule_entry(3))  # with the same id
    assert not (await store.occurrences("ann", "sched_1", 10)).data
    assert (await store.get(Run, "ann", "run_1")).id == "run_1"


async def test_an_owner_with_schedules_alone_is_listed_and_erased(
    store: Store, clock: Clock
) -> None:
    await add_schedule(store, 1)
    await add_schedule(store, 2, owner="bob")

    assert [each.owner for each in (await store.owners(10)).data] == ["ann", "bob"]
    clock.now = 1_200_000
    await start(store, a_schedule(1))
    while await store.delete_owned("ann", 1):
        pass

    assert [each.owner for each in (await store.owners(10)).data] == ["bob"]
    assert [each.owner for each in await store.schedules(None)] == ["bob"]
