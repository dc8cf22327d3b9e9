"""Documents made for tests: one of each kind, and malicious ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from antiphon.documents.process import DocumentReader, FileContent
from antiphon.documents.reader import ReadEnd
from antiphon.types.documents import DocumentFailure, DocumentPage, PagePicture

SECONDS = 120

BYTES = "application/octet-stream"


async def read(
    name: str, content: bytes, media_type: str = BYTES, reader: DocumentReader | None = None
) -> tuple[list[DocumentPage], ReadEnd]:
    """Read a file in a process of its own; return its pages and the end."""
    reader = reader or DocumentReader(SECONDS)
    items = [each async for each in reader.read(FileContent(name, media_type, pieces(content)))]
    end = items.pop()
    assert isinstance(end, ReadEnd)
    return [each for each in items if isinstance(each, DocumentPage)], end


async def draw(name: str, content: bytes, number: int) -> PagePicture | DocumentFailure | None:
    """Draw a page in a process of its own."""
    return await DocumentReader(SECONDS).draw(FileContent(name, BYTES, pieces(content)), number)


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


def save(document: Any) -> bytes:
    file = BytesIO()
    document.save(file)
    return file.getvalue()


def pack(members: Mapping[str, str | bytes]) -> bytes:
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def repack(content: bytes, changes: Mapping[str, str | bytes]) -> bytes:
    """Return the archive with members replaced or added."""
    with ZipFile(BytesIO(content)) as archive:
        members: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    return pack(members | dict(changes))


def make_pdf(*texts: str) -> bytes:
    """Return a PDF with a page for each ASCII text."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    kids: list[int] = []
    for text in texts:
        escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        stream = f"BT /F1 12 Tf 20 100 Td ({escaped}) Tj ET" if text else ""
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200]"
            f" /Resources << /Font << /F1 3 0 R >> >> /Contents {len(objects)} 0 R >>"
        )
        kids.append(len(objects))
    objects[1] = (
        f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{k} 0 R' for k in kids)}] >>"
    )
    content = b"%PDF-1.4\n"
    offsets: list[int] = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    return (
        content
        + (
            f"xref\n0 {size}\n0000000000 65535 f \n{table}"
            f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(content)}\n%%EOF\n"
        ).encode()
    )


def make_epub(chapters: Mapping[str, str], **members: str) -> bytes:
    """Return a book with these chapters: the XHTML of each by its address in the package."""
    items = "".join(
        f'<item id="c{number}" href="{name}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(chapters)
    )
    order = "".join(f'<itemref idref="c{number}"/>' for number in range(len(chapters)))
    return pack(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": (
                '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
                '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
            ),
            "OEBPS/book.opf": (
                '<package xmlns="http://www.idpf.org/2007/opf">'
                f"<manifest>{items}</manifest><spine>{order}</spine></package>"
            ),
            **{f"OEBPS/{name}": text for name, text in chapters.items()},
            **members,
        }
    )
