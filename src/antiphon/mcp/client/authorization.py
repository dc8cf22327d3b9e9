"""OAuth logins at configured MCP servers, and the keyring that holds them.

Imports nothing of the SDK until a server needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import msgspec

from antiphon.mcp.config.server_config import ServerConfig
from antiphon.settings import private_files
from antiphon.settings.paths import data_folder
from antiphon.settings.settings import Settings
from antiphon.tools.egress_policy import EgressPolicy, parse_exemptions
from antiphon.types.errors import BadSettings, Unavailable


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
        system = import_module("antiphon.mcp.config.system_keyring")
    except ImportError:
        return None
    keyring: Keyring | None = system.SystemKeyring() if system.is_available() else None
    return keyring


# Stored logins: by the server's URL, and never used for another.


NAME = "mcp-logins.json"
SERVICE = "antiphon-mcp"
"""Name of the entries in the system's keyring."""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Login at one server; `expires_at` is in seconds since 1970.

    `url` is the `login_key` of the server: its URL, marked for a `guarded` server.

    `metadata` describes the authorization server and `resource` the MCP server, so that a token is
    renewed where it was issued, whatever the MCP server says later.
    """

    url: str
    tokens: dict[str, Any] | None = None
    expires_at: float | None = None
    client: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    resource: dict[str, Any] | None = None

    def __repr__(self) -> str:
        """Omit secrets."""
        return f"Login(url={self.url!r})"


class Logins(Protocol):
    """Logins by URL. Methods may block on a disk or a keyring: call them in a thread."""

    def get(self, url: str) -> Login | None:
        """Return the login at this server, if there is one."""
        ...

    def save(self, login: Login) -> None:
        """Save the login, replacing the old one. Raises `BadSettings` if it cannot be saved."""
        ...

    def forget(self, url: str) -> bool:
        """Delete the login; return whether there was one."""
        ...


class StoredLogins:
    """Logins in the system's keyring, or in a file."""

    def __init__(self, file: Path, keyring: Keyring | None = None) -> None:
        self._file = file
        self._keyring = keyring

    def get(self, url: str) -> Login | None:
        """Return the saved login; None if there is none or it cannot be read."""
        if (login := self._read_file().get(url)) is not None:
            return login  # newer than the keyring's, which could not be written then
        if self._keyring is not None:
            with suppress(Unavailable, msgspec.DecodeError):
                if secret := self._keyring.get(SERVICE, url):
                    login = msgspec.json.decode(secret, type=Login)
                    return login if login.url == url else None
        return None

    def save(self, login: Login) -> None:
        """Save to the keyring, or to the file if there is no keyring or it refuses."""
        if self._keyring is not None:
            try:
                self._keyring.set(SERVICE, login.url, msgspec.json.encode(login).decode())
            except Unavailable:
                pass
            else:
                self._remove_from_file(login.url)
                return
        self._update_file(login.url, login)

    def forget(self, url: str) -> bool:
        """Delete from both places. Raises `Unavailable` if the keyring does not confirm it."""
        known = self.get(url) is not None
        self._remove_from_file(url)
        if self._keyring is not None:
            self._keyring.delete(SERVICE, url)
        return known

    def _remove_from_file(self, url: str) -> None:
        if url in self._read_file():
            self._update_file(url, None)

    def _read_file(self) -> dict[str, Login]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, Login])
        except (OSError, msgspec.DecodeError):
            return {}

    def _update_file(self, url: str, login: Login | None) -> None:
        try:
            with private_files.lock_file(self._file):
                logins = self._read_file()
                logins.pop(url, None)
                if login is not None:
                    logins[url] = login
                private_files.write_private_file(self._file, msgspec.json.encode(logins))
        except OSError as error:
            raise BadSettings(
                f"The login cannot be saved: {error.strerror}.", expected=f"to write {self._file}"
            ) from error


PERSON_SECONDS = 300.0
"""Time for a person to log in."""


class LoginPrompt(Protocol):
    """Person who logs in with a browser."""

    async def go(self, url: str) -> None:
        """Show the URL of the login page, which was checked, and perhaps open it."""
        ...

    async def read_pasted_url(self) -> str:
        """Wait for the URL that the browser ended at, if it cannot reach this machine."""
        ...


def create_authorizer(
    settings: Settings, environ: Mapping[str, str], person: LoginPrompt | None = None
) -> Callable[[ServerConfig], Any]:
    """Return the `auth` argument of `AsyncMcpServerPool`.

    Without `person`, interactive logins fail.
    """

    def auth(config: ServerConfig) -> Any:
        if config.transport == "stdio":
            return None
        oauth = import_module("antiphon.mcp.client.oauth")
        reach = EgressPolicy(parse_exemptions(settings.private_hosts))
        return oauth.create_auth(config, open_logins(environ), person, reach)

    return auth


def open_logins(environ: Mapping[str, str]) -> StoredLogins:
    """Return this user's logins. Looks for the system's keyring, which takes a moment."""
    return StoredLogins(data_folder(environ) / NAME, system_keyring())
