"""A small file of the user's own: for nobody else's eyes, and written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where of two programs that change a file at once one may lose
    fcntl = None  # type: ignore[assignment]


@contextmanager
def alone(file: Path) -> Generator[None]:
    """Hold the file, which need not be there yet: other programs that change it wait meanwhile."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(file: Path, content: bytes) -> None:
    """All of it or nothing, for the owner's eyes only. A link is followed, not replaced."""
    place = file.resolve()
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=place.name)  # made 0600
    try:
        with os.fdopen(descriptor, "wb") as written:
            written.write(content)
            written.flush()
            os.fsync(descriptor)  # or a crash may leave an empty file under the name
        os.replace(name, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
