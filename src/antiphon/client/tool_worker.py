"""A worker for tools: claims pending calls of any run, runs them, and submits their outputs.

A call is claimed under a lease, so that of many workers one runs it. The lease is renewed while the
tool runs; if the worker dies, another claims the call when the lease has run out, and its tool
learns from `ToolContext.attempt` that it may have run before. An output whose claim was lost is
refused by the server, so that each call gets exactly one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Protocol

from msgspec.structs import replace

from antiphon.api.operations import (
    ClaimActions,
    GetAction,
    Listed,
    NewProgress,
    Operation,
    ReleaseClaim,
    RenewClaim,
    SaveTask,
    SubmitToolOutput,
)
from antiphon.client.conversation import rejection_output, tool_call
from antiphon.ports import Toolbox
from antiphon.tools.task_journal import ActionJournal
from antiphon.tools.tool_events import OnToolEvent, ToolEvent, ToolProgressed
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import (
    AntiphonError,
    ClaimLost,
    InvalidRequest,
    NotFound,
    OutputConflict,
    RunEnded,
    TooLarge,
    TryAgain,
)
from antiphon.types.events import to_pending_action
from antiphon.types.messages import TaskHandle, ToolResult
from antiphon.types.runs import Action

LEASE_SECONDS = 30.0
"""Time after which the calls of a dead worker are claimed by another."""
WAIT_SECONDS = 10.0
"""Time that one request waits for a call; a worker that is cancelled does not wait for it."""
PROGRESS_SECONDS = 1.0
"""Least time between two reports of progress of one call."""
TOOLS_SECONDS = 1.0
"""Time between two looks for tools, while MCP servers start."""
FIRST_PAUSE, LAST_PAUSE = 0.5, 10.0
"""Seconds between two attempts to reach a server that is not there."""
RELEASE_SECONDS = 5.0
"""Time to release a call at the end; otherwise it stays claimed until its lease ends."""

log = logging.getLogger(__name__)


class CreateProcessor(Protocol):
    """Creates the processor of one call."""

    def __call__(self, *, on_tool_event: OnToolEvent) -> ToolProcessor:
        """Return a processor that reports the tool's events."""
        ...


Send = Callable[[Operation[Any]], Awaitable[Any]]
"""Sends an operation and returns its answer, as `AsyncTransport.send`."""


def worker_name() -> str:
    """Return a name for this process by which a person finds it."""
    return f"{socket.gethostname()}:{os.getpid()}"[:256]


class ToolWorker:
    """Runs calls of the tools in a toolbox, at most `at_once` of them.

    `wanted` selects the calls; its tools and limit are filled in here. `create_processor` gives
    each call a processor of its own, because calls of different runs may share an id. At the end,
    running tools have `grace` seconds.
    """

    def __init__(
        self,
        send: Send,
        toolbox: Toolbox,
        create_processor: CreateProcessor,
        wanted: ClaimActions,
        *,
        at_once: int,
        grace: float,
        on_tool_event: OnToolEvent,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.answered = 0
        self._clock = clock
        self._grace = grace
        self._send = send
        self._toolbox = toolbox
        self._create_processor = create_processor
        self._wanted = wanted
        self._at_once = at_once
        self._on_tool_event = on_tool_event
        self._running: set[asyncio.Task[None]] = set()
        self._held: dict[str, _HeldClaim] = {}

    async def run(self, *, until_idle: bool = False) -> int:
        """Claim and run calls until cancelled; return how many outputs were saved.

        With `until_idle` it returns when no call is pending. When it is cancelled, it claims no
        more calls; calls that have not ended after `grace` seconds are cancelled and released. A
        second cancellation does not wait. Errors that may pass are retried; others are raised.
        """
        try:
            while True:
                asked = self._clock()
                claimed = await self._claim(0.0 if until_idle else WAIT_SECONDS)
                # If the process was suspended meanwhile, the lease may have run out already.
                is_late = self._clock() - asked > self._wanted.lease
                for action in claimed:
                    if (held := self._held.get(action.id)) is not None:
                        held.adopt(action)  # its lease ran out while the server was away
                        continue
                    claim = _HeldClaim(action, self._send, self._wanted.lease)
                    self._held[action.id] = claim
                    running = self._run_call(claim, is_late=is_late)
                    self._running.add(asyncio.create_task(running))
                if until_idle and not claimed and not self._running:
                    return self.answered
                await self._wait_for_room(until_idle=until_idle)
        finally:
            try:
                if self._running:
                    await asyncio.wait(self._running, timeout=self._grace)
            finally:
                for task in self._running:
                    task.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)

    async def _claim(self, wait: float) -> Sequence[Action]:
        """Claim as many calls as there is room for; empty if none came in time."""
        room = self._at_once - len(self._running)
        tools = tuple(tool.spec.name for tool in self._toolbox.tools())
        if not tools:
            await asyncio.sleep(TOOLS_SECONDS)
            return ()
        operation = replace(self._wanted, tools=tools, limit=min(room, 100), wait=wait)
        page: Listed[Action] = await self._send_until_answered(operation)
        return page.data

    async def _wait_for_room(self, *, until_idle: bool) -> None:
        """Wait while every slot is taken; with `until_idle` for the end of any call."""
        self._reap()
        while len(self._running) >= self._at_once or (until_idle and self._running):
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            self._reap()
            if until_idle:
                return

    def _reap(self) -> None:
        """Forget the calls that have ended; raise the error of one that failed."""
        done = {task for task in self._running if task.done()}
        self._running -= done
        for task in done:
            task.result()

    async def _run_call(self, claim: _HeldClaim, *, is_late: bool) -> None:
        """Run one call if its claim is still held; a late claim may have run out already."""
        try:
            if not is_late or await claim.is_still_held():
                await self._run_claimed(claim)
            else:
                log.warning("the claim of %s was lost before its tool ran", claim.action.id)
        finally:
            del self._held[claim.action.id]

    async def _run_claimed(self, claim: _HeldClaim) -> None:
        """Run one call under its claim, and submit its output; release it if cancelled."""
        action = claim.action
        keeping = asyncio.create_task(claim.keep())
        executing = asyncio.create_task(self._execute(action, claim))
        try:
            await asyncio.wait({keeping, executing}, return_when=asyncio.FIRST_COMPLETED)
            if not executing.done():
                keeping.result()
                log.warning("the claim of %s was lost, its tool is cancelled", action.id)
                return
            result = executing.result()
            if result.fault == "unknown_tool":  # the tool has gone since the claim
                await claim.release()
            elif await self._submit(claim, result):
                self.answered += 1
        except BaseException:
            executing.cancel()
            await asyncio.wait({executing})
            await asyncio.shield(claim.release())
            raise
        finally:
            keeping.cancel()
            executing.cancel()
            await asyncio.gather(keeping, executing, return_exceptions=True)

    async def _execute(self, action: Action, claim: _HeldClaim) -> ToolResult:
        def report_event(event: ToolEvent) -> None:
            if isinstance(event, ToolProgressed):
                progress = event.progress
                claim.report(NewProgress(progress.done, progress.total, progress.message[:1_000]))
            self._on_tool_event(event)

        results = self._create_processor(on_tool_event=report_event).process_tool_calls(
            action.run_id,
            [tool_call(to_pending_action(action))],
            thread_id=action.thread_id,
            attempt=action.attempt,
            journal=claim.journal,
        )
        async with aclosing(results):
            _, result = await anext(results)
        return result

    async def _submit(self, claim: _HeldClaim, result: ToolResult) -> bool:
        """Submit the output; return False if it is no longer wanted."""
        while True:
            action = claim.action
            try:
                try:
                    await self._send_until_answered(_submission(action, result))
                except (InvalidRequest, TooLarge) as refusal:
                    await self._send_until_answered(_submission(action, rejection_output(refusal)))
            except (ClaimLost, OutputConflict, RunEnded, NotFound) as lost:
                if claim.action.attempt != action.attempt:
                    continue  # claimed again meanwhile, by this worker
                log.warning("the output of %s is dropped: %s", action.id, lost.message)
                return False
            return True

    async def _send_until_answered(self, operation: Operation[Any]) -> Any:
        """Send the operation, again and again while the server cannot be reached."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._send(operation)
            except TryAgain as error:
                log.warning("the server does not answer, trying again: %s", error.message)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)


def _submission(action: Action, result: ToolResult) -> SubmitToolOutput:
    return SubmitToolOutput(
        action.run_id,
        action.tool_call_id,
        result.output,
        is_error=result.is_error,
        metadata=result.metadata,
        attempt=action.attempt,
    )


class _HeldClaim:
    """The claim of one action, renewed three times in its lease and when there is progress."""

    def __init__(self, action: Action, send: Send, lease: float) -> None:
        self.action = action
        self._send = send
        self._lease = lease
        self._progress: NewProgress | None = None
        self._reported = asyncio.Event()
        tasks = {} if action.task is None else {action.tool_call_id: action.task}
        self.journal = ActionJournal(tasks, self._save_task, self._is_open)

    def adopt(self, action: Action) -> None:
        """Hold the call under the new claim of the same worker; its tool runs on."""
        self.action = action

    def report(self, progress: NewProgress) -> None:
        """Save this progress soon; a later one replaces it."""
        self._progress = progress
        self._reported.set()

    async def keep(self) -> None:
        """Renew the claim until cancelled; return once it is lost."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lease / 3):
                    await self._reported.wait()
            self._reported.clear()
            progress, self._progress = self._progress, None
            attempt = self.action.attempt
            try:
                await self._renew(progress)
            except (ClaimLost, NotFound):
                if self.action.attempt == attempt:
                    return
            except TryAgain as error:
                log.warning("the claim of %s is not renewed: %s", self.action.id, error.message)
            await asyncio.sleep(min(PROGRESS_SECONDS, self._lease / 6))

    async def is_still_held(self) -> bool:
        """Renew the claim; return False if it is lost, or the server cannot be asked."""
        try:
            await self._renew(None)
        except (ClaimLost, NotFound, RunEnded, TryAgain):
            return False
        return True

    async def _renew(self, progress: NewProgress | None) -> None:
        action = self.action
        try:
            await self._send(RenewClaim(action.id, action.attempt, self._lease, progress))
        except InvalidRequest:
            if progress is None:
                raise
            await self._renew(None)  # what a tool reports may be no number

    async def _save_task(self, call_id: str, handle: TaskHandle) -> None:
        action, (task_id, origin, tool) = self.action, (handle.task_id, handle.origin, handle.tool)
        await self._send(SaveTask(action.id, task_id, origin, tool, action.attempt))

    async def _is_open(self, call_id: str) -> bool:
        action: Action = await self._send(GetAction(self.action.id))
        return action.status == "pending"

    async def release(self) -> None:
        """Release the call, if that is possible in a short time; else its lease runs out."""
        with suppress(AntiphonError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._send(ReleaseClaim(self.action.id, self.action.attempt))
