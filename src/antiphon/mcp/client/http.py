"""The client that servers over HTTP are reached by: it bounds what it takes, and tells a watch."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from antiphon.mcp.client.ndjson import LARGEST
from antiphon.mcp.client.session_monitor import Watch
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import told_line
from antiphon.tools.egress_policy import Reach
from antiphon.tools.guarded_http import transport
from antiphon.types.errors import Unavailable

LARGEST_OF_A_STRANGER = 4 * 1024 * 1024
"""Bytes of one message where somebody else named the address: others share this process."""
QUIET_SECONDS = 300.0
"""A stream on which nothing came for so long is opened anew; the answer to a call is waited for."""


@asynccontextmanager
async def http(
    config: ServerConfig,
    watch: Watch,
    auth: httpx2.Auth | None,
    reach: Reach | None = None,
    quiet_seconds: float = QUIET_SECONDS,
) -> AsyncGenerator[tuple[Any, Any]]:
    """The streams of a server over Streamable HTTP."""
    _check(config)
    timeout = httpx2.Timeout(config.connect_timeout, read=quiet_seconds)
    largest = LARGEST if reach is None else LARGEST_OF_A_STRANGER
    async with (
        _Client(
            watch,
            largest=largest,
            headers=config.headers,
            timeout=timeout,
            auth=auth,
            **_where(reach),
        ) as client,
        streamable_http_client(
            config.url, http_client=client, max_sse_event_size=largest
        ) as streams,
    ):
        yield streams


@asynccontextmanager
async def sse(
    config: ServerConfig, watch: Watch, auth: httpx2.Auth | None, reach: Reach | None = None
) -> AsyncGenerator[tuple[Any, Any]]:
    """The streams of a server over HTTP with server-sent events, as it was before 2025-03-26.

    The SDK takes at most 1 MB per message here.
    """
    _check(config)

    def client(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        # A message that cannot be delivered is only logged by the SDK, and its call would wait.
        options: dict[str, Any] = {
            "headers": headers,
            "timeout": timeout,
            "auth": auth,
            **_where(reach),
        }
        return _Client(watch, legacy=True, **options)

    async with sse_client(
        config.url,
        headers=config.headers,
        timeout=config.connect_timeout,
        sse_read_timeout=QUIET_SECONDS,
        httpx_client_factory=client,
        auth=auth,
    ) as streams:
        yield streams


def _where(reach: Reach | None) -> dict[str, Any]:
    """The options of a client that goes only where it may; redirects leave no origin anyway."""
    return {} if reach is None else {"transport": transport(reach), "trust_env": False}


def _check(config: ServerConfig) -> None:
    """Raise `Unavailable` for an address that no request can be sent to."""
    try:
        url = httpx2.URL(config.url)
    except httpx2.InvalidURL as error:
        raise Unavailable(f"its url cannot be read: {told_line(str(error))}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise Unavailable("its url does not begin with https:// or http:// and a host")


class _Client(httpx2.AsyncClient):
    """Tells a watch of refusals, of a lost session and of a server that is not there."""

    def __init__(
        self, watch: Watch, *, legacy: bool = False, largest: int = LARGEST, **options: Any
    ) -> None:
        super().__init__(**options)
        self._largest = largest
        self._watch = watch
        self._legacy = legacy

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send the request. The body of the answer is bounded."""
        request.headers["accept-encoding"] = "identity"  # so that what is counted is what is kept
        if _calls(request):
            patient = request.extensions.get("timeout", {}) | {"read": None}
            request.extensions = {**request.extensions, "timeout": patient}
        try:
            response = await super().send(request, **options)
        except Unavailable as error:  # of the login
            self._watch.http_status = 401
            self._watch.end(error.message)
            raise
        except httpx2.HTTPError as error:
            self._watch.trouble = _said(error)
            # What the SDK swallows: nobody there for its standing GET, or for a legacy message.
            swallows = "POST" if self._legacy else "GET"
            if request.method == swallows and isinstance(error, httpx2.ConnectError):
                self._watch.end(self._watch.trouble)
            raise
        self._judge(request, response)
        stream = response.stream
        if isinstance(stream, httpx2.AsyncByteStream) and not _streamed(response):
            encoded = response.headers.get("content-encoding", "identity") != "identity"
            response.stream = _Bounded(stream, 0 if encoded else self._largest)
        return response

    def _judge(self, request: httpx2.Request, response: httpx2.Response) -> None:
        if request.method != "POST" and not self._legacy:
            return  # a standing GET is an extra, which a server may refuse
        if response.status_code < 400:
            self._watch.http_status, self._watch.trouble = None, ""
            return
        said = f"HTTP {response.status_code} {told_line(response.reason_phrase, 60)}".rstrip()
        self._watch.http_status, self._watch.trouble = response.status_code, said
        if response.status_code == 404 and "mcp-session-id" in request.headers:
            self._watch.end("the server has forgotten the session")
        elif self._legacy:
            self._watch.end(said)


class _Bounded(httpx2.AsyncByteStream):
    """A body that fails when it is larger than it may be."""

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


def _calls(request: httpx2.Request) -> bool:
    """Whether it may be a call, which has a clock of its own that stands still for a person.

    The protocols before 2026-07-28 do not say it, but every request is bounded by the session.
    """
    return request.method == "POST" and request.headers.get("mcp-method", _CALL) == _CALL


_CALL = "tools/call"


def _streamed(response: httpx2.Response) -> bool:
    """Whether the body is server-sent events, each of which the SDK bounds itself."""
    return bool(response.headers.get("content-type", "").startswith("text/event-stream"))


def _said(error: httpx2.HTTPError) -> str:
    what = told_line(str(error)) or type(error).__name__
    match error:
        case httpx2.ConnectTimeout():
            return "it did not accept a connection in time"
        case httpx2.ConnectError():
            return f"it cannot be reached: {what}"
        case _:
            return f"the connection failed: {what}"
