"""What the settings say of a tool: patterns of names, which decide before anybody is asked."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from antiphon.settings import private_files
from antiphon.tools.questions import UNBOUND, Grant, ModelServer, Shape
from antiphon.types.errors import BadSettings
from antiphon.types.messages import Tool

Verdict = Literal["allow", "ask", "deny"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Patterns of tool names, by which calls are decided before anybody is asked.

    A pattern is `fnmatch`'s, and meant for a whole name as the model uses it: `get_*`, `git__*`,
    `git__status`. `git:status`, with the server's own names, does as well. `deny` beats `ask`,
    which beats `allow`; what a person allowed for longer beats `ask`, as it answered it.
    """

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `TypeError` for a text: by its letters, a `*` among them would mean every tool."""
        for name in self.__struct_fields__:
            given: object = getattr(self, name)
            if isinstance(given, str):
                raise TypeError(f"`{name}` is a tuple of patterns; got {given!r}: ({given!r},)")

    def verdict(self, tool: Tool) -> Verdict | None:
        """What the rules say of this tool, None where they say nothing."""
        if _named(tool, self.deny):
            return "deny"
        if _named(tool, self.ask):
            return "ask"
        return "allow" if _named(tool, self.allow) else None


NO_RULES = Rules()


def by_default(tool: Tool) -> Verdict:
    """What holds where no rule speaks: the program's own functions run, other tools ask.

    A server's word that a tool only reads is believed where the server is trusted; its word that a
    tool destroys is believed everywhere.
    """
    harmless = tool.trusted and tool.hints.read_only and not tool.hints.destructive
    return "allow" if tool.server is None or harmless else "ask"


def _named(tool: Tool, patterns: Sequence[str]) -> bool:
    names = [tool.spec.name]
    if tool.server is not None:
        names += [f"{tool.server}{mark}{tool.own_name}" for mark in ("__", ":")]
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


# What a person allowed for good: a file of their own, which nobody else may read or write.


NAME = "grants.json"
LARGEST = 16 * 1024 * 1024  # bytes: some hundred times what a person would ever allow
SETTLED_SECONDS = 0.1  # until a file that changes again shows it, on systems with coarse clocks


class _Content(msgspec.Struct):
    grants: list[Grant] = []


class _Known(NamedTuple):
    """The grants as they were read, and how the file looked then; None where it may yet change."""

    looks: tuple[int, ...] | None
    grants: Sequence[Grant]
    by_tool: Mapping[tuple[str, str, ModelServer | None], Grant]


class GrantsFile:
    """Grants that outlast the program. Each question to it looks at the file, and reads it where it
    has changed, so that programs that run side by side agree and an event loop may ask.

    A file that cannot be read, or that somebody else may write, grants nothing and is not written
    to; `warn` is told why in a sentence, once.
    """

    def __init__(
        self, file: str | os.PathLike[str], warn: Callable[[str], None] | None = None
    ) -> None:
        self._file = Path(file)
        self._warn = warn
        self._warned: set[str] = set()
        self._last = _NOTHING

    def known(self, server: str, own_name: str, by: ModelServer = UNBOUND) -> Grant | None:
        """The tool as it was allowed for calls of this model server, None where it was not."""
        return self._current().by_tool.get((server, own_name, by))

    def all(self) -> list[Grant]:
        """Everything that is allowed, in the order in which it was."""
        return list(self._current().grants)

    def add(self, shapes: Sequence[Shape], by: ModelServer = UNBOUND) -> None:
        """Allow these from now on, for calls of this model server.

        Raises `BadSettings` where the file cannot be used.
        """
        new = {(each.server, each.own_name) for each in shapes}
        with self._changing() as grants:
            kept = [
                each
                for each in grants
                if (each.server, each.own_name) not in new or each.asked_by not in (by, None)
            ]
            grants[:] = [*kept, *(Grant.of(each, by) for each in shapes)]

    def revoke(self, server: str, own_name: str | None = None) -> int:
        """Ask again for this tool, or for every tool of the server; returns how many it was."""
        with self._changing() as grants:
            kept = [
                each
                for each in grants
                if each.server != server or own_name not in (None, each.own_name)
            ]
            revoked = len(grants) - len(kept)
            grants[:] = kept
        return revoked

    @contextmanager
    def _changing(self) -> Generator[list[Grant]]:
        """The grants, written back as they are in the end; other programs wait meanwhile."""
        try:
            with private_files.lock_file(self._file):
                grants = list(self._read().grants)
                yield grants
                private_files.write_private_file(self._file, msgspec.json.encode(_Content(grants)))
        except (OSError, UnicodeError) as error:
            raise BadSettings(
                f"What is allowed cannot be kept: {error}", expected=f"to write {self._file}"
            ) from error

    def _current(self) -> _Known:
        """What the file says; it is read where it looks otherwise than when it was read last."""
        if self._last.looks is None or self._last.looks != _looks_of(self._file):
            try:
                self._last = self._read()
            except BadSettings as error:
                self._complain(error.message)
                self._last = _NOTHING
        return self._last

    def _read(self) -> _Known:
        """Raises `BadSettings` where the file cannot be believed."""
        try:
            with self._file.open("rb") as opened:
                status = os.fstat(opened.fileno())
                _refuse_foreign(self._file, status)
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
        return _Known(_looks(status) if settled else None, grants, by_tool)

    def _complain(self, text: str) -> None:
        if self._warn is not None and text not in self._warned:
            self._warned.add(text)
            self._warn(text)


_NOTHING = _Known(None, (), {})


def _looks_of(file: Path) -> tuple[int, ...] | None:
    """Return how the file looks now; None where that cannot be told."""
    try:
        return _looks(file.stat())
    except OSError:
        return None


def _looks(status: os.stat_result) -> tuple[int, ...]:
    """Return what differs between any two versions of a file."""
    return (
        *(status.st_dev, status.st_ino, status.st_size, status.st_uid, status.st_mode),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )


def _refuse_foreign(file: Path, status: os.stat_result) -> None:
    """Raises `BadSettings` where others can write to the file: they would allow what they like."""
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadSettings(
            f"{file} can be written by others, so nothing in it is allowed.",
            expected="a file of your own, with mode 0600",
            received=f"owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}",
            hint=f"Look at what it says; then chmod 600 {file}.",
        )
