"""Exports and imports on every store: records come in unchanged, and only once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.engine.snapshot import ReadSet
from antiphon.ports import Store
from antiphon.runtime.admin.archive import ADDED_LATER, member
from antiphon.telemetry import failpoints
from antiphon.types import errors, events
from antiphon.types.folders import MAX_FOLDERS, Folder
from antiphon.types.messages import Message
from antiphon.types.personal import Memory, PersonalRecord, PersonalSettings
from antiphon.types.runs import Action, Assistant, Run, Status, Thread
from tests.support.runtime.archives import (
    ASSISTANT,
    CONTENT,
    CUT,
    DRIVEN,
    ENDED,
    FILE,
    FOLDER,
    LONG,
    PAUSED,
    THREAD,
    WAITING,
    Contents,
    add_active,
    contents,
    fill,
    import_archive,
    read_contents,
    write,
    write_archive,
)
from tests.support.stores.openers import Clock, Opener, open_store
from tests.support.stores.schedules import add_schedule
from tests.support.stores.steps import a_message, add_thread, say, take, whole_log


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = 1_700_000_000_000  # a zip file has no time before 1980
    return clock


@pytest.fixture
async def other(opener: Opener, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    """An empty store of another installation."""
    (tmp_path / "other").mkdir()
    async with open_store(opener, tmp_path / "other", clock) as store:
        yield store


async def test_an_import_into_an_empty_store_exports_as_the_same(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store, messages=LONG)
    first = await write_archive(store, tmp_path / "first.zip")

    result = await import_archive(other, first)

    assert read_contents(await write_archive(other, tmp_path / "second.zip")) == read_contents(
        first
    )
    assert (await other.content("ann", FILE)) == CONTENT
    assert result.added == {
        "assistants": 1,
        "folders": 1,
        "threads": 2,
        "messages": LONG + 3,
        "runs": 1,
        "actions": 1,
        "files": 1,
        "usage": 1,
        "audit": 2,
    }
    assert (result.unchanged, result.ended_runs) == ({}, 0)
    assert result.skipped == {"keys": 1, "provider_keys": 1}


async def test_an_imported_thread_reads_as_before(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store, messages=LONG)
    await import_archive(other, await write_archive(store, tmp_path / "a.zip"))

    assert await other.context(THREAD) == await store.context(THREAD)
    assert await whole_log(other, ENDED) == await whole_log(store, ENDED)
    assert await other.run_lease(ENDED) == replace(
        await store.run_lease(ENDED), epoch=0, worker=None, due_at=None, wanted=False
    )
    page = await other.list(Thread, "ann", limit=9, query="größe")
    assert [thread.id for thread in page.data] == [THREAD]


async def test_the_same_file_again_changes_nothing_and_says_so(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    file = await write_archive(store, tmp_path / "a.zip")
    first = await import_archive(other, file)
    before = (await other.audit_entries(99)).data

    second_result = await import_archive(other, file)

    assert (second_result.added, second_result.unchanged) == ({}, first.added)
    assert (await other.audit_entries(99)).data == before
    assert read_contents(await write_archive(other, tmp_path / "b.zip")) == read_contents(file)


async def test_an_export_changes_nothing_where_it_came_from(store: Store, tmp_path: Path) -> None:
    await fill(store)
    await add_active(store)
    file = await write_archive(store, tmp_path / "a.zip")
    before = (await store.audit_entries(99)).data

    result = await import_archive(store, file)

    assert result.added == {}
    assert result.ended_runs == 2
    assert (await store.get(Run, "ann", DRIVEN)).status is Status.IN_PROGRESS
    assert len((await store.list(Message, "ann", limit=9, thread_id=CUT)).data) == 1
    assert (await store.audit_entries(99)).data == before


async def test_an_export_of_a_version_without_folders_comes_in(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    members = contents(await write_archive(store, tmp_path / "a.zip"))
    for kind in ADDED_LATER:
        members.pop(member(kind))
    for record in members["threads.jsonl"]:
        del record["folder_id"]

    result = await import_archive(other, write(tmp_path / "old.zip", members))

    assert result.added["threads"] == 2
    assert (await other.get(Thread, "ann", THREAD)).folder_id is None


async def test_a_thread_comes_in_without_a_folder_that_the_export_lacks(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    await store.delete(Folder, "ann", FOLDER)
    foreign_folder = Folder(id=FOLDER, name="theirs", created_at=1, updated_at=1)
    await other.put("ben", foreign_folder)

    await import_archive(other, await write_archive(store, tmp_path / "a.zip"))

    assert (await other.get(Thread, "ann", THREAD)).folder_id is None


async def test_an_import_gives_no_owner_more_folders_than_the_limit(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    file = await write_archive(store, tmp_path / "a.zip")
    for number in range(MAX_FOLDERS):
        name = f"folder_{number}"
        await other.put("ann", Folder(id=name, name=name, created_at=1, updated_at=1))

    with pytest.raises(errors.InvalidRequest, match="too many folders"):
        await import_archive(other, file)

    assert (await other.list(Thread, "ann", limit=9)).data == []


async def test_what_was_deleted_since_comes_back(store: Store, tmp_path: Path) -> None:
    await fill(store)
    file = await write_archive(store, tmp_path / "a.zip")
    await store.delete(Thread, "ann", THREAD)
    await store.delete(Assistant, "ann", ASSISTANT)

    result = await import_archive(store, file)

    assert result.added == {"assistants": 1, "threads": 1, "messages": 7, "runs": 1, "actions": 1}
    assert len(await whole_log(store, ENDED)) == 8
    page = await store.list(Thread, "ann", limit=9, family=THREAD)
    assert len(page.data) == 2


async def test_everything_comes_in_for_another_owner_with_new_ids(
    store: Store, tmp_path: Path
) -> None:
    await fill(store)
    await add_active(store)
    file = await write_archive(store, tmp_path / "a.zip")

    first = await import_archive(store, file, "ben", new_ids=True)
    second_result = await import_archive(store, file, "ben", new_ids=True)

    assert first.added["threads"] == 4
    assert second_result.added == {}
    exported, imported = (
        read_contents(file),
        read_contents(await write_archive(store, tmp_path / "b.zip", "ben")),
    )
    text = json.dumps(
        {name: records for name, records in imported.items() if name.endswith("jsonl")}
    )
    for record in (
        *exported["threads.jsonl"],
        *exported["messages.jsonl"],
        *exported["actions.jsonl"],
    ):
        assert record["id"] not in text
    assert FILE not in text
    assert [len(each) for each in imported.values()][:4] == [1, 1, 4, 12]
    await assert_references_exist(store, imported)


async def assert_references_exist(store: Store, imported: Contents) -> None:
    """Every reference of the imported records leads to an imported record."""
    threads = {record["id"]: record for record in imported["threads.jsonl"]}
    runs = {record["run"]["id"] for record in imported["runs.jsonl"]}
    [file] = imported["files.jsonl"]
    [folder] = imported["folders.jsonl"]
    assert {record["folder_id"] for record in threads.values()} == {None, folder["id"]}
    branch = next(each for each in threads.values() if "replaces" in each["metadata"])
    assert branch["parent_id"] == branch["family"] == branch["metadata"]["replaces"]
    assert branch["parent_id"] in threads
    for message in imported["messages.jsonl"]:
        assert message["thread_id"] in threads
        assert message["run_id"] is None or message["run_id"] in runs
        for part in message["content"]:
            assert part.get("file_id", file["id"]) == file["id"]
        assert message["metadata"].get("files", file["id"]) == file["id"]
    outputs = {m["id"] for m in imported["messages.jsonl"] if m["role"] == "tool"}
    for action in imported["actions.jsonl"]:
        assert "msg_" + action["id"].removeprefix("act_") in outputs
        assert (action["run_id"], action["thread_id"]) <= (max(runs), max(threads))
    for record in imported["events.jsonl"]:
        assert record["run_id"] in runs
        for event in record["events"]:
            assert event.get("run_id", record["run_id"]) == record["run_id"]
            assert event.get("thread_id", next(iter(threads))) in threads
    assert await store.content("ben", file["id"]) == CONTENT


async def test_runs_that_had_not_ended_come_in_as_cancelled(
    store: Store, other: Store, tmp_path: Path, clock: Clock
) -> None:
    await add_active(store)
    clock.now += 5

    result = await import_archive(other, await write_archive(store, tmp_path / "a.zip"))
    clock.now += 10**9

    assert result.ended_runs == 2
    for run_id in (DRIVEN, PAUSED):
        run = await other.get(Run, "ann", run_id)
        assert run.status is Status.CANCELLED
        assert run.ended_at is not None
        log = [events.decode(line) for line in await whole_log(other, run_id)]
        assert any(getattr(event, "status", None) is Status.CANCELLED for event in log)
    assert await other.claim(take()) is None
    assert await other.overdue_runs(9) == []
    [_, cut_message] = (await other.list(Message, "ann", limit=9, thread_id=CUT)).data
    assert (cut_message.text, cut_message.status) == ("half an answ", "incomplete")
    [_, output] = (await other.list(Message, "ann", limit=9, thread_id=WAITING)).data
    assert (output.role, output.tool_call_id, output.is_error) == ("tool", "call_1", True)
    [action] = (await other.list(Action, "ann", limit=9, run_id=PAUSED)).data
    assert action.status == "cancelled"
    second_result = await import_archive(other, tmp_path / "a.zip")
    assert second_result.added == {}


async def test_a_thread_goes_on_after_its_import(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await add_active(store)
    await import_archive(other, await write_archive(store, tmp_path / "a.zip"))

    read_set = ReadSet(owner="ann", thread_id=WAITING)
    await other.change(read_set, say(a_message(3, "and now?", WAITING)))

    assert (await other.context(WAITING)).messages == 3


async def test_what_is_in_the_way_is_named_and_nothing_is_written(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    file = await write_archive(store, tmp_path / "a.zip")
    await fill(other, "ben")
    before = await everything(other)

    with pytest.raises(errors.Conflict) as refused:
        await import_archive(other, file)

    assert "15 records" in refused.value.message
    assert f"assistants: {ASSISTANT} belongs to another owner" in refused.value.details["conflicts"]
    assert "--new-ids" in refused.value.full_message
    assert await everything(other) == before


async def test_a_thread_that_has_changed_since_is_in_the_way(store: Store, tmp_path: Path) -> None:
    await fill(store)
    file = await write_archive(store, tmp_path / "a.zip")
    read_set = ReadSet(owner="ann", thread_id=THREAD)
    await store.change(read_set, say(a_message(8, "later", THREAD)))

    with pytest.raises(errors.Conflict) as refused:
        await import_archive(store, file)

    assert f"threads: {THREAD} has other content" in refused.value.details["conflicts"]


async def test_a_check_tells_what_would_be_added_and_writes_nothing(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    file = await write_archive(store, tmp_path / "a.zip")
    before = await everything(other)

    check_result = await import_archive(other, file, check=True)

    assert check_result.checked_only
    assert await everything(other) == before
    import_result = await import_archive(other, file)
    assert (import_result.added, import_result.skipped) == (
        check_result.added,
        check_result.skipped,
    )


async def everything(store: Store) -> list[Any]:
    return [
        [*(await store.owners(9)).data],
        [*(await store.audit_entries(99)).data],
        [*await store.usage("", 99)],
        *[
            [*(await store.list(kind, None, limit=500)).data]
            for kind in (Thread, Message, Run, Action, Assistant)
        ],
    ]


# The audit log


async def test_entries_that_came_in_are_marked_and_the_import_is_one(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    file = await write_archive(store, tmp_path / "a.zip")
    source_ids = [entry.id for entry in (await store.audit_entries(9)).data]

    await import_archive(other, file, "ben")

    import_entry, *imported_entries = (await other.audit_entries(9)).data
    assert (import_entry.what, import_entry.target, import_entry.owner) == (
        "owner.imported",
        "ben",
        "ben",
    )
    assert import_entry.details["threads"] == "2"
    assert "imported" not in import_entry.details
    assert [entry.what for entry in imported_entries] == ["owner.exported", "key.created"]
    assert [entry.details["imported_id"] for entry in imported_entries] == source_ids
    for entry in imported_entries:
        assert entry.details["imported"] == import_entry.id
        assert entry.owner == "ben"
        assert entry.id not in source_ids


async def test_no_file_forges_an_entry_of_this_installation(store: Store, tmp_path: Path) -> None:
    await fill(store)
    members = contents(await write_archive(store, tmp_path / "a.zip"))
    forged = {**members["audit.jsonl"][0], "actor": "mallory", "details": {"imported": "audit_x"}}
    new = {**forged, "id": "audit_00000000000000000000000000000000000"}
    members["audit.jsonl"] = [forged, new, members["audit.jsonl"][1]]
    own_entries = (await store.audit_entries(9)).data

    await import_archive(store, write(tmp_path / "b.zip", members))

    import_entry, *other_entries = (await store.audit_entries(9)).data
    assert other_entries[2:] == own_entries
    assert {entry.details["imported"] for entry in other_entries[:2]} == {import_entry.id}
    assert {entry.details["imported_id"] for entry in other_entries[:2]} == {
        forged["id"],
        new["id"],
    }
    assert not {entry.id for entry in other_entries[:2]} & {forged["id"], new["id"]}


# Usage


async def test_usage_comes_along_and_is_never_counted_twice(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    file = await write_archive(store, tmp_path / "a.zip")
    await import_archive(other, file)
    [row] = await other.usage("", 9)
    assert (row.owner, row.runs, row.input_tokens, row.cost) == ("ann", 1, 7, 0.25)

    await import_archive(other, file, "ben", new_ids=True)
    await import_archive(other, file)

    assert {(row.owner, row.runs) for row in await other.usage("", 9)} == {("ann", 1), ("ben", 1)}


# Imports that break off


durable = pytest.mark.parametrize("opener", ["sqlite", "postgres"], indirect=True)
"""Stores that pass failpoints."""
POINTS = ("import", "transfer", "finish_import")


@durable
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("passes", [1, pytest.param(2, marks=pytest.mark.soak), 4])
async def test_what_was_broken_off_goes_on_when_it_is_run_again(
    store: Store, other: Store, tmp_path: Path, point: str, place: str, passes: int
) -> None:
    await fill(store)
    await add_active(store)
    await add_thread(other, 1, "ben")
    file = await write_archive(store, tmp_path / "a.zip")

    failpoints.arm(f"{point}.{place}_commit:raise@{passes}")
    try:
        await import_archive(other, file)
    except errors.Unavailable:
        assert passes <= 7
    finally:
        failpoints.arm("")
    await import_archive(other, file)

    (tmp_path / "third").mkdir()
    assert [owner.owner for owner in (await other.owners(9)).data] == ["ann", "ben"]
    assert read_contents(await write_archive(other, tmp_path / "b.zip"))["events.jsonl"]
    last_result = await import_archive(other, file)
    assert last_result.added == {}
    entries = [entry.what for entry in (await other.audit_entries(99)).data]
    assert entries.count("key.created") == 1
    [row] = await other.usage("", 9)
    assert row.runs == 1


@durable
async def test_nothing_is_seen_of_half_an_import(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    file = await write_archive(store, tmp_path / "a.zip")

    failpoints.arm("import.before_commit:raise@4")
    with pytest.raises(errors.Unavailable):
        await import_archive(other, file)
    failpoints.arm("")

    [staging] = (await other.owners(9)).data
    assert staging.owner.startswith("import_")
    with pytest.raises(errors.NotFound):
        await other.get(Thread, "ann", THREAD)
    while await other.delete_owned(staging.owner, 100):
        pass
    assert (await import_archive(other, file)).added["threads"] == 2


@durable
async def test_a_log_of_many_events_goes_on_in_its_middle(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    members = contents(await write_archive(store, tmp_path / "a.zip"))
    [run] = members["runs.jsonl"]
    text = {"type": "text.delta", "text": "x" * 100_000}
    run["last_event"] = 40
    members["events.jsonl"] = [
        {"run_id": ENDED, "first": first, "events": [text] * 4} for first in range(1, 41, 4)
    ]
    file = write(tmp_path / "b.zip", members)

    failpoints.arm("import.before_commit:raise@7")
    with pytest.raises(errors.Unavailable):
        await import_archive(other, file)
    failpoints.arm("")
    await import_archive(other, file)

    assert len(await whole_log(other, ENDED)) == 40


async def test_schedules_come_in_paused_and_without_rights(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    fields = {"thread_id": THREAD, "assistant_id": ASSISTANT, "last_run_id": ENDED, "failures": 2}
    exported = await add_schedule(store, 1, **fields)
    file = await write_archive(store, tmp_path / "a.zip")

    result = await import_archive(other, file)
    second_result = await import_archive(other, file)

    (imported,) = await other.schedules("ann")
    assert imported.schedule == replace(
        exported.schedule, paused=True, pause_reason="owner", next_at=None, failures=0
    )
    assert (imported.key_id, imported.destination) == (None, "")
    assert list(await other.due_schedules(9, "")) == []
    assert (result.added["schedules"], second_result.added) == (1, {})
    assert second_result.unchanged["schedules"] == 1
    created = [e for e in (await other.audit_entries(99)).data if e.what == "schedule.created"]
    assert [entry.target for entry in created] == [exported.schedule.id]


async def test_schedules_with_new_ids_name_the_thread_and_the_assistant_that_came_along(
    store: Store, tmp_path: Path
) -> None:
    await fill(store)
    await add_schedule(store, 1, thread_id=THREAD, assistant_id=ASSISTANT)
    file = await write_archive(store, tmp_path / "a.zip")

    await import_archive(store, file, owner="bob", new_ids=True)

    (imported,) = await store.schedules("bob")
    schedule = imported.schedule
    assert schedule.id != "sched_1"
    assert (await store.get(Thread, "bob", str(schedule.thread_id))).title == "Größe"
    assert (await store.get(Assistant, "bob", str(schedule.assistant_id))).name == "Ada"
    (original,) = await store.schedules("ann")
    assert not original.schedule.paused


async def test_memories_and_settings_come_in_once_and_replace_nothing_that_was_written_there(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    origin = {"source": "assistant", "run_id": ENDED, "thread_id": THREAD}
    memories = tuple(
        Memory(id=f"mem_{n}", text=f"Fact {n}.", created_at=n, updated_at=n, **origin)
        for n in range(3)
    )
    settings = PersonalSettings(instructions="Be brief.", memory_enabled=False, updated_at=5)
    personal = PersonalRecord(settings=settings, memories=memories)
    await store.change_personal("ann", lambda _: personal)
    file = await write_archive(store, tmp_path / "a.zip")
    existing_memory = Memory(id="mem_x", text="FACT 1.", created_at=9, updated_at=9)
    await other.change_personal("bob", lambda _: PersonalRecord(memories=(existing_memory,)))

    result = await import_archive(other, file)
    second_result = await import_archive(other, file)
    await import_archive(other, file, owner="bob", new_ids=True)

    assert await other.personal("ann") == personal
    assert (result.added["memories"], result.added["personal_settings"]) == (3, 1)
    assert (second_result.added, second_result.unchanged["memories"]) == ({}, 3)
    merged = await other.personal("bob")
    assert [each.text for each in merged.memories] == ["FACT 1.", "Fact 0.", "Fact 2."]
    assert merged.memories[1].id != "mem_0"
    imported_run = await other.get(Run, "bob", str(merged.memories[1].run_id))
    assert imported_run.thread_id == merged.memories[1].thread_id
    assert merged.settings == settings


async def test_a_schedule_in_the_way_and_too_many_of_them_are_refused_before_anything_is_written(
    store: Store, other: Store, tmp_path: Path
) -> None:
    await fill(store)
    await add_schedule(store, 1)
    await add_schedule(store, 2)
    file = await write_archive(store, tmp_path / "a.zip")

    with pytest.raises(errors.InvalidRequest, match="too many schedules"):
        await import_archive(other, file, max_schedules=1)
    await add_schedule(other, 2, owner="eve")
    with pytest.raises(errors.Conflict) as caught:
        await import_archive(other, file)

    assert caught.value.details["conflicts"] == ["schedules: sched_2 belongs to another owner"]
    assert list(await other.schedules("ann")) == []
    assert (await other.list(Thread, None, limit=9)).data == []
