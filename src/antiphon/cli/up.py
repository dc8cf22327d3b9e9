"""Serve the backend under /v1 and the web chat at / on one port, until Ctrl+C or SIGTERM.

Open the printed address. Without a login, everybody on this machine is the same person, who is also
the user of the terminal chat. --tools adds functions of yours. MCP servers are the configured ones
(`antiphon mcp list`), or only those of --config.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TypedDict, cast

from antiphon.cli.flags import CLIENT, LOOKS
from antiphon.client.async_client import AsyncClient
from antiphon.runtime.embedded_transport import AsyncEmbeddedTransport
from antiphon.runtime.runtime import Runtime
from antiphon.server.serve import IsClosing, serve
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import TABLE
from antiphon.types.errors import BadSettings, install_hint

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from antiphon.web.bridge import Bridge

    Chat = Callable[..., AbstractAsyncContextManager[Bridge]]


# The web chat needs an extra and is loaded only when it is used.


def load_web_chat() -> Chat:
    """Return `antiphon.web.app.open_asgi_app`. Raises `BadSettings` without the extra."""
    try:
        return cast("Chat", import_module("antiphon.web.app").open_asgi_app)
    except ModuleNotFoundError as missing:
        raise BadSettings(
            f"the web chat needs {missing.name}, which is not installed",
            expected="the extra `web`",
            hint=install_hint("web"),
        ) from missing


# The tools of the web chat, as flags.


class Tools(TypedDict):
    """Options of `antiphon.web`: names of functions, and whether MCP servers are started."""

    tools: Sequence[str]
    servers: bool


def tool_arguments(parser: ArgumentParser) -> None:
    """Add the flags of tools."""
    parser.add_argument(
        "--tools",
        action="append",
        default=[],
        metavar="MODULE[:FUNCTION]",
        help="a Python function that models may call, or all that @tool marks in a module; a path"
        " to a .py file does too; can be repeated; without it there are samples to try",
    )
    parser.add_argument("--no-servers", action="store_true", help="start no MCP server")


def tool_options(args: Namespace) -> Tools:
    """Return the options of these flags."""
    return Tools(tools=args.tools, servers=not args.no_servers)


FLAGS = tuple(
    name for name, row in TABLE.items() if row.on_the_line and name not in (*CLIENT, *LOOKS)
)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the tools of the app."""
    tool_arguments(parser)


def run(args: Namespace, loaded: LoadedSettings) -> int:
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
        async with chat(settings, client, closing, **tool_options(args)) as bridge:
            yield bridge

    serve(settings, beside)
    return 0
