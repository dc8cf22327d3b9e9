"""Context of a tool call, for the function that runs: its run, its deadline, its progress.

    def count_words(path: str, ctx: ToolContext) -> int:
        for number, page in enumerate(pages):
            if ctx.cancelled:
                return -1
            ctx.report(number, len(pages))

The model does not see the parameter. The code that runs the calls of a run names the run by
`name_run`; `Functions` gives the context to each function that asks for it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from antiphon.tools.deadlines import ThreadSafeProgress, pause_deadline, seconds_left
from antiphon.types.messages import Progress, ToolCall


class _Origin(NamedTuple):
    run_id: str = ""
    thread_id: str = ""
    attempt: int = 1


_UNKNOWN = _Origin()
_current_origin: ContextVar[_Origin] = ContextVar("current_origin", default=_UNKNOWN)


@contextmanager
def name_run(run_id: str, thread_id: str | None, attempt: int = 1) -> Generator[None]:
    """Name the run of all tools that are called in this block, and which attempt it is."""
    before = _current_origin.set(_Origin(run_id, thread_id or "", attempt))
    try:
        yield
    finally:
        _current_origin.reset(before)


class ToolContext:
    """The call that a tool runs for. Any thread may use it.

    `call` is the call itself, whose id lets a tool recognize a repeated call. `run_id` and
    `thread_id` are those of its run, "" where the program that runs the tool does not know them.
    `attempt` is above 1 if a worker for tools had the call before and may have carried it out.
    """

    def __init__(self, call: ToolCall, progress: ThreadSafeProgress) -> None:
        self.call = call
        self.run_id, self.thread_id, self.attempt = _current_origin.get()
        self._progress = progress
        self._seconds_left = seconds_left()

    @property
    def cancelled(self) -> bool:
        """True once nobody waits for the result: the call was cancelled, or its time is up.

        An async tool is cancelled by asyncio as well; one in a thread has to look here.
        """
        return self._progress.ended

    @property
    def seconds_left(self) -> float:
        """Seconds until the call times out; infinite without a limit. Progress prolongs it."""
        return self._seconds_left()

    def report(self, done: float, total: float | None = None, message: str = "") -> None:
        """Report progress, which is shown to the person and prolongs the deadline."""
        self._progress(Progress(done, total, message))

    def pause_deadline(self) -> AbstractContextManager[None]:
        """Return a block without a deadline, for instance while a person is asked."""
        return pause_deadline()
