"""Notes on configured MCP servers that are not started, in the words of every command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from antiphon.cli.console import note
from antiphon.mcp import startup
from antiphon.mcp.config.discovery import DiscoveredServers, UnapprovedFile
from antiphon.settings.settings import Settings
from antiphon.types.errors import install_hint


def find_and_report(settings: Settings) -> DiscoveredServers:
    """Return the configured servers, and note the files that are not approved."""
    found = startup.find_servers(settings)
    note_unapproved(found.unapproved)
    return found


def note_unapproved(files: Iterable[UnapprovedFile]) -> None:
    """Note each file whose servers are not approved."""
    for each in describe_unapproved(files):
        note(f"antiphon: {each}")


def describe_unapproved(files: Iterable[UnapprovedFile]) -> Iterator[str]:
    """Yield a line for each file whose servers are not approved."""
    for each in files:
        names = ", ".join(each.servers)
        yield each.problem or (
            f"{each.file} names MCP servers ({names}), which start once you have approved them:"
            f" antiphon trust {each.file.name}"
        )


def note_missing_extra() -> None:
    """Note the extra that must be installed before servers can be started."""
    if not startup.has_extra():
        note(f"antiphon: MCP servers need an extra to be started. {install_hint('mcp')}")
