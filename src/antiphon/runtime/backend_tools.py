"""Runs the tool calls of a run whose tools are MCP servers of this backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from antiphon.engine import sanitize, transitions
from antiphon.engine.context_window import has_changed
from antiphon.engine.snapshot import ChangeSet, Claim, RunUpdate, Snapshot
from antiphon.ports import RunStore, Toolbox
from antiphon.settings.settings import Settings
from antiphon.telemetry.failpoints import hit
from antiphon.telemetry.metrics import TOOLS, Metrics
from antiphon.telemetry.tracing import Tracer
from antiphon.tools.consent import Approved, Consent, Refused, Tools
from antiphon.tools.permissions import Rules
from antiphon.tools.questions import AskedBy
from antiphon.tools.task_journal import ActionJournal
from antiphon.tools.tool_events import OnToolEvent, ToolEnded, ToolEvent, ignore_event
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.ids import Mint
from antiphon.types.messages import TaskHandle, ToolCall, ToolResult, Upload
from antiphon.types.runs import Action, Run

CALLS_AT_ONCE = 1_000  # actions in one page; further pages follow


class Finalize(Protocol):
    """Commits a change of a claimed run, as `TurnRunner.finalize_conversation`."""

    async def __call__(
        self, claim: Claim, decide: Callable[[Snapshot], ChangeSet], *, what: str
    ) -> Any:
        """Return the answer of the change. Raises `Fenced`."""
        ...


class BackendToolRunner:
    """Runs the calls that no client runs, and saves their results with `finalize`."""

    def __init__(
        self,
        store: RunStore,
        settings: Settings,
        mint: Mint,
        metrics: Metrics,
        tracer: Tracer,
        finalize: Finalize,
    ) -> None:
        self._store = store
        self._settings = settings
        self._mint = mint
        self._metrics = metrics
        self._tracer = tracer
        self._finalize = finalize

    async def run_due_calls(self, claim: Claim, toolbox: Toolbox) -> Claim:
        """Run the last reply's calls that run here; return the claim with the updated run.

        A call is run at least once. Its action's unique id tells the server that a repeated call is
        the same. A call that has a task at its server is not repeated: the task is followed.
        """
        while due := await self._find_due_actions(claim.run):
            for action in [each for each in due.values() if has_changed(each, toolbox.tools())]:
                claim = await self._save_result(claim, due.pop(action.id), _CHANGED)
            processor = ToolProcessor(
                toolbox,
                consent=_ApprovedActions(due),
                at_once=self._settings.max_parallel_tools,
                seconds=self._settings.tool_timeout,
                keep=partial(self._save_file, claim.owner),
                on_tool_event=self._record_tool,
                tracer=self._tracer,
            )
            hit("tools.before_call")
            calls = [
                ToolCall(each.id, each.name, msgspec.json.encode(each.arguments).decode())
                for each in due.values()
            ]
            outcomes = processor.process_tool_calls(
                claim.run.id,
                calls,
                thread_id=claim.run.thread_id,
                journal=self._create_journal(claim, due),
            )
            async with aclosing(outcomes) as results:
                async for call, result in results:
                    claim = await self._save_result(claim, due[call.id], result)
        return claim

    def _create_journal(self, claim: Claim, due: Mapping[str, Action]) -> ActionJournal:
        """Return a journal that keeps tasks of MCP servers with these actions, by their ids."""
        call_ids = {action.id: action.tool_call_id for action in due.values()}

        async def save(action_id: str, handle: TaskHandle) -> None:
            await self._finalize(
                claim,
                lambda records: transitions.save_task(
                    records, claim.lease.epoch, call_ids[action_id], handle, self._mint
                ),
                what="save_task",
            )

        async def is_open(action_id: str) -> bool:
            return (await self._store.get(Action, claim.owner, action_id)).status == "pending"

        saved = {action.id: action.task for action in due.values() if action.task is not None}
        return ActionJournal(saved, save, is_open)

    def _record_tool(self, event: ToolEvent) -> None:
        if isinstance(event, ToolEnded):
            outcome = event.result.fault or "done"
            self._metrics.observe(TOOLS, event.seconds, "server", outcome)

    async def _find_due_actions(self, run: Run) -> dict[str, Action]:
        """Return the actions to run here, by id; none before the first reply."""
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
        written: RunUpdate = await self._finalize(
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
        return replace(claim, run=written.run, lease=written.lease)

    async def _save_file(self, owner: str, name: str, media_type: str, content: bytes) -> str:
        upload = Upload(
            id=self._mint("file"),
            name=sanitize.validate_file_name(name),
            media_type=sanitize.parse_media_type(media_type),
            size=len(content),
            created_at=await self._store.now(),
        )
        await self._store.put(owner, upload, None, content)
        return upload.id


_ALL_APPROVED = Rules(allow=("*",))
"""The consent for calls that run here: each was approved, or needs no approval."""


class _ApprovedActions(Consent):
    """Permits the calls of these actions, by id, as long as the tool is the one that was approved.

    It may change while a call waits for a slot or for its server.
    """

    def __init__(self, actions: Mapping[str, Action]) -> None:
        super().__init__(_ALL_APPROVED)
        self._approved = actions

    async def permit(
        self,
        run_id: str,
        call: ToolCall,
        tools: Tools,
        watch: OnToolEvent = ignore_event,
        asked_by: AskedBy | None = None,
        reason: str = "",
    ) -> Approved | Refused:
        """See `Consent.permit`."""
        action = self._approved.get(call.id)
        if action is not None and has_changed(action, tools()):
            return Refused(_CHANGED)
        return await super().permit(run_id, call, tools, watch, asked_by, reason)


_CHANGED = ToolResult(
    "This call was not carried out: the tool has changed since the call was approved.",
    is_error=True,
    fault="refused",
)
