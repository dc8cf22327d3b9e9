"""Promises of every store about keys and limits, projects, owners and the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.engine.snapshot import (
    ChangeSet,
    Committed,
    IdempotencyKey,
    ReadSet,
    RunUpdate,
    Snapshot,
)
from antiphon.ports import RecordPage, Store
from antiphon.types import errors
from antiphon.types.accounts import (
    DAY_MS,
    MINUTE_MS,
    Account,
    AuditEntry,
    Counter,
    Key,
    Limits,
    OwnerTotals,
    Person,
    Project,
    ProviderKey,
)
from antiphon.types.messages import Message, Upload
from antiphon.types.runs import Action, Assistant, Run, RunLease, Status, Thread, Usage
from tests.support.stores.openers import Clock, Opener, open_store
from tests.support.stores.steps import (
    a_message,
    a_run,
    a_thread,
    add_run,
    add_thread,
    an_action,
    append,
    move,
    move_run,
    say,
    status_of,
    take,
)

REQUESTS = Counter("key_1", "requests")


def an_audit_entry(number: int = 1, what: Any = "key.created", **fields: Any) -> AuditEntry:
    entry = AuditEntry(id=f"audit_{number}", at=number, actor="local", what=what, target="key_1")
    return replace(entry, **fields)


def a_key(number: int = 1, owner: str = "ann", **fields: Any) -> Key:
    key = Key(id=f"key_{number}", owner=owner, name="laptop", prefix=f"ak_{number}", created_at=1)
    return replace(key, **fields)


def a_project(number: int = 1, name: str = "Moon", **fields: Any) -> Project:
    return Project(id=f"proj_{number}", name=name, created_at=number, **fields)


def a_provider_key(owner: str = "ann", provider: str = "openai", **fields: Any) -> ProviderKey:
    return ProviderKey(owner=owner, provider=provider, hint="sk-...ab12", created_at=1, **fields)


async def list_audit(store: Store, **filters: Any) -> Sequence[str]:
    return [entry.id for entry in (await store.audit_entries(100, **filters)).data]


# Keys and what they use


async def test_a_key_is_changed_as_a_whole_or_not_at_all(store: Store) -> None:
    await store.add_key(a_key(), b"digest")

    def fail(_: Key) -> Key:
        raise errors.Conflict("no")

    with pytest.raises(errors.Conflict):
        await store.change_key("key_1", fail, an_audit_entry())
    with pytest.raises(errors.NotFound):
        await store.change_key("key_9", lambda key: key, an_audit_entry())
    assert await store.find_key("ak_1") == (a_key(), b"digest")

    limited = a_key(
        limits=Limits(requests_per_minute=1, runs_at_once=2, tokens_per_day=3),
        person_id="person_1",
        expires_at=9,
    )
    assert await store.change_key("key_1", lambda _: limited, an_audit_entry()) == limited
    assert await store.find_key("ak_1") == (limited, b"digest")
    assert await list_audit(store) == ["audit_1"]


async def test_requests_are_counted_for_each_key_and_minute(store: Store, clock: Clock) -> None:
    begin = clock.now = 7 * MINUTE_MS

    assert (await store.count_usage(REQUESTS, 1)).total == 1
    clock.now += MINUTE_MS - 1
    assert (await store.count_usage(REQUESTS, 2)).total == 3
    assert (await store.count_usage(Counter("key_2", "requests"), 1)).total == 1
    clock.now += 1
    assert (await store.count_usage(REQUESTS, 1)).total == 1
    assert (await store.count_usage(REQUESTS, 0)).now == begin + MINUTE_MS


async def test_no_request_is_lost_of_many_that_are_counted_at_once(store: Store) -> None:
    counters = await asyncio.gather(*(store.count_usage(REQUESTS, 1) for _ in range(100)))

    assert sorted(each.total for each in counters) == list(range(1, 101))


async def test_a_clock_that_goes_back_forgets_nothing_that_was_counted(
    store: Store, clock: Clock
) -> None:
    clock.now = 7 * MINUTE_MS
    await store.count_usage(REQUESTS, 1)
    clock.now -= 1

    assert (await store.count_usage(REQUESTS, 1)).total == 2


def record_counts(answers: list[tuple[int, int]]) -> Any:
    def decide(records: Snapshot) -> None:
        answers.append((records.running, records.tokens))

    return decide


async def usage_of_key(store: Store, key_id: str = "key_1") -> tuple[int, int]:
    """Return the number of live runs of the key, and their tokens of today."""
    answers: list[tuple[int, int]] = []
    await store.change(ReadSet(owner="ann", key_id=key_id), record_counts(answers))
    return answers[-1]


async def test_a_change_is_told_how_many_runs_of_its_key_are_under_way(store: Store) -> None:
    for number, key_id in enumerate(("key_1", "key_1", "key_2", None), 1):
        await add_thread(store, number)
        await add_run(store, number, f"thread_{number}", key_id=key_id, trace="00-1-2-01")
    assert (await store.run_lease("run_1")).trace == "00-1-2-01"
    assert [await usage_of_key(store, f"key_{number}") for number in (1, 2, 3)] == [
        (2, 0),
        (1, 0),
        (0, 0),
    ]

    await store.change(ReadSet(owner="ann", run_id="run_1"), move(Status.CANCELLED))

    assert await usage_of_key(store) == (1, 0)
    assert (await store.run_lease("run_1")).key_id == "key_1"


async def test_of_many_runs_begun_at_once_no_more_than_the_limit_are_begun(
    opener: Opener, tmp_path: Path
) -> None:
    """Two stores share one database, if this kind of store has one."""
    async with (
        open_store(opener, tmp_path, Clock()) as one,
        open_store(opener, tmp_path, Clock()) as two,
    ):
        stores = (one, two)
        await one.add_key(a_key(limits=Limits(runs_at_once=3)), b"digest")

        def decide(number: int, records: Snapshot) -> ChangeSet:
            if records.running >= 3:
                raise errors.QuotaExceeded("enough")
            run = RunUpdate(a_run(number, f"thread_{number}"), RunLease(key_id="key_1"))
            return ChangeSet(thread=a_thread(number), run_updates=(run,))

        read_set = ReadSet(owner="ann", key_id="key_1")
        outcomes = await asyncio.gather(
            *(stores[number % 2].change(read_set, partial(decide, number)) for number in range(32)),
            return_exceptions=True,
        )

        assert [await usage_of_key(store) for store in stores] == [(3, 0), (3, 0)]
        assert {type(outcome) for outcome in outcomes} == {Committed, errors.QuotaExceeded}


def add_tokens(tokens: int) -> Any:
    def decide(records: Snapshot) -> ChangeSet:
        assert records.run is not None
        assert records.lease is not None
        usage = records.run.usage + Usage(input_tokens=tokens, output_tokens=1)
        return ChangeSet(run_updates=(RunUpdate(replace(records.run, usage=usage), records.lease),))

    return decide


async def test_what_the_usage_of_runs_grows_by_is_counted_for_a_key_with_a_limit(
    store: Store, clock: Clock
) -> None:
    clock.now = 7 * DAY_MS
    await store.add_key(a_key(limits=Limits(tokens_per_day=9)), b"1")
    await store.add_key(a_key(2, limits=Limits(runs_at_once=9)), b"2")
    for number, key_id in enumerate(("key_1", "key_2", "key_1"), 1):
        await add_thread(store, number)
        await add_run(store, number, f"thread_{number}", key_id=key_id)
        await store.change(ReadSet(owner="ann", run_id=f"run_{number}"), add_tokens(10))
    await store.change(ReadSet(owner="ann", run_id="run_1"), add_tokens(5))

    assert await usage_of_key(store, "key_1") == (2, 28)
    assert await usage_of_key(store, "key_2") == (1, 0)
    clock.now += DAY_MS
    assert await usage_of_key(store, "key_1") == (2, 0)


# Audit entries


async def test_audit_entries_are_listed_newest_first_page_by_page(store: Store) -> None:
    for number in range(1, 6):
        entry = an_audit_entry(number, owner="ann" if number % 2 else "ben", details={"name": "x"})
        await store.append_audit_entry(entry)

    page = await store.audit_entries(2)
    assert [entry.id for entry in page.data] == ["audit_5", "audit_4"]
    assert page.has_more
    assert page.data[0] == an_audit_entry(5, owner="ann", details={"name": "x"})
    assert await list_audit(store, after="audit_4") == ["audit_3", "audit_2", "audit_1"]
    assert await list_audit(store, owner="ann") == ["audit_5", "audit_3", "audit_1"]
    assert await list_audit(store, owner="ann", after="audit_4") == ["audit_3", "audit_1"]
    assert not (await store.audit_entries(3, owner="ann")).has_more
    with pytest.raises(errors.NotFound):
        await store.audit_entries(2, after="audit_9")


async def test_an_audit_entry_is_stored_with_its_change(store: Store) -> None:
    await store.add_key(a_key(), b"digest", an_audit_entry(1))
    await store.revoke_key("key_1", an_audit_entry(2))
    await store.revoke_key("key_1", an_audit_entry(3))  # which changes nothing
    await store.add_person(
        Account(Person(id="person_1", name="Ann", created_at=1)), an_audit_entry(4)
    )
    await store.change_person("person_1", lambda account, _: account, an_audit_entry(5))
    await store.change_person("person_1", lambda *_: None, an_audit_entry(6))
    thread = a_thread()
    await store.change(
        ReadSet(owner="ann"),
        lambda _: ChangeSet(thread=thread, audit_entry=an_audit_entry(7, owner="ann")),
    )

    assert await list_audit(store) == [f"audit_{number}" for number in (7, 6, 4, 2, 1)]


async def test_a_refused_change_leaves_no_audit_entry(store: Store) -> None:
    await store.add_person(Account(Person(id="person_1", name="Ann", created_at=1)))
    await store.add_project(a_project(), an_audit_entry(1))

    twin = Account(Person(id="person_2", name="ANN", created_at=1))
    with pytest.raises(errors.Conflict):
        await store.add_person(twin, an_audit_entry(2))
    with pytest.raises(errors.Conflict):
        await store.add_project(a_project(2, "MOON"), an_audit_entry(3))
    with pytest.raises(errors.NotFound):
        await store.revoke_key("key_9", an_audit_entry(4))
    with pytest.raises(errors.NotFound):
        await store.delete_provider_key("ann", "openai", an_audit_entry(5))

    assert await list_audit(store) == ["audit_1"]


# People and projects


async def test_the_keys_of_who_is_disabled_or_removed_are_revoked_with_them(
    store: Store, clock: Clock
) -> None:
    for number, name in enumerate(("Ann", "Ben", "Cem"), 1):
        person = Person(id=f"person_{number}", name=name, created_at=1)
        await store.add_person(Account(person))
        await store.add_key(a_key(number, owner=person.id), b"")
        await store.add_key(a_key(number + 3, owner="proj_1", person_id=person.id), b"")

    def disable(account: Account, _: bool) -> Account:
        return replace(account, person=replace(account.person, disabled=True))

    await store.change_person("person_1", disable)
    await store.change_person("person_2", lambda *_: None)

    valid_ids = [key.id for key in await store.keys() if key.revoked_at is None]
    assert valid_ids == ["key_3", "key_6"]
    assert {key.revoked_at for key in await store.keys()} == {clock.now, None}


async def test_who_is_disabled_is_given_no_key(store: Store) -> None:
    await store.add_person(Account(Person(id="person_1", name="Ann", disabled=True, created_at=1)))

    for key in (a_key(owner="person_1"), a_key(owner="ann", person_id="person_1")):
        with pytest.raises(errors.Conflict):
            await store.add_key(key, b"")
    await store.add_key(a_key(owner="ann", person_id="person_2"), b"")


async def test_projects_are_added_changed_and_removed(store: Store) -> None:
    await store.add_project(a_project(1, "Moon"), an_audit_entry(1))
    await store.add_project(a_project(2, "Sun"), an_audit_entry(2))
    assert list(await store.projects()) == [a_project(1, "Moon"), a_project(2, "Sun")]

    with pytest.raises(errors.Conflict):
        await store.change_project("proj_2", lambda _: a_project(2, "moon"), an_audit_entry(3))
    with pytest.raises(errors.NotFound):
        await store.change_project("proj_9", lambda project: project, an_audit_entry(3))
    mars = a_project(2, "Mars")
    assert await store.change_project("proj_2", lambda _: mars, an_audit_entry(4)) == mars
    assert await store.change_project("proj_1", lambda _: None, an_audit_entry(5)) is None

    assert list(await store.projects()) == [mars]
    assert await list_audit(store) == ["audit_5", "audit_4", "audit_2", "audit_1"]


async def test_the_keys_of_a_project_that_is_disabled_or_removed_are_revoked_with_it(
    store: Store, clock: Clock
) -> None:
    for number in (1, 2, 3):
        await store.add_project(a_project(number, f"p{number}"), an_audit_entry(number))
        await store.add_key(a_key(number, owner=f"proj_{number}"), b"")

    await store.change_project(
        "proj_1", lambda each: replace(each, disabled=True), an_audit_entry(4)
    )
    await store.change_project("proj_2", lambda _: None, an_audit_entry(5))

    assert [key.revoked_at for key in await store.keys()] == [clock.now, clock.now, None]


async def test_no_key_that_is_made_while_a_project_is_being_disabled_opens_anything(
    store: Store,
) -> None:
    await store.add_project(a_project(), an_audit_entry(0))

    async def add_key(number: int) -> None:
        with suppress(errors.Conflict):
            await store.add_key(a_key(number, owner="proj_1"), b"", an_audit_entry(number))

    await asyncio.gather(
        *(add_key(number) for number in range(1, 9)),
        store.change_project(
            "proj_1", lambda each: replace(each, disabled=True), an_audit_entry(99)
        ),
        *(add_key(number) for number in range(11, 19)),
    )
    await add_key(20)

    assert [key.id for key in await store.keys() if key.revoked_at is None] == []


# Keys for providers


async def test_an_owners_key_for_a_provider_is_kept_sealed_until_it_is_dropped(
    store: Store,
) -> None:
    new_key = a_provider_key(base_url="https://x")
    await store.save_provider_key(a_provider_key("ben"), b"B", an_audit_entry(1))
    await store.save_provider_key(a_provider_key(provider="zed"), b"Z", an_audit_entry(2))
    await store.save_provider_key(a_provider_key(), b"old", an_audit_entry(3))
    await store.save_provider_key(new_key, b"new\0", an_audit_entry(4))

    assert await store.find_encrypted_key("ann", "openai") == b"new\0"
    assert await store.find_encrypted_key("ann", "other") is None
    assert list(await store.provider_keys("ann")) == [new_key, a_provider_key(provider="zed")]
    assert [key.owner for key in await store.provider_keys(None)] == ["ann", "ann", "ben"]

    await store.delete_provider_key("ann", "openai", an_audit_entry(5))

    assert await store.find_encrypted_key("ann", "openai") is None
    assert await store.find_encrypted_key("ben", "openai") == b"B"
    assert len(await list_audit(store)) == 5


async def test_a_key_is_sealed_anew_only_where_it_is_still_the_same(store: Store) -> None:
    await store.save_provider_key(a_provider_key(), b"old", an_audit_entry(1))

    assert await store.replace_encrypted_key("ann", "openai", b"old", b"anew", an_audit_entry(2))
    assert not await store.replace_encrypted_key(
        "ann", "openai", b"old", b"late", an_audit_entry(3)
    )
    assert await store.find_encrypted_key("ann", "openai") == b"anew"
    await store.delete_provider_key("ann", "openai", an_audit_entry(4))
    assert not await store.replace_encrypted_key(
        "ann", "openai", b"anew", b"again", an_audit_entry(5)
    )

    assert await store.find_encrypted_key("ann", "openai") is None
    assert await list_audit(store) == [an_audit_entry(number).id for number in (4, 2, 1)]


# Owners


async def fill(store: Store, owner: str, number: int) -> None:
    """Add one record of every kind that an owner may have."""
    key = a_key(number, owner, limits=Limits(tokens_per_day=9), person_id=owner)
    await store.add_key(key, b"digest")
    await store.count_usage(Counter(key.id, "requests"), 1)
    thread = a_thread(number)
    await store.change(
        ReadSet(owner=owner, idempotency_key=idempotency_key_of(owner)),
        lambda _: ChangeSet(thread=thread, answer=thread),
    )
    read_set = ReadSet(owner=owner, thread_id=thread.id)
    messages = [a_message(place, "canary", thread.id) for place in range(1, 9)]
    await store.change(read_set, say(*messages))
    run = a_run(number, thread.id)
    run_update = RunUpdate(
        run, RunLease(wanted=True, key_id=key.id, last_event=1), (status_of(run),)
    )
    await store.change(read_set, lambda _: ChangeSet(run_updates=(run_update,)))
    claim = await store.claim(take())
    assert claim is not None
    await append(store, claim, 3, "canary")
    await store.change(ReadSet(owner=owner, run_id=run.id), with_action(run))
    await store.put(owner, Assistant(id=f"asst_{number}", created_at=1, updated_at=1))
    upload = Upload(id=f"file_{number}", name="x", media_type="text/plain", size=6, created_at=1)
    await store.put(owner, upload, None, b"canary")
    await store.save_provider_key(
        a_provider_key(owner), b"sealed", an_audit_entry(number, owner=owner)
    )


def idempotency_key_of(owner: str) -> IdempotencyKey:
    return IdempotencyKey(owner, "POST /v1/threads", "again", b"digest")


def with_action(run: Run) -> Callable[[Snapshot], ChangeSet]:
    """Return a decision that ends the run and records a tool call."""

    def decide(records: Snapshot) -> ChangeSet:
        action = replace(an_action(1, run.id), id=f"act_{run.id}", thread_id=run.thread_id)
        return ChangeSet(run_updates=(move_run(records, Status.COMPLETED),), actions=(action,))

    return decide


async def test_owners_are_listed_with_how_much_they_have(store: Store) -> None:
    await fill(store, "ben", 1)
    await add_thread(store, 2, "ann")
    await add_thread(store, 3, "ann")
    await store.save_provider_key(a_provider_key("cem"), b"", an_audit_entry(9))
    await store.add_key(a_key(9, "dan"), b"")

    ben = OwnerTotals(owner="ben", threads=1, runs=1, files=1, assistants=1)
    page = await store.owners(2)
    assert list(page.data) == [OwnerTotals(owner="ann", threads=2), ben]
    assert page.has_more
    rest = await store.owners(2, "ben")
    assert list(rest.data) == [OwnerTotals(owner="cem")]
    assert not rest.has_more
    assert [totals.owner for totals in (await store.owners(1, "aaa")).data] == ["ann"]
    assert await store.owners(9, owner="ben") == RecordPage([ben], has_more=False)
    assert not (await store.owners(9, "ben", "ben")).data
    assert not (await store.owners(9, owner="dan")).data


async def test_everything_of_an_owner_is_erased_bite_by_bite_and_nothing_else(
    store: Store, clock: Clock
) -> None:
    await fill(store, "ann", 1)
    await fill(store, "ben", 2)
    bens_records = await read_records(store, "ben", 2)
    assert None not in bens_records

    steps = 0
    while await store.delete_owned("ann", 3):
        steps += 1
        assert steps < 40

    assert await store.delete_owned("ann", 3) == 0
    assert await read_records(store, "ann", 1) == [None] * len(bens_records)
    assert await read_records(store, "ben", 2) == bens_records
    assert [totals.owner for totals in (await store.owners(9)).data] == ["ben"]
    assert await list_audit(store) == ["audit_2", "audit_1"]


async def test_the_key_of_an_owner_who_was_erased_stays_and_opens_nothing(
    store: Store, clock: Clock
) -> None:
    await store.add_key(a_key(1, "ann", person_id="person_1"), b"digest")

    while await store.delete_owned("ann", 100):
        pass

    stored = await store.find_key("ak_1")
    assert stored is not None
    assert stored[0] == a_key(1, "ann", name="", revoked_at=clock.now)


async def read_records(store: Store, owner: str, number: int) -> list[Any]:
    """Return the objects of an owner, None for each that does not exist."""
    records: list[Any] = []
    for kind in (Thread, Message, Run, Action, Assistant, Upload):
        page_records = (await store.list(kind, owner, limit=100)).data
        records.append(list(page_records) or None)
    usage_rows = [row for row in await store.usage("1970-01-01", 9) if row.owner == owner]
    counter = await store.count_usage(Counter(f"key_{number}", "requests"), 0)
    return [
        *records,
        await read_or_none(store.read_events(f"run_{number}", 0)),
        await read_or_none(store.context(f"thread_{number}")),
        await read_or_none(store.content(None, f"file_{number}")),
        await store.find_answer(idempotency_key_of(owner)),
        await store.find_encrypted_key(owner, "openai"),
        usage_rows or None,
        counter.total or None,
    ]


async def read_or_none(read: Awaitable[Any]) -> Any:
    try:
        return await read
    except errors.NotFound:
        return None
