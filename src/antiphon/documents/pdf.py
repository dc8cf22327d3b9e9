"""Text and pictures of the pages of a PDF. Scripts, forms and attachments in it stay closed."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from typing import Any

import pypdfium2  # type: ignore[import-untyped]

from antiphon.documents.kinds import Unreadable
from antiphon.documents.pages import TextPage, clean_page
from antiphon.documents.pictures import read_picture
from antiphon.types.documents import PagePicture

_pdfium: Any = pypdfium2  # it has no types

OCR_SCALE = 200 / 72
"""Dots for each point of a page whose picture is read."""
MAX_SIDE = 6400
"""Pixels of the longer side of a page whose picture is read."""
VIEW_SIDE = 1600
"""Pixels of the longer side of a page that a person looks at."""
VIEW_QUALITY = 85


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
                    scale = min(OCR_SCALE, MAX_SIDE / max(1.0, *page.get_size()))
                    text = read_picture(_encode(_draw(page, scale), "PNG"), tesseract)
            label = document.get_page_label(number)
            yield TextPage("" if label == str(number + 1) else label, text)


def draw_pdf_page(content: bytes, number: int) -> PagePicture | None:
    """Draw the page that has this number in the list of pages; None if there is no such page.

    The list has a page with much text as several, so the texts before it are counted again. Raises
    `Unreadable`.
    """
    with _open(content) as document:
        for index in range(min(number, len(document))):
            with closing(document[index]) as page:
                with closing(page.get_textpage()) as text_page:
                    text = TextPage("", text_page.get_text_bounded())
                number -= sum(1 for _ in clean_page(text))
                if number <= 0:
                    picture = _draw(page, VIEW_SIDE / max(1.0, *page.get_size()))
                    return PagePicture(
                        width=picture.width,
                        height=picture.height,
                        data=_encode(picture, "WEBP", quality=VIEW_QUALITY),
                    )
    return None


def _draw(page: Any, scale: float) -> Any:
    return page.render(scale=scale).to_pil().convert("RGB")


def _encode(picture: Any, form: str, **options: int) -> bytes:
    file = BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@contextmanager
def _open(content: bytes) -> Generator[Any]:
    try:
        document = _pdfium.PdfDocument(content)
    except _pdfium.PdfiumError as fault:
        raise Unreadable("encrypted" if "assword" in str(fault) else "damaged") from fault
    with closing(document):
        yield document
