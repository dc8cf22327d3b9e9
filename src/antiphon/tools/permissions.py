"""Permission rules of the settings, and the file of granted tools."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from antiphon.settings import private_files
from antiphon.settings.settings import Settings
from antiphon.tools.questions import UNBOUND, ModelServer, ToolGrant, ToolIdentity
from antiphon.types.errors import BadSettings
from antiphon.types.messages import Tool

Verdict = Literal["allow", "ask", "deny"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Patterns of tool names that decide about calls before a person is asked.

    Patterns are `fnmatch`'s and match the whole name as the model uses it: `get_*`, `git__*`,
    `git__status`. `git:status`, with the server's own names, works too. `deny` overrides `ask`, and
    `ask` overrides `allow`; a grant of the person overrides `ask`.

    A pattern of `allow` that begins with the name of a server allows tools of that server only.
    That name ends at the first `:`, else at the first `__`: `a__b__*` means tools of the server
    `a`, and `a__b:*` those of the server `a__b`. Patterns of `ask` and `deny` match both.

    A pattern of `allow` that does not begin with a wildcard means the user's own server of that
    name, not one that a project or an editor put in its place; those that are in `allow_here` too,
    as the command line names them, mean whichever server has the name.
    """

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    allow_here: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `TypeError` for a string, whose letters would be patterns, also `*`."""
        for name in self.__struct_fields__:
            given: object = getattr(self, name)
            if isinstance(given, str):
                raise TypeError(f"`{name}` is a tuple of patterns; got {given!r}: ({given!r},)")

    def verdict(self, tool: Tool) -> Verdict | None:
        """Return the decision of the rules, None if no pattern matches."""
        if matches(tool, self.deny):
            return "deny"
        if matches(tool, self.ask):
            return "ask"
        meant = [pattern for pattern in self.allow if self._may_mean(tool, pattern)]
        return "allow" if matches(tool, meant) else None

    def _may_mean(self, tool: Tool, pattern: str) -> bool:
        """Return whether a pattern of `allow` may mean a tool that it matches."""
        is_of_own_server = pattern not in self.allow_here and not _WILDCARD.match(pattern)
        return not (tool.replaces_own and is_of_own_server) and _may_mean(tool, pattern)

    def explain_denial(self, name: str) -> str:
        """Return the reason of a denial for the model."""
        return f"The settings here do not allow {name}. Do not try it again."


NO_RULES = Rules()


def rules_from_settings(settings: Settings, kind: type[Rules] = Rules) -> Rules:
    """Return the rules of the settings, as rules of this kind."""
    return kind(
        allow=settings.allow,
        ask=settings.ask,
        deny=settings.deny,
        allow_here=settings.typed_allow,
    )


def default_verdict(tool: Tool) -> Verdict:
    """Return the decision if no rule matches: the program's functions run unless they ask.

    A server's claim that a tool is read-only is believed if the server is trusted; its claim that a
    tool is destructive is always believed.
    """
    harmless = tool.trusted and tool.hints.read_only and not tool.hints.destructive
    is_own = tool.server is None and not (tool.asks or tool.asks_each_time)
    return "allow" if is_own or harmless else "ask"


def matches(tool: Tool, patterns: Sequence[str]) -> bool:
    """Return whether one of the patterns matches a name of the tool."""
    names = [tool.spec.name]
    if tool.server is not None:
        names += [f"{tool.server}{mark}{tool.own_name}" for mark in ("__", ":")]
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _may_mean(tool: Tool, pattern: str) -> bool:
    """Return whether a pattern that names a server names the tool's.

    Names of servers and tools may contain `__`, so one text can be the name of two tools. The name
    that the model uses is unique, so a pattern that is exactly this name means its tool.
    """
    if tool.server is None or pattern == tool.spec.name:
        return True
    literal = _WILDCARD.split(pattern, maxsplit=1)[0]
    mark = ":" if ":" in literal else "__"
    server, named, _ = literal.partition(mark)
    return not named or server == tool.server


_WILDCARD = re.compile(r"[*?[]")


# Lasting grants, in a private file of the user.


NAME = "grants.json"
FOLDER = "grants"  # with the files of owners other than the user of this machine
LARGEST = 16 * 1024 * 1024  # bytes: some hundred times what a person would ever allow
SETTLED_SECONDS = 0.1  # on systems with coarse clocks, two changes within this have one time


class _Content(msgspec.Struct):
    grants: list[ToolGrant] = []


class _Snapshot(NamedTuple):
    """Grants of the file, and its status when read; None if it may still change unnoticed."""

    identity: tuple[int, ...] | None
    grants: Sequence[ToolGrant]
    by_tool: Mapping[tuple[str, str, ModelServer | None], ToolGrant]


class GrantsFile:
    """Grants that outlast the program.

    Each access checks the file's status and reads the file only if that changed, so programs
    running at the same time agree, and an event loop may call it. A file that cannot be read, or
    that others can write, grants nothing and is not written to; `warn` receives the reason once.
    """

    def __init__(
        self, file: str | os.PathLike[str], warn: Callable[[str], None] | None = None
    ) -> None:
        self._file = Path(file)
        self._warn = warn
        self._warned: set[str] = set()
        self._last = _NOTHING

    def find(self, server: str, own_name: str, by: ModelServer = UNBOUND) -> ToolGrant | None:
        """Return the tool as granted for calls of this model server, None if it is not."""
        return self._current().by_tool.get((server, own_name, by))

    def all(self) -> list[ToolGrant]:
        """Return all grants, oldest first."""
        return list(self._current().grants)

    def add(self, shapes: Sequence[ToolIdentity], by: ModelServer = UNBOUND) -> None:
        """Grant these tools from now on, for calls of this model server.

        Raises `BadSettings` if the file cannot be used.
        """
        new = {(each.server, each.own_name) for each in shapes}
        with self._edit() as grants:
            kept = [
                each
                for each in grants
                if (each.server, each.own_name) not in new or each.asked_by not in (by, None)
            ]
            grants[:] = [*kept, *(ToolGrant.of(each, by) for each in shapes)]

    def revoke(self, server: str, own_name: str | None = None) -> int:
        """Revoke the grants of this tool, or of all tools of the server; return their number."""
        with self._edit() as grants:
            kept = [
                each
                for each in grants
                if each.server != server or own_name not in (None, each.own_name)
            ]
            revoked = len(grants) - len(kept)
            grants[:] = kept
        return revoked

    @contextmanager
    def _edit(self) -> Generator[list[ToolGrant]]:
        """Yield the grants under a lock, then write them back."""
        try:
            with private_files.lock_file(self._file):
                grants = list(self._read().grants)
                yield grants
                private_files.write_private_file(self._file, msgspec.json.encode(_Content(grants)))
        except (OSError, UnicodeError) as error:
            raise BadSettings(
                f"What is allowed cannot be saved: {error}", expected=f"to write {self._file}"
            ) from error

    def _current(self) -> _Snapshot:
        """Return the file's grants, reading it only if its status changed."""
        try:
            identity = _identity(self._file.stat())
        except OSError:
            identity = None
        if self._last.identity is None or self._last.identity != identity:
            try:
                self._last = self._read()
            except BadSettings as error:
                if self._warn is not None and error.message not in self._warned:
                    self._warned.add(error.message)
                    self._warn(error.message)
                self._last = _NOTHING
        return self._last

    def _read(self) -> _Snapshot:
        """Read the file. Raises `BadSettings` if it cannot be trusted."""
        try:
            with self._file.open("rb") as opened:
                status = os.fstat(opened.fileno())
                _check_owner(self._file, status)
                grants = msgspec.json.decode(opened.read(LARGEST), type=_Content).grants
        except FileNotFoundError:
            return _NOTHING
        except (OSError, msgspec.DecodeError, UnicodeError) as error:
            raise BadSettings(
                f"{self._file} cannot be read, so nothing in it is allowed: {error}",
                hint="Mend it or remove it.",
            ) from error
        settled = time.time() - max(status.st_mtime, status.st_ctime) > SETTLED_SECONDS
        by_tool = {(each.server, each.own_name, each.asked_by): each for each in reversed(grants)}
        return _Snapshot(_identity(status) if settled else None, grants, by_tool)


def revoke_server_grants(folder: Path, server: str) -> int:
    """Revoke the grants of all owners for the tools of an MCP server; return their number.

    `folder` is the data folder. For a server that was removed or replaced: a later one of its name
    is asked about like any other. Raises `BadSettings` if this cannot be saved.
    """
    revoked = 0
    for file in (folder / NAME, *sorted((folder / FOLDER).glob("*.json"))):
        grants = GrantsFile(file)
        if any(each.server == server for each in grants.all()):
            revoked += grants.revoke(server)
    return revoked


_NOTHING = _Snapshot(None, (), {})


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Return fields that differ between any two versions of a file."""
    return (
        *(status.st_dev, status.st_ino, status.st_size, status.st_uid, status.st_mode),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )


def _check_owner(file: Path, status: os.stat_result) -> None:
    """Raise `BadSettings` if others can write to the file."""
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadSettings(
            f"{file} can be written by others, so nothing in it is allowed.",
            expected="a file of your own, with mode 0600",
            received=f"owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}",
            hint=f"Look at what it says; then chmod 600 {file}.",
        )
