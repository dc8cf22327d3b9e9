"""The transport over HTTP for asyncio: deadlines, retries, and streams that resume.

Streams are read raw and cut into events by our own decoder: the line iterators of HTTP clients cost
more per event than everything else together, and split at characters that JSON may hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from copy import copy
from typing import IO, Any, TypeVar

import httpx2

from antiphon.api import operations
from antiphon.api.operations import ImportOwner, Operation, OwnerImport
from antiphon.client.async_transport import AsyncBatches, AsyncPieces
from antiphon.client.http_messages import (
    ACTOR_HEADER,
    DEFAULTS,
    OWNER_HEADER,
    PATIENCE,
    RetryPolicy,
    build_request,
    check_address,
    check_event_stream,
    check_http_client,
    client_arguments,
    connection_error,
    decode_response,
    default_headers,
    download_request,
    early_end_error,
    error_from_problem,
    import_request,
    lower_names,
    model_server_by_name,
    new_key,
    parse_response,
    request_span,
    upload_request,
    with_headers,
)
from antiphon.client.options import ClientOptions, client_closed_error
from antiphon.client.recovery import ResumableStream
from antiphon.engine import sanitize
from antiphon.telemetry import tracing
from antiphon.telemetry.tracing import NO_TRACES, Tracer
from antiphon.tools.questions import ModelServer
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import Upload

A = TypeVar("A")

PIECE_BYTES = 1 << 18


class AsyncHttpTransport:
    """Sends operations to the server at this address. It belongs to one event loop."""

    def __init__(
        self,
        server: str,
        api_key: str | None = None,
        *,
        patience: float = PATIENCE,
        tracer: Tracer = NO_TRACES,
        options: ClientOptions = DEFAULTS,
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        self.tracer = tracer
        self.parent: str | None = None
        self._server = check_address(server)
        check_http_client(http_client, httpx2.AsyncClient)
        self._own_headers = default_headers(api_key) | lower_names(options.headers)
        self._retries = RetryPolicy(patience, options.max_retries)
        self._options = options
        self._acting: dict[str, str] = {}
        self._is_derived = False  # from another transport, whose connections these are
        self._http = http_client or httpx2.AsyncClient(**client_arguments(server))
        self._owns_http = http_client is None

    async def send(self, operation: Operation[A], key: str | None = None) -> A:
        """Send the operation until it is answered."""
        return parse_response(
            operation, await self._fetch(self._request(operation, key or new_key()))
        )

    async def stream(self, operation: Operation[Any], key: str | None = None) -> AsyncBatches:
        """Yield the operation's events; a lost connection is replaced."""
        reading, tries, key = ResumableStream(operation), self._retries.schedule(), key or new_key()
        while True:
            failure: AntiphonError = early_end_error()
            try:
                request = self._request(reading.next_operation(), key)
                async with self._open_response(request) as response:
                    check_event_stream(response)
                    # Any: httpx2 declares less of its sync iterators than of its async ones.
                    chunks: Any = response.aiter_raw()
                    async with aclosing(chunks):
                        async for data in chunks:
                            if batch := reading.feed(data):
                                tries.reset()
                                yield batch
                            if reading.over:
                                # The end of the response follows: the connection is used again.
                                await anext(chunks, b"")
                                return
                    reading.end_connection()
            except httpx2.TransportError as error:
                failure = connection_error(error)
            except AntiphonError as error:
                failure = error
            if not reading.over and (check := reading.status_check()):
                reading.set_status(await self.send(check))
                failure = early_end_error()
            if reading.over:
                return
            await asyncio.sleep(self._retries.pause(tries, failure, reading.pause))

    async def upload(
        self,
        name: str,
        media_type: str,
        content: bytes,
        key: str | None = None,
        purpose: str | None = None,
    ) -> Upload:
        """Upload a file."""
        request = upload_request(name, media_type, content, key or new_key(), purpose)
        upload: Upload = decode_response(await self._fetch(request), Upload)
        return upload

    async def download(self, file_id: str) -> bytes:
        """Return the bytes of a file."""
        return await self._fetch(download_request(file_id))

    def read_file(self, file_id: str) -> AsyncPieces:
        """Yield the bytes of a file in pieces; a download that breaks off is not resumed."""
        return self._read_pieces(download_request(file_id))

    def export(self, owner: str) -> AsyncPieces:
        """Yield everything that an owner has as a zip file in pieces."""
        return self._read_pieces(build_request(operations.ExportOwner(owner), new_key()))

    async def import_archive(self, operation: ImportOwner, file: IO[bytes]) -> OwnerImport:
        """Send this zip file, which must be seekable, and return what was imported."""
        request = import_request(operation, file)
        return parse_response(
            operation, await self._fetch({**request, "content": AsyncFileBody(file)})
        )

    async def _read_pieces(self, request: dict[str, Any]) -> AsyncPieces:
        try:
            async with self._open_response(request) as response:
                pieces: Any = response.aiter_bytes()
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece
        except httpx2.TransportError as error:
            raise connection_error(error) from error

    def on_behalf_of(self, owner: str) -> AsyncHttpTransport:
        """Return a transport over the same connections; closing it leaves them open."""
        return self._with_header(OWNER_HEADER, sanitize.validate_owner(owner))

    def as_actor(self, actor: str) -> AsyncHttpTransport:
        """Return a transport over the same connections; closing it leaves them open."""
        return self._with_header(ACTOR_HEADER, sanitize.validate_owner(actor))

    def _with_header(self, name: str, value: str) -> AsyncHttpTransport:
        transport = copy(self)
        transport._acting, transport._is_derived = {**self._acting, name: value}, True
        return transport

    def with_options(
        self, changes: Mapping[str, str | float | None], headers: Mapping[str, str]
    ) -> AsyncHttpTransport:
        """Return a transport over the same connections; closing it leaves them open."""
        transport = copy(self)
        transport._options = self._options.change(changes, headers)
        transport._own_headers = self._own_headers | lower_names(headers)
        transport._retries = self._retries.limit(transport._options.max_retries)
        transport._is_derived = True
        return transport

    async def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """Return the provider as the server names it; its own address stays unknown."""
        return model_server_by_name(model, self._server)

    def with_trace_parent(self, place: str | None) -> AsyncHttpTransport:
        """Return a transport over the same connections, with this parent in traces."""
        transport = copy(self)
        transport.parent, transport._is_derived = place, True
        return transport

    def on_connection_lost(self, notify: Callable[[float], None]) -> None:
        """Set a function to call when the server is lost, with the seconds for which it is tried.

        It is called once per loss, when the server has not answered for some seconds.
        """
        self._retries.on_loss = notify

    async def close(self) -> None:
        """Close the connections."""
        if not self._is_derived:
            if self._owns_http:
                await self._http.aclose()
            if self.tracer is not NO_TRACES:
                await asyncio.to_thread(self.tracer.close)

    def _request(self, operation: Operation[Any], key: str) -> dict[str, Any]:
        return build_request(operation, key, self._options)

    async def _fetch(self, request: dict[str, Any]) -> bytes:
        """Return the body of the response; retry while that can help."""
        tries = self._retries.schedule()
        while True:
            try:
                async with self._open_response(request) as response:
                    return await response.aread()
            except httpx2.TransportError as error:
                failure: AntiphonError = connection_error(error)
            except AntiphonError as error:
                failure = error
            await asyncio.sleep(self._retries.pause(tries, failure))

    @asynccontextmanager
    async def _open_response(self, request: dict[str, Any]) -> AsyncGenerator[httpx2.Response]:
        """Send the request once; yield the response unless it is an error."""
        if self._http.is_closed:
            raise client_closed_error()
        with request_span(self.tracer, self.parent, request) as span:
            headers = {
                **self._own_headers,
                **self._acting,
                **tracing.trace_headers(span.trace_context),
            }
            request = with_headers(headers, {**request, "url": self._server + request["url"]})
            async with self._http.stream(**request) as response:
                self._retries.answered = True
                span.set_attributes({"http.response.status_code": response.status_code})
                if response.is_error:
                    raise error_from_problem(
                        response.status_code, response.headers, await response.aread()
                    )
                yield response


class AsyncFileBody:
    """The bytes of a file as the body of a request, which may be sent again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._file.seek(0)
        while piece := await asyncio.to_thread(self._file.read, PIECE_BYTES):
            yield piece
