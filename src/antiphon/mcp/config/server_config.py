"""What is configured of one MCP server; words only, so that a face can name servers for nothing."""

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
    """How one logs in at a server, where it cannot be found out by asking it.

    `client_id` and `client_secret` are of a client that was registered beforehand, whose
    `redirect_port` the authorization server may insist on; `client_metadata_url` is an address that
    describes one. The grant `client_credentials` needs no person: it shows the secret, or a token
    signed with `private_key` (PEM), to the authorization server named by `issuer` and to no other.
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
        """Without secrets."""
        return f"OAuth(grant={self.grant!r}, client_id={self.client_id!r})"


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one server is started or reached, and what of it is used.

    `command`, `args`, `env` and `cwd` are of stdio; `url` and `headers` of http (Streamable HTTP)
    and sse (the legacy one). A started server sees a short list of harmless variables and `env`,
    nothing else of our environment. `timeout` is of one call, None where only the caller has one;
    `connect_timeout` is until its tools are listed. Seconds, both. `tools` and `exclude` are globs
    over the server's own names. A trusted server's hints are believed. `mode` is the protocol:
    `auto` asks for 2026-07-28 first. `roots` are folders the server is told of; `log_level` is the
    least that it is asked to log. `backend` says that a backend of this user may run it too.
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
        """Without `env`, `headers` and `url`, which hold secrets."""
        return f"ServerConfig(name={self.name!r}, transport={self.transport!r})"

    @property
    def origin(self) -> str:
        """What the server is, in a word that holds no secret: another program has another one.

        Command and arguments, or the address, are in its digest; what identifies us is not.
        """
        said = msgspec.json.encode((self.command, self.args, self.cwd, self.url))
        place = urlsplit(self.url)
        name = self.command or f"{place.scheme}://{place.hostname}"
        return f"{name} ({hashlib.sha256(said).hexdigest()[:16]})"

    def uses(self, tool: str) -> bool:
        """Whether the server's tool of this name is wanted."""
        wanted = any(fnmatchcase(tool, glob) for glob in self.tools)
        return wanted and not any(fnmatchcase(tool, glob) for glob in self.exclude)
