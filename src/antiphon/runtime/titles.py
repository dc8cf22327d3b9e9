"""Titles of threads by a model, in place of the ones made from their first messages."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from functools import partial

from msgspec.structs import replace

from antiphon.engine import titles
from antiphon.engine.snapshot import Claim, ReadSet, RequestUsage
from antiphon.engine.turn import Turn, TurnResult
from antiphon.ports import ResolvedModel, RunStore
from antiphon.runtime.destinations import check_destination
from antiphon.runtime.reply_metrics import ReplyMetrics
from antiphon.runtime.turn_runner import Cost, ModelResolver, no_cost
from antiphon.settings.settings import OWN_MODEL, Settings
from antiphon.telemetry.logs import log_context
from antiphon.telemetry.metrics import Metrics
from antiphon.telemetry.tracing import NO_TRACES, ROOT, Tracer, current_span
from antiphon.types import errors
from antiphon.types.chunks import ModelRequest
from antiphon.types.ids import Mint
from antiphon.types.messages import Message
from antiphon.types.runs import Run, Status, Thread

log = logging.getLogger(__name__)

SECONDS = 30.0
"""The longest that a model may take for a title."""
MOST_TITLES = 8
"""Most requests for titles of one process at once; a further thread keeps its own title."""
MESSAGES_READ = 20
MOST_BYTES = 20_000


class TitleWriter:
    """Asks for titles in the background, each once; a failure leaves the thread as it is.

    The text goes where the run's went: to the model of the setting `title_model` if it is of the
    same provider with the same key, else to the run's own model.
    """

    def __init__(
        self,
        store: RunStore,
        models: ModelResolver,
        settings: Settings,
        mint: Mint,
        cost: Cost = no_cost,
        metrics: Metrics | None = None,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self._store = store
        self._models = models
        self._settings = settings
        self._mint = mint
        self._cost = cost
        self._tracer = tracer
        self._replies = ReplyMetrics(metrics or Metrics(), tracer)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, claim: Claim, run: Run) -> None:
        """Ask for a title of the run's thread, if it has completed and titles are wanted."""
        wanted = self._settings.title_model
        if not wanted or run.status is not Status.COMPLETED or len(self._tasks) >= MOST_TITLES:
            return
        writing = asyncio.create_task(self._write(claim, run, wanted), name=f"title {run.id}")
        self._tasks.add(writing)
        writing.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel the titles that are being written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self, claim: Claim, run: Run, wanted: str) -> None:
        with log_context(run_id=run.id, thread_id=run.thread_id):
            try:
                parent = claim.lease.trace or ROOT
                with current_span(self._tracer, "write_title", parent=parent, facts={}):
                    await self._write_title(claim, run, wanted)
            except errors.AntiphonError as fault:
                log.info("no title for thread %s: %s", run.thread_id, fault.message)
            except Exception:  # a provider of a plugin may raise anything
                log.exception("internal error while writing the title of thread %s", run.thread_id)

    async def _write_title(self, claim: Claim, run: Run, wanted: str) -> None:
        read_set = ReadSet(owner=claim.owner, thread_id=run.thread_id, what="title")
        thread: Thread | None = (await self._store.change(read_set, titles.claim_title)).answer
        if thread is None:
            return
        page = await self._store.list(
            Message, claim.owner, limit=MESSAGES_READ, thread_id=run.thread_id
        )
        model, opened = await self._open(claim, wanted)
        request = titles.build_request(
            opened.model, page.data, run.id, limited="max_output_tokens" not in opened.lacks
        )
        if request is None:
            return
        reply = await self._ask(request, opened, thread.id)
        used = None
        if reply.usage is not None:
            cost = reply.usage.cost
            if cost is None:
                cost = await self._cost(model, reply.usage)
            used = RequestUsage(model, replace(reply.usage, cost=cost), claim.lease.key_id)
        title = titles.clean_title(reply.text) if reply.outcome == "completed" else ""
        change = partial(titles.set_title, claimed=thread, title=title, usage=used)
        await self._store.change(read_set, change)

    async def _open(self, claim: Claim, wanted: str) -> tuple[str, ResolvedModel]:
        """Return the model to ask, and its name."""
        own = await self._models.open(claim.run.model, claim.owner)
        check_destination(claim, own)
        if wanted in (OWN_MODEL, claim.run.model):
            return claim.run.model, own
        try:
            other = await self._models.open(wanted, claim.owner)
        except errors.AntiphonError as fault:
            log.info("title_model %s cannot be asked: %s", wanted, fault.message)
            return claim.run.model, own
        if _is_same_place(own, other):
            return wanted, other
        return claim.run.model, own

    async def _ask(
        self, request: ModelRequest, opened: ResolvedModel, thread_id: str
    ) -> TurnResult:
        turn = Turn([], lambda: self._mint("call"), most_bytes=MOST_BYTES, most_calls=1)
        fault: Exception | None = None
        with self._replies.measure(request, opened.name, thread_id, stream=True) as span:
            try:
                async with (
                    asyncio.timeout(SECONDS),
                    aclosing(opened.provider.stream(request)) as stream,
                ):
                    async for chunks in stream:
                        turn.feed(chunks)
                        if turn.over:
                            break
            except TimeoutError:
                fault = errors.Stalled("The model took too long for a title.")
            except (errors.ProviderError, errors.Cut) as raised:
                fault = raised
            reply = turn.close(fault)
            span.record_reply(reply)
        return reply


def _is_same_place(one: ResolvedModel, other: ResolvedModel) -> bool:
    """Return whether text for both models is sent to the same server with the same key."""
    if one.destination is None or other.destination is None:
        return False
    return replace(one.destination, servers=()) == replace(other.destination, servers=())
