"""A request: its caller, query, body and responses, and the detection of disconnects.

Header fields of responses cannot contain line breaks; every error is a problem document.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from hashlib import blake2b
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from antiphon.api import operations, problems
from antiphon.api.operation import convert, from_query, invalid_request
from antiphon.api.operations import Operation
from antiphon.api.problems import Malformed, TooSlow, UnsupportedMedia
from antiphon.engine import sanitize
from antiphon.limits.unsent_bytes import hold_bytes, send_body
from antiphon.server.auth import AdmittedCaller
from antiphon.settings.settings import Settings
from antiphon.types.errors import AntiphonError, InvalidEventId, InvalidRequest, TooLarge

Field = tuple[bytes, bytes]

_encode = msgspec.json.Encoder().encode
_COMMON_FIELDS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
_CONTROLS = bytes([*range(0x20), 0x7F])


class RequestContext(msgspec.Struct, frozen=True):
    """An admitted request; `began` is a time of the monotonic clock."""

    scope: Scope
    receive: Receive
    send: Send
    caller: AdmittedCaller
    began: float

    async def respond_json(self, status: int, value: Any, more: Iterable[Field] = ()) -> None:
        """Respond with a value as JSON; `msgspec.Raw` is sent as it is. Raises `Overloaded`."""
        await self.respond(status, _encode(value), b"application/json", more)

    async def respond_unless_known(self, value: Any) -> None:
        """Respond with a value as JSON, or with 304 if the client has it: see RFC 9110, 13.1.2.

        The weak entity tag is a digest of the body. Raises `Overloaded`.
        """
        body = _encode(value)
        tag = f'W/"{blake2b(body, digest_size=12).hexdigest()}"'
        known = Headers(scope=self.scope).get("if-none-match", "")
        fields = [(b"etag", tag.encode())]
        if known.strip() == "*" or tag in (each.strip() for each in known.split(",")):
            await self.send({"type": "http.response.start", "status": 304, "headers": fields})
            await self.send({"type": "http.response.body", "body": b""})
            return
        await self.respond(200, body, b"application/json", fields)

    async def respond(
        self, status: int, body: bytes, media_type: bytes, more: Iterable[Field] = ()
    ) -> None:
        """Respond with these bytes. Raises `Overloaded` if too many bytes wait to be read."""
        with self.hold_bytes(len(body)):
            await send_response(self.send, status, body, media_type, more)

    def hold_bytes(self, size: int) -> AbstractContextManager[None]:
        """Count these bytes as held for this caller. Raises `Overloaded` on entry."""
        return hold_bytes(self.scope, self.caller.share_key, size)


def field(name: bytes, value: str) -> Field:
    """Return a header field with a value from outside, without characters that end the line."""
    return name, value.encode("latin-1", "replace").translate(None, _CONTROLS)


async def send_response(
    send: Send, status: int, body: bytes, media_type: bytes, more: Iterable[Field] = ()
) -> None:
    """Send a complete response."""
    fields = [
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(body)),
        *_COMMON_FIELDS,
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send_body(send, body)


REQUEST_ID = b"x-request-id"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def find_request_id(scope: Scope) -> str | None:
    """Return the id that a proxy or the client gave this request; None without a usable one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID:
            return value.decode() if _REQUEST_ID.fullmatch(value) else None
    return None


async def send_problem(send: Send, error: AntiphonError) -> None:
    """Send an error as a problem document."""
    status, _ = problems.status_and_title(error)
    body = problems.problem_document(error)
    await send_response(send, status, body, problems.MEDIA_TYPE, problems.problem_headers(error))


T = TypeVar("T")


class ClientDisconnected(Exception):
    """The client disconnected before the response."""


@asynccontextmanager
async def watch_disconnect(receive: Receive) -> AsyncGenerator[asyncio.Task[None]]:
    """Yield a task that ends when the client disconnects. The body must have been read before."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    watching = asyncio.create_task(watch())
    try:
        yield watching
    finally:
        watching.cancel()


async def run_while_connected(
    receive: Receive,
    work: Coroutine[Any, Any, T],
    check: Callable[[], Awaitable[None]],
    recheck: float,
) -> T:
    """Return the result of `work`, which is cancelled when the client disconnects.

    `check` is called every `recheck` seconds; its exception ends the wait and is raised. Raises
    `ClientDisconnected`.
    """
    async with watch_disconnect(receive) as disconnected:
        working = asyncio.create_task(work)
        try:
            while not working.done():
                await asyncio.wait(
                    {disconnected, working}, timeout=recheck, return_when=asyncio.FIRST_COMPLETED
                )
                if disconnected.done() and not working.done():
                    raise ClientDisconnected
                if not working.done():
                    await check()
            return await working
        finally:
            working.cancel()
            await asyncio.wait({working})


# Parse an HTTP request into an operation.


C = TypeVar("C", bound=Operation[Any])

BODY_PAUSE = 30.0  # seconds for a body, beside the time that it takes at `BODY_RATE`
BODY_RATE = 10_000  # bytes a second, the slowest rate of a client
MAX_ITEMS = 200_000  # in one JSON body: a million keys block the process for a second
_EVENT_ID = re.compile(rb"[0-9]{1,18}", re.ASCII)
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_NEEDS_CHECK = re.compile(rb"\\u0000|[0-9]{19}")


async def parse_request(kind: type[C], scope: Scope, receive: Receive, settings: Settings) -> C:
    """Return the operation of this request, with the fields of its path, query and body.

    The body of an upload is not read.
    """
    method = kind.route.split(" ")[0]
    path_fields = path_parameters(scope)
    if method in ("GET", "DELETE"):
        await read_body(scope, receive, 0)
        fields = _parse_event_cursor(scope) if kind is operations.Follow else parse_query(scope)
        query = from_query(fields)
        return _convert(kind, _merge_path_fields(query, path_fields), strict=False)
    if kind.upload:
        _check_media_type(scope, kind.upload)
        return _convert(kind, _merge_path_fields(parse_query(scope), path_fields), strict=False)
    if scope["query_string"]:
        raise InvalidRequest(
            f"{method} takes its fields in the body.",
            expected="no query",
            received="a query",
        )
    sent = await read_body(scope, receive, settings.max_body)
    fields = parse_json_object(sent, scope, settings.max_depth) if sent else {}
    return _convert(kind, _merge_path_fields(fields, path_fields), strict=True)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the request's body of at most `limit` bytes. Raises `TooLarge`, early if announced."""
    return b"".join([piece async for piece in stream_body(scope, receive, limit)])


async def stream_body(scope: Scope, receive: Receive, limit: int) -> AsyncGenerator[bytes, None]:
    """Yield the request's body of at most `limit` bytes in pieces. Raises as `read_body`."""
    headers = Headers(scope=scope)
    announced = headers.get("content-length", "0")
    if not announced.isdecimal():
        raise Malformed("Content-Length is not a number.", expected="decimal digits")
    _check_size(int(announced), limit)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMedia(
            "The body is compressed.",
            expected="no Content-Encoding",
            received=encoding[:64],
            hint="Send it as it is.",
        )
    size, more = 0, True
    began = asyncio.get_running_loop().time()
    while more:
        message = await _receive_piece(receive, began + BODY_PAUSE + size / BODY_RATE)
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(piece)
        _check_size(size, limit)
        yield piece


def _check_media_type(scope: Scope, wanted: str) -> None:
    media_type = Headers(scope=scope).get("content-type", "")
    if sanitize.parse_media_type(media_type) != wanted:
        raise UnsupportedMedia(
            "The body is not declared as what is wanted here.",
            expected=f"Content-Type: {wanted}",
            received=media_type[:64] or "no Content-Type",
        )


def parse_json_object(sent: bytes, scope: Scope, max_depth: int) -> dict[str, Any]:
    """Return the object of a JSON body."""
    media_type = Headers(scope=scope).get("content-type", "")
    essence, _, parameters = media_type.lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "') or "utf-8"
    if essence.strip() != "application/json" or charset not in ("utf-8", "utf8"):
        raise UnsupportedMedia(
            "The body is not declared as JSON.",
            expected="Content-Type: application/json",
            received=media_type[:64] or "no Content-Type",
        )
    sanitize.validate_shape(sent, max_depth, MAX_ITEMS)
    try:
        value = msgspec.json.decode(sent, type=dict[str, Any])
    except UnicodeDecodeError as error:
        raise Malformed(
            f"The body is not UTF-8: {error.reason} (byte {error.start} of a string).",
            expected="UTF-8",
        ) from error
    except msgspec.ValidationError as error:
        _check_json(sent)  # raises another error if the body is no JSON at all
        raise invalid_request(error) from error
    except msgspec.DecodeError as error:  # lone surrogates too
        raise Malformed(f"The body is not JSON: {error}.", expected="JSON") from error
    if _NEEDS_CHECK.search(sent):
        _check_values(value, "$")
    return value


def parse_query(scope: Scope) -> dict[str, str]:
    """Return the query's fields, each at most once."""
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=100,
        )
    except ValueError as error:  # a UnicodeDecodeError is one
        raise Malformed("The query cannot be read.", expected="percent-encoded UTF-8") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidRequest(
                f"`{name[:64]}` is given twice.", expected="one", received="two", where=name[:64]
            )
        fields[name] = value
    return fields


def path_parameters(scope: Scope) -> dict[str, str]:
    """Return the fields in the path."""
    return {str(name): str(value) for name, value in scope.get("path_params", {}).items()}


def idempotency_key(scope: Scope) -> str | None:
    """Return the Idempotency-Key, if there is one."""
    given = Headers(scope=scope).getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not _IDEMPOTENCY_KEY.fullmatch(given[0]):
        raise Malformed(
            "The Idempotency-Key cannot be used.",
            expected="one, of 1 to 255 printable ASCII characters without spaces",
            received=f"{len(given)} of {len(given[0])} characters",
        )
    return given[0]


def _parse_event_cursor(scope: Scope) -> dict[str, str]:
    """Return the query's fields; `Last-Event-ID` overrides `after`."""
    fields = parse_query(scope)
    cursors = [value for name, value in scope["headers"] if name == b"last-event-id"]
    if not cursors and "after" in fields:
        cursors = [fields["after"].encode()]
    if not cursors:
        return fields
    cursor = cursors[0]
    if len(cursors) > 1 or not _EVENT_ID.fullmatch(cursor):
        raise InvalidEventId(
            "This is not an event number.",
            expected="a decimal number, 0 for the start",
            received=ascii(cursor[:32].decode("utf-8", "replace")),
            hint="Send the `id` of the last event that you have.",
        )
    return {**fields, "after": cursor.decode()}


async def _receive_piece(receive: Receive, deadline: float) -> Mapping[str, Any]:
    """Return the next piece of the body. Raises `TooSlow` after the deadline."""
    try:
        async with asyncio.timeout_at(deadline):
            message = await receive()
    except TimeoutError:
        raise TooSlow(
            "The body comes too slowly.",
            expected=f"all of it within {BODY_PAUSE:g} seconds, or {BODY_RATE} bytes a second",
        ) from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    return message


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(
            "The body is too large." if limit else "This call takes no body.",
            expected=f"at most {limit} bytes",
            received=f"{size} bytes or more",
            hint="An operator can raise the setting max_body, for files max_upload."
            if limit
            else None,
        )


def _merge_path_fields(fields: dict[str, Any], path_fields: dict[str, str]) -> dict[str, Any]:
    """Add the path's fields to those of body or query, which must not contain them."""
    for name in path_fields.keys() & fields.keys():
        raise InvalidRequest(
            f"`{name}` stands in the path.", expected=f"no field {name}", received=name, where=name
        )
    return {**fields, **path_fields}


def _convert(kind: type[C], fields: dict[str, Any], *, strict: bool) -> C:
    for name, value in fields.items():
        if not strict or name in operations.path_fields(kind):
            _check_values(value, name)
    return convert(fields, kind, strict=strict)


def _check_json(sent: bytes) -> None:
    """Raise `Malformed` if the bytes are no JSON at all."""
    try:
        msgspec.json.decode(sent)
    except msgspec.ValidationError:
        return  # valid JSON, such as a number that is too large
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"The body is not JSON: {error}.", expected="JSON") from error


def _check_values(value: Any, where: str) -> None:
    """Raise `Malformed` for text that no store can hold."""
    try:
        sanitize.validate_text(value, where)
    except InvalidRequest as error:
        raise Malformed(error.message, **error.details) from error
