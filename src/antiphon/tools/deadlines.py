"""Deadlines of tool calls, which pause while a person is asked something for the call.

A tool that asks uses `pause_deadline`. An MCP server, whose questions belong to no call in
particular, has a `DeadlineGroup` that all its calls join.
"""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Coroutine, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

LONGEST = 5
"""Factor by which progress can extend the deadline of a call."""
END_SECONDS = 2.0
"""Time for cancelled work to end; after that it is left behind."""

T = TypeVar("T")


class CallDeadline:
    """Deadline of one call, running from its creation. `was_restarted` is set by `restart`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.was_restarted = False
        self._lock = threading.Lock()  # a tool in a thread may ask somebody too
        self._end = _now() + seconds
        self._latest = _now() + LONGEST * seconds
        self._holds = 0
        self._held_at = 0.0
        self._held = 0.0
        self._began = _now()

    def restart(self) -> None:
        """Start again from zero, up to five times the seconds in all."""
        with self._lock:
            self.was_restarted = True
            at = self._held_at if self._holds else _now()
            self._end = min(at + self.seconds, self._latest)

    def remaining(self) -> float:
        """Return the seconds left; constant while it is paused."""
        with self._lock:
            return self._end - (self._held_at if self._holds else _now())

    def seconds_elapsed(self) -> float:
        """Return the seconds elapsed, without pauses."""
        with self._lock:
            return (self._held_at if self._holds else _now()) - self._began - self._held

    def pause(self) -> None:
        """Pause until `resume` was called as often as `pause`."""
        with self._lock:
            if not self._holds:
                self._held_at = _now()
            self._holds += 1

    def resume(self) -> None:
        """Undo one `pause`."""
        with self._lock:
            self._holds -= 1
            if not self._holds:
                held = _now() - self._held_at
                self._held += held
                self._end += held
                self._latest += held


class DeadlineGroup:
    """Deadlines of several calls, which pause together."""

    def __init__(self) -> None:
        self._clocks: list[CallDeadline] = []
        self._asked = 0

    @contextmanager
    def join(self) -> Generator[None]:
        """Let the deadlines of calls made in this block pause with the group."""
        clocks = _current_deadlines.get()
        self._clocks.extend(clocks)
        if self._asked:
            _pause_all(clocks)
        try:
            yield
        finally:
            if self._asked:
                _resume_all(clocks)
            for clock in clocks:
                self._clocks.remove(clock)

    @contextmanager
    def pause(self) -> Generator[None]:
        """Pause the deadlines in this block, while a person is asked."""
        self._asked += 1
        if self._asked == 1:
            _pause_all(self._clocks)
        try:
            yield
        finally:
            self._asked -= 1
            if not self._asked:
                _resume_all(self._clocks)


@contextmanager
def pause_deadline() -> Generator[None]:
    """Pause the deadlines of the current tool call in this block, while a person is asked."""
    clocks = _current_deadlines.get()
    _pause_all(clocks)
    try:
        yield
    finally:
        _resume_all(clocks)


def unhurried() -> AbstractContextManager[None]:
    """Return `pause_deadline()`, under its old name."""
    warnings.warn(
        "unhurried is called pause_deadline now; the old name goes with the next version.",
        DeprecationWarning,
        stacklevel=2,
    )
    return pause_deadline()


async def run_within(clock: CallDeadline, work: Coroutine[Any, Any, T]) -> asyncio.Task[T] | None:
    """Run the work as a task; return it when done, None if the deadline passed.

    After the deadline it is cancelled. Work that resists cancellation is not waited for.
    """
    context = copy_context()
    context.run(_current_deadlines.set, (*_current_deadlines.get(), clock))
    working = asyncio.create_task(work, context=context)
    try:
        while not working.done():
            if (left := clock.remaining()) <= 0:
                return None
            await asyncio.wait([working], timeout=min(max(left, _SOON), _LATER))
        return working
    finally:
        await _end(working)


_current_deadlines: ContextVar[tuple[CallDeadline, ...]] = ContextVar("ticking", default=())
"""Deadlines of the current call."""
_left_behind: set[asyncio.Task[Any]] = set()
_SOON = 0.001  # for a clock that stands still just before its end
_LATER = 3600.0  # no loop sleeps for infinity

_now = time.monotonic


def _pause_all(clocks: Iterable[CallDeadline]) -> None:
    for clock in clocks:
        clock.pause()


def _resume_all(clocks: Iterable[CallDeadline]) -> None:
    for clock in clocks:
        clock.resume()


async def _end(working: asyncio.Task[Any]) -> None:
    working.add_done_callback(_forget)
    if working.done():
        return
    _left_behind.add(working)
    working.cancel()
    await asyncio.wait([working], timeout=END_SECONDS)


def _forget(working: asyncio.Task[Any]) -> None:
    """Drop the task. Its exception is retrieved, or asyncio would log it."""
    _left_behind.discard(working)
    if not working.cancelled():
        working.exception()
