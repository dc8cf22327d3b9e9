"""How a client reaches a runtime: send a call, or stream one. No address means embedded.

The two kinds of line, over HTTP and into this process, are loaded by name, so that neither costs
anything where the other is used.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from antiphon.api.operations import Operation
from antiphon.settings.loading import load
from antiphon.settings.settings import TABLE, Settings
from antiphon.telemetry.tracing import NO_TRACES, Tracer, create_tracer
from antiphon.tools.questions import ModelServer
from antiphon.types.events import Numbered
from antiphon.types.messages import Upload

A = TypeVar("A")

TELEMETRY_VARIABLE = TABLE["telemetry"].variable

Batches = Generator[Sequence[Numbered], None, None]
"""Events with their numbers, as many together as came together; closing it ends the stream."""
AsyncBatches = AsyncGenerator[Sequence[Numbered], None]
Pieces = Generator[bytes, None, None]
"""A file as it comes; closing it lets go of the rest."""
AsyncPieces = AsyncGenerator[bytes, None]


class Transport(Protocol):
    """Carries calls to a runtime and answers back; raises what the runtime raises.

    `key` is an idempotency key; without one the line makes its own, so that a call whose answer was
    lost is made again and done once.
    """

    @property
    def tracer(self) -> Tracer:
        """Who follows the calls."""
        ...

    @property
    def parent(self) -> str | None:
        """Below what in a trace the calls are, where that is not whatever is current."""
        ...

    def send(self, call: Operation[A], key: str | None = None) -> A:
        """Make the call and wait for its answer."""
        ...

    def stream(self, call: Operation[Any], key: str | None = None) -> Batches:
        """The events of a call that streams, in order, each once, whatever breaks on the way."""
        ...

    def upload(self, name: str, media_type: str, content: bytes, key: str | None = None) -> Upload:
        """Keep a file."""
        ...

    def download(self, file_id: str) -> bytes:
        """The bytes of a file."""
        ...

    def export(self, owner: str) -> Pieces:
        """Everything of an owner as a zip, piece by piece; what breaks off is not resumed."""
        ...

    def on_behalf_of(self, owner: str) -> Transport:
        """A line over this one whose calls are that owner's; closing it leaves this one open.

        Another owner needs the scope `admin`. Raises `InvalidRequest` for what is no owner.
        """
        ...

    def as_actor(self, actor: str) -> Transport:
        """A line over this one whose acts the audit log says to be that person's.

        It needs the scope `admin`, too; closing it leaves this one open. Raises `InvalidRequest`
        for what is no id.
        """
        ...

    def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """Return the model server that answers for this model, or in this run.

        Raises `AntiphonError` where it is not known.
        """
        ...

    def with_trace_parent(self, place: str | None) -> Transport:
        """A line over this one whose calls belong there in a trace; closing it does nothing."""
        ...

    def close(self) -> None:
        """Let go of everything; an embedded runtime ends."""
        ...


class AsyncTransport(Protocol):
    """A `Transport` for a loop."""

    @property
    def tracer(self) -> Tracer:
        """Who follows the calls."""
        ...

    @property
    def parent(self) -> str | None:
        """Below what in a trace the calls are, where that is not whatever is current."""
        ...

    async def send(self, call: Operation[A], key: str | None = None) -> A:
        """Make the call and wait for its answer."""
        ...

    def stream(self, call: Operation[Any], key: str | None = None) -> AsyncBatches:
        """The events of a call that streams, in order, each once, whatever breaks on the way."""
        ...

    async def upload(
        self, name: str, media_type: str, content: bytes, key: str | None = None
    ) -> Upload:
        """Keep a file."""
        ...

    async def download(self, file_id: str) -> bytes:
        """The bytes of a file."""
        ...

    def read_file(self, file_id: str) -> AsyncPieces:
        """The bytes of a file, piece by piece; what breaks off is not resumed."""
        ...

    def export(self, owner: str) -> AsyncPieces:
        """Everything of an owner as a zip, piece by piece; what breaks off is not resumed."""
        ...

    def on_behalf_of(self, owner: str) -> AsyncTransport:
        """A line over this one whose calls are that owner's; closing it leaves this one open.

        Another owner needs the scope `admin`. Raises `InvalidRequest` for what is no owner.
        """
        ...

    def as_actor(self, actor: str) -> AsyncTransport:
        """A line over this one whose acts the audit log says to be that person's.

        It needs the scope `admin`, too; closing it leaves this one open. Raises `InvalidRequest`
        for what is no id.
        """
        ...

    async def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """Return the model server that answers for this model, or in this run.

        Raises `AntiphonError` where it is not known.
        """
        ...

    def with_trace_parent(self, place: str | None) -> AsyncTransport:
        """A line over this one whose calls belong there in a trace; closing it does nothing."""
        ...

    async def close(self) -> None:
        """Let go of everything; an embedded runtime ends."""
        ...


def create_client_tracer(settings: Settings) -> Tracer:
    """Who follows the calls of a program. Raises `BadSettings`."""
    return create_tracer(settings.telemetry, "antiphon-client", content=settings.log_content)


def create_transport(
    server: str | None, api_key: str | None, settings: Settings | None
) -> Transport:
    """The line to that server, else to the one in the settings, else into this process."""
    opened: Transport = _create("", server, api_key, settings)
    return opened


def create_async_transport(
    server: str | None, api_key: str | None, settings: Settings | None
) -> AsyncTransport:
    """As `create_transport`, for a loop."""
    opened: AsyncTransport = _create("Async", server, api_key, settings)
    return opened


def _create(kind: str, server: str | None, api_key: str | None, settings: Settings | None) -> Any:
    if settings is None and (server is None or api_key is None or TELEMETRY_VARIABLE in os.environ):
        settings = load({}, os.environ, Path.cwd())
    if settings is not None:
        server, api_key = server or settings.server, api_key or settings.api_key
    if server is not None:
        return getattr(
            importlib.import_module("antiphon.client.http_transport"), f"{kind}HttpTransport"
        )(server, api_key, tracer=NO_TRACES if settings is None else create_client_tracer(settings))
    return getattr(
        importlib.import_module("antiphon.runtime.embedded_transport"), f"{kind}EmbeddedTransport"
    )(settings)
