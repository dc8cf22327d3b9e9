"""How a program is let in at the servers of its settings; what needs the SDK is loaded by then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

from antiphon.folders import data_folder
from antiphon.settings import Settings
from antiphon.tools.mcp import logins
from antiphon.tools.mcp.config import ServerConfig
from antiphon.tools.mcp.keyrings import system_keyring
from antiphon.tools.mcp.logins import KeptLogins
from antiphon.tools.reach import Reach, exempt

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
        oauth = import_module("antiphon.tools.mcp.oauth")
        reach = Reach(exempt(settings.private_hosts))
        return oauth.authorization(config, kept_logins(environ), person, reach)

    return auth


def kept_logins(environ: Mapping[str, str]) -> KeptLogins:
    """This user's logins. Looks for the system's keyring, which takes a moment."""
    return KeptLogins(data_folder(environ) / logins.NAME, system_keyring())
