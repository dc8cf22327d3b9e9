"""Copy skills into the user's folder, from a folder or an archive.

Nothing of a skill is run. Only regular files are copied, never links, and every path is checked
before it is written, so that an archive cannot write anywhere else.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Protocol

import msgspec

from antiphon.settings.trust import read_regular
from antiphon.skills.skill import (
    FILE,
    MAX_FILES,
    MAX_FOLDER,
    Skill,
    list_files,
    parse_skill,
    read_contents,
)
from antiphon.types.errors import InvalidRequest

MAX_ARCHIVE = 64 * 1024 * 1024
"""Bytes of an archive, packed."""
MAX_UNPACKED = 2 * MAX_FOLDER
"""Bytes of a tar archive, with what is not taken from it."""
MAX_IN_ARCHIVE = 10_000
"""Entries of an archive."""
_FOLDER_DEPTH = 4


class SkillSource(msgspec.Struct, frozen=True):
    """A skill that can be installed: its description, and the content of its files by path.

    `executable` are the files that may be run by their names; `left_out` the links.
    """

    skill: Skill
    contents: Mapping[str, bytes]
    executable: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()


def read_sources(path: Path) -> list[SkillSource]:
    """Return the skills in a folder, a zip or a tar archive, by name. Raises `InvalidRequest`."""
    if path.is_dir():
        sources = [_read_folder(folder) for folder in _find_folders(path)]
    else:
        sources = _split_archive(_read_archive(path), path)
    if not sources:
        raise InvalidRequest(
            f"There is no skill in {path}.", expected=f"a folder with a {FILE}, or several"
        )
    names = [source.skill.name for source in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidRequest(f"{path} has several skills of one name: {', '.join(twice)}.")
    return sorted(sources, key=lambda source: source.skill.name)


def install_skill(source: SkillSource, into: Path, *, replace: bool = False) -> Path:
    """Write the skill into a folder of its name, as a whole or not at all; return the folder.

    Raises `InvalidRequest` if there is one and `replace` is False, or if it cannot be written.
    """
    target = into / source.skill.name
    if os.path.lexists(target) and not replace:
        raise InvalidRequest(
            f"There is a skill {source.skill.name} already.",
            received=str(target),
            hint="--replace puts this one in its place.",
        )
    try:
        into.mkdir(parents=True, exist_ok=True)
        made = Path(mkdtemp(prefix=".new-", dir=into))
        try:
            for path, content in source.contents.items():
                file = made / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                file.chmod(0o700 if path in source.executable else 0o600)
            if os.path.lexists(target):
                remove_skill(target)
            made.rename(target)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be written: {error.strerror}.") from error
    return target


def remove_skill(folder: Path) -> None:
    """Remove a skill; of a link, the link alone. Raises `InvalidRequest`."""
    try:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise InvalidRequest(f"{folder} cannot be removed: {error.strerror}.") from error


# Folders.


def _find_folders(folder: Path) -> list[Path]:
    """Return the folder if it is a skill, else the skills below it."""
    if (folder / FILE).is_file():
        return [folder.resolve()]
    found: list[Path] = []
    for above, folders, files in os.walk(folder):
        depth = len(Path(above).relative_to(folder).parts)
        if FILE in files:
            found.append(Path(above).resolve())
            folders.clear()
        elif depth >= _FOLDER_DEPTH:
            folders.clear()
        folders[:] = sorted(each for each in folders if each not in (".git", "node_modules"))
    return found


def _read_folder(folder: Path) -> SkillSource:
    contents = read_contents(folder)
    if FILE not in contents:
        raise InvalidRequest(f"{folder / FILE} is a link, or cannot be read.")
    files = list_files(folder)
    return SkillSource(
        parse_skill(folder, contents[FILE]),
        contents,
        frozenset(file.path for file in files if file.executable),
        tuple(file.path for file in files if file.link is not None),
    )


# Archives.


class _ArchiveEntry(msgspec.Struct, frozen=True):
    """An entry of an archive; one that is no regular file has no content."""

    path: PurePosixPath
    content: bytes | None
    executable: bool = False


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _read_archive(path: Path) -> list[_ArchiveEntry]:
    try:
        packed = read_regular(path, MAX_ARCHIVE)
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be read: {error.strerror or error}.",
            expected="a folder, a .zip or .skill file, or a .tar.gz file",
        ) from error
    try:
        if zipfile.is_zipfile(io.BytesIO(packed)):
            return _check_entries(_read_zip(packed))
        return _check_entries(_read_tar(packed))
    except (tarfile.TarError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as e:
        raise InvalidRequest(
            f"{path} is no archive that can be read: {e}",
            expected="a folder, a .zip or .skill file, or a .tar.gz file",
        ) from e
    except (
        OSError,
        ValueError,
        zlib.error,
    ) as error:  # what is compressed is broken
        raise InvalidRequest(f"{path} cannot be unpacked: {error}") from error


def _read_zip(packed: bytes) -> Iterator[_ArchiveEntry]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        room = MAX_FOLDER
        for each in archive.infolist():
            mode = each.external_attr >> 16
            is_other = mode & 0o170000 not in (0, 0o100000)
            if each.is_dir() or is_other:  # a link, for one
                yield _ArchiveEntry(PurePosixPath(each.filename), None)
                continue
            with archive.open(each) as file:
                content = _read_bounded(file, room)
            room -= len(content)
            yield _ArchiveEntry(
                PurePosixPath(each.filename), content, executable=bool(mode & 0o100)
            )


def _read_tar(packed: bytes) -> Iterator[_ArchiveEntry]:
    if packed.startswith(b"\x1f\x8b"):
        with gzip.open(io.BytesIO(packed)) as compressed:
            packed = _read_bounded(compressed, MAX_UNPACKED)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
        room = MAX_FOLDER
        for each in archive:
            file = archive.extractfile(each) if each.isreg() else None
            content = None if file is None else _read_bounded(file, room)
            room -= len(content or b"")
            yield _ArchiveEntry(
                PurePosixPath(each.name), content, executable=bool(each.mode & 0o100)
            )


def _read_bounded(file: _Readable, room: int) -> bytes:
    content = file.read(room + 1)
    if len(content) > room:
        raise InvalidRequest("The archive is too large.", expected=f"{MAX_FOLDER >> 20} MB")
    return content


def _check_entries(entries: Iterator[_ArchiveEntry]) -> list[_ArchiveEntry]:
    """Return the entries. Raises `InvalidRequest` for a path that leads out."""
    checked: list[_ArchiveEntry] = []
    for count, entry in enumerate(entries):
        parts = entry.path.parts
        if count >= MAX_IN_ARCHIVE:
            raise InvalidRequest(f"The archive has more than {MAX_IN_ARCHIVE} entries.")
        if entry.path.is_absolute() or ".." in parts or any(_is_odd(part) for part in parts):
            raise InvalidRequest(
                "The archive has a path that leads out of it, so nothing of it is used.",
                received=repr(str(entry.path)[:100]),
            )
        checked.append(entry)
    return checked


def _is_odd(part: str) -> bool:
    return any(mark in part for mark in ("\0", "\\", ":")) or not part.isprintable()


def _split_archive(entries: list[_ArchiveEntry], archive: Path) -> list[SkillSource]:
    """Return the skills of an archive: each folder in it that has a SKILL.md."""
    roots = [entry.path.parent for entry in entries if entry.path.name == FILE and entry.content]
    tops = [each for each in roots if not any(other in each.parents for other in roots)]
    sources: list[SkillSource] = []
    for root in tops:
        inside: dict[str, bytes] = {}
        for entry in entries:
            if entry.content is not None and entry.path.is_relative_to(root):
                inside[str(entry.path.relative_to(root))] = entry.content
        if len(inside) > MAX_FILES:
            raise InvalidRequest("The skill has too many files.", expected=f"at most {MAX_FILES}")
        name = root.name or archive.name.partition(".")[0]
        sources.append(
            SkillSource(
                parse_skill(Path(name), inside[FILE]),
                inside,
                frozenset(
                    str(entry.path.relative_to(root))
                    for entry in entries
                    if entry.executable and entry.path.is_relative_to(root)
                ),
            )
        )
    return sources
