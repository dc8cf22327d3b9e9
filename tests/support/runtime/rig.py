"""Dispatcher, worker and turn runner over a store in memory and a scripted model."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from antiphon.api import operations
from antiphon.buses.local import LocalBus
from antiphon.engine.snapshot import Claim, Committed, Decide, ReadSet
from antiphon.ports import BeforeCommit, ResolvedModel, Store
from antiphon.providers.catalog import Catalog
from antiphon.providers.scripted import ScriptedProvider, ScriptGate
from antiphon.runtime.admin.dispatch import AdminDispatcher
from antiphon.runtime.admin.export import OwnerExporter
from antiphon.runtime.admin.import_owner import OwnerImporter
from antiphon.runtime.admin.owners import OwnerDeleter, OwnerService
from antiphon.runtime.admin.provider_keys import Cipher, ProviderKeyService
from antiphon.runtime.admin.webhook_secrets import WebhookSecretService
from antiphon.runtime.backend_servers import BackendServers, NoServers
from antiphon.runtime.destinations import Destinations
from antiphon.runtime.event_reader import RunEventReader
from antiphon.runtime.responses import OperationHandler
from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.runtime.services.voice import VoiceService
from antiphon.runtime.titles import TitleWriter
from antiphon.runtime.turn_runner import TurnRunner
from antiphon.runtime.webhooks.sender import webhook_policy
from antiphon.runtime.webhooks.service import WebhookService
from antiphon.runtime.worker import Worker
from antiphon.settings.settings import Settings
from antiphon.stores.cached.store import CachedStore
from antiphon.stores.memory.store import MemoryStore
from antiphon.types import errors, events
from antiphon.types.accounts import Principal
from antiphon.types.events import (
    ActionRequired,
    Event,
    Numbered,
    RunStatus,
    TurnEnded,
)
from antiphon.types.messages import Message, ToolSpec
from antiphon.types.runs import Action, Destination, Run, Serves, serve_all

E = TypeVar("E", bound=Event)


OWNER = "local"


BY = Principal(owner=OWNER)


TOOLS = (ToolSpec("look", "Look something up."), ToolSpec("add", "Add numbers."))


class ScriptedModels:
    """Model service that knows one model, the scripted provider of the rig."""

    def __init__(self, rig: RuntimeRig) -> None:
        self._rig = rig
        self.handlers: dict[type[operations.Operation[Any]], OperationHandler] = {
            operations.ListModels: self._list_models
        }

    async def find_default(self) -> str:
        return "scripted"

    async def open(self, model: str, _: str) -> ResolvedModel:
        if model == "unknown":
            raise errors.BadSettings("There is no such model.")
        return ResolvedModel(
            provider=self._rig.model, model=model, destination=self._rig.destination
        )

    async def _list_models(self, *_: object) -> operations.ModelList:
        return operations.ModelList(
            [operations.Model("scripted", "scripted", default=True)], has_more=False
        )


class FaultyStore(CachedStore):
    """Store whose operations fail or wait on demand."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.before_run: Callable[[], Awaitable[object]] | None = None
        self.trouble: Callable[[ReadSet], Exception | None] = lambda _: None
        self.trouble_after: Callable[[ReadSet], Exception | None] = lambda _: None
        self.slow_claims: ScriptGate | None = None
        self.slow_runs: ScriptGate | None = None

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        if read_set.what == "run" and (action := self.before_run):
            self.before_run = None
            await action()
        if trouble := self.trouble(read_set):
            raise trouble
        committed = await super().change(read_set, decide, before_commit)
        if read_set.what == "run" and self.slow_runs is not None:
            self.slow_runs.reached.set()
            await self.slow_runs.opened.wait()
        if trouble := self.trouble_after(read_set):
            raise trouble
        return committed

    async def claim(
        self,
        decide: Decide,
        serves: Serves = serve_all,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        if trouble := self.trouble(ReadSet(owner=None, what="claim")):
            raise trouble
        claim = await super().claim(decide, serves, declined)
        if claim is not None and self.slow_claims is not None:
            self.slow_claims.reached.set()
            await self.slow_claims.opened.wait()
        return claim


def _refuse_cipher() -> Cipher:
    raise errors.BadSettings("Nothing is sealed here.")


class RuntimeRig:
    """Runtime over the model and the servers of a test, with a clock that the test sets."""

    def __init__(
        self,
        model: ScriptedProvider,
        settings: Settings | None = None,
        servers: BackendServers | None = None,
        own_runs: int | None = None,
        create_cipher: Callable[[], Cipher] = _refuse_cipher,
    ) -> None:
        self.create_cipher = create_cipher
        counter = itertools.count(1)
        self.servers = servers or NoServers()
        self.now = 1_000_000
        self.model = model
        self.store = FaultyStore(MemoryStore(lambda: self.now))
        self.bus = LocalBus()
        self.mint = lambda prefix: f"{prefix}_{next(counter):04}"
        self.settings = settings or Settings()
        self.worker = self.new_worker("first", own_runs=own_runs)
        self.dispatcher = Dispatcher(
            self.store,
            self.bus,
            self.mint,
            ScriptedModels(self),
            self.servers.check_allowed,
            AdminDispatcher(
                self.store,
                self.mint,
                self.servers.states,
                self.owners(),
                self.settings.max_token_age,
            ),
            self._create_webhook_service(),
            Destinations(self, self.servers, unmarked=True),
            VoiceService(self.store, Catalog(self.settings, {}), self.settings),
            self.settings,
            self.worker,
        )
        self.destination: Destination | None = None

    def owners(self) -> OwnerService:
        keys = ProviderKeyService(self.store, self.mint, _refuse_cipher)
        eraser = OwnerDeleter(self.store, self.bus, self.mint, settle=0)
        exporter = OwnerExporter(self.store, self.mint)
        importer = OwnerImporter(self.store, self.mint)
        return OwnerService(
            self.store, keys, self.secrets(), lambda *_: None, eraser, exporter, importer
        )

    def secrets(self) -> WebhookSecretService:
        return WebhookSecretService(self.store, self.mint, self.create_cipher)

    def _create_webhook_service(self) -> WebhookService:
        policy = webhook_policy(self.settings)
        limit = self.settings.max_webhooks if self.settings.webhooks else None
        return WebhookService(self.store, self.bus, self.mint, self.secrets(), policy, limit)

    def new_worker(
        self, name: str, *dead: str, serves: Serves = serve_all, own_runs: int | None = None
    ) -> Worker:
        runner = TurnRunner(self.store, self.bus, self, self.settings, self.mint, self.servers)
        return Worker(
            self.store,
            self.bus,
            runner,
            self.settings,
            self.mint,
            name=name,
            dead=lambda name: name in dead,
            serves=serves,
            own_runs=own_runs,
            titles=TitleWriter(self.store, self, self.settings, self.mint),
        )

    async def open(self, model: str, _: str) -> ResolvedModel:
        if model == "nowhere":
            raise errors.BadSettings("There is no model called nowhere.")
        return ResolvedModel(provider=self.model, model=model, destination=self.destination)

    def serves(self, destination: Destination) -> bool:
        return destination.provider == "here"

    # Operations of a client

    async def ask(self, text: str = "Hello?", **fields: object) -> list[Numbered]:
        return await self.read(operations.Process(message=operations.NewMessage(text), **fields))

    async def read(
        self, call: operations.Process | operations.Complete | operations.Follow
    ) -> list[Numbered]:
        return [numbered async for numbered in self.listen(call)]

    async def listen(
        self,
        call: operations.Process | operations.Complete | operations.Follow,
        key: str | None = None,
    ) -> AsyncIterator[Numbered]:
        reader = await self.dispatcher.open_stream(call, BY, key)
        assert isinstance(reader, RunEventReader)
        async for first, lines in reader.pages():
            for number, line in enumerate(lines, first):
                yield number, events.decode(line)

    async def run(self, run_id: str) -> Run:
        run: Run = (await self.dispatcher.dispatch(operations.GetRun(run_id), BY)).value
        return run

    async def submit(self, turn: Sequence[Numbered], output: str = "42") -> list[Action]:
        manifest = find_event(turn, ActionRequired)
        return [
            (
                await self.dispatcher.dispatch(
                    operations.SubmitToolOutput(manifest.run_id, action.tool_call_id, output), BY
                )
            ).value
            for action in manifest.actions
        ]

    async def messages(self, thread_id: str) -> Sequence[Message]:
        response = await self.dispatcher.dispatch(operations.ListMessages(thread_id, limit=100), BY)
        messages: Sequence[Message] = response.value.data
        return messages


@asynccontextmanager
async def open_rig(
    *scripts: str,
    settings: Settings | None = None,
    servers: BackendServers | None = None,
    own_runs: int | None = None,
    create_cipher: Callable[[], Cipher] = _refuse_cipher,
) -> AsyncIterator[RuntimeRig]:
    rig = RuntimeRig(ScriptedProvider(*scripts), settings, servers, own_runs, create_cipher)
    rig.worker.start()
    try:
        async with asyncio.timeout(20):
            yield rig
    finally:
        await rig.worker.stop(0)


def find_event(turn: Sequence[Numbered], kind: type[E]) -> E:
    (event,) = (event for _, event in turn if isinstance(event, kind))
    return event


def find_started(turn: Sequence[Numbered]) -> RunStatus:
    assert isinstance(turn[0][1], RunStatus)
    return turn[0][1]


def find_ended(turn: Sequence[Numbered]) -> TurnEnded:
    assert isinstance(turn[-1][1], TurnEnded)
    return turn[-1][1]
