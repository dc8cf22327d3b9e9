"""Cost of starting: the import, a command, a server's first response, its memory at rest."""

from __future__ import annotations

import asyncio
import sys
import time

from benchmarks.bench import Bench, rounds
from benchmarks.children import child
from benchmarks.report import Figure, Row, row

COMMANDS = {
    "nothing": ["-c", "pass"],
    "import": ["-c", "import antiphon"],
    "import Client": ["-c", "from antiphon import Client"],
    "version": ["-m", "antiphon", "--version"],
    "import openai": ["-c", "import openai"],
}


async def measure(bench: Bench) -> list[Row]:
    """Each from nothing, in a process of its own."""
    names = list(COMMANDS)
    nothing, imported, client, version, usual = await rounds(
        bench.pick(1, 3, 11), _seconds, names, "s"
    )
    ready: list[float] = []
    idle: list[float] = []
    for _ in range(bench.pick(1, 2, 5)):
        # Nobody listens at port 9; nothing is asked of it before a run is.
        async with child(*bench.serving("http://127.0.0.1:9/v1")) as server:
            ready.append(server.ready_seconds)
            idle.append(server.rss())
    bare = _less(imported, nothing)
    return [
        row(
            "import antiphon",
            bare,
            "import openai",
            _less(usual, nothing),
            target="at most 0.15 s",
            at_most=0.15,
        ),
        row(
            "from antiphon import Client",
            _less(client, nothing),
            "import openai",
            _less(usual, nothing),
            target="at most 0.15 s",
            at_most=0.15,
        ),
        row(
            "antiphon --version",
            version,
            "python -c pass",
            nothing,
            target="at most 0.2 s",
            at_most=0.2,
        ),
        row("server ready", Figure(tuple(ready), "s"), target="at most 1.5 s", at_most=1.5),
        row("idle RSS", Figure(tuple(idle), "MB"), target="at most 60 MB", at_most=60),
    ]


async def _seconds(name: str) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *COMMANDS[name], stdout=asyncio.subprocess.DEVNULL
    )
    if await process.wait():
        raise RuntimeError(f"{name} failed")
    return time.perf_counter() - began


def _less(whole: Figure, part: Figure) -> Figure:
    pairs = zip(whole.values, part.values, strict=True)
    return Figure(tuple(max(0.0, a - b) for a, b in pairs), whole.unit)
