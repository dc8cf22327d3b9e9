"""Environment of a benchmark: its size, a folder, and servers to measure."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

from benchmarks.children import child
from benchmarks.load import RATE, Target
from benchmarks.report import Figure
from tests.support.programs import install_python

T = TypeVar("T")

SIZES = ("smoke", "quick", "full")
PYTHON = (sys.executable, "-m")
REQUIREMENTS = Path(__file__).parents[1] / "requirements"

_NUMBERS = count()


@dataclass(frozen=True)
class Bench:
    """Size and folder of one benchmark: one of `SIZES`, and an empty temporary folder."""

    size: str
    folder: Path

    def pick(self, smoke: T, quick: T, full: T) -> T:
        """Return the value for the chosen size."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.size]

    @asynccontextmanager
    async def upstream(self, rate: int = RATE) -> AsyncIterator[Target]:
        """Run the fake model server, to be read directly; its streams are paced at this rate."""
        async with child(*PYTHON, "benchmarks.upstream", str(rate)) as process:
            yield Target("direct", process)

    @asynccontextmanager
    async def relay(self, upstream: Target) -> AsyncIterator[Target]:
        """Run the bare relay."""
        async with child(*PYTHON, "benchmarks.relay", upstream.child.address) as process:
            yield Target("relay", process)

    @asynccontextmanager
    async def relay_sdk(self, upstream: Target) -> AsyncIterator[Target]:
        """Run the relay that uses openai's SDK."""
        async with child(*PYTHON, "benchmarks.relay_sdk", upstream.child.address) as process:
            yield Target("Starlette + openai SDK", process)

    @asynccontextmanager
    async def litellm(self, upstream: Target) -> AsyncIterator[Target]:
        """Run LiteLLM's proxy; it is installed at its first use."""
        python = str(install_python(REQUIREMENTS / "litellm.txt"))
        command = (python, "benchmarks/litellm_proxy.py", upstream.child.address)
        async with child(*command, patience=120) as process:
            yield Target("LiteLLM", process)

    @asynccontextmanager
    async def ogx(self, upstream: Target) -> AsyncIterator[Target]:
        """Run OGX's server on SQLite; it is installed at its first use, and needs Python 3.12."""
        python = str(install_python(REQUIREMENTS / "ogx.txt", "3.12"))
        folder = self.folder / "ogx"
        folder.mkdir()
        command = (python, "benchmarks/ogx_server.py", upstream.child.address, str(folder))
        async with child(*command, patience=120) as process:
            yield Target("OGX", process, model_prefix="up/")

    @asynccontextmanager
    async def antiphon(self, upstream: Target) -> AsyncIterator[Target]:
        """Run `antiphon serve` on SQLite, with its own database."""
        async with child(*self.serve_command(upstream.child.address + "/v1")) as process:
            yield Target("antiphon", process, "/v1/process")

    def serve_command(self, base_url: str, command: str = "serve", **more: str) -> Sequence[str]:
        """Return the command of a server that finds its models at `base_url`."""
        options = {
            "--port": "0",
            "--base-url": base_url,
            "--model": "flood-1",
            "--database": self.database(),
            "--max-concurrent-runs": "4000",
            "--shutdown-timeout": "1",
            **more,
        }
        return [*PYTHON, "antiphon", command, *(word for pair in options.items() for word in pair)]

    def database(self) -> str:
        """Return the address of a new database."""
        return f"sqlite:///{self.folder / f'{next(_NUMBERS)}.db'}"


async def rounds(
    times: int, measure: Callable[[T], Awaitable[float]], subjects: Sequence[T], unit: str
) -> list[Figure]:
    """Measure the subjects in interleaved rounds, so that other load affects all alike."""
    values: list[list[float]] = [[] for _ in subjects]
    for turn in range(times):
        for place in range(len(subjects)):
            index = (place + turn) % len(subjects)  # each round starts with another subject
            values[index].append(await measure(subjects[index]))
    return [Figure(tuple(each), unit) for each in values]
