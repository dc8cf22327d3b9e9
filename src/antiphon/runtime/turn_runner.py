"""Runs the turns of a claimed run: context, request, reply, log, and the transition at the end.

Log, then send: an event is appended to the store first, and readers are notified only of stored
events. The store batches appends, so that a fast model costs few transactions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from antiphon.engine import transitions
from antiphon.engine.context_window import (
    Context,
    ToolSelection,
    cut_to_window,
    join_continued,
    list_tools,
    select_tools,
)
from antiphon.engine.instructions import compose_instructions
from antiphon.engine.seam import make_rest_prompt
from antiphon.engine.snapshot import ChangeSet, Claim, ReadSet, RunUpdate, Snapshot
from antiphon.engine.turn import Turn, TurnResult, are_slow_to_feed
from antiphon.ports import ACTIONS, Bus, DocumentStores, ResolvedModel, Toolbox
from antiphon.runtime.attachments import inline_attachments
from antiphon.runtime.backend_servers import BackendServers
from antiphon.runtime.backend_tools import BackendToolRunner
from antiphon.runtime.destinations import WrongDestination, check_destination
from antiphon.runtime.event_writer import EventWriter
from antiphon.runtime.notify import commit_in_parts
from antiphon.runtime.reply_metrics import ReplyMetrics, ReplySpan
from antiphon.settings.settings import Settings
from antiphon.telemetry import genai
from antiphon.telemetry.failpoints import hit
from antiphon.telemetry.logs import UserContent, log_context
from antiphon.telemetry.metrics import TURNS, Metrics
from antiphon.telemetry.tracing import NO_TRACES, ROOT, Tracer, current_span
from antiphon.tools.functions import Functions
from antiphon.types import errors
from antiphon.types.chunks import Chunk, ModelRequest
from antiphon.types.events import ToolsListed, UsageAdded
from antiphon.types.ids import Mint
from antiphon.types.messages import Message
from antiphon.types.runs import Deadlines, Fault, Run, Status, Usage

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_CORRECTIONS = 2  # requests after a broken tool call, with a note about what was wrong
FINALIZE_PAUSE = 0.5  # seconds between attempts to store a reply while the store is unavailable
MAX_CUT_MESSAGES = 50  # messages that are read of one answer, which may be cut repeatedly
DEADLINE_STEP = 0.5  # seconds: the deadline moves at most so often, and is later by as much


class ModelResolver(Protocol):
    """Resolves a model's name to a provider."""

    async def open(self, model: str, owner: str) -> ResolvedModel:
        """Return the provider for runs of this owner, and its terms. Raises `BadSettings`."""
        ...


Cost = Callable[[str, Usage], Awaitable[float | None]]
"""Cost of a model's reply in US dollars, from its usage; None where unknown. Never raises."""


async def no_cost(model: str, usage: Usage) -> float | None:
    """Return None: there are no prices."""
    return None


class TurnRunner:
    """Runs claimed runs; shares nothing between them."""

    def __init__(
        self,
        store: DocumentStores,
        bus: Bus,
        models: ModelResolver,
        settings: Settings,
        mint: Mint,
        servers: BackendServers,
        cost: Cost = no_cost,
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
        self._tools = BackendToolRunner(
            store, settings, mint, self._metrics, tracer, self.finalize_conversation
        )

    async def run(self, claim: Claim) -> Run | None:
        """Run the claimed run until it rests, ends, or is claimed by another worker.

        Each turn asks the model, stores the reply, and runs the tools whose calls run here. Nothing
        of the run stays in memory afterwards. Returns the run as it was stored last, None if an
        error ended it here. Raises `WrongDestination` for a run that must not be run from here.
        """
        with log_context(run_id=claim.run.id, thread_id=claim.run.thread_id):
            return await self._run_with_error_handling(claim)

    async def _run_with_error_handling(self, claim: Claim) -> Run | None:
        try:
            parent = claim.lease.trace or ROOT
            facts = genai.agent_attributes(claim.run)
            with current_span(self._tracer, "invoke_agent", parent=parent, facts=facts):
                return await self._run_turns(claim)
        except errors.Fenced:
            log.info("run %s is in other hands now", claim.run.id)
        except WrongDestination:
            raise
        except errors.TryAgain as fault:
            # The lease runs out, and the next worker continues the run.
            log.warning("run %s: %s", claim.run.id, fault.message)
        except errors.AntiphonError as fault:
            await self._fail_run(claim, Fault(fault.code, fault.message))
        except Exception:  # a provider of a plugin may raise anything
            log.exception("run %s failed by an error of this program", claim.run.id)
            await self._fail_run(claim, Fault("internal", "Something went wrong in this runtime."))
        return None

    async def _run_turns(self, claim: Claim) -> Run:
        if not claim.run.mcp_servers:
            return (await self._run_turn(claim, _NO_TOOLS)).run
        async with self._servers.hold(claim.owner, claim.run.mcp_servers) as toolbox:
            while claim.run.status is Status.IN_PROGRESS:
                claim = await self._run_turn(
                    await self._tools.run_due_calls(claim, toolbox), toolbox
                )
        return claim.run

    async def _run_turn(self, claim: Claim, toolbox: Toolbox) -> Claim:
        """Request and store one reply; return the claim with the updated run."""
        opened = await self._models.open(claim.run.model, claim.owner)
        check_destination(claim, opened)
        offered = select_tools(claim.run, toolbox.tools())
        # An id of a call is unique in its run.
        used_ids = frozenset[str]()
        if claim.run.turn > 1:
            used_ids = await self._store.call_ids(claim.run.id)
        cut = await self._find_cut_reply(claim)
        prepared = _PreparedRequest(
            claim.run,
            opened,
            await self._build_request(claim, opened.model, offered, cut),
            used_ids,
            await self._find_timeouts(claim.run, opened.deadlines),
            cut,
        )
        writer = EventWriter(self._store, self._bus, claim, self._metrics)
        listings = list_tools(claim.run, toolbox.tools())
        if listings:
            writer.write([ToolsListed(listings=listings)])
        reply = await self._request_with_retry(prepared, writer)
        self._metrics.add(TURNS, reply.outcome)
        written: RunUpdate = await self.finalize_conversation(
            claim,
            lambda records: transitions.finish(
                records,
                claim.lease.epoch,
                reply,
                self._mint,
                turn=claim.run.turn,
                last_event=writer.last,
                hosted=offered.hosted,
                listings=listings,
            ),
        )
        if written.run.status is Status.ACTION_REQUIRED:
            self._bus.notify(ACTIONS)
        return replace(claim, run=written.run, lease=written.lease)

    async def _request_with_retry(
        self, prepared: _PreparedRequest, writer: EventWriter
    ) -> TurnResult:
        """Return the reply; after a broken tool call, tell the model what was wrong and ask again.

        The usage of discarded replies is added to that of the returned one.
        """
        tries_left = MAX_CORRECTIONS
        used = Usage()
        while True:
            began_after = writer.last
            hit("turn.before_request")
            reply = await self._request_traced(prepared, writer)
            reply = await self._add_cost(reply, prepared.run.model)
            if reply.outcome != "invalid_tool_call" or not tries_left:
                return reply if used == Usage() else _with_usage(reply, used + _used(reply))
            tries_left -= 1
            used += _used(reply)
            why = reply.fault.message if reply.fault else "The tool call could not be read."
            log.info("a broken tool call: %s", UserContent(reply.broken or ""))
            writer.restart("invalid_tool_call", began_after, why)
            prepared = replace(prepared, request=_with_correction(prepared.request, why))

    async def _build_request(
        self, claim: Claim, model: str, offered: ToolSelection, cut: str
    ) -> ModelRequest:
        run = claim.run
        begun_with = claim.change.thread if claim.change is not None else None
        context = await self.set_up_context(
            run.thread_id,
            force_refresh=run.turn > 1 or claim.lease.fresh,
            version=begun_with.version if begun_with is not None else None,
        )
        chat = join_continued(cut_to_window(context, self._settings.context_tokens))
        request = ModelRequest(
            model=model,
            messages=await inline_attachments(chat, self._store, claim.owner),
            instructions=compose_instructions(run),
            tools=offered.tools,
            sampling=offered.sampling,
            run_id=run.id,
            turn=run.turn,
        )
        return _with_note(request, make_rest_prompt(cut)) if cut else request

    async def _find_cut_reply(self, claim: Claim) -> str:
        """Return the text of the cut answer that this turn continues; "" if it continues none."""
        run = claim.run
        if not run.continues or run.turn > 1:
            return ""
        page = await self._store.list(
            Message, claim.owner, limit=MAX_CUT_MESSAGES, order="newest", thread_id=run.thread_id
        )
        text = ""
        for message in reversed(page.data):  # as the model wrote it, so not joined for readers
            text = text + message.text if message.continues is True else message.text
        return text if page.data[0].role == "assistant" else ""

    async def set_up_context(
        self, thread_id: str, *, force_refresh: bool, version: int | None = None
    ) -> Context:
        """Return the thread's history; after a hand-off it bypasses every cache.

        `version` is the thread's version if the change that claimed the run wrote it: until the run
        has ended, nothing else is added to the thread.
        """
        return await self._store.context(thread_id, fresh=force_refresh, version=version)

    async def _request_traced(self, prepared: _PreparedRequest, writer: EventWriter) -> TurnResult:
        """Send one request in a span of its own; return the reply: whole, cut or an error."""
        run, opened = prepared.run, prepared.opened
        watching = self._replies.measure(
            prepared.request, opened.name, run.thread_id, stream=self._settings.stream
        )
        with watching as reply_span:
            request = prepared.request
            if self._settings.propagate_trace_to_providers:
                request = replace(request, trace=reply_span.trace_context)
            reply = await self._stream_reply(replace(prepared, request=request), writer, reply_span)
            reply_span.record_reply(reply)
            return reply

    async def _stream_reply(
        self, prepared: _PreparedRequest, writer: EventWriter, reply_span: ReplySpan
    ) -> TurnResult:
        request, timeouts = prepared.request, prepared.timeouts
        writer.call_on_next_commit(reply_span.record_first_event)
        turn = Turn(
            [tool.name for tool in request.tools],
            lambda: self._mint("call"),
            prepared.used_call_ids,
            most_bytes=self._settings.max_reply,
            most_calls=self._settings.max_calls,
            continues=prepared.continues,
        )
        clock = asyncio.get_running_loop().time
        silence, moved_at = timeouts.first_chunk, 0.0
        began = False

        def move_deadline() -> None:
            nonlocal moved_at
            now = clock()
            if now - moved_at > DEADLINE_STEP:
                moved_at = now
                deadline.reschedule(min(now + silence + DEADLINE_STEP, timeouts.turn_ends))

        def feed_now(chunks: Sequence[Chunk]) -> bool:
            if not began or turn.over or writer.is_behind or are_slow_to_feed(chunks):
                return False
            move_deadline()
            writer.write(turn.feed(chunks, clock()))
            return True

        fault: Exception | None = None
        try:
            async with (
                asyncio.timeout_at(min(clock() + silence, timeouts.turn_ends)) as deadline,
                aclosing(prepared.opened.provider.stream(request, feed_now)) as stream,
            ):
                async for chunks in stream:
                    if chunks and not began:  # a sign of life is not the first chunk
                        began, silence, moved_at = True, timeouts.chunk, 0.0
                        reply_span.record_first_chunk()
                        hit("turn.after_first_chunk")
                    move_deadline()
                    if chunks:
                        feed = partial(turn.feed, chunks, clock())
                        if are_slow_to_feed(chunks):
                            await wait_in_thread(feed, writer.write)
                        else:
                            writer.write(feed())
                        if writer.is_behind:
                            await writer.flush()
                    if turn.over:
                        log.warning("run %s: the reply is larger than is taken", prepared.run.id)
                        break
        except TimeoutError:
            fault = errors.Stalled("The model sent nothing for too long.")
        except (errors.ProviderError, errors.Cut) as raised:
            fault = raised
        close = partial(turn.close, fault, clock())
        return await wait_in_thread(close) if turn.is_large else close()

    async def _add_cost(self, reply: TurnResult, model: str) -> TurnResult:
        """Return the reply with its cost, where the server did not report one."""
        usage = _used(reply)
        if usage == Usage() or usage.cost is not None:
            return reply
        cost = await self._cost(model, usage)
        return reply if cost is None else _with_usage(reply, replace(usage, cost=cost))

    async def _find_timeouts(self, run: Run, provider: Deadlines) -> _TurnTimeouts:
        """Return the timeouts of this turn, from the run, its provider, then the settings."""
        settings, own = self._settings, run.deadlines
        chunk = own.chunk or provider.chunk or settings.chunk_timeout
        lasts = own.turn or provider.turn or settings.turn_timeout
        if run.ends_by is not None:
            lasts = min(lasts, (run.ends_by - await self._store.now()) / 1000)
        first = own.first_chunk or provider.first_chunk or settings.first_chunk_timeout
        if first is None and not settings.stream:
            first = lasts  # a reply that is not streamed begins at its end
        return _TurnTimeouts(
            chunk=chunk,
            first_chunk=first or chunk,
            turn_ends=asyncio.get_running_loop().time() + lasts,
        )

    async def _fail_run(self, claim: Claim, fault: Fault) -> None:
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
        """Store message, actions, status, events and the thread's new version in one transaction.

        While the store is unavailable the commit is retried, until another worker has the run: a
        whole reply is worth the wait. Returns the change's answer. Raises `Fenced`, also where an
        uncertain commit had succeeded.
        """
        read_set = ReadSet(owner=None, run_id=claim.run.id, turn_log=turn_log, what=what)
        while True:
            try:
                with self._metrics.measure_store(what):
                    answer = await commit_in_parts(self._store, self._bus, read_set, decide)
                break
            except errors.TryAgain as fault:
                log.warning("run %s waits to be finalized: %s", claim.run.id, fault.message)
                await asyncio.sleep(FINALIZE_PAUSE)
        hit(f"{what}.before_wake")
        self._bus.notify(claim.run.id)
        return answer


class _TurnTimeouts(msgspec.Struct, frozen=True):
    """Seconds that a model may be silent, and the loop time at which the turn must end."""

    chunk: float
    first_chunk: float
    turn_ends: float


class _PreparedRequest(msgspec.Struct, frozen=True):
    """A request and its context; `used_call_ids` are the run's tool call ids so far.

    `continues` is the text of the cut answer that the reply continues, "" for none.
    """

    run: Run
    opened: ResolvedModel
    request: ModelRequest
    used_call_ids: frozenset[str]
    timeouts: _TurnTimeouts
    continues: str


_NO_TOOLS = Functions(())


async def wait_in_thread(work: Callable[[], T], take: Callable[[T], object] | None = None) -> T:
    """Run the work in a thread and wait for its end, even if the caller is cancelled.

    So nothing is used by a thread and a task at once. `take` receives the result in any case, so
    that it is not lost.
    """
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    finally:
        if not working.done():
            await asyncio.wait([working])
        if take is not None and working.exception() is None:
            take(working.result())


def _used(reply: TurnResult) -> Usage:
    return reply.usage or Usage()


def _with_usage(reply: TurnResult, usage: Usage) -> TurnResult:
    """Return the reply with this usage."""
    others = tuple(event for event in reply.events if not isinstance(event, UsageAdded))
    return replace(reply, usage=usage, events=(*others, UsageAdded(usage=usage)))


def _with_correction(request: ModelRequest, why: str) -> ModelRequest:
    """Return the request with a note about what was wrong with the last reply."""
    note = (
        f"Your last reply tried to call a tool, and the call could not be used: {why} "
        "Answer again; where you call a tool, use one of the tools offered, with arguments that "
        "are one complete JSON object."
    )
    return _with_note(request, note)


def _with_note(request: ModelRequest, note: str) -> ModelRequest:
    """Return the request with a message that is not part of the thread."""
    message = msgspec.json.encode({"role": "user", "content": note})
    return replace(request, messages=b",".join(filter(None, (request.messages, message))))
