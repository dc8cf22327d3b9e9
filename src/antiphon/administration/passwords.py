"""Passwords as hashes that are slow to guess (argon2id): made and tried in threads, few at once."""

from __future__ import annotations

import asyncio
import secrets
from importlib import import_module
from typing import Any, NamedTuple

from antiphon.errors import BadSettings, install_hint

AT_ONCE = 2
"""Each takes 64 MiB of memory and some tens of milliseconds of a core: a flood of logins waits."""


class Tried(NamedTuple):
    """Whether a password fits, and whether its hash is weaker than one would be made now."""

    fits: bool
    outdated: bool = False


class Passwords:
    """Hashes and tries passwords; argon2 is loaded when it is first needed."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._argon2: Any = None
        self._hasher: Any = None
        self._nobodys = ""

    async def hashed(self, password: str) -> str:
        """The password as it is kept. Raises `BadSettings` where argon2 is not installed."""
        async with self._turns:
            return await asyncio.to_thread(self._hash, password)

    async def tried(self, password: str, kept: str | None) -> Tried:
        """Whether it is the password that was kept; where none is, it takes as long to say no."""
        async with self._turns:
            return await asyncio.to_thread(self._try, password, kept)

    def _hash(self, password: str) -> str:
        made: str = self._loaded().hash(password)
        return made

    def _try(self, password: str, kept: str | None) -> Tried:
        hasher = self._loaded()
        nobodys = self._nobodys or hasher.hash(secrets.token_hex(16))
        self._nobodys = nobodys
        try:
            hasher.verify(kept or nobodys, password)
        except self._argon2.exceptions.VerificationError:
            return Tried(fits=False)
        return Tried(kept is not None, hasher.check_needs_rehash(kept or nobodys))

    def _loaded(self) -> Any:
        if self._hasher is None:
            try:
                self._argon2 = import_module("argon2")
            except ModuleNotFoundError as missing:
                raise BadSettings(
                    "Passwords need argon2, which is not installed.",
                    expected="the extra `web`",
                    hint=install_hint("web"),
                ) from missing
            self._hasher = self._argon2.PasswordHasher()
        return self._hasher
