"""The web chat for any WSGI server, in front of a backend or with a runtime of its own.

    gunicorn --workers 1 --threads 600 'antiphon.web.wsgi:application()'

Settings come from `antiphon.toml` and the environment. Use one worker, because runs are carried on
in its process, and as many threads as streams and pages are served at a time. Our own server
(`antiphon up`, `antiphon web`) needs no thread for a stream.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from antiphon.client.async_client import AsyncClient
from antiphon.client.portal import Portal
from antiphon.settings.extras import install_hint
from antiphon.settings.loading import load
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function

try:
    from flask import Flask

    from antiphon.web import app
    from antiphon.web.site import Site, open_site
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"The web chat needs {missing.name}, which is not installed. {install_hint('web')}",
        name=missing.name,
    ) from missing


def application(
    tools: Sequence[str | Function] = (), *, settings: Settings | None = None, servers: bool = True
) -> Flask:
    """Open the web chat on a loop in a thread of its own; it closes when the program ends.

    `tools` are functions, or names of functions in the form of `--tools`. Raises `BadSettings`.
    """
    settings = settings or load({}, os.environ, Path.cwd())
    stack = AsyncExitStack()
    portal = Portal()

    async def begin() -> Site:
        client = await stack.enter_async_context(AsyncClient(settings=settings))
        return await stack.enter_async_context(open_site(settings, client, tools, servers=servers))

    def end() -> None:
        # At interpreter shutdown no thread can start, which closing a database may need. Data that
        # was acknowledged is stored, and the next process resumes runs under way.
        with suppress(RuntimeError):
            portal.run(stack.aclose())
        portal.close()

    site = portal.run(begin())
    atexit.register(end)
    return app.create_app(site)
