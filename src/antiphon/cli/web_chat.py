"""The commands that serve the web chat until a signal, alone or with the backend on one port."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TypedDict, cast

from antiphon.cli.console import note
from antiphon.cli.flags import CLIENT, RUNTIME, accept_silently
from antiphon.cli.serve import OF_BACKEND, ON_THE_LINE
from antiphon.client.async_client import AsyncClient
from antiphon.runtime.embedded_transport import AsyncEmbeddedTransport
from antiphon.runtime.runtime import Runtime
from antiphon.server.serve import IsClosing, serve, serve_app
from antiphon.settings.extras import install_hint
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import Settings
from antiphon.types.errors import (
    BadSettings,
    Forbidden,
    InvalidRequest,
    TryAgain,
    Unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from antiphon.web.bridge import Bridge

    Chat = Callable[..., AbstractAsyncContextManager[Bridge]]

# The web chat needs an extra and is loaded only when it is used.


def _load_web_chat() -> Chat:
    """Return `antiphon.web.app.open_asgi_app`. Raises `BadSettings` without the extra."""
    try:
        return cast("Chat", import_module("antiphon.web.app").open_asgi_app)
    except ModuleNotFoundError as missing:
        raise BadSettings(
            f"the web chat needs {missing.name}, which is not installed",
            expected="the extra `web`",
            hint=install_hint("web"),
        ) from missing


class Tools(TypedDict):
    """Options of `antiphon.web`: names of functions, and whether MCP servers are started."""

    tools: Sequence[str]
    servers: bool


def _tool_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--tools",
        action="append",
        default=[],
        metavar="MODULE[:FUNCTION]",
        help="a Python function that models may call, or all that @tool marks in a module; a path"
        " to a .py file does too; can be repeated; without it there are samples to try",
    )
    parser.add_argument("--no-servers", action="store_true", help="start no MCP server")


def _tool_options(args: Namespace) -> Tools:
    return Tools(tools=args.tools, servers=not args.no_servers)


class Up:
    """Serve the backend under /v1 and the web chat at / on one port, until Ctrl+C or SIGTERM.

    Open the printed address. Without a login, everybody on this machine is the same person, who is
    also the user of the terminal chat. --tools adds functions of yours. MCP servers are the
    configured ones (`antiphon mcp list`), or only those of --config.
    """

    FLAGS = ON_THE_LINE

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the tools of the app."""
        _tool_arguments(parser)

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
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

        chat = _load_web_chat()

        @asynccontextmanager
        async def open_companion(runtime: Runtime, closing: IsClosing) -> AsyncGenerator[Bridge]:
            client = AsyncClient.over(AsyncEmbeddedTransport.over(runtime))
            async with chat(settings, client, closing, **_tool_options(args)) as bridge:
                yield bridge

        serve(settings, open_companion)
        return 0


class Web:
    """Serve only the web chat, in front of the backend at --server, until Ctrl+C or SIGTERM.

    The key of --api-key needs the scope `admin`, because the web chat acts for all of its people.
    Any WSGI server can run it too: gunicorn --threads 600 'antiphon.web.wsgi:application()'.
    """

    FLAGS = (*CLIENT, *(name for name in ON_THE_LINE if name not in (*RUNTIME, *OF_BACKEND)))

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the tools of the app."""
        _tool_arguments(parser)
        accept_silently(parser, OF_BACKEND)

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Serve; return once streams have ended."""
        settings = loaded.settings
        if settings.server is None:
            raise InvalidRequest(
                "which backend?",
                expected="--server URL",
                hint="`antiphon up` serves both on one port.",
            )

        chat = _load_web_chat()

        @asynccontextmanager
        async def alone(closing: IsClosing) -> AsyncGenerator[Bridge]:
            async with AsyncClient(settings=settings) as client:
                await _check_backend_key(client, settings)
                async with chat(settings, client, closing, **_tool_options(args)) as bridge:
                    yield bridge

        serve_app(settings, alone)
        return 0


async def _check_backend_key(client: AsyncClient, settings: Settings) -> None:
    """Check that the backend accepts the web chat's key, before people come.

    Raises `BadSettings` if the key lacks a scope. If the backend is not there yet, return with a
    note.
    """
    try:
        if settings.login == "none":
            await client.list_threads(limit=1)
        else:
            await client.list_people()
    except (Unauthorized, Forbidden) as refusal:
        raise BadSettings(
            f"The backend at {settings.server} refuses the web chat: {refusal}",
            expected="--api-key with a key of that backend, of the scope `admin` if people log in",
            hint="`antiphon keys create web --scope admin` makes one there.",
        ) from refusal
    except TryAgain as silence:
        note(f"antiphon: {silence} The web chat starts all the same, and waits for it.")
