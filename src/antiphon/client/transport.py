"""How a client reaches a runtime: over HTTP, or embedded in this process.

The two transports are imported by name, so that neither costs anything where the other is used.
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
"""Batches of events with their numbers, as they arrived; closing the generator ends the stream."""
AsyncBatches = AsyncGenerator[Sequence[Numbered], None]
Pieces = Generator[bytes, None, None]
"""A file in pieces; closing the generator ends the download."""
AsyncPieces = AsyncGenerator[bytes, None]


class Transport(Protocol):
    """Sends operations to a runtime; raises what the runtime raises.

    `key` is an idempotency key. Without one the transport makes its own, so that an operation whose
    response was lost is sent again and carried out once.
    """

    @property
    def tracer(self) -> Tracer:
        """The tracer of the operations."""
        ...

    @property
    def parent(self) -> str | None:
        """Parent of the operations in a trace, if it is not the current span."""
        ...

    def send(self, call: Operation[A], key: str | None = None) -> A:
        """Send the operation and return its answer."""
        ...

    def stream(self, call: Operation[Any], key: str | None = None) -> Batches:
        """Yield the events of a streaming operation in order, each once, over lost connections."""
        ...

    def upload(self, name: str, media_type: str, content: bytes, key: str | None = None) -> Upload:
        """Upload a file."""
        ...

    def download(self, file_id: str) -> bytes:
        """Return the bytes of a file."""
        ...

    def export(self, owner: str) -> Pieces:
        """Yield everything that an owner has as a zip file in pieces; it cannot be resumed."""
        ...

    def on_behalf_of(self, owner: str) -> Transport:
        """Return a transport over this one that acts for that owner.

        Closing it leaves this one open. Another owner needs the scope `admin`. Raises
        `InvalidRequest` if `owner` is not valid.
        """
        ...

    def as_actor(self, actor: str) -> Transport:
        """Return a transport over this one whose changes are attributed to that person.

        It appears so in the audit log. Needs the scope `admin`; closing it leaves this one open.
        Raises `InvalidRequest` if `actor` is not a valid id.
        """
        ...

    def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """Return the model server that answers for this model, or in this run.

        Raises `AntiphonError` if it is not known.
        """
        ...

    def with_trace_parent(self, place: str | None) -> Transport:
        """Return a transport over this one with `place` as parent in traces.

        Closing it does nothing.
        """
        ...

    def close(self) -> None:
        """Close all connections; an embedded runtime ends."""
        ...


class AsyncTransport(Protocol):
    """A `Transport` for asyncio."""

    @property
    def tracer(self) -> Tracer:
        """The tracer of the operations."""
        ...

    @property
    def parent(self) -> str | None:
        """Parent of the operations in a trace, if it is not the current span."""
        ...

    async def send(self, call: Operation[A], key: str | None = None) -> A:
        """Send the operation and return its answer."""
        ...

    def stream(self, call: Operation[Any], key: str | None = None) -> AsyncBatches:
        """Yield the events of a streaming operation in order, each once, over lost connections."""
        ...

    async def upload(
        self, name: str, media_type: str, content: bytes, key: str | None = None
    ) -> Upload:
        """Upload a file."""
        ...

    async def download(self, file_id: str) -> bytes:
        """Return the bytes of a file."""
        ...

    def read_file(self, file_id: str) -> AsyncPieces:
        """The bytes of a file, piece by piece; what breaks off is not resumed."""
        ...

    def export(self, owner: str) -> AsyncPieces:
        """Yield everything that an owner has as a zip file in pieces; it cannot be resumed."""
        ...

    def on_behalf_of(self, owner: str) -> AsyncTransport:
        """Return a transport over this one that acts for that owner.

        Closing it leaves this one open. Another owner needs the scope `admin`. Raises
        `InvalidRequest` if `owner` is not valid.
        """
        ...

    def as_actor(self, actor: str) -> AsyncTransport:
        """Return a transport over this one whose changes are attributed to that person.

        It appears so in the audit log. Needs the scope `admin`; closing it leaves this one open.
        Raises `InvalidRequest` if `actor` is not a valid id.
        """
        ...

    async def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """Return the model server that answers for this model, or in this run.

        Raises `AntiphonError` if it is not known.
        """
        ...

    def with_trace_parent(self, place: str | None) -> AsyncTransport:
        """Return a transport over this one with `place` as parent in traces.

        Closing it does nothing.
        """
        ...

    async def close(self) -> None:
        """Close all connections; an embedded runtime ends."""
        ...


def create_client_tracer(settings: Settings) -> Tracer:
    """Return the tracer for a program's operations. Raises `BadSettings`."""
    return create_tracer(settings.telemetry, "antiphon-client", content=settings.log_content)


def create_transport(
    server: str | None, api_key: str | None, settings: Settings | None
) -> Transport:
    """Return the transport to that server, else to the one in the settings, else embedded."""
    opened: Transport = _create("", server, api_key, settings)
    return opened


def create_async_transport(
    server: str | None, api_key: str | None, settings: Settings | None
) -> AsyncTransport:
    """Return the same for asyncio."""
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
