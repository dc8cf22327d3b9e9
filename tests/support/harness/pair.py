"""Two workers on one database in this process, with a model whose replies a test sets.

The test controls the database's clock: nothing happens by time alone. Leases are so long that none
is ever renewed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from antiphon.api import operations
from antiphon.buses.local import LocalBus
from antiphon.ports import ResolvedModel, Store, TakeNow, take_none
from antiphon.providers.catalog import Catalog
from antiphon.providers.scripted import ScriptedProvider, ScriptGate
from antiphon.runtime.embedded_transport import AsyncEmbeddedTransport
from antiphon.runtime.runtime import Runtime
from antiphon.settings.settings import Settings
from antiphon.stores.cached.store import CachedStore
from antiphon.types import events
from antiphon.types.chunks import Chunk, ModelRequest

LEASE_SECONDS = 86_400
MODEL = "scripted:one"

NumberedLine = tuple[int, bytes]


class SwitchableModel(ScriptedProvider):
    """Model that answers each request by its current `script`."""

    script = "say Hello."

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        self.requests.append(request)
        once = ScriptedProvider(self.script)
        once.gates = self.gates
        async for chunks in once.stream(request, take_now):
            yield chunks


class SingleModelCatalog(Catalog):
    """Catalog that opens the same provider for every model."""

    def __init__(self, settings: Settings, model: SwitchableModel) -> None:
        super().__init__(settings, {})
        self._model = model

    async def open(self, model: str, *_: object) -> ResolvedModel:
        return ResolvedModel(provider=self._model, model=model)


class WorkerPair:
    """Two workers with the clock `now`.

    Each gets all wake-ups of the other at once: other tests cover lost wake-ups.
    """

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.model = SwitchableModel()
        self.transports: list[AsyncEmbeddedTransport] = []
        self._runtimes: list[Runtime] = []
        self._gates = 0

    async def open(self, store: Callable[[Callable[[], int]], Awaitable[Store]]) -> None:
        """Open both workers."""
        settings = Settings(
            model=MODEL, lease_duration=LEASE_SECONDS, expiry_interval=LEASE_SECONDS
        )
        bus = LocalBus()
        for _ in range(2):
            cached_store = CachedStore(await store(lambda: self.now))
            runtime = Runtime(settings, cached_store, bus, SingleModelCatalog(settings, self.model))
            runtime.worker.start()
            self._runtimes.append(runtime)
            self.transports.append(AsyncEmbeddedTransport.over(runtime))

    async def close(self) -> None:
        """Close both workers."""
        for runtime in self._runtimes:
            await runtime.drain(0)
            await runtime.store.close()
            await runtime.catalog.close()

    async def read_log(self, worker: int, run_id: str) -> list[NumberedLine]:
        """Return all events of a run, as that worker reads them."""
        turn: list[NumberedLine] = []
        while (page := await self._runtimes[worker].store.read_events(run_id, len(turn))).lines:
            turn += enumerate(page.lines, page.first)
        return turn

    async def pass_time(self, seconds: float) -> None:
        """Advance the clock of the database, and sweep in both workers."""
        self.now += int(seconds * 1000)
        await asyncio.gather(*(runtime.worker.sweeper.sweep() for runtime in self._runtimes))

    async def read_turn(
        self, line: AsyncEmbeddedTransport, call: Any, key: str | None = None
    ) -> list[NumberedLine]:
        """Stream a turn and return its events."""
        return [turn async for turn in self._stream_turn(line, call, key)]

    async def read_overtaken_turn(
        self, line: AsyncEmbeddedTransport, call: Any, gate: ScriptGate, then: str
    ) -> list[NumberedLine]:
        """Read a turn whose worker loses its lease at the gate and continues after the turn's end.

        It must have sent a delta before. The other worker gets the script `then` from the model.
        """
        turn: list[NumberedLine] = []
        run_task: asyncio.Task[None] | None = None
        async for each in self._stream_turn(line, call):
            turn.append(each)
            if run_task is None and b".delta" in each[1]:
                (run_task,) = [task for task in asyncio.all_tasks() if _is_run_task(task)]
                await gate.reached.wait()
                self.model.script = then
                await self.pass_time(LEASE_SECONDS + 1)
        gate.opened.set()
        assert run_task is not None
        await asyncio.wait([run_task])
        return turn

    async def _stream_turn(
        self, line: AsyncEmbeddedTransport, call: Any, key: str | None = None
    ) -> AsyncGenerator[NumberedLine]:
        async for batch in line.stream(call, key):
            for number, event in batch:
                yield number, events.encode(event)

    def gate(self) -> tuple[str, ScriptGate]:
        """Add a gate at which the model waits; return its name in scripts, and the gate."""
        self._gates += 1
        name = f"gate-{self._gates}"
        return name, self.model.gates[name]


def _is_run_task(task: asyncio.Task[Any]) -> bool:
    return task.get_name().startswith("run ")


def new_owner() -> str:
    """Return the name of a new owner."""
    return f"owner-{os.urandom(6).hex()}"


def new_process(thread_id: str, **fields: Any) -> operations.Process:
    """Return the operation that adds a message and runs it."""
    return operations.Process(thread_id=thread_id, message=operations.NewMessage("Well?"), **fields)
