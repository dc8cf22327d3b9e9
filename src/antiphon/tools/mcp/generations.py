"""Which servers are of the old generation: some ignore the newer one's first question for ever.

To wait for such a server costs ten seconds at each start. So what was dear to find out is kept in a
small file of the user's own, until the server is of another version, or does not start that way.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from antiphon.folders import data_folder
from antiphon.tools import private_file
from antiphon.tools.mcp.config import ServerConfig

NAME = "mcp-generations.json"
SECONDS_KEPT = 90 * 24 * 3600
MOST = 500


class _Old(msgspec.Struct, frozen=True):
    version: str
    until: float


class Generations:
    """The servers that are known to be old. Nothing raises: without it starts only take longer."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def old(self, config: ServerConfig) -> bool:
        """Whether the server need not be asked."""
        known = self._all().get(fingerprint(config))
        return known is not None and known.until > time.time()

    def learn(self, config: ServerConfig, version: str) -> None:
        """The server, which says that this is its version, is old, and that was dear to find out.

        One that was known by another version is forgotten instead: it may have grown up.
        """
        key = fingerprint(config)
        known = self._all().get(key)
        if known is None:
            self._keep(key, _Old(version, time.time() + SECONDS_KEPT))
        elif known.version != version:
            self._keep(key, None)

    def forget(self, config: ServerConfig) -> None:
        """The server is to be asked again."""
        self._keep(fingerprint(config), None)

    def _keep(self, key: str, old: _Old | None) -> None:
        try:
            with private_file.alone(self._file):
                others = [(other, each) for other, each in self._all().items() if other != key]
                kept = others if old is None else [*others, (key, old)]
                private_file.write(self._file, msgspec.json.encode(dict(kept[-MOST:])))
        except OSError as error:
            log.debug("%s cannot be written: %s", self._file, error)

    def _all(self) -> dict[str, _Old]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, _Old])
        except (OSError, msgspec.DecodeError):
            return {}


def generations(environ: Mapping[str, str]) -> Generations:
    """What this user's programs have found out."""
    return Generations(data_folder(environ) / NAME)


def fingerprint(config: ServerConfig) -> str:
    """What is started or reached, in a few letters; nobody reads an address out of it."""
    about = (config.transport, config.command, config.args, config.cwd, config.url)
    return hashlib.sha256(msgspec.json.encode(about)).hexdigest()[:32]


log = logging.getLogger(__name__)
