"""Trust in files that a folder brings, stored by content and path.

A folder may come from anybody. A file in it counts only while its content at this path is the
content that a person has seen: the bytes that are compared are the bytes that are used.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from antiphon.settings import private_files
from antiphon.settings.paths import data_folder
from antiphon.types.errors import BadSettings

NAME = "mcp-approved.json"
"""The record, in the user's data folder; it began with files of MCP servers alone."""
LARGEST = 1024 * 1024
"""Bytes of a file that a folder brings, and of the record."""


class FolderFile(msgspec.Struct, frozen=True):
    """A settings file of the working folder, read once.

    `wants` are its settings that need trust. With a `fault` the file cannot be used at all.
    """

    path: Path
    content: bytes
    wants: tuple[str, ...] = ()
    fault: BadSettings | None = None

    @property
    def text(self) -> str:
        """The content as text, for a person; raw, so it is to be cleaned before it is printed."""
        return self.content.decode("utf-8", "backslashreplace")


class TrustedFiles:
    """Digests of trusted content by path. A record that others can write is ignored."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def covers(self, file: Path, digest: str) -> bool:
        """Return whether content with this digest is trusted at this path."""
        return self.all().get(place(file)) == digest

    def all(self) -> dict[str, str]:
        """Return every digest by path; empty if the record cannot be read or trusted."""
        try:
            with self.file.open("rb") as opened:
                if _writable_by_others(os.fstat(opened.fileno())):
                    return {}
                return msgspec.json.decode(opened.read(LARGEST), type=dict[str, str])
        except (OSError, msgspec.DecodeError, UnicodeError):
            return {}

    def trust(self, file: Path, digest: str) -> None:
        """Trust the content with this digest at this place. Raises `BadSettings`."""
        self._change(lambda known: known | {place(file): digest})

    def revoke(self, places: Collection[str]) -> list[str]:
        """Revoke trust in these places; return those that were trusted. Raises `BadSettings`."""
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
                f"What is trusted cannot be saved: {error.strerror}.",
                expected=f"to write {self.file}",
            ) from error


def open_trust_record(environ: Mapping[str, str]) -> TrustedFiles:
    """Return the record of this user."""
    return TrustedFiles(data_folder(environ) / NAME)


def place(file: Path) -> str:
    """Return the path under which a file is trusted: its real folder and its own name.

    A link is not followed: relative paths in a file start at the folder in which it is found, so a
    link to a trusted file of another folder is another file.
    """
    return str(file.parent.resolve() / file.name)


def digest(content: bytes) -> str:
    """Return the digest of a file's bytes."""
    return hashlib.sha256(content).hexdigest()


def read_regular(file: Path, largest: int = LARGEST) -> bytes:
    """Return the bytes of a regular file, read once. Raises `OSError` for any other file.

    Neither a pipe nor an endless file can block the program.
    """
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        content = opened.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it is larger than {largest} bytes")
    return content


def trust_required_error(file: FolderFile) -> BadSettings:
    """Return the error for an untrusted file where no person can be asked."""
    return BadSettings(
        f"{file.path} is not trusted, or has changed since, and sets {', '.join(file.wants)}.",
        expected="a file that you have seen and trust, for a folder may come from anybody",
        hint=f"`antiphon trust {shlex.quote(str(file.path))}` shows it and asks;"
        " --config-file FILE reads a file of yours in its place.",
    )


def _writable_by_others(status: os.stat_result) -> bool:
    if not hasattr(os, "geteuid"):
        return False
    return status.st_uid != os.geteuid() or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
