"""What logins at servers left behind: kept by the server's URL, and never given for another.

In the system's keyring where there is one, else in a file that nobody else may read.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from antiphon.errors import BadSettings, Unavailable
from antiphon.tools import private_file
from antiphon.tools.mcp.keyrings import Keyring

NAME = "mcp-logins.json"
SERVICE = "antiphon-mcp"
"""What a system's keyring shows them under."""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """One server's. What the authorization server gave is as it came; `expires_at` in seconds.

    `metadata` is the authorization server's and `resource` the MCP server's own, so that a token is
    renewed where it came from, whatever the MCP server says by then.
    """

    url: str
    tokens: dict[str, Any] | None = None
    expires_at: float | None = None
    client: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    resource: dict[str, Any] | None = None

    def __repr__(self) -> str:
        """Without what it holds."""
        return f"Login(url={self.url!r})"


class Logins(Protocol):
    """Logins by URL. Each method may wait for a disk or a keyring: call it in a thread."""

    def get(self, url: str) -> Login | None:
        """What is known of the server; None for nothing."""
        ...

    def keep(self, login: Login) -> None:
        """Keep it in place of what was known. Raises `BadSettings` where nothing can be kept."""
        ...

    def forget(self, url: str) -> bool:
        """Know nothing of the server any more; returns whether anything was known."""
        ...


class KeptLogins:
    """Logins that outlast the program."""

    def __init__(self, file: Path, keyring: Keyring | None = None) -> None:
        self._file = file
        self._keyring = keyring

    def get(self, url: str) -> Login | None:
        """What was kept last. What cannot be read is not there."""
        if (login := self._all().get(url)) is not None:
            return login  # the keyring may hold an older one, as it did not answer then
        if self._keyring is not None:
            with suppress(Unavailable):
                if secret := self._keyring.get(SERVICE, url):
                    return _read(secret, url)
        return None

    def keep(self, login: Login) -> None:
        """In the keyring; in the file where there is none, or it does not take it."""
        if self._keyring is not None:
            try:
                self._keyring.set(SERVICE, login.url, msgspec.json.encode(login).decode())
            except Unavailable:
                pass
            else:
                self._strike_out(login.url)
                return
        self._change(login.url, login)

    def forget(self, url: str) -> bool:
        """Wherever it is. Raises `Unavailable` where the keyring does not say that it did."""
        known = self.get(url) is not None
        self._strike_out(url)
        if self._keyring is not None:
            self._keyring.delete(SERVICE, url)
        return known

    def _strike_out(self, url: str) -> None:
        if url in self._all():
            self._change(url, None)

    def _all(self) -> dict[str, Login]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, Login])
        except (OSError, msgspec.DecodeError):
            return {}

    def _change(self, url: str, login: Login | None) -> None:
        try:
            with private_file.alone(self._file):
                logins = self._all()
                logins.pop(url, None)
                if login is not None:
                    logins[url] = login
                private_file.write(self._file, msgspec.json.encode(logins))
        except OSError as error:
            raise BadSettings(
                f"The login cannot be kept: {error.strerror}.", expected=f"to write {self._file}"
            ) from error


def _read(secret: str, url: str) -> Login | None:
    try:
        login = msgspec.json.decode(secret, type=Login)
    except msgspec.DecodeError:
        return None
    return login if login.url == url else None
