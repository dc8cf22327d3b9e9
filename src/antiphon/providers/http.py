"""Streamed POST to a provider: retries before the first byte, errors translated."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from antiphon.providers.failures import (
    LIFE_SECONDS,
    RETRIES,
    Redactor,
    body_error_text,
    retry,
    retry_after,
)
from antiphon.providers.read_coalescer import FULL_READ_BYTES, ReadCoalescer, TakePiece
from antiphon.types.addresses import connection_reason, is_local_url
from antiphon.types.errors import (
    Disconnected,
    ProviderAuth,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)

MAX_ERROR_BYTES = 64_000
ERROR_BODY_SECONDS = 10.0
MAX_RESPONSE_BYTES = 8_000_000


def _take_none(_: bytes) -> bool:
    return False


def _find_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for this address; None for this machine."""
    address = urlsplit(url)
    if is_local_url(url) or proxy_bypass(address.hostname or ""):
        return None
    return getproxies().get(address.scheme)


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Connect timeout, pool size and retries.

    The timeout covers name resolution, connection and encryption.
    """

    connect_seconds: float = 10.0
    pool: int = 2_000
    retries: int = RETRIES


DEFAULT_LIMITS = HttpLimits()


class Auth(msgspec.Struct, frozen=True, kw_only=True):
    """Headers, or a query of the address, that hold the key.

    What holds no key is not put here: with a query, errors are raised without their cause.
    """

    headers: Mapping[str, str] = {}
    query: str = ""


def create_auth(
    key: str | None, *, header: str | None = None, parameter: str | None = None
) -> Auth:
    """Return the key as a bearer token, or in the `header` or the `parameter` of the query."""
    if key is None:
        return Auth()
    if parameter:
        return Auth(query=f"{parameter}={quote(key, safe='')}")
    return Auth(headers={header: key} if header else {"Authorization": f"Bearer {key}"})


class Endpoint:
    """One server, and a session that reuses connections to it.

    Proxies are taken from the environment, except for addresses of this machine. Redirects are not
    followed: they would send the key elsewhere. A request without a free connection waits.

    With a query in `auth`, each address holds the key, and messages of the HTTP library may repeat
    the address. Errors are then raised without the library's, which tracebacks would show.
    """

    def __init__(
        self,
        base_url: str,
        auth: Auth,
        redact: Redactor,
        *,
        limits: HttpLimits = DEFAULT_LIMITS,
        backoff_seconds: float = 0.5,
        life_seconds: float = LIFE_SECONDS,
        dice: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._host = urlsplit(base_url).netloc
        self._auth = auth
        self._redact = redact
        self._limits = limits
        self._free_connections = asyncio.Semaphore(limits.pool)
        self._backoff_seconds = backoff_seconds
        self._life_seconds = life_seconds
        self._dice = dice
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._coalescer = ReadCoalescer()

    def post(
        self,
        path: str,
        body: bytes,
        more: Mapping[str, str] | None = None,
        take: TakePiece = _take_none,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the response's bytes as they arrive, and b"" as a sign of life while waiting.

        What `take` takes is not yielded; the rest of the response is then read in rounds, as long
        as it takes it. Raises a `ProviderError` before the first byte, `Disconnected` after it.
        """
        return retry(
            lambda: self._once(path, body, more, take),
            b"",
            backoff_seconds=self._backoff_seconds,
            retries=self._limits.retries,
            dice=self._dice,
        )

    async def get(self, path: str) -> bytes:
        """Return a whole response, without retries."""
        try:
            async with self._get_session().get(self._url(path), allow_redirects=False) as response:
                if response.status >= 300:
                    raise await self._refusal(response)
                return await _read_up_to(response, MAX_RESPONSE_BYTES)
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from self._cause(error)

    async def close(self) -> None:
        """Close the connections; later requests open new ones."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _once(
        self, path: str, body: bytes, more: Mapping[str, str] | None, take: TakePiece
    ) -> AsyncGenerator[bytes, None]:
        while not await self._acquire_connection():
            yield b""
        begun = False
        try:
            request = self._get_session().post(
                self._url(path), data=body, headers=more, allow_redirects=False
            )
            async with request as response:
                if response.status >= 300:
                    raise await self._refusal(response)
                content = response.content
                while piece := await content.readany():
                    begun = True
                    if take(piece):
                        piece = await self._coalescer.read(content, take, response.connection)
                        if not piece:
                            break
                    yield piece
                    if len(piece) >= FULL_READ_BYTES:
                        await asyncio.sleep(0)  # a read of buffered bytes never suspends
        except (aiohttp.ClientError, OSError) as error:
            if begun:
                raise Disconnected(f"{self._host} broke off its reply.") from self._cause(error)
            raise self._unreachable(error) from self._cause(error)
        finally:
            self._free_connections.release()

    async def _acquire_connection(self) -> bool:
        """Reserve a connection; return False if none becomes free within a short wait."""
        if not self._free_connections.locked():
            return await self._free_connections.acquire()
        try:
            async with asyncio.timeout(self._life_seconds):
                await self._free_connections.acquire()
        except TimeoutError:
            return False
        return True

    def _get_session(self) -> aiohttp.ClientSession:
        """Return the session, created on first use because it belongs to the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={**_HEADERS, **self._auth.headers},
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._limits.connect_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=_find_proxy(self._base_url),
                trust_env=False,  # aiohttp would also send passwords of ~/.netrc
            )
        return self._session

    def _url(self, path: str) -> str:
        url = f"{self._base_url}/{path}"
        if not self._auth.query:
            return url
        return f"{url}{'&' if '?' in path else '?'}{self._auth.query}"

    async def _refusal(self, response: aiohttp.ClientResponse) -> ProviderError:
        """Return the error for the response's status, with the server's own message."""
        body = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(ERROR_BODY_SECONDS):
                body = await _read_up_to(response, MAX_ERROR_BYTES)
        words = body_error_text(body) or response.reason or "no reason given"
        message = f"{self._host} answered {response.status}: {self._redact(words)}"
        kind = _ERRORS.get(response.status)
        if kind is None:
            kind = ProviderUnavailable if response.status >= 500 else ProviderRejected
        wait = retry_after(response.headers.get("Retry-After"), self._clock())
        return kind(message) if wait is None else kind(message, retry_after=wait)

    def _unreachable(self, error: Exception) -> ProviderUnavailable:
        words = self._redact(self._reason(error))
        return ProviderUnavailable(f"{self._host} did not answer: {words}")

    def _cause(self, error: Exception) -> Exception | None:
        return None if self._auth.query else error

    def _reason(self, error: Exception) -> str:
        """Return the cause in plain words; the library's messages name its internals."""
        match error:
            case aiohttp.ClientProxyConnectionError():
                return f"the proxy {error.host}:{error.port}: {connection_reason(error.os_error)}"
            case aiohttp.ConnectionTimeoutError():
                return f"no connection within {self._limits.connect_seconds:g} s"
            case aiohttp.ServerDisconnectedError():
                return "it closed the connection without an answer"
            case aiohttp.ClientConnectorCertificateError(certificate_error=OSError() as wrong):
                return connection_reason(wrong)
            case OSError():
                inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
                return connection_reason(inner)
            case _:
                return str(error) or type(error).__name__


async def _read_up_to(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            break
    return bytes(body[:limit])


_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream, application/json",
    # Compression makes some servers delay tokens. A compressed response is read all the same.
    "Accept-Encoding": "identity",
    "User-Agent": "antiphon",
}
_ERRORS: dict[int, type[ProviderError]] = {
    401: ProviderAuth,
    403: ProviderAuth,
    429: ProviderRateLimited,
}
