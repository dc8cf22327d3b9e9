"""HTTP client for untrusted addresses, limited by an egress policy.

A name is resolved once, each of its addresses is checked, and the connection uses one of them, so a
name that resolves differently a moment later (DNS rebinding) changes nothing. Certificates and the
Host header still use the name. Every redirect is checked like the first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, cast

import httpcore2
import httpx2
import msgspec

from antiphon.tools.egress_policy import (
    INTERNET,
    BlockedAddress,
    EgressPolicy,
    Resolve,
    resolve_host,
)
from antiphon.types.errors import Unavailable

MAX_REDIRECTS = 5
MAX_ADDRESSES = 4  # of one name, tried in turn
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
SECONDS = 60.0  # for one fetch, redirects and all
IDLE_SECONDS = 2.0
"""An idle connection is used again within these seconds.

Node's servers and uvicorn close theirs after five, and a request that meets the close is lost.
"""
_ORIGINS_OWN = frozenset({"accept", "accept-language", "connection", "user-agent"})
"""Headers that do not identify the caller and may be sent to another origin."""


class GuardedClient(httpx2.AsyncClient):
    """`AsyncClient` for untrusted addresses.

    Follows at most five redirects, never from https to http, and sends neither credentials nor a
    body to another origin. Uses no proxy or password of the environment. Requests uncompressed
    responses, so that their size is what arrives; others are errors unless `any_encoding`, for a
    caller that reads no body. Raises `BlockedAddress` besides httpx2's errors.
    """

    def __init__(
        self,
        reach: EgressPolicy = INTERNET,
        *,
        resolve: Resolve = resolve_host,
        headers: dict[str, str] | None = None,
        auth: httpx2.Auth | None = None,
        timeout: httpx2.Timeout | None = None,
        any_encoding: bool = False,
    ) -> None:
        super().__init__(
            transport=_Transport(reach, resolve, any_encoding=any_encoding),
            headers={
                "accept-encoding": "identity",
                "user-agent": "antiphon",
                **(headers or {}),
            },
            auth=auth,
            timeout=timeout or httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=True,
            trust_env=False,
        )

    async def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,
        auth: Any = httpx2.USE_CLIENT_DEFAULT,
        follow_redirects: Any = httpx2.USE_CLIENT_DEFAULT,
    ) -> httpx2.Response:
        """Send the request and follow redirects."""
        follow = follow_redirects if isinstance(follow_redirects, bool) else self.follow_redirects
        past: list[httpx2.Response] = []
        while True:
            response = await super().send(request, stream=True, auth=auth, follow_redirects=False)
            response.history = [*past, *response.history]
            if not follow or response.next_request is None:
                break
            await response.aclose()
            past.append(response)
            request, auth = _follow_redirect(response, response.next_request, len(past)), None
        if not stream:
            await response.aread()
        return response


def create_guarded_transport(
    reach: EgressPolicy = INTERNET, *, resolve: Resolve = resolve_host
) -> httpx2.AsyncBaseTransport:
    """Return the transport alone, for clients with their own redirect handling."""
    return _Transport(reach, resolve)


class FetchedPage(msgspec.Struct, frozen=True):
    """Response to a fetch; `cut` is True if it was longer than `max_bytes`."""

    url: str
    status: int
    media_type: str
    charset: str | None
    content: bytes
    cut: bool


async def fetch(
    client: httpx2.AsyncClient, url: str, *, max_bytes: int, seconds: float = SECONDS
) -> FetchedPage:
    """GET this URL, reading at most `max_bytes` of the body.

    Raises `BlockedAddress`, and `Unavailable` if there is no response in time.
    """
    try:
        async with asyncio.timeout(seconds), client.stream("GET", url) as response:
            content, cut = await _first(response, max_bytes)
    except TimeoutError as error:
        raise Unavailable(f"{url} was not read within {seconds:g} s.") from error
    except httpx2.InvalidURL as error:
        raise BlockedAddress(f"{url!r} is no address: {error}.") from error
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Unavailable(f"{url} cannot be read: {reason}.") from error
    return FetchedPage(
        url=str(response.url),
        status=response.status_code,
        media_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
        charset=response.charset_encoding,
        content=content,
        cut=cut,
    )


class PostAnswer(msgspec.Struct, frozen=True):
    """Response to a POST, without its body; `retry_after` are seconds that it asked to wait."""

    status: int
    retry_after: int | None = None


async def post(
    client: GuardedClient,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    max_bytes: int,
    seconds: float,
) -> PostAnswer:
    """POST this body, follow no redirect, and read at most `max_bytes` of the response.

    Raises `BlockedAddress`, and `Unavailable` if there is no whole response in time.
    """
    try:
        async with (
            asyncio.timeout(seconds),
            client.stream(
                "POST", url, headers=dict(headers), content=body, follow_redirects=False
            ) as response,
        ):
            await _first(response, max_bytes)
    except TimeoutError as error:
        raise Unavailable(f"There was no whole answer within {seconds:g} s.") from error
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise BlockedAddress(f"The address cannot be used: {error}.") from error
    except httpx2.HTTPError as error:
        raise Unavailable(f"There was no answer: {str(error) or type(error).__name__}") from error
    asked = response.headers.get("retry-after", "")
    is_number = asked.isascii() and asked.isdecimal() and len(asked) < 10  # else it is a date
    return PostAnswer(response.status_code, int(asked) if is_number else None)


async def _first(response: httpx2.Response, max_bytes: int) -> tuple[bytes, bool]:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > max_bytes:
            return bytes(body[:max_bytes]), True
    return bytes(body), False


def _follow_redirect(
    answer: httpx2.Response, following: httpx2.Request, redirects: int
) -> httpx2.Request:
    """Return the redirected request without what another origin must not see.

    Raises `BlockedAddress`.
    """
    before, after = answer.request.url, following.url
    if redirects > MAX_REDIRECTS:
        raise BlockedAddress(f"{before.host} redirects more than {MAX_REDIRECTS} times.")
    if before.scheme == "https" and after.scheme != "https":
        raise BlockedAddress(f"{before.host} redirects from https to {after.scheme}.")
    if after.origin == before.origin:
        return following
    if following.method not in ("GET", "HEAD"):
        raise BlockedAddress(
            f"{before.host} redirects a {following.method} to {after.host}, another origin.",
            hint="If that is right, name the new address.",
        )
    for name in set(following.headers) - _ORIGINS_OWN - {"host", "accept-encoding"}:
        del following.headers[name]
    return following


class _Transport(httpx2.AsyncBaseTransport):
    """httpx2's transport with our own network backend, for which httpx2 has no option."""

    def __init__(
        self, reach: EgressPolicy, resolve: Resolve, *, any_encoding: bool = False
    ) -> None:
        self._any_encoding = any_encoding
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            network_backend=_CheckedBackend(reach, resolve),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=IDLE_SECONDS,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        _check(request.url)
        outgoing = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=cast("AsyncIterator[bytes]", request.stream),
            extensions=request.extensions,
        )
        with _translate_errors():
            answer = await self._pool.handle_async_request(outgoing)
        response = httpx2.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        )
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding != "identity" and not self._any_encoding:
            await response.aclose()
            raise httpx2.DecodingError(
                "the answer is compressed, which was not asked for", request=request
            )
        return response

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        with _translate_errors():
            async for piece in self._answer.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()


class _CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Network backend that opens connections; the only place where names are resolved."""

    def __init__(self, reach: EgressPolicy, resolve: Resolve) -> None:
        self._reach = reach
        self._resolve = resolve
        self._network = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2 calls it so
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        seconds = timeout or CONNECT_SECONDS
        addresses = await self._resolve_allowed(host, port, seconds)
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in addresses[:MAX_ADDRESSES]:
            try:
                return await self._network.connect_tcp(
                    str(address), port, seconds / len(addresses), local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _resolve_allowed(self, host: str, port: int, seconds: float) -> list[Any]:
        try:
            async with asyncio.timeout(seconds):
                return await self._reach.resolve_allowed(host, port, self._resolve)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} was not found in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"{host} cannot be found: {error}") from error

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _check(url: httpx2.URL) -> None:
    if url.scheme not in ("http", "https"):
        raise BlockedAddress(
            "Requests go by http and https only.", expected="https://...", received=url.scheme
        )
    if url.userinfo:
        raise BlockedAddress("An address may not hold a user or a password.")
    if url.port is not None and not 0 < url.port < 65_536:
        raise BlockedAddress(f"There is no port {url.port}.", expected="1 to 65535")
    if not url.host:
        raise BlockedAddress("The address names no host.", expected="https://host/...")


@contextmanager
def _translate_errors() -> Generator[None]:
    """Translate httpcore2's exceptions to httpx2's, which have the same names."""
    try:
        yield
    except _FAILURES as error:
        kind = getattr(httpx2, type(error).__name__, httpx2.TransportError)
        raise kind(str(error)) from error


_FAILURES = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)
