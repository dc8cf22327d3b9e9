"""The folders of a user, where the system wants them; nothing is made here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def data_folder(environ: Mapping[str, str]) -> Path:
    """Where this user's data lives; nothing is made here."""
    return _folder(environ, "XDG_DATA_HOME", ".local/share")


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where this user's own `antiphon.toml` is looked for."""
    return _folder(environ, "XDG_CONFIG_HOME", ".config")


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where this user's programs keep what may be lost, such as what was typed."""
    return _folder(environ, "XDG_STATE_HOME", ".local/state")


def from_home(path: str, environ: Mapping[str, str]) -> Path:
    """A path as people write it, where `~` is their home."""
    return _home(environ) / path[2:] if path == "~" or path.startswith("~/") else Path(path)


def _folder(environ: Mapping[str, str], variable: str, under_home: str) -> Path:
    if sys.platform == "win32" and (local := environ.get("LOCALAPPDATA")):
        return Path(local) / "antiphon"
    # A relative path there is to be ignored: specifications.freedesktop.org/basedir-spec
    if (named := environ.get(variable)) and Path(named).is_absolute():
        return Path(named) / "antiphon"
    if sys.platform == "darwin":
        return _home(environ) / "Library/Application Support/antiphon"
    return _home(environ) / under_home / "antiphon"


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()
