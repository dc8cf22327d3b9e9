"""Text of pictures, by the program tesseract."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from antiphon.documents.kinds import Unreadable
from antiphon.documents.pages import TextPage, split_text


def read_picture_page(content: bytes, tesseract: str | None) -> Iterator[TextPage]:
    """Yield the text of a picture, as pages. Raises `Unreadable`."""
    return split_text("", read_picture(content, tesseract))


def read_picture(content: bytes, tesseract: str | None) -> str:
    """Return the text of a picture. Raises `Unreadable` where the program is not there."""
    if tesseract is None:
        raise Unreadable("no_ocr")
    try:
        done = subprocess.run(  # noqa: S603 - the operator's program, without a shell
            [tesseract, "stdin", "stdout"],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError as fault:
        raise Unreadable("no_ocr") from fault
    if done.returncode:
        raise Unreadable("damaged")
    return done.stdout.decode("utf-8", "replace")
