"""Where the handle of a call's task is kept, so that another process can go on with the task.

An MCP server may answer a call with a task, which runs on while nobody is connected. The code that
runs the calls of a run provides a journal of their actions by `use_journal`; the client of MCP
saves a task's handle there before it waits for the task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from antiphon.types.errors import Unavailable
from antiphon.types.messages import TaskHandle

T = TypeVar("T")


class TaskJournal(Protocol):
    """Handles of tasks by the ids of their calls."""

    async def find(self, call_id: str) -> TaskHandle | None:
        """Return the handle that was saved for the call, by this process or an earlier one."""
        ...

    async def save(self, call_id: str, handle: TaskHandle) -> bool:
        """Save the handle; return False if handles of this call are not kept.

        Raises `AntiphonError`; `TryAgain` if it may be saved later.
        """
        ...

    async def is_open(self, call_id: str) -> bool:
        """Return whether the call still waits for its output. Raises `AntiphonError`."""
        ...


class NoTaskJournal:
    """Journal of calls that belong to no run: it keeps nothing."""

    async def find(self, call_id: str) -> TaskHandle | None:
        """Return None."""
        return None

    async def save(self, call_id: str, handle: TaskHandle) -> bool:
        """Return False."""
        return False

    async def is_open(self, call_id: str) -> bool:
        """Return False: nobody goes on with the call later."""
        return False


SaveTask = Callable[[str, TaskHandle], Awaitable[object]]
IsOpen = Callable[[str], Awaitable[bool]]


class ActionJournal:
    """Journal of actions: `handles` are those saved before, by the ids of their calls."""

    def __init__(self, handles: Mapping[str, TaskHandle], save: SaveTask, is_open: IsOpen) -> None:
        self._handles = dict(handles)
        self._save = save
        self._is_open = is_open

    async def find(self, call_id: str) -> TaskHandle | None:
        """See `TaskJournal.find`."""
        return self._handles.get(call_id)

    async def save(self, call_id: str, handle: TaskHandle) -> bool:
        """See `TaskJournal.save`."""
        await self._save(call_id, handle)
        self._handles[call_id] = handle
        return True

    async def is_open(self, call_id: str) -> bool:
        """See `TaskJournal.is_open`."""
        return await self._is_open(call_id)


class LoopJournal:
    """A journal that is used on the loop of its creation, whatever loop calls it.

    It keeps tasks of the calls with these `call_ids`; others, which a tool makes itself, belong to
    no action. The calls in `stopped` are over: the user has stopped them.
    """

    def __init__(
        self, journal: TaskJournal, call_ids: Collection[str], stopped: Collection[str]
    ) -> None:
        self._journal = journal
        self._call_ids = call_ids
        self._stopped = stopped
        self._claimed: set[str] = set()
        self._loop = asyncio.get_running_loop()

    async def find(self, call_id: str) -> TaskHandle | None:
        """See `TaskJournal.find`."""
        return await self._run(self._choose(call_id).find(call_id))

    async def save(self, call_id: str, handle: TaskHandle) -> bool:
        """See `TaskJournal.save`."""
        return await self._run(self._choose(call_id).save(call_id, handle))

    async def is_open(self, call_id: str) -> bool:
        """See `TaskJournal.is_open`."""
        if call_id in self._stopped:
            return False
        return await self._run(self._choose(call_id).is_open(call_id))

    def claim(self, call_id: str) -> TaskJournal:
        """Return this journal for the first request under this id, and none for further ones.

        A function may make several requests under the id of its own call, and one task is kept.
        """
        if call_id in self._claimed:
            return NO_JOURNAL
        self._claimed.add(call_id)
        return self

    def _choose(self, call_id: str) -> TaskJournal:
        return self._journal if call_id in self._call_ids else NO_JOURNAL

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if asyncio.get_running_loop() is self._loop:
            return await work
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:
            work.close()
            raise Unavailable("The program that runs the tools has ended.") from error
        return await asyncio.wrap_future(future)


NO_JOURNAL = NoTaskJournal()
_current_journal: ContextVar[TaskJournal] = ContextVar("task_journal", default=NO_JOURNAL)


def current_journal() -> TaskJournal:
    """Return the journal of the calls that are made here."""
    return _current_journal.get()


def claim_journal(call_id: str) -> TaskJournal:
    """Return the journal for a request that is sent under the id of this call."""
    journal = current_journal()
    return journal.claim(call_id) if isinstance(journal, LoopJournal) else journal


@contextmanager
def use_journal(journal: TaskJournal) -> Generator[None]:
    """Record the tasks of all calls made in this block in this journal."""
    before = _current_journal.set(journal)
    try:
        yield
    finally:
        _current_journal.reset(before)
