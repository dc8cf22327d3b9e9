"""One run on its way to its end: its turns are streamed, its tools run here, its readers told.

A relay does steps 7 to 24 of the web chat's flow (docs/flows/web.md). It belongs to no request: who
posted the message may close the tab, and the run goes on. Readers follow it, see `following`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import msgspec

from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.telemetry import genai
from antiphon.telemetry.logs import log_context
from antiphon.telemetry.tracing import current_span
from antiphon.tools.consent import Consent, Grants, SessionGrants
from antiphon.tools.permissions import Rules
from antiphon.tools.questions import Answer, ModelServer, Question
from antiphon.tools.tool_events import (
    ConsentAsked,
    ToolAwaited,
    ToolBegan,
    ToolEnded,
    ToolEvent,
    ToolProgressed,
)
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import AntiphonError, OutputsMissing, RunEnded, TryAgain
from antiphon.types.events import Numbered, RunStatus, TurnEnded
from antiphon.types.messages import ToolResult
from antiphon.types.runs import Action, Fault, Run, Status
from antiphon.web.approvals import Asking
from antiphon.web.toolset import Tooling

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds until a backend that was away is asked again."""
_ELSEWHERE = ToolResult("")

Chunks = AsyncGenerator[Sequence[Numbered], None]
"""Events of a run with their numbers, as many together as came together."""


class Working(msgspec.Struct, frozen=True):
    """A tool at work with these arguments; `since` by the loop's clock."""

    since: float
    arguments: str
    last: ToolProgressed | None = None


class Relay:
    """A run that is carried on here.

    `events` are all of the run so far, `happenings` what its tools did here and what persons were
    asked; both only grow. How far a tool is stands in `working` alone, for some say it a thousand
    times; calls that wait for their MCP server stand in `awaiting`. `over` when nothing more comes;
    `fault` where that is no end of the run.
    """

    def __init__(
        self,
        client: AsyncClient,
        run: Run,
        tools: Tooling,
        settings: Settings,
        grants: tuple[SessionGrants, Grants],
    ) -> None:
        self.run_id = run.id
        self.thread_id = run.thread_id
        self.events: list[Numbered] = []
        self.happenings: list[ToolEvent] = []
        self.working: dict[str, Working] = {}
        self.awaiting: dict[str, ToolAwaited] = {}
        self.over = False
        self.fault: Fault | None = None
        self.status = run.status
        self._client = client
        self._model = run.model
        self._turns_before = run.turn - (run.status is Status.IN_PROGRESS)
        self._bells: set[asyncio.Event] = set()
        self._asking = Asking()
        self._processor = ToolProcessor(
            tools.toolbox,
            consent=_consent(settings, self._asking, grants),
            at_once=settings.max_parallel_tools,
            seconds=settings.tool_timeout,
            keep=self._keep,
            watch=self._happened,
            tracer=client.transport.tracer,
            asked_by=self._find_model_server,
        )

    # Told by readers.

    @property
    def asks(self) -> bool:
        """Whether it goes on only when a person has answered."""
        return bool(self._asking.open) and not self.working

    @property
    def last(self) -> int:
        """The number of its newest event."""
        return self.events[-1][0] if self.events else 0

    @property
    def progress(self) -> dict[str, ToolProgressed]:
        """How far the tools at work are that have said so, by tool call id."""
        return {call: working.last for call, working in self.working.items() if working.last}

    @property
    def asked(self) -> frozenset[str]:
        """The ids of all calls that persons were asked about."""
        return frozenset(
            happening.question.call.id
            for happening in self.happenings
            if isinstance(happening, ConsentAsked)
        )

    @property
    def questions(self) -> dict[str, Question]:
        """What persons are asked just now, by tool call id."""
        return self._asking.open

    def answer(self, tool_call_id: str, digest: str, answer: Answer) -> None:
        """What a person said of a call. Raises `NotFound` and `OutputConflict`."""
        self._asking.answer(tool_call_id, digest, answer)

    def stop_tool(self, tool_call_id: str) -> bool:
        """Stop one call; the model is told, the run goes on. False where it does not run."""
        return self._processor.cancel(tool_call_id)

    @contextmanager
    def bell(self) -> Generator[asyncio.Event]:
        """Set whenever there is more to tell, for as long as this is entered."""
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            yield bell
        finally:
            self._bells.discard(bell)

    # The run.

    async def carry_on(self) -> None:
        """Carry the run to its end. What goes wrong is told to the readers, and not raised."""
        tracer = self._client.transport.tracer
        facts = genai.conversation_attributes(self.run_id, self.thread_id)
        with (
            log_context(run_id=self.run_id, thread_id=self.thread_id),
            current_span(tracer, "invoke_agent", "client", facts=facts) as span,
        ):
            await self._carry_on()
            if self.fault is not None:
                span.set_error(self.fault.code)

    async def _carry_on(self) -> None:
        try:
            carried = False
            while not carried:
                carried = await self._carried()
        except AntiphonError as problem:
            self.fault = Fault(problem.code, problem.message)
        except Exception:  # a wall: whatever it is, readers must not wait for ever
            log.exception("run %s cannot be carried on", self.run_id)
            self.fault = Fault("internal", "Something went wrong in the web chat.")
        finally:
            self.over = True
            self._ring()

    async def _carried(self) -> bool:
        """Whether it came to its end; a backend that is away is asked again, tab or no tab."""
        try:
            async with aclosing(self.generate_chunks()) as chunks:
                async for some in chunks:
                    self._tell(some)
        except TryAgain as problem:
            log.warning("run %s waits for the backend: %s", self.run_id, problem)
            await asyncio.sleep(PATIENCE)
            return False
        return True

    async def generate_chunks(self) -> Chunks:
        """The run's events, turn after turn, its tools run in between.

        The first stream, then `poll_and_execute_action`, then the next stream, until the run ends.
        A run that was begun before us is read from its log as far as it has come.
        """
        async with aclosing(self._told_before()) as told:
            async for chunks in told:
                yield chunks
        while not self.status.ended:
            waits = self.status is Status.ACTION_REQUIRED
            async with aclosing(self._between_turns() if waits else self._turn()) as turn:
                async for chunks in turn:
                    yield chunks

    async def _turn(self) -> Chunks:
        """One reply of the model: sync_stream.setup, sync_stream.stream_chunks, close."""
        sync_stream = self._client.sync_stream()
        sync_stream.setup(run_id=self.run_id)
        try:
            async for batch in sync_stream.stream_chunks(raise_on_failure=False).batches():
                yield batch
        except (OutputsMissing, RunEnded):
            # Somebody else asked for this turn and it is over: the log has it.
            async with aclosing(self._followed(1)) as told:
                async for chunks in told:
                    yield chunks
        finally:
            await sync_stream.close()

    async def _between_turns(self) -> Chunks:
        """`poll_and_execute_action`, and meanwhile each output as it is saved.

        A run that ends while its tools run, because a person stops it, ends them.
        """
        work = self._client.poll_and_execute_action(
            self.run_id, self._processor, raise_on_failure=False
        )
        executing = asyncio.create_task(work)
        try:
            async with aclosing(self._until_done(executing)) as told:
                async for chunks in told:
                    yield chunks
            if self.status is Status.ACTION_REQUIRED and not await executing:
                # Nothing here is ours to answer: it is told when somebody else has.
                async with aclosing(self._until_it_moves()) as told:
                    async for chunks in told:
                        yield chunks
        finally:
            await _stopped(executing)
        if not self.status.ended:
            self.status = (await self._client.get_run(self.run_id)).status

    async def _until_done(self, executing: asyncio.Task[list[Action]]) -> Chunks:
        async with aclosing(self._followed()) as told:
            while self.status is Status.ACTION_REQUIRED:
                following = asyncio.ensure_future(anext(told, None))
                try:
                    await asyncio.wait({executing, following}, return_when=asyncio.FIRST_COMPLETED)
                    if not following.done():
                        return
                finally:
                    await _stopped(following)
                chunks = following.result()
                if chunks is None:
                    return
                yield chunks

    async def _until_it_moves(self) -> Chunks:
        async with aclosing(self._followed()) as told:
            while self.status is Status.ACTION_REQUIRED:
                chunks = await anext(told, None)
                if chunks is None:
                    return
                yield chunks

    async def _told_before(self) -> Chunks:
        """What the log has of the turns that were over before we came."""
        told_by_now = sum(isinstance(event, TurnEnded) for _, event in self.events)
        if self._turns_before > told_by_now:
            turns = self._turns_before - told_by_now
            async with aclosing(self._followed(turns)) as told:
                async for chunks in told:
                    yield chunks

    async def _followed(self, turns: int | None = None) -> Chunks:
        """The log from here on, through so many ends of turns."""
        async with self._client.events(self.run_id, after=self.last) as events:
            async for chunks in events.batches():
                for place, (_, event) in enumerate(chunks, 1):
                    turns = turns - 1 if turns and isinstance(event, TurnEnded) else turns
                    if turns == 0:
                        yield chunks[:place]
                        return
                yield chunks

    async def _find_model_server(self, run_id: str) -> ModelServer | None:
        """The model server of the run; None where that cannot be learned."""
        with suppress(AntiphonError):
            return await self._client.transport.model_server(self._model, run_id)
        return None

    async def _keep(self, name: str, media_type: str, content: bytes) -> str:
        return (await self._client.upload_file(content, name, media_type)).id

    # What readers are told.

    def _tell(self, chunks: Sequence[Numbered]) -> None:
        last = self.last
        new = [each for each in chunks if each[0] > last]
        self.events += new
        for _, event in new:
            if isinstance(event, RunStatus):
                self.status = event.status
        if new:
            self._ring()

    def _happened(self, happening: ToolEvent) -> None:
        match happening:
            case ToolAwaited(call=call):
                self.awaiting[call.id] = happening
            case ToolBegan(call=call):
                self.awaiting.pop(call.id, None)
                self.working[call.id] = Working(time.monotonic(), call.arguments)
            case ToolProgressed(tool_call_id=id) if id in self.working:
                self.working[id] = msgspec.structs.replace(self.working[id], last=happening)
            case ToolEnded(tool_call_id=id):
                self.awaiting.pop(id, None)
                self.working.pop(id, None)
            case ConsentAsked(question=question):
                self.awaiting.pop(question.call.id, None)
                self._asking.announce(question)
            case _:
                pass
        if not isinstance(happening, ToolProgressed):
            self.happenings.append(_slim(happening))
        self._ring()

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()


def _consent(settings: Settings, asking: Asking, grants: tuple[SessionGrants, Grants]) -> Consent:
    """What may run by itself, and that a page shows all questions at once."""
    session, always = grants
    return Consent(
        Rules(allow=settings.allow, ask=settings.ask, deny=settings.deny),
        session=session,
        grants=always,
        asker=asking,
        warn=log.warning,
        together=True,
    )


def _slim(happening: ToolEvent) -> ToolEvent:
    """Without the result, which the log has: a thousand large ones are not kept for the run."""
    match happening:
        case ToolEnded():
            return msgspec.structs.replace(happening, result=_ELSEWHERE)
        case _:
            return happening


async def _stopped(task: asyncio.Future[Any]) -> None:
    """Cancel it, and wait until it has let go. How it failed is of no interest any more."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
