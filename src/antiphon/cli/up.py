"""Serve the backend under /v1 and the web chat at / on one port, until Ctrl+C or SIGTERM.

Open the printed address. Without a login, everybody on this machine is the same person, who is also
the user of the terminal chat. --tools adds functions of yours. MCP servers are the configured ones
(`antiphon mcp list`), or only those of --config.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from antiphon.cli.flags import CLIENT, LOOKS
from antiphon.cli.web_parts import load_web_chat, tool_arguments, tool_options
from antiphon.client.async_client import AsyncClient
from antiphon.runtime.embedded_transport import AsyncEmbeddedTransport
from antiphon.runtime.runtime import Runtime
from antiphon.server.serve import IsClosing, serve
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import TABLE
from antiphon.types.errors import BadSettings

if TYPE_CHECKING:
    from antiphon.web.bridge import Bridge

FLAGS = tuple(
    name for name, row in TABLE.items() if row.on_the_line and name not in (*CLIENT, *LOOKS)
)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the tools of the app."""
    tool_arguments(parser)


def run(asked: Namespace, loaded: LoadedSettings) -> int:
    """Serve; return once runs and streams have ended."""
    settings = loaded.settings
    if settings.workers > 1:
        raise BadSettings(
            "The web chat is one process, in which the tools of its people run.",
            expected="--workers 1",
            received=f"--workers {settings.workers}",
            hint="Several processes serve the backend by `antiphon serve --workers"
            f" {settings.workers}`; put `antiphon web --server URL` in front of them.",
        )

    chat = load_web_chat()

    @asynccontextmanager
    async def beside(runtime: Runtime, closing: IsClosing) -> AsyncGenerator[Bridge]:
        client = AsyncClient.over(AsyncEmbeddedTransport.over(runtime))
        async with chat(settings, client, closing, **tool_options(asked)) as bridge:
            yield bridge

    serve(settings, beside)
    return 0
