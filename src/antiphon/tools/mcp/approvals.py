"""Which files of other people may start servers: those whose content a person has seen.

A folder may come from anybody. What its files would start is approved as it is written, in that
place; when it changes, it is asked for again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from antiphon.errors import BadSettings
from antiphon.tools import private_file
from antiphon.trust import TrustedFiles, place

Tables = Mapping[str, Mapping[str, Any]]


class Approvals(TrustedFiles):
    """Trusted content by file, which can be changed; a list that cannot be read trusts nothing."""

    def cover(self, file: Path, tables: Tables) -> bool:
        """Whether these servers of the file were approved."""
        return self.covers(file, digest(tables))

    def approve(self, file: Path, tables: Tables) -> None:
        """Let the file start these servers. Raises `BadSettings` where that cannot be kept."""
        self.trust(file, digest(tables))

    def trust(self, file: Path, digest: str) -> None:
        """Let content of this digest count at this place. Raises `BadSettings`."""
        self._change(lambda known: known | {place(file): digest})

    def revoke(self, places: Collection[str]) -> list[str]:
        """Trust nothing at these places any more; returns those where something was trusted."""
        revoked: list[str] = []

        def without(known: dict[str, str]) -> dict[str, str]:
            revoked.extend(each for each in known if each in places)
            return {each: known[each] for each in known if each not in places}

        self._change(without)
        return revoked

    def _change(self, changed: Callable[[dict[str, str]], dict[str, str]]) -> None:
        try:
            with private_file.alone(self.file):
                private_file.write(self.file, msgspec.json.encode(changed(self.all())))
        except OSError as error:
            raise BadSettings(
                f"What is trusted cannot be kept: {error.strerror}.",
                expected=f"to write {self.file}",
            ) from error


def digest(tables: Tables) -> str:
    """What these servers are, in the order in which they are written, in a few letters."""
    return hashlib.sha256(msgspec.json.encode(tables)).hexdigest()
