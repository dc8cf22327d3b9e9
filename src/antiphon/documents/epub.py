"""Text of EPUB: the chapters in their order."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree import ElementTree
from zipfile import ZipFile

from antiphon.documents.archives import open_archive, refuse_entities
from antiphon.documents.kinds import Unreadable
from antiphon.documents.pages import PAGE_LENGTH, TextPage, split_text
from antiphon.documents.plain_text import decode_text
from antiphon.tools.html_to_text import html_to_text

_CONTAINER = "META-INF/container.xml"
_CONTAINER_NAME = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_PACKAGE_NAME = "{http://www.idpf.org/2007/opf}"


def read_epub(content: bytes) -> Iterator[TextPage]:
    """Yield the pages of each chapter. Raises `Unreadable`, as for books that are locked."""
    with open_archive(content) as book:
        if (
            "META-INF/encryption.xml" in book.namelist()
            and "META-INF/rights.xml" in book.namelist()
        ):
            raise Unreadable("encrypted")
        for path in _chapters(book):
            title, text = html_to_text(decode_text(book.read(path)), "")
            if text.strip():
                yield from split_text(title, text, 2 * PAGE_LENGTH)


def _chapters(book: ZipFile) -> Iterator[str]:
    """Yield the members with the chapters, in the order in which they are read."""
    try:
        container = _parse(book.read(_CONTAINER))
        root = container.find(f".//{_CONTAINER_NAME}rootfile")
        path = root.get("full-path", "") if root is not None else ""
        package = _parse(book.read(path))
    except (KeyError, ElementTree.ParseError) as fault:
        raise Unreadable("damaged") from fault
    folder = posixpath.dirname(path)
    items = {item.get("id"): item.get("href", "") for item in package.iter(f"{_PACKAGE_NAME}item")}
    known = frozenset(book.namelist())
    for reference in package.iter(f"{_PACKAGE_NAME}itemref"):
        address = items.get(reference.get("idref"))
        member = posixpath.normpath(posixpath.join(folder, unquote(address))) if address else ""
        if member in known:
            yield member


def _parse(content: bytes) -> ElementTree.Element:
    """Parse XML of a book, which may name its type, as EPUB 2 does, but declare no entities."""
    refuse_entities(content)
    return ElementTree.fromstring(content)  # noqa: S314 - without entities, bounded by the process
