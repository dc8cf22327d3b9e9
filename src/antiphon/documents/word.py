"""Text of Word documents. Macros, links to other files and embedded files stay closed."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from docx.opc.constants import CONTENT_TYPE
from docx.opc.part import PartFactory
from docx.package import Package
from docx.parts.document import DocumentPart
from docx.table import Table

from antiphon.documents.archives import open_office_archive
from antiphon.documents.pages import PAGE_LENGTH, TextPage, split_text

_MACRO_WORD = "application/vnd.ms-word.document.macroEnabled.main+xml"


def read_docx(content: bytes) -> Iterator[TextPage]:
    """Yield the pages of a Word document, which begin where Word began them when it was saved."""
    open_office_archive(content).close()
    PartFactory.part_type_for[CONTENT_TYPE.WML_DOCUMENT_MAIN] = DocumentPart
    PartFactory.part_type_for[_MACRO_WORD] = DocumentPart
    package: Any = Package.open(BytesIO(content))
    lines: list[str] = []
    for block in package.main_document_part.document.iter_inner_content():
        if isinstance(block, Table):
            lines += (
                " | ".join(" ".join(cell.text.split()) for cell in row.cells) for row in block.rows
            )
            continue
        breaks = block.contains_page_break or block._p.xpath(".//w:br[@w:type='page']")
        if breaks and any(lines):
            yield from split_text("", "\n".join(lines), 2 * PAGE_LENGTH)
            lines = []
        lines.append(block.text)
    if any(lines):
        yield from split_text("", "\n".join(lines), 2 * PAGE_LENGTH)
