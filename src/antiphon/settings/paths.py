"""Folders of the user, by the conventions of the system; none is created here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def data_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the user's data."""
    return _folder(environ, "XDG_DATA_HOME", ".local/share")


def config_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the user's own `antiphon.toml`."""
    return _folder(environ, "XDG_CONFIG_HOME", ".config")


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for files that may be lost, such as input history."""
    return _folder(environ, "XDG_STATE_HOME", ".local/state")


def from_home(path: str, environ: Mapping[str, str]) -> Path:
    """Return the path, with `~` replaced by the user's home."""
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
