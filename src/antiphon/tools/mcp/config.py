"""What is configured of one MCP server; words only, so that a face can name servers for nothing."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

import msgspec

Transport = Literal["stdio", "http", "sse"]
Mode = Literal["auto", "legacy", "2026-07-28"]
LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one server is started or reached, and what of it is used.

    `command`, `args`, `env` and `cwd` are of stdio; `url` and `headers` of http (Streamable HTTP)
    and sse (the legacy one). A started server sees a short list of harmless variables and `env`,
    nothing else of our environment. `timeout` is of one call, None where only the caller has one;
    `connect_timeout` is until its tools are listed. Seconds, both. `tools` and `exclude` are globs
    over the server's own names. A trusted server's hints are believed. `mode` is the protocol:
    `auto` asks for 2026-07-28 first. `roots` are folders the server is told of; `log_level` is the
    least that it is asked to log.
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

    def __repr__(self) -> str:
        """Without `env`, `headers` and `url`, which hold secrets."""
        return f"ServerConfig(name={self.name!r}, transport={self.transport!r})"

    def uses(self, tool: str) -> bool:
        """Whether the server's tool of this name is wanted."""
        wanted = any(fnmatchcase(tool, glob) for glob in self.tools)
        return wanted and not any(fnmatchcase(tool, glob) for glob in self.exclude)
