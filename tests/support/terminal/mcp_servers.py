"""MCP servers for a chat: their settings, and a server that refuses everything."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.mcp.serving import start_whole
from tests.support.terminal.model import close_writer

SERVERS = Path(__file__).parents[1] / "mcp" / "servers"


def raw(*behaviour: str) -> dict[str, Any]:
    """Return settings of the short server `raw.py`, with this behaviour."""
    return {"command": sys.executable, "args": ["-I", "-S", str(SERVERS / "raw.py"), *behaviour]}


def whole() -> dict[str, Any]:
    """Return settings of the server with every feature."""
    command, *args = start_whole("stdio")
    return {"command": command, "args": args}


def config(folder: Path, servers: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """Write a file with these servers; return the flag that names it."""
    file = folder / "servers.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    return "--config", str(file)


@asynccontextmanager
async def run_locked_server() -> AsyncGenerator[str]:
    """Run a server that answers everything with 401; yield its address."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        await close_writer(writer)

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/mcp"


class Gate:
    """Lets servers behind it start while it is open, and holds them while it is closed."""

    def __init__(self, folder: Path) -> None:
        self._pipe = folder / "gate.pipe"
        self._open = folder / "gate.open"
        os.mkfifo(self._pipe)

    def behind(self, server: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of the server behind the gate."""
        wait = f"test -e '{self._open}' || cat '{self._pipe}'; exec \"$@\""
        return {
            "command": "/bin/sh",
            "args": ["-c", wait, "sh", server["command"], *server["args"]],
        }

    def close(self) -> None:
        """Hold servers that start from now on."""
        self._open.unlink(missing_ok=True)

    def leave_open(self) -> None:
        """Hold no server that starts from now on."""
        self._open.touch()

    async def let_through(self) -> None:
        """Let the next server start that waits at the gate."""
        await asyncio.to_thread(self._pipe.write_bytes, b"")
