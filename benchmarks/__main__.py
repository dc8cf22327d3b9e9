"""Run benchmarks, print a table for each, and write the results.

    python -m benchmarks [NAME ...] [--quick | --smoke] [--json FILE] [--keep]

The full run takes some minutes, `--quick` less than 90 seconds; `--smoke` only shows that all of it
still runs. Results go to benchmarks/results/latest.json, with `--keep` also to a dated file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop
from msgspec.structs import replace

from benchmarks import (
    chatting,
    cluster,
    context,
    databases,
    engine,
    first,
    growth,
    handoff,
    instructions,
    openai_api,
    page,
    readers,
    search,
    stalled,
    starting,
    streams,
    terminal,
    turns,
    web,
)
from benchmarks.bench import Bench
from benchmarks.report import RESULTS, Result, Row, describe_machine, write

Measure = Callable[[Bench], Awaitable[Sequence[Row]]]

BENCHMARKS: dict[str, tuple[str, Measure]] = {
    "start": ("imports, commands, a server at rest", starting.measure),
    "engine": ("reading one reply, without a network", engine.measure),
    "context": ("the context of a long thread", context.measure),
    "readers": ("the SDK's reader", readers.measure),
    "first": ("time to the first token", first.measure),
    "turns": ("turns of one token, by many clients", turns.measure),
    "openai": ("streams of OpenAI's API and of pages, beside the native one", openai_api.measure),
    "handoff": ("from one turn to the next", handoff.measure),
    "paced": ("processor time of many streams", streams.measure_paced),
    "flood": ("one stream as fast as it goes", streams.measure_flood),
    "stalled": ("a flood whose only reader stalls", stalled.measure),
    "terminal": ("what a redraw of the terminal chat costs", terminal.measure),
    "chat": ("the terminal chat as a program", chatting.measure),
    "page": ("what drawing an answer in the browser costs", page.measure),
    "web": ("many streams through the Flask app", web.measure),
    "cluster": (
        "many streams through servers, PostgreSQL and Redis on one machine",
        cluster.measure,
    ),
    "databases": ("the same work on PostgreSQL as on SQLite", databases.measure),
    "search": ("full-text search, in each database", search.measure),
    "growth": ("what grows with use", growth.measure),
    "capacity": ("how many streams one process carries", streams.measure_capacity),
    "instructions": ("what does not depend on the machine's load", instructions.measure),
}
BY_NAME_ALONE = frozenset({"instructions"})


async def run(names: Sequence[str], size: str, files: Sequence[Path]) -> None:
    """Run the benchmarks in turn; print and write each table as soon as it is measured."""
    results: list[Result] = []
    for name in names:
        title, measure = BENCHMARKS[name]
        load, began = os.getloadavg(), time.monotonic()
        with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as folder:
            rows = await measure(Bench(size, Path(folder)))
        if size == "smoke":
            rows = [replace(row, met=None) for row in rows]  # a smoke run is too short to judge
        seconds = time.monotonic() - began
        results.append(Result(name, title, seconds, describe_machine(load), tuple(rows)))
        print(results[-1], flush=True)
        write(results, size, files)


def main() -> None:
    """Parse the command line and run the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", dest="size", action="store_const", const="quick", default="full")
    sizes.add_argument("--smoke", dest="size", action="store_const", const="smoke")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--keep", action="store_true", help="keep the results under today's date")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    names = arguments.names or [name for name in BENCHMARKS if name not in BY_NAME_ALONE]
    files = [] if arguments.size == "smoke" else [RESULTS / "latest.json"]
    if arguments.json:
        files.append(arguments.json)
    if arguments.keep:
        files.append(RESULTS / time.strftime("%Y-%m-%d.json"))
    uvloop.run(run(names, arguments.size, files))


if __name__ == "__main__":
    main()
