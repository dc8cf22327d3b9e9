"""Promises of every store about personal settings and memories; see `PersonalStore` in `ports`."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from antiphon.engine.personal import add_memory
from antiphon.engine.snapshot import ReadSet, Snapshot
from antiphon.ports import Store
from antiphon.types import errors
from antiphon.types.personal import NOTHING_PERSONAL, Memory, PersonalRecord, PersonalSettings


def a_memory(number: int = 1, text: str = "") -> Memory:
    text = text or f"Likes the number {number}."
    return Memory(id=f"mem_{number}", text=text, created_at=number, updated_at=number)


async def remember(store: Store, owner: str, *memories: Memory) -> None:
    for memory in memories:
        await store.change_personal(owner, lambda before, new=memory: add_memory(before, new))


async def test_what_is_personal_is_empty_at_first_and_each_owners_own(store: Store) -> None:
    assert await store.personal("ann") == NOTHING_PERSONAL

    await remember(store, "ann", a_memory(1), a_memory(2, "Größe 🎼 \u202f{}"))
    await store.change_personal(
        "ann", lambda before: replace(before, settings=PersonalSettings(instructions="Be brief."))
    )

    record = await store.personal("ann")
    assert [each.id for each in record.memories] == ["mem_1", "mem_2"]
    assert record.memories[1].text == "Größe 🎼 \u202f{}"
    assert record.settings.instructions == "Be brief."
    assert await store.personal("ben") == NOTHING_PERSONAL


async def test_a_change_is_decided_from_what_is_personal_of_its_owner(store: Store) -> None:
    await remember(store, "ann", a_memory())
    personal_set, other_owner_set, plain_set = (
        ReadSet(owner="ann", personal=True),
        ReadSet(owner="ben", personal=True),
        ReadSet(owner="ann"),
    )
    records_read: dict[ReadSet, PersonalRecord] = {}
    for read_set in (personal_set, other_owner_set, plain_set):

        def decide(records: Snapshot, read_set: ReadSet = read_set) -> None:
            records_read[read_set] = records.personal

        await store.change(read_set, decide)

    assert records_read[personal_set] == await store.personal("ann")
    assert records_read[other_owner_set] == records_read[plain_set] == NOTHING_PERSONAL


async def test_changes_that_come_at_once_are_all_there(store: Store) -> None:
    await asyncio.gather(*(remember(store, "ann", a_memory(n)) for n in range(20)))

    assert len((await store.personal("ann")).memories) == 20


async def test_a_change_that_is_refused_changes_nothing(store: Store) -> None:
    await remember(store, "ann", a_memory())
    before = await store.personal("ann")

    def refuse(_: PersonalRecord) -> PersonalRecord:
        raise errors.Conflict("Not now.")

    with pytest.raises(errors.Conflict):
        await store.change_personal("ann", refuse)
    assert await store.change_personal("ann", lambda same: same) == before
    assert await store.personal("ann") == before


async def test_an_owner_with_memories_only_is_listed_and_erased(store: Store) -> None:
    await remember(store, "ann", a_memory())
    await remember(store, "ben", a_memory())

    assert [each.owner for each in (await store.owners(9)).data] == ["ann", "ben"]
    while await store.delete_owned("ann", 10):
        pass

    assert await store.personal("ann") == NOTHING_PERSONAL
    assert [each.owner for each in (await store.owners(9)).data] == ["ben"]
    assert len((await store.personal("ben")).memories) == 1


async def test_an_owner_whose_last_memory_is_deleted_has_nothing(store: Store) -> None:
    await remember(store, "ann", a_memory())

    await store.change_personal("ann", lambda before: replace(before, memories=()))

    assert (await store.owners(9)).data == []
