"""Collects the records and files of an import, and writes them as an archive."""

from __future__ import annotations

import mimetypes
import re
from collections import Counter
from contextlib import ExitStack
from hashlib import blake2b
from tempfile import TemporaryFile
from typing import IO, NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec

from antiphon.runtime.admin.archive import (
    FILES,
    FORM,
    MANIFEST,
    RECORDS,
    FileRecord,
    Manifest,
    ThreadRecord,
    member,
)
from antiphon.types.errors import TooLarge
from antiphon.types.messages import File, Image, Message, MessagePart

MAX_TOTAL = 8 << 30
"""Most bytes of an export, and of the archive that is made of it."""
MAX_FILE = 32 << 20
PIECE = 1 << 20
_UNSAFE = re.compile(r"[^\w .()+-]")
_PICTURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}


class StoredContent(NamedTuple):
    """Bytes of a file: their digest, their place, and the media type that they show."""

    digest: str
    start: int
    size: int
    media_type: str


class ArchiveWriter:
    """Holds records and files in temporary files until `write`; `stack` closes those."""

    def __init__(self, owner: str, stack: ExitStack, max_total: int = MAX_TOTAL) -> None:
        self._owner = owner
        self._max_total = max_total
        self._counts: Counter[str] = Counter()
        self._lines = {
            kind: stack.enter_context(_temporary_file()) for kind in ("threads", "messages")
        }
        self._files: dict[str, FileRecord] = {}
        self._contents = stack.enter_context(_temporary_file())
        self._size = 0
        self._stored: dict[str, StoredContent] = {}
        self._places: dict[str, StoredContent] = {}

    def counts(self) -> dict[str, int]:
        """Return the numbers of threads, messages and files."""
        return {**self._counts, "files": len(self._files)}

    def add_thread(self, thread: ThreadRecord) -> None:
        """Add a thread; the newest first, as in every archive. Raises `TooLarge`."""
        self._add_record("threads", thread)

    def add_message(self, message: Message) -> None:
        """Add a message. Raises `TooLarge`."""
        self._add_record("messages", message)

    def store_content(self, content: bytes) -> StoredContent:
        """Store the content of a file, once however often it comes; none above `MAX_FILE`."""
        digest = blake2b(content, digest_size=16).hexdigest()
        if digest not in self._stored:
            start = self._contents.seek(0, 2)
            if len(content) <= MAX_FILE:
                self._contents.write(content)
            self._stored[digest] = StoredContent(digest, start, len(content), _detect_type(content))
        return self._stored[digest]

    def add_file(
        self, file_id: str, name: str, content: StoredContent, created_at: int
    ) -> MessagePart:
        """Add the file, unless it is there; return the part that attaches it to a message.

        Raises `TooLarge`.
        """
        if file_id not in self._files:
            safe_name = _UNSAFE.sub("_", to_line(name))[:100].strip(" .") or "file"
            self._count_bytes(content.size)
            media_type = mimetypes.guess_type(name)[0]
            if media_type is None or media_type in _PICTURES or content.media_type in _PICTURES:
                media_type = content.media_type  # by the bytes, which decide what is a picture
            self._files[file_id] = FileRecord(
                id=file_id,
                name=safe_name,
                media_type=media_type,
                size=content.size,
                created_at=created_at,
                place=f"{FILES}{file_id}-{safe_name}",
            )
            self._places[file_id] = content
        is_picture = self._files[file_id].media_type in _PICTURES
        return Image(file_id=file_id) if is_picture else File(file_id)

    def write(self, target: IO[bytes], latest: int) -> None:
        """Write the archive, the same bytes for the same records; `latest` is its time (ms)."""
        with ZipFile(target, "w") as archive:
            for file_id, record in self._files.items():
                with archive.open(_entry(record.place), "w") as entry:
                    content = self._places[file_id]
                    self._contents.seek(content.start)
                    entry.write(self._contents.read(content.size))
            for kind in RECORDS:
                with archive.open(_entry(member(kind)), "w", force_zip64=True) as entry:
                    if kind in self._lines:
                        self._lines[kind].seek(0)
                        while piece := self._lines[kind].read(PIECE):
                            entry.write(piece)
                    elif kind == "files":
                        for record in self._files.values():
                            entry.write(msgspec.json.encode(record) + b"\n")
            manifest = Manifest(FORM, self._owner, latest, self.counts())
            with archive.open(_entry(MANIFEST), "w") as entry:
                entry.write(msgspec.json.encode(manifest))

    def _add_record(self, kind: str, record: object) -> None:
        self._counts[kind] += 1
        line = msgspec.json.encode(record) + b"\n"
        self._count_bytes(len(line))
        self._lines[kind].write(line)

    def _count_bytes(self, size: int) -> None:
        self._size += size
        if self._size > self._max_total:
            raise TooLarge(
                "The conversations and files of the export are too large together.",
                expected=f"at most {self._max_total:,} bytes, each file as often as it is attached",
                hint="Import a part of the conversations at a time.",
            )


def to_line(text: str) -> str:
    """Return the text on one line, without characters that do not print."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _temporary_file() -> IO[bytes]:
    return TemporaryFile()


def _entry(name: str) -> ZipInfo:
    info = ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = ZIP_DEFLATED
    return info


def _detect_type(content: bytes) -> str:
    for media_type, head in _PICTURES.items():
        if content.startswith(head):
            return media_type
    try:
        is_text = "\0" not in content.decode()
    except UnicodeError:
        is_text = False
    return "text/plain" if is_text else "application/octet-stream"
