"""What every benchmark is given: how large it shall be, a folder, and servers to measure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.children import Child, child
from benchmarks.load import Target
from benchmarks.report import Figure

T = TypeVar("T")

SIZES = ("smoke", "quick", "full")


@dataclass(frozen=True)
class Bench:
    """`size` is one of `SIZES`; `folder` is empty and goes away afterwards."""

    size: str
    folder: Path

    def pick(self, smoke: T, quick: T, full: T) -> T:
        """What belongs to the size."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.size]

    @asynccontextmanager
    async def upstream(self) -> AsyncIterator[Target]:
        """The fake model server, read directly."""
        async with child(["-m", "benchmarks.upstream"]) as process:
            yield Target("direct", process)

    @asynccontextmanager
    async def relay(self, upstream: Target) -> AsyncIterator[Target]:
        """The bare relay."""
        async with child(["-m", "benchmarks.relay", upstream.child.address]) as process:
            yield Target("relay", process)

    @asynccontextmanager
    async def relay_sdk(self, upstream: Target) -> AsyncIterator[Target]:
        """The relay that uses openai's SDK."""
        async with child(["-m", "benchmarks.relay_sdk", upstream.child.address]) as process:
            yield Target("Starlette + openai SDK", process)

    @asynccontextmanager
    async def antiphon(self, upstream: Target) -> AsyncIterator[Target]:
        """`antiphon serve` on SQLite, in a database of its own."""
        async with self.serve(upstream.child.address + "/v1") as process:
            yield Target("antiphon", process, "/v1/process")

    @asynccontextmanager
    async def serve(self, base_url: str) -> AsyncIterator[Child]:
        """The same as a process."""
        database = self.folder / f"{len(list(self.folder.iterdir()))}.db"
        options = {
            "--port": "0",
            "--base-url": base_url,
            "--model": "flood-1",
            "--database": f"sqlite:///{database}",
            "--max-runs": "4000",
            "--grace": "1",
        }
        command = ["-m", "antiphon", "serve", *(word for pair in options.items() for word in pair)]
        async with child(command, XDG_CONFIG_HOME=str(self.folder)) as process:
            yield process


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
