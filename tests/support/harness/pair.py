"""Two workers on one database in this process, and a model that says what it is told to say.

The database's clock is the test's: nothing happens by time but what the test lets pass. A lease is
so long that none is ever prolonged.
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

Told = tuple[int, bytes]


class Mouth(ScriptedProvider):
    """Each question is answered by the `script` of the moment."""

    script = "say Hello."

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        self.requests.append(request)
        once = ScriptedProvider(self.script)
        once.gates = self.gates
        async for chunks in once.stream(request, take_now):
            yield chunks


class OneModel(Catalog):
    """Whatever model is asked for, it is the mouth."""

    def __init__(self, settings: Settings, mouth: Mouth) -> None:
        super().__init__(settings, {})
        self._mouth = mouth

    async def open(self, model: str, *_: object) -> ResolvedModel:
        return ResolvedModel(provider=self._mouth, model=model)


class Pair:
    """The two; `stores` opens a store under the clock it is given, which is `now`.

    Both hear all wake-ups of each other, at once: what a wake-up that is lost costs is tried
    elsewhere.
    """

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.mouth = Mouth()
        self.lines: list[AsyncEmbeddedTransport] = []
        self._runtimes: list[Runtime] = []
        self._gates = 0

    async def open(self, store: Callable[[Callable[[], int]], Awaitable[Store]]) -> None:
        """Begin to work."""
        settings = Settings(
            model=MODEL, lease_duration=LEASE_SECONDS, expiry_interval=LEASE_SECONDS
        )
        bus = LocalBus()
        for _ in range(2):
            opened = CachedStore(await store(lambda: self.now))
            runtime = Runtime(settings, opened, bus, OneModel(settings, self.mouth))
            runtime.worker.start()
            self._runtimes.append(runtime)
            self.lines.append(AsyncEmbeddedTransport.over(runtime))

    async def close(self) -> None:
        """End both."""
        for runtime in self._runtimes:
            await runtime.drain(0)
            await runtime.store.close()
            await runtime.catalog.close()

    async def log(self, where: int, run_id: str) -> list[Told]:
        """All events of a run, as that worker reads them."""
        told: list[Told] = []
        while (page := await self._runtimes[where].store.read_events(run_id, len(told))).lines:
            told += enumerate(page.lines, page.first)
        return told

    async def pass_time(self, seconds: float) -> None:
        """Time passes for the database, and both workers look what it has done."""
        self.now += int(seconds * 1000)
        await asyncio.gather(*(runtime.worker.sweeper.sweep() for runtime in self._runtimes))

    async def read_turn(
        self, line: AsyncEmbeddedTransport, call: Any, key: str | None = None
    ) -> list[Told]:
        """A turn, as it is streamed."""
        return [told async for told in self._stream_turn(line, call, key)]

    async def overtaken(
        self, line: AsyncEmbeddedTransport, call: Any, gate: ScriptGate, then: str
    ) -> list[Told]:
        """A turn whose worker is held for lost at the gate, and comes back when all is over.

        It must have said something before. Another worker hears from the model what comes `then`.
        """
        told: list[Told] = []
        driving: asyncio.Task[None] | None = None
        async for each in self._stream_turn(line, call):
            told.append(each)
            if driving is None and b".delta" in each[1]:
                (driving,) = [task for task in asyncio.all_tasks() if _drives(task)]
                await gate.reached.wait()
                self.mouth.script = then
                await self.pass_time(LEASE_SECONDS + 1)
        gate.opened.set()
        assert driving is not None
        await asyncio.wait([driving])
        return told

    async def _stream_turn(
        self, line: AsyncEmbeddedTransport, call: Any, key: str | None = None
    ) -> AsyncGenerator[Told]:
        async for batch in line.stream(call, key):
            for number, event in batch:
                yield number, events.encode(event)

    def gate(self) -> tuple[str, ScriptGate]:
        """A new place where the model waits, and its name for scripts."""
        self._gates += 1
        name = f"gate-{self._gates}"
        return name, self.mouth.gates[name]


def _drives(task: asyncio.Task[Any]) -> bool:
    return task.get_name().startswith("run ")


def stranger() -> str:
    """An owner whom nobody knows yet."""
    return f"owner-{os.urandom(6).hex()}"


def begins(thread_id: str, **fields: Any) -> operations.Process:
    """A message and a run for it."""
    return operations.Process(thread_id=thread_id, message=operations.NewMessage("Well?"), **fields)
