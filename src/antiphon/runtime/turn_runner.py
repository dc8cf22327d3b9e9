"""Drives one turn of a run: context, question, reply, log, and the move at the end.

Log, then send: an event is appended to the store first, and only what is kept is rung out. The
store gathers what is appended, so that a fast model costs few transactions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from antiphon.api.operations import BackendServer
from antiphon.engine import sanitize, transitions
from antiphon.engine.context_window import cut_to_window
from antiphon.engine.snapshot import ChangeSet, RunUpdate, Snapshot
from antiphon.engine.tool_selection import ToolSelection, has_changed, select_tools
from antiphon.engine.turn import Turn, TurnResult, large
from antiphon.ports import Bus, Claim, Context, ReadSet, ResolvedModel, Store, Toolbox
from antiphon.runtime.attachments import inline_attachments
from antiphon.runtime.destinations import WrongDestination, check_destination
from antiphon.runtime.event_writer import EventWriter
from antiphon.runtime.notify import commit_in_parts
from antiphon.runtime.reply_metrics import ReplyMetrics, ReplySpan
from antiphon.settings.settings import Settings
from antiphon.telemetry import genai
from antiphon.telemetry.failpoints import hit
from antiphon.telemetry.logs import UserContent, log_context
from antiphon.telemetry.metrics import TOOLS, TURNS, Metrics
from antiphon.telemetry.tracing import NO_TRACES, ROOT, Tracer, current_span
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Functions
from antiphon.tools.permissions import Rules
from antiphon.tools.tool_events import ToolEnded, ToolEvent
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types import errors
from antiphon.types.chunks import Question
from antiphon.types.events import UsageAdded
from antiphon.types.ids import Mint
from antiphon.types.messages import ToolCall, ToolResult, Upload
from antiphon.types.runs import Action, Deadlines, Fault, McpServer, Run, Status, Usage

log = logging.getLogger(__name__)

T = TypeVar("T")

ASK_AGAIN = 2  # times a model is told that its tool call was broken
FINALIZE_PAUSE = 0.5  # seconds between tries to keep a reply in a store that is away
CALLS_AT_ONCE = 1_000  # that are looked up together; more are run after them
SLACK = 0.5  # seconds: the deadline is moved this seldom, and is this much later


class ModelResolver(Protocol):
    """Finds who answers for a model's name."""

    async def open(self, model: str, owner: str) -> ResolvedModel:
        """Who answers for runs of this owner, and on what terms. Raises `BadSettings`."""
        ...


class BackendServers(Protocol):
    """The MCP servers that runs name, whose tools are run here."""

    async def check_allowed(self, servers: Sequence[McpServer]) -> None:
        """Raise `Forbidden` or `InvalidRequest` for one that may not be named."""
        ...

    def hold(
        self, owner: str, servers: Sequence[McpServer]
    ) -> AbstractAsyncContextManager[Toolbox]:
        """Their tools, while they are held, each with its server's name.

        Waits for them, not for long; one that is not there offers nothing. Never raises.
        """
        ...

    def states(self) -> Sequence[BackendServer]:
        """The operator's own servers, and how they are."""
        ...

    def origins(self, servers: Sequence[McpServer]) -> Sequence[str]:
        """Return what these servers are, in words that hold no secret."""
        ...

    def has(self, origins: Sequence[str]) -> bool:
        """Return whether all of these servers are here, as they are there."""
        ...


Cost = Callable[[str, Usage], Awaitable[float | None]]
"""What a model's reply cost in US dollars, by what it used; None where unknown. Never raises."""


async def unknown(model: str, usage: Usage) -> float | None:
    """The cost where there are no prices."""
    return None


class TurnRunner:
    """Drives claimed runs; shares nothing between them."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        models: ModelResolver,
        settings: Settings,
        mint: Mint,
        servers: BackendServers,
        cost: Cost = unknown,
        metrics: Metrics | None = None,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self._store = store
        self._bus = bus
        self._models = models
        self._settings = settings
        self._mint = mint
        self._servers = servers
        self._cost = cost
        self._metrics = metrics or Metrics()
        self._tracer = tracer
        self._replies = ReplyMetrics(self._metrics, tracer)

    async def run(self, claim: Claim) -> None:
        """Ask the model for the run's next turn and keep what it says, to the turn's end.

        What is to be run here, before the model is asked or because it called for it, is run.
        Returns when the run rests, has ended, or is in other hands. Nothing is held afterwards.
        Raises `WrongDestination` for a run that must not be driven from here.
        """
        with log_context(run_id=claim.run.id, thread_id=claim.run.thread_id):
            await self._driven(claim)

    async def _driven(self, claim: Claim) -> None:
        try:
            parent = claim.lease.trace or ROOT
            facts = genai.agent(claim.run)
            with current_span(self._tracer, "invoke_agent", parent=parent, facts=facts):
                await self._drive(claim)
        except errors.Fenced:
            log.info("run %s is in other hands now", claim.run.id)
        except WrongDestination:
            raise
        except errors.TryAgain as fault:
            # The lease runs out, and whoever comes next finds the store again.
            log.warning("run %s: %s", claim.run.id, fault.message)
        except errors.AntiphonError as fault:
            await self._fail(claim, Fault(fault.code, fault.message))
        except Exception:  # a wall: a provider of other people's may raise anything
            log.exception("run %s broke in our hands", claim.run.id)
            await self._fail(claim, Fault("internal", "Something went wrong in this runtime."))

    async def _drive(self, claim: Claim) -> None:
        if not claim.run.mcp_servers:
            await self._turn(claim, _NO_TOOLS)
            return
        async with self._servers.hold(claim.owner, claim.run.mcp_servers) as toolbox:
            while claim.run.status is Status.IN_PROGRESS:
                claim = await self._turn(await self._run_tools(claim, toolbox), toolbox)

    async def _turn(self, claim: Claim, toolbox: Toolbox) -> Claim:
        """One reply, asked for and kept; the run as it is then."""
        opened = await self._models.open(claim.run.model, claim.owner)
        check_destination(claim, opened)
        offered = select_tools(claim.run, toolbox.tools())
        asking = _Asking(
            claim.run,
            opened,
            await self._question(claim, opened.model, offered),
            await self._taken(claim.run),
            self._patience(claim.run.deadlines, opened.deadlines),
        )
        reply = await self._ask_until_whole(
            asking, EventWriter(self._store, self._bus, claim, self._metrics)
        )
        self._metrics.add(TURNS, reply.outcome)
        kept: RunUpdate = await self.finalize_conversation(
            claim,
            lambda records: transitions.finish(
                records,
                claim.lease.epoch,
                reply,
                self._mint,
                turn=claim.run.turn,
                hosted=offered.hosted,
            ),
        )
        return replace(claim, run=kept.run, lease=kept.lease)

    async def _run_tools(self, claim: Claim, toolbox: Toolbox) -> Claim:
        """Run what the worker has to run of the last reply's calls; the run as it is then.

        A call is run at least once. Its action's id, which no other call has, tells the server that
        it is the same one.
        """
        processor = ToolProcessor(
            toolbox,
            consent=Consent(_ALL_APPROVED),
            at_once=self._settings.max_tools,
            seconds=self._settings.tool_timeout,
            keep=partial(self._keep_file, claim.owner),
            watch=self._note_tool,
            tracer=self._tracer,
        )
        while due := await self._due(claim.run):
            for action in [each for each in due.values() if has_changed(each, toolbox.tools())]:
                claim = await self._save_result(claim, due.pop(action.id), _CHANGED)
            hit("tools.before_call")
            calls = map(_call, due.values())
            async with aclosing(processor.process_tool_calls(claim.run.id, calls)) as results:
                async for call, result in results:
                    claim = await self._save_result(claim, due[call.id], result)
        return claim

    def _note_tool(self, happening: ToolEvent) -> None:
        if isinstance(happening, ToolEnded):
            outcome = happening.result.fault or "done"
            self._metrics.observe(TOOLS, happening.seconds, "server", outcome)

    async def _due(self, run: Run) -> dict[str, Action]:
        """The actions that wait to be run here, by their ids; none before the first reply."""
        if run.turn == 1:
            return {}
        after = None
        while True:
            page = await self._store.list(
                Action, None, limit=CALLS_AT_ONCE, after=after, run_id=run.id, status="pending"
            )
            due = {action.id: action for action in page.data if action.due}
            if due or not page.has_more:
                return due
            after = page.data[-1].id

    async def _save_result(self, claim: Claim, action: Action, result: ToolResult) -> Claim:
        kept: RunUpdate = await self.finalize_conversation(
            claim,
            lambda records: transitions.save_result(
                records,
                claim.lease.epoch,
                action.tool_call_id,
                result.output,
                result.is_error,
                self._mint,
                result.metadata,
            ),
            what="result",
        )
        return replace(claim, run=kept.run, lease=kept.lease)

    async def _keep_file(self, owner: str, name: str, media_type: str, content: bytes) -> str:
        upload = Upload(
            id=self._mint("file"),
            name=sanitize.validate_file_name(name),
            media_type=sanitize.parse_media_type(media_type),
            size=len(content),
            created_at=await self._store.now(),
        )
        await self._store.put(owner, upload, None, content)
        return upload.id

    async def _ask_until_whole(self, asking: _Asking, journal: EventWriter) -> TurnResult:
        """The reply; for a broken tool call the model is told what was wrong and asked again.

        What the replies used that were thrown away is counted with the one that is kept.
        """
        tries_left = ASK_AGAIN
        used = Usage()
        while True:
            began_after = journal.last
            hit("turn.before_request")
            reply = await self._ask(asking, journal)
            await journal.flush()
            reply = await self._priced(reply, asking.run.model)
            if reply.outcome != "invalid_tool_call" or not tries_left:
                return reply if used == Usage() else _with_usage(reply, used + _used(reply))
            tries_left -= 1
            used += _used(reply)
            why = reply.fault.message if reply.fault else "The tool call could not be read."
            log.info("a broken tool call: %s", UserContent(reply.broken or ""))
            journal.restart("invalid_tool_call", began_after, why)
            asking = replace(asking, question=_told(asking.question, why))

    async def _question(self, claim: Claim, model: str, offered: ToolSelection) -> Question:
        run = claim.run
        context = await self.set_up_context(
            run.thread_id, force_refresh=run.turn > 1 or claim.lease.fresh
        )
        return Question(
            model=model,
            messages=await inline_attachments(
                cut_to_window(context, self._settings.context_tokens), self._store, claim.owner
            ),
            instructions=run.instructions,
            tools=offered.tools,
            sampling=offered.sampling,
            run_id=run.id,
            turn=run.turn,
        )

    async def set_up_context(self, thread_id: str, *, force_refresh: bool) -> Context:
        """The thread's history; after a hand-off it is read whole, past every cache."""
        return await self._store.context(thread_id, fresh=force_refresh)

    async def _taken(self, run: Run) -> frozenset[str]:
        """The tool call ids of earlier turns: an id is unique in its run."""
        return await self._store.call_ids(run.id) if run.turn > 1 else frozenset()

    async def _ask(self, asking: _Asking, journal: EventWriter) -> TurnResult:
        """One request, to its end: the reply is whole, cut, or an error, and says which."""
        run, opened = asking.run, asking.opened
        watching = self._replies.measure(
            asking.question, opened.name, run.thread_id, stream=self._settings.stream
        )
        with watching as watched:
            question = asking.question
            if self._settings.trace_providers:
                question = replace(question, trace=watched.trace_context)
            reply = await self._heard(replace(asking, question=question), journal, watched)
            watched.record_reply(reply)
            return reply

    async def _heard(self, asking: _Asking, journal: EventWriter, watched: ReplySpan) -> TurnResult:
        question, patience = asking.question, asking.patience
        journal.on_first_commit = watched.record_first_event
        turn = Turn(
            [tool.name for tool in question.tools],
            lambda: self._mint("call"),
            asking.taken,
            most_bytes=self._settings.max_reply,
            most_calls=self._settings.max_calls,
        )
        clock = asyncio.get_running_loop().time
        silence, moved = patience.first_chunk, 0.0
        began = False
        fault: Exception | None = None
        try:
            async with (
                asyncio.timeout_at(min(clock() + silence, patience.turn_ends)) as deadline,
                aclosing(asking.opened.provider.stream(question)) as stream,
            ):
                async for chunks in stream:
                    now = clock()
                    if chunks and not began:  # a sign of life is not the first chunk
                        began, silence, moved = True, patience.chunk, 0.0
                        watched.record_first_chunk()
                    if now - moved > SLACK:
                        moved = now
                        deadline.reschedule(min(now + silence + SLACK, patience.turn_ends))
                    if chunks:
                        feed = partial(turn.feed, chunks)
                        if large(chunks):
                            await in_thread(feed, journal.write)
                        else:
                            journal.write(feed())
                        if journal.is_behind:
                            await journal.flush()
                    if turn.over:
                        log.warning("run %s: the reply is larger than is taken", asking.run.id)
                        break
        except TimeoutError:
            fault = errors.Stalled("The model said nothing for too long.")
        except (errors.ProviderError, errors.Cut) as raised:
            fault = raised
        close = partial(turn.close, fault)
        return await in_thread(close) if turn.large else close()

    async def _priced(self, reply: TurnResult, model: str) -> TurnResult:
        """The reply with its cost, where the server did not say that itself."""
        usage = _used(reply)
        if usage == Usage() or usage.cost is not None:
            return reply
        cost = await self._cost(model, usage)
        return reply if cost is None else _with_usage(reply, replace(usage, cost=cost))

    def _patience(self, wished: Deadlines, usual: Deadlines) -> _Patience:
        """How long this turn may take, from now on: as the run, its provider, the settings say."""
        settings = self._settings
        chunk = wished.chunk or usual.chunk or settings.chunk_timeout
        lasts = wished.turn or usual.turn or settings.turn_timeout
        first = wished.first_chunk or usual.first_chunk or settings.first_chunk_timeout
        if first is None and not settings.stream:
            first = lasts  # a reply that comes whole begins when it is at its end
        return _Patience(
            chunk=chunk,
            first_chunk=first or chunk,
            turn_ends=asyncio.get_running_loop().time() + lasts,
        )

    async def _fail(self, claim: Claim, fault: Fault) -> None:
        try:
            await self.finalize_conversation(
                claim,
                lambda records: transitions.fail(records, claim.lease.epoch, fault, self._mint),
                turn_log=True,
            )
        except (errors.Fenced, errors.NotFound, errors.TryAgain) as lost:
            log.info("run %s could not be failed: %s", claim.run.id, lost.message)

    async def finalize_conversation(
        self,
        claim: Claim,
        decide: Callable[[Snapshot], ChangeSet],
        *,
        turn_log: bool = False,
        what: str = "finalize",
    ) -> Any:
        """Message, actions, status, events and the thread's new version, in one transaction.

        A whole reply is worth waiting for: while the store is away it is tried again, until
        somebody else has the run. Returns the change's answer. Raises `Fenced`, also where an
        unclear commit had gone through.
        """
        about = ReadSet(owner=None, run_id=claim.run.id, turn_log=turn_log, what=what)
        while True:
            try:
                with self._metrics.measure_store(what):
                    answer = await commit_in_parts(self._store, about, decide)
                break
            except errors.TryAgain as fault:
                log.warning("run %s waits to be finalized: %s", claim.run.id, fault.message)
                await asyncio.sleep(FINALIZE_PAUSE)
        hit(f"{what}.before_wake")
        self._bus.notify(claim.run.id)
        return answer


class _Patience(msgspec.Struct, frozen=True):
    """Seconds that a model may be silent, and when, by the loop's clock, the turn must end."""

    chunk: float
    first_chunk: float
    turn_ends: float


class _Asking(msgspec.Struct, frozen=True):
    """What is asked, of whom, for how long; `taken` are the run's tool call ids so far."""

    run: Run
    opened: ResolvedModel
    question: Question
    taken: frozenset[str]
    patience: _Patience


_NO_TOOLS = Functions(())
_ALL_APPROVED = Rules(allow=("*",))
"""What is due here was approved, or needs no approval."""


_CHANGED = ToolResult(
    "This call was not carried out: the tool has changed since the call was approved.",
    is_error=True,
    fault="refused",
)


async def in_thread(work: Callable[[], T], take: Callable[[T], object] | None = None) -> T:
    """Run the work in a thread, so that the loop serves others meanwhile; wait for its end.

    A caller that is cancelled waits for the end as well, so that nothing is used by two at once.
    `take` is given the result even then: what the work has changed is not to be lost.
    """
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    finally:
        if not working.done():
            await asyncio.wait([working])
        if take is not None and working.exception() is None:
            take(working.result())


def _call(action: Action) -> ToolCall:
    return ToolCall(action.id, action.name, msgspec.json.encode(action.arguments).decode())


def _used(reply: TurnResult) -> Usage:
    return reply.usage or Usage()


def _with_usage(reply: TurnResult, usage: Usage) -> TurnResult:
    """The reply, and this as what it used."""
    told = tuple(event for event in reply.events if not isinstance(event, UsageAdded))
    return replace(reply, usage=usage, events=(*told, UsageAdded(usage=usage)))


def _told(question: Question, why: str) -> Question:
    """The same question, and for this request only a word about what was wrong with the reply."""
    note = (
        f"Your last reply tried to call a tool, and the call could not be used: {why} "
        "Answer again; where you call a tool, use one of the tools offered, with arguments that "
        "are one complete JSON object."
    )
    said = msgspec.json.encode({"role": "user", "content": note})
    return replace(question, messages=b",".join(filter(None, (question.messages, said))))
