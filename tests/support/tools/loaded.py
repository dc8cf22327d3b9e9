"""Tools by the names that `--tools` takes."""

from __future__ import annotations

from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.tools.tool_loading import open_tools


def load(spec: str, settings: Settings | None = None) -> list[Function]:
    """Return the tools of this spec, which must need no closing."""
    with open_tools([spec], settings or Settings()) as tools:
        return tools
