"""Follows one task of an MCP server from its creation, or from its saved handle, to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import mcp_types as types
from mcp import MCPError

from antiphon.mcp.client.results import UNCERTAIN
from antiphon.mcp.client.tasks import (
    LEAST_INTERVAL,
    OVER,
    TaskFailed,
    TaskRequests,
    TaskState,
    parse_result,
)
from antiphon.mcp.metadata import clean_line
from antiphon.ports import ProgressCallback
from antiphon.tools.deadlines import seconds_left
from antiphon.tools.task_journal import TaskJournal
from antiphon.types.errors import AntiphonError, TryAgain, Unavailable
from antiphon.types.messages import Progress, TaskHandle

MOST_FAILURES = 8
"""Polls in a row that may fail, for instance while the server restarts."""
LONGEST_PAUSE = 30.0
"""Seconds between two polls that fail."""
MOST_QUESTIONS_IN_ALL = 100
"""Questions that one task may ask in all, withdrawn ones too."""
CHECK_SECONDS = 15.0
"""Time between two checks that the call still waits for its output."""
OPEN_SECONDS = 5.0
"""Timeout of the check that a cancelled call is still open."""

log = logging.getLogger(__name__)


class TaskError(MCPError):
    """Error of a call whose task failed, in whichever session that was learned."""


class TaskServer(Protocol):
    """A server with tasks, across its sessions."""

    async def task_requests(self) -> TaskRequests:
        """Return the requests about tasks of the current session. Raises `Unavailable`."""
        ...

    async def cancel_task(self, task_id: str) -> None:
        """Ask the server to cancel a task; it may do so, or not. Never raises."""
        ...

    def run_later(self, check: Callable[[], Awaitable[None]]) -> None:
        """Run the check soon, and at the latest before the server is stopped."""
        ...


class TaskFollower:
    """Polls the task of one call until it is over, and answers the inputs that it requires.

    The handle is saved in the journal first. If the call is cancelled, the task is cancelled at the
    server, unless its handle is saved and the call is still open and has time left: then another
    client can go on with the task. Programs stop their tools first, and then cancel the run: so a
    task that was left is checked once more.
    """

    def __init__(
        self,
        handle: TaskHandle,
        call_id: str,
        *,
        server: TaskServer,
        journal: TaskJournal,
        tell: ProgressCallback,
        is_saved: bool,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._handle = handle
        self._call_id = call_id
        self._server = server
        self._journal = journal
        self._tell = tell
        self._clock = clock
        self._is_saved = is_saved
        self._may_be_saved = not is_saved
        self.age_at_start = max(0.0, now() - handle.created_at / 1000)
        self._created = clock() - self.age_at_start
        self._checked = clock()
        self._messages = 0
        self._message = ""
        self._requests: TaskRequests | None = None
        self._questions: dict[str, asyncio.Task[None]] = {}
        self._answers: dict[str, dict[str, Any]] = {}
        self._answered: set[str] = set()
        self._asked = 0
        self._changed = asyncio.Event()
        self._refused: TaskFailed | None = None

    async def follow(self, created: TaskState | None = None) -> types.CallToolResult:
        """Return the result of the task, which is in the state `created` if it is new.

        Raises `TaskFailed`, and `TaskError` with the error of a call that failed.
        """
        try:
            return await self._poll_until_over(created)
        except asyncio.CancelledError:
            if await self._is_left_to_others():
                self._server.run_later(self._cancel_if_over)
            else:
                await self._server.cancel_task(self._handle.task_id)
            raise
        except TaskFailed as failed:
            if not failed.is_over:
                await self._server.cancel_task(self._handle.task_id)
            raise
        except TaskError:
            raise
        except Exception:  # the SDK raises its own for an answer that is no result
            await self._server.cancel_task(self._handle.task_id)
            raise
        finally:
            for question in self._questions.values():
                question.cancel()

    async def _poll_until_over(self, created: TaskState | None) -> types.CallToolResult:
        if created is not None:
            await self._save()
            self._report(created)
            if created.status not in OVER:
                await self._wait(created)
        while True:
            state = await self._poll()
            if state.status in OVER:
                return self._conclude(state)
            if created is not None and created.status in OVER:
                raise TaskFailed(f"says that its task is {state.status} after it was over")
            if state.ttl is not None and self._age() >= state.ttl:
                raise TaskFailed(
                    f"has not completed its task within the {state.ttl:g} s for which it keeps it; "
                    f"{UNCERTAIN}",
                    fault="timed_out",
                )
            self._report(state)
            self._ask(state)
            await self._save()
            await self._check_open()
            await self._wait(state)

    def _conclude(self, state: TaskState) -> types.CallToolResult:
        """Return the result. Raises `TaskFailed`, and `TaskError` with the error of the call."""
        match state.status:
            case "completed":
                return parse_result(state)
            case "failed":
                code, message = state.error.get("code"), state.error.get("message")
                raise TaskError(
                    code if type(code) is int else types.INTERNAL_ERROR,
                    message if isinstance(message, str) and message else state.message,
                    state.error.get("data"),
                )
            case _:
                why = f": {state.message}" if state.message else ""
                raise TaskFailed(f"has cancelled its task{why}; {UNCERTAIN}", is_over=True)

    def _age(self) -> float:
        return self._clock() - self._created

    def _report(self, state: TaskState) -> None:
        """Report a new status message as progress; the same one again is none."""
        if state.message and state.message != self._message:
            self._message = state.message
            self._messages += 1
            self._tell(Progress(self._messages, None, state.message))

    async def _save(self) -> None:
        """Save the handle, unless that has been done or is refused."""
        if not self._may_be_saved:
            return
        saving = asyncio.ensure_future(self._journal.save(self._call_id, self._handle))
        try:
            self._is_saved = await asyncio.shield(saving)
        except asyncio.CancelledError:
            # If it is saved, another client may go on with the task: so it is not cancelled.
            with suppress(AntiphonError, TimeoutError):
                async with asyncio.timeout(OPEN_SECONDS):
                    self._is_saved = await saving
            raise
        except TryAgain as error:
            log.warning("the handle of a task is not saved yet: %s", error.message)
            return
        except AntiphonError as error:
            log.warning("the handle of a task is not saved: %s", error.message)
        self._may_be_saved = False

    async def _check_open(self) -> None:
        """Raise `TaskFailed` if nobody waits for the output any more."""
        if not self._is_saved or self._clock() - self._checked < CHECK_SECONDS:
            return
        self._checked = self._clock()
        with suppress(AntiphonError):
            if not await self._journal.is_open(self._call_id):
                raise TaskFailed("works on a call that is over", fault="cancelled")

    # Requests, which may fail while the server restarts.

    async def _poll(self) -> TaskState:
        """Return the state. Raises `TaskFailed` if the server does not know the task any more."""
        failures = 0
        while True:
            try:
                self._requests = await self._server.task_requests()
                return await self._requests.get(self._handle.task_id)
            except Unavailable as error:
                fault = error.message
            except MCPError as error:
                fault = clean_line(error.message, 300)
                if error.code in _FINAL:
                    raise TaskFailed(
                        f"does not know its task any more: {fault}; {UNCERTAIN}", is_over=True
                    ) from error
            failures += 1
            if failures >= MOST_FAILURES:
                raise TaskFailed(
                    f"does not answer questions about its task: {fault}; {UNCERTAIN}",
                    fault="unavailable",
                )
            await asyncio.sleep(min(2.0 ** (failures - 2), LONGEST_PAUSE))

    async def _wait(self, state: TaskState) -> None:
        """Wait until the next poll is due, and send answers as soon as there are any."""
        seconds = state.interval
        if state.ttl is not None:
            seconds = min(seconds, max(state.ttl - self._age(), LEAST_INTERVAL))
        due = self._clock() + seconds
        while True:
            if self._refused is not None:
                raise self._refused
            await self._send_answers()
            left = due - self._clock()
            if left <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
            self._changed.clear()

    # Inputs that the task requires.

    def _ask(self, state: TaskState) -> None:
        """Ask each new question once; withdraw those that are not asked any more."""
        for key in self._questions.keys() - state.requests.keys():
            self._questions.pop(key).cancel()
        for key, request in state.requests.items():
            if key in self._answered or key in self._answers or key in self._questions:
                continue
            if self._asked >= MOST_QUESTIONS_IN_ALL:
                raise TaskFailed(f"requires more than {MOST_QUESTIONS_IN_ALL} inputs for its task")
            self._asked += 1
            self._questions[key] = asyncio.create_task(self._answer(key, request))

    async def _answer(self, key: str, request: Any) -> None:
        if self._requests is None:
            return
        try:
            self._answers[key] = await self._requests.answer(key, request)
        except TaskFailed as refused:
            self._refused = refused
        self._changed.set()

    async def _send_answers(self) -> None:
        """Send answers that were not sent yet; those that do not arrive are sent again later."""
        if not self._answers or self._requests is None:
            return
        answers = dict(self._answers)
        try:
            await self._requests.update(self._handle.task_id, answers)
        except MCPError as error:
            log.warning("answers for a task are not sent: %s", clean_line(error.message, 300))
            return
        for key in answers:
            del self._answers[key]
            self._questions.pop(key, None)
        self._answered |= answers.keys()

    # The end of a call without a result.

    async def _is_left_to_others(self) -> bool:
        """Return whether another client can go on with the cancelled call and its task."""
        if not self._is_saved or seconds_left()() <= 0:
            return False
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                return await self._journal.is_open(self._call_id)
        except (AntiphonError, TimeoutError):
            return True

    async def _cancel_if_over(self) -> None:
        """Cancel the task if its call was ended meanwhile."""
        with suppress(AntiphonError, TimeoutError):
            async with asyncio.timeout(OPEN_SECONDS):
                if await self._journal.is_open(self._call_id):
                    return
            await self._server.cancel_task(self._handle.task_id)


_FINAL = frozenset(
    (types.INVALID_PARAMS, types.METHOD_NOT_FOUND, types.MISSING_REQUIRED_CLIENT_CAPABILITY)
)
"""Errors that a repeated request does not mend."""
