"""Files whose path begins as something was typed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

MOST = 200
"""Names that are proposed from one folder."""
LOOKED_AT = 5_000
"""Names of a folder that are looked at: a larger one is not worth a pause."""


class Place(msgspec.Struct, frozen=True):
    """A file, or a folder, whose path then ends in a slash."""

    path: str
    folder: bool

    @property
    def what(self) -> str:
        """What it is, in a word."""
        return "folder" if self.folder else ""


def beginning(begun: str, base: Path | None = None) -> list[Place]:
    """Folders first, then files, by name; hidden ones only where the name begins with a dot.

    What has a control character in its name is left out: it could not be typed either.
    """
    head, slash, name = begun.rpartition("/")
    folder = (base or Path()) / _expand_user(head + slash)
    found = [
        Place(head + slash + each.name + ("/" if _is_folder(each) else ""), _is_folder(each))
        for each in _scan(folder)
        if each.name.startswith(name)
        and (name.startswith(".") or not each.name.startswith("."))
        and each.name.isprintable()
    ]
    return sorted(found, key=lambda place: (not place.folder, place.path.casefold()))[:MOST]


def _expand_user(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~somebody, whom this machine does not know
        return Path(path)


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as names:
            for _, each in zip(range(LOOKED_AT), names, strict=False):
                yield each
    except (OSError, ValueError):  # no folder, or none that may be read
        return


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
