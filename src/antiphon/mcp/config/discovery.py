"""Where servers are written down, and which of them are meant.

A file that is named, by `--config` or the setting, is used alone. Else there are two places, each
with JSON and with `[servers.NAME]` tables that complete it: the working folder (`.mcp.json`, and
only what was approved), which wins, and the user's own config folder (`mcp.json`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.mcp.config.interpolation import Missing, Reference, filled
from antiphon.mcp.config.keyrings import Keyring, system_keyring
from antiphon.mcp.config.parser import Written, legal, tables_of, written
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import is_object
from antiphon.settings import private_files
from antiphon.settings.paths import config_folder
from antiphon.settings.settings import Settings
from antiphon.settings.trust import TrustedFiles, open_trust_record, place, read_regular
from antiphon.types.errors import (
    AntiphonError,
    BadSettings,
    InvalidRequest,
    NotFound,
    install_hint,
)

# The user's own `mcp.json`: what `antiphon mcp add` writes, in the form that others have too.


NAME = "mcp.json"


class OwnFile:
    """Servers are added and removed; whatever else is in the file stays as it is."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, name: str, table: Mapping[str, Any], *, replace: bool = False) -> bool:
        """Write the server down; returns whether it took the place of another.

        Raises `InvalidRequest` where it would and may not.
        """
        with self._changing() as servers:
            replaced = name in servers
            if replaced and not replace:
                raise InvalidRequest(
                    f"{self.file} has a server {name} already",
                    hint="--replace puts it in its place.",
                )
            servers[name] = dict(table)
        return replaced

    def remove(self, name: str) -> bool:
        """Strike the server out; returns whether it was there."""
        with self._changing() as servers:
            return servers.pop(name, None) is not None

    @contextmanager
    def _changing(self) -> Generator[dict[str, Any]]:
        """The servers, written back as they are in the end. Raises `BadSettings`."""
        try:
            with private_files.lock_file(self.file):
                whole = self._whole()
                before = msgspec.json.encode(whole)
                yield whole[_key(whole)]
                after = msgspec.json.encode(whole)
                if after != before:
                    private_files.write_private_file(
                        self.file, msgspec.json.format(after, indent=2) + b"\n"
                    )
        except OSError as error:
            raise BadSettings(f"{self.file} cannot be written: {error.strerror}.") from error

    def _whole(self) -> dict[str, Any]:
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


def _key(whole: dict[str, Any]) -> str:
    """Where the servers are: VS Code calls them otherwise."""
    return "servers" if "servers" in whole and "mcpServers" not in whole else "mcpServers"


# Which files of other people may start servers: those whose content a person has seen.


Tables = Mapping[str, Mapping[str, Any]]


class Approvals(TrustedFiles):
    """Trusted content by file, which can be changed; a list that cannot be read trusts nothing."""

    def cover(self, file: Path, tables: Tables) -> bool:
        """Whether these servers of the file were approved."""
        return self.covers(file, digest(tables))

    def approve(self, file: Path, tables: Tables) -> None:
        """Let the file start these servers. Raises `BadSettings` where that cannot be kept."""
        self.trust(file, digest(tables))

    def trust(self, file: Path, digest: str) -> None:
        """Let content of this digest count at this place. Raises `BadSettings`."""
        self._change(lambda known: known | {place(file): digest})

    def revoke(self, places: Collection[str]) -> list[str]:
        """Trust nothing at these places any more; returns those where something was trusted."""
        revoked: list[str] = []

        def without(known: dict[str, str]) -> dict[str, str]:
            revoked.extend(each for each in known if each in places)
            return {each: known[each] for each in known if each not in places}

        self._change(without)
        return revoked

    def _change(self, changed: Callable[[dict[str, str]], dict[str, str]]) -> None:
        try:
            with private_files.lock_file(self.file):
                private_files.write_private_file(
                    self.file, msgspec.json.encode(changed(self.all()))
                )
        except OSError as error:
            raise BadSettings(
                f"What is trusted cannot be kept: {error.strerror}.",
                expected=f"to write {self.file}",
            ) from error


def digest(tables: Tables) -> str:
    """What these servers are, in the order in which they are written, in a few letters."""
    return hashlib.sha256(msgspec.json.encode(tables)).hexdigest()


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
    own = _place(folder, NAME, _if_there(folder / NAME), settings.servers)
    theirs, unapproved = _foreign(settings, cwd, approved(environ))
    names = {each.config.name for each in theirs}
    return Found(
        servers=(*theirs, *(each for each in own if each.config.name not in names)),
        unapproved=unapproved,
    )


def has_extra() -> bool:
    """Return whether the library of the extra `mcp` is there, which servers are started with."""
    return find_spec("mcp") is not None


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
        if ring is None:
            missing = "" if find_spec("keyring") else f" {install_hint('keyring')}"
            raise BadSettings(f"no keyring can be read here for {service}/{name}.{missing}")
        return ring.get(service, name)

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
    return Approvals(open_trust_record(environ).file)


def own(settings: Settings, environ: Mapping[str, str]) -> OwnFile:
    """The file that servers are added to: the one that is named, else the user's own."""
    return OwnFile(Path(settings.config or config_folder(environ) / NAME))


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
