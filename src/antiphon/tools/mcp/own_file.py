"""The user's own `mcp.json`: what `antiphon mcp add` writes, in the form that others have too."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from antiphon.errors import BadSettings
from antiphon.tools import private_file

NAME = "mcp.json"


class OwnFile:
    """Servers are added and removed; whatever else is in the file stays as it is."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, name: str, table: Mapping[str, Any]) -> bool:
        """Write the server down; returns whether it took the place of another."""
        with self._changing() as servers:
            replaced = name in servers
            servers[name] = dict(table)
        return replaced

    def remove(self, name: str) -> bool:
        """Strike the server out; returns whether it was there."""
        with self._changing() as servers:
            return servers.pop(name, None) is not None

    @contextmanager
    def _changing(self) -> Generator[dict[str, Any]]:
        """The servers, written back as they are in the end. Raises `BadSettings`."""
        try:
            with private_file.alone(self.file):
                whole = self._whole()
                before = msgspec.json.encode(whole)
                yield whole.setdefault("mcpServers", {})
                after = msgspec.json.encode(whole)
                if after != before:
                    private_file.write(self.file, msgspec.json.format(after, indent=2) + b"\n")
        except OSError as error:
            raise BadSettings(f"{self.file} cannot be written: {error.strerror}.") from error

    def _whole(self) -> dict[str, Any]:
        try:
            whole = msgspec.json.decode(self.file.read_bytes(), type=dict[str, Any])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise BadSettings(
                f"{self.file} is not plain JSON, so nothing is written to it: {error}",
                hint="Comments would be lost. Mend it, or change it, by hand.",
            ) from error
        if not isinstance(whole.setdefault("mcpServers", {}), dict):
            raise BadSettings(f"{self.file}: `mcpServers` is no table of servers.")
        return whole
