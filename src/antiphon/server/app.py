"""The ASGI application: a route for each operation of the API, and a few others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from functools import partial
from random import getrandbits
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace
from starlette.datastructures import Headers
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon import __version__
from antiphon.api import problems
from antiphon.api.operations import (
    OPERATIONS,
    ClaimActions,
    Complete,
    CopyShared,
    CreateRun,
    CreateSpeech,
    CreateTranscription,
    ExportOwner,
    Follow,
    GetPagePicture,
    GetShared,
    ImportOwner,
    ListActions,
    ListEvents,
    ListMessages,
    Operation,
    Process,
)
from antiphon.limits.fair_queue import FairQueue
from antiphon.limits.rate_limit import LinkGuesses, network_key
from antiphon.runtime.runtime import Runtime, open_runtime
from antiphon.runtime.services.dispatch import Dispatcher, Response
from antiphon.server import auth, files, openapi, requests, streaming
from antiphon.server.auth import AccessControl, AdmittedCaller
from antiphon.server.connection import CROWDED
from antiphon.server.cors import CrossOrigin
from antiphon.server.limits import (
    HEAVY_AT_ONCE,
    HEAVY_PER_CALLER,
    LIGHT_AT_ONCE,
    LIGHT_PER_CALLER,
    ConcurrencyLimiter,
    RequestQuota,
)
from antiphon.server.openai import errors as openai_errors
from antiphon.server.openai import paths as openai
from antiphon.server.other_apis import OtherApis
from antiphon.server.page_wires import paths as page_wires
from antiphon.server.requests import (
    REQUEST_ID,
    ClientDisconnected,
    RequestContext,
    find_request_id,
    run_while_connected,
    send_problem,
)
from antiphon.server.routing import Handler, PathHandler, route_pattern
from antiphon.server.socket_requests import find_socket, opening_request
from antiphon.settings.settings import Settings
from antiphon.telemetry.asgi_spans import ROUTE, trace_request
from antiphon.telemetry.logs import log_context
from antiphon.telemetry.metrics import INFO, PROBLEMS, REQUESTS, Metrics, MetricsSnapshot
from antiphon.telemetry.tracing import NO_TRACES
from antiphon.types.accounts import Principal
from antiphon.types.errors import AntiphonError, NotFound, Overloaded, Unauthorized, Unavailable

RuntimeOpener = Callable[[Settings], AbstractAsyncContextManager[Runtime]]
T = TypeVar("T")

READY_PATIENCE = 2.0  # seconds; a store that does not answer in time counts as down

_log = logging.getLogger("antiphon.server")
_SCOPES = {kind.route: kind.scope for kind in OPERATIONS} | {"GET /metrics": "metrics"}
_API_PREFIXES = ("/v1", openai.PREFIX, *page_wires.PREFIXES)
_OWN_PREFIXES = (*_API_PREFIXES, "/metrics")
"""Beginnings of the paths whose access this application controls, not its companion."""
_OPENAI_ENDINGS = ("/chat/completions", "/responses", "/conversations", "/embeddings")
"""Ends of paths that show a client of OpenAI's API whose base URL is wrong."""

_PUBLIC = ("/healthz", "/readyz", "/openapi.json")
_SHARED = GetShared.route.split(" ")[1]
_HEAVY = (ListMessages, ListActions, GetShared)
"""Operations whose responses may have megabytes, and take long to read and encode."""


def create_app(
    settings: Settings,
    opener: RuntimeOpener = open_runtime,
    companion: ASGIApp | None = None,
    timeouts: streaming.StreamTimeouts = streaming.StreamTimeouts(),  # noqa: B008 - a frozen value
) -> Application:
    """Return the server over a runtime, which is opened and closed with the application.

    `companion` is an application for all other paths, with access control of its own. If people log
    in there, the API needs a key: behind a proxy on this machine, everybody comes from loopback.
    """
    return Application(settings, opener, companion, timeouts)


class Application:
    """Admits requests, routes them, and turns every error into a problem document.

    A shutdown sets three flags in turn: `unready` (probes fail, connections close), `draining` (no
    new work), `closing` (streams end).
    """

    def __init__(
        self,
        settings: Settings,
        opener: RuntimeOpener,
        companion: ASGIApp | None,
        timeouts: streaming.StreamTimeouts,
    ) -> None:
        self.metrics = Metrics()
        self.other_metrics: Callable[[], MetricsSnapshot] = lambda: MetricsSnapshot({})
        self.unready = False
        self.draining = False
        self.closing = False
        self._cross_origin = CrossOrigin(settings.allowed_origins)
        self._guesses = LinkGuesses()
        self._limiter = ConcurrencyLimiter(settings.max_requests)
        self._light_queue = FairQueue(LIGHT_AT_ONCE, LIGHT_PER_CALLER)
        self._heavy_queue = FairQueue(HEAVY_AT_ONCE, HEAVY_PER_CALLER)
        self._opened: _Services | None = None
        self._tracer = NO_TRACES
        self._settings = settings
        self._alone = companion is None
        self._others_log_in = companion is not None and settings.login != "none"
        self._opener = opener
        self.timeouts = timeouts
        resources = {
            path: PathHandler(
                path, handlers, self._admission_of(path), self._count_request, self._recheck
            )
            for path, handlers in self._handlers_by_path().items()
        }
        # The router tries one route after the other; most requests have a path without fields.
        self._fixed = {path: each for path, each in resources.items() if "{" not in path}
        self._router = Router(
            [Route(route_pattern(path), resource) for path, resource in resources.items()],
            redirect_slashes=False,
            default=_with_fallback(companion) if companion else _raise_not_found,
            lifespan=self._lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or the lifespan as ASGI application."""
        if scope["type"] == "websocket":
            opening, send_response = opening_request(scope, receive, send)
            await self.handle_request(opening, receive, send_response)
        elif scope["type"] == "http":
            await self.handle_request(scope, receive, send)
        else:
            await self._router(scope, receive, send)

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request over HTTP, the opening of a WebSocket, or a request in its messages."""
        if self._tracer is not NO_TRACES and scope["path"].startswith(_API_PREFIXES):
            await trace_request(self._tracer, self._handle_http, scope, receive, send)
        else:
            await self._handle_http(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncGenerator[None]:
        async with self._opener(self._settings) as runtime:
            locked = self._others_log_in or await auth.has_keys(runtime.store)
            access = AccessControl(runtime.store, was_locked=locked)
            self._opened = _Services(
                runtime,
                access,
                RequestQuota(runtime.store),
                OtherApis(runtime.dispatcher, self._settings, self),
            )
            self.metrics = runtime.metrics
            self._tracer = runtime.tracer
            self.metrics.gauge(INFO, lambda: 1, __version__)
            try:
                yield
            finally:
                self._opened = None

    @property
    def _services(self) -> _Services:
        if self._opened is None:
            raise Unavailable(
                "The server is not open.",
                retry_after=1,
                hint="An application that holds this one must run its lifespan.",
            )
        return self._opened

    @property
    def _runtime(self) -> Runtime:
        return self._services.runtime

    @property
    def _dispatcher(self) -> Dispatcher:
        return self._runtime.dispatcher

    @property
    def _access(self) -> AccessControl:
        return self._services.access

    async def _handle_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Unique, not secret. The system's source of randomness would hand the interpreter's lock to
        # another thread.
        request_id = find_request_id(scope) or f"req_{getrandbits(96):024x}"
        with log_context(request_id=request_id):
            await self._handle_with_error_response(scope, receive, send, request_id)

    async def _handle_with_error_response(
        self, scope: Scope, receive: Receive, send: Send, request_id: str
    ) -> None:
        status = 0
        crowded = CROWDED in scope.get("extensions", {})
        cross_origin: Sequence[requests.Field] = ()
        if scope["path"].startswith(_API_PREFIXES):
            cross_origin = self._cross_origin.response_headers(scope)

        def note_status_and_send(message: Message) -> Awaitable[None]:
            # Not a coroutine, for speed: every event of every stream passes here.
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(REQUEST_ID, request_id.encode()), *cross_origin]
                if crowded or self.unready:  # the next request needs a new connection
                    added.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            elif message["type"] == "websocket.accept":
                status = 101
            return send(message)

        try:
            with self._limiter.enter() as within_limit:
                free = within_limit and not crowded
                await self._check_and_route(scope, receive, note_status_and_send, free=free)
        except ClientDisconnected:
            status = 499  # the status that nginx logs for clients that disconnected
        except AntiphonError as error:
            self.metrics.add(PROBLEMS, error.code)
            if not status:
                await _send_error(scope, note_status_and_send, error)
        except Exception as fault:  # noqa: BLE001 - last resort: every error gets a response
            route = f"{scope['method']} {scope.get(ROUTE, 'elsewhere')}"
            internal = problems.internal_error(fault, request_id, route)
            if not status:
                await _send_error(scope, note_status_and_send, internal)
        finally:
            route = scope.get(ROUTE, "elsewhere")
            self.metrics.add(REQUESTS, route, str(status))
            _log.debug("%s %s was answered %d", scope["method"][:32], route, status)

    async def _check_and_route(
        self, scope: Scope, receive: Receive, send: Send, *, free: bool
    ) -> None:
        public = scope["path"] in _PUBLIC  # answered even if the store is not reachable
        if not free and not public:
            raise Overloaded(
                "Too many requests or connections are open.",
                expected=f"at most {self._settings.max_requests} requests and"
                f" {self._settings.max_connections} connections at once",
                retry_after=1,
            )
        if self._alone or public or scope["path"].startswith(_OWN_PREFIXES):
            locked = self._access.was_locked if public else await self._access.is_locked()
            shared = self._cross_origin if scope["path"].startswith(_API_PREFIXES) else auth.CLOSED
            auth.check_origin(scope, locked=locked, cross_origin=shared)
        fixed = None if scope.get("root_path") else self._fixed.get(scope["path"])
        await (fixed or self._router)(scope, receive, send)

    def _count_request(self, caller: AdmittedCaller) -> AbstractContextManager[None]:
        """Count the request as this caller's; without keys there are no callers to share with."""
        return nullcontext() if caller.token is None else self._limiter.share(caller.share_key)

    @asynccontextmanager
    async def _hold_slots(
        self, caller: AdmittedCaller, operation: Operation[Any]
    ) -> AsyncGenerator[None]:
        """Hold the slots that this operation needs. Raises `Overloaded` if none is free in time.

        Heavy operations have slots of their own, so that light ones of the same caller do not wait
        for them. Without keys, light ones need no slot, as there are no callers to share with.
        """
        if caller.token is None and not isinstance(operation, _HEAVY):
            yield
            return
        async with AsyncExitStack() as slots:
            if isinstance(operation, _HEAVY):
                await slots.enter_async_context(self._heavy_queue.slot(caller.share_key))
            if caller.token is not None:
                await slots.enter_async_context(self._light_queue.slot(caller.share_key))
            yield

    def _admission_of(self, path: str) -> Callable[[Scope], Awaitable[AdmittedCaller]]:
        if path in _PUBLIC:
            return _admit_anyone
        return self._admit_reader if path == _SHARED else self._admit

    async def _admit_reader(self, scope: Scope) -> AdmittedCaller:
        """Admit a reader of a shared link, who needs no key if `sharing` is `anyone`."""
        has_key = Headers(scope=scope).get("authorization") is not None
        if self._settings.sharing == "anyone" and not has_key and await self._access.is_locked():
            return await _admit_anyone(scope)
        return await self._admit(scope)

    async def _admit(self, scope: Scope) -> AdmittedCaller:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        default = "read" if method == "GET" else "write"
        needed = _SCOPES.get(f"{method} {scope[ROUTE]}") or default
        # What an administrator does may outlast the key: another key, for instance.
        caller = await self._access.admit(scope, fresh=needed == "admin" and method != "GET")
        if caller.grant is None or not page_wires.is_page_route(scope[ROUTE]):
            auth.check_scope(caller, needed)
        if scope[ROUTE].startswith(_API_PREFIXES):
            await self._services.requests.admit(caller.principal)
        caller = auth.apply_delegation(caller, scope)
        trace = self._tracer.current_context()
        if trace is None:
            return caller
        return replace(caller, principal=replace(caller.principal, trace=trace))

    async def _recheck(self, context: RequestContext) -> None:
        """Raise `Unauthorized` if the caller has lost its key since the request was admitted.

        A change by an administrator reads the key from the store, not from the cache. The token of
        a page is checked again only after a slow body: it lasts minutes, and the check reads the
        store's clock. Readers of a link have no scopes, and need no key.
        """
        caller, method = context.caller, context.scope["method"]
        fresh = method != "GET" and _SCOPES.get(f"{method} {context.scope[ROUTE]}") == "admin"
        is_late = time.monotonic() - context.began >= auth.CACHE_SECONDS
        if not caller.scopes or (caller.grant is not None and not is_late):
            return
        if not await self._access.is_still_admitted(caller, fresh=fresh):
            raise Unauthorized("The key was revoked.", hint="Ask for a new one.")

    def _handlers_by_path(self) -> dict[str, dict[str, Handler]]:
        """Return the handlers of each path by method; paths without fields come first."""
        table: dict[str, dict[str, Handler]] = {
            "/healthz": {"GET": lambda context: context.respond_json(200, {"status": "alive"})},
            "/readyz": {"GET": self._readyz},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": _send_document},
        }
        for kind in OPERATIONS:
            method, path = kind.route.split(" ")
            table.setdefault(path, {})[method] = self._handler(kind)
        for method, path in openai.ROUTES:
            table.setdefault(path, {})[method] = self._openai_handler(method, path)
        for method, path in page_wires.ROUTES:
            table.setdefault(path, {})[method] = self._page_wire_handler(method, path)
        table["/v1/files"]["POST"] = lambda context: files.receive_upload(
            context, self._dispatcher, self._settings
        )
        table["/v1/files/{file_id}/content"] = {"GET": self._download}
        return dict(sorted(table.items(), key=lambda item: "{" in item[0]))

    def _handler(self, kind: type[Operation[Any]]) -> Handler:
        async def handle(context: RequestContext) -> None:
            operation = await requests.parse_request(
                kind, context.scope, context.receive, self._settings
            )
            key = requests.idempotency_key(context.scope) if kind.creates else None
            match operation:
                case Process() | Complete() | Follow():
                    await self._stream(context, operation, key)
                case ExportOwner():
                    await self._export(context, operation)
                case ImportOwner():
                    await self._import(context, operation)
                case GetShared() | CopyShared():
                    with self._count_guess(context):
                        await self._run_and_send(context, operation, key)
                case _:
                    await self._run_and_send(context, operation, key)

        return handle

    async def _run_and_send(
        self, context: RequestContext, operation: Operation[Any], key: str | None
    ) -> None:
        work = self._dispatcher.dispatch(operation, context.caller.principal, key)
        await _send_response(context, await self._run_operation(context, operation, work))

    def _count_guess(self, context: RequestContext) -> AbstractContextManager[None]:
        """Count a request for an unknown link against the caller's limit of guesses.

        Administrators are exempt: the web chat acts as one, and counts the guesses of its readers.
        """
        if "admin" in context.caller.scopes:
            return nullcontext()
        address = (context.scope.get("client") or ("",))[0]
        return self._guesses.count(context.caller.principal.key_id or network_key(address))

    def _openai_handler(self, method: str, path: str) -> Handler:
        async def handle(context: RequestContext) -> None:
            if self.draining:
                raise _shutdown_error()
            await self._services.other_apis.answer_openai(method, path, context)

        return handle

    def _page_wire_handler(self, method: str, path: str) -> Handler:
        async def handle(context: RequestContext) -> None:
            if self.draining:
                raise _shutdown_error()
            await self._services.other_apis.answer_page(method, path, context)

        return handle

    async def send_pages(
        self,
        context: RequestContext,
        pages: streaming.EventPages,
        encoder: streaming.EventEncoder | None = None,
    ) -> None:
        """Send pages of events to a client, in the protocol of the encoder, by default ours."""
        await streaming.send_events(
            context,
            pages,
            self._session_check(context.caller),
            self.metrics,
            self.timeouts,
            encoder,
        )

    async def run_in_slot(self, context: RequestContext, work: Coroutine[Any, Any, T]) -> T:
        """Run work that starts a run in a slot. Raises `Overloaded` if none is free in time."""
        return await self._run_in_slots(context, Process(), work)

    async def run_while_connected(self, context: RequestContext, work: Coroutine[Any, Any, T]) -> T:
        """Run work that is cancelled when the client disconnects or loses its key."""
        check = partial(self.check_admitted, context.caller)
        return await run_while_connected(context.receive, work, check, self.timeouts.recheck)

    async def _stream(
        self, context: RequestContext, operation: Process | Complete | Follow, key: str | None
    ) -> None:
        if self.draining and not isinstance(operation, Follow):
            raise _shutdown_error()
        work = self._dispatcher.open_stream(operation, context.caller.principal, key)
        result = await self._run_operation(context, operation, work)
        if isinstance(result, Response):
            await _send_response(context, result)
        else:
            await self.send_pages(context, result)

    async def _export(self, context: RequestContext, operation: ExportOwner) -> None:
        archive = await self._dispatcher.export(operation, context.caller.principal)
        pieces = self._heavy_queue.make_pieces(context.caller.share_key, archive.pieces)
        session = self._session_check(context.caller)
        await files.send_archive(
            context, archive._replace(pieces=pieces), str(operation.file), session, self.timeouts
        )

    async def _import(self, context: RequestContext, operation: ImportOwner) -> None:
        if self.draining:
            raise _shutdown_error()
        check = partial(self.check_admitted, context.caller)
        response = await files.import_owner(context, operation, self._dispatcher, check)
        await _send_response(context, response)

    async def check_admitted(self, caller: AdmittedCaller) -> None:
        """Raise `Unavailable` while this process ends, and `Unauthorized` for a revoked key."""
        if self.draining:
            raise _shutdown_error()
        if not await self._access.is_still_admitted(caller):
            raise Unauthorized("The key was revoked.", hint="Ask for a new one.")

    async def _run_operation(
        self, context: RequestContext, operation: Operation[Any], work: Coroutine[Any, Any, T]
    ) -> T:
        """Run the operation in a slot.

        An operation that waits for a run or for another server takes no slot, and is cancelled when
        the client disconnects.
        """
        match operation:
            case (
                CreateRun(if_busy="wait")
                | Process(if_busy="wait")
                | ClaimActions()
                | CreateSpeech()
                | CreateTranscription()
                | GetPagePicture()
                | ListEvents()
            ):
                return await self.run_while_connected(context, work)
            case _:
                return await self._run_in_slots(context, operation, work)

    async def _run_in_slots(
        self, context: RequestContext, operation: Operation[Any], work: Coroutine[Any, Any, T]
    ) -> T:
        try:
            async with self._hold_slots(context.caller, operation):
                await self._recheck(context)
                return await work
        finally:
            work.close()  # if no slot was free

    def _session_check(self, caller: AdmittedCaller) -> streaming.SessionCheck:
        async def is_valid() -> bool:
            return not self.closing and await self._access.is_still_admitted(caller)

        return streaming.SessionCheck(lambda: self.closing, is_valid)

    async def _download(self, context: RequestContext) -> None:
        await self.send_file(context, requests.path_parameters(context.scope)["file_id"])

    async def send_file(self, context: RequestContext, file_id: str) -> None:
        """Send the bytes of a file. Raises `NotFound`."""
        session = self._session_check(context.caller)
        await files.send_upload(
            context, file_id, self._dispatcher, self._heavy_queue, session, self.timeouts
        )

    async def _readyz(self, context: RequestContext) -> None:
        if self.unready or self.draining:
            raise _shutdown_error()
        try:
            async with asyncio.timeout(READY_PATIENCE):
                await self._runtime.ready()
                await self._access.is_locked()
        except TimeoutError:
            raise Unavailable(
                f"The database did not answer within {READY_PATIENCE:g} seconds.", retry_after=1
            ) from None
        lacks = self._runtime.degraded
        await context.respond_json(
            200, {"status": "ready", **({"degraded": lacks} if lacks else {})}
        )

    async def _metrics(self, context: RequestContext) -> None:
        media_type = b"text/plain; version=0.0.4; charset=utf-8"
        numbers = self.metrics.snapshot() + self.other_metrics()
        await context.respond(200, numbers.to_prometheus().encode(), media_type)


class _Services(NamedTuple):
    """Services that exist while the application is open."""

    runtime: Runtime
    access: AccessControl
    requests: RequestQuota
    other_apis: OtherApis


async def _send_document(context: RequestContext) -> None:
    """Send the OpenAPI document, which is built at the first request: that takes megabytes."""
    document = await asyncio.to_thread(openapi.build_document)
    await context.respond(200, document, b"application/json")


async def _admit_anyone(_: Scope) -> AdmittedCaller:
    return AdmittedCaller(Principal(owner=""), frozenset())


async def _send_response(context: RequestContext, answer: Response) -> None:
    if context.scope["method"] == "GET" and answer.status == 200:
        await context.respond_unless_known(answer.value)
        return
    replayed = [(b"idempotency-replayed", b"true")] if answer.replayed else []
    await context.respond_json(answer.status, answer.value, replayed)


async def _send_error(scope: Scope, send: Send, error: AntiphonError) -> None:
    """Send an error in the form of the API that was called."""
    send_in_form = openai_errors.send_error if _is_openai(scope) else send_problem
    await send_in_form(send, error)


def _is_openai(scope: Scope) -> bool:
    """Return whether the request is of a client of OpenAI's API, perhaps with a wrong base URL."""
    return _is_below(scope, openai.PREFIX) or (
        scope["type"] == "http" and scope["path"].endswith(_OPENAI_ENDINGS)
    )


def _is_below(scope: Scope, prefix: str) -> bool:
    return scope["type"] == "http" and f"{scope['path']}/".startswith(f"{prefix}/")


def _with_fallback(companion: ASGIApp) -> ASGIApp:
    """Return the application for paths without a route: 404 below `/v1`, else `companion`."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        ours = find_socket(scope) is not None or _is_openai(scope)
        ours = ours or any(_is_below(scope, prefix) for prefix in _API_PREFIXES)
        await (_raise_not_found if ours else companion)(scope, receive, send)

    return respond


async def _raise_not_found(scope: Scope, _: Receive, __: Send) -> None:
    hint = "GET /openapi.json lists the addresses of the API."
    if _is_below(scope, openai.PREFIX):
        hint = f"Of OpenAI's API, {openai.SERVED} are served."
    elif _is_openai(scope):
        hint = f"A client of OpenAI's API needs a base URL that ends with {openai.PREFIX}."
    raise NotFound("There is nothing at this address.", hint=hint)


def _shutdown_error() -> Unavailable:
    return Unavailable("This process is shutting down.", retry_after=1)
