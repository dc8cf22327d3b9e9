"""Reads archives that anybody may have made: nothing in one is trusted before it was checked.

The list of members is checked before `zipfile` reads it, sizes before anything is unpacked, and the
shape of a line before it is decoded. What is held in memory is bounded by `Bounds`.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import msgspec

from antiphon.api.operation import invalid_request
from antiphon.engine import sanitize
from antiphon.runtime.admin.archive import (
    ADDED_LATER,
    FILES,
    FORM,
    MANIFEST,
    RECORDS,
    Manifest,
    member,
)
from antiphon.types.errors import AntiphonError, InvalidRequest, TooLarge

READ_BYTES = 1 << 16
MAX_DEPTH = 128
MAX_ITEMS = 2_000_000  # in one record
HEADER_BYTES = 30  # at least, before the bytes of a member
SHOWN = 64  # letters of a name that an error shows
_MAYBE_ODD = re.compile(rb"\\u0000|[0-9]{19}")
_END = struct.Struct("<4s4H2LH")
_END_64_PLACE = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_HINT = "Import a file as `antiphon owners export` wrote it."


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of an archive, in bytes but for `members` and `ratio`.

    `total` is all that it holds, `line` one record, `file` one upload, `directory` the list of its
    members. An archive of more than `small` may hold `ratio` times its own size.
    """

    total: int = 1 << 40
    line: int = 32 << 20
    file: int = 512 << 20
    members: int = 200_000
    directory: int = 64 << 20
    ratio: int = 200
    small: int = 1 << 30


class ArchiveReader:
    """Archive in an open file, which stays open when the archive is closed.

    Its methods block; raises `InvalidRequest` and `TooLarge`.
    """

    def __init__(self, file: IO[bytes], bounds: Bounds) -> None:
        self._bounds = bounds
        size = file.seek(0, os.SEEK_END)
        _check_directory(file, size, bounds)
        try:
            self._zip = ZipFile(file)
        except (BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError) as fault:
            raise _broken(f"its list of members cannot be read ({fault})") from fault
        try:
            self._members = {info.filename: info for info in self._check_members(size)}
            self.manifest = self._read_manifest()
        except BaseException:
            self._zip.close()
            raise

    def close(self) -> None:
        """Close the archive."""
        self._zip.close()

    @property
    def record_bytes(self) -> int:
        """Return how many bytes all records have."""
        names = (member(kind) for kind in RECORDS)
        return sum(self._members[name].file_size for name in names if name in self._members)

    @property
    def file_bytes(self) -> int:
        """Return how many bytes all files have."""
        return sum(self._members[name].file_size for name in self.files)

    @property
    def files(self) -> frozenset[str]:
        """Return the names of the members that are files."""
        return frozenset(name for name in self._members if name.startswith(FILES))

    def size(self, name: str) -> int | None:
        """Return how many bytes a file has; None where there is no such member."""
        info = self._members.get(name)
        return info.file_size if info and name.startswith(FILES) else None

    @contextmanager
    def open(self, name: str) -> Generator[Iterator[bytes]]:
        """Open a member; yields its bytes in pieces."""
        with self._guard(name), self._zip.open(self._members[name]) as file:
            yield iter(lambda: file.read(READ_BYTES), b"")

    def content(self, name: str) -> bytes:
        """Return the bytes of a file."""
        with self.open(name) as pieces:
            return b"".join(pieces)

    def lines(self, kind: str) -> Iterator[tuple[int, Any, int]]:
        """Yield the records of a kind, each with its line's number and length."""
        name = member(kind)
        if name not in self._members:
            return
        decoder = msgspec.json.Decoder(RECORDS[kind])
        with self.open(name) as pieces:
            for number, line in enumerate(self._split(name, pieces), 1):
                with at(name, number):
                    yield number, _decode(decoder, line), len(line)

    def _split(self, name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the lines; what is behind the last end of a line has to be nothing."""
        parts: list[bytes] = []
        size = number = 0
        for piece in pieces:
            *whole, rest = piece.split(b"\n")
            for end in whole:
                number += 1
                self._check_length(name, number, size + len(end))
                yield b"".join((*parts, end))
                parts, size = [], 0
            parts.append(rest)
            size += len(rest)
            self._check_length(name, number + 1, size)
        if size:
            with at(name, number + 1):
                raise InvalidRequest(
                    "The last record is cut off.",
                    expected="a line that ends",
                    received=f"{size:,} bytes without an end",
                )

    def _check_length(self, name: str, number: int, length: int) -> None:
        if length > self._bounds.line:
            with at(name, number):
                raise TooLarge(
                    "A record is too large.",
                    expected=f"at most {self._bounds.line:,} bytes in a line",
                    received="more",
                )

    def _read_manifest(self) -> Manifest:
        info = self._members.get(MANIFEST)
        if info is None:
            raise InvalidRequest(
                "The file is no export of an owner, or not all of one.",
                expected=f"a zip with {MANIFEST}, which is written last",
                received=f"a zip of {len(self._members):,} other members",
                hint=_HINT,
            )
        with at(MANIFEST):
            if info.file_size > 1 << 16:
                raise TooLarge("The manifest is too large.", expected="at most 64 KB")
            sent = self.content(MANIFEST)
            form = _decode(msgspec.json.Decoder(_Form), sent).form
            if form != FORM:
                _refuse_form(form)
            manifest: Manifest = _decode(msgspec.json.Decoder(Manifest), sent)
            sanitize.validate_owner(manifest.owner)
        needed = [member(kind) for kind in RECORDS if kind not in ADDED_LATER]
        missing = [name for name in needed if name not in self._members]
        if missing:
            raise InvalidRequest(
                "The export is not complete.",
                expected=", ".join(needed),
                received=f"none of {', '.join(missing)}",
                hint=_HINT,
            )
        return manifest

    def _check_members(self, size: int) -> Iterator[ZipInfo]:
        """Yield the members, none of which could do harm where it is read."""
        total = behind = 0
        known = {MANIFEST, *map(member, RECORDS)}
        seen: set[str] = set()
        for info in sorted(self._zip.infolist(), key=lambda each: each.header_offset):
            name = info.orig_filename
            if name == FILES and not info.file_size:  # a folder, which some programs add
                continue
            with at(name):
                _check_name(name, known)
                _check_kind(info)
                if name in seen:
                    raise InvalidRequest(
                        "Two members have one name.", expected="each name once", received="twice"
                    )
                begins = info.header_offset
                ends = begins + HEADER_BYTES + len(name) + info.compress_size
                if begins < behind or ends > size:
                    raise InvalidRequest(
                        "Members lie in one another.",
                        expected="one behind the other",
                        received="members that share bytes",
                    )
                if name.startswith(FILES) and info.file_size > self._bounds.file:
                    raise TooLarge(
                        "A file is too large.",
                        expected=f"at most {self._bounds.file:,} bytes",
                        received=f"{info.file_size:,} bytes",
                    )
            behind = ends
            total += info.file_size
            seen.add(name)
            yield info
        most = min(self._bounds.total, max(self._bounds.small, size * self._bounds.ratio))
        if total > most:
            raise TooLarge(
                "The file holds too much for its size.",
                expected=f"at most {most:,} bytes in a file of {size:,}",
                received=f"{total:,} bytes",
            )

    @contextmanager
    def _guard(self, name: str) -> Generator[None]:
        """Translate what `zipfile` raises for a member that is damaged."""
        try:
            yield
        except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as fault:
            if isinstance(fault, RecursionError):
                raise
            raise InvalidRequest(
                "A member is damaged.",
                expected="the bytes that the export wrote",
                received=str(fault)[:200],
                where=_abbreviate(name),
            ) from fault


class _Form(msgspec.Struct, frozen=True):
    form: int


@contextmanager
def at(name: str, line: int | None = None) -> Generator[None]:
    """Add the place in the archive to an error."""
    try:
        yield
    except AntiphonError as error:
        place = _abbreviate(name) if line is None else f"{_abbreviate(name)}, line {line}"
        within = error.details.get("where")
        if isinstance(within, str) and within.startswith(place):
            raise
        where = f"{place}, {within}" if within else place
        details = {"hint": _HINT, **error.details, "where": where}
        raise type(error)(f"{error.message.rstrip('.')}: {where}.", **details) from error


def _refuse_form(form: int) -> NoReturn:
    later = form > FORM
    raise InvalidRequest(
        "The export is of a later version of Antiphon."
        if later
        else "The export is of a version whose exports could not be imported.",
        expected=f"form {FORM}",
        received=f"form {form}",
        hint="Upgrade Antiphon here, then import it."
        if later
        else "Export it once more with a version of now.",
    )


def _decode(decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:
    """Return the record in a line. Raises `InvalidRequest` and `TooLarge`."""
    sanitize.validate_shape(line, MAX_DEPTH, MAX_ITEMS)
    try:
        record = decoder.decode(line)
        if _MAYBE_ODD.search(line):
            sanitize.validate_text(msgspec.json.decode(line))
    except msgspec.ValidationError as error:
        raise invalid_request(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            "This is not JSON.", expected="one JSON object a line", received=str(error)[:200]
        ) from error
    except RecursionError as error:
        raise TooLarge(
            "The JSON is nested too deep.", expected=f"at most {MAX_DEPTH} levels"
        ) from error
    return record


def _check_name(name: str, known: set[str]) -> None:
    inside = name.removeprefix(FILES)
    plain = inside.strip(".") and not re.search(r"[\x00-\x1f\x7f/\\:]", inside)
    if name in known or (name.startswith(FILES) and plain):
        return
    raise InvalidRequest(
        "No export has a member of this name.",
        expected=f"{MANIFEST}, {member('KIND')} and {FILES}NAME",
        received=_abbreviate(name),
    )


def _check_kind(info: ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise InvalidRequest(
            "A member is no plain file.",
            expected="a file",
            received="a link" if kind == stat.S_IFLNK else f"a thing of the kind {kind:o}",
        )
    if info.flag_bits & 0x41 or info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise InvalidRequest(
            "A member is packed in a way that exports are not.",
            expected="deflated or stored, and not encrypted",
            received=f"method {info.compress_type}, flags {info.flag_bits:#x}",
        )


def _check_directory(file: IO[bytes], size: int, bounds: Bounds) -> None:
    """Refuse what is no whole zip, or one whose list of members is too long to be read."""
    tail = _tail(file, size, _END.size)
    if len(tail) < _END.size or tail[:4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        raise _broken(None)
    *_, members, directory, _, _ = _END.unpack(tail)
    before = _tail(file, size - _END.size, _END_64_PLACE.size)
    if before[:4] == b"PK\6\7":
        end_64 = _tail(file, size - _END.size - _END_64_PLACE.size, _END_64.size)
        place = _END_64_PLACE.unpack(before)[2]
        expected = size - _END.size - _END_64_PLACE.size - _END_64.size
        if place != expected or end_64[:4] != b"PK\6\6":
            raise _broken("its end points elsewhere")
        *_, members, directory, _ = _END_64.unpack(end_64)
    if members > bounds.members or directory > bounds.directory:
        raise TooLarge(
            "The file has too many members.",
            expected=f"at most {bounds.members:,}, listed in {bounds.directory:,} bytes",
            received=f"{members:,} in {directory:,} bytes",
        )


def _tail(file: IO[bytes], size: int, length: int) -> bytes:
    file.seek(max(0, size - length))
    return file.read(min(size, length)) if size > 0 else b""


def _broken(received: str | None) -> InvalidRequest:
    return InvalidRequest(
        "The file is no zip, or not all of one.",
        expected="a whole export of an owner",
        received=received,
        hint="It may be cut off: export it again, with `antiphon owners export`.",
    )


def _abbreviate(name: str) -> str:
    return ascii(name[:SHOWN])[1:-1]
