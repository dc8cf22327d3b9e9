"""Checks of a SQLite store's disk and file: room to write, and still the same file."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from antiphon.types.errors import Unavailable

MIN_FREE_BYTES = 16_000_000
"""Free bytes required: the write-ahead log may grow by so much."""
PROBE_BYTES = 4_000_000
"""Bytes reserved for a moment, to notice quotas and limits of the process."""

_UNSUPPORTED = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


class DatabaseFile:
    """The identity of a database file when it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = str(path)  # each read checks it, and `Path.stat` takes three times as long
        self._opened = _identity(self._name)

    def check(self) -> None:
        """Return while the path names the file that was opened. Raises `Unavailable`."""
        try:
            found = _identity(self._name)
        except OSError:
            found = None
        if found != self._opened:
            happened = "deleted" if found is None else "replaced by another file"
            raise Unavailable(
                f"The database file {self.path} was {happened} while it was in use.",
                expected="the file that was opened",
                received="no file" if found is None else "another file of its name",
                hint="Nothing is kept any more. Put the file back, or start the server again.",
            )


def check_room(path: Path) -> None:
    """Return if more can be written beside this file. Raises `Unavailable`."""
    try:
        _check_free_bytes(path.parent)
        _reserve(path.parent)
    except OSError as fault:
        raise Unavailable(
            f"Nothing more can be written beside the database: {fault.strerror}.",
            expected=f"{MIN_FREE_BYTES} bytes that are free, and that this process may use",
            hint="Make room on the disk of the database.",
        ) from fault


def _check_free_bytes(folder: Path) -> None:
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _reserve(folder: Path) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    with tempfile.TemporaryFile(dir=folder) as probe:
        try:
            os.posix_fallocate(probe.fileno(), 0, PROBE_BYTES)
        except OSError as fault:
            if fault.errno not in _UNSUPPORTED:  # a file system that cannot reserve
                raise


def _identity(name: str) -> tuple[int, int]:
    found = os.stat(name)
    return found.st_dev, found.st_ino
