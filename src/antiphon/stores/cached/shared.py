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
KEEP_SECONDS = 5.0  # nobody waits for it
MAX_CONTEXT_BYTES = 1_000_000  # of a context; a larger one comes as soon from the database
MOST_KEEPING = 32  # contexts on their way there; more are not shared
PEACE = (1.0, 30.0)
SEAL_BYTES = 32


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
        self, shelf: ContextBackend, secret: bytes, *, peace: tuple[float, float] = PEACE
    ) -> None:
        self._shelf = shelf
        self._key = blake2b(secret, digest_size=32, person=b"shared contexts").digest()
        self._fuse = _Fuse(shelf.name, *peace)
        self._keeping: set[asyncio.Task[None]] = set()

    @property
    def resting(self) -> bool:
        """Whether nothing will be found, for the shelf is left in peace."""
        return self._fuse.resting

    async def get(self, thread_id: str, version: int) -> Context | None:
        """The thread at that version, if it is there."""
        if not self._fuse.lets_through():
            return None
        found = await self._fuse.guard(GET_SECONDS, lambda: self._shelf.get(thread_id, version))
        context = None if found is None else self._unsealed(thread_id, found)
        return context if context is not None and context.version == version else None

    def keep(
        self, thread_id: str, context: Context, deleted: Callable[[], Awaitable[bool]]
    ) -> None:
        """Put it there, soon; `deleted` is asked afterwards whether the thread is gone meanwhile.

        Who deletes a thread drops it after that, and who keeps it looks after that: whichever comes
        last, nothing of it stays.
        """
        if len(context.chat) > MAX_CONTEXT_BYTES or len(self._keeping) >= MOST_KEEPING:
            return
        if not self._fuse.lets_through():
            return

        async def keep() -> None:
            sealed = self._sealed(thread_id, context)
            await self._fuse.guard(
                KEEP_SECONDS, lambda: self._shelf.put(thread_id, context.version, sealed)
            )
            if await deleted():
                await self.drop(thread_id)

        task = asyncio.create_task(keep(), name="antiphon shared context")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def drop(self, thread_id: str) -> None:
        """The thread was deleted; tried also where the shelf is left in peace."""
        await self._fuse.guard(DROP_SECONDS, lambda: self._shelf.drop(thread_id))

    async def clear(self) -> None:
        """Whatever may be anybody's was deleted."""
        await self._fuse.guard(CLEAR_SECONDS, self._shelf.clear)

    async def close(self) -> None:
        """Let go of the shelf; what is on its way there goes no further."""
        for task in self._keeping:
            task.cancel()
        if self._keeping:
            await asyncio.wait(self._keeping)
        with suppress(ContextBackendDown, TimeoutError):
            async with asyncio.timeout(DROP_SECONDS):
                await self._shelf.close()

    def _sealed(self, thread_id: str, context: Context) -> bytes:
        kept = msgspec.msgpack.encode(context)
        return self._seal(thread_id, kept) + kept

    def _unsealed(self, thread_id: str, found: bytes) -> Context | None:
        seal, kept = found[:SEAL_BYTES], found[SEAL_BYTES:]
        if not compare_digest(seal, self._seal(thread_id, kept)):
            return None
        try:
            return msgspec.msgpack.decode(kept, type=Context)
        except msgspec.DecodeError:  # of another version of this program
            return None

    def _seal(self, thread_id: str, kept: bytes) -> bytes:
        digest = blake2b(thread_id.encode() + b"\0", key=self._key, digest_size=SEAL_BYTES)
        digest.update(kept)
        return digest.digest()


class _Fuse:
    """Leaves a service in peace after a fault, longer each time, until it answers again."""

    def __init__(self, name: str, peace: float, most: float) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._peace = peace
        self._most = most
        self._until = 0.0
        self._faults = 0
        self._told = False

    @property
    def resting(self) -> bool:
        """Whether nobody asks just now."""
        return self._loop.time() < self._until

    def lets_through(self) -> bool:
        """Whether to ask just now: in peace nobody does, afterwards one, and then all."""
        if self.resting:
            return False
        if self._faults:
            self._until = self._loop.time() + self._peace
        return True

    async def guard(self, seconds: float, call: Callable[[], Awaitable[V]]) -> V | None:
        """What the call gives; None where it fails or takes longer."""
        try:
            async with asyncio.timeout(seconds):
                answer = await call()
        except TimeoutError:
            self._failed("no answer in time")
        except ContextBackendDown as fault:
            self._failed(one_line(str(fault)))
        except Exception:  # a wall to a library: the database has whatever is asked for
            log.exception("%s stumbled", self._name)
            self._failed("for a reason that was logged")
        else:
            self._worked()
            return answer
        return None

    def _failed(self, why: str) -> None:
        self._until = self._loop.time() + min(self._most, self._peace * 2**self._faults)
        self._faults = min(self._faults + 1, 10)
        if self._faults > 1 and not self._told:  # the first may be of our own being busy
            self._told = True
            log.warning("no contexts are shared through %s (%s)", self._name, why)

    def _worked(self) -> None:
        if self._told:
            self._told = False
            # As loud as the trouble was: who read of that must read that it is over.
            log.warning("contexts are shared through %s again", self._name)
        self._faults = 0
        self._until = 0.0
