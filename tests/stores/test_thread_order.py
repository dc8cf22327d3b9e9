"""Each store lists threads by their last activity, and one thread of each family."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, ReadSet, Snapshot
from antiphon.engine.thread_order import REPLACES, position_of
from antiphon.ports import Store
from antiphon.types import errors
from antiphon.types.messages import Message, Text
from antiphon.types.runs import Thread
from tests.support.stores.openers import Clock, Opener, open_store


async def add(
    store: Store,
    name: str,
    at: int,
    replaces: str | None = None,
    *,
    owner: str = "ann",
    **more: Any,
) -> Thread:
    """Add a thread with one message and this time of its last change."""
    fields = {"messages": 1, "metadata": {REPLACES: replaces} if replaces else {}, **more}
    thread = Thread(id=name, created_at=1, updated_at=at, **fields)
    await store.change(ReadSet(owner=owner), lambda _: ChangeSet(thread=thread, owner=owner))
    return thread


async def amend(store: Store, name: str, **fields: Any) -> None:
    def decide(records: Snapshot) -> ChangeSet:
        assert records.thread is not None
        return ChangeSet(thread=replace(records.thread, **fields))

    await store.change(ReadSet(owner="ann", thread_id=name), decide)


async def say(store: Store, name: str, *texts: str) -> None:
    """Add messages to a thread that has none."""

    def decide(records: Snapshot) -> ChangeSet:
        thread = records.thread
        assert thread is not None
        messages = tuple(
            Message(
                id=f"{name}_{number}",
                thread_id=name,
                number=number,
                role="user",
                content=(Text(text),),
                created_at=1,
            )
            for number, text in enumerate(texts, 1)
        )
        changed_thread = replace(thread, messages=len(texts), version=thread.version + 1)
        return ChangeSet(thread=changed_thread, messages=messages)

    await store.change(ReadSet(owner="ann", thread_id=name), decide)


async def ids(store: Store, limit: int = 100, owner: str = "ann", **where: str) -> list[str]:
    """Return the ids of a list by activity, read page by page."""
    thread_ids: list[str] = []
    after = None
    while True:
        page = await store.list(Thread, owner, limit=limit, after=after, order="activity", **where)
        thread_ids += [each.id for each in page.data]
        if not page.has_more:
            return thread_ids
        assert len(page.data) == limit
        after = position_of(page.data[-1]).cursor()


async def latest(store: Store, **where: Any) -> list[str]:
    return await ids(store, **{"branches": "latest", **where})


async def test_the_last_changed_thread_comes_first(store: Store) -> None:
    for name, at in (("a", 3), ("b", 1), ("c", 2), ("e", 4), ("d", 4)):
        await add(store, name, at)
    await add(store, "other", 9, owner="bob")

    assert await ids(store, limit=2) == ["e", "d", "a", "c", "b"]
    await amend(store, "b", updated_at=5)
    assert await ids(store, limit=2) == ["b", "e", "d", "a", "c"]
    assert await latest(store, limit=2) == ["b", "e", "d", "a", "c"]


async def test_one_thread_of_each_family_is_listed(store: Store) -> None:
    await add(store, "a", 1)
    await add(store, "a2", 2, "a")
    await add(store, "a3", 5, "a2")
    await add(store, "b", 3)
    await add(store, "b2", 2, "b")

    assert await latest(store, limit=1) == ["a3", "b"]
    await amend(store, "a", updated_at=6)
    assert await latest(store, limit=1) == ["a", "b"]
    assert await ids(store) == ["a", "a3", "b", "b2", "a2"]


async def test_threads_without_messages_are_no_latest_of_a_family(store: Store) -> None:
    await add(store, "a", 1)
    await add(store, "a2", 2, "a", messages=0)
    await add(store, "empty", 3, messages=0)

    assert await latest(store) == ["a"]
    assert await ids(store) == ["empty", "a2", "a"]


async def test_a_family_is_asked_for_by_any_of_its_threads(store: Store) -> None:
    await add(store, "a", 1)
    await add(store, "a2", 2, "a")
    await add(store, "a3", 3, "a2")
    await add(store, "b", 4)

    for name in ("a", "a2", "a3"):
        assert await ids(store, family=name) == ["a3", "a2", "a"]
    assert await ids(store, family="b") == ["b"]
    assert await ids(store, family="none") == []


async def test_a_family_stays_together_when_its_threads_are_deleted(store: Store) -> None:
    await add(store, "a", 1)
    await add(store, "a2", 2, "a")
    await add(store, "a3", 3, "a2")
    await add(store, "a4", 4, "a")
    await store.delete(Thread, "ann", "a2")
    assert await latest(store) == ["a4"]
    await store.delete(Thread, "ann", "a")

    assert await latest(store) == ["a4"]
    assert await ids(store, family="a3") == ["a4", "a3"]
    await store.delete(Thread, "ann", "a4")
    assert await latest(store) == ["a3"]


async def test_a_thread_joins_and_leaves_a_family_by_its_metadata(store: Store) -> None:
    await add(store, "a", 1)
    await add(store, "b", 2)
    await add(store, "c", 3, "b")
    await amend(store, "b", metadata={REPLACES: "a", "topic": "bees"})
    assert await latest(store) == ["c", "b"]
    assert await ids(store, family="a") == ["b", "a"]
    await amend(store, "b", metadata={"topic": "bees"})
    assert await latest(store) == ["c", "a"]
    assert await ids(store, family="b") == ["c", "b"]


async def test_threads_that_replace_each_other_in_a_circle_are_one_family(store: Store) -> None:
    await add(store, "a", 1)
    await add(store, "b", 2, "a")
    await amend(store, "a", metadata={REPLACES: "b"})
    await add(store, "self", 3)
    await amend(store, "self", metadata={REPLACES: "self"})

    assert await latest(store) == ["self", "b"]


async def test_a_thread_of_another_owner_is_no_family(store: Store) -> None:
    await add(store, "theirs", 1, owner="bob")
    await add(store, "theirs2", 2, "theirs", owner="bob")
    await add(store, "mine", 3, "theirs2")

    assert await latest(store) == ["mine"]
    assert await latest(store, owner="bob") == ["theirs2"]
    assert await ids(store, family="theirs") == []
    assert await ids(store, family="theirs2") == ["mine"]


async def test_a_search_lists_of_each_family_the_last_that_has_the_words(store: Store) -> None:
    for name, at, replaces in (("a", 1, None), ("b", 2, "a"), ("c", 3, "b"), ("d", 4, "b")):
        await add(store, name, at, replaces, messages=0, title=f"about {name}")
    await say(store, "a", "bees", "hum")
    await say(store, "b", "bees", "dance")
    await say(store, "c", "cows", "dance")
    await say(store, "d", "cows")

    assert await latest(store, query="bees") == ["b"]
    assert await latest(store, query="dance") == ["c"]
    assert await latest(store, query="ABOUT") == ["d"]
    assert await latest(store, query="hum") == ["a"]
    assert await latest(store, query="hum cows") == []


async def test_a_phrase_is_found_as_it_stands(store: Store) -> None:
    await add(store, "a", 1, messages=0, title="Plan 2024 for bees")
    await add(store, "b", 2, messages=0, title='Bees, 2024: the "plan"')
    await say(store, "b", '5" pipes')

    assert await ids(store, query="plan 2024") == ["b", "a"]
    assert await ids(store, query='"PLAN   2024"') == ["a"]
    assert await ids(store, query="„plan 2024“ bees") == ["a"]
    assert await ids(store, query='bees "plan 2024"') == ["a"]
    assert await ids(store, query="2024") == ["b", "a"]
    assert await ids(store, query='5" pipes') == ["b"]
    assert await ids(store, query='""') == []


async def test_the_newest_first_leaves_out_what_was_replaced_too(store: Store) -> None:
    await add(store, "a", 9)
    await add(store, "b", 1)
    await add(store, "a2", 2, "a")
    page = await store.list(Thread, "ann", limit=1, branches="latest")

    assert [each.id for each in page.data] == ["b"]
    assert page.has_more
    page = await store.list(Thread, "ann", limit=1, branches="latest", after="b")
    assert [each.id for each in page.data] == ["a"]
    assert not page.has_more


@pytest.mark.parametrize("after", ["never", "1.", ".a", "-1.a", "99999999999999999999.a", "²¹.a"])
async def test_a_page_behind_what_is_no_cursor_is_refused(store: Store, after: str) -> None:
    with pytest.raises(errors.NotFound, match="place"):
        await store.list(Thread, "ann", limit=9, after=after, order="activity")


@pytest.mark.slow
@settings(
    max_examples=settings.default.max_examples,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    limit=st.integers(1, 4),
    threads=st.lists(st.tuples(st.integers(1, 5), st.integers(-4, 9)), min_size=1, max_size=12),
    steps=st.lists(
        st.one_of(st.tuples(st.sampled_from(["touch", "remove"]), st.integers(0, 11))), max_size=6
    ),
)
async def test_pages_repeat_no_family_and_skip_none_that_stayed(
    opener: Opener,
    tmp_path_factory: pytest.TempPathFactory,
    limit: int,
    threads: list[tuple[int, int]],
    steps: list[tuple[str, int]],
) -> None:
    async with open_store(opener, tmp_path_factory.mktemp("paging"), Clock()) as store:
        family: dict[str, str] = {}
        for number, (at, replaced_number) in enumerate(threads):
            name = f"t{number}"
            replaced_name = f"t{replaced_number}" if 0 <= replaced_number < number else None
            family[name] = family[replaced_name] if replaced_name else name
            await add(store, name, at, replaced_name)
        before = await latest(store)
        assert len(before) == len(set(family.values()))
        listed_ids: list[str] = []
        changed_families: set[str] = set()
        after, clock, step_iterator = None, 100, iter(steps)
        while True:
            page = await store.list(
                Thread, "ann", limit=limit, after=after, order="activity", branches="latest"
            )
            listed_ids += [each.id for each in page.data]
            if not page.has_more:
                break
            after = position_of(page.data[-1]).cursor()
            action, number = next(step_iterator, ("", 0))
            name = f"t{number}"
            if action and number < len(threads) and family[name] not in changed_families:
                changed_families.add(family[name])
                if action == "touch":
                    clock += 1
                    await amend(store, name, updated_at=clock)
                else:
                    await store.delete(Thread, "ann", name)
        expected_ids = [one for one in before if family[one] not in changed_families]
        assert [one for one in listed_ids if family[one] not in changed_families] == expected_ids


async def test_the_latest_branch_decides_whether_its_family_is_pinned(store: Store) -> None:
    await add(store, "a", 10, pinned=True)
    await add(store, "b", 20, "a")
    await add(store, "c", 30)
    await add(store, "d", 40, "c", pinned=True)

    assert await latest(store, pinned=True) == ["d"]
    assert await latest(store, pinned=False) == ["b"]
