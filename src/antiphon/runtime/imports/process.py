"""Exports converted in a process of their own, which is killed at its deadline."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from antiphon.documents.isolation import start_process, was_too_slow
from antiphon.runtime.imports.convert import Advance, Converted
from antiphon.runtime.imports.converter import ConversionLine, ConversionRequest, Refusal
from antiphon.types.errors import InvalidRequest, TooLarge

PROGRAM: Sequence[str] = (sys.executable, "-I", "-m", "antiphon.runtime.imports.converter")
"""The program of the process, without anything of the environment or of the working folder."""
LINE_BYTES = 1_000_000

Convert = Callable[[ConversionRequest, Advance], Coroutine[Any, Any, Converted]]
"""Converts the export of a request. Raises as `convert_in_process`."""


class ConversionFailed(Exception):
    """The program failed; the message has its traceback, or how it ended."""


async def convert_in_process(request: ConversionRequest, advance: Advance) -> Converted:
    """Convert an export to an archive; `advance` is called with the bytes that were read.

    Raises `InvalidRequest` and `TooLarge` for a file that cannot be converted within its limits,
    and `ConversionFailed`.
    """
    deadline = asyncio.get_running_loop().time() + request.seconds
    async with start_process(PROGRAM, {}, LINE_BYTES) as process:
        if process.stdin is None or process.stdout is None:
            raise ConversionFailed("The process has no pipes.")
        try:
            async with asyncio.timeout_at(deadline):
                with suppress(BrokenPipeError, ConnectionResetError):  # its end says why
                    process.stdin.write(msgspec.json.encode(request) + b"\n")
                    await process.stdin.drain()
                process.stdin.close()
                while text := await process.stdout.readline():
                    line = msgspec.json.decode(text, type=ConversionLine)
                    if line.converted is not None:
                        return line.converted
                    if line.refusal is not None:
                        raise _to_error(line.refusal)
                    advance(line.read)
                code = await process.wait()
        except TimeoutError:
            raise _make_too_slow_error(request) from None
        except (ValueError, msgspec.MsgspecError) as fault:
            raise ConversionFailed("The process wrote no line of the protocol.") from fault
    if was_too_slow(code):
        raise _make_too_slow_error(request)
    raise ConversionFailed(f"The process ended with {code}, and without a result.")


def _to_error(refusal: Refusal) -> Exception:
    if refusal.code == "failure":
        return ConversionFailed(refusal.message)
    kind = TooLarge if refusal.code == "too_large" else InvalidRequest
    return kind(refusal.message, expected=refusal.expected or None)


def _make_too_slow_error(request: ConversionRequest) -> TooLarge:
    return TooLarge(
        "The export takes too long to be read.",
        expected=f"at most {request.seconds} seconds",
        hint="An operator can import it on the server's machine: `antiphon import`.",
    )
