"""Promises of every store about imports of chats; see `ChatImportStore` in `ports`."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.engine import chat_imports
from antiphon.ports import Store
from antiphon.types import errors
from antiphon.types.chat_imports import ChatImport, ImportClaim, StoredImport
from antiphon.types.imports import ImportBatch
from antiphon.types.runs import Thread


def an_import(number: int = 1, owner: str = "ann", **fields: Any) -> StoredImport:
    record = ChatImport(id=f"import_{number}", size=6, created_at=1, updated_at=1, **fields)
    return StoredImport(owner=owner, record=record)


def end(stored: StoredImport) -> StoredImport:
    return replace(stored, record=replace(stored.record, status="completed"))


async def test_the_pieces_of_a_file_are_there_until_its_import_ends(store: Store) -> None:
    stored = an_import()
    await store.add_chat_import(stored, 9)

    for place, content in ((0, b"abc"), (3, b"d\0f")):
        await store.add_import_piece(
            "ann",
            "import_1",
            place,
            content,
            lambda each: replace(each, record=replace(each.record, received=6)),
        )

    assert await store.import_piece("import_1", 3) == b"d\0f"
    assert await store.import_piece("import_1", 1) is None
    assert (await store.find_chat_import("ann", "import_1")).record.received == 6
    ended_import = await store.change_chat_import("ann", "import_1", end)
    assert list(await store.chat_imports("ann")) == [ended_import]
    assert list(await store.due_chat_imports(0, 9)) == [ended_import]
    while await store.delete_import_pieces("import_1"):
        pass
    assert await store.import_piece("import_1", 0) is None
    await store.change_chat_import("ann", "import_1", chat_imports.forget_file)
    assert list(await store.due_chat_imports(10**15, 9)) == []


async def test_imports_are_due_when_their_claim_has_ended_or_their_owner_stays_away(
    store: Store,
) -> None:
    claimed = replace(an_import(1, "ann", status="importing"), claimed_until=500)
    free = an_import(2, "bob", status="checking")
    waiting = an_import(3, "eve", status="ready")
    for stored in (claimed, free, waiting):
        await store.add_chat_import(stored, 9)

    async def due_owners(now: int, limit: int = 9) -> list[str]:
        return [each.owner for each in await store.due_chat_imports(now, limit)]

    assert await due_owners(499) == ["bob"]
    assert await due_owners(500) == ["bob", "ann"]
    assert await due_owners(500, 1) == ["bob"]
    assert await due_owners(1 + chat_imports.ABANDONED_MS) == ["bob", "ann", "eve"]
    await store.change_chat_import("bob", "import_2", lambda _: replace(free, claimed_until=900))
    assert await due_owners(500) == ["ann"]


async def test_an_owner_has_one_import_at_a_time_and_the_last_ended_ones(store: Store) -> None:
    for number in range(4):
        await store.add_chat_import(an_import(number), 2)
        with pytest.raises(errors.Conflict):
            await store.add_chat_import(an_import(9), 2)
        await store.change_chat_import(
            "ann", f"import_{number}", lambda each: chat_imports.forget_file(end(each))
        )
    await store.add_chat_import(an_import(8, "bob"), 2)

    assert [each.record.id for each in await store.chat_imports("ann")] == [
        *("import_3", "import_2", "import_1"),
    ]
    assert [each.owner for each in await store.chat_imports("bob")] == ["bob"]


async def test_an_import_that_has_ended_is_deleted_with_its_file(store: Store) -> None:
    await store.add_chat_import(an_import(), 9)
    await store.add_import_piece("ann", "import_1", 0, b"abc", lambda each: each)
    with pytest.raises(errors.Conflict, match="goes on"):
        await store.delete_chat_import("ann", "import_1")
    await store.change_chat_import("ann", "import_1", end)
    with pytest.raises(errors.NotFound):
        await store.delete_chat_import("bob", "import_1")

    await store.delete_chat_import("ann", "import_1")

    assert list(await store.chat_imports("ann")) == []
    assert await store.import_piece("import_1", 0) is None
    with pytest.raises(errors.NotFound):
        await store.delete_chat_import("ann", "import_1")


async def test_a_change_that_raises_changes_nothing_and_another_owners_is_not_found(
    store: Store,
) -> None:
    await store.add_chat_import(an_import(), 9)

    def refuse(_: StoredImport) -> StoredImport:
        raise errors.InvalidRequest("No.")

    with pytest.raises(errors.InvalidRequest):
        await store.add_import_piece("ann", "import_1", 0, b"abc", refuse)
    with pytest.raises(errors.NotFound):
        await store.change_chat_import("bob", "import_1", end)
    with pytest.raises(errors.NotFound):
        await store.find_chat_import("bob", "import_1")

    assert await store.import_piece("import_1", 0) is None


async def test_the_imports_of_an_owner_are_deleted_when_they_have_ended(store: Store) -> None:
    await store.add_chat_import(an_import(), 9)
    for place in range(40):
        await store.add_import_piece("ann", "import_1", place, b"x", lambda each: each)
    while await store.delete_owned("ann", 100):
        pass
    assert len(await store.chat_imports("ann")) == 1

    await store.change_chat_import("ann", "import_1", end)
    while await store.delete_owned("ann", 100):
        pass
    assert not await store.chat_imports("ann")
    assert not await store.import_piece("import_1", 0)


async def test_a_worker_that_has_lost_its_import_writes_transfers_and_deletes_nothing(
    store: Store,
) -> None:
    held_import = replace(an_import(status="importing"), worker="w")
    claim = ImportClaim("ann", "import_1", "w")
    threads = [
        Thread(id=f"thread_{number}", title="", metadata={}, created_at=1, updated_at=1)
        for number in range(2)
    ]
    await store.add_chat_import(held_import, 9)
    await store.import_records("staging", ImportBatch(threads=[(threads[0], None)]), claim)

    for lost_import in (
        replace(held_import, worker="other"),
        replace(end(held_import), worker="w"),
    ):
        await store.change_chat_import(
            "ann", "import_1", lambda _, lost_import=lost_import: lost_import
        )
        with pytest.raises(errors.Fenced):
            await store.import_records("staging", ImportBatch(threads=[(threads[1], None)]), claim)
        with pytest.raises(errors.Fenced):
            await store.transfer_owned("staging", "ann", 9, claim)
        with pytest.raises(errors.Fenced):
            await store.delete_owned("staging", 9, claim)

    assert not (await store.list(Thread, "ann", limit=9)).data
    while await store.delete_owned("ann", 100):
        pass
    with pytest.raises(errors.Fenced):
        await store.transfer_owned("staging", "ann", 9, claim)
    with pytest.raises(errors.Fenced):
        await store.delete_owned("staging", 9, claim)
    assert [each.id for each in (await store.list(Thread, "staging", limit=9)).data] == ["thread_0"]


async def test_a_worker_that_has_its_import_deletes_what_it_wrote(store: Store) -> None:
    held_import = replace(an_import(status="importing"), worker="w")
    claim = ImportClaim("ann", "import_1", "w")
    thread = Thread(id="thread_0", title="", metadata={}, created_at=1, updated_at=1)
    await store.add_chat_import(held_import, 9)
    await store.import_records("staging", ImportBatch(threads=[(thread, None)]), claim)

    while await store.delete_owned("staging", 9, claim):
        pass

    assert not (await store.list(Thread, "staging", limit=9)).data
