"""Choice of the protocol generation to try first with each server.

Some servers that know only older protocols never answer the newest protocol's first request, and
waiting for them costs ten seconds at each start. A server found to be so is remembered in a small
file until its version changes or it fails to start that way.
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


class _LegacyServer(msgspec.Struct, frozen=True):
    version: str
    until: float


class ProtocolCache:
    """Servers known to need the legacy protocol. Never raises: it only makes starts faster."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def is_legacy(self, config: ServerConfig) -> bool:
        """Return whether the server is known to need the legacy protocol."""
        known = self._read().get(fingerprint(config))
        return known is not None and known.until > time.time()

    def update(self, config: ServerConfig, version: str) -> None:
        """Record that the server, which reports this version, needs the legacy protocol.

        A server known by another version is forgotten instead: it may support the new protocol.
        """
        key = fingerprint(config)
        known = self._read().get(key)
        if known is None:
            self._put(key, _LegacyServer(version, time.time() + SECONDS_KEPT))
        elif known.version != version:
            self._put(key, None)

    def forget(self, config: ServerConfig) -> None:
        """Forget the server."""
        self._put(fingerprint(config), None)

    def _put(self, key: str, old: _LegacyServer | None) -> None:
        try:
            with private_files.lock_file(self._file):
                others = [(other, each) for other, each in self._read().items() if other != key]
                kept = others if old is None else [*others, (key, old)]
                private_files.write_private_file(
                    self._file, msgspec.json.encode(dict(kept[-MOST:]))
                )
        except OSError as error:
            log.debug("%s cannot be written: %s", self._file, error)

    def _read(self) -> dict[str, _LegacyServer]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, _LegacyServer])
        except (OSError, msgspec.DecodeError):
            return {}


def open_protocol_cache(environ: Mapping[str, str]) -> ProtocolCache:
    """Open this user's cache."""
    return ProtocolCache(data_folder(environ) / NAME)


def fingerprint(config: ServerConfig) -> str:
    """Return a digest of the command or URL; neither can be read from it."""
    about = (config.transport, config.command, config.args, config.cwd, config.url)
    return hashlib.sha256(msgspec.json.encode(about)).hexdigest()[:32]


log = logging.getLogger(__name__)


# Protocol to try next.


DEAR_SECONDS = 5.0
"""A start that takes longer than this is worth remembering."""


class ProtocolNegotiation:
    """Protocol to try next with one server, as `mode`."""

    def __init__(self, config: ServerConfig, cache: ProtocolCache | None) -> None:
        self.mode: Mode = config.mode
        self._config = config
        self._cache = cache
        self._is_from_cache = False
        self._was_ready = False
        self._learning: asyncio.Future[None] | None = None

    async def load(self) -> None:
        """Load what is remembered of the server."""
        if self._config.mode != "auto" or self._cache is None:
            return
        if await asyncio.to_thread(self._cache.is_legacy, self._config):
            self.mode, self._is_from_cache = "legacy", True

    def handle_ready(self, *, modern: bool, version: str, seconds: float) -> None:
        """Record that the server became ready after so many seconds."""
        if self._config.mode != "auto" or modern:
            return
        # Legacy mode: it is known to be legacy, or it exited at the first request.
        dear = self.mode == "legacy" or seconds > DEAR_SECONDS
        if dear and not self._was_ready and self._cache is not None:
            loop = asyncio.get_running_loop()
            learn = self._cache.update
            self._learning = loop.run_in_executor(None, learn, self._config, version)
        self.mode, self._is_from_cache, self._was_ready = "legacy", False, True

    async def handle_failure(self, *, exited_before_handshake: bool) -> bool:
        """Record a failed start; return whether to retry at once in another mode."""
        if self._is_from_cache and self._cache is not None:  # it may have grown up
            self.mode, self._is_from_cache = self._config.mode, False
            await asyncio.to_thread(self._cache.forget, self._config)
            return True
        if self.mode == "auto" and exited_before_handshake:
            self.mode = "legacy"  # some old servers end at the first request they do not know
            return True
        self.mode = self._config.mode
        return False
