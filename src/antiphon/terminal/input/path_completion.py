"""Complete paths of files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

MOST = 200
"""Paths proposed from one folder."""
LOOKED_AT = 5_000
"""Names of a folder that are examined: a larger folder is not worth the pause."""


class PathEntry(msgspec.Struct, frozen=True):
    """File, or folder, whose path ends in a slash."""

    path: str
    folder: bool

    @property
    def what(self) -> str:
        """Kind in a word."""
        return "folder" if self.folder else ""


def beginning(begun: str, base: Path | None = None) -> list[PathEntry]:
    """Return paths that begin with `begun`: folders, then files; hidden ones only after a dot.

    Names with control characters are left out: they could not be typed either.
    """
    head, slash, name = begun.rpartition("/")
    folder = (base or Path()) / _expand_user(head + slash)
    found = [
        PathEntry(head + slash + each.name + ("/" if _is_folder(each) else ""), _is_folder(each))
        for each in _scan(folder)
        if each.name.startswith(name)
        and (name.startswith(".") or not each.name.startswith("."))
        and each.name.isprintable()
    ]
    return sorted(found, key=lambda place: (not place.folder, place.path.casefold()))[:MOST]


def _expand_user(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~user, and there is no such user
        return Path(path)


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as names:
            for _, each in zip(range(LOOKED_AT), names, strict=False):
                yield each
    except (OSError, ValueError):  # not a folder, or not readable
        return


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
