"""Program that converts one export, in a process of its own.

`python -m antiphon.runtime.imports.converter` gets the request as a line of JSON and then the bytes
of the export. It writes lines of JSON: how far it is, the archive in pieces, and how it ended.
Nothing of the server is in it: no environment but the folder of temporary files, no open file, no
network where Linux lets it. Its files have no names, so that they are gone with it. Before it gets
the export, it limits its time, its memory and what it may write.
"""

from __future__ import annotations

import errno
import shutil
import sys
import traceback
from tempfile import TemporaryFile
from typing import IO, BinaryIO

import msgspec

from antiphon.isolated_process import limit_process, take_output
from antiphon.runtime.imports.conversion import (
    ROOM,
    ConversionLine,
    ConversionRequest,
    Refusal,
)
from antiphon.runtime.imports.convert import convert_export
from antiphon.types.errors import CallerError, TooLarge

MEMORY = 1_000_000_000
"""Bytes of addresses that the process may use."""


PIECE = 512 << 10
"""Bytes of the archive in a line, which has a third more as base64."""


def main() -> None:
    """Read the request from standard input, and write the lines."""
    output = take_output()
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=ConversionRequest)
    limit_process(request.seconds, MEMORY, request.max_total + ROOM)
    with TemporaryFile() as archive:
        end = _convert(request, archive, output)
        if end.converted is not None:
            archive.seek(0)
            while piece := archive.read(PIECE):
                _write(output, ConversionLine(archive=piece))
        _write(output, end)


def _convert(request: ConversionRequest, archive: IO[bytes], output: BinaryIO) -> ConversionLine:
    def advance(size: int) -> None:
        _write(output, ConversionLine(read=size))

    try:
        with TemporaryFile() as export:
            shutil.copyfileobj(sys.stdin.buffer, export)
            converted = convert_export(
                export,
                archive,
                request.owner,
                request.source,
                frozenset(request.known),
                advance,
                request.max_total,
            )
        return ConversionLine(converted=converted)
    except CallerError as fault:
        refusal = Refusal(
            "too_large" if isinstance(fault, TooLarge) else "invalid_request",
            fault.message,
            str(fault.details.get("expected", "")),
        )
        return ConversionLine(refusal=refusal)
    except MemoryError:
        message = "The export needs too much memory to be read."
        return ConversionLine(refusal=Refusal("too_large", message, f"at most {MEMORY:,} bytes"))
    except BrokenPipeError:
        raise
    except Exception as fault:  # noqa: BLE001 - the server logs it
        if isinstance(fault, OSError) and fault.errno == errno.EFBIG:  # the limit of the process
            message = "The conversations and files of the export are too large together."
            bound = f"at most {request.max_total:,} bytes"
            return ConversionLine(refusal=Refusal("too_large", message, bound))
        return ConversionLine(refusal=Refusal("failure", traceback.format_exc(limit=-8)[:20_000]))


def _write(output: BinaryIO, line: ConversionLine) -> None:
    output.write(msgspec.json.encode(line) + b"\n")
    output.flush()


if __name__ == "__main__":
    main()
