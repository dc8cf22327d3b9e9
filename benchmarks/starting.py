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
    """Measure each command and each server in a new process."""
    names = list(COMMANDS)
    bare_python, antiphon_import, client_import, version, openai_import = await rounds(
        bench.pick(1, 3, 11), _measure_command, names, "s"
    )
    ready: list[float] = []
    idle: list[float] = []
    for _ in range(bench.pick(1, 2, 5)):
        # Nothing listens at port 9; the server connects to it only for a run.
        async with child(*bench.serve_command("http://127.0.0.1:9/v1")) as server:
            ready.append(server.ready_seconds)
            idle.append(server.rss())
    own_import = _subtract(antiphon_import, bare_python)
    return [
        row(
            "import antiphon",
            own_import,
            "import openai",
            _subtract(openai_import, bare_python),
            target="at most 0.15 s",
            at_most=0.15,
        ),
        row(
            "from antiphon import Client",
            _subtract(client_import, bare_python),
            "import openai",
            _subtract(openai_import, bare_python),
            target="at most 0.15 s",
            at_most=0.15,
        ),
        row(
            "antiphon --version",
            version,
            "python -c pass",
            bare_python,
            target="at most 0.2 s",
            at_most=0.2,
        ),
        row("server ready", Figure(tuple(ready), "s"), target="at most 1.5 s", at_most=1.5),
        row("idle RSS", Figure(tuple(idle), "MB"), target="at most 60 MB", at_most=60),
    ]


async def _measure_command(name: str) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *COMMANDS[name], stdout=asyncio.subprocess.DEVNULL
    )
    if await process.wait():
        raise RuntimeError(f"{name} failed")
    return time.perf_counter() - began


def _subtract(whole: Figure, part: Figure) -> Figure:
    pairs = zip(whole.values, part.values, strict=True)
    return Figure(tuple(max(0.0, a - b) for a, b in pairs), whole.unit)
