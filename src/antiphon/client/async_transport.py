"""The transport for asyncio: an interface to a server, or to a runtime in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import IO, Any, Protocol, TypeVar

from antiphon.api.operations import ImportOwner, Operation, OwnerImport
from antiphon.telemetry.tracing import Tracer
from antiphon.tools.questions import ModelServer
from antiphon.types.events import Numbered
from antiphon.types.messages import Upload

A = TypeVar("A")

AsyncBatches = AsyncGenerator[Sequence[Numbered]]
"""Batches of events with their numbers, as they arrived; closing the generator ends the stream."""
AsyncPieces = AsyncGenerator[bytes]
"""A file in pieces; closing the generator ends the download."""


class AsyncTransport(Protocol):
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

    async def send(self, operation: Operation[A], key: str | None = None) -> A:
        """Send the operation and return its answer."""
        ...

    def stream(self, operation: Operation[Any], key: str | None = None) -> AsyncBatches:
        """Yield the events of a streaming operation in order, each once, over lost connections."""
        ...

    async def upload(
        self,
        name: str,
        media_type: str,
        content: bytes,
        key: str | None = None,
        purpose: str | None = None,
    ) -> Upload:
        """Upload a file."""
        ...

    async def download(self, file_id: str) -> bytes:
        """Return the bytes of a file."""
        ...

    def read_file(self, file_id: str) -> AsyncPieces:
        """Yield the bytes of a file in pieces; a download that breaks off is not resumed."""
        ...

    def export(self, owner: str) -> AsyncPieces:
        """Yield everything that an owner has as a zip file in pieces; it cannot be resumed."""
        ...

    async def import_archive(self, operation: ImportOwner, file: IO[bytes]) -> OwnerImport:
        """Send this zip file, which must be seekable, and return what was imported."""
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

    def with_options(
        self, changes: Mapping[str, str | float | None], headers: Mapping[str, str]
    ) -> AsyncTransport:
        """Return a transport over this one with changed `ClientOptions`, and headers added.

        Closing it leaves this one open. Raises `BadSettings`, in this process also for options
        that are about a server.
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
