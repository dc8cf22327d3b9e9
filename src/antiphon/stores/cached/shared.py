"""Cache of contexts that all processes of an installation share.

An entry is not trusted until it is verified: it carries a MAC with a key of the installation, so
that no foreign bytes are accepted, and it is read by the version that its thread has now. A fault
of the service costs little time: each call has a deadline, and after a fault a circuit breaker
suspends calls for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import blake2b
from hmac import compare_digest
from typing import Protocol, TypeVar

import msgspec

from antiphon.engine.context_window import Context
from antiphon.types.terminal_safe import one_line

V = TypeVar("V")

log = logging.getLogger(__name__)

GET_SECONDS = 0.05  # the database would have answered by then
DROP_SECONDS = 0.5  # deleted text must be gone after one second
CLEAR_SECONDS = 10.0
PUT_SECONDS = 5.0  # no caller waits for it
MAX_CONTEXT_BYTES = 1_000_000  # a larger context is read as fast from the database
MAX_PENDING_PUTS = 32  # at once; further contexts are not shared
BACKOFF_SECONDS = (1.0, 30.0)
MAC_BYTES = 32


class ContextBackendDown(Exception):
    """The service does not answer, or its answer is invalid."""


class ContextBackend(Protocol):
    """A key-value service for bytes. Every method raises `ContextBackendDown`."""

    name: str

    async def get(self, thread_id: str, version: int) -> bytes | None:
        """Return the bytes put for this version; None if another version was put since."""
        ...

    async def put(self, thread_id: str, version: int, data: bytes) -> None:
        """Replace every other version; the bytes expire after some minutes."""
        ...

    async def drop(self, thread_id: str) -> None:
        """Delete the thread's entry."""
        ...

    async def clear(self) -> None:
        """Delete every entry of this installation."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class SharedContextCache:
    """Contexts in a backend; raises no error of the backend. `secret` is the installation's.

    After a fault no call is made for the first number of seconds of `backoff`. Each further fault
    doubles that time, up to the second number.
    """

    def __init__(
        self,
        backend: ContextBackend,
        secret: bytes,
        *,
        backoff: tuple[float, float] = BACKOFF_SECONDS,
    ) -> None:
        self._backend = backend
        self._key = blake2b(secret, digest_size=32, person=b"shared contexts").digest()
        self._breaker = _CircuitBreaker(backend.name, *backoff)
        self._puts: set[asyncio.Task[None]] = set()

    @property
    def is_suspended(self) -> bool:
        """True while calls are suspended, so that nothing will be found."""
        return self._breaker.is_open

    async def get(self, thread_id: str, version: int) -> Context | None:
        """Return the thread's context at that version, if cached."""
        if not self._breaker.allows_call():
            return None
        found = await self._breaker.call(GET_SECONDS, lambda: self._backend.get(thread_id, version))
        context = None if found is None else self._decode(thread_id, found)
        return context if context is not None and context.version == version else None

    def put_soon(
        self, thread_id: str, context: Context, deleted: Callable[[], Awaitable[bool]]
    ) -> None:
        """Put the context in a task; `deleted` then tells if the thread was deleted meanwhile.

        A deletion drops the entry after it deleted the thread, and this checks after it put the
        entry: whichever comes last, nothing of the thread stays.
        """
        if len(context.chat) > MAX_CONTEXT_BYTES or len(self._puts) >= MAX_PENDING_PUTS:
            return
        if not self._breaker.allows_call():
            return

        async def keep() -> None:
            data = msgspec.msgpack.encode(context)
            sealed = self._mac(thread_id, data) + data
            await self._breaker.call(
                PUT_SECONDS, lambda: self._backend.put(thread_id, context.version, sealed)
            )
            if await deleted():
                await self.drop(thread_id)

        task = asyncio.create_task(keep(), name="antiphon shared context")
        self._puts.add(task)
        task.add_done_callback(self._puts.discard)

    async def drop(self, thread_id: str) -> None:
        """Delete the entry of a deleted thread; tried also while calls are suspended."""
        await self._breaker.call(DROP_SECONDS, lambda: self._backend.drop(thread_id))

    async def clear(self) -> None:
        """Delete every entry, because an owner's data was deleted."""
        await self._breaker.call(CLEAR_SECONDS, self._backend.clear)

    async def close(self) -> None:
        """Cancel pending puts and close the backend."""
        for task in self._puts:
            task.cancel()
        if self._puts:
            await asyncio.wait(self._puts)
        with suppress(ContextBackendDown, TimeoutError):
            async with asyncio.timeout(DROP_SECONDS):
                await self._backend.close()

    def _decode(self, thread_id: str, found: bytes) -> Context | None:
        seal, data = found[:MAC_BYTES], found[MAC_BYTES:]
        if not compare_digest(seal, self._mac(thread_id, data)):
            return None
        try:
            return msgspec.msgpack.decode(data, type=Context)
        except msgspec.DecodeError:  # written by another version of this program
            return None

    def _mac(self, thread_id: str, data: bytes) -> bytes:
        digest = blake2b(thread_id.encode() + b"\0", key=self._key, digest_size=MAC_BYTES)
        digest.update(data)
        return digest.digest()


class _CircuitBreaker:
    """Suspends calls to a service after a fault, longer each time, until it answers again."""

    def __init__(self, name: str, first: float, longest: float) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._first = first
        self._longest = longest
        self._open_until = 0.0
        self._failures = 0
        self._warned = False

    @property
    def is_open(self) -> bool:
        """True while no call is allowed."""
        return self._loop.time() < self._open_until

    def allows_call(self) -> bool:
        """Return whether a call may be made: none while open, then one to try, then all."""
        if self.is_open:
            return False
        if self._failures:
            self._open_until = self._loop.time() + self._first
        return True

    async def call(self, seconds: float, call: Callable[[], Awaitable[V]]) -> V | None:
        """Return the result of the call; None if it fails or takes longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                answer = await call()
        except TimeoutError:
            self._record_failure("no answer in time")
        except ContextBackendDown as fault:
            self._record_failure(one_line(str(fault)))
        except Exception:  # any error of a library: the database has everything
            log.exception("a call to %s failed", self._name)
            self._record_failure("for a reason that was logged")
        else:
            self._record_success()
            return answer
        return None

    def _record_failure(self, why: str) -> None:
        self._open_until = self._loop.time() + min(self._longest, self._first * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        if self._failures > 1 and not self._warned:  # the first may mean that this process is busy
            self._warned = True
            log.warning("no contexts are shared through %s (%s)", self._name, why)

    def _record_success(self) -> None:
        if self._warned:
            self._warned = False
            # At the level of the warning: an operator who read that must read that it is over.
            log.warning("contexts are shared through %s again", self._name)
        self._failures = 0
        self._open_until = 0.0
