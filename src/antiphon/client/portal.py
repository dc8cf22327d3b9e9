"""The event loop below a client: the caller's own, or for sync code one in a separate thread.

The sync client needs a loop for the embedded runtime and for the tools that it runs. It is
generated from the async client: this module holds the pairs in which the two differ.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
)
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar, cast

from antiphon.client.options import client_closed_error
from antiphon.tools.deadlines import run_in_daemon_thread
from antiphon.types.errors import InvalidRequest

P = ParamSpec("P")
T = TypeVar("T")

MISSED_SIGNAL_SECONDS = 0.5
CLOSE_SECONDS = 15.0  # everything on the loop has shorter deadlines for its end


class CallerLoop:
    """The event loop that the caller runs on: the counterpart of `Portal` for async code."""

    def callback(self, function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Awaitable[T]]:
        """Return the function itself."""
        return function

    def stream(self, items: AsyncGenerator[T]) -> AsyncGenerator[T]:
        """Return the items themselves."""
        return items

    async def run_to_end(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the coroutine's result."""
        return await coroutine

    async def close(self) -> None:
        """Do nothing: the loop is the caller's."""


class Portal:
    """An event loop in a thread of its own, for sync code in any other thread.

    The thread starts at first use, after any fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _LoopThread | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine and return its result; an interrupted call cancels it.

        Raises `InvalidRequest` if the portal is closed meanwhile.
        """
        return self._run(_LoopTask(lambda: coroutine))

    def run_to_end(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine and return its result; an interrupted call waits for its cleanup."""
        task = _LoopTask(lambda: coroutine)
        try:
            return self._run(task)
        finally:
            while not task.ended:  # it was interrupted, and is cancelled
                with suppress(Empty):
                    task.done.get(timeout=MISSED_SIGNAL_SECONDS)

    def _run(self, task: _LoopTask[T]) -> T:
        try:
            task.begin(self._loop())
            return _wait_for_next(task.done).result()
        except CancelledError as error:
            if self._running is None:  # closed meanwhile, which cancels all coroutines
                raise client_closed_error() from error
            raise
        except BaseException:
            task.cancel()
            raise

    def callback(self, function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        """Return an async function that calls this blocking one in a thread of its own.

        The end of the program does not wait for that thread, which may wait for a server.
        """

        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return await run_in_daemon_thread(function, *args, **kwargs)

        return call

    def stream(self, items: AsyncGenerator[T]) -> Generator[T]:
        """Yield the items as they come; closing the iterator closes the async generator."""
        taking: asyncio.Task[Any] | None = None

        async def take() -> T | None:
            nonlocal taking
            taking = asyncio.current_task()
            return await anext(items, None)

        async def end() -> None:
            if taking is not None and not taking.done():
                await asyncio.wait([taking])  # cancelled, because the caller was interrupted
            await items.aclose()

        try:
            while (item := self._run(_LoopTask(take))) is not None:
                yield item
        finally:
            # A loop that has ended has closed the generator. When the program ends, only this
            # thread still runs: the loop would not answer.
            ended = taking is None or taking.get_loop().is_closed()
            if not ended and not sys.is_finalizing():
                self._run(_LoopTask(end))

    def close(self) -> None:
        """Cancel all coroutines and end the thread."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.stop()
            running.wait()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start the coroutine for another event loop; cancelling the future cancels both."""
        try:
            loop = self._loop()
        except BaseException:
            coroutine.close()
            raise
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def _loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._running is None:
                self._running = _LoopThread()
                # For a client that is never closed. If it is still open when the program ends, the
                # program ends as if it were killed, which loses nothing: an orderly end is no
                # longer possible then. The garbage collector may call this on any thread, the
                # loop's own included, so it must not wait: the loop may still be closing when the
                # program ends.
                weakref.finalize(self, self._running.stop).atexit = False
            running = self._running
        if running.process != os.getpid():
            raise InvalidRequest(
                "This client was used before the fork.", expected="a client of this process"
            )
        if running.thread is threading.current_thread():
            raise InvalidRequest(
                "A sync client was called from its own event loop.",
                expected="AsyncClient in async code",
            )
        return running.loop


class _LoopTask(Generic[T]):
    """A coroutine on the loop, put into `done` at its end; `ended` is True from then on.

    An interrupt (Ctrl+C) may come between any two steps of the thread that waits. `SimpleQueue`
    survives that, because it is not written in Python as `Future` and `Condition` are. A coroutine
    that may have begun is cancelled.
    """

    def __init__(self, create: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.done: SimpleQueue[_LoopTask[T]] = SimpleQueue()
        self._create = create
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[T] | None = None
        self._begun = False
        self.ended = False
        self._result: T | None = None
        self._error: BaseException | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin on that loop, in the context of the calling thread."""
        self._loop = loop
        loop.call_soon_threadsafe(self._begin)

    def cancel(self) -> None:
        """Cancel the coroutine, or drop it if it has not begun; without effect after its end."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._cancel)
                return
        self._cancel()

    def result(self) -> T:
        """Return the result, or raise the error; at the end of the coroutine."""
        if self._error is not None:
            raise self._error
        return cast("T", self._result)

    def _begin(self) -> None:
        self._begun = True
        self._task = asyncio.get_running_loop().create_task(self._create())
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        self._task = None  # freed on its loop: an interrupt of a finalizer would be lost
        if task.cancelled():
            self._error = CancelledError()
        elif (error := task.exception()) is not None:
            self._error = error
        else:
            self._result = task.result()
        self.ended = True
        self.done.put(self)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self._begun:
            self._create().close()
            self.ended = True


def _wait_for_next(done: SimpleQueue[_LoopTask[T]]) -> _LoopTask[T]:
    """Return the next task that is done.

    The wait has a timeout, because a signal just before it would not end it.
    """
    while True:
        with suppress(Empty):
            return done.get(timeout=MISSED_SIGNAL_SECONDS)


class _LoopThread:
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
        """Stop the loop; do not wait for it."""
        if self.process == os.getpid():
            with suppress(RuntimeError):  # the loop has ended
                self.loop.call_soon_threadsafe(self.loop.stop)

    def wait(self) -> None:
        """Wait for the end of the thread."""
        if self.process == os.getpid():
            self.thread.join(CLOSE_SECONDS)


def _run(ready: Future[asyncio.AbstractEventLoop]) -> None:
    tasks: set[asyncio.Task[Any]] = set()

    def keep(loop: asyncio.AbstractEventLoop, coroutine: Any, **named: Any) -> asyncio.Task[Any]:
        """Create a task that lives as long as this frame: asyncio's references are weak.

        When a program ends, this thread stops where it is, and its tasks must not be finalized.
        """
        task = asyncio.Task(coroutine, loop=loop, **named)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    runner = asyncio.Runner()
    try:
        loop = runner.get_loop()
    except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for the loop
        ready.set_exception(error)
        return
    with _no_errors_at_exit(), runner:  # closing it cancels the remaining tasks
        loop.set_task_factory(keep)
        ready.set_result(loop)
        stopped = False
        while not stopped:
            # A task that raises one of these has kept it for its caller; the loop goes on.
            with suppress(KeyboardInterrupt, SystemExit):
                loop.run_forever()
                stopped = True
        loop.set_exception_handler(_report_unless_at_exit)


@contextmanager
def _no_errors_at_exit() -> Generator[None]:
    """Suppress the errors of closing a loop while the program ends: threads cannot start then."""
    try:
        yield
    except RuntimeError:
        if not _is_interpreter_shutting_down():
            raise


def _report_unless_at_exit(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report the error of a cancelled task, unless the end of the program may be its cause."""
    if not _is_interpreter_shutting_down():
        loop.default_exception_handler(context)


def _is_interpreter_shutting_down() -> bool:
    """Return whether executors refuse work; `sys.is_finalizing` becomes true only later."""
    try:
        with ThreadPoolExecutor(1) as executor:
            executor.submit(int)
    except RuntimeError as error:
        return "interpreter shutdown" in str(error)
    return False


@asynccontextmanager
async def async_temporary(
    create: Callable[[], Coroutine[Any, Any, T]], delete: Callable[[T], Awaitable[object]]
) -> AsyncGenerator[T]:
    """Create a resource for the `with` block and always delete it, cancelled or not."""
    creating = asyncio.ensure_future(create())

    async def delete_created() -> None:
        await asyncio.wait([creating])  # a cancellation may come while it is being created
        if creating.exception() is None:
            await delete(creating.result())

    try:
        yield await asyncio.shield(creating)
    finally:
        # A second cancellation ends the block; the resource is deleted all the same.
        await asyncio.shield(asyncio.ensure_future(delete_created()))


@contextmanager
def sync_temporary(create: Callable[[], T], delete: Callable[[T], object]) -> Generator[T]:
    """Create a resource for the `with` block and always delete it."""
    created = create()
    try:
        yield created
    finally:
        delete(created)
