"""Full-text search among few and among many messages."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import asyncpg

from antiphon.engine.snapshot import ChangeSet, ReadSet, Snapshot
from antiphon.engine.text_search import parse_query
from antiphon.ports import Store
from antiphon.stores.postgres.store import PostgresStore
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.types.messages import Message, Text
from antiphon.types.runs import Thread
from benchmarks.bench import Bench
from benchmarks.cluster import AS_SHIPPED
from benchmarks.growth import measure_median_time
from benchmarks.report import Figure, Row, row
from tests.support.services.postgres import Postgres, programs

WORDS = 60  # of a message
VOCABULARY = 20_000
MESSAGES = 100  # of a thread
FEW = 1_000
TARGET = 1.5  # highest ratio of the time among many messages to that among few
HITS = 100
RARE = 20  # of the oldest messages have words that no other has
QUERIES = {
    "a word of most messages": "word0",
    "a rare word": "needle",
    "a word of no message": "nowhere",
    "the beginning of a rare word": "need",
    "the beginning of many words": "word12",
    "a phrase": '"silver needle"',
    "a frequent word and a rare one": "word0 needle",
}


async def measure(bench: Bench) -> list[Row]:
    """Measure searches of each kind in each database."""
    rows = await _measure_store(bench, "SQLite", bench.folder)
    if programs() is None:
        return [*rows, row("PostgreSQL is not here", Figure((0,), ""))]
    return [*rows, *await _measure_store(bench, "PostgreSQL", bench.folder)]


async def _measure_store(bench: Bench, name: str, folder: Path) -> list[Row]:
    few, many = bench.pick((100, 200), (FEW, 10_000), (FEW, 100_000))
    texts = _Texts()
    async with _open_store(name, folder) as (store, analyze):
        await texts.add(store, few, rare=RARE)
        await analyze()
        before = await _measure_queries(bench, store)
        await texts.add(store, many - few)
        await analyze()
        after = await _measure_queries(bench, store)
    return [
        row(
            f"{name}: {kind}, {many:,} messages",
            after[kind],
            f"{few:,} messages",
            before[kind],
            target=f"at most {TARGET} times",
            ratio_at_most=TARGET,
        )
        for kind in before
    ]


async def _measure_queries(bench: Bench, store: Store) -> dict[str, Figure]:
    tries = bench.pick(3, 20, 40)
    figures: dict[str, Figure] = {}
    for kind, query in QUERIES.items():
        phrases = parse_query(query)
        rounds = [
            await measure_median_time(lambda p=phrases: store.search("local", p, limit=HITS), tries)
            for _ in range(bench.pick(1, 3, 5))
        ]
        figures[kind] = Figure(tuple(rounds), "µs")
    return figures


class _Texts:
    """Generator of messages whose words are as frequent as in natural language."""

    def __init__(self) -> None:
        self._random = random.Random(1)
        self._numbers = count(1)

    async def add(self, store: Store, messages: int, rare: int = 0) -> None:
        """Add `messages` messages in threads; the oldest `rare` of them have rare words."""
        texts = [f"{'a silver needle ' if n < rare else ''}{self._text()}" for n in range(messages)]
        for start in range(0, messages, MESSAGES):
            await _add_thread(store, next(self._numbers), texts[start : start + MESSAGES])

    def _text(self) -> str:
        ranks = (int(self._random.paretovariate(0.6)) - 1 for _ in range(WORDS))
        return " ".join(f"word{min(rank, VOCABULARY)}" for rank in ranks)


async def _add_thread(store: Store, number: int, texts: Sequence[str]) -> None:
    thread_id = f"thread_{number}"
    thread = Thread(
        id=thread_id, messages=len(texts), version=1, created_at=number, updated_at=number
    )
    messages = tuple(
        Message(
            id=f"{thread_id}_{place}",
            thread_id=thread_id,
            number=place,
            role="user",
            content=(Text(text),),
            created_at=number,
        )
        for place, text in enumerate(texts, 1)
    )

    def decide(_: Snapshot) -> ChangeSet:
        return ChangeSet(owner="local", thread=thread, messages=messages)

    await store.change(ReadSet(owner="local"), decide)


async def _do_nothing() -> None:
    pass


@asynccontextmanager
async def _open_store(
    name: str, folder: Path
) -> AsyncIterator[tuple[Store, Callable[[], Awaitable[object]]]]:
    """Open a store; yield it with the maintenance that a database does after many writes."""
    if name == "SQLite":
        sqlite: Store = await SqliteStore.open(folder / "search.db")
        try:
            yield sqlite, _do_nothing
        finally:
            await sqlite.close()
        return
    for each in (folder, folder.parent):
        each.chmod(each.stat().st_mode | 0o011)  # PostgreSQL runs as another user
    server = Postgres(folder / "postgres", AS_SHIPPED)
    server.start()
    try:
        address = await server.create()
        store = await PostgresStore.open(address)
        connection = await asyncpg.connect(address)
        try:
            yield store, lambda: connection.execute("VACUUM ANALYZE")
        finally:
            await connection.close()
            await store.close()
    finally:
        server.stop()
