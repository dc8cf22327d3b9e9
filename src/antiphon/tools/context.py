"""Context of a tool call, for the function that runs: its run, its deadline, its progress.

    def count_words(path: str, ctx: ToolContext) -> int:
        for number, page in enumerate(pages):
            if ctx.cancelled:
                return -1
            ctx.report(number, len(pages))

The model does not see the parameter. The code that runs the calls of a run names the run, and what
its tools may ask for, by `name_run`; `Functions` gives the context to each function that asks for
it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from antiphon.tools.deadlines import (
    ThreadSafeProgress,
    current_deadlines,
    pause_deadline,
    seconds_left,
)
from antiphon.tools.questions import AskUser, on_the_loop
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import Progress, ToolCall
from antiphon.types.runs import Run

T = TypeVar("T")


class RunLookup(NamedTuple):
    """Finds records of the run that a tool works for."""

    get_run: Callable[[str], Awaitable[Run]]
    get_owner: Callable[[], Awaitable[str]]


class _Origin(NamedTuple):
    run_id: str = ""
    thread_id: str = ""
    attempt: int = 1
    ask_user: AskUser | None = None
    lookup: RunLookup | None = None


_UNKNOWN = _Origin()
_current_origin: ContextVar[_Origin] = ContextVar("current_origin", default=_UNKNOWN)


@contextmanager
def name_run(
    run_id: str,
    thread_id: str | None,
    attempt: int = 1,
    ask_user: AskUser | None = None,
    lookup: RunLookup | None = None,
) -> Generator[None]:
    """Name the run of all tools that are called in this block, and which attempt it is.

    `ask_user` asks the user for these tools, `lookup` finds their run and its owner.
    """
    before = _current_origin.set(_Origin(run_id, thread_id or "", attempt, ask_user, lookup))
    try:
        yield
    finally:
        _current_origin.reset(before)


def current_run() -> tuple[str, str]:
    """Return the ids of the run that is named, and of its thread; "" where unknown."""
    return _current_origin.get()[:2]


class ToolContext:
    """The call that a tool runs for. Any thread may use it.

    `call` is the call itself, whose id lets a tool recognize a repeated call. `run_id` and
    `thread_id` are those of its run, "" where the program that runs the tool does not know them.
    `attempt` is above 1 if a worker for tools had the call before and may have carried it out.
    """

    def __init__(self, call: ToolCall, progress: ThreadSafeProgress) -> None:
        self.call = call
        self._origin = _current_origin.get()
        self.run_id, self.thread_id, self.attempt = self._origin[:3]
        self._progress = progress
        self._seconds_left = seconds_left()
        self._deadlines = current_deadlines()

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
        self._progress(Progress(done, total, str(message)))

    def pause_deadline(self) -> AbstractContextManager[None]:
        """Return a block without a deadline, for instance while a person is asked."""
        return pause_deadline(self._deadlines)

    @property
    def can_ask_user(self) -> bool:
        """True if there is a user, and a way to ask one."""
        return self._origin.ask_user is not None

    async def ask_user(self, question: str, choices: Sequence[str] = ()) -> str | None:
        """Ask the user a question, and return the answer; the deadline pauses meanwhile.

        The user may answer something else than one of the `choices`. Returns None if there is no
        answer, nobody to ask, or nobody who waits for the result of the call. A sync tool calls
        `ctx.wait(ctx.ask_user(...))`.
        """
        if self._origin.ask_user is None or self.cancelled:
            return None
        with self.pause_deadline():
            return await on_the_loop(self._origin.ask_user)(question, tuple(choices))

    async def get_run(self) -> Run:
        """Return the run as it is now, for instance for its `metadata`.

        A sync tool calls `ctx.wait(ctx.get_run())`. Raises `InvalidRequest` if the program that
        runs the tool has no client, and the errors of `client.get_run`.
        """
        return await self._lookup.get_run(self.run_id)

    async def get_owner(self) -> str:
        """Return the owner of the run: the account, project or name that the client's key is for.

        It is `local` on a server without keys. A sync tool calls `ctx.wait(ctx.get_owner())`.
        Raises `InvalidRequest` if the program that runs the tool has no client, and the errors of
        `client.get_caller`.
        """
        return await self._lookup.get_owner()

    @property
    def _lookup(self) -> RunLookup:
        if self._origin.lookup is None:
            raise InvalidRequest("The program that runs this tool does not know its run.")
        return self._origin.lookup

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine of this context, in a sync tool.

        Raises `CancelledError` once nobody waits for the result of the call, and `RuntimeError` in
        an async tool, which awaits the coroutine itself.
        """
        return self._progress.wait(coroutine)
