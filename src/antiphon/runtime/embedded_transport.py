"""The other line: the same calls, answered by a runtime in this process.

Calls and answers take the same shapes as over HTTP, so that a program cannot tell the two apart: a
list where a tuple was given, an error where a number stands for a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from copy import copy
from typing import Any, TypeVar, cast

import msgspec
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Operation, invalid_request
from antiphon.client.portal import Portal
from antiphon.client.transport import (
    AsyncBatches,
    AsyncPieces,
    Batches,
    Pieces,
    create_client_tracer,
)
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
    """Calls answered by a runtime that opens with the first of them and ends with the line."""

    def __init__(self, settings: Settings) -> None:
        self.tracer = create_client_tracer(settings)
        self.parent: str | None = None
        self._settings = settings
        self._principal = Principal()
        self._source: _Own | _Lent = _Own(settings)

    @classmethod
    def over(cls, runtime: Runtime) -> AsyncEmbeddedTransport:
        """A line to a runtime that somebody else opened, and closes."""

        async def lent() -> Runtime:
            return runtime

        line = cls.__new__(cls)
        line.tracer, line.parent = runtime.tracer, None
        line._settings, line._principal = runtime.settings, Principal()
        line._source = _Lent(lent)
        return line

    async def send(self, call: Operation[A], key: str | None = None) -> A:
        """The desk's answer."""
        desk = (await self._runtime_for(call)).dispatcher
        call = _as_sent(call, self._settings.max_depth)
        if call.streams:
            answer = await desk.open_stream(cast("Any", call), self._by, key)
        else:
            answer = await desk.dispatch(call, self._by, key)
        if not isinstance(answer, Response):
            raise InvalidRequest("This call is answered by a stream.")
        received: A = _as_received(answer, call.answer)
        return received

    async def stream(self, call: Operation[Any], key: str | None = None) -> AsyncBatches:
        """The events, as the log is read aloud."""
        desk = (await self._runtime_for(call)).dispatcher
        call = _as_sent(call, self._settings.max_depth)
        listening = await desk.open_stream(cast("Any", call), self._by, key)
        if isinstance(listening, Response):
            raise InvalidRequest("This call is answered at once.", expected="a call that streams")
        async with aclosing(listening.pages()) as pages:
            async for first, lines in pages:
                if lines:
                    yield list(enumerate(map(events.decode, lines), first))

    async def upload(
        self, name: str, media_type: str, content: bytes, key: str | None = None
    ) -> Upload:
        """Keep a file."""
        desk = (await self.runtime()).dispatcher
        named, typed = sanitize.validate_file_name(name), sanitize.parse_media_type(media_type)
        answer = await desk.upload(self._principal.owner, named, typed, content, key)
        upload: Upload = _as_received(answer, Upload)
        return upload

    async def download(self, file_id: str) -> bytes:
        """The bytes of a file."""
        sanitize.request_fields(operations.GetFile(file_id))
        _, content = await (await self.runtime()).dispatcher.download(
            self._principal.owner, file_id
        )
        return content

    async def read_file(self, file_id: str) -> AsyncPieces:
        """The bytes of a file, piece by piece."""
        sanitize.request_fields(operations.GetFile(file_id))
        desk = (await self.runtime()).dispatcher
        _, opened = await desk.open_file(self._principal.owner, file_id)
        async with aclosing(opened) as pieces:
            async for piece in pieces:
                yield piece

    async def export(self, owner: str) -> AsyncPieces:
        """Everything of an owner as a zip, piece by piece."""
        call = operations.ExportOwner(owner)
        sanitize.request_fields(call)
        archive = await (await self.runtime()).dispatcher.export(call, self._by)
        async with aclosing(archive.pieces) as pieces:
            async for piece in pieces:
                yield piece

    async def runtime(self) -> Runtime:
        """The runtime, opened now if it is not open yet."""
        return await self._source.runtime()

    async def _runtime_for(self, call: Operation[Any]) -> Runtime:
        """The runtime; it drives runs from the first call on that is about one to be driven.

        A program that only reads drives nothing: the database may hold runs of other programs.
        """
        runtime = await self.runtime()
        if _asks_for_a_run(call):
            runtime.start_worker()
        return runtime

    @property
    def _by(self) -> Principal:
        """Who asks, and for what in a trace."""
        trace = self.parent or self.tracer.current_context()
        return replace(self._principal, trace=trace) if trace else self._principal

    def on_behalf_of(self, owner: str) -> AsyncEmbeddedTransport:
        """A line to the same runtime, which closing it leaves open."""
        line = copy(self)
        line._principal = self._principal.acting(owner=sanitize.validate_owner(owner))
        line._source = _Lent(self.runtime)
        return line

    def as_actor(self, actor: str) -> AsyncEmbeddedTransport:
        """A line to the same runtime, which closing it leaves open."""
        line = copy(self)
        line._principal = self._principal.acting(actor=sanitize.validate_owner(actor))
        line._source = _Lent(self.runtime)
        return line

    async def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """The provider and the address that the run bears, else those that this process asks.

        A run may be another program's, which asks elsewhere. Raises `BadSettings`, `NotFound`, and
        `Unavailable` for a run of a later version.
        """
        runtime = await self.runtime()
        if run_id is not None:
            try:
                there = Destination.read((await runtime.store.run_lease(run_id)).destination)
            except msgspec.DecodeError as error:
                said = (
                    f"A later version of Antiphon began run {run_id}: it is not known who answers."
                )
                raise Unavailable(said, hint="Upgrade Antiphon.") from error
            if there is not None:
                return ModelServer(there.provider, there.address)
        return ModelServer(*runtime.catalog.asks(model))

    def with_trace_parent(self, place: str | None) -> AsyncEmbeddedTransport:
        """A line to the same runtime, whose calls belong there in a trace."""
        line = copy(self)
        line.parent, line._source = place, _Lent(self.runtime)
        return line

    async def close(self) -> None:
        """End the runtime; what it had acknowledged is kept."""
        await self._source.close()
        if isinstance(self._source, _Own) and self.tracer is not NO_TRACES:
            await asyncio.to_thread(self.tracer.close)


class _Own:
    """A runtime of the line's own, opened when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: asyncio.Future[Runtime] | None = None
        self._holding: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def runtime(self) -> Runtime:
        """The runtime, opened now if it is not open yet."""
        if self._opened is None:
            self._opened = asyncio.get_running_loop().create_future()
            self._holding = asyncio.create_task(self._hold(self._opened))
        return await asyncio.shield(self._opened)

    async def close(self) -> None:
        """End it, if it was ever begun."""
        self._closing.set()
        if self._holding is not None:
            await self._holding

    async def _hold(self, told: asyncio.Future[Runtime]) -> None:
        """One task opens the runtime and closes it, whichever tasks use it meanwhile."""
        try:
            async with open_runtime(self._settings, drives=False) as runtime:
                told.set_result(runtime)
                await self._closing.wait()
        except Exception as error:  # told to whoever waits for it, whatever it is
            if told.done():
                raise
            told.set_exception(error)
            self._opened = None  # the next call may find what this one missed


class _Lent:
    """A runtime that somebody else opened; closing leaves it to them."""

    def __init__(self, runtime: Callable[[], Awaitable[Runtime]]) -> None:
        self._runtime = runtime

    async def runtime(self) -> Runtime:
        """The runtime, whoever opens it."""
        return await self._runtime()

    async def close(self) -> None:
        """Nothing: it is theirs."""


class EmbeddedTransport:
    """As `AsyncEmbeddedTransport`, with the runtime on a loop of its own."""

    def __init__(self, settings: Settings) -> None:
        self._portal = Portal()
        self._line = AsyncEmbeddedTransport(settings)
        self._lent = False

    @property
    def tracer(self) -> Tracer:
        """Who follows the calls."""
        return self._line.tracer

    @property
    def parent(self) -> str | None:
        """Below what in a trace the calls are."""
        return self._line.parent

    def send(self, call: Operation[A], key: str | None = None) -> A:
        """The desk's answer."""
        return self._portal.run(self._line.send(call, key))

    def stream(self, call: Operation[Any], key: str | None = None) -> Batches:
        """The events; each crossing between the threads brings all there are."""
        return self._portal.stream(self._line.stream(call, key))

    def upload(self, name: str, media_type: str, content: bytes, key: str | None = None) -> Upload:
        """Keep a file."""
        return self._portal.run(self._line.upload(name, media_type, content, key))

    def download(self, file_id: str) -> bytes:
        """The bytes of a file."""
        return self._portal.run(self._line.download(file_id))

    def export(self, owner: str) -> Pieces:
        """Everything of an owner as a zip, piece by piece."""
        return self._portal.stream(self._line.export(owner))

    def on_behalf_of(self, owner: str) -> EmbeddedTransport:
        """A line to the same runtime on the same loop; closing it leaves both open."""
        acting = copy(self)
        acting._line, acting._lent = self._line.on_behalf_of(owner), True
        return acting

    def as_actor(self, actor: str) -> EmbeddedTransport:
        """A line to the same runtime on the same loop; closing it leaves both open."""
        acting = copy(self)
        acting._line, acting._lent = self._line.as_actor(actor), True
        return acting

    def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """The provider and the address that the run bears, else those that this process asks."""
        return self._portal.run(self._line.model_server(model, run_id))

    def with_trace_parent(self, place: str | None) -> EmbeddedTransport:
        """A line to the same runtime, whose calls belong there in a trace."""
        line = copy(self)
        line._line, line._lent = self._line.with_trace_parent(place), True
        return line

    def close(self) -> None:
        """End the runtime and its loop."""
        if self._lent:
            return
        self._portal.run(self._line.close())
        self._portal.close()


def _asks_for_a_run(call: Operation[Any]) -> bool:
    """Return whether a run goes on by this call, or is followed while it does."""
    if isinstance(call, operations.CreateMessage):
        return call.role == "tool"
    return call.streams or isinstance(call, operations.CreateRun | operations.SubmitToolOutput)


def _as_sent(call: Operation[A], max_depth: int) -> Operation[A]:
    """The call as a server would read it. Raises `InvalidRequest` and `TooLarge`."""
    fields = sanitize.request_fields(call)
    sanitize.validate_depth(fields, max_depth)
    try:
        return msgspec.convert(fields, type(call))
    except msgspec.ValidationError as error:
        raise invalid_request(error) from error


def _as_received(answer: Response, kind: Any) -> Any:
    """The answer as a client would read it."""
    if isinstance(answer.value, msgspec.Raw):
        return msgspec.json.decode(answer.value, type=kind)
    return msgspec.convert(msgspec.to_builtins(answer.value), kind)
