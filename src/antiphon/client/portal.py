"""A loop of its own in a thread of its own, for what is async below a sync face.

The sync client has two uses for it: the embedded runtime, and the tools that it runs.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

CLOSE_SECONDS = 15.0  # what lives on the loop has its own, shorter deadlines for ending


class Portal:
    """Runs coroutines from other threads. The thread starts at first use, after any fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; interrupted, it is cancelled."""
        future = self.start(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def each(self, coroutines: Iterable[Coroutine[Any, Any, T]]) -> Iterator[T]:
        """The results as they come; closing the iterator cancels what still runs."""
        futures = [self.start(coroutine) for coroutine in coroutines]
        done: SimpleQueue[Future[T]] = SimpleQueue()
        for future in futures:
            future.add_done_callback(done.put)
        try:
            for _ in futures:
                yield done.get().result()
        finally:
            for future in futures:
                future.cancel()

    def stream(self, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """The items as they come; closing the iterator closes theirs."""
        taking: asyncio.Task[Any] | None = None

        async def take() -> T | None:
            nonlocal taking
            taking = asyncio.current_task()
            return await anext(items, None)

        async def end() -> None:
            if taking is not None and not taking.done():
                await asyncio.wait([taking])  # the caller was interrupted, which cancelled it
            await items.aclose()

        try:
            while (item := self.run(take())) is not None:
                yield item
        finally:
            # A loop that has ended has closed them. When the program ends, no thread but this one
            # goes on: there is nobody to wait for.
            ended = taking is None or taking.get_loop().is_closed()
            if not ended and not sys.is_finalizing():
                self.run(end())

    def close(self) -> None:
        """Cancel what runs, and end the thread."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.stop()
            running.wait()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin the coroutine; the future is of its result, and cancels it."""
        try:
            loop = self._loop()
        except BaseException:
            coroutine.close()
            raise
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def _loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._running is None:
                self._running = _Running()
                # For a client that nobody closes. A program that ends with one open ends as if it
                # were killed, which loses nothing; ending in order is too late for it by then.
                # The collector calls from any thread, this one's included: it must not wait.
                weakref.finalize(self, self._running.stop).atexit = False
            running = self._running
        if running.process != os.getpid():
            raise RuntimeError("This client was used before the fork; make one in this process.")
        if running.thread is threading.current_thread():
            raise RuntimeError("A sync client was called from its own loop; use AsyncClient there.")
        return running.loop


class _Running:
    """The thread and its loop."""

    def __init__(self) -> None:
        self.process = os.getpid()
        ready: Future[asyncio.AbstractEventLoop] = Future()
        self.thread = threading.Thread(
            target=_run, args=(ready,), name="antiphon-portal", daemon=True
        )
        self.thread.start()
        self.loop = ready.result()

    def stop(self) -> None:
        """Tell the loop to end."""
        if self.process == os.getpid():
            with suppress(RuntimeError):  # it has ended
                self.loop.call_soon_threadsafe(self.loop.stop)

    def wait(self) -> None:
        """Wait until it has."""
        if self.process == os.getpid():
            self.thread.join(CLOSE_SECONDS)


def _run(ready: Future[asyncio.AbstractEventLoop]) -> None:
    tasks: set[asyncio.Task[Any]] = set()

    def keep(loop: asyncio.AbstractEventLoop, coroutine: Any, **named: Any) -> asyncio.Task[Any]:
        """A task that lives while this frame does: asyncio's own references are weak.

        When a program ends, this thread stops where it is, and its tasks must not be taken apart.
        """
        task = asyncio.Task(coroutine, loop=loop, **named)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    runner = asyncio.Runner()
    try:
        loop = runner.get_loop()
    except BaseException as error:  # noqa: BLE001 - whatever it is, somebody waits for it
        ready.set_exception(error)
        return
    with runner:  # which cancels what is left when it closes
        loop.set_task_factory(keep)
        ready.set_result(loop)
        loop.run_forever()
