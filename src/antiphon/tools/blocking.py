"""Blocking work in a thread of its own, which no program has to wait for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from antiphon.ports import Tell
from antiphon.types.messages import Progress

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """The result of blocking work, done in a daemon thread that sees the caller's context.

    Not in the loop's executor: Python waits for its threads at exit, and a tool that never returns
    must not keep a program from ending. Whoever is cancelled while it runs leaves it behind.
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


# Whose cancellation it is: one's own, which must go on, or only that of what one waits for.


def cancelled() -> bool:
    """Whether this task was cancelled, rather than something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


# How a tool in a thread tells how far it is: on the loop, in order, and not after its end.


class Telling:
    """A `Tell` for any thread, as long as its block lasts; what is told later is told to nobody.

    Told in the thread of the loop, it is told at once.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell: Tell | None = tell
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
        """Tell how far the tool is."""
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
