"""Serve only the web chat, in front of the backend at --server, until Ctrl+C or SIGTERM.

The key of --api-key needs the scope `admin`, because the web chat acts for all of its people. Any
WSGI server can run it too: gunicorn --threads 600 'antiphon.web.wsgi:application()'.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from antiphon.cli.console import note
from antiphon.cli.flags import CLIENT, RUNTIME, accept_silently
from antiphon.cli.up import FLAGS as OF_UP
from antiphon.cli.up import load_web_chat, tool_arguments, tool_options
from antiphon.client.async_client import AsyncClient
from antiphon.server.serve import IsClosing, serve_app
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import Settings
from antiphon.types.errors import BadSettings, Forbidden, InvalidRequest, TryAgain, Unauthorized

if TYPE_CHECKING:
    from antiphon.web.bridge import Bridge

OF_BACKEND = (
    "busy_timeout",
    "search_timeout",
    "backend_mcp",
    "max_concurrent_runs",
    "workers",
    "stall_timeout",
    "lease_duration",
    "heartbeat_interval",
    "expiry_interval",
    "propagate_trace_to_providers",
    "event_retention",
    "demo_delay",
)
FLAGS = (*CLIENT, *(name for name in OF_UP if name not in (*RUNTIME, *OF_BACKEND)))


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the tools of the app."""
    tool_arguments(parser)
    accept_silently(parser, OF_BACKEND)


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Serve; return once streams have ended."""
    settings = loaded.settings
    if settings.server is None:
        raise InvalidRequest(
            "which backend?",
            expected="--server URL",
            hint="`antiphon up` serves both on one port.",
        )

    chat = load_web_chat()

    @asynccontextmanager
    async def alone(closing: IsClosing) -> AsyncGenerator[Bridge]:
        async with (
            AsyncClient(settings=settings) as client,
            _check_backend_key(client, settings),
            chat(settings, client, closing, **tool_options(args)) as bridge,
        ):
            yield bridge

    serve_app(settings, alone)
    return 0


@asynccontextmanager
async def _check_backend_key(client: AsyncClient, settings: Settings) -> AsyncGenerator[None]:
    """Check that the backend accepts the web chat's key, before people come.

    Raises `BadSettings` if the key lacks a scope. If the backend is not there yet, go on with a
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
    yield
