"""Keyring of the system: the Keychain, the Credential Manager, or a desktop's."""

from __future__ import annotations

import importlib
from typing import Protocol


class Keyring(Protocol):
    """Secrets by service and name. Each method may block, and raises `Unavailable`."""

    def get(self, service: str, name: str) -> str | None:
        """Return the secret, None if there is none."""
        ...

    def set(self, service: str, name: str, secret: str) -> None:
        """Save the secret, replacing the old one."""
        ...

    def delete(self, service: str, name: str) -> None:
        """Delete the secret, if there is one."""
        ...


def system_keyring() -> Keyring | None:
    """Return the system's keyring; None without the extra `antiphon[keyring]` or a keyring."""
    try:
        system = importlib.import_module("antiphon.mcp.config.system_keyring")
    except ImportError:
        return None
    keyring: Keyring | None = system.SystemKeyring() if system.is_available() else None
    return keyring
