"""Text of an uploaded file: the state of its reading, and its pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

DocumentStatus = Literal["pending", "ready", "failed"]

DocumentFailure = Literal[
    "damaged",
    "empty",
    "encrypted",
    "no_extra",
    "no_ocr",
    "too_large",
    "too_slow",
    "unsafe",
    "unsupported",
    "wrong_type",
]
"""Reason for which a file has no text."""

FAILURES: Mapping[DocumentFailure, str] = {
    "damaged": "The file is damaged, or its form is not known.",
    "empty": "The file has no text.",
    "encrypted": "The file is encrypted. Save it without a password, and upload it again.",
    "no_extra": "Files of this kind are read where the server has the extra `documents`.",
    "no_ocr": "Text of pictures is read where the server has the program `tesseract`.",
    "too_large": "The file takes more memory than the server gives to a document.",
    "too_slow": "The file was not read in the time that the server gives to a document.",
    "unsafe": "The file unpacks to far more than it is, or names other files. It was not read.",
    "unsupported": "Files of this kind have no text that is read.",
    "wrong_type": "The content of the file is not what its name and media type say.",
}
"""Sentence for each reason."""


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """State of the reading of a file's text.

    `pages` is the number of pages with text that are stored. `reason` says why it `failed`, and
    `message` says the same in a sentence. `cut` is true if the file has more text than is kept.
    """

    status: DocumentStatus
    pages: int = 0
    reason: DocumentFailure | None = None
    message: str | None = None
    cut: bool = False


class DocumentPage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Text of one page.

    `number` counts from 1: pages of a PDF, slides, chapters; sheets and long texts are cut into
    pages. `title` is the name of the sheet, the slide or the chapter, if it has one.
    """

    number: int
    title: str = ""
    text: str


class PagePicture(msgspec.Struct, frozen=True, kw_only=True):
    """Picture of one page. `data` is its file, base64 in JSON; `width` and `height` in pixels."""

    media_type: Literal["image/webp"] = "image/webp"
    width: int
    height: int
    data: bytes


class DocumentClaim(msgspec.Struct, frozen=True):
    """A file that a process reads until its lease ends; `attempt` counts from 1."""

    owner: str
    upload_id: str
    attempt: int
