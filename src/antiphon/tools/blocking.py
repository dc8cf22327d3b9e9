"""Blocking work in daemon threads, cancellation checks, and progress from threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from antiphon.ports import ProgressCallback
from antiphon.types.messages import Progress

P = ParamSpec("P")
T = TypeVar("T")


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
            except (Exception, SystemExit) as raised:  # noqa: BLE001 - a wall to the tool's code
                # A future takes every exception but this one.
                error = RuntimeError(repr(raised)) if isinstance(raised, StopIteration) else raised
                loop.call_soon_threadsafe(fail, error)
            except BaseException as raised:  # noqa: BLE001 - meant to end the program, not its own
                loop.call_soon_threadsafe(fail, RuntimeError(repr(raised)))
            else:
                loop.call_soon_threadsafe(succeed, value)

    threading.Thread(target=run, name="antiphon-tool", daemon=True).start()
    return await done


# Cancellation of this task, as opposed to that of what it awaits.


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
