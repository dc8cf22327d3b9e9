"""Locations of MCP server configuration.

A file named by `--config` or the setting is used alone. Otherwise there are two places, each with
JSON and with `[servers.NAME]` tables that complete it: the working folder (`.mcp.json`, only if
approved), which wins, and the user's config folder (`mcp.json`).

The user's own servers start in an empty folder: programs such as `npx` and `python -m` take code
from the folder in which they start, and the working folder may be anybody's.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.mcp.config.server_config import ParsedServer, legal_names, parse_json, parse_servers
from antiphon.settings import private_files
from antiphon.settings.paths import config_folder, data_folder
from antiphon.settings.settings import Settings
from antiphon.settings.trust import TrustedFiles, open_trust_record, read_regular
from antiphon.types.errors import BadSettings, InvalidRequest, NotFound
from antiphon.types.json_values import is_object

# The user's `mcp.json`, written by `antiphon mcp add` in the format that other programs use.


NAME = "mcp.json"


class UserConfigFile:
    """File of MCP servers. Adding and removing servers leaves everything else in it unchanged."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, name: str, table: Mapping[str, Any], *, replace: bool = False) -> bool:
        """Add the server; return whether it replaced another.

        Raises `InvalidRequest` if it exists and `replace` is False.
        """
        with self._edit() as servers:
            replaced = name in servers
            if replaced and not replace:
                raise InvalidRequest(
                    f"{self.file} has a server {name} already",
                    hint="--replace puts it in its place.",
                )
            servers[name] = dict(table)
        return replaced

    def remove(self, name: str) -> str | None:
        """Remove the server; return the name that it was shown by, None if it was not there."""
        with self._edit() as servers:
            there = _name_there(name, servers)
            shown = legal_names(servers).get(there)
            servers.pop(there, None)
        return shown

    def set_enabled(self, name: str, *, enabled: bool) -> bool:
        """Switch the server on or off for all programs; return False if the file lacks it."""
        with self._edit() as servers:
            table = servers.get(_name_there(name, servers))
            if not is_object(table):
                return False
            for key in ("enabled", "disabled"):
                table.pop(key, None)
            if not enabled:
                table["disabled"] = True
        return True

    @contextmanager
    def _edit(self) -> Generator[dict[str, Any]]:
        """Yield the file's servers, and write them back afterwards. Raises `BadSettings`."""
        try:
            with private_files.lock_file(self.file):
                whole = self._read_whole()
                before = msgspec.json.encode(whole)
                yield whole[_key(whole)]
                after = msgspec.json.encode(whole)
                if after != before:
                    private_files.write_private_file(
                        self.file, msgspec.json.format(after, indent=2) + b"\n"
                    )
        except OSError as error:
            raise BadSettings(f"{self.file} cannot be written: {error.strerror}.") from error

    def _read_whole(self) -> dict[str, Any]:
        try:
            whole = msgspec.json.decode(self.file.read_bytes(), type=dict[str, Any])
        except FileNotFoundError:
            return {"mcpServers": {}}
        except msgspec.DecodeError as error:
            raise BadSettings(
                f"{self.file} is not plain JSON, so nothing is written to it: {error}",
                hint="Comments would be lost. Mend it, or change it, by hand.",
            ) from error
        if not is_object(whole.setdefault(_key(whole), {})):
            raise BadSettings(f"{self.file}: `{_key(whole)}` is no table of servers.")
        return whole


def _name_there(name: str, servers: Mapping[str, Any]) -> str:
    """Return the name in the file of a server that is shown by this name."""
    shown = {legal: each for each, legal in legal_names(servers).items()}
    return name if name in servers else shown.get(name, name)


def _key(whole: dict[str, Any]) -> str:
    """Return the key of the servers: VS Code uses another."""
    return "servers" if "servers" in whole and "mcpServers" not in whole else "mcpServers"


def check_entry(name: str, entry: Mapping[str, Any]) -> ParsedServer:
    """Return the server that this entry of the file stands for. Raises `InvalidRequest`."""
    if legal_names([name])[name] != name:
        raise InvalidRequest(
            "a server cannot have this name",
            expected="letters, digits, - and _",
            received=name,
            hint=f"for instance {legal_names([name])[name]}",
        )
    url = entry.get("url")
    if url is not None and not str(url).startswith(("http://", "https://", "${")):
        raise InvalidRequest(
            "this is no address of a server",
            expected="http:// or https://, and a host",
            received=str(url),
        )
    (made,) = parse_servers({name: entry}, "the command line")
    if made.problem:
        raise InvalidRequest(f"the server {name} cannot be used: {made.problem}")
    return made


# Files of other people that may start servers, because a person approved their content.


Tables = Mapping[str, Mapping[str, Any]]


class Approvals(TrustedFiles):
    """Digests of approved content by file. A list that cannot be read approves nothing."""

    def covers_tables(self, file: Path, tables: Tables) -> bool:
        """Return whether these servers of the file were approved."""
        return self.covers(file, tables_digest(tables))

    def approve(self, file: Path, tables: Tables) -> None:
        """Approve these servers of the file. Raises `BadSettings` if this cannot be saved."""
        self.trust(file, tables_digest(tables))


def tables_digest(tables: Tables) -> str:
    """Return a digest of these servers, in the order of the file."""
    return hashlib.sha256(msgspec.json.encode(tables)).hexdigest()


START_FOLDER = "mcp"
"""The empty folder, in the user's data folder, in which the user's own servers start."""
PROJECTS = ".mcp.json"
TOML = "antiphon.toml"


class UnapprovedFile(msgspec.Struct, frozen=True):
    """File whose servers were not approved, or changed since; none of them is started.

    `problem` says why it cannot be read; such a file cannot be approved either.
    """

    file: Path
    servers: tuple[str, ...] = ()
    problem: str = ""

    @property
    def explanation(self) -> str:
        """A line for people: the problem, or how to approve the file."""
        return self.problem or (
            f"{self.file} names MCP servers ({', '.join(self.servers)}), which start once you have"
            f" approved them: antiphon trust {shlex.quote(self.file.name)}"
        )


class DiscoveredServers(msgspec.Struct, frozen=True, kw_only=True):
    """All configured servers, each name once; their references are not resolved yet."""

    servers: tuple[ParsedServer, ...]
    unapproved: tuple[UnapprovedFile, ...] = ()

    def get(self, name: str) -> ParsedServer:
        """Return the server of this name. Raises `NotFound`."""
        for each in self.servers:
            if each.config.name == name:
                return each
        names = ", ".join(each.config.name for each in self.servers)
        raise NotFound(
            f"there is no MCP server {name}",
            expected=f"one of: {names}" if names else None,
            hint=None if names else "none is configured; `antiphon mcp add --help` says how.",
        )


def find_servers(settings: Settings, environ: Mapping[str, str], cwd: Path) -> DiscoveredServers:
    """Return the configured servers. Raises `BadSettings` for a file that cannot be read."""
    if settings.config is not None:
        file = Path(settings.config)
        named = _with_absolute_cwd(parse_servers(_read(file), str(file)), file.parent)
        is_of_folder = file.resolve().is_relative_to(cwd.resolve())
        return DiscoveredServers(
            servers=named if is_of_folder else _with_start_folder(named, environ)
        )
    folder = config_folder(environ)
    file = folder / NAME
    tables = _read(file) if file.is_file() else {}
    own = _with_start_folder(_servers_of_place(folder, NAME, tables, settings.servers), environ)
    theirs, unapproved = _foreign_servers(settings, cwd, open_approvals(environ))
    names, own_names = ({each.config.name for each in some} for some in (theirs, own))
    marked = (
        replace(each, config=replace(each.config, replaces_own=each.config.name in own_names))
        for each in theirs
    )
    return DiscoveredServers(
        servers=(*marked, *(each for each in own if each.config.name not in names)),
        unapproved=unapproved,
    )


def _with_start_folder(
    servers: Iterable[ParsedServer], environ: Mapping[str, str]
) -> tuple[ParsedServer, ...]:
    start_folder = str(data_folder(environ) / START_FOLDER)
    return tuple(
        replace(each, config=replace(each.config, start_folder=start_folder)) for each in servers
    )


def open_approvals(environ: Mapping[str, str]) -> Approvals:
    """Return this user's approvals."""
    return Approvals(open_trust_record(environ).file)


def open_own_file(settings: Settings, environ: Mapping[str, str]) -> UserConfigFile:
    """Return the file that servers are added to: the one that is configured, else the user's."""
    return UserConfigFile(Path(settings.config or config_folder(environ) / NAME))


def read_foreign_tables(file: Path) -> dict[str, dict[str, Any]]:
    """Read the servers of an untrusted file, not validated. Raises `BadSettings`."""
    try:
        return parse_json(read_regular(file), str(file))
    except OSError as error:
        raise BadSettings(
            f"{file} cannot be read: {error.strerror}.", expected="a file of MCP servers"
        ) from error


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        return parse_json(file.read_bytes(), str(file))
    except OSError as error:
        raise BadSettings(
            f"{file} cannot be read: {error.strerror}.", expected="a file of MCP servers"
        ) from error


def _servers_of_place(
    folder: Path, name: str, listed: Tables, tables: Tables
) -> tuple[ParsedServer, ...]:
    """Return the servers of one place: of its JSON, completed by tables, and of its tables."""
    completed = {server: {**each, **tables.get(server, {})} for server, each in listed.items()}
    added = {server: each for server, each in tables.items() if server not in listed}
    return (
        *_with_absolute_cwd(parse_servers(completed, str(folder / name)), folder),
        *_with_absolute_cwd(parse_servers(added, str(folder / TOML)), folder),
    )


def _foreign_servers(
    settings: Settings, cwd: Path, approvals: Approvals
) -> tuple[tuple[ParsedServer, ...], tuple[UnapprovedFile, ...]]:
    """Return the approved servers of the working folder, and its unapproved file.

    Tables of its settings file are included only if that file as a whole is trusted.
    """
    file, listed, unapproved = cwd / PROJECTS, _NOTHING, _NONE
    tables = settings.foreign_servers
    try:
        listed = read_foreign_tables(file) if file.is_file() else _NOTHING
    except BadSettings as error:  # a stranger's file must not disable the user's own servers
        unapproved = (UnapprovedFile(file, problem=error.message),)
    if listed and not approvals.covers_tables(file, listed):
        unapproved = (UnapprovedFile(file, tuple(legal_names(listed).values())),)
        # A table that only completes a server is none by itself.
        tables = {name: each for name, each in tables.items() if name not in listed}
        listed = _NOTHING
    servers = _servers_of_place(cwd, PROJECTS, listed, tables)
    # Only the user's own files may trust a server or use it in the backend.
    return tuple(
        replace(each, config=replace(each.config, trusted=False, backend=False)) for each in servers
    ), unapproved


_NOTHING: Tables = {}
_NONE: tuple[UnapprovedFile, ...] = ()


def _with_absolute_cwd(servers: Iterable[ParsedServer], folder: Path) -> tuple[ParsedServer, ...]:
    """Resolve working folders relative to the file that names them."""

    def absolute(cwd: str | None) -> str | None:
        if cwd is None or cwd.startswith("${"):
            return cwd
        return str(folder / Path(cwd).expanduser())

    return tuple(
        replace(each, config=replace(each.config, cwd=absolute(each.config.cwd)))
        for each in servers
    )
