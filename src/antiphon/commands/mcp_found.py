"""Which MCP servers are written down, and a word on stderr about those that start nothing."""

from __future__ import annotations

import os
from pathlib import Path

from antiphon.commands.speech import note
from antiphon.settings import Settings
from antiphon.tools.mcp import places
from antiphon.tools.mcp.places import Found


def found(settings: Settings) -> Found:
    """The servers that are meant here."""
    found = places.find(settings, os.environ, Path.cwd())
    for each in found.unapproved:
        if each.problem:
            note(f"antiphon: {each.problem}")
            continue
        note(
            f"antiphon: {each.file} names MCP servers ({', '.join(each.servers)}), which start"
            f" once you have approved them: antiphon mcp trust {each.file.name}"
        )
    return found
