"""MCP servers that runs on this backend may name, and their tools.

The operator's own servers are shared by all runs. A server at a URL is private to its owner,
because a session may have state. Both are connected when first named, without waiting; the former
stay connected, the latter until some minutes after the last run that used them.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from antiphon.api.operations import BackendServer
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.startup import has_extra, resolve_servers
from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.settings.extras import install_hint
from antiphon.settings.settings import Settings
from antiphon.tools.egress_policy import INTERNET, BlockedAddress, EgressPolicy
from antiphon.types.addresses import parse_address
from antiphon.types.errors import BadSettings, Forbidden, InvalidRequest
from antiphon.types.messages import Tool, ToolCall, ToolResult
from antiphon.types.runs import McpServer

Allowed = Literal["configured", "urls"]

LIST_SECONDS = 10.0
"""Seconds from a server's start before runs go on without its tools."""
IDLE_SECONDS = 300.0
"""Seconds that the connection to a URL stays open after the last run that used it."""
MOST_IDLE = 100
"""Unused connections; above that the one unused for longest is closed."""

log = logging.getLogger(__name__)


class ServerPool:
    """The servers of `configs`, and with `allowed="urls"` any URL that `reach` permits.

    Private addresses that `reach` exempts are allowed, and only those without https. `auth` is used
    for the operator's own servers, never for a URL named by a caller. `unusable` are configured
    servers that cannot be started, with the reason.
    """

    def __init__(
        self,
        allowed: Allowed,
        configs: Iterable[ServerConfig] = (),
        reach: EgressPolicy = INTERNET,
        *,
        auth: Callable[[ServerConfig], Any] | None = None,
        list_seconds: float = LIST_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        unusable: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._allowed = allowed
        self._configs = {config.name: config for config in configs}
        self._reach = reach
        self._auth = auth
        self._list_seconds = list_seconds
        self._idle_seconds = idle_seconds
        self._unusable = unusable
        self._pooled: dict[tuple[str, ...], _PooledServer] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """Number of servers that are connected or starting."""
        return len(self._pooled)

    async def check_allowed(self, servers: Sequence[McpServer]) -> None:
        """Raise `Forbidden` or `InvalidRequest` for a server that may not be named here."""
        _check_unique_names(servers)
        for place, server in enumerate(servers):
            await self._check_server(server, f"$.mcp_servers[{place}]")

    async def _check_server(self, server: McpServer, where: str) -> None:
        if server.url is None:
            if server.name not in self._configs:
                raise InvalidRequest(
                    f"There is no MCP server {server.name} here.",
                    expected=", ".join(self._configs) or "none: no server is configured",
                    received=server.name,
                    hint="The operator configures them, or allows `url` by backend_mcp = urls.",
                    where=f"{where}.name",
                )
        elif self._allowed != "urls":
            raise Forbidden(
                "MCP servers may not be named by their address here.",
                expected="the name of a configured server, without url",
                received=server.name,
                hint="An operator can allow it by the setting backend_mcp = urls.",
            )
        else:
            await self._check_url(server.url, f"{where}.url")

    async def _check_url(self, url: str, where: str) -> None:
        """Check the URL's text; the address of a name is checked at every connect."""
        scheme, host, port = _split_url(url, where)
        try:
            address, *_ = await self._reach.resolve_allowed(host, port, _resolve_to_public)
        except BlockedAddress as refused:
            raise InvalidRequest(refused.message, **refused.details, where=where) from refused
        if scheme != "https" and not self._reach.exempts(host, address, port):
            raise InvalidRequest(
                "An MCP server is reached over https.",
                expected="https://...",
                received=f"{scheme}://...",
                where=where,
            )

    @asynccontextmanager
    async def hold(self, owner: str, servers: Sequence[McpServer]) -> AsyncGenerator[Toolbox]:
        """Yield the tools of these servers; absent servers have none."""
        servers_in_use: list[_PooledServer] = []
        with ExitStack() as holding:
            for server in servers:
                pooled = await self._acquire(owner, server)
                if pooled is not None:
                    holding.callback(self._release, pooled)
                    servers_in_use.append(pooled)
            await asyncio.gather(*(pooled.wait_until_listed() for pooled in servers_in_use))
            yield _PooledTools(servers_in_use)

    def states(self) -> Sequence[BackendServer]:
        """Return the states of the operator's own servers."""
        found: list[BackendServer] = []
        for config in self._configs.values():
            pooled = self._pooled.get((config.name,))
            if pooled is None:
                found.append(BackendServer(config.name, "idle", config.transport))
                continue
            (state,) = pooled.servers.states()
            found.append(
                BackendServer(config.name, state.status, state.transport, state.tools, state.why)
            )
        broken = [
            BackendServer(name, "unusable", problem=why) for name, why in self._unusable.items()
        ]
        return [*found, *broken]

    def origins(self, servers: Sequence[McpServer]) -> Sequence[str]:
        """Return the identities of these servers, without secrets.

        All URLs named by a run share one, valid wherever URLs are allowed.
        """
        named = [self._configs.get(each.name) for each in servers if each.url is None]
        ours = [_origin(config) for config in named if config is not None]
        return [*ours, _ANY_URL] if any(server.url for server in servers) else ours

    def has(self, origins: Sequence[str]) -> bool:
        """Return whether all of these servers are here, configured in the same way."""
        here = {_origin(config) for config in self._configs.values()}
        if self._allowed == "urls":
            here.add(_ANY_URL)
        return here.issuperset(origins)

    async def close(self) -> None:
        """End every connection."""
        for key in list(self._pooled):
            self._end(key)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _acquire(self, owner: str, server: McpServer) -> _PooledServer | None:
        try:
            await self.check_allowed([server])
        except (Forbidden, InvalidRequest) as refused:  # it was allowed when the run began
            log.warning("the MCP server %s is not used: %s", server.name, refused.message)
            return None
        key = (server.name,) if server.url is None else (owner, server.name, server.url)
        pooled = self._pooled.pop(key, None)
        if pooled is None:
            pooled = _PooledServer(key, self._create_servers(server), self._list_seconds)
            await pooled.servers.__aenter__()  # which only starts tasks
        self._pooled[key] = pooled  # the newest last
        pooled.take()
        return pooled

    def _create_servers(self, server: McpServer) -> AsyncMcpServerPool:
        if server.url is None:
            return AsyncMcpServerPool(
                [self._configs[server.name]], auth=self._auth, guard=self._reach
            )
        config = ServerConfig(
            name=server.name,
            transport="http",
            url=server.url,
            connect_timeout=self._list_seconds,
        )
        return AsyncMcpServerPool([config], reach=self._reach)

    def _release(self, pooled: _PooledServer) -> None:
        pooled.users -= 1
        if pooled.users or not pooled.is_foreign or self._pooled.get(pooled.key) is not pooled:
            return
        loop = asyncio.get_running_loop()
        pooled.leaving = loop.call_later(self._idle_seconds, self._end, pooled.key)
        idle = [each.key for each in self._pooled.values() if each.is_foreign and not each.users]
        for key in idle[: max(0, len(idle) - MOST_IDLE)]:
            self._end(key)

    def _end(self, key: tuple[str, ...]) -> None:
        pooled = self._pooled.pop(key)
        pooled.cancel_idle_end()
        task = asyncio.create_task(pooled.servers.__aexit__(None, None, None))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def create_servers(settings: Settings) -> ServerPool:
    """Return the MCP servers that runs may name; reads files, and perhaps the system's keyring.

    The setting `backend_mcp` is not `off`. Raises `BadSettings` without the extra.
    """
    if not has_extra():
        raise BadSettings(
            "The setting backend_mcp has this process run MCP servers, which needs an extra.",
            expected="the extra `mcp`, or backend_mcp = off",
            received=settings.backend_mcp,
            hint=install_hint("mcp"),
        )
    usable = resolve_servers(settings)
    for problem in usable.problems:
        log.warning("the MCP server %s cannot be used: %s", problem.server, problem.why)
    return ServerPool(
        "urls" if settings.backend_mcp == "urls" else "configured",
        [config for config in usable.enabled if config.backend],
        usable.guard,
        auth=usable.auth,
        unusable={problem.server: problem.why for problem in usable.problems},
    )


class _PooledServer:
    """Connection to one server, with a count of its users."""

    def __init__(self, key: tuple[str, ...], servers: AsyncMcpServerPool, patience: float) -> None:
        self.key = key
        self.servers = servers
        self.users = 0
        self.leaving: asyncio.TimerHandle | None = None
        self._clock = asyncio.get_running_loop().time
        self._patience_ends = self._clock() + patience

    @property
    def is_foreign(self) -> bool:
        """True if a caller named its URL."""
        return len(self.key) > 1

    def take(self) -> None:
        """Add a user; retry a failed server without waiting for it."""
        self.users += 1
        self.cancel_idle_end()
        self.servers.retry_all()

    def cancel_idle_end(self) -> None:
        """Cancel the end by idleness."""
        if self.leaving is not None:
            self.leaving.cancel()
            self.leaving = None

    async def wait_until_listed(self) -> None:
        """Wait until its tools are known, within the time for a start."""
        for state in await self.servers.ready(max(0.0, self._patience_ends - self._clock())):
            log.warning("the MCP server %s is %s: %s", state.server, state.status, state.why)


class _PooledTools:
    """Tools of several connections as one toolbox."""

    def __init__(self, servers_in_use: Sequence[_PooledServer]) -> None:
        self._pooled = servers_in_use

    def tools(self) -> Sequence[Tool]:
        return [tool for pooled in self._pooled for tool in pooled.servers.tools()]

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        for pooled in self._pooled:
            if any(tool.spec.name == call.name for tool in pooled.servers.tools()):
                return await pooled.servers.call(call, tell)
        states = [state for pooled in self._pooled for state in pooled.servers.states()]
        absent = [f"{each.server} is {each.status}." for each in states if each.status != "ready"]
        return ToolResult(
            " ".join([f"There is no tool {call.name} just now.", *absent]),
            is_error=True,
            fault="unavailable",
        )


_ANY_URL = "url"


def _origin(config: ServerConfig) -> str:
    return f"{config.name} {config.origin}"


def _check_unique_names(servers: Sequence[McpServer]) -> None:
    twins = [name for name, times in Counter(each.name for each in servers).items() if times > 1]
    if twins:
        raise InvalidRequest(
            "Several MCP servers have one name.",
            expected="a name of its own for each server",
            received=", ".join(twins),
            where="$.mcp_servers",
        )


_ADDRESS = re.compile(r"(?i:https?)://[!-~]+")


def _split_url(url: str, where: str) -> tuple[str, str, int]:
    """Return scheme, host and port. Raises `InvalidRequest`."""
    try:
        # Characters that URL parsers drop or replace are refused before parsing.
        parts = urlsplit(url) if _ADDRESS.fullmatch(url) and "\\" not in url else None
        if parts is not None and parts.hostname and "@" not in parts.netloc:
            host = parts.hostname
            parse_address(host)
            usual = 443 if parts.scheme == "https" else 80
            return parts.scheme, host, usual if parts.port is None else parts.port
    except ValueError:
        pass
    raise InvalidRequest(
        "This is no address of an MCP server.",
        expected="https://host/path, without a user or a password",
        where=where,
    )


async def _resolve_to_public(host: str, port: int) -> Sequence[str]:
    """Stand in for name resolution, where only the text of a URL is checked."""
    return ["1.1.1.1"]
