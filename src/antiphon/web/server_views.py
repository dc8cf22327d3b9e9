"""MCP servers of the web chat as the page shows them.

Names, titles and problems come from servers and from configuration files: they are untrusted text.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from antiphon.mcp.client.server_listing import ServerState
from antiphon.mcp.server_manager import ServerManager
from antiphon.settings.settings import Settings
from antiphon.web.tools import Toolset


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """Configuration of a server: the `file` that holds it, `is_own` if it can be changed here.

    `target` is the command line or the URL; where people log in, the program or the host alone:
    the rest may hold secrets of the operator.
    """

    transport: str
    file: str
    is_own: bool
    target: str


class ServerView(msgspec.Struct, frozen=True, kw_only=True):
    """A server.

    `login` is the command that logs in at it, if that is what it lacks. `stderr`, `login` and
    `source`, which may hold details for operators, are only for administrators.
    """

    name: str
    title: str
    version: str
    status: str
    problem: str
    tools: int
    instructions: str
    has_prompts: bool
    has_resources: bool
    stderr: str = ""
    login: str = ""
    source: SourceView | None = None


class ServerList(msgspec.Struct, frozen=True, kw_only=True):
    """The servers, and what the user may do about them.

    `may_change` is true for an administrator. `file` is where servers are added, empty if they
    cannot be; `config` is the file of `--config`, if there is one. `programs` is true if programs
    can be added too. `unapproved` are sentences about files that need an approval first.
    """

    data: Sequence[ServerView]
    may_change: bool
    programs: bool = False
    file: str = ""
    config: str = ""
    unapproved: Sequence[str] = ()


def list_servers(settings: Settings, tools: Toolset, *, for_admin: bool) -> ServerList:
    """Return the servers in the order of the configuration."""
    manager = tools.manager if for_admin else None
    data = [view_server(settings, each, manager) for each in tools.servers()]
    if manager is None:
        return ServerList(data=data, may_change=False)
    return ServerList(
        data=data,
        may_change=True,
        programs=settings.web_mcp_programs,
        file=manager.own_file,
        config=settings.config or "",
        unapproved=manager.unapproved,
    )


def view_server(
    settings: Settings, state: ServerState, manager: ServerManager | None
) -> ServerView:
    """Return one server; with the manager, as an administrator sees it."""
    view = ServerView(
        name=state.server,
        title=state.title,
        version=state.version,
        status=state.status,
        problem=state.why,
        tools=state.tools,
        instructions=state.instructions,
        has_prompts="prompts" in state.capabilities,
        has_resources="resources" in state.capabilities,
    )
    if manager is None:
        return view
    return msgspec.structs.replace(
        view,
        stderr="\n".join(state.stderr),
        login=_login_command(settings, state),
        source=_view_source(settings, manager, state.server),
    )


def _view_source(settings: Settings, manager: ServerManager, name: str) -> SourceView:
    source = manager.source(name)
    return SourceView(
        transport=source.transport,
        file=source.file,
        is_own=source.is_own,
        target=source.target if settings.login == "none" else source.place,
    )


def _login_command(settings: Settings, state: ServerState) -> str:
    if state.status != "failed" or state.http_status != 401:
        return ""
    command = ["antiphon", "mcp", "login", state.server]
    return shlex.join([*command, "--config", settings.config] if settings.config else command)
