"""The system's keyring, where there is one: the Keychain, the Credential Manager, a desktop's."""

from __future__ import annotations

import importlib
from typing import Protocol


class Keyring(Protocol):
    """Secrets by service and name. Each method may wait, and raises `Unavailable`."""

    def get(self, service: str, name: str) -> str | None:
        """The secret, None where there is none."""
        ...

    def set(self, service: str, name: str, secret: str) -> None:
        """Keep the secret in place of what was there."""
        ...

    def delete(self, service: str, name: str) -> None:
        """Forget it, if it is there."""
        ...


def system_keyring() -> Keyring | None:
    """This system's; None without the extra `antiphon[keyring]`, or where the system has none."""
    try:
        system = importlib.import_module("antiphon.mcp.config.system_keyring")
    except ImportError:
        return None
    keyring: Keyring | None = system.SystemKeyring() if system.usable() else None
    return keyring
