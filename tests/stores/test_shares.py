"""Promises of every store about shares and published assistants; see `ShareStore` in `ports`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.ports import Store
from antiphon.types import errors
from antiphon.types.accounts import AuditEntry
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Assistant, Thread
from antiphon.types.shares import Share
from tests.support.stores.openers import Clock
from tests.support.stores.steps import add_thread

FAR = 2**52


def a_share(number: int = 1, **fields: Any) -> Share:
    times = {"created_at": 1, "updated_at": 1, "expires_at": FAR}
    return Share(**{"id": f"share_{number}", "thread_id": "thread_1", **times, **fields})


def an_entry(number: int = 1) -> AuditEntry:
    return AuditEntry(
        id=f"audit_share_{number}", at=1, actor="ann", what="share.created", target="share"
    )


async def add_share(
    store: Store, number: int = 1, owner: str = "ann", limit: int = 9, **fields: Any
) -> Share:
    share = a_share(number, **fields)
    entry = an_entry(number)
    await store.add_share(owner, share, b"hash %d" % number, b"body %d" % number, limit, entry)
    return share


async def test_a_share_is_opened_by_the_hash_of_its_token_and_listed_newest_first(
    store: Store,
) -> None:
    await add_thread(store, 1)
    await add_thread(store, 2)
    first = await add_share(store, 1)
    last = await add_share(store, 2, thread_id="thread_2")

    assert await store.open_share(b"hash 1") == (first, b"body 1")
    assert await store.open_share(b"hash 3") is None
    assert list(await store.shares("ann")) == [last, first]
    assert list(await store.shares("ann", "thread_1")) == [first]
    assert list(await store.shares("bob")) == []


async def test_an_updated_share_has_its_old_token_and_a_revoked_one_opens_nothing(
    store: Store,
) -> None:
    await add_thread(store, 1)
    share = await add_share(store)

    changed_share = await store.change_share(
        "ann", share.id, lambda each: replace(each, title="new"), b"later", an_entry(2)
    )

    assert await store.open_share(b"hash 1") == (changed_share, b"later")
    assert await store.find_share("ann", share.id) == changed_share
    await store.delete_share("ann", share.id, an_entry(3))
    assert await store.open_share(b"hash 1") is None
    with pytest.raises(errors.NotFound):
        await store.delete_share("ann", share.id, an_entry(4))
    assert len((await store.audit_entries(10)).data) == 3


async def test_a_share_of_another_owner_is_not_found(store: Store) -> None:
    await add_thread(store, 1)
    share = await add_share(store)

    with pytest.raises(errors.NotFound):
        await store.find_share("bob", share.id)
    with pytest.raises(errors.NotFound):
        await store.change_share("bob", share.id, lambda each: each, b"", an_entry(2))
    with pytest.raises(errors.NotFound):
        await store.delete_share("bob", share.id, an_entry(3))
    with pytest.raises(errors.NotFound):
        await add_share(store, 2, owner="bob")
    assert await store.open_share(b"hash 1") == (share, b"body 1")


async def test_a_share_ends_with_its_time(store: Store, clock: Clock) -> None:
    await add_thread(store, 1)
    now = await store.now()
    share = await add_share(store, expires_at=now + 1000)
    lasting_share = await add_share(store, 2)

    clock.now += 1000

    assert await store.open_share(b"hash 1") is None
    assert list(await store.shares("ann")) == [lasting_share]
    with pytest.raises(errors.NotFound):
        await store.find_share("ann", share.id)
    assert await store.delete_expired_shares(10) == 1
    assert await store.delete_expired_shares(10) == 0


async def test_a_share_ends_with_its_thread_and_with_its_owner(store: Store) -> None:
    await add_thread(store, 1)
    await add_thread(store, 2)
    await add_share(store, 1)
    await add_share(store, 2, thread_id="thread_2")

    await store.delete(Thread, "ann", "thread_1")

    assert await store.open_share(b"hash 1") is None
    while await store.delete_owned("ann", 100):
        pass
    assert await store.open_share(b"hash 2") is None


async def test_an_owner_has_a_limited_number_of_shares_and_expired_ones_do_not_count(
    store: Store, clock: Clock
) -> None:
    await add_thread(store, 1)
    now = await store.now()
    outcomes = await asyncio.gather(
        *(add_share(store, n, limit=2, expires_at=now + 1000) for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, errors.Conflict) for each in outcomes) == 3

    clock.now += 1000

    await add_share(store, 6, limit=1)


# Published assistants.


async def add_assistant(store: Store, number: int, owner: str = "ann") -> str:
    tools = (ToolSpec("look", "", {"published_at": 1, "note": '"published_at":1'}),)
    assistant = Assistant(id=f"asst_{number}", tools=tools, created_at=1, updated_at=1)
    await store.put(owner, assistant)
    return assistant.id


async def publish(store: Store, number: int, owner: str = "ann", limit: int = 9) -> Assistant:
    return await store.publish_assistant(owner, f"asst_{number}", 7, limit, an_entry(number))


async def list_published(store: Store, owner: str | None = None) -> list[tuple[str, str]]:
    page = await store.list_published_assistants(owner, 9)
    return [(each, assistant.id) for each, assistant in page.data]


async def test_published_assistants_of_all_owners_are_listed_and_no_other_document(
    store: Store,
) -> None:
    for number, owner in enumerate(("ann", "bob", "ann", "ann"), 1):
        await add_assistant(store, number, owner)
    await publish(store, 1)
    await publish(store, 2, "bob")
    await publish(store, 3)

    first = await store.list_published_assistants(None, 2)
    rest = await store.list_published_assistants(None, 2, "asst_2")

    assert [(each, assistant.id) for each, assistant in first.data] == [
        ("ann", "asst_3"),
        ("bob", "asst_2"),
    ]
    assert (first.has_more, rest.has_more) == (True, False)
    assert [(each, assistant.published_at) for each, assistant in rest.data] == [("ann", 7)]
    assert await list_published(store, "bob") == [("bob", "asst_2")]
    for after in ("asst_9", "asst_4"):  # an unpublished assistant is not found either
        with pytest.raises(errors.NotFound):
            await store.list_published_assistants(None, 2, after)


async def test_a_published_assistant_is_taken_back_and_ends_with_its_record(store: Store) -> None:
    for number in (1, 2):
        await add_assistant(store, number)
        await publish(store, number)

    for number in (3, 4):  # the second change changes nothing
        assistant = await store.publish_assistant("ann", "asst_1", None, 9, an_entry(number))
        assert assistant.published_at is None
    await store.delete(Assistant, "ann", "asst_2")

    assert await list_published(store) == []
    assert len((await store.audit_entries(9)).data) == 3
    assert (await store.get(Assistant, "ann", "asst_1")).published_at is None


async def test_no_other_owner_publishes_an_assistant_and_no_owner_too_many(store: Store) -> None:
    for number in (1, 2):
        await add_assistant(store, number)

    with pytest.raises(errors.NotFound):
        await publish(store, 1, "bob")
    await publish(store, 1, limit=1)
    with pytest.raises(errors.Conflict):
        await publish(store, 2, limit=1)

    assert await list_published(store) == [("ann", "asst_1")]
    while await store.delete_owned("ann", 100):
        pass
    assert await list_published(store) == []
