"""What a person allowed for good: a file of their own, which nobody else may read or write."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from antiphon.errors import BadSettings
from antiphon.tools import private_file
from antiphon.tools.questions import UNBOUND, Grant, ModelServer, Shape, granted

NAME = "grants.json"
LARGEST = 16 * 1024 * 1024  # bytes: some hundred times what a person would ever allow


class _Content(msgspec.Struct):
    grants: list[Grant] = []


class GrantsFile:
    """Grants that outlast the program. Each question to it reads the file, so that programs that
    run side by side agree.

    A file that cannot be read, or that somebody else may write, grants nothing and is not written
    to; `warn` is told why in a sentence, once.
    """

    def __init__(
        self, file: str | os.PathLike[str], warn: Callable[[str], None] | None = None
    ) -> None:
        self._file = Path(file)
        self._warn = warn
        self._warned: set[str] = set()

    def known(self, server: str, own_name: str, by: ModelServer = UNBOUND) -> Grant | None:
        """The tool as it was allowed for calls of this model server, None where it was not."""
        for each in self.all():
            if (each.server, each.own_name, each.asked_by) == (server, own_name, by):
                return each
        return None

    def all(self) -> list[Grant]:
        """Everything that is allowed, in the order in which it was."""
        try:
            return self._read()
        except BadSettings as error:
            self._complain(error.message)
            return []

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
            grants[:] = [*kept, *(granted(each, by) for each in shapes)]

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
            with private_file.alone(self._file):
                grants = self._read()
                yield grants
                private_file.write(self._file, msgspec.json.encode(_Content(grants)))
        except (OSError, UnicodeError) as error:
            raise BadSettings(
                f"What is allowed cannot be kept: {error}", expected=f"to write {self._file}"
            ) from error

    def _read(self) -> list[Grant]:
        """Raises `BadSettings` where the file cannot be believed."""
        try:
            with self._file.open("rb") as opened:
                _refuse_foreign(self._file, os.fstat(opened.fileno()))
                return msgspec.json.decode(opened.read(LARGEST), type=_Content).grants
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, UnicodeError) as error:
            raise BadSettings(
                f"{self._file} cannot be read, so nothing in it is allowed: {error}",
                hint="Mend it or remove it.",
            ) from error

    def _complain(self, text: str) -> None:
        if self._warn is not None and text not in self._warned:
            self._warned.add(text)
            self._warn(text)


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
