"""Choose a client's transport: over HTTP, or embedded in this process.

Transports are imported by name when they are needed: each is expensive to import.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from antiphon.client.async_transport import AsyncTransport
from antiphon.client.sync_transport import Transport
from antiphon.settings.loading import load
from antiphon.settings.settings import TABLE, Settings
from antiphon.telemetry.tracing import NO_TRACES, Tracer, create_tracer

TELEMETRY_VARIABLE = TABLE["telemetry"].variable


def create_client_tracer(settings: Settings) -> Tracer:
    """Return the tracer for a program's operations. Raises `BadSettings`."""
    return create_tracer(settings.telemetry, "antiphon-client", content=settings.log_content)


def create_transport(
    server: str | None, api_key: str | None, settings: Settings | None
) -> Transport:
    """Return the transport to that server, else to the one in the settings, else embedded."""
    transport: Transport = _create("sync_http_transport", "", server, api_key, settings)
    return transport


def create_async_transport(
    server: str | None, api_key: str | None, settings: Settings | None
) -> AsyncTransport:
    """Return the same for asyncio."""
    transport: AsyncTransport = _create("async_http_transport", "Async", server, api_key, settings)
    return transport


def _create(
    module: str, prefix: str, server: str | None, api_key: str | None, settings: Settings | None
) -> Any:
    if settings is None and (server is None or api_key is None or TELEMETRY_VARIABLE in os.environ):
        settings = load({}, os.environ, Path.cwd())
    if settings is not None:
        server, api_key = server or settings.server, api_key or settings.api_key
    if server is None:
        embedded = importlib.import_module("antiphon.runtime.embedded_transport")
        return getattr(embedded, f"{prefix}EmbeddedTransport")(settings)
    tracer = NO_TRACES if settings is None else create_client_tracer(settings)
    http = importlib.import_module(f"antiphon.client.{module}")
    return getattr(http, f"{prefix}HttpTransport")(server, api_key, tracer=tracer)
