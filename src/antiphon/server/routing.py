"""Routes: the handlers of one path by method, and the router's spelling of a path."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager

from msgspec.structs import replace
from starlette.types import Message, Receive, Scope, Send

from antiphon.api.operations import OPERATIONS
from antiphon.api.problems import MethodNotAllowed
from antiphon.server.auth import AdmittedCaller
from antiphon.server.openai import paths as openai
from antiphon.server.page_wires import paths as page_wires
from antiphon.server.requests import RequestContext
from antiphon.server.socket_requests import find_socket
from antiphon.telemetry.asgi_spans import ROUTE
from antiphon.telemetry.logs import log_context
from antiphon.types.errors import NotFound

Handler = Callable[[RequestContext], Awaitable[None]]
"""Answers one request, or raises."""
Recheck = Callable[[RequestContext], Awaitable[None]]
"""Raises `Unauthorized` if the caller of a request has lost its rights since it was admitted."""

ENDLESS = page_wires.STREAMS.union(
    kind.route.split(" ")[1] for kind in OPERATIONS if kind.streams or kind.file
)
"""Paths whose response to GET is a stream; HEAD would not end there."""


class PathHandler:
    """One path: admits callers, and calls the handler of the request's method.

    `count_request` counts a request as its caller's while it is handled. `recheck` is called when
    the whole body has arrived, because a client may hold it back until its key is revoked.
    """

    def __init__(
        self,
        path: str,
        handlers: Mapping[str, Handler],
        admit: Callable[[Scope], Awaitable[AdmittedCaller]],
        count_request: Callable[[AdmittedCaller], AbstractContextManager[None]],
        recheck: Recheck,
    ) -> None:
        self._path = path
        self._handlers = handlers
        self._admit = admit
        self._count_request = count_request
        self._recheck = recheck
        # HEAD is implied by GET, unless the response to GET is endless.
        implied = {"HEAD"} if "GET" in handlers and path not in ENDLESS else set[str]()
        self._allow = ", ".join(sorted({*handlers, "OPTIONS", *implied}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request as ASGI application; called by the router."""
        if find_socket(scope) is not None and self._path not in openai.SOCKETS:
            raise NotFound("There is no WebSocket at this address.", expected=openai.SOCKETS[0])
        scope[ROUTE] = self._path
        method = scope["method"]
        if method == "OPTIONS":
            allow = [(b"allow", self._allow.encode())]
            await send({"type": "http.response.start", "status": 204, "headers": allow})
            await send({"type": "http.response.body"})
            return
        caller = await self._admit(scope)
        handler = self._handlers.get(method)
        if method == "HEAD" and "HEAD" in self._allow:
            handler = self._handlers["GET"]
        if handler is None:
            raise MethodNotAllowed(
                f"{method[:32]} is not supported here.",
                expected=self._allow,
                received=method[:32],
                allow=self._allow,
            )
        fields = scope.get("path_params", {})
        ids = {name: fields.get(name) for name in ("run_id", "thread_id")}
        context = RequestContext(scope, receive, send, caller, time.monotonic())
        if method not in ("GET", "HEAD"):
            context = replace(context, receive=self._receive_and_recheck(context))
        with self._count_request(caller), log_context(key_id=caller.principal.key_id, **ids):
            await handler(context)

    def _receive_and_recheck(self, context: RequestContext) -> Receive:
        """Return a `receive` that checks the caller again before it returns the end of the body."""

        async def receive() -> Message:
            message = await context.receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                await self._recheck(context)
            return message

        return receive


def route_pattern(path: str) -> str:
    """Return the path in the router's syntax; an owner may contain slashes."""
    return path.replace("{owner}", "{owner:path}")
