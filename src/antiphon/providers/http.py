"""Streamed POST to a provider: retries before the first byte, errors translated."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

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
from antiphon.types.addresses import connection_reason, is_local_url
from antiphon.types.errors import (
    Disconnected,
    ProviderAuth,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)

# Coalescing of reads: with many replies in progress, each read collects several tokens.


UNCOALESCED_REPLIES = 200
"""Up to this number of replies, each is read as its bytes arrive."""
SECONDS_PER_REPLY = 0.0003  # length of a round, for each reply in progress
MAX_ROUND_SECONDS = 0.160  # at 30 tokens a second, a read then collects five
STEPS = 16  # of a round, so that not all replies are read at the same moment


class ReadCoalescer:
    """Delays the reads of the replies of one event loop; one timer wakes all that are due."""

    def __init__(self) -> None:
        self._waiting: list[list[asyncio.Future[None]]] = [[] for _ in range(STEPS)]
        self._step = 0
        self._newest = 0
        self._replies = 0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def join(self) -> Generator[int]:
        """Count a reply as in progress during the block; yield its step in the round."""
        self._replies += 1
        self._newest += 1
        try:
            yield self._newest % STEPS
        finally:
            self._replies -= 1

    async def wait_for_round(self, step: int) -> None:
        """Wait for this step of the next round; return at once while few replies are read."""
        if self._replies <= UNCOALESCED_REPLIES:
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[step].append(waiting)
        if self._timer is None:
            self._start_timer()
        await waiting

    def _start_timer(self) -> None:
        seconds = min(MAX_ROUND_SECONDS, self._replies * SECONDS_PER_REPLY) / STEPS
        self._timer = asyncio.get_running_loop().call_later(seconds, self._advance)

    def _advance(self) -> None:
        self._step = (self._step + 1) % STEPS
        due, self._waiting[self._step] = self._waiting[self._step], []
        for waiting in due:
            if not waiting.done():  # cancelled with its reply
                waiting.set_result(None)
        self._timer = None
        if any(self._waiting):
            self._start_timer()


# The endpoint.


MAX_ERROR_BYTES = 64_000
ERROR_BODY_SECONDS = 10.0
MAX_RESPONSE_BYTES = 8_000_000
YIELD_SECONDS = 0.005  # a reply that is read without a pause yields to other tasks this often


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Connect timeout, pool size and retries.

    The timeout covers name resolution, connection and encryption.
    """

    connect_seconds: float = 10.0
    pool: int = 2_000
    retries: int = RETRIES


DEFAULT_LIMITS = HttpLimits()


class Endpoint:
    """One server, and a session that reuses connections to it.

    Proxies are taken from the environment, except for addresses of this machine. Redirects are not
    followed: they would send the key elsewhere. A request without a free connection waits.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
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
        self._headers = headers
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
        self, path: str, body: bytes, more: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the response's bytes as they arrive, and b"" as a sign of life while waiting.

        Raises a `ProviderError` before the first byte, `Disconnected` after it.
        """
        return retry(
            lambda: self._once(path, body, more),
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
            raise self._unreachable(error) from error

    async def close(self) -> None:
        """Close the connections; later requests open new ones."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _once(
        self, path: str, body: bytes, more: Mapping[str, str] | None
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
                read = response.content.readany
                busy_seconds = 0.0  # since the last yield; the waits for bytes are not counted
                with self._coalescer.join() as step:
                    while piece := await read():
                        begun = True
                        received_at = time.monotonic()
                        yield piece
                        busy_seconds += time.monotonic() - received_at
                        if busy_seconds > YIELD_SECONDS:
                            busy_seconds = 0.0
                            await asyncio.sleep(0)  # a read of buffered bytes never suspends
                        await self._coalescer.wait_for_round(step)
        except (aiohttp.ClientError, OSError) as error:
            if begun:
                raise Disconnected(f"{self._host} broke off its reply.") from error
            raise self._unreachable(error) from error
        finally:
            self._free_connections.release()

    async def _acquire_connection(self) -> bool:
        """Reserve a connection; return False if none becomes free within a short wait."""
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
                headers={**_HEADERS, **self._headers},
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._limits.connect_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=not is_local_url(self._base_url),
            )
        return self._session

    def _url(self, path: str) -> str:
        return f"{self._base_url}/{path}"

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
