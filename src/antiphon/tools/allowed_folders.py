"""Access to folders, and to nothing outside them, whatever a path says.

A path is walked from the folder down. Each part is opened relative to the one before and never
through a link, so that no link can be put between a check and the opening.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import msgspec

from antiphon.types.errors import Conflict, InvalidRequest, NotFound, Unavailable

MAX_PARTS = 64
_CHUNK = 65_536
_OF_THE_SYSTEM = ("/proc", "/sys", "/dev")
"""Not folders of files: contents are generated when read, or reading has an effect."""


class FolderEntry(msgspec.Struct, frozen=True):
    """Entry of a folder; `size` is in bytes, of files only."""

    name: str
    kind: str
    size: int | None = None


class AllowedFolders:
    """Folders that may be read, and changed by `write` and `remove`.

    With one, paths are relative to it; with several, they begin with its name.
    """

    def __init__(self, roots: Sequence[str | Path]) -> None:
        self._roots = dict(
            _with_unique_names([Path(root).expanduser().resolve() for root in roots])
        )

    @property
    def names(self) -> list[str]:
        """Names of the folders."""
        return list(self._roots)

    def entries(self, path: str) -> list[FolderEntry]:
        """Return the entries of the folder at this path, by name.

        Raises `NotFound` and `InvalidRequest`.
        """
        if not _parts(path) and len(self._roots) > 1:
            return [FolderEntry(name, "folder") for name in self._roots]
        with self._open(path, os.O_DIRECTORY) as folder:
            return sorted(_entries(folder), key=lambda entry: entry.name)

    def read(self, path: str, max_bytes: int) -> tuple[bytes, int]:
        """Return the first bytes of the file at this path, and its size.

        Raises `NotFound`, and `InvalidRequest` if it is not a file.
        """
        with self._open(path) as file:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise InvalidRequest(f"{path} is a {_kind(found.st_mode)}, not a file.")
            content = bytearray()
            while (left := max_bytes - len(content)) > 0:
                piece = os.read(file, min(_CHUNK, left))
                if not piece:
                    break
                content += piece
            return bytes(content), found.st_size

    def write(self, path: str, content: bytes, *, expected: bytes | None) -> None:
        """Write the file at this path at once: a reader sees the old content, or the new one.

        `expected` is the content that it has now, None if it is new; the folders of a new file are
        made. A file keeps its permissions. Raises `Conflict` if the file has other content, and
        `InvalidRequest` if it is not a file.
        """
        with self._open_parent(path, make=expected is None) as (folder, name):
            mode = _check_content(folder, name, path, expected)
            temporary = f".{name[:100]}.{secrets.token_hex(4)}.tmp"
            careful = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, careful, 0o666, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    if mode is not None:
                        os.fchmod(file.fileno(), mode)
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                if expected is None:  # unlike a rename, a link replaces no file that came meanwhile
                    os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                else:
                    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except FileExistsError as error:
                raise _conflict_error(path) from error
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)

    def remove(self, path: str, *, expected: bytes) -> None:
        """Delete the file at this path. Raises `Conflict` if it has other content."""
        with self._open_parent(path) as (folder, name):
            _check_content(folder, name, path, expected)
            os.unlink(name, dir_fd=folder)

    @contextmanager
    def _open_parent(self, path: str, *, make: bool = False) -> Generator[tuple[int, str]]:
        """Open the folder that the path's last part is in; `make` creates missing folders."""
        root, parts = self._locate(path)
        if not parts:
            raise InvalidRequest(f"{path!r} is a folder, not a file.")
        with _explain_errors(path):
            if make:
                _make_folders(root, parts[:-1])
            descriptor = _open_path(root, parts[:-1], os.O_DIRECTORY)
        try:
            with _explain_errors(path):
                yield descriptor, parts[-1]
        finally:
            os.close(descriptor)

    @contextmanager
    def _open(self, path: str, flags: int = 0) -> Generator[int]:
        root, parts = self._locate(path)
        with _explain_errors(path):
            descriptor = _open_path(root, parts, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _locate(self, path: str) -> tuple[Path, list[str]]:
        parts = _parts(path)
        if len(self._roots) == 1:
            (root,) = self._roots.values()
        elif parts and parts[0] in self._roots:
            root, parts = self._roots[parts[0]], parts[1:]
        else:
            raise NotFound(f"A path begins with one of: {', '.join(self._roots) or 'nothing'}.")
        place = str(root.joinpath(*parts))
        if any(place == each or place.startswith(each + "/") for each in _OF_THE_SYSTEM):
            raise InvalidRequest(f"{path} belongs to the system.")
        return root, parts


def _with_unique_names(roots: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield each folder under its own name, numbered if another has the same name."""
    taken: set[str] = set()
    for root in dict.fromkeys(roots):
        name = own = root.name or "root"
        count = 1
        while name in taken:
            count += 1
            name = f"{own}-{count}"
        taken.add(name)
        yield name, root


def _parts(path: str) -> list[str]:
    """Return the parts of the path. Raises `InvalidRequest` if it leads outside."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if PurePosixPath(path).is_absolute() or ".." in parts:
        raise InvalidRequest(
            f"{path!r} leads out of the folders.",
            expected="a path inside, without a slash at its start and without ..",
        )
    if "\0" in path or len(parts) > MAX_PARTS:
        raise InvalidRequest("That is no path.")
    return parts


@contextmanager
def _explain_errors(path: str) -> Generator[None]:
    """Raise errors of the system as errors for the model."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"There is no {path}.") from error
    except NotADirectoryError as error:
        raise InvalidRequest(f"{path} is not in a folder, or no folder itself.") from error
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be opened: {error.strerror}.") from error


def _make_folders(root: Path, parts: Sequence[str]) -> None:
    """Create the folders of a path that are missing, through no link."""
    for at, part in enumerate(parts):
        above = _open_path(root, parts[:at], os.O_DIRECTORY)
        try:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=above)
        finally:
            os.close(above)


def _check_content(folder: int, name: str, path: str, expected: bytes | None) -> int | None:
    """Return the permissions of a file that has the expected content; None if it is new.

    Raises `Conflict` otherwise.
    """
    careful = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        if expected is None:
            return None
        raise
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequest(f"{path} is a {_kind(found.st_mode)}, not a file.")
    if expected is None:
        raise Conflict(f"{path} exists already.", hint="edit_file changes it.")
    with os.fdopen(os.open(name, careful, dir_fd=folder), "rb") as file:
        if file.read(len(expected) + 1) != expected:
            raise _conflict_error(path)
    return stat.S_IMODE(found.st_mode)


def _conflict_error(path: str) -> Conflict:
    return Conflict(f"{path} was changed meanwhile.", hint="Read it again.")


def _open_path(root: Path, parts: Sequence[str], flags: int) -> int:
    """Open the path without following links or blocking (a pipe without a writer would block)."""
    if os.open not in os.supports_dir_fd:
        raise Unavailable("This system has no way to read below a folder and surely nowhere else.")
    careful = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(root, careful | os.O_DIRECTORY)
    for at, part in enumerate(parts, 1):
        above = descriptor
        try:
            mode = os.stat(part, dir_fd=above, follow_symlinks=False).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # to open a device may do something
                raise InvalidRequest(f"{part} is a {_kind(mode)}, which is not opened.")
            last = flags if at == len(parts) else os.O_DIRECTORY
            descriptor = os.open(part, careful | last, dir_fd=above)
        finally:
            os.close(above)
    return descriptor


def _entries(folder: int) -> Iterator[FolderEntry]:
    with os.scandir(folder) as found:
        for each in found:
            try:
                about = each.stat(follow_symlinks=False)
            except FileNotFoundError:  # gone meanwhile
                continue
            file = stat.S_ISREG(about.st_mode)
            name = os.fsencode(each.name).decode("utf-8", "replace")
            yield FolderEntry(name, _kind(about.st_mode), about.st_size if file else None)


def _kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "device")


_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "folder"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
)
