"""Text of any encoding, and of HTML."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from antiphon.documents.kinds import Unreadable
from antiphon.documents.pages import TextPage, split_text
from antiphon.tools.html_to_text import html_to_text

SAMPLE = 65_536
"""Bytes from which an encoding is guessed."""
MAX_CONTROLS = 0.02
"""Share of control characters above which a file is no text."""


def read_text(content: bytes) -> Iterator[TextPage]:
    """Yield the pages of a text. Raises `Unreadable` for what is no text."""
    return split_text("", decode_text(content))


def read_html(content: bytes) -> Iterator[TextPage]:
    """Yield the pages of an HTML page, without its scripts."""
    title, text = html_to_text(decode_text(content), "")
    return split_text(title, text)


def decode_text(content: bytes) -> str:
    """Decode a text: by its byte order mark, as UTF-8, as UTF-16, or as what is most likely.

    Raises `Unreadable` for what is no text.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    for encoding in _guess(content):
        try:
            text = content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        sample = text[:SAMPLE]
        controls = sum(letter < " " and letter not in "\t\n\r\f\x1b" for letter in sample)
        if controls <= MAX_CONTROLS * len(sample):  # more of them are in binary files
            return text
    raise Unreadable("wrong_type")


def _guess(content: bytes) -> Iterator[str]:
    sample = content[:SAMPLE]
    zeros = sample.count(0)
    if zeros * 4 > len(sample):  # of ASCII in UTF-16, each other byte is zero
        yield "utf-16-le" if sample[1::2].count(0) >= zeros / 2 else "utf-16-be"
        return
    yield "utf-8"
    try:
        from charset_normalizer import from_bytes  # noqa: PLC0415 - of an extra
    except ImportError:
        pass
    else:
        found = from_bytes(sample)
        best = found.best()
        western = next((each for each in found if each.encoding == "cp1252"), None)
        if best is not None and (western is None or western.chaos > best.chaos):
            yield best.encoding
    yield "cp1252"
    yield "latin-1"


_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
