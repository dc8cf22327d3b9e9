"""Kinds of documents, detected by the name, the media type and the first bytes of a file."""

from __future__ import annotations

from typing import Literal

from antiphon.types.documents import DocumentFailure

Kind = Literal["pdf", "docx", "xlsx", "pptx", "epub", "html", "text", "image"]


class Unreadable(Exception):
    """A file has no text that can be read; `reason` says why."""

    def __init__(self, reason: DocumentFailure) -> None:
        super().__init__(reason)
        self.reason: DocumentFailure = reason


def detect_kind(name: str, media_type: str, content: bytes) -> Kind:
    """Return the kind of a file.

    The name's ending counts before the media type, which browsers derive from it. Raises
    `Unreadable` where the content is of another kind, or of none that has text.
    """
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    kind = media_type.partition(";")[0].strip().lower()
    declared = _ENDINGS.get(ending) or _MEDIA_TYPES.get(kind)
    if declared is None and kind.startswith(("image/", "text/")):
        declared = "image" if kind.startswith("image/") else "text"
    actual = _sniff(content)
    if actual == "ole":
        raise Unreadable("encrypted" if declared in _OFFICE else "unsupported")
    if declared is None:
        if ending in _BINARY or kind.startswith(("audio/", "video/", "font/")):
            raise Unreadable("unsupported")
        is_binary = actual == "text" and b"\0" in content[:1024]
        if actual == "zip" or (is_binary and not content.startswith((b"\xff\xfe", b"\xfe\xff"))):
            raise Unreadable("unsupported")
        return actual
    if actual != (_CONTAINERS.get(declared) or declared):
        raise Unreadable("wrong_type")
    return declared


def _sniff(content: bytes) -> Literal["pdf", "zip", "ole", "image", "text"]:
    """Return the kind of the content by its first bytes."""
    if b"%PDF-" in content[:1024]:
        return "pdf"
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if content.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return "ole"
    if content.startswith(_PICTURES) or content[8:12] == b"WEBP":
        return "image"
    return "text"


_PICTURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")

_OFFICE: frozenset[Kind] = frozenset({"docx", "xlsx", "pptx"})

_CONTAINERS: dict[Kind, str] = {
    **dict.fromkeys(("docx", "xlsx", "pptx", "epub"), "zip"),
    "html": "text",
}

_ENDINGS: dict[str, Kind] = {
    "pdf": "pdf",
    **dict.fromkeys(("docx", "docm"), "docx"),
    **dict.fromkeys(("xlsx", "xlsm"), "xlsx"),
    **dict.fromkeys(("pptx", "pptm"), "pptx"),
    "epub": "epub",
    **dict.fromkeys(("html", "htm", "xhtml"), "html"),
    **dict.fromkeys(("txt", "md", "csv", "tsv", "json", "xml", "yaml", "yml", "log"), "text"),
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp", "bmp", "tif", "tiff"), "image"),
}

_OPEN_XML = "application/vnd.openxmlformats-officedocument."
_MEDIA_TYPES: dict[str, Kind] = {
    "application/pdf": "pdf",
    f"{_OPEN_XML}wordprocessingml.document": "docx",
    f"{_OPEN_XML}spreadsheetml.sheet": "xlsx",
    f"{_OPEN_XML}presentationml.presentation": "pptx",
    "application/epub+zip": "epub",
    **dict.fromkeys(("text/html", "application/xhtml+xml"), "html"),
    **dict.fromkeys(("application/json", "application/xml", "application/yaml"), "text"),
}

_BINARY = frozenset({"doc", "xls", "ppt", "rtf", "odt", "ods", "odp", "zip", "gz", "exe", "dll"})
