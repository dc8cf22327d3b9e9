"""Text of PowerPoint presentations. Macros, links and embedded files stay closed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any

from pptx import Presentation

from antiphon.documents.archives import open_office_archive
from antiphon.documents.pages import TextPage


def read_pptx(content: bytes) -> Iterator[TextPage]:
    """Yield a page for each slide, with its notes."""
    open_office_archive(content).close()
    for slide in Presentation(BytesIO(content)).slides:
        title = slide.shapes.title
        lines = [*_shape_lines(slide.shapes)]
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None:
            lines.append(notes.text)
        name = title.text_frame.text if title is not None else ""
        yield TextPage(name, "\n".join(filter(None, lines)))


def _shape_lines(shapes: Iterable[Any]) -> Iterator[str]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shape_lines(shape.shapes)
        elif getattr(shape, "has_table", False):
            for row in shape.table.rows:
                yield " | ".join(" ".join(cell.text.split()) for cell in row.cells)
        elif shape.has_text_frame:
            yield shape.text_frame.text
