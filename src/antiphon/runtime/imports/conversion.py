"""The request and the result of a conversion, and the lines of progress between them.

The server needs these alone: the code that converts is imported in the process that runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import msgspec

from antiphon.types.chat_imports import ChatSource

Source = Literal["chatgpt", "claude", "open-webui"]

SOURCES: tuple[Source, ...] = get_args(Source)

IMPORTED_FROM = "imported_from"
"""Metadata key of an imported thread that holds the source."""
SOURCE_ID = "source_id"
"""Metadata key of an imported thread that holds the conversation's id there."""
ROOM = 256 << 20
"""Bytes that an archive may be larger than its records and files."""

Advance = Callable[[int], None]
"""Called with the number of bytes that were read since the last call; may raise to stop."""


class Converted(msgspec.Struct, frozen=True):
    """Result of a conversion: its source, and numbers of what is in the archive.

    `present` conversations were imported before. `skipped` counts what could not be taken, by the
    reason.
    """

    source: Source | None
    conversations: int
    threads: int
    messages: int
    files: int
    present: int
    skipped: dict[str, int]


class ConversionRequest(msgspec.Struct, frozen=True):
    """Arguments of `convert_export`, and the seconds that the process has."""

    owner: str
    source: ChatSource | None
    known: list[str]
    max_total: int
    seconds: int


class Refusal(msgspec.Struct, frozen=True):
    """An error of the export, by its code, or a `failure` of the program with its traceback."""

    code: Literal["invalid_request", "too_large", "failure"]
    message: str
    expected: str = ""


class ConversionLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line that the process writes.

    It has the number of bytes read since the last one, a piece of the archive, or the end.
    """

    read: int = 0
    archive: bytes = b""
    converted: Converted | None = None
    refusal: Refusal | None = None
