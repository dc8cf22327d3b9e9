"""How long a call may still take. Its clock stands still while a person is asked something for it.

Whoever asks says so with `unhurried`; a server whose questions belong to no call in particular has
a `Hush` of its own, which all its calls heed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

LONGEST = 5
"""Times its seconds a call may take that goes on telling how far it is."""
END_SECONDS = 2.0
"""For work that was cancelled to end; then it is left behind."""

T = TypeVar("T")


class Clock:
    """Runs from when it is made. `anew` is whether it was ever started anew."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.anew = False
        self._lock = threading.Lock()  # a tool in a thread may ask somebody too
        self._end = _now() + seconds
        self._latest = _now() + LONGEST * seconds
        self._holds = 0
        self._held_at = 0.0
        self._held = 0.0
        self._began = _now()

    def start_anew(self) -> None:
        """Give it all its seconds again, up to five times in all."""
        with self._lock:
            self.anew = True
            at = self._held_at if self._holds else _now()
            self._end = min(at + self.seconds, self._latest)

    def left(self) -> float:
        """Seconds that are left; of a clock that stands still they stay the same."""
        with self._lock:
            return self._end - (self._held_at if self._holds else _now())

    def ran(self) -> float:
        """Seconds that it ran."""
        with self._lock:
            return (self._held_at if self._holds else _now()) - self._began - self._held

    def hold(self) -> None:
        """Stand still until it was released as often as it was held."""
        with self._lock:
            if not self._holds:
                self._held_at = _now()
            self._holds += 1

    def release(self) -> None:
        """Undo one `hold`."""
        with self._lock:
            self._holds -= 1
            if not self._holds:
                held = _now() - self._held_at
                self._held += held
                self._end += held
                self._latest += held


class Hush:
    """The clocks of some calls, and whether they stand still just now."""

    def __init__(self) -> None:
        self._clocks: list[Clock] = []
        self._asked = 0

    @contextmanager
    def heeded(self) -> Generator[None]:
        """A call that is made in this block heeds it."""
        clocks = _ticking.get()
        self._clocks.extend(clocks)
        if self._asked:
            _hold(clocks)
        try:
            yield
        finally:
            if self._asked:
                _release(clocks)
            for clock in clocks:
                self._clocks.remove(clock)

    @contextmanager
    def asked(self) -> Generator[None]:
        """Somebody is asked something in this block."""
        self._asked += 1
        if self._asked == 1:
            _hold(self._clocks)
        try:
            yield
        finally:
            self._asked -= 1
            if not self._asked:
                _release(self._clocks)


@contextmanager
def unhurried() -> Generator[None]:
    """Ask a person in this block: the deadlines of the tool that asks stand still meanwhile."""
    clocks = _ticking.get()
    _hold(clocks)
    try:
        yield
    finally:
        _release(clocks)


async def within(clock: Clock, work: Coroutine[Any, Any, T]) -> asyncio.Task[T] | None:
    """Do the work as a task, which is returned when it is done; None when its time was over.

    It is cancelled then. Work that does not let itself be cancelled is not waited for.
    """
    context = copy_context()
    context.run(_ticking.set, (*_ticking.get(), clock))
    working = asyncio.create_task(work, context=context)
    try:
        while not working.done():
            if (left := clock.left()) <= 0:
                return None
            await asyncio.wait([working], timeout=min(max(left, _SOON), _LATER))
        return working
    finally:
        await _end(working)


_ticking: ContextVar[tuple[Clock, ...]] = ContextVar("ticking", default=())
"""The clocks of the call that is made here."""
_left_behind: set[asyncio.Task[Any]] = set()
_SOON = 0.001  # for a clock that stands still just before its end
_LATER = 3600.0  # no loop sleeps for infinity

_now = time.monotonic


def _hold(clocks: Iterable[Clock]) -> None:
    for clock in clocks:
        clock.hold()


def _release(clocks: Iterable[Clock]) -> None:
    for clock in clocks:
        clock.release()


async def _end(working: asyncio.Task[Any]) -> None:
    working.add_done_callback(_forget)
    if working.done():
        return
    _left_behind.add(working)
    working.cancel()
    await asyncio.wait([working], timeout=END_SECONDS)


def _forget(working: asyncio.Task[Any]) -> None:
    """Let go of it. How work failed that nobody waits for is asked for: asyncio would log it."""
    _left_behind.discard(working)
    if not working.cancelled():
        working.exception()
