"""Documents read in a process of its own, which is killed at its deadline with what it started."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from antiphon.documents.pages import (
    MAX_PAGE_TEXT,
    MAX_PAGES,
    MAX_TEXT,
    clean_text,
    clean_title,
)
from antiphon.documents.reader import ReadEnd, ReadLine, ReadRequest
from antiphon.isolated_process import ProcessFailed, ProcessTooSlow, read_lines
from antiphon.tools.programs import find_program
from antiphon.types.documents import DocumentFailure, DocumentPage, PagePicture

PROGRAM: Sequence[str] = (sys.executable, "-I", "-m", "antiphon.documents.reader")
"""The program of the process, without anything of the environment or of the working folder."""
LINE_BYTES = 4_000_000
"""Bytes of a line that the process may write; a page has a tenth of it at most."""
PICTURE_SECONDS = 20
"""Seconds for the picture of a page: a person waits for it."""
MAX_PICTURE_SIDE = 2_000


class FileContent(NamedTuple):
    """Name and media type of a file, and its bytes, which are read on demand."""

    name: str
    media_type: str
    pieces: AsyncIterable[bytes]


def find_tesseract() -> str | None:
    """Return the path of the program that reads pictures, None if it is not installed."""
    return find_program("tesseract")


class DocumentReader:
    """Reads documents, each in a process that has `seconds`. Only that loads the libraries."""

    def __init__(self, seconds: int, tesseract: str | None = None) -> None:
        self.seconds = seconds
        self.tesseract = tesseract

    async def read(self, file: FileContent) -> AsyncGenerator[DocumentPage | ReadEnd, None]:
        """Yield the pages and then the end. An end with a reason may come after pages."""
        request = ReadRequest(file.name, file.media_type, self.seconds, self.tesseract)
        number = total = 0
        async with aclosing(self._lines(request, file)) as lines:
            async for line in lines:
                if line.end is not None:
                    yield line.end
                    return
                number += 1
                if line.page is None or line.page.number != number or number > MAX_PAGES:
                    break
                # A hostile file may control the process by now.
                total += len(line.page.text)
                if len(line.page.text) > MAX_PAGE_TEXT or total > MAX_TEXT:
                    break
                yield DocumentPage(
                    number=number,
                    title=clean_title(line.page.title),
                    text=clean_text(line.page.text),
                )
        yield ReadEnd("damaged")

    async def draw(self, file: FileContent, number: int) -> PagePicture | DocumentFailure | None:
        """Return the picture of the page of this number of a PDF, or the reason why it has none.

        None if the file has no such page.
        """
        seconds = min(self.seconds, PICTURE_SECONDS)
        request = ReadRequest(file.name, file.media_type, seconds, picture=number)
        async with aclosing(self._lines(request, file)) as lines:
            async for line in lines:
                if line.end is not None:
                    return line.end.reason
                picture = line.picture
                # A hostile file may control the process by now.
                if picture is None or not _is_webp(picture):
                    break
                return picture
        return "damaged"

    async def _lines(
        self, request: ReadRequest, file: FileContent
    ) -> AsyncGenerator[ReadLine, None]:
        """Yield what the process writes, and an end for a process that does not end well."""
        environment = {"OMP_THREAD_LIMIT": "1"}  # for the reader of pictures
        if (languages := os.environ.get("TESSDATA_PREFIX")) is not None:
            environment["TESSDATA_PREFIX"] = languages
        lines = read_lines(
            PROGRAM,
            request,
            ReadLine,
            seconds=request.seconds,
            line_bytes=LINE_BYTES,
            environment=environment,
            pieces=file.pieces,
        )
        try:
            async with aclosing(lines):
                async for line in lines:
                    yield line
        except ProcessTooSlow:
            yield ReadLine(end=ReadEnd("too_slow"))
        except ProcessFailed:
            yield ReadLine(end=ReadEnd("damaged"))


def _is_webp(picture: PagePicture) -> bool:
    """Return true if the bytes are a WebP file of their length, and no side is too long."""
    data = picture.data
    return (
        data[:4] == b"RIFF"
        and data[8:12] == b"WEBP"
        and int.from_bytes(data[4:8], "little") + 8 == len(data)
        and 0 < picture.width <= MAX_PICTURE_SIDE
        and 0 < picture.height <= MAX_PICTURE_SIDE
    )
