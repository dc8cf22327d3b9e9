"""Where servers are written down, and which of them are meant.

A file that is named, by `--config` or the setting, is used alone. Else there are two places, each
with JSON and with `[servers.NAME]` tables that complete it: the working folder (`.mcp.json`, and
only what was approved), which wins, and the user's own config folder (`mcp.json`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.errors import AntiphonError, BadSettings, NotFound
from antiphon.folders import config_folder
from antiphon.settings import Settings
from antiphon.tools.mcp import own_file
from antiphon.tools.mcp.approvals import Approvals, Tables
from antiphon.tools.mcp.config import ServerConfig
from antiphon.tools.mcp.keyrings import Keyring, system_keyring
from antiphon.tools.mcp.own_file import OwnFile
from antiphon.tools.mcp.references import Missing, Reference, filled
from antiphon.tools.mcp.written import Written, legal, tables_of, written
from antiphon.trust import read_regular, trusted_files

PROJECTS = ".mcp.json"
TOML = "antiphon.toml"


class Unapproved(msgspec.Struct, frozen=True):
    """A file whose servers were not approved, or are others by now; none of them is started.

    `problem` says why it cannot be read, if it cannot: then nobody can approve it either.
    """

    file: Path
    servers: tuple[str, ...] = ()
    problem: str = ""


class Problem(msgspec.Struct, frozen=True):
    """A server that cannot be used, and why."""

    server: str
    why: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is written down, each name once, with what it refers to still open."""

    servers: tuple[Written, ...]
    unapproved: tuple[Unapproved, ...] = ()

    def named(self, name: str) -> Written:
        """The server of this name. Raises `NotFound`."""
        for each in self.servers:
            if each.config.name == name:
                return each
        names = ", ".join(each.config.name for each in self.servers)
        raise NotFound(
            f"there is no MCP server {name}",
            expected=f"one of: {names}" if names else None,
            hint=None if names else "none is written down; `antiphon mcp add --help` says how.",
        )


class Usable(msgspec.Struct, frozen=True, kw_only=True):
    """Servers that can be started, and what keeps others from it."""

    configs: tuple[ServerConfig, ...]
    problems: tuple[Problem, ...] = ()


def find(settings: Settings, environ: Mapping[str, str], cwd: Path) -> Found:
    """The servers that are meant here. Raises `BadSettings` for a file that cannot be read."""
    if settings.config is not None:
        file = Path(settings.config)
        return Found(servers=_located(written(_read(file), str(file)), file.parent))
    folder = config_folder(environ)
    own = _place(folder, own_file.NAME, _if_there(folder / own_file.NAME), settings.servers)
    theirs, unapproved = _foreign(settings, cwd, approved(environ))
    names = {each.config.name for each in theirs}
    return Found(
        servers=(*theirs, *(each for each in own if each.config.name not in names)),
        unapproved=unapproved,
    )


def usable(
    servers: Iterable[Written],
    environ: Mapping[str, str],
    keyring: Callable[[], Keyring | None] = system_keyring,
) -> Usable:
    """The servers with what they refer to. Nothing is looked up for one that is switched off."""

    def value(reference: Reference) -> str | None:
        if reference.kind == "variable":
            return environ.get(reference.name)
        service, _, name = reference.name.partition("/")
        ring = keyring()
        return ring.get(service, name) if ring is not None else None

    configs: list[ServerConfig] = []
    problems: list[Problem] = []
    for each in servers:
        config = each.config
        try:
            why = each.problem
            if not why:
                configs.append(filled(config, value) if config.enabled else config)
        except (Missing, AntiphonError) as error:
            why = str(error)
        if why:
            problems.append(Problem(config.name, why))
    return Usable(configs=tuple(configs), problems=tuple(problems))


def approved(environ: Mapping[str, str]) -> Approvals:
    """What this user has approved."""
    return Approvals(trusted_files(environ).file)


def own(settings: Settings, environ: Mapping[str, str]) -> OwnFile:
    """The file that servers are added to: the one that is named, else the user's own."""
    return OwnFile(Path(settings.config or config_folder(environ) / own_file.NAME))


def foreign_tables(file: Path) -> dict[str, dict[str, Any]]:
    """The servers of a file that may be anybody's, as they are written. Raises `BadSettings`."""
    try:
        return tables_of(read_regular(file), str(file))
    except OSError as error:
        raise BadSettings(
            f"{file} cannot be read: {error.strerror}.", expected="a file of MCP servers"
        ) from error


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        return tables_of(file.read_bytes(), str(file))
    except OSError as error:
        raise BadSettings(
            f"{file} cannot be read: {error.strerror}.", expected="a file of MCP servers"
        ) from error


def _if_there(file: Path) -> dict[str, dict[str, Any]]:
    return _read(file) if file.is_file() else {}


def _brought(file: Path) -> Tables:
    """The servers of a folder's file, read once; none where there is no such file."""
    return foreign_tables(file) if file.is_file() else _NOTHING


def _place(folder: Path, name: str, listed: Tables, tables: Tables) -> tuple[Written, ...]:
    """The servers of one place: those of its JSON, completed by tables, and those of tables."""
    completed = {server: {**each, **tables.get(server, {})} for server, each in listed.items()}
    added = {server: each for server, each in tables.items() if server not in listed}
    return (
        *_located(written(completed, str(folder / name)), folder),
        *_located(written(added, str(folder / TOML)), folder),
    )


def _foreign(
    settings: Settings, cwd: Path, approvals: Approvals
) -> tuple[tuple[Written, ...], tuple[Unapproved, ...]]:
    """The servers of the working folder that were approved, and the file that was not.

    Tables of its settings file are there only where that file as a whole is trusted.
    """
    file, projects, unapproved = cwd / PROJECTS, _NOTHING, _NONE
    tables = settings.foreign_servers
    try:
        projects = _brought(file)
    except BadSettings as error:  # of a stranger, who is not to keep one from one's own servers
        unapproved = (Unapproved(file, problem=error.message),)
    if projects and not approvals.cover(file, projects):
        unapproved = (Unapproved(file, tuple(legal(projects).values())),)
        # A table that only completes a server is none by itself.
        tables = {name: each for name, each in tables.items() if name not in projects}
        projects = _NOTHING
    servers = _place(cwd, PROJECTS, projects, tables)
    return tuple(replace(each, config=_harmless(each.config)) for each in servers), unapproved


_NOTHING: Tables = {}
_NONE: tuple[Unapproved, ...] = ()


def _harmless(config: ServerConfig) -> ServerConfig:
    """Without what only the user's own files may say."""
    return replace(config, trusted=False, backend=False)


def _located(servers: Iterable[Written], folder: Path) -> tuple[Written, ...]:
    """The servers in folders relative to the file that names them."""
    return tuple(
        replace(each, config=replace(each.config, cwd=_within(folder, each.config.cwd)))
        for each in servers
    )


def _within(folder: Path, cwd: str | None) -> str | None:
    if cwd is None or cwd.startswith("${"):
        return cwd
    return str(folder / Path(cwd).expanduser())
