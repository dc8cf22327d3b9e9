"""Trusts the settings file of a folder as `antiphon trust` does, for tests that need it trusted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from antiphon.mcp.config import discovery
from antiphon.settings.trust import digest


def trust_file(file: Path, environ: Mapping[str, str]) -> Path:
    """Trust the settings file as it is now, for the user of this environment; return it."""
    discovery.open_approvals(environ).trust(file, digest(file.read_bytes()))
    return file
