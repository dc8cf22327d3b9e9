"""The keyring of this system, by the library of that name. Loaded by name, for it is an extra."""

from __future__ import annotations

from contextlib import suppress

import keyring
from keyring.errors import KeyringError, PasswordDeleteError

from antiphon.types.errors import Unavailable


def usable() -> bool:
    """Whether this system has one: a server without a desktop has none."""
    return bool(keyring.get_keyring().priority > 0)


class SystemKeyring:
    """A `Keyring`. One that is locked may ask its user for a password."""

    def get(self, service: str, name: str) -> str | None:
        """The secret, None where there is none."""
        try:
            return keyring.get_password(service, name)
        except KeyringError as error:
            raise _silent(error) from error

    def set(self, service: str, name: str, secret: str) -> None:
        """Keep the secret in place of what was there."""
        try:
            keyring.set_password(service, name, secret)
        except KeyringError as error:
            raise _silent(error) from error

    def delete(self, service: str, name: str) -> None:
        """Forget it, if it is there."""
        try:
            with suppress(PasswordDeleteError):  # there was none
                keyring.delete_password(service, name)
        except KeyringError as error:
            raise _silent(error) from error


def _silent(error: KeyringError) -> Unavailable:
    return Unavailable(f"The system's keyring does not answer: {type(error).__name__}.")
