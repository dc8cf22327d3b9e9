"""Deadlines and threads of tool calls.

A deadline pauses while a person is asked something for the call. A tool that asks uses
`pause_deadline`. An MCP server, whose questions belong to no call in particular, has a
`DeadlineGroup` that all its calls join.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar, copy_context
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from antiphon.ports import ProgressCallback
from antiphon.types.messages import Progress

LONGEST = 5
"""Factor by which progress can extend the deadline of a call."""
END_SECONDS = 2.0
"""Time for cancelled work to end; after that it is left behind."""
IDLE_SECONDS = 10.0
"""Time for which a thread waits for the next call."""

TOOL_ERRORS = (Exception, SystemExit, GeneratorExit, BaseExceptionGroup)
"""Exceptions that concern the call of the tool that raises them, and do not end the program."""

P = ParamSpec("P")
T = TypeVar("T")


class CallDeadline:
    """Deadline of one call, running from its creation. `was_restarted` is set by `restart`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.was_restarted = False
        self._lock = threading.Lock()  # a tool in a thread may ask the user too
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
                pause = _now() - self._held_at
                self._held += pause
                self._end += pause
                self._latest += pause


class DeadlineGroup:
    """Deadlines of several calls, which pause together."""

    def __init__(self) -> None:
        self._clocks: list[CallDeadline] = []
        self._asked = 0

    @contextmanager
    def join(self) -> Generator[None]:
        """Make the deadlines of calls in this block pause with the group."""
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
def pause_deadline(deadlines: Sequence[CallDeadline] | None = None) -> Generator[None]:
    """Pause the deadlines of a tool call in this block, while a person is asked.

    They are those of the current call, if none are given.
    """
    clocks = _current_deadlines.get() if deadlines is None else deadlines
    _pause_all(clocks)
    try:
        yield
    finally:
        _resume_all(clocks)


def current_deadlines() -> tuple[CallDeadline, ...]:
    """Return the deadlines of the current call, for code that runs on other threads."""
    return _current_deadlines.get()


def seconds_left() -> Callable[[], float]:
    """Return a function that returns the seconds left for the current call, on any thread."""
    clocks = _current_deadlines.get()
    return lambda: min((clock.remaining() for clock in clocks), default=math.inf)


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


async def run_in_daemon_thread(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Run blocking work in a daemon thread with the caller's context, and return its result.

    The event loop's executor is not used: Python waits for its threads at exit, and a tool that
    never returns must not keep a program from ending. If the caller is cancelled, the thread is
    left behind.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def succeed(value: T) -> None:
        if not done.done():
            done.set_result(value)

    def fail(error: Exception | SystemExit) -> None:
        if not done.done():
            done.set_exception(error)

    def run() -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            try:
                value = context.run(work, *given, **named)
            except (Exception, SystemExit) as raised:  # noqa: BLE001 - raised by the tool's code
                # A future takes every exception but this one.
                error = RuntimeError(repr(raised)) if isinstance(raised, StopIteration) else raised
                loop.call_soon_threadsafe(fail, error)
            except BaseException as raised:  # noqa: BLE001 - meant to end the program, not its own
                loop.call_soon_threadsafe(fail, RuntimeError(repr(raised)))
            else:
                loop.call_soon_threadsafe(succeed, value)

    _threads.run(run)
    return await done


class DaemonThreads:
    """Daemon threads, each of which waits `idle_seconds` for more work when it has done some.

    Starting a thread blocks the event loop until the thread runs, which takes longer than most
    tools.
    """

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._idle: list[SimpleQueue[Callable[[], None]]] = []
        if hasattr(os, "register_at_fork"):  # a fork has none of them
            os.register_at_fork(after_in_child=self._idle.clear)

    @property
    def idle(self) -> int:
        """Number of threads that wait for work."""
        return len(self._idle)

    def run(self, work: Callable[[], None]) -> None:
        """Run work that raises nothing in a thread that waits for some, or in a new one."""
        waiting: SimpleQueue[Callable[[], None]]
        try:
            waiting = self._idle.pop()
        except IndexError:
            waiting = SimpleQueue()
            name = "antiphon-tool"
            threading.Thread(target=self._serve, args=(waiting,), name=name, daemon=True).start()
        waiting.put(work)

    def _serve(self, waiting: SimpleQueue[Callable[[], None]]) -> None:
        while True:
            try:
                work = waiting.get(timeout=self._idle_seconds)
            except Empty:
                with suppress(ValueError):  # `run` has just taken it: its work follows
                    self._idle.remove(waiting)
                    return
                continue
            work()
            del work  # or its arguments would live as long as the thread waits
            self._idle.append(waiting)


_threads = DaemonThreads(IDLE_SECONDS)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs on this thread, None if none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def is_task_cancelled() -> bool:
    """Return whether this task was cancelled, rather than something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


# Progress reported from a thread: on the event loop, in order, and not after the end.


class ThreadSafeProgress:
    """Progress callback usable on any thread while its block lasts; later calls are ignored.

    On the event loop's own thread it reports at once.
    """

    def __init__(self, tell: ProgressCallback) -> None:
        self._tell: ProgressCallback | None = tell
        self._waits: set[asyncio.Future[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tell = None
        for wait in self._waits:
            wait.cancel()

    @property
    def ended(self) -> bool:
        """True once the block has ended."""
        return self._tell is None

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop and return its result; not on the loop's own thread.

        Raises `CancelledError` once the block has ended.
        """
        if _running_loop() is self._loop:
            coroutine.close()
            raise RuntimeError("An async tool awaits this itself; wait() is for sync tools.")

        async def run() -> T:
            task = asyncio.ensure_future(coroutine)
            self._waits.add(task)
            task.add_done_callback(self._waits.discard)
            if self.ended:
                task.cancel()
            return await task

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def __call__(self, progress: Progress) -> None:
        """Report progress."""
        if self._tell is None:
            return
        if threading.get_ident() == self._thread:
            self._say(progress)
        else:
            with suppress(RuntimeError):  # the loop is closed, and nobody listens any more
                self._loop.call_soon_threadsafe(self._say, progress)

    def _say(self, progress: Progress) -> None:
        if self._tell is not None:
            self._tell(progress)
