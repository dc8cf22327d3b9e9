"""MCP servers of a running program that a person adds, removes, switches off and restarts.

The configuration is the one of `antiphon mcp`: this writes the same file by the same functions, and
then reads it again. Servers that stand elsewhere, in a project's file, in `antiphon.toml` or in the
file of `--config`, are restarted, and not changed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from antiphon.mcp.client.server_listing import ServerState
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config import discovery
from antiphon.mcp.config.discovery import DiscoveredServers, UserConfigFile
from antiphon.mcp.config.server_config import ParsedServer, ServerConfig
from antiphon.mcp.startup import UsableServers, find_servers, resolve_servers
from antiphon.settings.settings import Settings
from antiphon.types.errors import Conflict, InvalidRequest, NotFound

Forget = Callable[[str], Awaitable[None]]
"""Revokes what people have allowed for the tools of a server, by its name."""

MOST_SERVERS = 100
"""Most servers to which another one is added."""


class ServerSource(msgspec.Struct, frozen=True, kw_only=True):
    """Configuration of a server. `file` holds it; `is_own` is true if this program may change it.

    `target` is the command line or the URL, with references that are not resolved; `place` is its
    program or its host alone, for people who may not see what secrets stand in the rest.
    """

    transport: str
    file: str
    is_own: bool
    target: str
    place: str


class ServerChanges(msgspec.Struct, frozen=True):
    """Names of the servers that the configuration has added, changed and removed."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class ServerManager:
    """Servers of a pool, and their configuration. Use it on the pool's loop.

    Acts come one after another. Each one that starts another program under the name of a server, or
    removes it, first calls `forget`: nothing that was allowed for the old one holds for a new one.
    """

    def __init__(
        self,
        settings: Settings,
        pool: AsyncMcpServerPool,
        found: DiscoveredServers,
        usable: UsableServers,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._acting = asyncio.Lock()
        self._parsed = {each.config.name: each for each in found.servers}
        self._configs = {each.name: each for each in usable.configs}
        self._problems = {each.server: each for each in usable.problem_states}
        self._unapproved = found.unapproved
        self._own_file = discovery.open_own_file(settings, os.environ)

    @property
    def unapproved(self) -> Sequence[str]:
        """Sentences about files of the working folder whose servers need a person's approval."""
        return [each.explanation for each in self._unapproved]

    @property
    def own_file(self) -> str:
        """Path of the file to which servers are added; empty if `--config` names another one."""
        return "" if self._settings.config else str(self._own_file.file)

    def states(self) -> Sequence[ServerState]:
        """Return the state of each server, in the order of the configuration."""
        running = {state.server: state for state in self._pool.states()}
        every = self._problems | running
        return [every[name] for name in list(self._parsed) if name in every]

    def source(self, name: str) -> ServerSource:
        """Return the configuration of a server. Raises `NotFound`."""
        parsed = self._get(name)
        config = parsed.config
        return ServerSource(
            transport=config.transport,
            file=self._describe_place(parsed),
            is_own=self._is_own(parsed),
            target=describe_target(config),
            place=describe_place(config),
        )

    def require_own(self, name: str) -> UserConfigFile:
        """Return the file that holds the server.

        Raises `NotFound`, and `Conflict` if its configuration is not this program's to change.
        """
        parsed = self._get(name)
        if not self._is_own(parsed):
            raise Conflict(
                f"The MCP server {name} is configured in {self._describe_place(parsed)}.",
                hint="Change it there, and look for new servers.",
            )
        return self._own_file

    async def restart(self, name: str, forget: Forget) -> None:
        """Start the server again as it is configured now, however it is doing.

        Raises `NotFound` if there is none, or none any more, and `InvalidRequest` if it is off.
        """
        async with self._acting:
            found = await self.find_restartable(name)
            before = self._configs.get(name)
            await self._take_over([found], forget)
            if name in self._configs and self._configs[name] == before:
                await self._pool.relaunch(name)

    async def find_restartable(self, name: str) -> ParsedServer:
        """Return the server as it is configured now. Raises what `restart` raises."""
        self._get(name)
        found = (await self._find()).get(name)
        if not found.config.enabled:
            raise InvalidRequest(
                f"The MCP server {name} is switched off.", hint="Switch it on: it starts then."
            )
        return found

    async def check_switchable(self, name: str) -> None:
        """Raise what `set_enabled` raises if the server cannot be switched on or off."""
        self.require_own(name)
        (await self._find()).get(name)

    async def set_enabled(self, name: str, forget: Forget, *, enabled: bool) -> None:
        """Switch the server on or off, and write this down.

        Raises `NotFound`, and `Conflict` if its configuration is not this program's to change.
        """
        async with self._acting:
            file = self.require_own(name)
            if not await asyncio.to_thread(file.set_enabled, name, enabled=enabled):
                raise NotFound(f"There is no MCP server {name} in {file.file} any more.")
            await self._take_over([(await self._find()).get(name)], forget)

    async def remove(self, name: str, forget: Forget) -> None:
        """Stop the server, and remove it from the configuration.

        Raises `NotFound`, and `Conflict` if its configuration is not this program's to change.
        """
        async with self._acting:
            file = self.require_own(name)
            await forget(name)
            await asyncio.to_thread(file.remove, name)
            await self._drop([name])
            await forget(name)  # what was allowed meanwhile

    async def add(self, name: str, entry: Mapping[str, Any], forget: Forget) -> None:
        """Add a server, write it down, and start it.

        `entry` is as in `mcpServers` JSON. Raises `InvalidRequest` for one that cannot be used, and
        `Conflict` if the name is taken or nothing can be added here.
        """
        async with self._acting:
            await self.check_addable(name, entry)
            await forget(name)
            await asyncio.to_thread(self._own_file.add, name, entry)
            await self._take_over([(await self._find()).get(name)], forget)

    async def check_addable(self, name: str, entry: Mapping[str, Any]) -> None:
        """Raise what `add` raises if this server cannot be added."""
        if not self.own_file:
            raise Conflict(
                f"The MCP servers come from {self._own_file.file}, which --config names.",
                hint="Add the server there, and look for new servers.",
            )
        discovery.check_entry(name, entry)
        self._check_free(name, await self._find())

    async def reload(self, forget: Forget) -> ServerChanges:
        """Read the configuration again: start what is new, stop what is gone, restart changes.

        Raises `BadSettings` for a file that cannot be read; nothing changes then.
        """
        async with self._acting:
            before = dict(self._parsed)
            found = await self._find()
            now = {each.config.name: each for each in found.servers}
            removed = tuple(name for name in before if name not in now)
            for name in removed:
                await forget(name)
            await self._drop(removed)
            for name in removed:
                await forget(name)  # what was allowed meanwhile
            await self._take_over(found.servers, forget)
            self._parsed = now
            self._unapproved = found.unapproved
            await self._update()  # in the order of the configuration
            return ServerChanges(
                added=tuple(name for name in now if name not in before),
                changed=tuple(name for name in now if name in before and now[name] != before[name]),
                removed=removed,
            )

    async def _find(self) -> DiscoveredServers:
        return await asyncio.to_thread(find_servers, self._settings)

    async def _take_over(self, servers: Iterable[ParsedServer], forget: Forget) -> None:
        """Run these servers as they are configured now, beside the others."""
        found = DiscoveredServers(servers=tuple(servers))
        usable = await asyncio.to_thread(resolve_servers, self._settings, found)
        replaced = [
            each.config.name
            for each in found.servers
            if (before := self._parsed.get(each.config.name)) is not None
            and not before.config.is_same_program(each.config)
        ]
        for name in replaced:
            await forget(name)
        for each in found.servers:
            self._parsed[each.config.name] = each
            self._configs.pop(each.config.name, None)
            self._problems.pop(each.config.name, None)
        self._configs |= {each.name: each for each in usable.configs}
        self._problems |= {each.server: each for each in usable.problem_states}
        await self._update()
        for name in replaced:
            await forget(name)  # what was allowed while the old one ended

    async def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            for table in (self._parsed, self._configs, self._problems):
                table.pop(name, None)
        await self._update()

    async def _update(self) -> None:
        await self._pool.update(
            self._configs[name] for name in self._parsed if name in self._configs
        )

    def _get(self, name: str) -> ParsedServer:
        if (parsed := self._parsed.get(name)) is None:
            raise NotFound(f"There is no MCP server {name[:60]}.")
        return parsed

    def _is_own(self, parsed: ParsedServer) -> bool:
        """Return whether it stands in the user's own `mcp.json`, and only there."""
        has_table = parsed.config.name in self._settings.servers
        return bool(self.own_file) and parsed.origin == self.own_file and not has_table

    def _describe_place(self, parsed: ParsedServer) -> str:
        if self.own_file and parsed.origin == self.own_file and not self._is_own(parsed):
            return str(self._own_file.file.with_name(discovery.TOML))
        return parsed.origin

    def _check_free(self, name: str, found: DiscoveredServers) -> None:
        """Raise `Conflict` if no server of this name can be added."""
        names = {each.config.name for each in found.servers} | set(self._settings.servers)
        if name in names:
            raise Conflict(
                f"There is an MCP server {name} already.",
                expected="a name that no configured server has",
                hint="If it is not listed here, look for new servers.",
            )
        if len(names) >= MOST_SERVERS:
            raise Conflict(
                f"There are {len(names)} MCP servers.", expected=f"fewer than {MOST_SERVERS}"
            )


def describe_target(config: ServerConfig) -> str:
    """Return the command line, or the URL without a password; references are not resolved."""
    if config.transport == "stdio":
        return shlex.join((config.command, *config.args))
    return _PASSWORD.sub(r"\1****@", config.url)


def describe_place(config: ServerConfig) -> str:
    """Return the program without its arguments, or the scheme and host of the URL."""
    if config.transport == "stdio":
        return config.command
    url = urlsplit(config.url)
    return f"{url.scheme}://{url.hostname}" if url.hostname else ""


_PASSWORD = re.compile(r"(://)[^/@\s]+@")
