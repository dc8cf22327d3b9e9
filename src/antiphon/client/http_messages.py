"""Requests, responses and errors of the API over HTTP, for both transports."""

from __future__ import annotations

import os
import platform
import ssl
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, TypeVar, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx2
import msgspec

from antiphon import __version__
from antiphon.api import operations
from antiphon.api.operations import CreateRun, Follow, ImportOwner, Operation, Process
from antiphon.client.options import ClientOptions
from antiphon.client.recovery import RetrySchedule
from antiphon.engine import sanitize
from antiphon.telemetry import tracing
from antiphon.telemetry.tracing import Tracer, TraceSpan
from antiphon.tools.questions import ModelServer
from antiphon.types import errors
from antiphon.types.addresses import connection_reason, origin
from antiphon.types.errors import AntiphonError, BadSettings, CallerError, ConnectionLost

A = TypeVar("A")

PATIENCE = 60.0  # seconds of retries: longer than a server takes to restart
FIRST_PATIENCE = 3.0  # before its first answer: a wrong address is likelier than a restart
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
BUSY_SECONDS = 3600.0  # an operation that waits for another run has no answer until that run ends
SILENCE_SECONDS = 30.0  # on a stream: three heartbeats of the server are missing

DEFAULTS = ClientOptions()
OWNER_HEADER = "antiphon-owner"
ACTOR_HEADER = "antiphon-actor"
_EVENT_STREAM = "text/event-stream"


class RetryPolicy:
    """Duration of retries: longer once the server has answered.

    Transports over the same connections share the policy. `on_loss` is called once when a server
    that has answered can no longer be reached, with the seconds for which it is tried again.
    """

    def __init__(self, seconds: float, max_retries: int | None = None) -> None:
        self.answered = False
        self.on_loss: Callable[[float], None] | None = None
        self._seconds = seconds
        self._max_retries = max_retries

    def schedule(self) -> RetrySchedule:
        """Return the schedule of one operation."""
        patience = self._seconds if self.answered else min(self._seconds, FIRST_PATIENCE)
        return RetrySchedule(patience, self._max_retries)

    def limit(self, max_retries: int | None) -> RetryPolicy:
        """Return a policy with another number of retries."""
        policy = RetryPolicy(self._seconds, max_retries)
        policy.answered, policy.on_loss = self.answered, self.on_loss
        return policy

    def pause(
        self, tries: RetrySchedule, failure: AntiphonError, requested_pause: float = 0.0
    ) -> float:
        """Return the seconds until the next retry. Raises the failure if there is none."""
        if self.answered:
            tries.patience = self._seconds
        now = time.monotonic()
        pause = tries.pause(failure, now, requested_pause)
        if self.on_loss is not None and self.answered and isinstance(failure, ConnectionLost):
            left = tries.report_loss(now, pause)
            if left is not None:
                self.on_loss(left)
        return pause


@contextmanager
def request_span(
    tracer: Tracer, parent: str | None, request: dict[str, Any]
) -> Generator[TraceSpan]:
    """Open the span of one attempt.

    It does not become the current span: the block may yield to the code that iterates over a
    generator.
    """
    method, path = request["method"], request["url"]
    facts = {"http.request.method": method, "url.path": tracing.redact_path(path)}
    name = f"{method} {tracing.route_template(path)}"
    with tracing.open_span(tracer, name, "client", parent=parent, facts=facts) as span:
        yield span


def with_headers(headers: dict[str, str], request: dict[str, Any]) -> dict[str, Any]:
    """Return the request with these headers added."""
    return {**request, "headers": {**request.get("headers", {}), **headers}}


def model_server_by_name(model: str, server: str) -> ModelServer:
    """Return the provider in the name of the model, reached through this server."""
    provider, colon, _ = model.partition(":")
    return ModelServer(provider if colon else "", origin(server))


def check_address(server: str) -> str:
    """Return the address of a server without a slash at its end. Raises `BadSettings`."""
    try:
        parts = urlsplit(server)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an unclosed bracket, a port that is not a number
        usable = False
    if not usable:
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
    return server.rstrip("/")


def check_http_client(given: object, kind: type[Any]) -> None:
    """Raise `BadSettings` for an HTTP client of another kind than the transport needs."""
    if given is not None and not isinstance(given, kind):
        raise BadSettings(
            "This client cannot send requests with the given http_client.",
            expected=f"an httpx2.{kind.__name__}",
            received=type(given).__qualname__,
        )


def default_headers(api_key: str | None) -> dict[str, str]:
    """Return the headers of all requests. Raises `BadSettings`."""
    headers = {"user-agent": f"antiphon/{__version__} python/{platform.python_version()}"}
    if api_key is not None:
        if not (api_key.isascii() and api_key.isprintable()):
            raise BadSettings("The API key holds characters that no key has.")
        headers["authorization"] = f"Bearer {api_key}"
    return headers


def lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with names in lower case, so that each name is there once."""
    return {name.lower(): value for name, value in headers.items()}


def client_arguments(server: str) -> dict[str, Any]:
    """Return the arguments of both httpx2 clients."""
    arguments: dict[str, Any] = {}
    if urlsplit(server).scheme == "http" and not getproxies():
        # Without TLS, no certificates are loaded, which takes 80 ms, and none are trusted.
        arguments["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return arguments | {
        # Each open stream holds a connection; their number is not limited.
        "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=20),
    }


def build_request(
    operation: Operation[Any], key: str, options: ClientOptions = DEFAULTS
) -> dict[str, Any]:
    """Return this operation as an httpx2 request. Raises `InvalidRequest`."""
    operation = options.with_model(operation)
    # Before encoding: invalid values may not be expressible in JSON.
    sanitize.request_fields(operation)
    method, path, query, body = operations.to_http(operation)
    headers: dict[str, str] = {}
    if body is not None:
        headers["content-type"] = "application/json"
    if operation.creates:
        headers["idempotency-key"] = key
    if operation.streams:
        # Raw reads do not decompress, and compression would delay events.
        headers |= {"accept": _EVENT_STREAM, "accept-encoding": "identity"}
    if isinstance(operation, Follow):
        headers["last-event-id"] = query.pop("after")
    return {
        "method": method,
        "url": path,
        "params": query or None,
        "content": body,
        "headers": headers,
        "timeout": _timeout(operation, options.timeout or ANSWER_SECONDS),
    }


def upload_request(
    name: str, media_type: str, content: bytes, key: str, purpose: str | None = None
) -> dict[str, Any]:
    """Return the request that uploads a file. Raises `InvalidRequest`."""
    params = {"name": sanitize.validate_file_name(name)}
    if purpose is not None:
        params["purpose"] = sanitize.validate_purpose(purpose)
    return {
        "method": "POST",
        "url": "/v1/files",
        "params": params,
        "content": content,
        "headers": {"content-type": sanitize.parse_media_type(media_type), "idempotency-key": key},
        "timeout": httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
    }


def import_request(operation: ImportOwner, file: IO[bytes]) -> dict[str, Any]:
    """Return the request of an import but for its body. Raises `InvalidRequest`."""
    headers = {
        "content-type": str(operation.upload),
        "content-length": str(file.seek(0, os.SEEK_END)),
    }
    timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, read=BUSY_SECONDS)
    return {**build_request(operation, ""), "headers": headers, "timeout": timeout}


def download_request(file_id: str) -> dict[str, Any]:
    """Return the request for the bytes of a file. Raises `InvalidRequest`."""
    about = build_request(operations.GetFile(file_id), "")
    return {
        "method": "GET",
        "url": f"{about['url']}/content",
        "timeout": httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
    }


def _timeout(operation: Operation[Any], seconds: float) -> httpx2.Timeout:
    match operation:
        case CreateRun(if_busy="wait") | Process(if_busy="wait"):
            return httpx2.Timeout(BUSY_SECONDS, connect=CONNECT_SECONDS)
        case _ if operation.streams:
            return httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        case _:
            return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def new_key() -> str:
    """Return a new idempotency key."""
    return uuid.uuid4().hex


# Responses.


def parse_response(operation: Operation[A], content: bytes) -> A:
    """Decode the response of this operation. Raises `BadSettings` if it is not Antiphon's."""
    answer: A = decode_response(content, operation.answer)
    return answer


def decode_response(content: bytes, kind: Any) -> Any:
    """Decode bytes as a value of this type. Raises `BadSettings`."""
    try:
        return msgspec.json.decode(content, type=kind)
    except _DECODE_ERRORS as error:
        raise BadSettings(
            f"The server's answer cannot be read: {error}",
            expected="an Antiphon server, of this version or near it",
            received=repr(content[:80]),
            hint="Is the address right?",
        ) from error


def error_from_problem(status: int, headers: Mapping[str, str], content: bytes) -> AntiphonError:
    """Return the error of a problem document (RFC 9457), else one by the HTTP status."""
    try:
        members = msgspec.json.decode(content, type=dict[str, Any])
    except _DECODE_ERRORS:
        members = {}
    code = str(members.pop("code", ""))
    kind = errors.class_for_code(code)
    if kind is AntiphonError:
        kind = _BY_STATUS.get(status) or (CallerError if 400 <= status < 500 else AntiphonError)
        members |= {"code": code} if code else {}
    detail = members.pop("detail", None) or f"The server answered with HTTP status {status}."
    error = kind(str(detail))
    for name in ("type", "title", "status", "instance"):
        members.pop(name, None)
    retry_after = headers.get("retry-after", "")
    if retry_after.isdecimal():
        members.setdefault("retry_after", int(retry_after))
    error.details.update(members)
    error.http_status, error.request_id = status, headers.get("x-request-id")
    return error


# A proxy may answer in another encoding than UTF-8.
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)

_BY_STATUS: dict[int, type[AntiphonError]] = {
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    413: errors.TooLarge,
    429: errors.Overloaded,
    502: errors.Unavailable,  # 502 and 504 come from a proxy whose server is down
    503: errors.Unavailable,
    504: errors.Unavailable,
}


def check_event_stream(response: httpx2.Response) -> None:
    """Raise `BadSettings` if the response is not a stream of events."""
    media_type = response.headers.get("content-type", "")
    if not media_type.startswith(_EVENT_STREAM):
        raise BadSettings(
            "The server answered with something that is no stream of events.",
            expected=_EVENT_STREAM,
            received=media_type or "no Content-Type",
            hint="Is the address that of an Antiphon server?",
        )


def early_end_error() -> ConnectionLost:
    """Return the error of a stream that the server closed too early."""
    return ConnectionLost("The server closed the stream before its end, and each one after it.")


def connection_error(error: httpx2.TransportError) -> AntiphonError:
    """Translate a transport error of httpx2."""
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return BadSettings(f"The server cannot be asked: {error}")
    root = _root(error)
    match error:
        case httpx2.ConnectTimeout():
            reason = f"no connection within {CONNECT_SECONDS:g} s"
        case httpx2.ConnectError() if isinstance(root, OSError):
            reason = connection_reason(root)
        case _:
            reason = str(error) or type(error).__name__
    place = ""
    with suppress(RuntimeError):  # an error without its request
        place = f" at {origin(str(error.request.url))}"
    lost = ConnectionLost(f"The server{place} does not answer: {reason}", hint="Is it running?")
    lost.__cause__ = error
    return lost


def _root(error: BaseException) -> BaseException:
    """Return the first cause of an error: for a connection, the error of the operating system."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    if isinstance(error, BaseExceptionGroup):
        return _root(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
