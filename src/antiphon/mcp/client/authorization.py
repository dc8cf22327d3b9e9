"""How a program is let in at the servers of its settings; what needs the SDK is loaded by then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import msgspec

from antiphon.mcp.config.keyrings import Keyring, system_keyring
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.settings import private_files
from antiphon.settings.paths import data_folder
from antiphon.settings.settings import Settings
from antiphon.tools.egress_policy import Reach, exempt
from antiphon.types.errors import BadSettings, Unavailable

# What logins at servers left behind: kept by the server's URL, and never given for another.


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
            with private_files.lock_file(self._file):
                logins = self._all()
                logins.pop(url, None)
                if login is not None:
                    logins[url] = login
                private_files.write_private_file(self._file, msgspec.json.encode(logins))
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


PERSON_SECONDS = 300.0
"""For a person to log in at a page."""


class Person(Protocol):
    """Who logs in."""

    async def go(self, url: str) -> None:
        """Show the address of the login page, which was checked, and perhaps open it."""
        ...

    async def pasted(self) -> str:
        """Wait for the address that a browser ended at, where it cannot come back by itself."""
        ...


def authorizing(
    settings: Settings, environ: Mapping[str, str], person: Person | None = None
) -> Callable[[ServerConfig], Any]:
    """What `McpServers` takes as `auth`. Without a person nobody is asked to log in."""

    def auth(config: ServerConfig) -> Any:
        if config.transport == "stdio":
            return None
        oauth = import_module("antiphon.mcp.client.oauth")
        reach = Reach(exempt(settings.private_hosts))
        return oauth.authorization(config, kept_logins(environ), person, reach)

    return auth


def kept_logins(environ: Mapping[str, str]) -> KeptLogins:
    """This user's logins. Looks for the system's keyring, which takes a moment."""
    return KeptLogins(data_folder(environ) / NAME, system_keyring())
