"""Exports converted in a process of their own, which is killed at its deadline."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable, Callable, Coroutine, Sequence
from contextlib import aclosing
from tempfile import gettempdir
from typing import IO, Any

from antiphon.isolated_process import ProcessFailed, ProcessTooSlow, read_lines
from antiphon.runtime.imports.conversion import (
    ROOM,
    Advance,
    ConversionLine,
    ConversionRequest,
    Converted,
    Refusal,
)
from antiphon.types.errors import InvalidRequest, TooLarge

PROGRAM: Sequence[str] = (sys.executable, "-I", "-m", "antiphon.runtime.imports.converter")
"""The program of the process, without anything of the environment or of the working folder."""
LINE_BYTES = 1_000_000
LINE_COST = 1_000
"""Bytes that each line counts beside its content, so that the number of lines is limited too."""

Convert = Callable[
    [ConversionRequest, AsyncIterable[bytes], IO[bytes], Advance], Coroutine[Any, Any, Converted]
]
"""Converts an export. Takes and raises what `convert_in_process` does."""


async def convert_in_process(
    request: ConversionRequest, export: AsyncIterable[bytes], archive: IO[bytes], advance: Advance
) -> Converted:
    """Convert the bytes of an export to an archive, which is written into the file.

    `advance` is called with the bytes that were read. Raises `InvalidRequest` and `TooLarge` for an
    export that cannot be converted within its limits, `ProcessFailed`, whose message may be the
    traceback of the program, and what `export` raises.
    """
    lines = read_lines(
        PROGRAM,
        request,
        ConversionLine,
        seconds=request.seconds,
        line_bytes=LINE_BYTES,
        environment={"TMPDIR": gettempdir()},
        pieces=export,
    )
    size = 0
    try:
        async with aclosing(lines):
            async for line in lines:
                size += LINE_COST + len(line.archive)
                if size > request.max_total + ROOM:  # a hostile export may control the process
                    raise TooLarge(
                        "The conversations and files of the export are too large together.",
                        expected=f"at most {request.max_total:,} bytes",
                    )
                if line.archive:
                    await asyncio.to_thread(archive.write, line.archive)
                if line.converted is not None:
                    return line.converted
                if line.refusal is not None:
                    raise _to_error(line.refusal)
                advance(line.read)
    except ProcessTooSlow:
        raise TooLarge(
            "The export takes too long to be read.",
            expected=f"at most {request.seconds} seconds",
            hint="An operator can import it on the server's machine: `antiphon import`.",
        ) from None
    raise AssertionError("lines without an end")


def _to_error(refusal: Refusal) -> Exception:
    if refusal.code == "failure":
        return ProcessFailed(refusal.message)
    kind = TooLarge if refusal.code == "too_large" else InvalidRequest
    return kind(refusal.message, expected=refusal.expected or None)
