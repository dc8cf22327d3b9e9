"""Promises of every store about imports: records come unchanged, and get their owner at the end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from antiphon.engine.snapshot import ReadSet
from antiphon.ports import Store
from antiphon.types import errors, events
from antiphon.types.accounts import AuditEntry, OwnerTotals, UsageRow
from antiphon.types.events import TextDelta
from antiphon.types.imports import ImportBatch, ImportedEvents, ImportedRun
from antiphon.types.messages import Message, Upload
from antiphon.types.runs import Action, Assistant, Run, Status, Thread
from tests.support.stores.openers import Clock
from tests.support.stores.steps import (
    a_message,
    a_run,
    a_thread,
    add_run,
    add_thread,
    an_action,
    move,
    say,
    take,
)

STAGING = "import_1"
FILE = Upload(id="file_1", name="x", media_type="text/plain", size=3, created_at=1)
ENDED = a_run(status=Status.COMPLETED, ended_at=1)
LINES = [events.encode(TextDelta(text=f"{number}")) for number in range(3)]
ACTION = an_action(1, status="completed", output="4")
EVERYTHING = ImportBatch(
    assistants=[Assistant(id="asst_1", created_at=1, updated_at=1)],
    uploads=[(FILE, b"abc")],
    threads=[(a_thread(messages=300, version=3), None)],
    messages=[a_message(number, f"m{number}") for number in range(1, 301)],
    runs=[ImportedRun(ENDED, last_event=7, kept_after=2)],
    events=[ImportedEvents("run_1", 3, LINES[:2]), ImportedEvents("run_1", 5, LINES)],
    actions=[ACTION],
)


def an_entry(number: int = 1, **fields: str) -> AuditEntry:
    return AuditEntry(
        id=f"audit_{number}",
        at=number,
        actor="local",
        what="owner.imported",
        target="ann",
        owner="ann",
        details=fields,
    )


def a_row(runs: int = 1, model: str = "demo", **fields: float) -> UsageRow:
    return UsageRow(**{"day": "2026-11-21", "owner": "ann", "model": model, "runs": runs, **fields})


async def list_records(store: Store, kind: type, owner: str) -> list[object]:
    return list((await store.list(kind, owner, limit=500)).data)


async def test_records_come_in_as_they_are(store: Store) -> None:
    await store.import_records("ann", EVERYTHING)

    assert await list_records(store, Assistant, "ann") == list(EVERYTHING.assistants)
    assert await store.content("ann", "file_1") == b"abc"
    assert await store.get(Thread, "ann", "thread_1") == EVERYTHING.threads[0][0]
    assert await list_records(store, Message, "ann") == list(EVERYTHING.messages)
    assert await store.get(Run, "ann", "run_1") == ENDED
    assert await list_records(store, Action, "ann") == [ACTION]
    context = await store.context("thread_1")
    assert (context.messages, context.version) == (300, 3)


async def test_a_thread_that_came_in_parts_reads_like_one_that_grew(store: Store) -> None:
    messages = EVERYTHING.messages
    await add_thread(store, 2)
    grown = [replace(each, id=f"{each.id}_2", thread_id="thread_2") for each in messages]
    for start in range(0, 300, 50):
        batch = ImportBatch(
            threads=EVERYTHING.threads if start == 0 else (), messages=messages[start : start + 50]
        )
        await store.import_records("ann", batch)
        read_set = ReadSet(owner="ann", thread_id="thread_2")
        await store.change(read_set, say(*grown[start : start + 50]))

    imported, grown_context = await store.context("thread_1"), await store.context("thread_2")
    assert (imported.chat, imported.tokens, imported.landmarks) == (
        grown_context.chat,
        grown_context.tokens,
        grown_context.landmarks,
    )


async def test_events_keep_their_numbers(store: Store) -> None:
    await store.import_records("ann", EVERYTHING)

    page = await store.read_events("run_1", 2)
    assert (page.first, [*page.lines], page.ended) == (3, [*LINES[:2], *LINES], True)
    with pytest.raises(errors.EventExpired):
        await store.read_events("run_1", 1)
    lease = await store.run_lease("run_1")
    assert (lease.last_event, lease.kept_after, lease.wanted) == (7, 2, False)


async def test_a_run_that_came_in_is_never_claimed_nor_due(store: Store, clock: Clock) -> None:
    await store.import_records("ann", EVERYTHING)
    clock.now += 10**9

    assert await store.claim(take()) is None
    assert await store.overdue_runs(9) == []
    assert (await store.live_runs(9)).data == []
    assert not await store.usage("1970-01-01", 9)


async def test_a_thread_that_came_in_goes_on(store: Store) -> None:
    await store.import_records("ann", EVERYTHING)

    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await store.change(read_set, say(a_message(301, "and then")))
    await add_run(store, 2, wanted=True)
    claim = await store.claim(take())

    assert claim is not None
    assert claim.run.id == "run_2"
    assert (await store.context("thread_1")).messages == 301


TAKEN = (
    ImportBatch(assistants=EVERYTHING.assistants),
    ImportBatch(uploads=EVERYTHING.uploads),
    ImportBatch(threads=EVERYTHING.threads),
    ImportBatch(messages=EVERYTHING.messages[:1]),
    ImportBatch(messages=[replace(EVERYTHING.messages[0], id="msg_other")]),
    ImportBatch(runs=EVERYTHING.runs),
    ImportBatch(actions=EVERYTHING.actions),
)


@pytest.mark.parametrize("batch", TAKEN)
async def test_what_is_there_is_never_overwritten(store: Store, batch: ImportBatch) -> None:
    await store.import_records("ann", EVERYTHING)
    new = [Assistant(id="asst_2", created_at=1, updated_at=1), *batch.assistants]

    with pytest.raises(errors.Conflict):
        await store.import_records("ben", replace_assistants(batch, new))

    assert await list_records(store, Assistant, "ben") == []
    assert await store.owners(9, owner="ben") == await store.owners(9, owner="nobody")


def replace_assistants(batch: ImportBatch, assistants: Sequence[Assistant]) -> ImportBatch:
    return replace(batch, assistants=assistants)


async def test_records_are_found_whoever_owns_them(store: Store) -> None:
    await store.import_records("ann", EVERYTHING)
    await add_thread(store, 9, "ben")
    await store.append_audit_entry(an_entry())

    assert await store.find_records(Thread, ["thread_1", "thread_9", "thread_0"]) == {
        "thread_1": ("ann", EVERYTHING.threads[0][0]),
        "thread_9": ("ben", a_thread(9)),
    }
    message = EVERYTHING.messages[4]
    assert await store.find_records(Message, [message.id]) == {message.id: ("ann", message)}
    assert await store.find_records(Run, ["run_1"]) == {"run_1": ("ann", ENDED)}
    assert await store.find_records(Action, [ACTION.id]) == {ACTION.id: ("ann", ACTION)}
    assert await store.find_records(Upload, ["file_1"]) == {"file_1": ("ann", FILE)}
    assert await store.find_records(AuditEntry, ["audit_1"]) == {"audit_1": ("ann", an_entry())}
    assert await store.find_records(Assistant, []) == {}


async def test_everything_is_given_to_another_owner_bite_by_bite(store: Store) -> None:
    await store.import_records(STAGING, EVERYTHING)
    await add_thread(store, 2, STAGING)
    await add_thread(store, 3, "ben")

    batch_sizes = []
    while batch_size := await store.transfer_owned(STAGING, "ann", 1):
        batch_sizes.append(batch_size)

    assert sum(batch_sizes) == 4
    totals = OwnerTotals(owner="ann", threads=2, runs=1, files=1, assistants=1)
    assert [*(await store.owners(9)).data] == [totals, OwnerTotals(owner="ben", threads=1)]
    assert await store.get(Run, "ann", "run_1") == ENDED
    assert await store.get(Message, "ann", EVERYTHING.messages[0].id) == EVERYTHING.messages[0]
    with pytest.raises(errors.NotFound):
        await store.get(Thread, STAGING, "thread_1")


async def test_families_stay_together(store: Store) -> None:
    branch = a_thread(2, messages=1, metadata={"replaces": "thread_1"})
    leaf = a_thread(3, messages=1, metadata={"replaces": "thread_gone"})
    threads = [(a_thread(messages=1), None), (branch, "thread_1"), (leaf, "thread_1")]
    await store.import_records(STAGING, ImportBatch(threads=threads))
    await store.transfer_owned(STAGING, "ann", 100)

    page = await store.list(Thread, "ann", limit=9, family="thread_3")
    assert {thread.id for thread in page.data} == {"thread_1", "thread_2", "thread_3"}
    ids = ["thread_1", "thread_2", "thread_3"]
    assert await store.thread_families(ids) == {"thread_2": "thread_1", "thread_3": "thread_1"}


async def test_of_usage_that_is_there_the_larger_number_stands(store: Store) -> None:
    for _ in range(2):  # a second time changes nothing
        await store.finish_import([a_row(3, input_tokens=5, cost=0.5), a_row(1, "x")], [], None)
    await store.finish_import([a_row(2, input_tokens=9, cost=0.25)], [], None)

    assert [*await store.usage("2026-01-01", 9)] == [
        a_row(1, "x"),
        a_row(3, input_tokens=9, cost=0.5),
    ]
    assert len(await store.usage("2026-01-01", 9, "ann")) == 2
    assert not await store.usage("2026-01-01", 9, "ben")


async def test_usage_that_came_in_grows_with_runs_that_end(store: Store) -> None:
    await add_thread(store)
    await add_run(store)
    await store.change(ReadSet(owner="ann", run_id="run_1"), move(Status.CANCELLED))
    [row] = await store.usage("1970-01-01", 9)
    await store.finish_import([replace(row, runs=5)], [], None)
    await add_run(store, 2)
    await store.change(ReadSet(owner="ann", run_id="run_2"), move(Status.CANCELLED))

    assert [*await store.usage("1970-01-01", 9)] == [replace(row, runs=6)]


async def test_entries_of_the_audit_log_are_added_once_and_never_changed(store: Store) -> None:
    await store.append_audit_entry(an_entry(1))
    forged = replace(an_entry(1), actor="somebody")
    await store.finish_import([], [forged, an_entry(2)], an_entry(3))
    await store.finish_import([], [forged, an_entry(2)], None)

    entries = (await store.audit_entries(9)).data
    assert [*entries] == [an_entry(3), an_entry(2), an_entry(1)]


async def test_what_came_in_is_erased_like_anything_else(store: Store) -> None:
    await store.import_records(STAGING, EVERYTHING)
    while await store.delete_owned(STAGING, 100):
        pass

    assert not (await store.owners(9)).data
    await store.import_records("ann", EVERYTHING)
    assert len((await store.read_events("run_1", 2)).lines) == 5
