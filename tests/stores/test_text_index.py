"""Each store finds messages and titles by their words."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, ReadSet, Snapshot
from antiphon.engine.text_search import TextMatches, index_words, parse_query
from antiphon.ports import Store
from antiphon.stores.postgres.store import PostgresStore
from antiphon.stores.rows import SEARCH_BYTES
from antiphon.types.messages import IndexProgress
from antiphon.types.runs import Thread
from tests.support.services.postgres import Postgres
from tests.support.stores.databases import PATIENT
from tests.support.stores.openers import OPENERS, Clock, Opener, open_store
from tests.support.stores.steps import a_message, add_thread, say

CANARY = "wagtail"


async def search(
    store: Store, query: str, *, owner: str = "ann", limit: int = 9, before: int | None = None
) -> TextMatches:
    return await store.search(owner, parse_query(query), limit=limit, before=before)


async def find_message_ids(store: Store, query: str, owner: str = "ann") -> list[str]:
    return [match.message.id for match in (await search(store, query, owner=owner)).messages]


async def add_messages(store: Store, *texts: str, thread: str = "thread_1", after: int = 0) -> None:
    """Add messages to a thread that has `after` messages."""
    messages = [
        a_message(number, text, thread, id=f"{thread}_{number}")
        for number, text in enumerate(texts, after + 1)
    ]
    await store.change(ReadSet(owner="ann", thread_id=thread), say(*messages))


def rename(title: str) -> Callable[[Snapshot], ChangeSet]:
    def decide(records: Snapshot) -> ChangeSet:
        assert records.thread is not None
        return ChangeSet(thread=replace(records.thread, title=title))

    return decide


async def index_everything(store: Store) -> None:
    while await store.index_text():
        pass


async def test_messages_are_found_newest_first_with_their_threads(store: Store) -> None:
    thread = await add_thread(store, 1, title="Bees")
    await add_thread(store, 2, title="Of cows")
    await add_messages(store, "bees hum", "cows")
    await add_messages(store, "more bees", thread="thread_2")
    await add_messages(store, "one bee", after=2)

    matches = await search(store, "bee")

    assert [match.message.id for match in matches.messages] == [
        "thread_1_3",
        "thread_2_1",
        "thread_1_1",
    ]
    assert [match.thread.id for match in matches.messages] == ["thread_1", "thread_2", "thread_1"]
    assert [each.id for each in matches.threads] == [thread.id]
    places = [match.place for match in matches.messages]
    assert places == sorted(places, reverse=True)
    assert not matches.more
    assert matches.indexing is None


async def test_further_matches_are_found_below_a_place(store: Store) -> None:
    await add_thread(store, title="bees")
    await add_messages(store, *(f"bees {number}" for number in range(5)))

    first = await search(store, "bees", limit=3)
    rest = await search(store, "bees", limit=3, before=first.messages[-1].place)

    assert [match.message.number for match in first.messages] == [5, 4, 3]
    assert (first.more, len(first.threads)) == (True, 1)
    assert [match.message.number for match in rest.messages] == [2, 1]
    assert (rest.more, rest.threads) == (False, [])


async def test_an_answer_has_a_limited_size_but_one_message(store: Store) -> None:
    await add_thread(store)
    await add_messages(store, "bees", f"bees {'x' * SEARCH_BYTES}", "bees")

    first = await search(store, "bees")
    second = await search(store, "bees", before=first.messages[-1].place)

    assert ([match.message.number for match in first.messages], first.more) == ([3], True)
    assert ([match.message.number for match in second.messages], second.more) == ([2], True)


@pytest.mark.parametrize(
    ("text", "query", "finds"),
    [
        ("The Crème brûlée", "creme BRULEE", True),
        ("deployment", "deploy", True),
        ("deployment", '"deploy"', False),
        ("redeploy", "deploy", False),
        ("plan 2024 for", '"plan 2024"', True),
        ("2024 plan", '"plan 2024"', False),
        ("foo-bar", "foo-ba", True),
        ("foo bar", "foo missing", False),
        ("会議は東京です", "東京", True),
        ("会議は東京です", "京東", False),
        ("a b c", "b", True),
        ("bc", "b", False),
        ("well 🎉 done", "🎉", True),
        ("it's 'quoted' \\ & | ! :* <->", "it's 'quoted'", True),
        ("near and or not", "NEAR AND OR NOT", True),
        ("owner words", "owner:words", True),
        ("nothing", "*", False),
    ],
)
async def test_a_text_is_found_by_its_words(
    store: Store, text: str, query: str, *, finds: bool
) -> None:
    await add_thread(store, 1)
    await add_thread(store, 2, title=text)
    await add_messages(store, text)

    assert await find_message_ids(store, query) == (["thread_1_1"] if finds else [])
    page = await store.list(Thread, "ann", limit=9, query=query)
    assert [each.id for each in page.data] == (["thread_2", "thread_1"] if finds else [])


@pytest.mark.slow
@settings(
    max_examples=2 * settings.default.max_examples,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(texts=st.lists(st.text(max_size=80), min_size=1, max_size=4))
async def test_every_text_is_found_by_each_of_its_words(
    opener: Opener, tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    async with open_store(opener, tmp_path_factory.mktemp("words"), Clock()) as store:
        await add_thread(store)
        await add_messages(store, *texts)
        for number, text in enumerate(texts, 1):
            for word in set(index_words(text)):
                assert f"thread_1_{number}" in await find_message_ids(store, word)


async def test_another_owners_text_is_never_found(store: Store) -> None:
    await add_thread(store, 1, owner="bob", title=CANARY)
    await add_thread(store, 2)
    await add_messages(store, CANARY, thread="thread_2")

    assert await find_message_ids(store, CANARY, owner="bob") == []
    assert [each.id for each in (await search(store, CANARY)).threads] == []
    assert await find_message_ids(store, b"bob".hex()) == []
    assert await find_message_ids(store, f'"{b"ann".hex()}"') == []


async def test_what_is_deleted_is_not_found(store: Store) -> None:
    await add_thread(store, 1, title=CANARY)
    await add_thread(store, 2)
    await add_messages(store, CANARY)
    await add_messages(store, f"{CANARY} stays", f"{CANARY} goes", thread="thread_2")
    await store.change(ReadSet(owner="ann", thread_id="thread_2"), say(keep_messages=1))
    await store.delete(Thread, "ann", "thread_1")

    for _ in range(2):
        matches = await search(store, CANARY)
        assert [match.message.id for match in matches.messages] == ["thread_2_1"]
        assert (matches.threads, matches.indexing) == ([], None)
        await index_everything(store)


async def test_a_new_title_is_found_and_the_old_one_is_not(store: Store) -> None:
    await add_thread(store, 1, title="Bees")
    await store.change(ReadSet(owner="ann", thread_id="thread_1"), rename("Cows"))

    assert (await search(store, "bees")).threads == []
    assert [each.title for each in (await search(store, "cows")).threads] == ["Cows"]


async def test_text_that_changes_its_owner_is_found_by_the_new_one(store: Store) -> None:
    await add_thread(store, title=CANARY)
    await add_messages(store, CANARY)

    while await store.transfer_owned("ann", "bob", 1):
        pass
    await index_everything(store)

    assert await find_message_ids(store, CANARY, owner="bob") == ["thread_1_1"]
    assert len((await search(store, CANARY, owner="bob")).threads) == 1
    assert await find_message_ids(store, CANARY) == []
    assert (await search(store, CANARY)).threads == []


# Text of an older version, which has no index.

AS_BEFORE: Sequence[str] = (
    "DELETE FROM message_index",
    "INSERT OR REPLACE INTO reindex SELECT seq, FALSE FROM messages",
)


async def test_text_of_the_version_before_is_indexed_newest_first(tmp_path: Path) -> None:
    opener = OPENERS["sqlite"]
    async with open_store(opener, tmp_path, Clock()) as store:
        await add_thread(store)
        await add_messages(store, *(f"{CANARY} {number}" for number in range(120)))
    with closing(sqlite3.connect(next(tmp_path.glob("**/*.db")))) as file, file:
        for statement in AS_BEFORE:
            file.execute(statement)

    async with open_store(opener, tmp_path, Clock()) as store:
        assert (await search(store, CANARY)).indexing == IndexProgress(0, 120)
        assert await store.index_text()
        matches = await search(store, CANARY)
        assert [match.message.number for match in matches.messages[:2]] == [120, 119]
        assert matches.indexing == IndexProgress(50, 120)
        await index_everything(store)
        assert (await search(store, CANARY, limit=1000)).indexing is None
        assert len((await search(store, CANARY, limit=1000)).messages) == 120


async def test_postgresql_indexes_what_an_older_server_has_written(postgres: Postgres) -> None:
    address = await postgres.create()
    store = await PostgresStore.open(address, timeouts=PATIENT)
    connection = await asyncpg.connect(address)
    try:
        await add_thread(store, title="Bees")
        await add_messages(store, *(f"{CANARY} {number}" for number in range(120)))
        await connection.execute("UPDATE messages SET search = NULL")
        await connection.execute("UPDATE threads SET words = 'bees as before'")

        first = await search(store, CANARY)
        assert (first.messages, first.indexing) == ([], IndexProgress(0, 120))
        assert (await search(store, "bees")).threads == []
        assert await store.index_text()
        second = await search(store, CANARY)
        assert [match.message.number for match in second.messages[:2]] == [120, 119]
        assert second.indexing == IndexProgress(50, 120)
        assert len((await search(store, "bees")).threads) == 1
        await index_everything(store)
        last = await search(store, CANARY, limit=1000)
        assert (len(last.messages), last.indexing) == (120, None)
    finally:
        await connection.close()
        await store.close()


async def test_a_message_that_an_older_server_writes_is_indexed_later(tmp_path: Path) -> None:
    async with open_store(OPENERS["sqlite"], tmp_path, Clock()) as store:
        await add_thread(store)
        await add_messages(store, "here")
        with closing(sqlite3.connect(next(tmp_path.glob("**/*.db")))) as file, file:
            file.execute("DELETE FROM message_index")
            file.execute(
                "INSERT INTO messages SELECT seq + 1, id || 'b', thread_id, number + 1, role, size,"
                " tokens, chat, 'here', CAST(replace(CAST(doc AS TEXT), id, id || 'b') AS BLOB)"
                " FROM messages"
            )
        assert (await search(store, "here")).indexing == IndexProgress(1, 2)
        await index_everything(store)
        assert await find_message_ids(store, "here") == ["thread_1_1b"]


async def test_words_of_an_erased_owner_leave_the_file(tmp_path: Path) -> None:
    async with open_store(OPENERS["sqlite"], tmp_path, Clock()) as store:
        await add_thread(store, 1, title=f"title of {CANARY}")
        await add_thread(store, 2, owner="bob", title="bees")
        await add_messages(store, *(f"{CANARY}{number}" for number in range(50)))
        assert CANARY.encode() in b"".join(each.read_bytes() for each in tmp_path.glob("**/*.db*"))

        while await store.delete_owned("ann", 100):
            pass

        assert [each.id for each in (await search(store, "bees", owner="bob")).threads] == [
            "thread_2"
        ]
    files = [each.read_bytes() for each in tmp_path.glob("**/*.db*")]
    assert files
    assert CANARY.encode() not in b"".join(files)
    with closing(sqlite3.connect(next(tmp_path.glob("**/*.db")))) as file:
        for index in ("message_index", "title_index"):
            file.execute(f"INSERT INTO {index} ({index}) VALUES ('integrity-check')")
