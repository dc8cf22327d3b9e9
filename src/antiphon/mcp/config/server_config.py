"""Configuration of one MCP server. Imports no SDK, so every face can use it."""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import urlsplit

import msgspec

Transport = Literal["stdio", "http", "sse"]
Mode = Literal["auto", "legacy", "2026-07-28"]
LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


class OAuth(msgspec.Struct, frozen=True, kw_only=True):
    """OAuth client settings for a server that does not advertise them.

    `client_id` and `client_secret` belong to a client registered beforehand, whose authorization
    server may insist on `redirect_port`; `client_metadata_url` is the URL of a client metadata
    document. The grant `client_credentials` needs no person: it presents the secret, or a token
    signed with `private_key` (PEM), to the authorization server `issuer` only.
    """

    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    client_id: str = ""
    client_secret: str = ""
    client_metadata_url: str = ""
    private_key: str = ""
    algorithm: str = "ES256"
    scope: str = ""
    issuer: str = ""
    redirect_port: int = 0

    def __repr__(self) -> str:
        """Omit secrets."""
        return f"OAuth(grant={self.grant!r}, client_id={self.client_id!r})"


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Command or URL of one MCP server, and the options for its use.

    `command`, `args`, `env` and `cwd` belong to stdio; `url` and `headers` to http (Streamable
    HTTP) and sse (the legacy transport). A started server sees `env` and a short list of harmless
    variables of our environment. `timeout` limits one call, None leaves it to the caller;
    `connect_timeout` limits the start until tools are listed; both in seconds. `tools` and
    `exclude` are globs over the server's own names. The hints of a `trusted` server are believed.
    `mode` is the protocol: `auto` tries 2026-07-28 first. `roots` are folders that the server is
    told of; `log_level` is the lowest level it is asked to log. With `backend`, a backend of this
    user may run it too.
    """

    name: str
    transport: Transport = "stdio"
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str = ""
    headers: dict[str, str] = {}
    timeout: float | None = None
    connect_timeout: float = 30.0
    tools: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    trusted: bool = False
    mode: Mode = "auto"
    enabled: bool = True
    roots: tuple[str, ...] = ()
    log_level: LogLevel | None = None
    oauth: OAuth = OAuth()
    backend: bool = False

    def __repr__(self) -> str:
        """Omit `env`, `headers` and `url`, which hold secrets."""
        return f"ServerConfig(name={self.name!r}, transport={self.transport!r})"

    @property
    def origin(self) -> str:
        """Identity of the server as a text without secrets.

        Includes a digest of command and arguments, or of the URL, but not of credentials.
        """
        said = msgspec.json.encode((self.command, self.args, self.cwd, self.url))
        place = urlsplit(self.url)
        name = self.command or f"{place.scheme}://{place.hostname}"
        return f"{name} ({hashlib.sha256(said).hexdigest()[:16]})"

    def includes_tool(self, tool: str) -> bool:
        """Return whether the server's tool of this name is used."""
        wanted = any(fnmatchcase(tool, glob) for glob in self.tools)
        return wanted and not any(fnmatchcase(tool, glob) for glob in self.exclude)
