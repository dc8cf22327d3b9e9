"""Find the configured MCP servers and start them, in the same way for every face.

`find_servers` decides which files count, `resolve_servers` which of their servers can be used and
with which logins, `start_servers` does both and starts the servers. A face that starts them later,
or one by one, resolves them here too. Skipped are servers that are disabled, that cannot be used,
and those of a file that was not approved; each face reports them in its own words.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from antiphon.mcp.client.authorization import (
    Keyring,
    LoginPrompt,
    create_authorizer,
    system_keyring,
)
from antiphon.mcp.client.client_features import ClientFeatures
from antiphon.mcp.client.server import DELAYS, ProtocolCache, open_protocol_cache
from antiphon.mcp.client.server_listing import ServerState
from antiphon.mcp.client.toolbox import AsyncMcpServerPool, ignore_state
from antiphon.mcp.config import discovery
from antiphon.mcp.config.discovery import DiscoveredServers, UnapprovedFile
from antiphon.mcp.config.server_config import MissingReference, Reference, ServerConfig, interpolate
from antiphon.settings.extras import install_hint
from antiphon.settings.settings import Settings
from antiphon.tools.egress_policy import EgressPolicy, parse_exemptions
from antiphon.types.errors import AntiphonError, BadSettings


class ServerProblem(msgspec.Struct, frozen=True):
    """Server that cannot be used, and the reason."""

    server: str
    why: str


class UsableServers(msgspec.Struct, frozen=True, kw_only=True):
    """Servers that can be started, with logins, and those that are skipped.

    `configs` include disabled servers, which a pool lists and does not start. `guard` is the policy
    for those that are `guarded`.
    """

    configs: tuple[ServerConfig, ...]
    problems: tuple[ServerProblem, ...]
    unapproved: tuple[UnapprovedFile, ...]
    auth: Callable[[ServerConfig], Any]
    protocol_cache: ProtocolCache | None
    guard: EgressPolicy

    @property
    def enabled(self) -> tuple[ServerConfig, ...]:
        """Servers that are started."""
        return tuple(config for config in self.configs if config.enabled)

    @property
    def problem_states(self) -> tuple[ServerState, ...]:
        """The servers that cannot be used, as states beside those of a pool."""
        return tuple(
            ServerState(server=each.server, status="failed", why=each.why) for each in self.problems
        )


def find_servers(settings: Settings) -> DiscoveredServers:
    """Return the configured servers. Raises `BadSettings` for a file that cannot be read."""
    return discovery.find_servers(settings, os.environ, Path.cwd())


def resolve_servers(
    settings: Settings,
    found: DiscoveredServers | None = None,
    *,
    person: LoginPrompt | None = None,
    environ: Mapping[str, str] = os.environ,
    keyring: Callable[[], Keyring | None] = system_keyring,
) -> UsableServers:
    """Resolve the references of all configured servers, or of `found`; `person` logs in at them.

    Nothing is looked up for a disabled server. Blocks on files and keyrings. Raises `BadSettings`
    for a file that cannot be read.
    """
    found = found or find_servers(settings)

    def value(reference: Reference) -> str | None:
        if reference.kind == "variable" and reference.name == "PWD":
            return str(Path.cwd())  # the variable may be another program's, and Windows has none
        if reference.kind == "variable":
            return environ.get(reference.name)
        service, _, name = reference.name.partition("/")
        ring = keyring()
        if ring is None:
            missing = "" if find_spec("keyring") else f" {install_hint('keyring')}"
            raise BadSettings(f"no keyring can be read here for {service}/{name}.{missing}")
        return ring.get(service, name)

    configs: list[ServerConfig] = []
    problems: list[ServerProblem] = []
    for each in found.servers:
        config, why = each.config, each.problem
        try:
            if not why:
                configs.append(interpolate(config, value) if config.enabled else config)
        except (MissingReference, AntiphonError) as error:
            why = str(error)
        if why:
            problems.append(ServerProblem(config.name, why))
    return UsableServers(
        configs=tuple(configs),
        problems=tuple(problems),
        unapproved=found.unapproved,
        auth=create_authorizer(settings, environ, person),
        # A start during which a person logs in says nothing about the server's protocol.
        protocol_cache=open_protocol_cache(environ) if person is None else None,
        guard=EgressPolicy(parse_exemptions(settings.private_hosts)),
    )


@asynccontextmanager
async def start_servers(
    settings: Settings,
    host: ClientFeatures | None = None,
    *,
    found: DiscoveredServers | None = None,
    person: LoginPrompt | None = None,
    changed: Callable[[ServerState], None] = ignore_state,
    delays: tuple[float, ...] = DELAYS,
) -> AsyncGenerator[tuple[AsyncMcpServerPool, UsableServers]]:
    """Start all configured servers, or those of `found`, without waiting for them.

    Yields the pool, and the servers that are in it or skipped. Raises `BadSettings` for a file that
    cannot be read. `host`, `changed` and `delays` are the pool's.
    """
    usable = await asyncio.to_thread(resolve_servers, settings, found, person=person)
    async with AsyncMcpServerPool(
        usable.configs,
        host,
        auth=usable.auth,
        changed=changed,
        delays=delays,
        guard=usable.guard,
        protocol_cache=usable.protocol_cache,
    ) as pool:
        yield pool, usable


def has_extra() -> bool:
    """Return whether the library of the extra `mcp` is there, which servers are started with."""
    return find_spec("mcp") is not None
