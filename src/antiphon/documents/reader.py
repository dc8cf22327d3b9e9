"""Program that reads one document, in a process of its own: `python -m antiphon.documents.reader`.

The process gets the request as a line of JSON and then the bytes of the file. It writes a line of
JSON for each page, or one for the picture of a page, and a last one. Nothing of the server is in
it: no environment, no open file. Before a library sees the file, the process limits what it may
use, and cuts itself off from the network where Linux lets it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from itertools import chain
from typing import BinaryIO

import msgspec

from antiphon.documents.kinds import Kind, Unreadable, detect_kind
from antiphon.documents.pages import (
    MAX_PAGES,
    MAX_TEXT,
    TextPage,
    clean_page,
    clean_title,
)
from antiphon.isolated_process import limit_process, take_output
from antiphon.types.documents import DocumentFailure, DocumentPage, PagePicture

MEMORY = 1_500_000_000
"""Bytes of addresses that the process may use."""


class ReadRequest(msgspec.Struct, frozen=True):
    """A file to read within `seconds`, or the `picture` of the page of this number to draw."""

    name: str
    media_type: str
    seconds: int
    tesseract: str | None = None
    picture: int | None = None


class ReadEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """End of a document: `cut` if it has more text than is kept, or the reason why it has none."""

    reason: DocumentFailure | None = None
    cut: bool = False


class ReadLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line that the process writes: a page, the picture of one, or the end."""

    page: DocumentPage | None = None
    picture: PagePicture | None = None
    end: ReadEnd | None = None


def main() -> None:
    """Read the request and the file from standard input, and write the lines."""
    output = take_output()
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=ReadRequest)
    end = _read_to_end(request, sys.stdin.buffer.read(), output)
    output.write(msgspec.json.encode(ReadLine(end=end)) + b"\n")
    output.flush()


def _read_to_end(request: ReadRequest, content: bytes, output: BinaryIO) -> ReadEnd:
    try:
        kind = detect_kind(request.name, request.media_type, content)
        if request.picture is not None:
            return _write_picture(kind, request, content, output)
        module_name, name = _READERS[kind]
        # Only the libraries of this kind are imported.
        module = import_module(f"antiphon.documents.{module_name}")
        read: Callable[..., Iterator[TextPage]] = getattr(module, name)
        if kind in ("pdf", "image"):
            read = partial(read, tesseract=request.tesseract)
        limit_process(request.seconds, MEMORY)
        return _write_pages(read(content), output)
    except Unreadable as fault:
        return ReadEnd(fault.reason)
    except ImportError:
        return ReadEnd("no_extra")
    except (MemoryError, RecursionError):
        return ReadEnd("too_large")
    except BrokenPipeError:
        raise
    except Exception:  # noqa: BLE001 - parsers raise what they like about files of strangers
        return ReadEnd("damaged")


def _write_pages(pages: Iterator[TextPage], output: BinaryIO) -> ReadEnd:
    total = 0
    seen = False
    cleaned = chain.from_iterable(map(clean_page, pages))
    for number, (title, text) in enumerate(cleaned, 1):
        total += len(text)
        if number > MAX_PAGES or total > MAX_TEXT:
            return ReadEnd(cut=True) if seen else ReadEnd("empty")
        seen = seen or bool(text.strip())
        page = DocumentPage(number=number, title=clean_title(title), text=text)
        output.write(msgspec.json.encode(ReadLine(page=page)) + b"\n")
        output.flush()
    return ReadEnd() if seen else ReadEnd("empty")


def _write_picture(kind: Kind, request: ReadRequest, content: bytes, output: BinaryIO) -> ReadEnd:
    if kind != "pdf":
        return ReadEnd("unsupported")
    draw: Callable[[bytes, int], PagePicture | None]
    draw = import_module("antiphon.documents.pdf").draw_pdf_page
    limit_process(request.seconds, MEMORY)
    picture = draw(content, request.picture or 1)
    if picture is not None:
        output.write(msgspec.json.encode(ReadLine(picture=picture)) + b"\n")
    return ReadEnd()


_READERS: Mapping[Kind, tuple[str, str]] = {
    "pdf": ("pdf", "read_pdf"),
    "docx": ("word", "read_docx"),
    "xlsx": ("excel", "read_xlsx"),
    "pptx": ("powerpoint", "read_pptx"),
    "epub": ("epub", "read_epub"),
    "html": ("plain_text", "read_html"),
    "text": ("plain_text", "read_text"),
    "image": ("pictures", "read_picture_page"),
}


if __name__ == "__main__":
    main()
