"""Cost of size: a long reply, and a database with a long history."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

from antiphon.engine import transitions
from antiphon.engine.snapshot import ChangeSet, ReadSet, RunUpdate
from antiphon.engine.unit_of_work import status_event
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.types.runs import Run, RunLease, Status, Thread
from benchmarks.bench import Bench
from benchmarks.load import Record, Target, flood, open_stream
from benchmarks.report import Figure, Row, row

STREAMS = 4
RATE = 4_000  # chunks a second in each
FLAT = 1.25
AT_ONCE = 200


async def measure(bench: Bench) -> list[Row]:
    """Compare the cost of chunks by place in the reply, and of calls by the number of runs."""
    async with bench.upstream() as upstream, bench.antiphon(upstream) as antiphon:
        rows = [*await _compare_places(bench, antiphon), *await _compare_lengths(bench, antiphon)]
    return [*rows, *await _compare_calls(bench)]


async def _compare_places(bench: Bench, antiphon: Target) -> list[Row]:
    """Compare the CPU per chunk in the first and in the last eighth of a long reply."""
    chunks = bench.pick(800, 16_000, 64_000)
    record = Record()
    began = antiphon.child.cpu()
    streams = [
        await open_stream(antiphon, f"paced-{RATE}-{chunks}", record, chunks)
        for _ in range(STREAMS)
    ]
    marks = [(0, began)]
    for eighth in (1, 7):
        await _wait_for_chunks(record, chunks * STREAMS * eighth // 8)
        marks.append((record.chunks, antiphon.child.cpu()))
    # The last chunks are left out: they carry the cost of the end.
    await _wait_for_chunks(record, chunks * STREAMS * 127 // 128)
    marks.append((record.chunks, antiphon.child.cpu()))
    await asyncio.gather(*(each.ended for each in streams))
    first, last = (
        Figure(((after[1] - before[1]) / (after[0] - before[0]) * 1e6,), "µs")
        for before, after in ((marks[0], marks[1]), (marks[2], marks[3]))
    )
    return [
        row(
            f"CPU per chunk, last eighth of {chunks:,}",
            last,
            "first eighth",
            first,
            target=f"flat: at most {FLAT} times",
            ratio_at_most=FLAT,
        )
    ]


async def _wait_for_chunks(record: Record, chunks: int) -> None:
    async with asyncio.timeout(60):
        while record.chunks < chunks:  # noqa: ASYNC110 - an event per chunk would add load
            await asyncio.sleep(0.005)


async def _compare_lengths(bench: Bench, antiphon: Target) -> list[Row]:
    """Compare the CPU per chunk in floods of several lengths, the request included."""
    chunks_per_round = bench.pick(640, 64_000, 64_000)
    lengths = bench.pick((64, 640), (1_000, 10_000, 64_000), (1_000, 10_000, 64_000))
    figures: list[Figure] = []
    await flood(antiphon, 640)
    for length in lengths:
        costs = [
            (await flood(antiphon, length, times=max(1, chunks_per_round // length))).cpu_per_chunk
            for _ in range(bench.pick(1, 2, 5))
        ]
        figures.append(Figure(tuple(costs), "µs"))
    shorter = figures[-2]
    return [
        *(
            row(f"CPU per chunk, flood of {length:,}", figure)
            for length, figure in zip(lengths[:-1], figures[:-1], strict=True)
        ),
        row(
            f"CPU per chunk, flood of {lengths[-1]:,}",
            figures[-1],
            f"of {lengths[-2]:,}",
            shorter,
            target=f"flat: at most {FLAT} times",
            ratio_at_most=FLAT,
        ),
    ]


async def _compare_calls(bench: Bench) -> list[Row]:
    """Compare calls that an index answers among few runs and among ten times as many."""
    few, many = bench.pick((10, 100), (500, 5_000), (1_000, 10_000))
    store = await SqliteStore.open(bench.folder / "growth.db")
    try:
        await _add_runs(store, 0, few)
        before = await _measure_calls(bench, store, few)
        await _add_runs(store, few, many)
        after = await _measure_calls(bench, store, many)
    finally:
        await store.close()
    return [
        row(
            f"{name}, {many:,} runs",
            after[name],
            f"{few:,} runs",
            before[name],
            target="at most 1.5 times",
            ratio_at_most=1.5,
        )
        for name in before
    ]


async def _measure_calls(bench: Bench, store: SqliteStore, runs: int) -> dict[str, Figure]:
    """Return the wall time per call in microseconds; each round is a median of many tries."""
    middle = runs // 2
    run, thread = f"run_{middle}", f"thread_{middle}"
    lease = transitions.claim("benchmark", 1_000)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "get a run": lambda: store.get(Run, "local", run),
        "list a thread's runs": lambda: store.list(Run, "local", limit=20, thread_id=thread),
        "list threads": lambda: store.list(Thread, "local", limit=20),
        "read a log": lambda: store.read_events(run, 0),
        "look for a run to drive": lambda: store.claim(lease),
        "look for what is overdue": lambda: store.overdue_runs(100),
    }
    tries = bench.pick(5, 100, 200)
    figures: dict[str, Figure] = {}
    for name, work in calls.items():
        rounds = [await measure_median_time(work, tries) for _ in range(bench.pick(1, 3, 5))]
        figures[name] = Figure(tuple(rounds), "µs")
    return figures


async def measure_median_time(work: Callable[[], Awaitable[object]], tries: int) -> float:
    """Return the median wall time of a call, in microseconds."""
    times: list[float] = []
    for _ in range(tries):
        began = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began)
    return median(times) * 1e6


async def _add_runs(store: SqliteStore, first: int, last: int) -> None:
    """Add runs that were cancelled before they started, each in its own thread."""
    for start in range(first, last, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, last))
        await asyncio.gather(*(_add_run(store, number) for number in numbers))


async def _add_run(store: SqliteStore, number: int) -> None:
    thread = Thread(id=f"thread_{number}", title="a thread", created_at=1, updated_at=1)
    queued = Run(id=f"run_{number}", thread_id=thread.id, model="demo", created_at=1)
    cancelled = Run(
        id=queued.id,
        thread_id=thread.id,
        model="demo",
        status=Status.CANCELLED,
        created_at=1,
        ended_at=2,
    )
    change = ChangeSet(
        owner="local",
        thread=thread,
        run_updates=(
            RunUpdate(queued, RunLease(last_event=1), (status_event(queued),)),
            RunUpdate(cancelled, RunLease(last_event=2), (status_event(cancelled),)),
        ),
    )
    await store.change(ReadSet(owner="local"), lambda _: change)
