"""Keyring of this system, by the library `keyring`, an optional extra. Imported by name."""

from __future__ import annotations

from contextlib import suppress

import keyring
from keyring.errors import KeyringError, PasswordDeleteError

from antiphon.types.errors import Unavailable


def is_available() -> bool:
    """Return whether this system has a keyring: a server without a desktop has none."""
    return bool(keyring.get_keyring().priority > 0)


class SystemKeyring:
    """The system's keyring. If it is locked, it may ask its user for a password."""

    def get(self, service: str, name: str) -> str | None:
        """Return the secret, None if there is none."""
        try:
            return keyring.get_password(service, name)
        except KeyringError as error:
            raise _unavailable(error) from error

    def set(self, service: str, name: str, secret: str) -> None:
        """Save the secret, replacing the old one."""
        try:
            keyring.set_password(service, name, secret)
        except KeyringError as error:
            raise _unavailable(error) from error

    def delete(self, service: str, name: str) -> None:
        """Delete the secret, if it is there."""
        try:
            with suppress(PasswordDeleteError):  # there was none
                keyring.delete_password(service, name)
        except KeyringError as error:
            raise _unavailable(error) from error


def _unavailable(error: KeyringError) -> Unavailable:
    return Unavailable(f"The system's keyring does not answer: {type(error).__name__}.")
