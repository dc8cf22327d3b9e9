"""Which files of other people may start servers: those whose content a person has seen.

A folder may come from anybody. What its files would start is approved as it is written, in that
place; when it changes, it is asked for again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from antiphon.errors import BadSettings
from antiphon.tools import private_file

NAME = "mcp-approved.json"
Tables = Mapping[str, Mapping[str, Any]]


class Approvals:
    """Approved content by file; a list that cannot be read approves nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def cover(self, file: Path, tables: Tables) -> bool:
        """Whether these servers of the file were approved."""
        return self._all().get(_place(file)) == digest(tables)

    def approve(self, file: Path, tables: Tables) -> None:
        """Let the file start these servers. Raises `BadSettings` where that cannot be kept."""
        try:
            with private_file.alone(self._file):
                approved = self._all() | {_place(file): digest(tables)}
                private_file.write(self._file, msgspec.json.encode(approved))
        except OSError as error:
            raise BadSettings(
                f"What is approved cannot be kept: {error.strerror}.",
                expected=f"to write {self._file}",
            ) from error

    def _all(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            return {}


def digest(tables: Tables) -> str:
    """What these servers are, in the order in which they are written, in a few letters."""
    return hashlib.sha256(msgspec.json.encode(tables)).hexdigest()


def _place(file: Path) -> str:
    return str(file.resolve())
