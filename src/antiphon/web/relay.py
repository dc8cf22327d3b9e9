"""A relay carries one run to its end: it streams turns, runs tools, and notifies readers.

It does steps 7 to 24 of the web chat's flow (docs/flows/web.md). It belongs to no request: the tab
that posted the message may close, and the run goes on. For readers see `runs.stream_relay`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import msgspec

from antiphon.client.async_client import AsyncClient
from antiphon.client.document_tools import DocumentTools
from antiphon.settings.settings import Settings
from antiphon.telemetry import genai
from antiphon.telemetry.logs import log_context
from antiphon.telemetry.tracing import current_span
from antiphon.tools.consent import Consent, GrantStore, SessionGrants
from antiphon.tools.hooks import ToolHooks
from antiphon.tools.memory import MemoryTools
from antiphon.tools.permissions import rules_from_settings
from antiphon.tools.questions import ConsentAnswer, ConsentRequest, ModelServer
from antiphon.tools.tool_events import (
    ConsentAsked,
    ToolAwaited,
    ToolBegan,
    ToolEnded,
    ToolEvent,
    ToolProgressed,
)
from antiphon.tools.tool_manager import ToolManager
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import AntiphonError, OutputsMissing, RunEnded, TryAgain
from antiphon.types.events import Numbered, RunStatus, TurnEnded
from antiphon.types.messages import ToolResult
from antiphon.types.runs import Action, Fault, Run, Status
from antiphon.web.tools import PendingApprovals, Toolset

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""Seconds until a backend that was unreachable is tried again."""
_OMITTED_RESULT = ToolResult("")

EventBatches = AsyncGenerator[Sequence[Numbered], None]
"""Numbered events of a run, in batches as they arrived."""


class RunningTool(msgspec.Struct, frozen=True):
    """Tool that runs with these arguments; `since` by the monotonic clock."""

    since: float
    arguments: str
    last: ToolProgressed | None = None


class RelaySubscription:
    """Notifies one reader of news of a relay. A notification before `wait` is not lost."""

    def __init__(self) -> None:
        self._notified = False
        self._handle: Callable[[], bool] | None = None
        self._waiting: asyncio.Future[None] | None = None

    async def wait(self, handle: Callable[[], bool]) -> None:
        """Wait for news for which `handle` returns False: the reader has to handle them.

        An error of `handle` is raised here.
        """
        if not self._notified:
            self._waiting, self._handle = asyncio.get_running_loop().create_future(), handle
            try:
                await self._waiting
            finally:
                self._waiting = self._handle = None
        self._notified = False

    def notify(self) -> None:
        """Pass the news to the handler of the reader, or wake its task."""
        if self._handle is None or self._waiting is None or self._waiting.done():
            self._notified = True
            return
        try:
            if self._handle():
                return
        except Exception as error:  # noqa: BLE001 - `wait` of this reader raises it
            self._waiting.set_exception(error)
            return
        self._notified = True
        self._waiting.set_result(None)


class Relay:
    """Carries a run to its end in this process.

    `events` holds all events of the run so far. `tool_events` holds what its tools did here and
    the questions that users were asked. Both only grow. The progress of a tool is only in
    `running_tools`, because some tools report it a thousand times. Calls that wait for their MCP
    server are in `awaited_tools`. `is_over` is true when nothing more comes, and `fault` is set if
    the relay failed before the run ended.
    """

    def __init__(
        self,
        client: AsyncClient,
        run: Run,
        tools: Toolset,
        settings: Settings,
        grants: tuple[SessionGrants, GrantStore],
    ) -> None:
        self.run_id = run.id
        self.thread_id = run.thread_id
        self.events: list[Numbered] = []
        self.tool_events: list[ToolEvent] = []
        self.running_tools: dict[str, RunningTool] = {}
        self.awaited_tools: dict[str, ToolAwaited] = {}
        self.is_over = False
        self.fault: Fault | None = None
        self.status = run.status
        self._client = client
        self._model = run.model
        self._turns_before = run.turn - (run.status is Status.IN_PROGRESS)
        self._readers: set[RelaySubscription] = set()
        self._approvals = PendingApprovals()
        documents = DocumentTools(client.transport, run.thread_id, run.assistant_id)
        self._processor: ToolProcessor | None = ToolProcessor(
            ToolManager(tools.toolbox, MemoryTools(client), documents.toolbox),
            consent=_consent(settings, self._approvals, grants),
            hooks=ToolHooks(settings.hooks, warn=log.warning),
            at_once=settings.max_parallel_tools,
            seconds=settings.tool_timeout,
            keep=self._save_file,
            on_tool_event=self._handle_tool_event,
            tracer=client.transport.tracer,
            asked_by=self._find_model_server,
        )

    # For readers.

    @property
    def is_waiting_for_user(self) -> bool:
        """True if the run goes on only after an answer of the user."""
        return bool(self._approvals.open) and not self.running_tools

    @property
    def last_number(self) -> int:
        """Number of the newest event."""
        return self.events[-1][0] if self.events else 0

    @property
    def progress(self) -> dict[str, ToolProgressed]:
        """Last reported progress of the running tools, by tool call id."""
        return {call: tool.last for call, tool in self.running_tools.items() if tool.last}

    @property
    def asked_call_ids(self) -> frozenset[str]:
        """Ids of all calls that the user was asked about."""
        return frozenset(
            event.question.call.id for event in self.tool_events if isinstance(event, ConsentAsked)
        )

    @property
    def open_questions(self) -> dict[str, ConsentRequest]:
        """Open questions, by tool call id."""
        return self._approvals.open

    def answer(self, tool_call_id: str, digest: str, answer: ConsentAnswer) -> None:
        """Answer the question about a call. Raises `NotFound` and `OutputConflict`."""
        self._approvals.answer(tool_call_id, digest, answer)

    def stop_tool(self, tool_call_id: str) -> bool:
        """Stop one call, as its output tells the model; return False if it does not run."""
        return self._processor is not None and self._processor.cancel(tool_call_id)

    @contextmanager
    def subscribe(self) -> Generator[RelaySubscription]:
        """Yield a subscription that is notified of all news until the context exits."""
        subscription = RelaySubscription()
        self._readers.add(subscription)
        try:
            yield subscription
        finally:
            self._readers.discard(subscription)

    # The run.

    async def run(self) -> None:
        """Carry the run to its end. Errors are passed to the readers as `fault`, not raised."""
        tracer = self._client.transport.tracer
        facts = genai.conversation_attributes(self.run_id, self.thread_id)
        with (
            log_context(run_id=self.run_id, thread_id=self.thread_id),
            current_span(tracer, "invoke_agent", "client", facts=facts) as span,
        ):
            await self._run_with_error_handling()
            if self.fault is not None:
                span.set_error(self.fault.code)

    async def _run_with_error_handling(self) -> None:
        try:
            while not await self._run_until_unreachable():
                pass
        except AntiphonError as problem:
            self.fault = Fault(problem.code, problem.message)
        except Exception:  # readers must not wait forever, whatever it is
            log.exception("run %s cannot be carried on", self.run_id)
            self.fault = Fault("internal", "Something went wrong in the web chat.")
        finally:
            self.is_over = True
            # The processor has methods of this relay: a cycle that would keep the events.
            self._processor = None
            self._notify_readers()

    async def _run_until_unreachable(self) -> bool:
        """Return True at the run's end, False after a pause if the backend was unreachable."""
        try:
            async with aclosing(self.generate_chunks()) as batches:
                async for batch in batches:
                    self._add_events(batch)
        except TryAgain as problem:
            log.warning("run %s waits for the backend: %s", self.run_id, problem)
            await asyncio.sleep(RETRY_SECONDS)
            return False
        return True

    async def generate_chunks(self) -> EventBatches:
        """Yield the run's events, turn after turn, and run its tools in between.

        Each turn streams a reply, then `poll_and_execute_action` runs its tools, until the run
        ends. Turns that were over before this relay started are read from the log.
        """
        async with aclosing(self._read_earlier_turns()) as batches:
            async for batch in batches:
                yield batch
        while not self.status.ended:
            waits = self.status is Status.ACTION_REQUIRED
            async with aclosing(self._execute_tools() if waits else self._stream_turn()) as turn:
                async for batch in turn:
                    yield batch

    async def _stream_turn(self) -> EventBatches:
        """Stream one reply of the model: sync_stream.setup, sync_stream.stream_chunks, close."""
        sync_stream = self._client.sync_stream()
        sync_stream.setup(run_id=self.run_id)
        try:
            async for batch in sync_stream.stream_chunks(raise_on_failure=False).batches():
                yield batch
        except (OutputsMissing, RunEnded):
            # Another process requested this turn and it is over: the log has it.
            async with aclosing(self._read_log(1)) as batches:
                async for logged in batches:
                    yield logged
        finally:
            await sync_stream.close()

    async def _execute_tools(self) -> EventBatches:
        """Run `poll_and_execute_action`, and yield each output as it is saved.

        If the user stops the run while its tools run, the tools are cancelled.
        """
        if self._processor is None:
            raise RuntimeError("the relay of this run is over")
        work = self._client.poll_and_execute_action(
            self.run_id, self._processor, raise_on_failure=False
        )
        executing = asyncio.create_task(work)
        try:
            async with aclosing(self._read_log_while_executing(executing)) as batches:
                async for batch in batches:
                    yield batch
            if self.status is Status.ACTION_REQUIRED and not await executing:
                # Another client has to answer: wait for it.
                async with aclosing(self._read_log_until_status_changes()) as batches:
                    async for batch in batches:
                        yield batch
        finally:
            await _cancel_and_wait(executing)
        if not self.status.ended:
            self.status = (await self._client.get_run(self.run_id)).status

    async def _read_log_while_executing(
        self, executing: asyncio.Task[list[Action]]
    ) -> EventBatches:
        async with aclosing(self._read_log()) as batches:
            while self.status is Status.ACTION_REQUIRED:
                following = asyncio.ensure_future(anext(batches, None))
                try:
                    await asyncio.wait({executing, following}, return_when=asyncio.FIRST_COMPLETED)
                    if not following.done():
                        return
                finally:
                    await _cancel_and_wait(following)
                batch = following.result()
                if batch is None:
                    return
                yield batch

    async def _read_log_until_status_changes(self) -> EventBatches:
        async with aclosing(self._read_log()) as batches:
            while self.status is Status.ACTION_REQUIRED:
                batch = await anext(batches, None)
                if batch is None:
                    return
                yield batch

    async def _read_earlier_turns(self) -> EventBatches:
        """Yield the events of turns that were over before this relay started."""
        known = sum(isinstance(event, TurnEnded) for _, event in self.events)
        if self._turns_before > known:
            async with aclosing(self._read_log(self._turns_before - known)) as batches:
                async for batch in batches:
                    yield batch

    async def _read_log(self, turns: int | None = None) -> EventBatches:
        """Yield the log from the newest known event on, until that many turns have ended."""
        async with self._client.events(self.run_id, after=self.last_number) as events:
            async for batch in events.batches():
                for place, (_, event) in enumerate(batch, 1):
                    turns = turns - 1 if turns and isinstance(event, TurnEnded) else turns
                    if turns == 0:
                        yield batch[:place]
                        return
                yield batch

    async def _find_model_server(self, run_id: str) -> ModelServer | None:
        """Return the model server of the run; None if it cannot be determined."""
        with suppress(AntiphonError):
            return await self._client.transport.model_server(self._model, run_id)
        return None

    async def _save_file(self, name: str, media_type: str, content: bytes) -> str:
        return (await self._client.upload_file(content, name, media_type)).id

    # News for readers.

    def _add_events(self, batch: Sequence[Numbered]) -> None:
        last = self.last_number
        new = [each for each in batch if each[0] > last]
        self.events += new
        for _, event in new:
            if isinstance(event, RunStatus):
                self.status = event.status
        if new:
            self._notify_readers()

    def _handle_tool_event(self, event: ToolEvent) -> None:
        match event:
            case ToolAwaited(call=call):
                self.awaited_tools[call.id] = event
            case ToolBegan(call=call):
                self.awaited_tools.pop(call.id, None)
                self.running_tools[call.id] = RunningTool(time.monotonic(), call.arguments)
            case ToolProgressed(tool_call_id=id) if id in self.running_tools:
                self.running_tools[id] = msgspec.structs.replace(self.running_tools[id], last=event)
            case ToolEnded(tool_call_id=id):
                self.awaited_tools.pop(id, None)
                self.running_tools.pop(id, None)
            case ConsentAsked(question=question):
                self.awaited_tools.pop(question.call.id, None)
                self.running_tools.pop(question.call.id, None)  # its tool changed: it was not sent
                self._approvals.add(question)
            case _:
                pass
        if not isinstance(event, ToolProgressed):
            self.tool_events.append(_without_result(event))
        self._notify_readers()

    def _notify_readers(self) -> None:
        for subscription in self._readers:
            subscription.notify()


def _consent(
    settings: Settings, asking: PendingApprovals, grants: tuple[SessionGrants, GrantStore]
) -> Consent:
    """Return the rules for tools of this run; the page shows all questions at once."""
    session, always = grants
    return Consent(
        rules_from_settings(settings),
        session=session,
        grants=always,
        asker=asking,
        warn=log.warning,
        together=True,
    )


def _without_result(event: ToolEvent) -> ToolEvent:
    """Return the event without the tool's result: the log has it, and many would fill memory."""
    match event:
        case ToolEnded():
            return msgspec.structs.replace(event, result=_OMITTED_RESULT)
        case _:
            return event


async def _cancel_and_wait(task: asyncio.Future[Any]) -> None:
    """Cancel the task and wait until it has ended; its error is ignored."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
