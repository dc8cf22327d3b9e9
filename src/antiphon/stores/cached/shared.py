"""Contexts that all processes of an installation share: threads as a model is told them.

What is found there is as good as nothing until it is shown to be true. Each is sealed with a key
of the installation, so that nobody else's bytes are ever taken for one, and is asked for by the
version that its thread has now. Whatever befalls the service costs time, and little of that: each
call has a deadline, and after a fault it is left in peace for a while.
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

from antiphon.ports import Context
from antiphon.types.terminal_safe import one_line

V = TypeVar("V")

log = logging.getLogger(__name__)

GET_SECONDS = 0.05  # seconds; the database would have answered by then
DROP_SECONDS = 0.5  # of the second in which what was deleted is to be gone
CLEAR_SECONDS = 10.0
PUT_SECONDS = 5.0  # nobody waits for it
MAX_CONTEXT_BYTES = 1_000_000  # of a context; a larger one comes as soon from the database
MAX_PENDING_PUTS = 32  # contexts on their way there; more are not shared
BACKOFF_SECONDS = (1.0, 30.0)
MAC_BYTES = 32


class ContextBackendDown(Exception):
    """The service does not answer, or not so that it can be understood."""


class ContextBackend(Protocol):
    """Where bytes lie for a while. Every method raises `ContextBackendDown`."""

    name: str

    async def get(self, thread_id: str, version: int) -> bytes | None:
        """What was put there for this version; nothing where another one was put since."""
        ...

    async def put(self, thread_id: str, version: int, kept: bytes) -> None:
        """In place of every other version; for some minutes."""
        ...

    async def drop(self, thread_id: str) -> None:
        """What is there of the thread is gone."""
        ...

    async def clear(self) -> None:
        """Everything of this installation is gone."""
        ...

    async def close(self) -> None:
        """Let go of the service."""
        ...


class SharedContextCache:
    """Never raises for what befalls the shelf. `secret` is the installation's.

    After a fault the shelf is left in peace for so many seconds, longer each time, at most for the
    second of the two.
    """

    def __init__(
        self, shelf: ContextBackend, secret: bytes, *, peace: tuple[float, float] = BACKOFF_SECONDS
    ) -> None:
        self._backend = shelf
        self._key = blake2b(secret, digest_size=32, person=b"shared contexts").digest()
        self._breaker = _CircuitBreaker(shelf.name, *peace)
        self._puts: set[asyncio.Task[None]] = set()

    @property
    def is_suspended(self) -> bool:
        """Whether nothing will be found, for the shelf is left in peace."""
        return self._breaker.is_open

    async def get(self, thread_id: str, version: int) -> Context | None:
        """The thread at that version, if it is there."""
        if not self._breaker.allows_call():
            return None
        found = await self._breaker.call(GET_SECONDS, lambda: self._backend.get(thread_id, version))
        context = None if found is None else self._decode(thread_id, found)
        return context if context is not None and context.version == version else None

    def put_soon(
        self, thread_id: str, context: Context, deleted: Callable[[], Awaitable[bool]]
    ) -> None:
        """Put it there, soon; `deleted` is asked afterwards whether the thread is gone meanwhile.

        Who deletes a thread drops it after that, and who keeps it looks after that: whichever comes
        last, nothing of it stays.
        """
        if len(context.chat) > MAX_CONTEXT_BYTES or len(self._puts) >= MAX_PENDING_PUTS:
            return
        if not self._breaker.allows_call():
            return

        async def keep() -> None:
            sealed = self._encode(thread_id, context)
            await self._breaker.call(
                PUT_SECONDS, lambda: self._backend.put(thread_id, context.version, sealed)
            )
            if await deleted():
                await self.drop(thread_id)

        task = asyncio.create_task(keep(), name="antiphon shared context")
        self._puts.add(task)
        task.add_done_callback(self._puts.discard)

    async def drop(self, thread_id: str) -> None:
        """The thread was deleted; tried also where the shelf is left in peace."""
        await self._breaker.call(DROP_SECONDS, lambda: self._backend.drop(thread_id))

    async def clear(self) -> None:
        """Whatever may be anybody's was deleted."""
        await self._breaker.call(CLEAR_SECONDS, self._backend.clear)

    async def close(self) -> None:
        """Let go of the shelf; what is on its way there goes no further."""
        for task in self._puts:
            task.cancel()
        if self._puts:
            await asyncio.wait(self._puts)
        with suppress(ContextBackendDown, TimeoutError):
            async with asyncio.timeout(DROP_SECONDS):
                await self._backend.close()

    def _encode(self, thread_id: str, context: Context) -> bytes:
        kept = msgspec.msgpack.encode(context)
        return self._mac(thread_id, kept) + kept

    def _decode(self, thread_id: str, found: bytes) -> Context | None:
        seal, kept = found[:MAC_BYTES], found[MAC_BYTES:]
        if not compare_digest(seal, self._mac(thread_id, kept)):
            return None
        try:
            return msgspec.msgpack.decode(kept, type=Context)
        except msgspec.DecodeError:  # of another version of this program
            return None

    def _mac(self, thread_id: str, kept: bytes) -> bytes:
        digest = blake2b(thread_id.encode() + b"\0", key=self._key, digest_size=MAC_BYTES)
        digest.update(kept)
        return digest.digest()


class _CircuitBreaker:
    """Leaves a service in peace after a fault, longer each time, until it answers again."""

    def __init__(self, name: str, peace: float, most: float) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._peace = peace
        self._most = most
        self._open_until = 0.0
        self._failures = 0
        self._warned = False

    @property
    def is_open(self) -> bool:
        """Whether nobody asks just now."""
        return self._loop.time() < self._open_until

    def allows_call(self) -> bool:
        """Whether to ask just now: in peace nobody does, afterwards one, and then all."""
        if self.is_open:
            return False
        if self._failures:
            self._open_until = self._loop.time() + self._peace
        return True

    async def call(self, seconds: float, call: Callable[[], Awaitable[V]]) -> V | None:
        """What the call gives; None where it fails or takes longer."""
        try:
            async with asyncio.timeout(seconds):
                answer = await call()
        except TimeoutError:
            self._record_failure("no answer in time")
        except ContextBackendDown as fault:
            self._record_failure(one_line(str(fault)))
        except Exception:  # a wall to a library: the database has whatever is asked for
            log.exception("%s stumbled", self._name)
            self._record_failure("for a reason that was logged")
        else:
            self._record_success()
            return answer
        return None

    def _record_failure(self, why: str) -> None:
        self._open_until = self._loop.time() + min(self._most, self._peace * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        if self._failures > 1 and not self._warned:  # the first may be of our own being busy
            self._warned = True
            log.warning("no contexts are shared through %s (%s)", self._name, why)

    def _record_success(self) -> None:
        if self._warned:
            self._warned = False
            # As loud as the trouble was: who read of that must read that it is over.
            log.warning("contexts are shared through %s again", self._name)
        self._failures = 0
        self._open_until = 0.0
