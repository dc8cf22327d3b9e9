"""Files to upload: their bytes, names and media types."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Iterator
from os import PathLike
from pathlib import Path

import msgspec

from antiphon.types.errors import InvalidRequest

PIECE_BYTES = 1 << 18

Source = str | PathLike[str] | bytes
"""A path, or the bytes themselves."""


class Attachment(msgspec.Struct, frozen=True):
    """A file to upload."""

    name: str
    media_type: str
    content: bytes


def read_attachment(source: Source, name: str | None, media_type: str | None) -> Attachment:
    """Return the file. By default its name comes from the path, its media type from the name.

    Raises `InvalidRequest` for bytes without a name.
    """
    if isinstance(source, bytes):
        content = source
    else:
        content = Path(source).read_bytes()
        name = name or Path(source).name
    if not name:
        raise InvalidRequest("Bytes alone have no name.", expected="name", received="none")
    guessed, _ = mimetypes.guess_type(name)
    return Attachment(name, media_type or guessed or "application/octet-stream", content)


class FileBody:
    """The bytes of a file as the body of a request, which may be sent again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece


class AsyncFileBody:
    """`FileBody` for asyncio."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with await asyncio.to_thread(self._path.open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                yield piece
