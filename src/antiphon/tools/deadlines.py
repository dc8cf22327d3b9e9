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
        self._ends = _now() + seconds
        self._latest_end = _now() + LONGEST * seconds
        self._pauses = 0
        self._paused_at = 0.0
        self._paused_seconds = 0.0
        self._started = _now()

    def restart(self) -> None:
        """Start again from zero, up to five times the seconds in all."""
        with self._lock:
            self.was_restarted = True
            at = self._paused_at if self._pauses else _now()
            self._ends = min(at + self.seconds, self._latest_end)

    def remaining(self) -> float:
        """Return the seconds left; constant while it is paused."""
        with self._lock:
            return self._ends - (self._paused_at if self._pauses else _now())

    def seconds_elapsed(self) -> float:
        """Return the seconds elapsed, without pauses."""
        with self._lock:
            return (
                (self._paused_at if self._pauses else _now()) - self._started - self._paused_seconds
            )

    def pause(self) -> None:
        """Pause until `resume` was called as often as `pause`."""
        with self._lock:
            if not self._pauses:
                self._paused_at = _now()
            self._pauses += 1

    def resume(self) -> None:
        """Undo one `pause`."""
        with self._lock:
            self._pauses -= 1
            if not self._pauses:
                pause = _now() - self._paused_at
                self._paused_seconds += pause
                self._ends += pause
                self._latest_end += pause


class DeadlineGroup:
    """Deadlines of several calls, which pause together."""

    def __init__(self) -> None:
        self._deadlines: list[CallDeadline] = []
        self._pauses = 0

    @contextmanager
    def join(self) -> Generator[None]:
        """Make the deadlines of calls in this block pause with the group."""
        deadlines = _current_deadlines.get()
        self._deadlines.extend(deadlines)
        if self._pauses:
            _pause_all(deadlines)
        try:
            yield
        finally:
            if self._pauses:
                _resume_all(deadlines)
            for deadline in deadlines:
                self._deadlines.remove(deadline)

    @contextmanager
    def pause(self) -> Generator[None]:
        """Pause the deadlines in this block, while a person is asked."""
        self._pauses += 1
        if self._pauses == 1:
            _pause_all(self._deadlines)
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                _resume_all(self._deadlines)


@contextmanager
def pause_deadline(deadlines: Sequence[CallDeadline] | None = None) -> Generator[None]:
    """Pause these deadlines in this block, while a person is asked.

    By default they are the deadlines of the current call.
    """
    if deadlines is None:
        deadlines = _current_deadlines.get()
    _pause_all(deadlines)
    try:
        yield
    finally:
        _resume_all(deadlines)


def current_deadlines() -> tuple[CallDeadline, ...]:
    """Return the deadlines of the current call, for code that runs on other threads."""
    return _current_deadlines.get()


def seconds_left() -> Callable[[], float]:
    """Return a function that returns the seconds left for the current call, on any thread."""
    deadlines = _current_deadlines.get()
    return lambda: min((deadline.remaining() for deadline in deadlines), default=math.inf)


def unhurried() -> AbstractContextManager[None]:
    """Return `pause_deadline()`, under its old name."""
    warnings.warn(
        "unhurried is called pause_deadline now; the old name goes with the next version.",
        DeprecationWarning,
        stacklevel=2,
    )
    return pause_deadline()


async def run_within(
    deadline: CallDeadline, work: Coroutine[Any, Any, T]
) -> asyncio.Task[T] | None:
    """Run the work as a task; return the task when it is done, None if the deadline passed.

    After the deadline the task is cancelled. A task that resists cancellation is not waited for.
    """
    context = copy_context()
    context.run(_current_deadlines.set, (*_current_deadlines.get(), deadline))
    task = asyncio.create_task(work, context=context)
    try:
        while not task.done():
            if (left := deadline.remaining()) <= 0:
                return None
            await asyncio.wait([task], timeout=min(max(left, _SHORTEST_WAIT), _LONGEST_WAIT))
        return task
    finally:
        await _end(task)


_current_deadlines: ContextVar[tuple[CallDeadline, ...]] = ContextVar(
    "current_deadlines", default=()
)
"""Deadlines of the current call."""
_left_behind: set[asyncio.Task[Any]] = set()
_SHORTEST_WAIT = 0.001  # for a deadline that is paused just before its end
_LONGEST_WAIT = 3600.0  # no event loop can sleep for an infinite time

_now = time.monotonic


def _pause_all(deadlines: Iterable[CallDeadline]) -> None:
    for deadline in deadlines:
        deadline.pause()


def _resume_all(deadlines: Iterable[CallDeadline]) -> None:
    for deadline in deadlines:
        deadline.resume()


async def _end(task: asyncio.Task[Any]) -> None:
    task.add_done_callback(_forget)
    if task.done():
        return
    _left_behind.add(task)
    task.cancel()
    await asyncio.wait([task], timeout=END_SECONDS)


def _forget(task: asyncio.Task[Any]) -> None:
    """Drop the task, and retrieve its exception, which asyncio would log otherwise."""
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()


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
    """Daemon threads; after its work, each waits up to `idle_seconds` for more.

    Threads are used again because the start of a thread blocks the event loop until the thread
    runs, which takes longer than most tools.
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
        """Run the work in an idle thread, or in a new one. The work must not raise."""
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
                with suppress(ValueError):  # `run` has just taken this thread, and adds its work
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


# Progress that a thread reports arrives on the event loop, in order, and never after the end.


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
            self._report(progress)
        else:
            with suppress(RuntimeError):  # the loop is closed, and nobody listens any more
                self._loop.call_soon_threadsafe(self._report, progress)

    def _report(self, progress: Progress) -> None:
        if self._tell is not None:
            self._tell(progress)
