"""`/openai/v1/responses` as a WebSocket: each `response.create` is a request like one over HTTP.

By https://developers.openai.com/api/docs/guides/websocket-mode. Requests with the same `stream_id`,
or without one, are answered in order; different ones at the same time. Events are those of a
stream, without server-sent events around them. A stored response goes on when the WebSocket ends.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import msgspec

from antiphon.api.problems import Malformed, MethodNotAllowed
from antiphon.engine import sanitize
from antiphon.server.gateway import Gateway
from antiphon.server.openai.response_memory import LANE, Lane, ResponseMemory
from antiphon.server.requests import MAX_ITEMS, RequestContext
from antiphon.server.socket_requests import MessageRequest, Socket, find_socket
from antiphon.types.errors import (
    AntiphonError,
    InvalidRequest,
    TooMany,
    TryAgain,
    Unauthorized,
    Unavailable,
)
from antiphon.wires.openai.errors import InvalidStreamId, SocketExpired, TooManyStreams
from antiphon.wires.openai.socket_events import (
    error_event,
    refuse_steer,
    request_error_event,
    socket_data,
)

MAX_STREAMS = 32
"""Names of lanes that one WebSocket may use."""
MAX_ACTIVE = 16
"""Responses in progress of one WebSocket; further ones wait."""
MAX_WAITING = 128
"""Requests of one WebSocket that are not answered yet."""
RESTART, GOING_AWAY, REFUSED = 1012, 1001, 1008
"""Codes of a close by RFC 6455, 7.4.1. Clients connect again after the first two."""

_STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}", re.ASCII)


class _ClientEvent(msgspec.Struct, frozen=True):
    type: Any = None
    stream_id: Any = None
    background: Any = None


class _Create(NamedTuple):
    """A request to be answered."""

    lane: str | None
    body: bytes


class ResponseSockets:
    """Opens WebSockets that create responses."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def open(self, context: RequestContext) -> None:
        """Answer `GET /responses` by a WebSocket, until it ends."""
        socket = find_socket(context.scope)
        if socket is None:
            raise MethodNotAllowed(
                "A list of responses is not served, and no WebSocket is asked for.",
                expected="POST, or a WebSocket",
                received="GET",
                hint="If a WebSocket was asked for: install antiphon[websocket] on the server,"
                " and let no proxy drop the header Upgrade.",
                allow="OPTIONS, POST",
            )
        await _Session(context, socket, self._gateway).serve()


class _Session:
    """One WebSocket from its beginning to its end."""

    def __init__(self, context: RequestContext, socket: Socket, gateway: Gateway) -> None:
        self._context = context
        self._socket = socket
        self._settings = gateway.settings
        self._connections = gateway.connections
        self._memory = ResponseMemory(gateway.settings.max_body)
        self._disconnected = asyncio.Event()
        self._slots = asyncio.Semaphore(MAX_ACTIVE)
        self._last_of_lane: dict[str | None, asyncio.Task[None]] = {}
        self._waiting = 0
        self._waiting_bytes = 0

    async def serve(self) -> None:
        """Receive messages until the client leaves, its access ends, or this process does."""
        await self._socket.receive()  # `websocket.connect`
        await self._context.send({"type": "websocket.accept"})
        watching = asyncio.create_task(self._watch())
        try:
            while (message := await self._socket.receive())["type"] == "websocket.receive":
                try:
                    await self._take(message)
                except AntiphonError as error:
                    await self._send(error_event(error))
        finally:
            watching.cancel()
            self._disconnected.set()
            if tasks := self._last_of_lane.values():
                await asyncio.wait(tasks)
            await self._memory.clear()

    @property
    def _has_expired(self) -> bool:
        return time.monotonic() - self._context.began >= self._connections.timeouts.lifetime

    def _make_expired_error(self) -> SocketExpired:
        minutes = self._connections.timeouts.lifetime / 60
        return SocketExpired(
            f"This WebSocket has reached its limit of {minutes:g} minutes.",
            hint="Open another one.",
        )

    async def _watch(self) -> None:
        """Close an idle WebSocket that is too old or whose process ends, and one without access."""
        while True:
            await asyncio.sleep(self._connections.timeouts.recheck)
            is_idle = not self._waiting
            try:
                await self._connections.check_admitted(self._context.caller)
                if self._has_expired and is_idle:
                    await self._close(GOING_AWAY, self._make_expired_error())
            except Unauthorized as error:
                await self._close(REFUSED, error)
            except Unavailable:
                if is_idle:
                    await self._close(RESTART)
            except TryAgain:
                continue  # the database is away

    async def _close(self, code: int, error: AntiphonError | None = None) -> None:
        if error is not None:
            await self._send(error_event(error))
        with suppress(OSError):
            await self._socket.send({"type": "websocket.close", "code": code})

    # Requests.

    async def _take(self, message: Mapping[str, Any]) -> None:
        """Start to answer the request in a message. Raises `AntiphonError`."""
        if message.get("text") is None:
            raise Malformed("The message is binary.", expected="a text frame with JSON")
        body: bytes = message["text"].encode()
        sanitize.validate_shape(body, self._settings.max_depth, MAX_ITEMS)
        try:
            event = msgspec.json.decode(body, type=_ClientEvent)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Malformed(
                f"The message is no event: {error}.", expected="an object of JSON"
            ) from error
        if event.type == "response.steer" and (refusal := refuse_steer(body)):
            await self._send(refusal)
        else:
            self._enqueue(_Create(_read_lane(event), body))

    def _enqueue(self, create: _Create) -> None:
        """Queue a request behind those of its lane. Raises `AntiphonError`."""
        if self._has_expired:
            raise self._make_expired_error()
        names = self._last_of_lane.keys() - {None}
        if create.lane not in {None, *names} and len(names) >= MAX_STREAMS:
            raise TooManyStreams(
                "This WebSocket has used all the stream ids that it may use.",
                expected=f"at most {MAX_STREAMS} different ones",
                hint="Use one of them again, or open another WebSocket.",
                where="$.stream_id",
            )
        is_full = self._waiting_bytes + len(create.body) > 2 * self._settings.max_body
        if self._waiting >= MAX_WAITING or (self._waiting and is_full):
            raise TooMany(
                "Too many requests of this WebSocket wait for their answers.",
                expected=f"at most {MAX_WAITING}, and {2 * self._settings.max_body} bytes",
                retry_after=1,
            )
        self._waiting += 1
        self._waiting_bytes += len(create.body)
        before = self._last_of_lane.get(create.lane)
        answering = self._answer_after(before, create)
        self._last_of_lane[create.lane] = asyncio.create_task(answering)

    async def _answer_after(self, before: asyncio.Task[None] | None, create: _Create) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            async with self._slots:
                if not self._disconnected.is_set():
                    await self._answer(create)
        finally:
            self._waiting -= 1
            self._waiting_bytes -= len(create.body)

    async def _answer(self, create: _Create) -> None:
        request = MessageRequest(
            self._context.scope,
            create.body,
            {LANE: {"memory": Lane(create.lane, self._memory)}},
            partial(self._deliver, create.lane),
            self._disconnected,
        )
        await self._connections.handle_request(request.scope, request.receive, request.send)

    # Answers.

    async def _deliver(
        self, lane: str | None, status: int, data: Sequence[bytes], headers: Mapping[str, str]
    ) -> None:
        if headers.get("content-type", "").startswith("text/event-stream"):
            for event in socket_data(data, lane):
                await self._send(event)
        else:
            await self._send(request_error_event(status, data[0], headers, lane))

    async def _send(self, event: bytes) -> None:
        """Send an event; waits while the client has not read the previous ones."""
        if self._disconnected.is_set():
            return
        with suppress(OSError):  # the client has left, as `receive` will tell
            await self._socket.send({"type": "websocket.send", "text": event.decode()})


def _read_lane(event: _ClientEvent) -> str | None:
    """Return the lane of an event that creates a response. Raises `InvalidRequest`."""
    if event.type != "response.create":
        raise InvalidRequest(
            "This event is not served.",
            expected="response.create",
            received=str(event.type)[:100],
            where="$.type",
        )
    if event.background:
        raise InvalidRequest(
            "A WebSocket has no responses in the background.",
            expected="no background",
            hint="A stored response goes on when the WebSocket ends.",
            where="$.background",
        )
    match event.stream_id:
        case None:
            return None
        case str() as name if _STREAM_ID.fullmatch(name):
            return name
        case _:
            raise InvalidStreamId(
                "The `stream_id` cannot be used.",
                expected="1 to 256 ASCII letters, digits, underscores, hyphens and periods",
                received=str(event.stream_id)[:100],
                where="$.stream_id",
            )
