"""Serve the web chat alone, in front of the backend at --server, until Ctrl+C or SIGTERM.

The key of --api-key needs the scope `admin`, for the web chat acts for each of its people. Any WSGI
server runs it too: gunicorn --threads 600 'antiphon.web.wsgi:application()'.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from antiphon.client.aio import AsyncClient
from antiphon.commands.up import FLAGS as OF_UP
from antiphon.commands.usage import CLIENT, RUNTIME
from antiphon.commands.web_chat import web_chat
from antiphon.commands.web_tools import chosen_tools, tool_arguments
from antiphon.errors import InvalidRequest
from antiphon.server.serve import Ending, host
from antiphon.settings import Loaded

if TYPE_CHECKING:
    from antiphon.web.bridge import Bridge

FLAGS = (*CLIENT, *(name for name in OF_UP if name not in RUNTIME))


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Which tools the app has."""
    tool_arguments(parser)


def run(asked: Namespace, loaded: Loaded) -> int:
    """Returns once streams have ended."""
    settings = loaded.settings
    if settings.server is None:
        raise InvalidRequest(
            "which backend?",
            expected="--server URL",
            hint="`antiphon up` serves both on one port.",
        )

    chat = web_chat()

    @asynccontextmanager
    async def alone(closing: Ending) -> AsyncGenerator[Bridge]:
        async with (
            AsyncClient(settings=settings) as client,
            chat(settings, client, closing, **chosen_tools(asked)) as bridge,
        ):
            yield bridge

    host(settings, alone)
    return 0
