"""Text of Excel workbooks. Macros, formulas and links to other files stay closed."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import openpyxl  # type: ignore[import-untyped]

from antiphon.documents.archives import open_office_archive
from antiphon.documents.pages import PAGE_LENGTH, TextPage

_openpyxl: Any = openpyxl  # it has no types


def read_xlsx(content: bytes) -> Iterator[TextPage]:
    """Yield the pages of each sheet: rows of cells, with values as they were last computed."""
    open_office_archive(content).close()
    book = _openpyxl.load_workbook(
        BytesIO(content), read_only=True, data_only=True, keep_links=False
    )
    for sheet in book.worksheets:
        lines: list[str] = []
        size = 0
        for row in sheet.iter_rows(values_only=True):
            cells = ["" if value is None else str(value) for value in row]
            line = " | ".join(cells).rstrip(" |")
            if not line:
                continue
            if size and size + len(line) > PAGE_LENGTH:
                yield TextPage(sheet.title, "\n".join(lines))
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        if lines:
            yield TextPage(sheet.title, "\n".join(lines))
