"""Which MCP servers are written down, and a word on stderr about those that start nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from antiphon.cli.output import note
from antiphon.mcp.config import discovery
from antiphon.mcp.config.discovery import Found
from antiphon.settings.settings import Settings


def found(settings: Settings) -> Found:
    """The servers that are meant here."""
    found = looked_for(settings)
    for each in unstarted(found):
        note(f"antiphon: {each}")
    return found


def looked_for(settings: Settings) -> Found:
    """The same, without a word."""
    return discovery.find(settings, os.environ, Path.cwd())


def unstarted(found: Found) -> Iterator[str]:
    """What to say of files whose servers were not approved."""
    for each in found.unapproved:
        names = ", ".join(each.servers)
        yield each.problem or (
            f"{each.file} names MCP servers ({names}), which start once you have approved them:"
            f" antiphon trust {each.file.name}"
        )
