"""Requests that change MCP servers: add, restart, switch on and off, remove, look for new ones.

They are for administrators; where nobody logs in, for the one person of this machine. A server that
is a program can be added only with the setting `web_mcp_programs`: otherwise no page may start
programs. Where people log in, an administrator of the web chat need not be the operator of the
machine. So an address that is added there is reached only where tools may send requests, and its
headers may hold no other secrets of the machine than those that are meant for MCP servers.
"""

from __future__ import annotations

import logging
import re
from typing import Annotated, Any, Literal

import msgspec
from flask import Blueprint, Response
from msgspec import Meta

from antiphon.client.async_client import AsyncClient
from antiphon.mcp.config.server_config import Reference, find_references
from antiphon.mcp.server_manager import ServerChanges, ServerManager
from antiphon.types.accounts import ClientAct
from antiphon.types.errors import Conflict, Forbidden, InvalidRequest, NotFound
from antiphon.web import server_views
from antiphon.web.http import read_json
from antiphon.web.server_views import ServerList, ServerView
from antiphon.web.session import admin_client, current_site, require_admin, respond_with
from antiphon.web.site import Site

log = logging.getLogger(__name__)

routes = Blueprint("server_changes", __name__)

MOST_PAIRS = 50
"""Most headers, and most variables, of one server."""
VARIABLES, KEYRING = "MCP_", "mcp/"
"""Beginnings of the variables, and of the entries of the keyring, that are for MCP servers."""

Pairs = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=200)],
        Annotated[str, Meta(max_length=8_000)],
    ],
    Meta(max_length=MOST_PAIRS),
]


class NewServer(msgspec.Struct, frozen=True, kw_only=True):
    """Server to add: a URL with its headers, or a command with its variables.

    A variable without a value, null, has the value that this program has. Values may refer to
    variables and secrets, as in the file: `${VAR}`, `${keyring:service/name}`.
    """

    name: Annotated[str, Meta(min_length=1, max_length=48)]
    url: Annotated[str, Meta(max_length=4_000)] | None = None
    transport: Literal["http", "sse"] = "http"
    headers: Pairs = {}
    command: Annotated[
        tuple[Annotated[str, Meta(max_length=8_000)], ...], Meta(max_length=200)
    ] = ()
    env: Annotated[
        dict[
            Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,199}\Z")],
            Annotated[str, Meta(max_length=8_000)] | None,
        ],
        Meta(max_length=MOST_PAIRS),
    ] = {}

    def __repr__(self) -> str:
        """Omit all that may hold secrets."""
        return f"NewServer(name={self.name!r})"


class ChangedServer(msgspec.Struct, frozen=True):
    """Change of a server: whether it is switched on."""

    enabled: bool


class Nothing(msgspec.Struct, frozen=True):
    """Empty body."""


class RemovedServer(msgspec.Struct, frozen=True):
    """Name of the server that was removed."""

    name: str


class ReloadedServers(msgspec.Struct, frozen=True):
    """Changes of the configuration that were read, and the servers after them."""

    changes: ServerChanges
    servers: ServerList


routes.before_request(require_admin)


@routes.post("/api/servers")
def add_server() -> Response:
    """Add a server and start it, without waiting until it is ready."""
    body, site = read_json(NewServer), current_site()
    entry = _read_entry(site, body)
    manager, client = _require_manager(site), admin_client()

    async def add() -> ServerView:
        await manager.check_addable(body.name, entry)
        await _record(site, client, "mcp_server.added", body.name)
        await manager.add(body.name, entry, site.relays.revoke_server_grants)
        return _view(site, manager, body.name)

    return respond_with(add(), 201)


@routes.patch("/api/servers/<name>")
def switch_server(name: str) -> Response:
    """Switch a server on or off, now and at later starts."""
    enabled, site = read_json(ChangedServer).enabled, current_site()
    manager, client = _require_manager(site), admin_client()

    async def switch() -> ServerView:
        await manager.check_switchable(name)
        what: ClientAct = "mcp_server.enabled" if enabled else "mcp_server.disabled"
        await _record(site, client, what, name)
        await manager.set_enabled(name, site.relays.revoke_server_grants, enabled=enabled)
        return _view(site, manager, name)

    return respond_with(switch())


@routes.post("/api/servers/<name>/restart")
def restart_server(name: str) -> Response:
    """Start a server again, running or failed, without waiting until it is ready."""
    read_json(Nothing)
    site = current_site()
    manager, client = _require_manager(site), admin_client()

    async def restart() -> ServerView:
        await manager.find_restartable(name)
        await _record(site, client, "mcp_server.restarted", name)
        await manager.restart(name, site.relays.revoke_server_grants)
        return _view(site, manager, name)

    return respond_with(restart())


@routes.delete("/api/servers/<name>")
def remove_server(name: str) -> Response:
    """Stop a server, remove it from the configuration, and revoke what was allowed for it."""
    site = current_site()
    manager, client = _require_manager(site), admin_client()

    async def remove() -> RemovedServer:
        manager.require_own(name)
        await _record(site, client, "mcp_server.removed", name)
        await manager.remove(name, site.relays.revoke_server_grants)
        return RemovedServer(name)

    return respond_with(remove())


@routes.post("/api/servers/reload")
def reload_servers() -> Response:
    """Read the configuration again: start what is new, stop what is gone, restart changes."""
    read_json(Nothing)
    site = current_site()
    manager, client = _require_manager(site), admin_client()

    async def reload() -> ReloadedServers:
        changes = await manager.reload(site.relays.revoke_server_grants)
        for name in changes.added:
            await _record(site, client, "mcp_server.added", name)
        for name in changes.changed:
            await _record(site, client, "mcp_server.changed", name)
        for name in changes.removed:
            await _record(site, client, "mcp_server.removed", name)
        return ReloadedServers(
            changes, server_views.list_servers(site.settings, site.tools, for_admin=True)
        )

    return respond_with(reload())


def _require_manager(site: Site) -> ServerManager:
    if site.tools.manager is None:
        raise Conflict(
            "This web chat was started without MCP servers.", hint="Start it without --no-servers."
        )
    return site.tools.manager


async def _record(site: Site, client: AsyncClient, what: ClientAct, name: str) -> None:
    """Record the act in the audit log, before it is done: what cannot be recorded is not done.

    Where nobody logs in, the key for a backend elsewhere need not be an administrator's, and what
    is done to servers of this machine is done without an entry then.
    """
    try:
        await client.record_act(what, name)
    except (Forbidden, NotFound) as problem:
        if site.policy.login != "none":
            raise
        log.info("the backend has no entry of %s %s: %s", what, name, problem)


def _view(site: Site, manager: ServerManager, name: str) -> ServerView:
    return server_views.view_server(site.settings, site.tools.server(name), manager)


def _read_entry(site: Site, body: NewServer) -> dict[str, Any]:
    """Return the server as an entry of the configuration.

    Raises `InvalidRequest`, and `Forbidden` for what may not be added here.
    """
    if bool(body.command) == bool(body.url):
        raise InvalidRequest("A server is a program or an address.", expected="`url` or `command`")
    if body.command:
        return _read_program(site, body)
    entry: dict[str, Any] = {"type": body.transport, "url": body.url}
    if _CONTROL.search(body.url or ""):
        raise InvalidRequest("The address has a line break or another control character.")
    if body.headers:
        _check_headers(body.headers)
        entry["headers"] = body.headers
    if site.policy.login != "none":
        _check_references(entry)
        entry["guarded"] = True
    return entry


def _read_program(site: Site, body: NewServer) -> dict[str, Any]:
    if not site.settings.web_mcp_programs:
        raise Forbidden(
            "Programs are not added in the page here: it could start any program of this machine.",
            expected="`url`; or the setting web_mcp_programs",
            hint="In a terminal: antiphon mcp add NAME -- COMMAND; then look for new servers.",
        )
    if not body.command[0] or any(_CONTROL.search(each) for each in body.command):
        raise InvalidRequest(
            "The command cannot be used.",
            expected="a program, and arguments without control characters",
        )
    entry: dict[str, Any] = {"command": body.command[0], "args": list(body.command[1:])}
    if body.env:
        entry["env"] = {
            name: f"${{{name}}}" if value is None else value for name, value in body.env.items()
        }
    return entry


def _check_headers(headers: dict[str, str]) -> None:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or _CONTROL.search(value):
            raise InvalidRequest(
                "A header cannot be used.",
                expected="a name of letters, digits and -, and a value in one line",
                received=name[:60],
                where="headers",
            )


def _check_references(entry: dict[str, Any]) -> None:
    """Raise `Forbidden` for references to secrets that are not meant for MCP servers."""
    refused = next((each for each in find_references(entry) if not _is_for_servers(each)), None)
    if refused is not None:
        raise Forbidden(
            f"A server that is added here may not be sent {refused.name[:60]}.",
            expected=f"${{{VARIABLES}...}}, or ${{keyring:{KEYRING}...}}",
            hint="`antiphon mcp add`, in a terminal, may name any variable and secret.",
        )


def _is_for_servers(reference: Reference) -> bool:
    match reference.kind:
        case "variable":
            return reference.name.startswith(VARIABLES)
        case "secret":
            return reference.name.startswith(KEYRING)
        case "unknown":
            return True  # it is reported as a problem of the server


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}", re.ASCII)
