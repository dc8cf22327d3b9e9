"""The context of a thread of 10,000 messages: from the store, from the cache, and from objects."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon.engine.context_window import cut_to_window
from antiphon.engine.snapshot import ChangeSet, ReadSet
from antiphon.stores.cached.store import CachedStore
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.types.messages import Message, Text
from antiphon.types.runs import Thread
from benchmarks.bench import Bench
from benchmarks.report import Figure, Row, inverse, row
from benchmarks.resources import measure_usage

WORDS = "The quick brown fox jumps over the lazy dog, and the dog lets it pass once more. " * 2


async def measure(bench: Bench) -> list[Row]:
    """Measure the CPU time until the provider's `messages` are bytes.

    The baseline does a `json.loads` and builds two dataclasses for each row; an ORM does more.
    """
    count, times = bench.pick(100, 10_000, 10_000), bench.pick(1, 3, 7)
    file = bench.folder / "context.db"
    store = CachedStore(await SqliteStore.open(file))
    try:
        thread = await _add_thread(store, count)

        async def read_cold() -> None:
            cut_to_window(await store.context(thread, fresh=True), None)

        async def read_cached() -> None:
            cut_to_window(await store.context(thread), None)

        cold_cpu, cold_stall = await _measure_cost(read_cold, times, at_once=1)
        cached_cpu, cached_stall = await _measure_cost(
            read_cached, times, at_once=bench.pick(1, 50, 200)
        )
    finally:
        await store.close()
    objects = Figure(tuple(_measure_objects(file, count) for _ in range(times)), "ms")
    name = f"{count:,} messages"
    against = "objects for each row"
    return [
        row(
            f"CPU of {name}, cached",
            cached_cpu,
            against,
            objects,
            target="100 times less",
            ratio=inverse,
            ratio_at_least=100,
        ),
        row(
            f"CPU of {name}, cold",
            cold_cpu,
            against,
            objects,
            target="40 times less",
            ratio=inverse,
            ratio_at_least=40,
        ),
        row("longest stall of the loop, cold", cold_stall, target="at most 10 ms", at_most=10),
        row("longest stall of the loop, cached", cached_stall, target="at most 10 ms", at_most=10),
    ]


async def _add_thread(store: CachedStore, count: int) -> str:
    thread = Thread(id="thread_long", messages=count, version=1, created_at=1, updated_at=1)
    messages = tuple(
        Message(
            id=f"msg_{number}",
            thread_id=thread.id,
            number=number,
            role="user" if number % 2 else "assistant",
            content=(Text(f"{number}: {WORDS}"),),
            created_at=number,
        )
        for number in range(1, count + 1)
    )
    change = ChangeSet(owner="local", thread=thread, messages=messages)
    await store.change(ReadSet(owner="local"), lambda _: change)
    return thread.id


async def _measure_cost(
    work: Callable[[], Awaitable[None]], times: int, at_once: int
) -> tuple[Figure, Figure]:
    """Return the CPU of each call and the longest delay of another task on the loop, in ms."""
    await work()
    cpu: list[float] = []
    stalls: list[float] = []
    for _ in range(times):
        delays: list[float] = [0.0]
        with measure_usage() as usage:
            watch = asyncio.create_task(_record_delays(delays))
            await asyncio.sleep(0)
            for _ in range(at_once):
                await work()
        await asyncio.sleep(0.002)
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        cpu.append(usage.cpu / at_once * 1e3)
        stalls.append(max(delays) * 1e3)
    return Figure(tuple(cpu), "ms"), Figure(tuple(stalls), "ms")


async def _record_delays(delays: list[float]) -> None:
    """Sleep for a millisecond at a time, and record by how many seconds each sleep is late."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + 0.001
        await asyncio.sleep(0.001)
        delays.append(clock() - due)


@dataclass
class _Part:
    type: str
    text: str


@dataclass
class _Row:
    id: str
    number: int
    role: str
    content: list[_Part]


def _measure_objects(file: Path, count: int) -> float:
    with closing(sqlite3.connect(file)) as connection, measure_usage() as usage:
        rows = connection.execute("SELECT doc FROM messages ORDER BY number").fetchall()
        objects = [_parse_row(json.loads(doc)) for (doc,) in rows]
        messages = [
            {"role": each.role, "content": "".join(part.text for part in each.content)}
            for each in objects
        ]
        payload = json.dumps(messages).encode()
    assert len(objects) == count
    assert payload
    return usage.cpu * 1e3


def _parse_row(doc: dict[str, Any]) -> _Row:
    content = [_Part(type=part["type"], text=part["text"]) for part in doc["content"]]
    return _Row(id=doc["id"], number=doc["number"], role=doc["role"], content=content)
