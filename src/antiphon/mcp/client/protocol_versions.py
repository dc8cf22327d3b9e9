"""Which servers are of the old generation: some ignore the newer one's first question for ever.

To wait for such a server costs ten seconds at each start. So what was dear to find out is kept in a
small file of the user's own, until the server is of another version, or does not start that way.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from antiphon.mcp.config.server_config import Mode, ServerConfig
from antiphon.settings import private_files
from antiphon.settings.paths import data_folder

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
            with private_files.lock_file(self._file):
                others = [(other, each) for other, each in self._all().items() if other != key]
                kept = others if old is None else [*others, (key, old)]
                private_files.write_private_file(
                    self._file, msgspec.json.encode(dict(kept[-MOST:]))
                )
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


# In which protocol a server is spoken to next, from what is remembered and how it went.


DEAR_SECONDS = 5.0
"""A start that took so long is worth to be shortened, where it can be."""


class Approach:
    """`mode` is how to speak to it next."""

    def __init__(self, config: ServerConfig, generations: Generations | None) -> None:
        self.mode: Mode = config.mode
        self._config = config
        self._generations = generations
        self._recalled = False
        self._was_ready = False
        self._learning: asyncio.Future[None] | None = None

    async def recall(self) -> None:
        """Remember what was found out in earlier days."""
        if self._config.mode != "auto" or self._generations is None:
            return
        if await asyncio.to_thread(self._generations.old, self._config):
            self.mode, self._recalled = "legacy", True

    def ready(self, *, modern: bool, version: str, seconds: float) -> None:
        """It came, after so long. What an old one answered to need not be found out again."""
        if self._config.mode != "auto" or modern:
            return
        # Not asked at all: it is known, or it ended when it was asked.
        dear = self.mode == "legacy" or seconds > DEAR_SECONDS
        if dear and not self._was_ready and self._generations is not None:
            loop = asyncio.get_running_loop()
            learn = self._generations.learn
            self._learning = loop.run_in_executor(None, learn, self._config, version)
        self.mode, self._recalled, self._was_ready = "legacy", False, True

    async def failed(self, *, died_of_the_question: bool) -> bool:
        """It did not come; whether to try at once in another way."""
        if self._recalled and self._generations is not None:  # it may have grown up
            self.mode, self._recalled = self._config.mode, False
            await asyncio.to_thread(self._generations.forget, self._config)
            return True
        if self.mode == "auto" and died_of_the_question:
            self.mode = "legacy"  # some old servers end at the first request they do not know
            return True
        self.mode = self._config.mode
        return False
