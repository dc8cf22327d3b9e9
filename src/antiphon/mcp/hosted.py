"""The MCP servers that runs name: which may be named, and their tools while they are held.

The operator's own servers are shared by all runs; a server at an address is its owner's alone, for
a session may remember things. Both are connected when they are first named, behind one's back, and
stay so: the former until the end, the latter for some minutes after the last run that held it.
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
from antiphon.mcp.client.toolbox import McpServers
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.ports import Tell, Toolbox, quiet
from antiphon.tools.egress_policy import INTERNET, OutOfReach, Reach
from antiphon.tools.functions import Functions
from antiphon.types.addresses import written
from antiphon.types.errors import Forbidden, InvalidRequest
from antiphon.types.messages import Tool, ToolCall, ToolResult
from antiphon.types.runs import McpServer

Allowed = Literal["off", "configured", "urls"]

LIST_SECONDS = 10.0
"""How long a server may take, from its start, before runs go on without its tools."""
IDLE_SECONDS = 300.0
"""How long the connection to an address stays open after the last run that held it."""
MOST_IDLE = 100
"""Connections that nobody holds; above that the one that was let go of first is closed."""

log = logging.getLogger(__name__)


class NoServers:
    """What there is where no server may be named."""

    async def refuse(self, servers: Sequence[McpServer]) -> None:
        """Raise `Forbidden` for any server."""
        if servers:
            raise Forbidden(
                "This server runs no tools of MCP servers.",
                expected="no mcp_servers",
                received=", ".join(server.name for server in servers),
                hint="An operator can allow it by the setting backend_mcp. Tools that the client "
                "runs itself need no permission.",
            )

    @asynccontextmanager
    async def held(self, owner: str, servers: Sequence[McpServer]) -> AsyncGenerator[Toolbox]:
        """No tools, whatever was named."""
        yield Functions(())

    def states(self) -> Sequence[BackendServer]:
        """There is none."""
        return ()

    def origins(self, servers: Sequence[McpServer]) -> Sequence[str]:
        """Return nothing: none of them is here."""
        return ()

    def has(self, origins: Sequence[str]) -> bool:
        """Return whether there are no servers to have."""
        return not origins

    async def close(self) -> None:
        """Nothing is held."""


class ServerPool:
    """The servers of `configs`, and with `allowed` `urls` any that `reach` may go to.

    `private` addresses are reached where `reach` exempts them, and only there without https. `auth`
    lets in at the operator's own servers, and never at an address that a caller named. `unusable`
    are servers that cannot be started as they are configured, with the reason.
    """

    def __init__(
        self,
        allowed: Allowed,
        configs: Iterable[ServerConfig] = (),
        reach: Reach = INTERNET,
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
        self._lines: dict[tuple[str, ...], _Line] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many servers are connected, or are being started."""
        return len(self._lines)

    async def refuse(self, servers: Sequence[McpServer]) -> None:
        """Raise `Forbidden` or `InvalidRequest` for one that may not be named here."""
        if self._allowed == "off":
            await NoServers().refuse(servers)
        _refuse_twins(servers)
        for place, server in enumerate(servers):
            await self._refuse(server, f"$.mcp_servers[{place}]")

    async def _refuse(self, server: McpServer, where: str) -> None:
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
            await self._refuse_url(server.url, f"{where}.url")

    async def _refuse_url(self, url: str, where: str) -> None:
        """Only what can be told from the words: where a name leads is judged at every connect."""
        scheme, host, port = _split(url, where)
        try:
            address, *_ = await self._reach.vetted(host, port, _somewhere_public)
        except OutOfReach as refused:
            raise InvalidRequest(refused.message, **refused.details, where=where) from refused
        if scheme != "https" and not self._reach.exempts(host, address, port):
            raise InvalidRequest(
                "An MCP server is reached over https.",
                expected="https://...",
                received=f"{scheme}://...",
                where=where,
            )

    @asynccontextmanager
    async def held(self, owner: str, servers: Sequence[McpServer]) -> AsyncGenerator[Toolbox]:
        """The tools of these servers, while they are held; those that are not there have none."""
        lines: list[_Line] = []
        with ExitStack() as holding:
            for server in servers:
                line = await self._take(owner, server)
                if line is not None:
                    holding.callback(self._release, line)
                    lines.append(line)
            await asyncio.gather(*(line.listed() for line in lines))
            yield _Tools(lines)

    def states(self) -> Sequence[BackendServer]:
        """The operator's own servers, and how they are."""
        broken = [
            BackendServer(name, "unusable", problem=why) for name, why in self._unusable.items()
        ]
        return [*map(self._state, self._configs.values()), *broken]

    def origins(self, servers: Sequence[McpServer]) -> Sequence[str]:
        """Return what these servers are, in words that hold no secret.

        One at an address that the run itself names is the same wherever such are allowed.
        """
        named = [self._configs.get(each.name) for each in servers if each.url is None]
        ours = [_origin(config) for config in named if config is not None]
        return [*ours, _ANY_URL] if any(server.url for server in servers) else ours

    def has(self, origins: Sequence[str]) -> bool:
        """Return whether all of these servers are here, as they are there."""
        here = {_origin(config) for config in self._configs.values()}
        if self._allowed == "urls":
            here.add(_ANY_URL)
        return here.issuperset(origins)

    def _state(self, config: ServerConfig) -> BackendServer:
        line = self._lines.get((config.name,))
        if line is None:
            return BackendServer(config.name, "idle", config.transport)
        (state,) = line.servers.states()
        return BackendServer(config.name, state.status, state.transport, state.tools, state.why)

    async def close(self) -> None:
        """End every connection."""
        for key in list(self._lines):
            self._end(key)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _take(self, owner: str, server: McpServer) -> _Line | None:
        try:
            await self.refuse([server])
        except (Forbidden, InvalidRequest) as refused:  # it was allowed when the run began
            log.warning("the MCP server %s is not used: %s", server.name, refused.message)
            return None
        key = (server.name,) if server.url is None else (owner, server.name, server.url)
        line = self._lines.pop(key, None)
        if line is None:
            line = _Line(key, self._connected(server), self._list_seconds)
            await line.servers.__aenter__()  # which only starts tasks
        self._lines[key] = line  # the newest last
        line.take()
        return line

    def _connected(self, server: McpServer) -> McpServers:
        if server.url is None:
            return McpServers([self._configs[server.name]], auth=self._auth)
        config = ServerConfig(
            name=server.name,
            transport="http",
            url=server.url,
            connect_timeout=self._list_seconds,
        )
        return McpServers([config], reach=self._reach)

    def _release(self, line: _Line) -> None:
        line.users -= 1
        if line.users or not line.foreign or self._lines.get(line.key) is not line:
            return
        loop = asyncio.get_running_loop()
        line.leaving = loop.call_later(self._idle_seconds, self._end, line.key)
        idle = [each.key for each in self._lines.values() if each.foreign and not each.users]
        for key in idle[: max(0, len(idle) - MOST_IDLE)]:
            self._end(key)

    def _end(self, key: tuple[str, ...]) -> None:
        line = self._lines.pop(key)
        line.stay()
        task = asyncio.create_task(line.servers.__aexit__(None, None, None))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class _Line:
    """One server's connection, and how many hold it."""

    def __init__(self, key: tuple[str, ...], servers: McpServers, patience: float) -> None:
        self.key = key
        self.servers = servers
        self.users = 0
        self.leaving: asyncio.TimerHandle | None = None
        self._clock = asyncio.get_running_loop().time
        self._patience_ends = self._clock() + patience

    @property
    def foreign(self) -> bool:
        """Whether a caller named its address."""
        return len(self.key) > 1

    def take(self) -> None:
        """One more holds it; a server that has failed is tried again, and not waited for."""
        self.users += 1
        self.stay()
        self.servers.retry_all()

    def stay(self) -> None:
        """It need not end by itself."""
        if self.leaving is not None:
            self.leaving.cancel()
            self.leaving = None

    async def listed(self) -> None:
        """Wait until its tools are known, but no longer than a start may take."""
        for state in await self.servers.ready(max(0.0, self._patience_ends - self._clock())):
            log.warning("the MCP server %s is %s: %s", state.server, state.status, state.why)


class _Tools:
    """The tools of some connections, as one toolbox."""

    def __init__(self, lines: Sequence[_Line]) -> None:
        self._lines = lines

    def tools(self) -> Sequence[Tool]:
        return [tool for line in self._lines for tool in line.servers.tools()]

    async def call(self, call: ToolCall, tell: Tell = quiet) -> ToolResult:
        for line in self._lines:
            if any(tool.spec.name == call.name for tool in line.servers.tools()):
                return await line.servers.call(call, tell)
        states = [state for line in self._lines for state in line.servers.states()]
        absent = [f"{each.server} is {each.status}." for each in states if each.status != "ready"]
        return ToolResult(
            " ".join([f"There is no tool {call.name} just now.", *absent]),
            is_error=True,
            fault="unavailable",
        )


_ANY_URL = "url"


def _origin(config: ServerConfig) -> str:
    return f"{config.name} {config.origin}"


def _refuse_twins(servers: Sequence[McpServer]) -> None:
    twins = [name for name, times in Counter(each.name for each in servers).items() if times > 1]
    if twins:
        raise InvalidRequest(
            "Several MCP servers have one name.",
            expected="a name of its own for each server",
            received=", ".join(twins),
            where="$.mcp_servers",
        )


_ADDRESS = re.compile(r"(?i:https?)://[!-~]+")


def _split(url: str, where: str) -> tuple[str, str, int]:
    """Scheme, host and port."""
    try:
        # Letters that readers of addresses drop or turn into others are refused before any reads.
        parts = urlsplit(url) if _ADDRESS.fullmatch(url) and "\\" not in url else None
        if parts is not None and parts.hostname and "@" not in parts.netloc:
            host = parts.hostname
            written(host)
            usual = 443 if parts.scheme == "https" else 80
            return parts.scheme, host, usual if parts.port is None else parts.port
    except ValueError:
        pass
    raise InvalidRequest(
        "This is no address of an MCP server.",
        expected="https://host/path, without a user or a password",
        where=where,
    )


async def _somewhere_public(host: str, port: int) -> Sequence[str]:
    """Stands for the addresses of a name, where only the words of an address are judged."""
    return ["1.1.1.1"]
