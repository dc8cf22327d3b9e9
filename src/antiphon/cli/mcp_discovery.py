"""The configured MCP servers, and notes on those that are not started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from antiphon.cli.output import note
from antiphon.mcp.config import discovery
from antiphon.mcp.config.discovery import DiscoveredServers
from antiphon.settings.settings import Settings
from antiphon.types.errors import install_hint


def find_and_report(settings: Settings) -> DiscoveredServers:
    """Return the configured servers, and note those that are not started."""
    found = find_servers(settings)
    for each in describe_unstarted(found):
        note(f"antiphon: {each}")
    return found


def find_servers(settings: Settings) -> DiscoveredServers:
    """Return the configured servers."""
    return discovery.find_servers(settings, os.environ, Path.cwd())


def note_missing_extra() -> None:
    """Note the extra that must be installed before servers can be started."""
    if not discovery.has_extra():
        note(f"antiphon: MCP servers need an extra to be started. {install_hint('mcp')}")


def describe_unstarted(found: DiscoveredServers) -> Iterator[str]:
    """Yield a line for each file whose servers are not approved."""
    for each in found.unapproved:
        names = ", ".join(each.servers)
        yield each.problem or (
            f"{each.file} names MCP servers ({names}), which start once you have approved them:"
            f" antiphon trust {each.file.name}"
        )
