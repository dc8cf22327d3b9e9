"""Exports converted in a process of their own, which is killed at its deadline."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from antiphon.isolated_process import ProcessFailed, ProcessTooSlow, read_lines
from antiphon.runtime.imports.convert import Advance, Converted
from antiphon.runtime.imports.converter import ConversionLine, ConversionRequest, Refusal
from antiphon.types.errors import InvalidRequest, TooLarge

PROGRAM: Sequence[str] = (sys.executable, "-I", "-m", "antiphon.runtime.imports.converter")
"""The program of the process, without anything of the environment or of the working folder."""
LINE_BYTES = 1_000_000

Convert = Callable[[ConversionRequest, Advance], Coroutine[Any, Any, Converted]]
"""Converts the export of a request. Raises as `convert_in_process`."""


async def convert_in_process(request: ConversionRequest, advance: Advance) -> Converted:
    """Convert an export to an archive; `advance` is called with the bytes that were read.

    Raises `InvalidRequest` and `TooLarge` for a file that cannot be converted within its limits,
    and `ProcessFailed`, whose message may be the traceback of the program.
    """
    lines = read_lines(
        PROGRAM, request, ConversionLine, seconds=request.seconds, line_bytes=LINE_BYTES
    )
    try:
        async with aclosing(lines):
            async for line in lines:
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
