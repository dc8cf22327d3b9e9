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
    """`size` is one of `SIZES`; `folder` is empty and goes away afterwards."""

    size: str
    folder: Path

    def pick(self, smoke: T, quick: T, full: T) -> T:
        """Return the value for the chosen size."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.size]

    @asynccontextmanager
    async def upstream(self, rate: int = RATE) -> AsyncIterator[Target]:
        """The fake model server, read directly; its streams are paced at this rate."""
        async with child(*PYTHON, "benchmarks.upstream", str(rate)) as process:
            yield Target("direct", process)

    @asynccontextmanager
    async def relay(self, upstream: Target) -> AsyncIterator[Target]:
        """The bare relay."""
        async with child(*PYTHON, "benchmarks.relay", upstream.child.address) as process:
            yield Target("relay", process)

    @asynccontextmanager
    async def relay_sdk(self, upstream: Target) -> AsyncIterator[Target]:
        """The relay that uses openai's SDK."""
        async with child(*PYTHON, "benchmarks.relay_sdk", upstream.child.address) as process:
            yield Target("Starlette + openai SDK", process)

    @asynccontextmanager
    async def litellm(self, upstream: Target) -> AsyncIterator[Target]:
        """LiteLLM's proxy, installed when it is asked for."""
        python = str(install_python(REQUIREMENTS / "litellm.txt"))
        command = (python, "benchmarks/litellm_proxy.py", upstream.child.address)
        async with child(*command, patience=120) as process:
            yield Target("LiteLLM", process)

    @asynccontextmanager
    async def ogx(self, upstream: Target) -> AsyncIterator[Target]:
        """OGX's server on SQLite, installed when it is asked for; it needs Python 3.12."""
        python = str(install_python(REQUIREMENTS / "ogx.txt", "3.12"))
        folder = self.folder / "ogx"
        folder.mkdir()
        command = (python, "benchmarks/ogx_server.py", upstream.child.address, str(folder))
        async with child(*command, patience=120) as process:
            yield Target("OGX", process, model_prefix="up/")

    @asynccontextmanager
    async def antiphon(self, upstream: Target) -> AsyncIterator[Target]:
        """`antiphon serve` on SQLite, in a database of its own."""
        async with child(*self.serving(upstream.child.address + "/v1")) as process:
            yield Target("antiphon", process, "/v1/process")

    def serving(self, base_url: str, command: str = "serve", **more: str) -> Sequence[str]:
        """The command that serves, with models at that address."""
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
        """The address of one that nobody has used."""
        return f"sqlite:///{self.folder / f'{next(_NUMBERS)}.db'}"


async def rounds(
    times: int, measure: Callable[[T], Awaitable[float]], of: Sequence[T], unit: str
) -> list[Figure]:
    """Measure each in turn, and all of them again: what else the machine does befalls all alike."""
    values: list[list[float]] = [[] for _ in of]
    for turn in range(times):
        for place in range(len(of)):
            which = (place + turn) % len(
                of
            )  # whoever comes first in one round comes last in another
            values[which].append(await measure(of[which]))
    return [Figure(tuple(each), unit) for each in values]
