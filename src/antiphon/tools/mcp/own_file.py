"""The user's own `mcp.json`: what `antiphon mcp add` writes, in the form that others have too."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from antiphon.errors import BadSettings, InvalidRequest
from antiphon.tools import private_file
from antiphon.tools.mcp.metadata import is_object

NAME = "mcp.json"


class OwnFile:
    """Servers are added and removed; whatever else is in the file stays as it is."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, name: str, table: Mapping[str, Any], *, replace: bool = False) -> bool:
        """Write the server down; returns whether it took the place of another.

        Raises `InvalidRequest` where it would and may not.
        """
        with self._changing() as servers:
            replaced = name in servers
            if replaced and not replace:
                raise InvalidRequest(
                    f"{self.file} has a server {name} already",
                    hint="--replace puts it in its place.",
                )
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
                yield whole[_key(whole)]
                after = msgspec.json.encode(whole)
                if after != before:
                    private_file.write(self.file, msgspec.json.format(after, indent=2) + b"\n")
        except OSError as error:
            raise BadSettings(f"{self.file} cannot be written: {error.strerror}.") from error

    def _whole(self) -> dict[str, Any]:
        try:
            whole = msgspec.json.decode(self.file.read_bytes(), type=dict[str, Any])
        except FileNotFoundError:
            return {"mcpServers": {}}
        except msgspec.DecodeError as error:
            raise BadSettings(
                f"{self.file} is not plain JSON, so nothing is written to it: {error}",
                hint="Comments would be lost. Mend it, or change it, by hand.",
            ) from error
        if not is_object(whole.setdefault(_key(whole), {})):
            raise BadSettings(f"{self.file}: `{_key(whole)}` is no table of servers.")
        return whole


def _key(whole: dict[str, Any]) -> str:
    """Where the servers are: VS Code calls them otherwise."""
    return "servers" if "servers" in whole and "mcpServers" not in whole else "mcpServers"
