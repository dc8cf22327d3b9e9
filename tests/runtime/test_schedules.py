"""Schedules in a runtime: what is started, when, with which rights, and what is recorded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import (
    CreateAssistant,
    CreateSchedule,
    CreateThread,
    DeleteThread,
    GetSchedule,
    ListActs,
    ListOccurrences,
    ListRuns,
    ListSchedules,
    Operation,
    PreviewSchedule,
    RunSchedule,
    UpdateSchedule,
)
from antiphon.engine.schedules import MAX_FAILURES
from antiphon.ports import SCHEDULES
from antiphon.runtime.scheduler import Scheduler
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.accounts import Account, Key, Limits, Person, Principal, Project
from antiphon.types.runs import Assistant, Destination, Run, Status
from antiphon.types.schedules import Occurrence, Schedule, StoredSchedule
from tests.support.runtime.rig import BY, OWNER, TOOLS, RuntimeRig, open_rig
from tests.support.stores.schedules import a_schedule_entry

MINUTE = 60_000
HOUR = 60 * MINUTE
FIRST = 30 * MINUTE  # the half hour after the clock of a rig begins
EVERY_HALF_HOUR = "*/30 * * * *"


async def send(
    rig: RuntimeRig, call: Operation[Any], by: Principal = BY, key: str | None = None
) -> Any:
    return (await rig.dispatcher.dispatch(call, by, key)).value


async def create(rig: RuntimeRig, by: Principal = BY, **fields: Any) -> Schedule:
    if "run_at" not in fields:
        fields = {"cron": EVERY_HALF_HOUR, **fields}
    created: Schedule = await send(rig, CreateSchedule(message="Report.", **fields), by)
    return created


async def start_due(rig: RuntimeRig) -> bool:
    """Start what is due; return whether something waits."""
    return await Scheduler(rig.store, rig.bus, rig.dispatcher.occurrences, retention=1).start_due()


async def find_schedule(rig: RuntimeRig, schedule: Schedule) -> Schedule:
    fetched: Schedule = await send(rig, GetSchedule(schedule.id))
    return fetched


async def history(rig: RuntimeRig, schedule: Schedule) -> list[Occurrence]:
    return list((await send(rig, ListOccurrences(schedule.id))).data)


async def list_runs(rig: RuntimeRig) -> list[Run]:
    return list((await send(rig, ListRuns())).data)


async def wait_for_end(rig: RuntimeRig, run_id: str | None) -> Run:
    assert run_id is not None
    with rig.bus.subscribe(run_id) as subscription:
        while not (run := await rig.run(run_id)).status.ended:
            await subscription.wait(1)
    return run


async def test_a_due_schedule_sends_its_message_in_a_thread_of_its_own() -> None:
    async with open_rig("say All is well.") as rig:
        schedule = await create(rig, name="Morning", timezone="Europe/Berlin")
        assert schedule.next_at == FIRST
        assert not await start_due(rig)
        assert not await list_runs(rig)

        rig.now = FIRST + 1
        assert not await start_due(rig)

        (occurrence,) = await history(rig, schedule)
        run = await wait_for_end(rig, occurrence.run_id)
        assert (run.status, run.metadata["schedule_id"]) == (Status.COMPLETED, schedule.id)
        assert run.metadata["scheduled_for"] == "1970-01-01T00:30:00Z"
        assert occurrence.thread_id == run.thread_id
        texts = [(each.role, each.text) for each in await rig.messages(run.thread_id)]
        assert texts == [("user", "Report."), ("assistant", "All is well.")]
        thread = await send(rig, operations.GetThread(run.thread_id))
        assert thread.title == "Morning 1970-01-01 01:30"
        schedule_after = await find_schedule(rig, schedule)
        assert (schedule_after.next_at, schedule_after.last_at, schedule_after.last_run_id) == (
            2 * FIRST,
            FIRST,
            run.id,
        )
        (occurrence,) = await history(rig, schedule)
        assert occurrence.run_status == Status.COMPLETED


async def test_a_schedule_of_a_thread_goes_on_with_it() -> None:
    async with open_rig("say One.", "say Two.") as rig:
        thread = await send(rig, CreateThread())
        schedule = await create(rig, thread_id=thread.id)
        for count in (1, 2):
            rig.now = count * FIRST
            await start_due(rig)
            await wait_for_end(rig, (await find_schedule(rig, schedule)).last_run_id)

        texts = [each.text for each in await rig.messages(thread.id)]
        assert texts == ["Report.", "One.", "Report.", "Two."]


async def test_a_run_has_the_least_rights_unless_its_schedule_gives_it_more() -> None:
    async with open_rig("say Hi.", "say Hi.") as rig:
        assistant = await send(rig, CreateAssistant(tools=TOOLS))
        cautious_schedule = await create(rig, assistant_id=assistant.id)
        trusting_schedule = await create(
            rig, assistant_id=assistant.id, allowed_tools=("l*",), max_total_tokens=9, max_cost=1.5
        )
        rig.now = FIRST
        await start_due(rig)
        for schedule in (cautious_schedule, trusting_schedule):
            await wait_for_end(rig, (await find_schedule(rig, schedule)).last_run_id)

        offered_names = sorted(
            [tool.name for tool in request.tools] for request in rig.model.requests
        )
        assert offered_names == [[], ["look"]]
        limits = {(run.max_total_tokens, run.max_cost, run.timeout) for run in await list_runs(rig)}
        assert limits == {(200_000, None, 3600), (9, 1.5, 3600)}


async def test_a_call_that_no_client_answers_ends_with_the_time_of_its_run() -> None:
    async with open_rig('call look {"q":"x"}') as rig:
        assistant = await send(rig, CreateAssistant(tools=TOOLS))
        schedule = await create(
            rig, assistant_id=assistant.id, allowed_tools=("look",), timeout=600
        )
        rig.now = FIRST
        with rig.bus.subscribe("actions") as subscription:
            await start_due(rig)
            await subscription.wait(20)
        run_id = (await find_schedule(rig, schedule)).last_run_id
        (action,) = (await send(rig, operations.ListActions(run_id=run_id))).data
        assert action.expires_at == FIRST + 600_000

        rig.now += 600_000
        await rig.worker.sweeper.sweep()

        assert (await wait_for_end(rig, run_id)).status is Status.EXPIRED


async def test_of_two_programs_that_look_at_once_one_starts_the_run() -> None:
    async with open_rig("say Hi.") as rig:
        schedule = await create(rig)
        rig.now = FIRST
        await asyncio.gather(*(start_due(rig) for _ in range(5)))

        assert len(await list_runs(rig)) == len(await history(rig, schedule)) == 1


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_store_that_fails_before_or_after_the_start_leaves_one_run(
    is_written: bool,
) -> None:
    async with open_rig("say Hi.") as rig:
        schedule = await create(rig)
        rig.now = FIRST
        fail_start = lambda read_set: (  # noqa: E731 - as short as what it is assigned to
            errors.Unavailable("Away.") if read_set.what == "start_schedule" else None
        )
        if is_written:
            rig.store.trouble_after = fail_start
        else:
            rig.store.trouble = fail_start
        with pytest.raises(errors.Unavailable):
            await start_due(rig)
        rig.store.trouble = rig.store.trouble_after = lambda _: None
        assert len(await list_runs(rig)) == is_written

        await start_due(rig)

        assert len(await list_runs(rig)) == len(await history(rig, schedule)) == 1


async def test_an_occurrence_waits_for_the_run_before_it_and_is_then_run_by_its_policy() -> None:
    async with open_rig("wait slow\nsay One.", "say Two.") as rig:
        schedule = await create(rig)
        rig.now = FIRST
        await start_due(rig)
        first = (await find_schedule(rig, schedule)).last_run_id
        await rig.model.gates["slow"].reached.wait()

        rig.now = 3 * FIRST + MINUTE
        assert await start_due(rig)
        assert len(await list_runs(rig)) == 1
        rig.model.gates["slow"].opened.set()
        await wait_for_end(rig, first)
        assert not await start_due(rig)

        newest, missed, oldest = await history(rig, schedule)
        assert [newest.due_at, missed.due_at, oldest.due_at] == [3 * FIRST, 2 * FIRST, FIRST]
        assert (newest.status, missed.status) == ("started", "missed")
        await wait_for_end(rig, newest.run_id)


async def test_a_thread_that_a_person_uses_is_waited_for() -> None:
    async with open_rig("wait slow\nsay One.", "say Two.") as rig:
        thread = await send(rig, CreateThread())
        await create(rig, thread_id=thread.id)
        ask_task = asyncio.create_task(rig.ask(thread_id=thread.id))
        await rig.model.gates["slow"].reached.wait()
        rig.now = FIRST

        assert await start_due(rig)
        rig.model.gates["slow"].opened.set()
        await ask_task
        assert not await start_due(rig)

        assert len(await list_runs(rig)) == 2


async def test_what_was_missed_is_skipped_where_the_schedule_says_so() -> None:
    async with open_rig() as rig:
        schedule = await create(rig, missed="skip")
        rig.now = 2 * FIRST + 20 * MINUTE
        await start_due(rig)

        (occurrence,) = await history(rig, schedule)
        assert (occurrence.status, occurrence.due_at, occurrence.missed_until) == (
            "missed",
            FIRST,
            2 * FIRST,
        )
        assert (await find_schedule(rig, schedule)).next_at == 3 * FIRST
        assert not await list_runs(rig)


async def test_a_single_time_is_run_once_and_is_over() -> None:
    async with open_rig("say Hi.") as rig:
        schedule = await create(rig, run_at=FIRST)
        rig.now = FIRST + HOUR
        await start_due(rig)
        await start_due(rig)

        assert len(await list_runs(rig)) == 1
        assert (await find_schedule(rig, schedule)).next_at is None


async def test_what_cannot_be_started_is_recorded_and_at_last_pauses_the_schedule() -> None:
    async with open_rig() as rig:
        thread = await send(rig, CreateThread())
        schedule = await create(rig, thread_id=thread.id)
        await send(rig, DeleteThread(thread.id))
        for count in range(1, MAX_FAILURES + 1):
            rig.now = count * FIRST
            await start_due(rig)

        occurrences = await history(rig, schedule)
        assert [each.status for each in occurrences] == ["failed"] * MAX_FAILURES
        assert occurrences[0].error is not None
        assert occurrences[0].error.code == "not_found"
        paused_schedule = await find_schedule(rig, schedule)
        assert (paused_schedule.pause_reason, paused_schedule.next_at) == ("failing", None)
        entry = (await send(rig, ListActs())).data[0]
        assert (entry.what, entry.actor, entry.target) == (
            "schedule.paused",
            "backend",
            schedule.id,
        )


def a_key(**fields: Any) -> Key:
    return Key(id="key_1", owner=OWNER, name="n", prefix="p", created_at=1, **fields)


async def test_a_schedule_stops_when_its_key_does() -> None:
    async with open_rig() as rig:
        await rig.store.add_key(a_key(), b"digest")
        schedule = await create(rig, Principal(owner=OWNER, key_id="key_1", actor="key_1"))
        await rig.store.revoke_key("key_1")
        rig.now = FIRST
        await start_due(rig)

        paused_schedule = await find_schedule(rig, schedule)
        assert (paused_schedule.paused, paused_schedule.pause_reason) == (True, "unauthorized")
        assert not await list_runs(rig)
        assert (await send(rig, ListActs())).data[0].details == {"reason": "unauthorized"}


@pytest.mark.parametrize("fields", [{"expires_at": FIRST}, {"scopes": ("read",)}])
async def test_a_key_that_has_expired_or_may_not_write_starts_nothing(
    fields: dict[str, Any],
) -> None:
    async with open_rig() as rig:
        await rig.store.add_key(a_key(**fields), b"digest")
        await create(rig, Principal(owner=OWNER, key_id="key_1"))
        rig.now = FIRST
        await start_due(rig)

        assert not await list_runs(rig)


@pytest.mark.parametrize("is_removed", [False, True])
@pytest.mark.parametrize("owner", ["proj_1", "person_1"])
async def test_a_person_or_project_that_is_disabled_or_removed_starts_nothing(
    owner: str, is_removed: bool
) -> None:
    async with open_rig("say Hi.") as rig:
        by, entry = Principal(owner=owner), a_schedule_entry()
        person = Person(id=owner, name="Ann", created_at=1)
        project = Project(id=owner, name="Moon", created_at=1)
        if owner == "proj_1":
            await rig.store.add_project(project, entry)
        else:
            await rig.store.add_person(Account(person), entry)
        schedule = await create(rig, by)
        if owner == "proj_1":
            project_after = None if is_removed else replace(project, disabled=True)
            await rig.store.change_project(owner, lambda _: project_after, a_schedule_entry(2))
        else:
            account_after = None if is_removed else Account(replace(person, disabled=True))
            await rig.store.change_person(owner, lambda *_: account_after, a_schedule_entry(2))
        rig.now = FIRST
        await start_due(rig)

        assert (await send(rig, GetSchedule(schedule.id), by)).pause_reason == "unauthorized"
        assert not (await send(rig, ListRuns(), by)).data


async def test_the_limits_of_the_key_hold_and_a_run_waits_for_them() -> None:
    async with open_rig("wait slow\nsay One.", "say Two.") as rig:
        limits = Limits(runs_at_once=1)
        by = Principal(owner=OWNER, key_id="key_1", limits=limits)
        await rig.store.add_key(a_key(limits=limits), b"digest")
        schedule = await create(rig, by)
        call = operations.Process(message=operations.NewMessage("Hello?"), background=True)
        await rig.dispatcher.open_stream(call, by)
        await rig.model.gates["slow"].reached.wait()
        rig.now = FIRST

        assert await start_due(rig)
        assert not await history(rig, schedule)
        rig.model.gates["slow"].opened.set()
        for run in await list_runs(rig):
            await wait_for_end(rig, run.id)
        assert not await start_due(rig)

        assert [each.status for each in await history(rig, schedule)] == ["started"]


async def test_a_program_with_other_settings_leaves_a_schedule_to_others() -> None:
    async with open_rig() as rig:
        rig.destination = Destination("elsewhere", "https://models.example", "digest")
        schedule = await create(rig)
        rig.now = FIRST

        assert await start_due(rig)
        assert not await list_runs(rig)
        assert not await history(rig, schedule)
        assert (await find_schedule(rig, schedule)).waiting_for == "elsewhere"
        assert (await send(rig, ListSchedules())).data[0].waiting_for == "elsewhere"


async def test_a_model_that_is_gone_is_waited_for_a_while_as_other_programs_may_have_it() -> None:
    async with open_rig() as rig:
        assistant = await send(rig, CreateAssistant())
        schedule = await create(rig, assistant_id=assistant.id)
        await rig.store.update_record(
            Assistant, OWNER, assistant.id, lambda each: replace(each, model="unknown")
        )
        rig.now = FIRST
        assert await start_due(rig)
        assert not await history(rig, schedule)

        rig.now = FIRST + 11 * MINUTE
        assert not await start_due(rig)
        (occurrence,) = await history(rig, schedule)
        assert occurrence.error is not None
        assert occurrence.error.code == "bad_settings"


async def test_a_run_by_hand_starts_at_once_and_leaves_the_times_as_they_are() -> None:
    async with open_rig("say Hi.") as rig:
        schedule = await create(rig, paused=True)
        run = await send(rig, RunSchedule(schedule.id), key="once")
        repeated = await rig.dispatcher.dispatch(RunSchedule(schedule.id), BY, "once")

        assert repeated.replayed
        assert [each.id for each in await list_runs(rig)] == [run.id]
        (occurrence,) = await history(rig, schedule)
        assert (occurrence.run_id, occurrence.due_at) == (run.id, None)
        after = await find_schedule(rig, schedule)
        assert (after.paused, after.next_at, after.last_run_id) == (True, None, run.id)


async def test_a_run_that_an_administrator_starts_for_somebody_is_audited() -> None:
    async with open_rig("say Hi.") as rig:
        schedule = await create(rig)
        admin = Principal(owner=OWNER, actor="person_1", administering=True)
        run = await send(rig, RunSchedule(schedule.id), admin)
        await wait_for_end(rig, run.id)

        entry = (await send(rig, ListActs())).data[0]
        assert (entry.what, entry.actor, entry.owner) == ("schedule.started", "person_1", OWNER)


async def test_a_changed_schedule_has_new_times_and_keeps_what_was_not_named() -> None:
    async with open_rig() as rig:
        schedule = await create(rig, name="Report", max_cost=2.0)
        changed_schedule = await send(
            rig, UpdateSchedule(schedule_id=schedule.id, run_at=FIRST + 5)
        )
        assert (changed_schedule.cron, changed_schedule.run_at, changed_schedule.next_at) == (
            None,
            FIRST + 5,
            FIRST + 5,
        )
        changed_schedule = await send(rig, UpdateSchedule(schedule_id=schedule.id, cron="@hourly"))
        assert (changed_schedule.cron, changed_schedule.run_at, changed_schedule.next_at) == (
            "@hourly",
            None,
            HOUR,
        )
        assert (changed_schedule.name, changed_schedule.max_cost) == ("Report", 2.0)

        paused_schedule = await send(rig, UpdateSchedule(schedule_id=schedule.id, paused=True))
        assert (paused_schedule.pause_reason, paused_schedule.next_at) == ("owner", None)
        rig.now = 2 * HOUR + 1
        resumed_schedule = await send(rig, UpdateSchedule(schedule_id=schedule.id, paused=False))
        assert (resumed_schedule.paused, resumed_schedule.next_at) == (False, 3 * HOUR)
        await send(rig, operations.DeleteSchedule(schedule.id))

        acts = [entry.what for entry in (await send(rig, ListActs())).data]
        assert acts == [
            "schedule.removed",
            "schedule.resumed",
            "schedule.paused",
            "schedule.changed",
            "schedule.changed",
            "schedule.created",
        ]


async def test_an_imported_schedule_is_resumed_with_the_callers_rights_and_limits() -> None:
    async with open_rig() as rig:
        schedule = Schedule(
            id="sched_1",
            cron="* * * * *",
            message="Report.",
            paused=True,
            created_at=1,
            updated_at=1,
        )
        await rig.store.add_schedule(StoredSchedule(OWNER, schedule), 10, a_schedule_entry())
        with pytest.raises(errors.InvalidRequest, match="too often"):
            await send(rig, UpdateSchedule(schedule_id=schedule.id, paused=False))
        by = Principal(owner=OWNER, key_id="key_1", actor="key_1")
        hourly = UpdateSchedule(schedule_id=schedule.id, cron="@hourly", paused=False)
        changed_schedule = await send(rig, hourly, by)

        stored = await rig.store.find_schedule(OWNER, schedule.id)
        assert (changed_schedule.paused, changed_schedule.next_at) == (False, HOUR)
        assert stored.key_id == "key_1"


@pytest.mark.parametrize(
    ("fields", "error", "hint"),
    [
        ({"cron": "*/2 * * * *"}, errors.InvalidRequest, "min_schedule_interval"),
        ({"cron": "0 0 30 2 *"}, errors.InvalidRequest, None),
        ({"cron": "@daily", "timezone": "Berlin"}, errors.InvalidRequest, "Europe/Berlin"),
        ({"cron": "@daily", "timezone": "europe/berlin"}, errors.InvalidRequest, "Europe/Berlin"),
        ({"cron": "@daily", "timezone": "Amercia/New York"}, errors.InvalidRequest, "America/New_"),
        ({"cron": "@daily", "timezone": "../../etc/passwd"}, errors.InvalidRequest, None),
        ({"cron": "@daily", "timezone": "localtime"}, errors.InvalidRequest, None),
        ({"cron": "@daily", "timezone": "a\0b"}, errors.InvalidRequest, None),
        ({"run_at": 5}, errors.InvalidRequest, None),
        ({}, errors.InvalidRequest, None),
        ({"cron": "@daily", "thread_id": "thread_9"}, errors.NotFound, None),
        ({"cron": "@daily", "assistant_id": "asst_9"}, errors.NotFound, None),
        ({"cron": "@daily", "model": "unknown"}, errors.BadSettings, None),
    ],
)
async def test_a_schedule_that_could_never_run_is_refused(
    fields: dict[str, Any], error: type[errors.AntiphonError], hint: str | None
) -> None:
    async with open_rig() as rig:
        with pytest.raises(error) as excinfo:
            await send(rig, CreateSchedule(message="Report.", **fields))

        assert hint is None or hint in str(excinfo.value.details["hint"])
        assert not (await send(rig, ListSchedules())).data


async def test_a_temporary_thread_has_no_schedule() -> None:
    async with open_rig("say Hi.") as rig:
        await rig.ask(temporary=True)
        (run,) = await list_runs(rig)
        with pytest.raises(errors.InvalidRequest, match="temporary"):
            await create(rig, thread_id=run.thread_id)


async def test_next_times_are_shown_in_their_zone() -> None:
    async with open_rig() as rig:
        call = PreviewSchedule(cron="0 9 * * *", timezone="Asia/Tokyo", count=2)
        times = (await send(rig, call)).data

        assert [each.local for each in times] == [
            "1970-01-02T09:00:00+09:00",
            "1970-01-03T09:00:00+09:00",
        ]
        assert times[0].at == 24 * HOUR


async def test_where_schedules_are_off_none_can_be_made_and_existing_ones_can_be_deleted() -> None:
    async with open_rig(settings=Settings(schedules=False)) as rig:
        with pytest.raises(errors.Forbidden, match="off"):
            await create(rig)

        assert not (await send(rig, ListSchedules())).data


async def test_the_limit_of_schedules_is_named() -> None:
    async with open_rig(settings=Settings(max_schedules=1)) as rig:
        await create(rig)
        with pytest.raises(errors.Conflict) as excinfo:
            await create(rig)

        assert "max_schedules" in str(excinfo.value.details["expected"])


async def test_a_scheduler_starts_what_becomes_due_while_it_runs() -> None:
    async with open_rig("wait go\nsay Hi.") as rig:
        scheduler = Scheduler(rig.store, rig.bus, rig.dispatcher.occurrences, retention=1)
        scheduler.start()
        try:
            await create(rig)
            rig.now = FIRST
            rig.bus.notify(SCHEDULES)
            await rig.model.gates["go"].reached.wait()
        finally:
            await scheduler.stop()

        assert len(await list_runs(rig)) == 1
        rig.model.gates["go"].opened.set()


async def test_a_scheduler_outlives_a_store_that_is_away() -> None:
    async with open_rig("wait go\nsay Hi.") as rig:
        failures = iter([errors.Unavailable("Away."), RuntimeError("Broken.")])
        rig.store.trouble = lambda read_set: (
            next(failures, None) if read_set.what == "start_schedule" else None
        )
        scheduler = Scheduler(rig.store, rig.bus, rig.dispatcher.occurrences, retention=1)
        await create(rig)
        rig.now = FIRST
        scheduler.start()
        try:
            while not rig.model.requests:
                rig.bus.notify(SCHEDULES)
                await asyncio.sleep(0)
            await rig.model.gates["go"].reached.wait()
        finally:
            await scheduler.stop()

        assert len(await list_runs(rig)) == 1
        rig.model.gates["go"].opened.set()


async def test_clocks_that_are_ten_minutes_off_start_each_time_once() -> None:
    async with open_rig(*["say Hi."] * 8) as rig:
        schedule = await create(rig)
        for true in range(20 * MINUTE, 4 * HOUR, 5 * MINUTE):
            for drift in (10 * MINUTE, -10 * MINUTE, 0):
                rig.now = true + drift
                await start_due(rig)
                if run_id := (await find_schedule(rig, schedule)).last_run_id:
                    await wait_for_end(rig, run_id)

        starts = [(each.status, each.due_at) for each in reversed(await history(rig, schedule))]
        assert starts == [("started", FIRST * count) for count in range(1, 9)]
        assert len(await list_runs(rig)) == 8
