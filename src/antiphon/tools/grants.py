"""What a person allowed for good: a file of their own, which nobody else may read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from antiphon.errors import BadSettings
from antiphon.tools.consent import Shape

try:
    import fcntl
except ImportError:  # Windows, where two programs that allow something at once may lose one of them
    fcntl = None  # type: ignore[assignment]

NAME = "grants.json"


class _Content(msgspec.Struct):
    grants: list[Shape] = []


class GrantsFile:
    """Grants that outlast the program. Each question to it reads the file, so that programs that
    run side by side agree; a file that cannot be read grants nothing.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def known(self, server: str, own_name: str) -> Shape | None:
        """The tool as it was allowed, None where it was not."""
        for each in self.all():
            if (each.server, each.own_name) == (server, own_name):
                return each
        return None

    def all(self) -> list[Shape]:
        """Everything that is allowed, in the order in which it was."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Content).grants
        except (OSError, msgspec.DecodeError):
            return []

    def add(self, shapes: Sequence[Shape]) -> None:
        """Allow these from now on. Raises `BadSettings` where the file cannot be written."""
        new = {(each.server, each.own_name) for each in shapes}
        with self._changing() as grants:
            kept = [each for each in grants if (each.server, each.own_name) not in new]
            grants[:] = [*kept, *shapes]

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
    def _changing(self) -> Generator[list[Shape]]:
        """The grants, written back as they are in the end; other programs wait meanwhile."""
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self._file.with_suffix(".lock")):
                grants = self.all()
                yield grants
                _write(self._file, msgspec.json.encode(_Content(grants)))
        except OSError as error:
            raise BadSettings(
                f"What is allowed cannot be kept: {error}", expected=f"to write {self._file}"
            ) from error


@contextmanager
def _locked(file: Path) -> Generator[None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(file: Path, content: bytes) -> None:
    """All of it or nothing, for the owner's eyes only."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)  # made 0600
    try:
        with os.fdopen(descriptor, "wb") as written:
            written.write(content)
        os.replace(name, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
