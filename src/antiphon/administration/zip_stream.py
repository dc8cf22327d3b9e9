"""A zip archive that is sent while it is made: nothing is held but what was not fetched yet."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo


class ZipStream:
    """Takes entries one after the other; `taken` gives the bytes that are ready.

    Every entry bears the time `made`, and is for its owner's eyes where it is unpacked.
    """

    def __init__(self, made: datetime) -> None:
        self._made = made.timetuple()[:6]
        self._ready = _Ready()
        self._zip = ZipFile(self._ready, "w", ZIP_DEFLATED)

    @contextmanager
    def entry(self, name: str) -> Generator[IO[bytes]]:
        """A file to be written into the archive, of any length."""
        about = ZipInfo(name, self._made)
        about.compress_type = ZIP_DEFLATED
        about.external_attr = 0o600 << 16
        with self._zip.open(about, "w", force_zip64=True) as entry:
            yield entry

    def taken(self) -> bytes:
        """The bytes that were not taken yet."""
        return self._ready.taken()

    def end(self) -> bytes:
        """The last bytes: the list of all entries."""
        self._zip.close()
        return self._ready.taken()


class _Ready:
    """A file that can only be written to, and is emptied now and then."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        ready = b"".join(self._pieces)
        self._pieces.clear()
        return ready
