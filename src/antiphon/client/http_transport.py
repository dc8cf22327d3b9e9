"""The transport over HTTP: deadlines, retries, and streams that resume where they broke off.

Streams are read raw and cut into events by our own decoder: the line iterators of HTTP clients cost
more per event than everything else together, and split at characters that JSON may hold.
"""

from __future__ import annotations

import asyncio
import platform
import time
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager
from copy import copy
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx2

from antiphon import __version__
from antiphon.api import operations
from antiphon.api.operations import CreateRun, Follow, Operation, Process
from antiphon.client.recovery import (
    ResumableStream,
    RetrySchedule,
    decode_response,
    error_from_problem,
    parse_response,
)
from antiphon.client.transport import AsyncBatches, AsyncPieces, Batches, Pieces
from antiphon.engine import sanitize
from antiphon.telemetry import tracing
from antiphon.telemetry.tracing import NO_TRACES, Tracer, TraceSpan
from antiphon.tools.questions import ModelServer
from antiphon.types.addresses import connection_reason, origin
from antiphon.types.errors import AntiphonError, BadSettings, ConnectionLost
from antiphon.types.messages import Upload

A = TypeVar("A")

PATIENCE = 60.0  # seconds to go on trying: longer than a server takes to start again
FIRST_PATIENCE = 3.0  # until it has answered once, a wrong address is likelier than a restart
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
BUSY_SECONDS = 3600.0  # a call that waits for another run to end is silent until then
SILENCE_SECONDS = 30.0  # on a stream: three of the server's signs of life were missed

OWNER = "antiphon-owner"
ACTOR = "antiphon-actor"
_EVENT_STREAM = "text/event-stream"


class HttpTransport:
    """Sends operations to the server at this address; threads may share it."""

    def __init__(
        self,
        server: str,
        api_key: str | None = None,
        *,
        patience: float = PATIENCE,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self.tracer = tracer
        self.parent: str | None = None
        self._patience = _RetryPolicy(patience)
        self._headers: dict[str, str] = {}
        self._lent = False
        self._http = httpx2.Client(**_options(server, api_key))

    def send(self, call: Operation[A], key: str | None = None) -> A:
        """Send the operation until it is answered."""
        return parse_response(call, self._answer(_build_request(call, key or _new_key())))

    def stream(self, call: Operation[Any], key: str | None = None) -> Batches:
        """Yield the operation's events; a lost connection is replaced."""
        reading, tries, key = ResumableStream(call), self._patience.tries(), key or _new_key()
        while True:
            failure: AntiphonError = _ended_early_error()
            try:
                with self._open_response(_build_request(reading.next_operation(), key)) as response:
                    _check_stream(response)
                    for data in response.iter_raw():
                        if batch := reading.feed(data):
                            tries.reset()
                            yield batch
                        if reading.over:
                            return
                    reading.end_connection()
            except httpx2.TransportError as error:
                failure = _connection_error(error)
            except AntiphonError as error:
                failure = error
            if not reading.over and (check := reading.status_check()):
                reading.set_status(self.send(check))
                failure = _ended_early_error()
            if reading.over:
                return
            time.sleep(self._patience.pause(tries, failure, reading.pause))

    def upload(self, name: str, media_type: str, content: bytes, key: str | None = None) -> Upload:
        """Upload a file."""
        asked = _upload_request(name, media_type, content, key or _new_key())
        upload: Upload = decode_response(self._answer(asked), Upload)
        return upload

    def download(self, file_id: str) -> bytes:
        """Return the bytes of a file."""
        return self._answer(_download_request(file_id))

    def export(self, owner: str) -> Pieces:
        """Yield everything that an owner has as a zip file in pieces."""
        asked = _build_request(operations.ExportOwner(owner), _new_key())
        try:
            with self._open_response(asked) as response:
                yield from response.iter_bytes()
        except httpx2.TransportError as error:
            raise _connection_error(error) from error

    def on_behalf_of(self, owner: str) -> HttpTransport:
        """Return a transport over the same connections; closing it leaves them open."""
        acting = copy(self)
        acting._headers, acting._lent = (
            {**self._headers, OWNER: sanitize.validate_owner(owner)},
            True,
        )
        return acting

    def as_actor(self, actor: str) -> HttpTransport:
        """Return a transport over the same connections; closing it leaves them open."""
        acting = copy(self)
        acting._headers, acting._lent = (
            {**self._headers, ACTOR: sanitize.validate_owner(actor)},
            True,
        )
        return acting

    def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """Return the provider as the server names it; where that is stays unknown."""
        return _model_server(model, str(self._http.base_url))

    def with_trace_parent(self, place: str | None) -> HttpTransport:
        """Return a transport over the same connections, with this parent in traces."""
        line = copy(self)
        line.parent, line._lent = place, True
        return line

    def close(self) -> None:
        """Close the connections."""
        if not self._lent:
            self._http.close()
            self.tracer.close()

    def _answer(self, asked: dict[str, Any]) -> bytes:
        tries = self._patience.tries()
        while True:
            try:
                with self._open_response(asked) as response:
                    return response.read()
            except httpx2.TransportError as error:
                failure: AntiphonError = _connection_error(error)
            except AntiphonError as error:
                failure = error
            time.sleep(self._patience.pause(tries, failure))

    @contextmanager
    def _open_response(self, asked: dict[str, Any]) -> Generator[httpx2.Response]:
        """Open the response if it is not an error."""
        with (
            _request_span(self.tracer, self.parent, asked) as span,
            self._http.stream(
                **_with_headers(self._headers | tracing.trace_headers(span.trace_context), asked)
            ) as response,
        ):
            self._patience.answered = True
            span.set_attributes({"http.response.status_code": response.status_code})
            if response.is_error:
                raise error_from_problem(response.status_code, response.headers, response.read())
            yield response


class AsyncHttpTransport:
    """`HttpTransport` for one event loop."""

    def __init__(
        self,
        server: str,
        api_key: str | None = None,
        *,
        patience: float = PATIENCE,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self.tracer = tracer
        self.parent: str | None = None
        self._patience = _RetryPolicy(patience)
        self._headers: dict[str, str] = {}
        self._lent = False
        self._http = httpx2.AsyncClient(**_options(server, api_key))

    async def send(self, call: Operation[A], key: str | None = None) -> A:
        """Send the operation until it is answered."""
        return parse_response(call, await self._answer(_build_request(call, key or _new_key())))

    async def stream(self, call: Operation[Any], key: str | None = None) -> AsyncBatches:
        """Yield the operation's events; a lost connection is replaced."""
        reading, tries, key = ResumableStream(call), self._patience.tries(), key or _new_key()
        while True:
            failure: AntiphonError = _ended_early_error()
            try:
                async with self._open_response(
                    _build_request(reading.next_operation(), key)
                ) as response:
                    _check_stream(response)
                    async with aclosing(response.aiter_raw()) as pieces:
                        async for data in pieces:
                            if batch := reading.feed(data):
                                tries.reset()
                                yield batch
                            if reading.over:
                                return
                    reading.end_connection()
            except httpx2.TransportError as error:
                failure = _connection_error(error)
            except AntiphonError as error:
                failure = error
            if not reading.over and (check := reading.status_check()):
                reading.set_status(await self.send(check))
                failure = _ended_early_error()
            if reading.over:
                return
            await asyncio.sleep(self._patience.pause(tries, failure, reading.pause))

    async def upload(
        self, name: str, media_type: str, content: bytes, key: str | None = None
    ) -> Upload:
        """Upload a file."""
        asked = _upload_request(name, media_type, content, key or _new_key())
        upload: Upload = decode_response(await self._answer(asked), Upload)
        return upload

    async def download(self, file_id: str) -> bytes:
        """Return the bytes of a file."""
        return await self._answer(_download_request(file_id))

    def read_file(self, file_id: str) -> AsyncPieces:
        """The bytes of a file, piece by piece."""
        return self._read_pieces(_download_request(file_id))

    def export(self, owner: str) -> AsyncPieces:
        """Yield everything that an owner has as a zip file in pieces."""
        return self._read_pieces(_build_request(operations.ExportOwner(owner), _new_key()))

    async def _read_pieces(self, asked: dict[str, Any]) -> AsyncPieces:
        try:
            async with (
                self._open_response(asked) as response,
                aclosing(response.aiter_bytes()) as came,
            ):
                async for piece in came:
                    yield piece
        except httpx2.TransportError as error:
            raise _connection_error(error) from error

    def on_behalf_of(self, owner: str) -> AsyncHttpTransport:
        """Return a transport over the same connections; closing it leaves them open."""
        acting = copy(self)
        acting._headers, acting._lent = (
            {**self._headers, OWNER: sanitize.validate_owner(owner)},
            True,
        )
        return acting

    def as_actor(self, actor: str) -> AsyncHttpTransport:
        """Return a transport over the same connections; closing it leaves them open."""
        acting = copy(self)
        acting._headers, acting._lent = (
            {**self._headers, ACTOR: sanitize.validate_owner(actor)},
            True,
        )
        return acting

    async def model_server(self, model: str, run_id: str | None = None) -> ModelServer:
        """Return the provider as the server names it; where that is stays unknown."""
        return _model_server(model, str(self._http.base_url))

    def with_trace_parent(self, place: str | None) -> AsyncHttpTransport:
        """Return a transport over the same connections, with this parent in traces."""
        line = copy(self)
        line.parent, line._lent = place, True
        return line

    async def close(self) -> None:
        """Close the connections."""
        if not self._lent:
            await self._http.aclose()
            if self.tracer is not NO_TRACES:
                await asyncio.to_thread(self.tracer.close)

    async def _answer(self, asked: dict[str, Any]) -> bytes:
        tries = self._patience.tries()
        while True:
            try:
                async with self._open_response(asked) as response:
                    return await response.aread()
            except httpx2.TransportError as error:
                failure: AntiphonError = _connection_error(error)
            except AntiphonError as error:
                failure = error
            await asyncio.sleep(self._patience.pause(tries, failure))

    @asynccontextmanager
    async def _open_response(self, asked: dict[str, Any]) -> AsyncGenerator[httpx2.Response]:
        """Open the response if it is not an error."""
        with _request_span(self.tracer, self.parent, asked) as span:
            given = _with_headers(self._headers | tracing.trace_headers(span.trace_context), asked)
            async with self._http.stream(**given) as response:
                self._patience.answered = True
                span.set_attributes({"http.response.status_code": response.status_code})
                if response.is_error:
                    raise error_from_problem(
                        response.status_code, response.headers, await response.aread()
                    )
                yield response


class _RetryPolicy:
    """How long to retry: longer once the server has answered, on any transport that shares this."""

    def __init__(self, seconds: float) -> None:
        self.answered = False
        self._seconds = seconds

    def tries(self) -> RetrySchedule:
        """Return the schedule of one operation."""
        return RetrySchedule(self._seconds if self.answered else min(self._seconds, FIRST_PATIENCE))

    def pause(self, tries: RetrySchedule, failure: AntiphonError, asked: float = 0.0) -> float:
        """Return the seconds until the next retry. Once the server has answered, wait longer."""
        if self.answered:
            tries.patience = self._seconds
        return tries.pause(failure, time.monotonic(), asked)


@contextmanager
def _request_span(
    tracer: Tracer, parent: str | None, asked: dict[str, Any]
) -> Generator[TraceSpan]:
    """Open the span of one attempt, which does not become the current span.

    The code inside may be a caller's generator."""
    method, path = asked["method"], asked["url"]
    facts = {"http.request.method": method, "url.path": path}
    name = f"{method} {tracing.route_template(path)}"
    with tracing.detached_span(tracer, name, "client", parent=parent, facts=facts) as span:
        yield span


def _with_headers(headers: dict[str, str], asked: dict[str, Any]) -> dict[str, Any]:
    return {**asked, "headers": {**asked.get("headers", {}), **headers}}


def _model_server(model: str, server: str) -> ModelServer:
    provider, colon, _ = model.partition(":")
    return ModelServer(provider if colon else "", origin(server))


def _options(server: str, api_key: str | None) -> dict[str, Any]:
    """Return the arguments of both httpx2 clients. Raises `BadSettings`."""
    if not _is_address(server):
        raise BadSettings(
            "The server's address cannot be used.",
            expected="an address such as http://127.0.0.1:8000",
            received=server,
        )
    if (without := server.rstrip("/").removesuffix("/v1")) != server.rstrip("/"):
        raise BadSettings(
            "The server's address ends in /v1, which every call adds by itself.",
            expected="the address that `antiphon serve` prints, and what a proxy puts before /v1",
            received=server,
            hint=f"Leave it out: {without}",
        )
    headers = {"user-agent": f"antiphon/{__version__} python/{platform.python_version()}"}
    if api_key is not None:
        if not (api_key.isascii() and api_key.isprintable()):
            raise BadSettings("The API key holds characters that no key has.")
        headers["authorization"] = f"Bearer {api_key}"
    return {
        "base_url": server,
        "headers": headers,
        # Every stream holds a connection, and a client may hold as many as it likes.
        "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=20),
    }


def _build_request(call: Operation[Any], key: str) -> dict[str, Any]:
    """Return this operation as an httpx2 request. Raises `InvalidRequest`."""
    sanitize.request_fields(call)  # what no server takes may not even be sayable as JSON
    method, path, query, body = operations.to_http(call)
    headers: dict[str, str] = {}
    if body is not None:
        headers["content-type"] = "application/json"
    if call.creates:
        headers["idempotency-key"] = key
    if call.streams:
        # Raw reads know no compression, which would delay events besides.
        headers |= {"accept": _EVENT_STREAM, "accept-encoding": "identity"}
    if isinstance(call, Follow):
        headers["last-event-id"] = query.pop("after")
    return {
        "method": method,
        "url": path,
        "params": query or None,
        "content": body,
        "headers": headers,
        "timeout": _timeout(call),
    }


def _upload_request(name: str, media_type: str, content: bytes, key: str) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": "/v1/files",
        "params": {"name": sanitize.validate_file_name(name)},
        "content": content,
        "headers": {"content-type": sanitize.parse_media_type(media_type), "idempotency-key": key},
        "timeout": httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
    }


def _download_request(file_id: str) -> dict[str, Any]:
    about = _build_request(operations.GetFile(file_id), "")
    return {
        "method": "GET",
        "url": f"{about['url']}/content",
        "timeout": httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
    }


def _timeout(call: Operation[Any]) -> httpx2.Timeout:
    match call:
        case CreateRun(if_busy="wait") | Process(if_busy="wait"):
            return httpx2.Timeout(BUSY_SECONDS, connect=CONNECT_SECONDS)
        case _ if call.streams:
            return httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        case _:
            return httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)


def _is_address(server: str) -> bool:
    try:
        parts = urlsplit(server)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an end, a port that is no number
        return False


def _check_stream(response: httpx2.Response) -> None:
    media_type = response.headers.get("content-type", "")
    if not media_type.startswith(_EVENT_STREAM):
        raise BadSettings(
            "The server answered with something that is no stream of events.",
            expected=_EVENT_STREAM,
            received=media_type or "no Content-Type",
            hint="Is the address that of an Antiphon server?",
        )


def _new_key() -> str:
    return uuid.uuid4().hex


def _ended_early_error() -> ConnectionLost:
    return ConnectionLost("The server closed the stream before its end, and each one after it.")


def _connection_error(error: httpx2.TransportError) -> AntiphonError:
    """Translate a transport error of httpx2."""
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return BadSettings(f"The server cannot be asked: {error}")
    root = _root(error)
    match error:
        case httpx2.ConnectTimeout():
            said = f"no connection within {CONNECT_SECONDS:g} s"
        case httpx2.ConnectError() if isinstance(root, OSError):
            said = connection_reason(root)
        case _:
            said = str(error) or type(error).__name__
    lost = ConnectionLost(f"The server does not answer: {said}", hint="Is it running?")
    lost.__cause__ = error
    return lost


def _root(error: BaseException) -> BaseException:
    """Return what an error came of at first: what the system says of a connection."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    if isinstance(error, BaseExceptionGroup):
        return _root(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
