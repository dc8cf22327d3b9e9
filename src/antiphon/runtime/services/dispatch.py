"""Dispatches each operation of the API to the service that executes it.

The HTTP server and the embedded client both call the dispatcher, so an operation means the same
through either. `engine/transitions` decides what may happen, inside the store's transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import IO, Any

import msgspec

from antiphon.api import operations
from antiphon.api.operations import Operation
from antiphon.engine import validation
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.engine.transitions import TurnRequested
from antiphon.ports import Bus, Store
from antiphon.runtime.admin.dispatch import AdminDispatcher
from antiphon.runtime.admin.export import Archive
from antiphon.runtime.destinations import Destinations
from antiphon.runtime.event_reader import RunEventReader, SelectedEvents
from antiphon.runtime.notify import ChangeCommitter
from antiphon.runtime.responses import OperationHandler
from antiphon.runtime.responses import Response as Response
from antiphon.runtime.services.actions import ActionService
from antiphon.runtime.services.assistants import AssistantService, RunSpecResolver
from antiphon.runtime.services.chat_imports import ChatImportService
from antiphon.runtime.services.documents import DocumentService
from antiphon.runtime.services.feedback import FeedbackService
from antiphon.runtime.services.files import FileService
from antiphon.runtime.services.folders import FolderService
from antiphon.runtime.services.models import ModelService
from antiphon.runtime.services.occurrences import OccurrenceStarter
from antiphon.runtime.services.personal import PersonalService
from antiphon.runtime.services.published_assistants import PublishedAssistantService
from antiphon.runtime.services.runs import RunService, RunStarter
from antiphon.runtime.services.schedules import ScheduleService
from antiphon.runtime.services.search import SearchService
from antiphon.runtime.services.shares import ShareService
from antiphon.runtime.services.threads import ThreadService
from antiphon.runtime.services.voice import VoiceService
from antiphon.runtime.webhooks.service import WebhookService
from antiphon.settings.settings import Settings
from antiphon.telemetry.metrics import Metrics
from antiphon.telemetry.tracing import NO_TRACES, Tracer
from antiphon.types.accounts import Principal
from antiphon.types.ids import Mint
from antiphon.types.runs import McpServer, Run


class Dispatcher:
    """Executes operations of a principal; every record it touches is checked to be the owner's."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        mint: Mint,
        models: ModelService,
        check_servers: Callable[[Sequence[McpServer]], Awaitable[None]],
        admin: AdminDispatcher,
        webhooks: WebhookService,
        destinations: Destinations,
        voice: VoiceService,
        settings: Settings,
        starter: RunStarter,
        metrics: Metrics | None = None,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        metrics = metrics or Metrics()
        changes = ChangeCommitter(store, bus, metrics)
        assistants = AssistantService(store, mint, models.open, check_servers).handlers
        published = PublishedAssistantService(
            store, mint, settings, assistants[operations.CreateAssistant]
        )
        run_specs = RunSpecResolver(
            store,
            published.find_usable,
            models.find_default,
            models.open,
            check_servers,
            destinations,
            settings,
        )
        self._store = store
        self._bus = bus
        self._admin = admin
        self.files = FileService(store, mint, bus, documents=settings.documents)
        self.runs = RunService(store, bus, changes, mint, run_specs, settings, starter)
        self.occurrences = OccurrenceStarter(store, changes, mint, run_specs, starter)
        threads = ThreadService(store, bus, changes, mint).handlers
        self._handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            **assistants,
            **published.handlers,
            **threads,
            **FolderService(store, bus, mint).handlers,
            **ShareService(store, mint, settings, threads[operations.CreateThread]).handlers,
            **ChatImportService(store, bus, mint, settings).handlers,
            **FeedbackService(store, metrics, tracer).handlers,
            **SearchService(store).handlers,
            **self.files.handlers,
            **DocumentService(store, settings).handlers,
            **self.runs.handlers,
            **ActionService(store, bus, changes, mint).handlers,
            **PersonalService(store, mint).handlers,
            **webhooks.handlers,
            **voice.handlers,
            **ScheduleService(store, bus, mint, run_specs, self.occurrences, settings).handlers,
            **models.handlers,
        }

    async def dispatch(
        self, operation: Operation[Any], by: Principal, key: str | None = None
    ) -> Response:
        """Execute the operation. `key` is its idempotency key, for operations that create.

        Raises `CallerError` where the request is at fault, else `TryAgain`.
        """
        if self._admin.handles(operation):
            return Response(await self._admin.dispatch(operation, by), operation.http_status)
        once = _once(operation, by.owner, key)
        # The stored answer is returned again, even if its records have changed since.
        value = await self._find_answer(once)
        if value is None:
            value = await self._handlers[type(operation)](operation, by, once)
        if isinstance(value, Response):
            return value
        return Response(value, operation.http_status, replayed=isinstance(value, msgspec.Raw))

    async def open_stream(
        self,
        operation: operations.Process | operations.Complete | operations.Follow,
        by: Principal,
        key: str | None = None,
    ) -> RunEventReader | SelectedEvents | Response:
        """Execute a streaming operation up to its first event; return the reader of its events.

        A `/process` in the background returns its run instead.
        """
        if isinstance(operation, operations.Follow):
            return await self.runs.follow(operation, by.owner)
        once = _once(operation, by.owner, key)
        answer = await self._find_answer(once) or await self._request_turn(operation, by, once)
        requested = await self._find_requested_turn(answer, by)
        if isinstance(operation, operations.Process) and operation.background:
            return Response(requested.run, 202, replayed=answer is not requested)
        return RunEventReader(
            self._store, self._bus, requested.run.id, requested.after, whole=False
        )

    async def open_response(
        self,
        operation: operations.Process | operations.Complete,
        by: Principal,
        request: Mapping[str, Any],
        once: IdempotencyKey | None = None,
        expected_messages: int | None = None,
    ) -> tuple[Run, RunEventReader]:
        """Begin a response of OpenAI's wire; return its run, and the reader of its events.

        `request` is that of its `ResponseRecord`; `expected_messages` is as in
        `transitions.create_run`. Raises as `open_stream`, `ThreadMovedOn`, and `RunActive` for a
        turn that another request began.
        """
        answer: TurnRequested | msgspec.Raw
        if isinstance(operation, operations.Process):
            answer = await self.runs.start_run(operation, by, once, request, expected_messages)
        else:
            answer = await self.runs.request_turn(
                operation.run_id, by, once, fresh=operation.force_refresh, response=request
            )
        return await self._read_requested(answer, by)

    async def find_response(
        self, once: IdempotencyKey, by: Principal
    ) -> tuple[Run, RunEventReader] | None:
        """Return what `open_response` did for an earlier request with this key, if any."""
        answer = await self._find_answer(once)
        return None if answer is None else await self._read_requested(answer, by)

    async def _read_requested(
        self, answer: TurnRequested | msgspec.Raw, by: Principal
    ) -> tuple[Run, RunEventReader]:
        requested = await self._find_requested_turn(answer, by)
        run = requested.run
        return run, RunEventReader(self._store, self._bus, run.id, requested.after, whole=False)

    async def _find_requested_turn(
        self, answer: TurnRequested | msgspec.Raw, by: Principal
    ) -> TurnRequested:
        """Return the turn that this request, or an earlier one with its key, has requested."""
        if isinstance(answer, TurnRequested):
            return answer
        earlier = msgspec.json.decode(answer, type=TurnRequested)
        return await self.runs.ensure_turn_requested(earlier, by)

    async def _request_turn(
        self,
        operation: operations.Process | operations.Complete,
        by: Principal,
        once: IdempotencyKey | None,
    ) -> TurnRequested | msgspec.Raw:
        """Request the turn; return `Raw` if a request with the same key was first."""
        match operation:
            case operations.Complete(run_id, fresh):
                return await self.runs.request_turn(run_id, by, once, fresh=fresh)
            case operations.Process(run_id=str(run_id), force_refresh=fresh):
                validation.validate_only_run_id(operation)
                return await self.runs.request_turn(run_id, by, once, fresh=fresh)
            case operations.Process():
                return await self.runs.start_run(operation, by, once)

    async def _find_answer(self, once: IdempotencyKey | None) -> msgspec.Raw | None:
        return await self._store.find_answer(once) if once else None

    async def export(self, operation: operations.ExportOwner, by: Principal) -> Archive:
        """Return everything of an owner as an archive. Raises `NotFound`."""
        return await self._admin.export(operation, by)

    async def import_owner(
        self, operation: operations.ImportOwner, file: IO[bytes], by: Principal
    ) -> Response:
        """Import the archive in this file, which is seekable. Raises as `OwnerImporter.run`."""
        return Response(await self._admin.import_owner(operation, file, by), operation.http_status)


def _once(operation: Operation[Any], owner: str, key: str | None) -> IdempotencyKey | None:
    if key is None or not operation.creates:
        return None
    digest = blake2b(msgspec.json.encode(operation), digest_size=32).digest()
    return IdempotencyKey(owner, operation.route, key, digest)
