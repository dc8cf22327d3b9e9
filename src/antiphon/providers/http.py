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

# Coalesces the reads of many replies, so that a word does not cost a wake-up of its own.


FEW = 200
"""Up to so many replies are read as they arrive: a process carries them easily."""
REPLY_SECONDS = 0.0003  # of rest for each reply under way
LONGEST_SECONDS = 0.160  # words then come by fives, where a model says 30 a second
STEPS = 16  # of a tide, so that not all replies are read at one moment


class ReadCoalescer:
    """Pauses between reads of the replies of one event loop; one timer ends all that are due."""

    def __init__(self) -> None:
        self._resting: list[list[asyncio.Future[None]]] = [[] for _ in range(STEPS)]
        self._step = 0
        self._newest = 0
        self._replies = 0
        self._alarm: asyncio.TimerHandle | None = None

    @contextmanager
    def join(self) -> Generator[int]:
        """Count a reply as under way during the block; yield its place among the steps."""
        self._replies += 1
        self._newest += 1
        try:
            yield self._newest % STEPS
        finally:
            self._replies -= 1

    async def wait_for_round(self, place: int) -> None:
        """Wait for the next round; return at once while few replies are under way."""
        if self._replies <= FEW:
            return
        resting = asyncio.get_running_loop().create_future()
        self._resting[place].append(resting)
        if self._alarm is None:
            self._set_alarm()
        await resting

    def _set_alarm(self) -> None:
        seconds = min(LONGEST_SECONDS, self._replies * REPLY_SECONDS) / STEPS
        self._alarm = asyncio.get_running_loop().call_later(seconds, self._advance)

    def _advance(self) -> None:
        self._step = (self._step + 1) % STEPS
        due, self._resting[self._step] = self._resting[self._step], []
        for resting in due:
            if not resting.done():  # as it is where its reply was broken off
                resting.set_result(None)
        self._alarm = None
        if any(self._resting):
            self._set_alarm()


COMPLAINT_BYTES = 64_000
COMPLAINT_SECONDS = 10.0
MAX_ANSWER_BYTES = 8_000_000
TURN_SECONDS = 0.005  # of one reply, until others have their turn


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Connect timeout, pool size and retries.

    The timeout covers name resolution, connection and encryption.
    """

    connect_seconds: float = 10.0
    pool: int = 2_000
    retries: int = RETRIES


USUAL = HttpLimits()


class Endpoint:
    """A server and one session with it, whose connections are reused.

    Proxies come from the environment, but never for this machine. Redirects are not followed,
    because the key would go along. Requests wait in line for a free connection.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        redact: Redactor,
        *,
        limits: HttpLimits = USUAL,
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
        self._places = asyncio.Semaphore(limits.pool)
        self._backoff_seconds = backoff_seconds
        self._life_seconds = life_seconds
        self._dice = dice
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._tide = ReadCoalescer()

    def post(
        self, path: str, body: bytes, more: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the response's bytes as they arrive; b"" is a sign of life while waiting.

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
                return await _head(response, MAX_ANSWER_BYTES)
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
                rested = time.monotonic()
                with self._tide.join() as place:
                    while piece := await read():
                        begun = True
                        yield piece
                        if (now := time.monotonic()) - rested > TURN_SECONDS:
                            rested = now
                            await asyncio.sleep(0)  # a read waits for nothing in a flood
                        await self._tide.wait_for_round(place)
        except (aiohttp.ClientError, OSError) as error:
            if begun:
                raise Disconnected(f"{self._host} broke off its reply.") from error
            raise self._unreachable(error) from error
        finally:
            self._places.release()

    async def _acquire_connection(self) -> bool:
        """Return whether a connection is free, now or after a short wait."""
        try:
            async with asyncio.timeout(self._life_seconds):
                await self._places.acquire()
        except TimeoutError:
            return False
        return True

    def _get_session(self) -> aiohttp.ClientSession:
        """Return the session, created at first use because it belongs to its event loop."""
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
        """Return the error that the status means, with the server's own message."""
        body = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(COMPLAINT_SECONDS):
                body = await _head(response, COMPLAINT_BYTES)
        words = body_error_text(body) or response.reason or "no reason given"
        message = f"{self._host} answered {response.status}: {self._redact(words)}"
        kind = _MEANING.get(response.status)
        if kind is None:
            kind = ProviderUnavailable if response.status >= 500 else ProviderRejected
        wait = retry_after(response.headers.get("Retry-After"), self._clock())
        return kind(message) if wait is None else kind(message, retry_after=wait)

    def _unreachable(self, error: Exception) -> ProviderUnavailable:
        words = self._redact(self._reason(error))
        return ProviderUnavailable(f"{self._host} did not answer: {words}")

    def _reason(self, error: Exception) -> str:
        """Say in plain words why no answer came; the library's own name its internals."""
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


async def _head(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            break
    return bytes(body[:limit])


_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream, application/json",
    # Compression makes some servers hold tokens back; what comes compressed all the same is read.
    "Accept-Encoding": "identity",
    "User-Agent": "antiphon",
}
_MEANING: dict[int, type[ProviderError]] = {
    401: ProviderAuth,
    403: ProviderAuth,
    429: ProviderRateLimited,
}
