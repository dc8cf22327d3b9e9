"""The web chat on our own server: beside the backend, or alone in front of one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.web.app import LARGEST, application
from antiphon.web.bridge import Bridge, Pace, Scope, peer
from antiphon.web.site import opened


@asynccontextmanager
async def chat(
    settings: Settings,
    client: AsyncClient,
    closing: Callable[[], bool],
    tools: Sequence[str | Function] = (),
    *,
    servers: bool = True,
) -> AsyncGenerator[Bridge]:
    """The web chat over this client as an ASGI application, on the loop that runs now."""
    async with opened(settings, client, tools, servers=servers) as site:

        def caller(scope: Scope) -> str:
            claimed = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            return site.policy.who_asks(peer(scope), b",".join(claimed).decode("latin-1"))

        pace = Pace(patience=settings.send_timeout)
        tracer = client.transport.tracer
        bridge = Bridge(application(site), LARGEST, closing, pace, tracer, caller)
        try:
            yield bridge
        finally:
            bridge.close()
