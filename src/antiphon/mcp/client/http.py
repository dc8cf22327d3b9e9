"""HTTP transports of MCP servers: bounded responses, and failures reported to the monitor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from antiphon.mcp.client.session_monitor import LARGEST, SessionMonitor
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import clean_line
from antiphon.tools.egress_policy import EgressPolicy
from antiphon.tools.guarded_http import IDLE_SECONDS, create_guarded_transport
from antiphon.types.errors import Unavailable

LARGEST_OF_A_STRANGER = 4 * 1024 * 1024
"""Bytes of one message if a caller named the URL: other callers share this process."""
QUIET_SECONDS = 300.0
"""A stream silent for so long is reopened; calls are still waited for."""


@asynccontextmanager
async def connect_http(
    config: ServerConfig,
    monitor: SessionMonitor,
    auth: httpx2.Auth | None,
    reach: EgressPolicy | None = None,
    quiet_seconds: float = QUIET_SECONDS,
) -> AsyncGenerator[tuple[Any, Any]]:
    """Connect over Streamable HTTP; yield the two streams."""
    _check_url(config)
    timeout = httpx2.Timeout(config.connect_timeout, read=quiet_seconds)
    largest = LARGEST if reach is None else LARGEST_OF_A_STRANGER
    async with (
        _Client(
            monitor,
            largest=largest,
            headers=config.headers,
            timeout=timeout,
            auth=auth,
            **_egress_options(reach),
        ) as client,
        streamable_http_client(
            config.url, http_client=client, max_sse_event_size=largest
        ) as streams,
    ):
        yield streams


@asynccontextmanager
async def connect_sse(
    config: ServerConfig,
    monitor: SessionMonitor,
    auth: httpx2.Auth | None,
    reach: EgressPolicy | None = None,
) -> AsyncGenerator[tuple[Any, Any]]:
    """Connect over HTTP with server-sent events (before 2025-03-26); yield the two streams.

    The SDK accepts at most 1 MB per message here.
    """
    _check_url(config)

    def client(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        # The SDK only logs a message that it cannot deliver, and the call would wait for ever.
        options: dict[str, Any] = {
            "headers": headers,
            "timeout": timeout,
            "auth": auth,
            **_egress_options(reach),
        }
        return _Client(monitor, legacy=True, **options)

    async with sse_client(
        config.url,
        headers=config.headers,
        timeout=config.connect_timeout,
        sse_read_timeout=QUIET_SECONDS,
        httpx_client_factory=client,
        auth=auth,
    ) as streams:
        yield streams


def _egress_options(reach: EgressPolicy | None) -> dict[str, Any]:
    """Return client options that enforce the policy; redirects never leave the origin anyway."""
    return (
        {} if reach is None else {"transport": create_guarded_transport(reach), "trust_env": False}
    )


def _check_url(config: ServerConfig) -> None:
    """Raise `Unavailable` for a URL that no request can be sent to."""
    try:
        url = httpx2.URL(config.url)
    except httpx2.InvalidURL as error:
        raise Unavailable(f"its url cannot be read: {clean_line(str(error))}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise Unavailable("its url does not begin with https:// or http:// and a host")


class _Client(httpx2.AsyncClient):
    """HTTP client that reports refusals, lost sessions and failed connections to the monitor."""

    def __init__(
        self,
        monitor: SessionMonitor,
        *,
        legacy: bool = False,
        largest: int = LARGEST,
        **options: Any,
    ) -> None:
        limits = httpx2.Limits(
            max_connections=100, max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS
        )
        super().__init__(limits=limits, **options)
        self._largest = largest
        self._monitor = monitor
        self._legacy = legacy

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send the request; bound the body of the response."""
        request.headers["accept-encoding"] = "identity"  # so that what is counted is what is kept
        if _may_be_call(request):
            patient = request.extensions.get("timeout", {}) | {"read": None}
            request.extensions = {**request.extensions, "timeout": patient}
        try:
            response = await super().send(request, **options)
        except Unavailable as error:  # of the login
            self._monitor.http_status = 401
            self._monitor.end(error.message)
            raise
        except httpx2.HTTPError as error:
            self._monitor.last_failure = _describe_error(error)
            # Errors that the SDK swallows: of its standing GET, or of a legacy message.
            swallows = "POST" if self._legacy else "GET"
            if request.method == swallows and isinstance(error, httpx2.ConnectError):
                self._monitor.end(self._monitor.last_failure)
            raise
        self._record_status(request, response)
        stream = response.stream
        # The SDK bounds server-sent events itself.
        is_bounded = response.headers.get("content-type", "").startswith("text/event-stream")
        if isinstance(stream, httpx2.AsyncByteStream) and not is_bounded:
            encoded = response.headers.get("content-encoding", "identity") != "identity"
            response.stream = _Bounded(stream, 0 if encoded else self._largest)
        return response

    def _record_status(self, request: httpx2.Request, response: httpx2.Response) -> None:
        if request.method != "POST" and not self._legacy:
            return  # a standing GET is an extra, which a server may refuse
        if response.status_code < 400:
            self._monitor.http_status, self._monitor.last_failure = None, ""
            return
        status = f"HTTP {response.status_code} {clean_line(response.reason_phrase, 60)}".rstrip()
        self._monitor.http_status, self._monitor.last_failure = response.status_code, status
        if response.status_code == 404 and "mcp-session-id" in request.headers:
            self._monitor.end("the server has forgotten the session")
        elif self._legacy:
            self._monitor.end(status)


class _Bounded(httpx2.AsyncByteStream):
    """Body that fails when it is larger than allowed."""

    def __init__(self, inner: httpx2.AsyncByteStream, largest: int) -> None:
        self._inner = inner
        self._largest = largest
        self._left = largest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            self._left -= len(piece)
            if self._left < 0:
                size = f"larger than {self._largest >> 20} MB"
                why = size if self._largest else "compressed, for which nobody asked"
                raise httpx2.StreamError(f"The server's answer is {why}.")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


def _may_be_call(request: httpx2.Request) -> bool:
    """Return whether the request may be a tool call, which has a deadline of its own.

    Protocols before 2026-07-28 do not say so; then every request counts as one, and the session
    bounds it.
    """
    return request.method == "POST" and request.headers.get("mcp-method", _CALL) == _CALL


_CALL = "tools/call"


def _describe_error(error: httpx2.HTTPError) -> str:
    what = clean_line(str(error)) or type(error).__name__
    match error:
        case httpx2.ConnectTimeout():
            return "it did not accept a connection in time"
        case httpx2.ConnectError():
            return f"it cannot be reached: {what}"
        case _:
            return f"the connection failed: {what}"
