"""Text of the pages of a PDF. Scripts, forms and attachments in it stay closed."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from typing import Any

import pypdfium2  # type: ignore[import-untyped]

from antiphon.documents.kinds import Unreadable
from antiphon.documents.pages import TextPage
from antiphon.documents.pictures import read_picture

_pdfium: Any = pypdfium2  # it has no types

OCR_SCALE = 200 / 72
"""Dots for each point of a page whose picture is read."""
MAX_SIDE = 6400
"""Pixels of the longer side of a page's picture."""


def read_pdf(content: bytes, tesseract: str | None) -> Iterator[TextPage]:
    """Yield each page with its label as title; a page that is only a picture is read as one.

    Raises `Unreadable`.
    """
    with _open(content) as document:
        for number in range(len(document)):
            with closing(document[number]) as page:
                with closing(page.get_textpage()) as text_page:
                    text = text_page.get_text_bounded()
                if not text.strip() and tesseract is not None:
                    text = read_picture(_draw(page), tesseract)
            label = document.get_page_label(number)
            yield TextPage("" if label == str(number + 1) else label, text)


def _draw(page: Any) -> bytes:
    bound = MAX_SIDE / max(1.0, *page.get_size())
    picture = page.render(scale=min(OCR_SCALE, bound)).to_pil()
    file = BytesIO()
    picture.convert("RGB").save(file, "PNG")
    return file.getvalue()


@contextmanager
def _open(content: bytes) -> Generator[Any]:
    try:
        document = _pdfium.PdfDocument(content)
    except _pdfium.PdfiumError as fault:
        raise Unreadable("encrypted" if "assword" in str(fault) else "damaged") from fault
    with closing(document):
        yield document
