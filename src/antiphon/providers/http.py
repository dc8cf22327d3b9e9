"""One streamed POST to a provider: retries before the first byte, foreign errors by their names."""

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
    complaint_in,
    retried,
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

# Lets many replies come in together, so that a word does not cost a wake-up of its own.


FEW = 200
"""So many replies are read as they come: a process carries them easily."""
REPLY_SECONDS = 0.0003  # of rest for each reply under way
LONGEST_SECONDS = 0.160  # words then come by fives, where a model says 30 a second
STEPS = 16  # of a tide, so that not all replies are read at one moment


class Tide:
    """The rests of the replies of one loop: one timer ends all that are due."""

    def __init__(self) -> None:
        self._resting: list[list[asyncio.Future[None]]] = [[] for _ in range(STEPS)]
        self._step = 0
        self._newest = 0
        self._replies = 0
        self._alarm: asyncio.TimerHandle | None = None

    @contextmanager
    def riding(self) -> Generator[int]:
        """A reply under way, for as long as the block lasts: its place among the steps."""
        self._replies += 1
        self._newest += 1
        try:
            yield self._newest % STEPS
        finally:
            self._replies -= 1

    async def rest(self, place: int) -> None:
        """Until the tide has come round; not at all while few replies are under way."""
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


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a connection may take to stand, how many there may be, how often to ask again.

    The time is for all of it: the look-up of the name, the connection, the encryption.
    """

    connect_seconds: float = 10.0
    pool: int = 2_000
    retries: int = RETRIES


USUAL = Limits()


class Endpoint:
    """A server and the one session with it: connections are kept and used again.

    Proxies are taken from the environment, but never for this machine. Redirects are not followed,
    since the key would go with them. Who finds no free connection waits in line.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        redact: Redactor,
        *,
        limits: Limits = USUAL,
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
        self._tide = Tide()

    def post(
        self, path: str, body: bytes, more: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The answer's bytes as they come; b"" is a sign of life while something is waited for.

        Raises a `ProviderError` before the first byte, `Disconnected` after it.
        """
        return retried(
            lambda: self._once(path, body, more),
            b"",
            backoff_seconds=self._backoff_seconds,
            retries=self._limits.retries,
            dice=self._dice,
        )

    async def get(self, path: str) -> bytes:
        """A whole answer, asked for once."""
        try:
            async with self._opened().get(self._url(path), allow_redirects=False) as response:
                if response.status >= 300:
                    raise await self._refusal(response)
                return await _head(response, MAX_ANSWER_BYTES)
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    async def close(self) -> None:
        """Close the connections; who asks again afterwards gets new ones."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _once(
        self, path: str, body: bytes, more: Mapping[str, str] | None
    ) -> AsyncGenerator[bytes, None]:
        while not await self._found_place():
            yield b""
        begun = False
        try:
            request = self._opened().post(
                self._url(path), data=body, headers=more, allow_redirects=False
            )
            async with request as response:
                if response.status >= 300:
                    raise await self._refusal(response)
                read = response.content.readany
                rested = time.monotonic()
                with self._tide.riding() as place:
                    while piece := await read():
                        begun = True
                        yield piece
                        if (now := time.monotonic()) - rested > TURN_SECONDS:
                            rested = now
                            await asyncio.sleep(0)  # a read waits for nothing in a flood
                        await self._tide.rest(place)
        except (aiohttp.ClientError, OSError) as error:
            if begun:
                raise Disconnected(f"{self._host} broke off its reply.") from error
            raise self._unreachable(error) from error
        finally:
            self._places.release()

    async def _found_place(self) -> bool:
        """Whether a connection is free, now or in a while."""
        try:
            async with asyncio.timeout(self._life_seconds):
                await self._places.acquire()
        except TimeoutError:
            return False
        return True

    def _opened(self) -> aiohttp.ClientSession:
        """The session; made at first use, since it belongs to the loop it is made in."""
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
        """What the status means; the server's own words are kept."""
        body = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(COMPLAINT_SECONDS):
                body = await _head(response, COMPLAINT_BYTES)
        words = complaint_in(body) or response.reason or "no reason given"
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
            case (
                aiohttp.ClientConnectorCertificateError(certificate_error=OSError() as wrong)
                | aiohttp.ClientConnectorError(os_error=wrong)
                | (OSError() as wrong)
            ):
                return connection_reason(wrong)
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
