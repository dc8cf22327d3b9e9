"""Limits that callers share: a fair queue for bounded work, bytes held for slow readers, rates."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Generator, Hashable, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, TypeVar

from antiphon.types.errors import NotFound, Overloaded, TooMany

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that a work item waits for its slot before it is refused."""


class FairQueue:
    """Slots for `at_once` work items, of which one caller has at most `of_one`.

    A free slot goes to the waiting caller that was served longest ago. The items of one caller run
    in order. An item that has waited for `patience` seconds is refused; with None it waits without
    limit.
    """

    def __init__(self, at_once: int, of_one: int, patience: float | None = PATIENCE) -> None:
        self._free = at_once
        self._of_one = of_one
        self._patience = patience
        self._at_work: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def slot(self, caller: Hashable) -> AsyncGenerator[None]:
        """Hold a slot during the block. Raises `Overloaded` after `patience` seconds."""
        await self.enter(caller)
        try:
            yield
        finally:
            self.leave(caller)

    async def enter(self, caller: Hashable) -> None:
        """Wait for a slot, which `leave` frees. Raises `Overloaded` after `patience` seconds."""
        await self._enter(caller, self._patience)

    def leave(self, caller: Hashable) -> None:
        """Free a slot of this caller, for the next work item."""
        self._free += 1
        self._at_work[caller] -= 1
        if not self._at_work[caller]:
            del self._at_work[caller]
        self._serve_next()

    async def make_pieces(
        self, caller: Hashable, pieces: AsyncGenerator[T, None]
    ) -> AsyncGenerator[T, None]:
        """Yield the pieces; each is made in a slot, which is free while the piece is used.

        Raises `Overloaded` only before the first piece: what was started is finished.
        """
        patience = self._patience
        async with aclosing(pieces):
            while True:
                await self._enter(caller, patience)
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    return
                finally:
                    self.leave(caller)
                patience = None
                yield piece

    async def _enter(self, caller: Hashable, patience: float | None) -> None:
        if self._may_begin(caller) and caller not in self._waiting:
            self._begin(caller)
        else:
            await self._wait(caller, patience)

    async def _wait(self, caller: Hashable, patience: float | None) -> None:
        slot = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(slot)
        try:
            await asyncio.wait_for(asyncio.shield(slot), patience)
        except TimeoutError:
            self._give_up(caller, slot)
            raise Overloaded(
                "Too much is asked at once.",
                expected=f"an answer within {patience or 0:g} seconds",
                retry_after=1,
            ) from None
        except asyncio.CancelledError:
            self._give_up(caller, slot)
            raise

    def _give_up(self, caller: Hashable, slot: asyncio.Future[None]) -> None:
        """Stop waiting; a slot that was granted meanwhile is freed."""
        if slot.done():
            self.leave(caller)
            return
        self._waiting[caller].remove(slot)
        if not self._waiting[caller]:
            del self._waiting[caller]

    def _may_begin(self, caller: Hashable) -> bool:
        return self._free > 0 and self._at_work[caller] < self._of_one

    def _begin(self, caller: Hashable) -> None:
        self._free -= 1
        self._at_work[caller] += 1

    def _serve_next(self) -> None:
        """Give the free slot to the next caller, which goes to the end of the queue."""
        for caller, works in self._waiting.items():
            if self._may_begin(caller):
                del self._waiting[caller]
                works.popleft().set_result(None)
                self._begin(caller)
                if works:
                    self._waiting[caller] = works
                return


# Bytes of responses that are held in memory until their readers take them. A response of more than
# `PIECE` bytes counts from its creation until the last of it is passed to its connection, which
# takes a piece only when the reader has taken the previous ones.


Send = Callable[[Any], Any]
"""ASGI's `send`."""

PIECE = 65_536
"""Bytes passed to a connection at once; responses that are no larger are not counted."""

WRITE = "antiphon.write"
"""ASGI extension that makes and sends a piece of the body if the connection has room for it."""

UNSENT = "antiphon.send_budget"
"""The ASGI extension that holds the `UnsentBytes` of the process, as `account`."""


class UnsentBytes:
    """The bytes that a process holds for its readers, at most `most`.

    A caller may hold as many as are left for the others, so a single caller gets half of them. A
    single response is always held when there is no other.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.total = 0
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def hold(self, who: Hashable, size: int) -> Generator[None]:
        """Count these bytes as the caller's during the block. Raises `Overloaded`."""
        mine, free = self._held[who], self.most - self.total - size
        if self.total and (free < 0 or (mine and mine + size > free)):
            raise Overloaded(
                "Too much that was answered before has not been read yet.",
                expected=f"at most {self.most} bytes of answers that wait for their readers,"
                " and of one caller no more than are left for the others",
                received=f"{mine} bytes of this caller's, {self.total} of all",
                hint="Read the answers that are open, or close their connections.",
                retry_after=1,
            )
        self.total += size
        self._held[who] += size
        try:
            yield
        finally:
            self.total -= size
            self._held[who] -= size
            if not self._held[who]:
                del self._held[who]


@contextmanager
def hold_bytes(scope: Mapping[str, Any], who: Hashable, size: int) -> Generator[None]:
    """Count the bytes of a large response, where the server has a budget."""
    account: UnsentBytes | None = scope.get("extensions", {}).get(UNSENT, {}).get("account")
    if account is None or size <= PIECE:
        yield
        return
    with account.hold(who, size):
        yield


async def send_body(send: Send, body: bytes) -> None:
    """Send a whole body; return when the connection has room for more.

    A long body is sent in pieces, because a connection keeps what it is given until it is read.
    """
    if len(body) <= PIECE:
        await send({"type": "http.response.body", "body": body})
        return
    rest = memoryview(body)
    for start in range(0, len(rest), PIECE):
        piece = bytes(rest[start : start + PIECE])
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


# Rates.


Clock = Callable[[], float]
MAX_REMEMBERED = 10_000
GUESSES_OF_LINKS = 50
GUESSES_WITHIN = 900.0
"""Seconds in which a caller may try `GUESSES_OF_LINKS` unknown links; logins use the same time."""


class RateLimit:
    """Token bucket for each key: `many` in `seconds`, refilled steadily.

    A key that was idle may do `many` in a row.
    """

    def __init__(self, many: int, seconds: float, what: str, clock: Clock = time.monotonic) -> None:
        self._many = many
        self._seconds = seconds
        self._what = what
        self._clock = clock
        self._spent: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, who: str) -> None:
        """Count one. Raises `TooMany` with the time to wait, and then counts nothing."""
        with self._lock:
            now = self._clock()
            spent = self._current_spending(who, now)
            if spent + 1 > self._many:
                raise TooMany(
                    f"Too many {self._what} in a short while.",
                    expected=f"{self._many} in {self._seconds:g} seconds",
                    retry_after=math.ceil((spent + 1 - self._many) / self._pace),
                )
            self._remember(who, spent + 1, now)

    def refund(self, who: str) -> None:
        """Take back one that was counted."""
        with self._lock:
            now = self._clock()
            self._remember(who, max(0.0, self._current_spending(who, now) - 1), now)

    @property
    def _pace(self) -> float:
        return self._many / self._seconds

    def _current_spending(self, who: str, now: float) -> float:
        spent, at = self._spent.get(who, (0.0, now))
        return max(0.0, spent - (now - at) * self._pace)

    def _remember(self, who: str, spent: float, now: float) -> None:
        self._spent[who] = (spent, now)
        if len(self._spent) > MAX_REMEMBERED:
            self._spent = {
                other: entry
                for other, entry in self._spent.items()
                if self._current_spending(other, now) > 0
            }
        while len(self._spent) > MAX_REMEMBERED:  # still too many: forget the oldest
            del self._spent[next(iter(self._spent))]


class LinkGuesses:
    """Rate limit on requests for unknown links, for each key or network."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._limit = RateLimit(GUESSES_OF_LINKS, GUESSES_WITHIN, "unknown links", clock)

    @contextmanager
    def count(self, who: str) -> Generator[None]:
        """Count the block if it raises `NotFound`; raise `TooMany` in its place for too many.

        A link that exists is never refused: all readers behind a proxy may have one address.
        """
        try:
            yield
        except NotFound:
            self._limit.take(who)
            raise


def network_key(address: str) -> str:
    """Return the key of an address: for IPv6 its /64 network, in which a client can change it."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ip_network((int(found), 64), strict=False))
