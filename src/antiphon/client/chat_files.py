"""Files of other chats' exports in pieces, as `AddImportPiece` takes them."""

from __future__ import annotations

import base64
from pathlib import Path

from antiphon.types.errors import InvalidRequest

PIECE = 512 << 10
"""Bytes of a piece: as base64 it fits into a request of 1 MB."""


def measure_file(path: Path) -> int:
    """Return the size of the file in bytes. Raises `InvalidRequest` if there is none."""
    if not path.is_file():
        raise InvalidRequest(
            "There is no such file.", expected="the export of a chat", received=str(path)
        )
    return path.stat().st_size


def read_piece(path: Path, offset: int) -> bytes:
    """Return the next bytes of the file. Raises `InvalidRequest` at its end."""
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(PIECE)
    if not content:
        raise InvalidRequest("The file became shorter while it was read.", received=str(path))
    return content


def encode_piece(content: bytes) -> str:
    """Return the content as base64."""
    return base64.b64encode(content).decode()
