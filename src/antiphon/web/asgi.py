"""The web chat as an ASGI application, beside the backend or alone in front of one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.web.app import MAX_REQUEST_BYTES, create_app
from antiphon.web.bridge import Bridge, BridgeTimeouts, Scope, peer
from antiphon.web.site import open_site


@asynccontextmanager
async def open_asgi_app(
    settings: Settings,
    client: AsyncClient,
    closing: Callable[[], bool],
    tools: Sequence[str | Function] = (),
    *,
    servers: bool = True,
) -> AsyncGenerator[Bridge]:
    """Open the web chat over this client on the running loop, as an ASGI application."""
    async with open_site(settings, client, tools, servers=servers) as site:

        def caller(scope: Scope) -> str:
            claimed = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            return site.policy.client_address(peer(scope), b",".join(claimed).decode("latin-1"))

        timeouts = BridgeTimeouts(patience=settings.send_timeout)
        tracer = client.transport.tracer
        bridge = Bridge(
            create_app(site, is_bridged=True), MAX_REQUEST_BYTES, closing, timeouts, tracer, caller
        )
        try:
            yield bridge
        finally:
            bridge.close()
