"""Transports that send operations to a runtime in this process.

Requests and responses are converted as over HTTP, so that a program sees no difference: a list
instead of a tuple, and an error for a number instead of a string.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from copy import copy
from typing import IO, Any, TypeVar, cast

import msgspec
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operation import convert
from antiphon.api.operations import ImportOwner, Operation, OwnerImport
from antiphon.client.async_transport import AsyncBatches, AsyncPieces
from antiphon.client.options import ClientOptions, check_embedded, client_closed_error
from antiphon.client.portal import Portal
from antiphon.client.sync_transport import Batches, Pieces
from antiphon.client.transport import create_client_tracer
from antiphon.engine import sanitize
from antiphon.runtime.runtime import Runtime, open_runtime
from antiphon.runtime.services.dispatch import Response
from antiphon.settings.settings import Settings
from antiphon.telemetry.tracing import NO_TRACES, Tracer
from antiphon.tools.questions import ModelServer
from antiphon.types import events
from antiphon.types.accounts import Principal
from antiphon.types.errors import InvalidRequest, Unavailable
from antiphon.types.messages import Upload
from antiphon.types.runs import Destination

A = TypeVar("A")


class AsyncEmbeddedTransport:
    """Transport to a runtime that opens with the first operation and ends with the transport."""

    def __init__(self, settings: Settings) -> None:
        self.tracer = create_client_tracer(settings)
        self.parent: str | None = None
        self._settings = settings
        self._options = ClientOptions()
        self._principal = Principal()
        self._source: _OwnRuntime | _BorrowedRuntime = _OwnRuntime(settings)

    @classmethod
    def over(cls, runtime: Runtime) -> AsyncEmbeddedTransport:
        """Return a transport to an open runtime, which closing the transport leaves open."""

        async def get_runtime() -> Runtime:
            return runtime

        transport = cls.__new__(cls)
        transport.tracer, transport.parent = runtime.tracer, None
        transport._settings, transport._principal = runtime.settings, Principal()
        transport._options = ClientOptions()
        transport._source = _BorrowedRuntime(get_runtime)
        return transport

    async def send(self, operation: Operation[A], key: str | None = None) -> A:
        """Send the operation; return its response."""
        dispatcher = (await self._runtime_for(operation)).dispatcher
        operation = _as_server_reads(self._options.with_model(operation), self._settings.max_depth)
        if operation.streams:
            answer = await dispatcher.open_stream(cast("Any", operation), self._by, key)
        else:
            answer = await dispatcher.dispatch(operation, self._by, key)
        if not isinstance(answer, Response):
            raise InvalidRequest("This operation is answered by a stream.")
        received: A = _as_client_reads(answer, operation.answer)
        return received

    async def stream(self, operation: Operation[Any], key: str | None = None) -> AsyncBatches:
        """Yield the events in batches, as the log is read."""
        dispatcher = (await self._runtime_for(operation)).dispatcher
        operation = _as_server_reads(self._options.with_model(operation), self._settings.max_depth)
        reader = await dispatcher.open_stream(cast("Any", operation), self._by, key)
        if isinstance(reader, Response):
            raise InvalidRequest("This operation is answered at once.", expected="one that streams")
        async with aclosing(reader.pages()) as pages:
            async for first, lines in pages:
                if lines:
                    yield list(enumerate(map(events.decode, lines), first))

    async def upload(
        self,
        name: str,
        media_type: str,
        content: bytes,
        key: str | None = None,
        purpose: str | None = None,
    ) -> Upload:
        """Upload a file."""
        if purpose is not None:
            sanitize.validate_purpose(purpose)
        runtime = await self.runtime()
        runtime.start_documents()
        named, typed = sanitize.validate_file_name(name), sanitize.parse_media_type(media_type)
        answer = await runtime.dispatcher.files.upload(
            self._principal.owner, named, typed, content, key, purpose=purpose
        )
        upload: Upload = _as_client_reads(answer, Upload)
        return upload

    async def download(self, file_id: str) -> bytes:
        """Return the bytes of a file."""
        sanitize.request_fields(operations.GetFile(file_id))
        _, content = await (await self.runtime()).dispatcher.files.download(
            self._principal.owner, file_id
        )
        return content

    async def read_file(self, file_id: str) -> AsyncPieces:
        """Return the bytes of a file."""
        sanitize.request_fields(operations.GetFile(file_id))
        dispatcher = (await self.runtime()).dispatcher
        _, opened = await dispatcher.files.open_file(self._principal.owner, file_id)
        async with aclosing(opened) as pieces:
            async for piece in pieces:
                yield piece

    async def export(self, owner: str) -> AsyncPieces:
        """Yield everything of an owner as a zip, piece by piece."""
        operation = operations.ExportOwner(owner)
        sanitize.request_fields(operation)
        archive = await (await self.runtime()).dispatcher.export(operation, self._by)
        async with aclosing(archive.pieces) as pieces:
            async for piece in pieces:
                yield piece

    async def import_archive(self, operation: ImportOwner, file: IO[bytes]) -> OwnerImport:
        """Import this zip file, which is seekable."""
        dispatcher = (await self.runtime()).dispatcher
        sanitize.request_fields(operation)
        answer = await dispatcher.import_owner(operation, file, self._by)
        imported: OwnerImport = _as_client_reads(answer, OwnerImport)
        return imported

    async def runtime(self) -> Runtime:
        """Return the runtime; open it if it is not open yet."""
        return await self._source.runtime()

    async def _runtime_for(self, operation: Operation[Any]) -> Runtime:
        """Return the runtime; start its worker with the first operation that needs one.

        A program that only reads runs nothing: the database may hold runs of other programs.
        """
        runtime = await self.runtime()
        if _needs_worker(operation):
            runtime.start_worker()
        if isinstance(operation, _CHAT_IMPORTS):
            runtime.chat_importer.start()
        return runtime

    @property
    def _by(self) -> Principal:
        """The principal of the requests, with the trace they belong to."""
        trace = self.parent or self.tracer.current_context()
        return replace(self._principal, trace=trace) if trace else self._principal

    def on_behalf_of(self, owner: str) -> AsyncEmbeddedTransport:
        """Return a transport to the same runtime, which closing the transport leaves open."""
        transport = copy(self)
        transport._principal = self._principal.on_behalf_of(owner=sanitize.validate_owner(owner))
        transport._source = _BorrowedRuntime(self.runtime)
        return transport

    def as_actor(self, actor: str) -> AsyncEmbeddedTransport:
        """Return a transport to the same runtime, which closing the transport leaves open."""
        transport = copy(self)
        transport._principal = self._principal.on_behalf_of(actor=sanitize.validate_owner(actor))
        transport._source = _BorrowedRuntime(self.runtime)
        return transport

    def acting_as(self, principal: Principal) -> AsyncEmbeddedTransport:
        """Return a transport to the same runtime, for a caller whose key was checked elsewhere."""
        transport = copy(self)
        transport._principal = principal
        transport._source = _BorrowedRuntime(self.runtime)
        return transport

    def with_options(
        self, changes: Mapping[str, str | float | None], headers: Mapping[str, str]
    ) -> AsyncEmbeddedTransport:
        """Return a transport to the same runtime, which closing the transport leaves open."""
        transport = copy(self)
        transport._options = self._options.change(changes, headers)
        check_embedded(transport._options)
        transport._source = _BorrowedRuntime(self.runtime)
        return transport

    async def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """Return the provider and the address of the run's destination, else this process's.

        A run may be another program's, with other addresses. Raises `BadSettings`, `NotFound`,
        and `Unavailable` for a run of a later version.
        """
        runtime = await self.runtime()
        if run_id is not None:
            try:
                there = Destination.parse((await runtime.store.run_lease(run_id)).destination)
            except msgspec.DecodeError as error:
                message = (
                    f"A later version of Antiphon created run {run_id}: its server is unknown."
                )
                raise Unavailable(message, hint="Upgrade Antiphon.") from error
            if there is not None:
                return ModelServer(there.provider, there.address)
        return ModelServer(*runtime.catalog.find_server(model))

    def with_trace_parent(self, place: str | None) -> AsyncEmbeddedTransport:
        """Return a transport to the same runtime whose operations belong to that trace."""
        transport = copy(self)
        transport.parent, transport._source = place, _BorrowedRuntime(self.runtime)
        return transport

    async def close(self) -> None:
        """Close the runtime; what it acknowledged is stored."""
        await self._source.close()
        if isinstance(self._source, _OwnRuntime) and self.tracer is not NO_TRACES:
            await asyncio.to_thread(self.tracer.close)


class _OwnRuntime:
    """A runtime of the transport's own, opened on first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: asyncio.Future[Runtime] | None = None
        self._holding: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def runtime(self) -> Runtime:
        """Return the runtime; open it if it is not open yet.

        Raises `InvalidRequest` if it is closed, or was opened on another event loop.
        """
        if self._closing.is_set():
            raise client_closed_error()
        self._check_loop()
        if self._opened is None:
            self._opened = asyncio.get_running_loop().create_future()
            self._holding = asyncio.create_task(self._run(self._opened))
        return await asyncio.shield(self._opened)

    async def close(self) -> None:
        """Close the runtime, if it was opened. Raises `InvalidRequest` on another event loop."""
        self._check_loop()
        self._closing.set()
        if self._holding is not None:
            await self._holding

    def _check_loop(self) -> None:
        if self._opened is not None and self._opened.get_loop() is not asyncio.get_running_loop():
            raise InvalidRequest(
                "This client was used on another event loop.",
                expected="an AsyncClient for each event loop, closed where it was opened",
            )

    async def _run(self, opened: asyncio.Future[Runtime]) -> None:
        """Open and close the runtime in one task, whichever tasks use it meanwhile."""
        try:
            async with open_runtime(self._settings, start_worker=False) as runtime:
                opened.set_result(runtime)
                await self._closing.wait()
        except Exception as error:  # raised in the tasks that wait for the runtime
            if opened.done():
                raise
            opened.set_exception(error)
            self._opened = None  # the next operation tries again


class _BorrowedRuntime:
    """A runtime that another owner opened; closing leaves it open."""

    def __init__(self, runtime: Callable[[], Awaitable[Runtime]]) -> None:
        self._runtime = runtime

    async def runtime(self) -> Runtime:
        """Return the runtime."""
        return await self._runtime()

    async def close(self) -> None:
        """Do nothing: the runtime is not ours."""


class EmbeddedTransport:
    """Like `AsyncEmbeddedTransport`, with the runtime on an event loop of its own."""

    def __init__(self, settings: Settings) -> None:
        self._portal = Portal()
        self._async_transport = AsyncEmbeddedTransport(settings)
        self._is_derived = False

    @property
    def tracer(self) -> Tracer:
        """The tracer of the operations."""
        return self._async_transport.tracer

    @property
    def parent(self) -> str | None:
        """The trace context that the operations belong to."""
        return self._async_transport.parent

    def send(self, operation: Operation[A], key: str | None = None) -> A:
        """Send the operation; return its response."""
        return self._portal.run(self._async_transport.send(operation, key))

    def stream(self, operation: Operation[Any], key: str | None = None) -> Batches:
        """Yield the events; each switch between the threads brings all there are."""
        return self._portal.stream(self._async_transport.stream(operation, key))

    def upload(
        self,
        name: str,
        media_type: str,
        content: bytes,
        key: str | None = None,
        purpose: str | None = None,
    ) -> Upload:
        """Upload a file."""
        return self._portal.run(
            self._async_transport.upload(name, media_type, content, key, purpose)
        )

    def download(self, file_id: str) -> bytes:
        """Return the bytes of a file."""
        return self._portal.run(self._async_transport.download(file_id))

    def read_file(self, file_id: str) -> Pieces:
        """Yield the bytes of a file in pieces."""
        return self._portal.stream(self._async_transport.read_file(file_id))

    def export(self, owner: str) -> Pieces:
        """Yield everything of an owner as a zip, piece by piece."""
        return self._portal.stream(self._async_transport.export(owner))

    def import_archive(self, operation: ImportOwner, file: IO[bytes]) -> OwnerImport:
        """Import this zip file, which is seekable."""
        return self._portal.run(self._async_transport.import_archive(operation, file))

    def on_behalf_of(self, owner: str) -> EmbeddedTransport:
        """Return a transport to the same runtime on the same loop; closing it leaves both open."""
        transport = copy(self)
        transport._async_transport, transport._is_derived = (
            self._async_transport.on_behalf_of(owner),
            True,
        )
        return transport

    def as_actor(self, actor: str) -> EmbeddedTransport:
        """Return a transport to the same runtime on the same loop; closing it leaves both open."""
        transport = copy(self)
        transport._async_transport, transport._is_derived = (
            self._async_transport.as_actor(actor),
            True,
        )
        return transport

    def with_options(
        self, changes: Mapping[str, str | float | None], headers: Mapping[str, str]
    ) -> EmbeddedTransport:
        """Return a transport to the same runtime on the same loop; closing it leaves both open."""
        transport = copy(self)
        transport._async_transport = self._async_transport.with_options(changes, headers)
        transport._is_derived = True
        return transport

    def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """Return the provider and the address of the run's destination, else this process's."""
        return self._portal.run(self._async_transport.model_server(model, run_id))

    def with_trace_parent(self, place: str | None) -> EmbeddedTransport:
        """Return a transport to the same runtime whose operations belong to that trace."""
        transport = copy(self)
        transport._async_transport, transport._is_derived = (
            self._async_transport.with_trace_parent(place),
            True,
        )
        return transport

    def close(self) -> None:
        """Close the runtime and its event loop."""
        if self._is_derived:
            return
        self._portal.run(self._async_transport.close())
        self._portal.close()


_CHAT_IMPORTS = (
    operations.AddImportPiece,
    operations.StartChatImport,
    operations.CancelChatImport,
)
"""Operations after which an import of chats is read."""


def _needs_worker(operation: Operation[Any]) -> bool:
    """Return whether the operation continues a run, or follows it meanwhile."""
    if isinstance(operation, operations.CreateMessage):
        return operation.role == "tool"
    return operation.streams or isinstance(
        operation, operations.CreateRun | operations.SubmitToolOutput
    )


def _as_server_reads(operation: Operation[A], max_depth: int) -> Operation[A]:
    """Return the operation as a server would read it. Raises `InvalidRequest` and `TooLarge`."""
    fields = sanitize.request_fields(operation)
    sanitize.validate_depth(fields, max_depth)
    return convert(fields, type(operation))


def _as_client_reads(answer: Response, kind: Any) -> Any:
    """Return the response as a client would read it."""
    if isinstance(answer.value, msgspec.Raw):
        return msgspec.json.decode(answer.value, type=kind)
    return msgspec.convert(msgspec.to_builtins(answer.value), kind)
