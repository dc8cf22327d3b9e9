"""Blocking work in a thread of its own, which no program has to wait for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

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
