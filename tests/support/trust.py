"""A file of a folder, trusted as `antiphon trust` does it, for tests that begin behind that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from antiphon.mcp.config import discovery
from antiphon.settings.trust import digest


def trust_file(file: Path, environ: Mapping[str, str]) -> Path:
    """Trust the settings file as it stands, for the user of this environment; returns it."""
    discovery.open_approvals(environ).trust(file, digest(file.read_bytes()))
    return file
