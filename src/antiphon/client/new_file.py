"""A file that is made for its owner's eyes, and takes no other's place unless it is told to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from antiphon.errors import InvalidRequest


@contextmanager
def new_file(
    place: Path, *, over: bool = False, hint: str = "Name another file."
) -> Generator[TextIO]:
    """Write a file that stays only if nothing is raised meanwhile.

    With `over` it takes the place of a file that is there, at its end and at once; a link is
    followed. Raises `InvalidRequest` where there is one already, or none can be made.
    """
    try:
        target = place.resolve() if over else place
        descriptor, name = _besides(target) if over else _in_place(target)
    except FileExistsError as error:
        raise InvalidRequest(
            f"{place} is there already", expected="a name that is free", hint=hint
        ) from error
    except OSError as error:
        raise InvalidRequest(f"{place} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        if over:
            os.replace(name, target)
    except BaseException:  # whatever it is: half a file does not stay
        with suppress(OSError):
            os.unlink(name)
        raise


def _in_place(target: Path) -> tuple[int, str]:
    return os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), str(target)


def _besides(target: Path) -> tuple[int, str]:
    """Next to it, until it is whole. Raises `FileExistsError` for what is no file, as a device."""
    if target.exists() and not target.is_file():
        raise FileExistsError(target)
    return tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # made 0600
