"""Files to upload: their bytes, names and media types."""

from __future__ import annotations

import mimetypes
from os import PathLike
from pathlib import Path

import msgspec

from antiphon.types.errors import InvalidRequest

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
