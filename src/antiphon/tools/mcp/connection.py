"""One session with one server, from its start to its end: everything said over the SDK's client.

Loaded by name, in a thread, when the first server is started: importing the SDK takes a second.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any, TypeVar, cast

import anyio
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.subscriptions import ResourceUpdated, SubscriptionLost
from mcp_types import LOG_LEVEL_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from antiphon.errors import AntiphonError, InvalidRequest, NotFound, Unavailable
from antiphon.messages import Given, Progress, ToolFault, ToolResult
from antiphon.ports import Tell
from antiphon.tools.mcp import results
from antiphon.tools.mcp.callbacks import Callbacks
from antiphon.tools.mcp.config import LogLevel, Mode, ServerConfig
from antiphon.tools.mcp.hosting import Host
from antiphon.tools.mcp.http import http, sse
from antiphon.tools.mcp.metadata import MOST_TOOLS, told, told_line
from antiphon.tools.mcp.offers import (
    Completion,
    FilledPrompt,
    Prompt,
    PromptArgument,
    PromptMessage,
    Resource,
    ResourceTemplate,
)
from antiphon.tools.mcp.stdio import stdio
from antiphon.tools.mcp.watch import Watch, watched

MOST_PAGES = 100
MOST_ITEMS = 5_000
LEAVE_SECONDS = 5.0
"""To part from a server in good order."""
RELIST_SECONDS = 0.1
"""Between two listings: a server that says all the time that it has changed is heard so often."""
CALL_ID = "antiphon/call-id"
"""The key in `_meta` under which a server finds the call's id: the same call has the same one."""

T = TypeVar("T")


class Connection:
    """A session: `live` is its whole life, in one task; the rest may be called from any task.

    `tools` are the SDK's, mended and in order; the other values are empty until the server has
    answered. Methods raise errors of our tree: `Unavailable` when the server went away meanwhile.
    """

    def __init__(
        self,
        config: ServerConfig,
        host: Host,
        roots: tuple[str, ...],
        auth: Any,
        changed: Callable[[], None],
    ) -> None:
        self.config = config
        self.watch = Watch()
        self.tools: tuple[types.Tool, ...] = ()
        self.protocol = ""
        self.title = ""
        self.version = ""
        self.instructions = ""
        self.capabilities: tuple[str, ...] = ()
        self._host = host
        self._auth = auth
        self._callbacks = Callbacks(config, host, roots)
        self._changed = changed
        self._stale = asyncio.Event()
        self._uris: set[str] = set()
        self._refiltered = asyncio.Event()
        self._log_level = config.log_level
        self._client: Client

    async def live(self, mode: Mode, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Connect, call `ready`, and stay until the server ends or `stop` is set.

        Raises whatever went wrong; `reason` puts it into words.
        """
        limit = self.config.connect_timeout
        with anyio.CancelScope(deadline=anyio.current_time() + limit) as scope:
            leaving = asyncio.create_task(_cancel_when(stop, scope))
            try:
                async with self._entered(mode) as client:
                    self._client = client
                    await self._open(mode)
                    scope.deadline = math.inf
                    leaving.cancel()
                    ready()
                    await self._stay(stop)
                    scope.deadline = anyio.current_time() + LEAVE_SECONDS
            finally:
                leaving.cancel()
        if scope.cancelled_caught and not self._left(stop):
            raise Unavailable(f"it did not answer within {limit:g} s")

    def reason(self, error: BaseException | None) -> str:
        """Why the session ended, in a line."""
        if self.watch.why and self.watch.why != _CLOSED:
            return self.watch.why
        match _first(error):
            case AntiphonError() as ours:
                return ours.message
            case MCPError() as refused:
                said = told_line(refused.message, 300)
                return self.watch.trouble or f"it refused the connection: {said}"
            case None:
                return self.watch.trouble or _CLOSED
            case other:
                return self.watch.trouble or f"{type(other).__name__}: {told_line(str(other), 300)}"

    @property
    def modern(self) -> bool:
        """Whether the protocol is 2026-07-28 or later."""
        return self.protocol in MODERN_PROTOCOL_VERSIONS

    async def call(self, tool: str, arguments: dict[str, Any], id: str, tell: Tell) -> ToolResult:
        """Call a tool by the server's own name for it. What goes wrong is a result."""
        meta: dict[str, Any] = {CALL_ID: id}
        if self.modern and self._log_level is not None:
            meta[LOG_LEVEL_META_KEY] = self._log_level

        async def progressed(
            progress: float, total: float | None = None, message: str | None = None
        ) -> None:
            if math.isfinite(progress) and (total is None or math.isfinite(total)):
                tell(Progress(progress, total, told_line(message, 500)))

        try:
            result = await self._client.call_tool(
                tool,
                arguments,
                read_timeout_seconds=self.config.timeout or _UNLIMITED,
                progress_callback=progressed,
                meta=cast(types.RequestParamsMeta, meta),
            )
            return results.tool_result(result)
        except MCPError as error:
            return await self._refused(tool, error)
        except Exception as error:  # noqa: BLE001 - a wall to the SDK and to what is no result
            if self.watch.over.is_set():
                return self._gone(tool)
            return _failed(f"{self._name} gave no valid result for {tool}: {_in_words(error)}")

    async def resources(self) -> tuple[Resource, ...]:
        """All that can be read."""
        listed = await self._all(self._client.list_resources, lambda page: page.resources)
        return tuple(
            Resource(
                uri=each.uri,
                name=told_line(each.name),
                title=told_line(each.title),
                description=told(each.description),
                media_type=told_line(each.mime_type),
                size=each.size,
            )
            for each in listed
        )

    async def resource_templates(self) -> tuple[ResourceTemplate, ...]:
        """All families of what can be read."""
        pages = self._client.list_resource_templates
        return tuple(
            ResourceTemplate(
                uri_template=each.uri_template,
                name=told_line(each.name),
                title=told_line(each.title),
                description=told(each.description),
                media_type=told_line(each.mime_type),
            )
            for each in await self._all(pages, lambda page: page.resource_templates)
        )

    async def read_resource(self, uri: str) -> tuple[Given, ...]:
        """What the resource holds."""
        read = await self._ask(self._client.read_resource(uri))
        return results.contents(read.contents)

    async def prompts(self) -> tuple[Prompt, ...]:
        """All prompts."""
        listed = await self._all(self._client.list_prompts, lambda page: page.prompts)
        return tuple(
            Prompt(
                name=each.name,
                title=told_line(each.title),
                description=told(each.description),
                arguments=tuple(
                    PromptArgument(
                        name=argument.name,
                        description=told(argument.description, 1_000),
                        required=bool(argument.required),
                    )
                    for argument in each.arguments or ()
                ),
            )
            for each in listed
        )

    async def get_prompt(self, name: str, arguments: dict[str, str]) -> FilledPrompt:
        """The prompt, filled in."""
        filled = await self._ask(self._client.get_prompt(name, arguments))
        return FilledPrompt(
            messages=tuple(
                PromptMessage(role=each.role, content=results.content([each.content]))
                for each in filled.messages
            ),
            description=told(filled.description),
        )

    async def complete(
        self,
        prompt: str | None,
        template: str | None,
        argument: str,
        begun: str,
        known: dict[str, str],
    ) -> Completion:
        """Values that an argument may have, of a prompt or of a template's URI."""
        ref = (
            types.PromptReference(type="ref/prompt", name=prompt)
            if prompt is not None
            else types.ResourceTemplateReference(type="ref/resource", uri=template or "")
        )
        said = {"name": argument, "value": begun}
        given = await self._ask(self._client.complete(ref, said, known or None))
        values = [told_line(value) for value in given.completion.values[:100]]
        return Completion(values=values, more=bool(given.completion.has_more))

    async def set_log_level(self, level: LogLevel) -> None:
        """Ask for log lines from this level on; a newer server is told with each call."""
        self._log_level = level
        if not self.modern:
            request = types.SetLevelRequest(params=types.SetLevelRequestParams(level=level))
            await self._ask(self._client.session.send_request(request, types.EmptyResult))

    async def subscribe(self, uri: str) -> None:
        """Have `Host.updated` called when the resource changes."""
        if not self.modern:
            request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))
            await self._ask(self._client.session.send_request(request, types.EmptyResult))
        self._uris.add(uri)
        self._refiltered.set()

    async def unsubscribe(self, uri: str) -> None:
        """Have it no more."""
        if not self.modern:
            request = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=uri))
            await self._ask(self._client.session.send_request(request, types.EmptyResult))
        self._uris.discard(uri)
        self._refiltered.set()

    @property
    def _name(self) -> str:
        return told_line(self.config.name, 60)

    # The session's life.

    def _entered(self, mode: Mode) -> Client:
        return Client(
            watched(self._transport(), self.watch),
            mode=mode,
            cache=None,  # what is kept, we keep
            read_timeout_seconds=self.config.connect_timeout,
            message_handler=self._heard,
            client_info=types.Implementation(name="antiphon", version=version("antiphon")),
            **self._callbacks.options(),
        )

    def _transport(self) -> AbstractAsyncContextManager[tuple[Any, Any]]:
        match self.config.transport:
            case "stdio":
                return stdio(self.config, self.watch)
            case "http":
                return http(self.config, self.watch, self._auth)
            case "sse":
                return sse(self.config, self.watch, self._auth)

    async def _open(self, mode: Mode) -> None:
        """What is to be known before the server counts as ready."""
        if mode in MODERN_PROTOCOL_VERSIONS:  # the SDK takes the version on trust, and asks nothing
            raw = await self._client.session.send_discover(mode)
            self._client.session.adopt(types.DiscoverResult.model_validate(raw))
        self.protocol = self._client.protocol_version
        self.watch.modern = self.modern
        self.capabilities = _capabilities(self._client.server_capabilities)
        self.instructions = told(self._client.instructions)
        if info := self._client.server_info:
            self.title = told_line(info.title or info.name)
            self.version = told_line(info.version, 60)
        self.tools = await self._listed()
        if self.config.log_level is not None and "logging" in self.capabilities:
            await self.set_log_level(self.config.log_level)

    async def _stay(self, stop: asyncio.Event) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._relisting)
            if self.modern:
                group.start_soon(self._listening)
            await _either(self.watch.over, stop)
            group.cancel_scope.cancel()

    def _left(self, stop: asyncio.Event) -> bool:
        return stop.is_set() or self.watch.over.is_set()

    async def _relisting(self) -> None:
        """List the tools again whenever the server says that they are others."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                tools = await self._listed()
            except AntiphonError as error:
                log.warning("The tools of %s cannot be listed again: %s", self._name, error)
            else:
                if tools != self.tools:
                    self.tools = tools
                    self._changed()
            await anyio.sleep(RELIST_SECONDS)

    async def _listening(self) -> None:
        """Subscribe to changes as the protocol of 2026-07-28 has it; lost ones are fetched anew."""
        pause = 0.5
        while True:
            self._refiltered.clear()
            wanted = self._wanted_changes()
            if not wanted:
                await self._refiltered.wait()
                continue
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._until_refiltered, group.cancel_scope)
                    async with self._client.listen(**wanted) as changes:
                        pause = 0.5
                        self._stale.set()  # what changed before this is not told again
                        async for event in changes:
                            self._happened(event)
                    group.cancel_scope.cancel()
            except* (SubscriptionLost, MCPError, TimeoutError):
                self._stale.set()
            if not self._refiltered.is_set():
                await anyio.sleep(pause)
                pause = min(pause * 2, 30.0)

    async def _until_refiltered(self, scope: anyio.CancelScope) -> None:
        await self._refiltered.wait()
        scope.cancel()

    def _wanted_changes(self) -> dict[str, Any]:
        has = self._client.server_capabilities
        wanted: dict[str, Any] = {}
        if has.tools and has.tools.list_changed:
            wanted["tools_list_changed"] = True
        if self._uris:
            wanted["resource_subscriptions"] = sorted(self._uris)
        return wanted

    def _happened(self, event: object) -> None:
        if isinstance(event, ResourceUpdated):
            self._host.updated(self.config.name, event.uri)
        else:
            self._stale.set()

    async def _heard(self, message: types.ServerNotification | Exception) -> None:
        """A notification of the protocols before 2026-07-28, where they come unasked."""
        match message:
            case types.ToolListChangedNotification():
                self._stale.set()
            case types.ResourceUpdatedNotification(params=params) if not self.modern:
                self._host.updated(self.config.name, params.uri)
            case types.ElicitCompleteNotification(params=params):
                self._host.finished(self.config.name, params.elicitation_id)
            case _:
                pass

    # Asking.

    async def _listed(self) -> tuple[types.Tool, ...]:
        if "tools" not in self.capabilities:
            return ()
        self.watch.left_out.clear()
        tools = await self._all(self._client.list_tools, lambda page: page.tools, MOST_TOOLS)
        first = {tool.name: tool for tool in reversed(tools)}
        return tuple(tool for tool in tools if first[tool.name] is tool)

    async def _all(
        self,
        page: Callable[..., Awaitable[Any]],
        items: Callable[[Any], Iterable[T]],
        most: int = MOST_ITEMS,
    ) -> list[T]:
        """Everything on all pages, up to a cap: a list that never ends has one here."""
        everything: list[T] = []
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(MOST_PAGES):
            answer = await self._ask(page(cursor=cursor))
            everything.extend(items(answer))
            cursor = answer.next_cursor
            if cursor is None:
                return everything
            if cursor in seen or len(everything) >= most:
                break
            seen.add(cursor)
        self.watch.left_out["more"] = f"it lists more than {most}, or its pages never end"
        return everything[:most]

    async def _ask(self, asking: Awaitable[T]) -> T:
        """The answer; the SDK's errors as ours."""
        try:
            return await asking
        except MCPError as error:
            said = told_line(error.message, 500)
            if self.watch.over.is_set() or error.code == types.REQUEST_TIMEOUT:
                raise Unavailable(self._account(said)) from error
            if error.code in {types.INVALID_PARAMS, _RESOURCE_NOT_FOUND}:
                raise NotFound(f"{self._name} says: {said}") from error
            raise InvalidRequest(f"{self._name} says: {said}") from error
        except Exception as error:  # a wall to the SDK and to answers that are none
            if self.watch.over.is_set():
                raise Unavailable(self._account("")) from error
            raise InvalidRequest(f"{self._name} answers oddly: {_in_words(error)}") from error

    async def _refused(self, tool: str, error: MCPError) -> ToolResult:
        """A call that the protocol says no to, as a result."""
        fault: ToolFault
        said = told(error.message, 2_000)
        if self.watch.over.is_set():
            return self._gone(tool)
        if error.code == types.URL_ELICITATION_REQUIRED:
            return await self._sent_away(tool, error)
        status = self.watch.http_status
        match error.code:
            case types.REQUEST_TIMEOUT:
                limit = self.config.timeout or 0
                fault, what = (
                    "timed_out",
                    f"gave no result for {tool} within {limit:g} s; {_PERHAPS}",
                )
            case types.CONNECTION_CLOSED:
                fault, what = "unavailable", f"broke the connection: {said}; {_PERHAPS}"
            case types.INVALID_PARAMS:
                fault, what = "invalid_arguments", f"refuses the call: {said}"
            case _ if said == _HTTP_ERROR and status is not None:
                login = "; it wants a login" if status in {401, 403} else ""
                fault, what = "unavailable", f"answered {self.watch.trouble}{login}"
            case _:
                fault, what = "failed", f"says: {said}"
        return ToolResult(f"{self._name} {what}", is_error=True, fault=fault)

    async def _sent_away(self, tool: str, error: MCPError) -> ToolResult:
        """The server wants a person to go to an address before it takes this call."""
        try:
            data = types.ElicitationRequiredErrorData.model_validate(error.error.data)
        except ValueError:
            return _failed(f"{self._name} wants something of the user that cannot be understood.")
        questions = [self._callbacks.address(asked) for asked in data.elicitations[:3]]
        agreed = self._host.asks and bool(questions)
        for question in questions:
            agreed = agreed and question is not None and await self._callbacks.agreed(question)
        then = "has agreed; call again when it is done" if agreed else "did not agree"
        return _failed(
            f"{self._name} takes {tool} only after the user has opened an address. The user {then}."
        )

    def _gone(self, tool: str) -> ToolResult:
        return _unavailable(f"{self._account('')} As to the call of {tool}, {_PERHAPS}.")

    def _account(self, said: str) -> str:
        """What became of the server, and its last words."""
        why = self.reason(None) if self.watch.over.is_set() else said
        tail = "\n".join(self.watch.stderr[-5:])
        return f"The server {self._name} is gone: {why}." + (
            f" Its stderr:\n{tail}\n" if tail else ""
        )


def speechless() -> None:
    """Let the SDK's loggers say what they have to say in one line, to ours, at debug level.

    They log what servers do wrong with tracebacks, and nobody may have set logging up: then Python
    prints it on the screen.
    """
    for name in ("mcp", "client"):  # the latter is what the SDK's session calls its own
        theirs = logging.getLogger(name)
        if not any(isinstance(handler, _Short) for handler in theirs.handlers):
            theirs.addHandler(_Short())
            theirs.propagate = False


class _Short(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.debug("%s: %s", record.name, told_line(record.getMessage(), 300))


log = logging.getLogger(__name__)
_CLOSED = "the connection was closed"
_HTTP_ERROR = "Server returned an error response"  # the SDK's words for every HTTP status
_RESOURCE_NOT_FOUND = -32002
_PERHAPS = "it may or may not have been carried out"
_UNLIMITED = 10.0 * 365 * 24 * 3600


def _capabilities(has: types.ServerCapabilities) -> tuple[str, ...]:
    """What the server says it can, as `State` has it."""
    said = {
        "tools": has.tools,
        "resources": has.resources,
        "resources.subscribe": has.resources and has.resources.subscribe,
        "prompts": has.prompts,
        "completions": has.completions,
        "logging": has.logging,
    }
    return tuple(name for name, can in said.items() if can is not None and can is not False)


async def _cancel_when(event: asyncio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


def _first(error: BaseException | None) -> BaseException | None:
    """The first cause in a group of them, which is what the SDK's task groups raise."""
    while isinstance(error, BaseExceptionGroup):
        error = cast(BaseExceptionGroup[BaseException], error).exceptions[0]
    return error


def _in_words(error: BaseException) -> str:
    return told_line(str(_first(error)), 500) or type(error).__name__


def _failed(said: str) -> ToolResult:
    return ToolResult(said, is_error=True, fault="failed")


def _unavailable(said: str) -> ToolResult:
    return ToolResult(said, is_error=True, fault="unavailable")
