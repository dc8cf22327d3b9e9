"""Execution of the tool calls of a turn.

A call first gets consent, and holds no slot meanwhile. Then it waits for a slot of the gate, and
its tool runs under a deadline. Every outcome is a result.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TypedDict, cast

from msgspec.structs import replace

from antiphon.engine import sanitize
from antiphon.ports import Toolbox
from antiphon.settings.deprecated import resolve_argument
from antiphon.telemetry import genai
from antiphon.telemetry.tracing import NO_TRACES, Tracer, current_span
from antiphon.tools.argument_check import find_argument_errors
from antiphon.tools.authorization import CallAuthorizer
from antiphon.tools.consent import Approved, Consent, Refused, approval_output, find_tool
from antiphon.tools.context import RunLookup, name_run
from antiphon.tools.deadlines import is_task_cancelled
from antiphon.tools.excerpts import CHARACTERS, truncate
from antiphon.tools.gate import AT_ONCE, SECONDS, Gate
from antiphon.tools.hooks import NO_HOOKS, ToolHooks
from antiphon.tools.permitted_call import ToolChanged, record_permission
from antiphon.tools.questions import AskedBy, AskUser
from antiphon.tools.task_journal import (
    NO_JOURNAL,
    LoopJournal,
    TaskJournal,
    current_journal,
    use_journal,
)
from antiphon.tools.tool_events import (
    OnToolEvent,
    ToolAwaited,
    ToolBegan,
    ToolEnded,
    ToolEvent,
    ToolProgressed,
    ignore_event,
)
from antiphon.tools.tool_manager import StartingToolbox, TaskToolbox
from antiphon.types.errors import AntiphonError, InvalidRequest
from antiphon.types.messages import MAX_FILES, Blob, Progress, Tool, ToolCall, ToolResult

log = logging.getLogger(__name__)

ARRIVAL_SECONDS = 30.0
"""Time that a call waits for its starting MCP server before it fails."""

SaveFile = Callable[[str, str, bytes], Awaitable[str]]
"""Saves a file for the person: its name, media type and bytes; returns its id."""


class ProcessorOptions(TypedDict, total=False):
    """Keyword options of a `ToolProcessor` that do not come from its client."""

    consent: Consent | None
    hooks: ToolHooks | None
    at_once: int
    seconds: float
    on_tool_event: OnToolEvent
    ask_user: AskUser | None


class ToolProcessor:
    """Runs calls concurrently, at most `at_once` of them, each for at most `seconds`.

    Outputs longer than `most` characters are truncated for the model. `keep` receives the tool's
    files, and the whole of a long output. `on_tool_event` receives events; `watch` is its
    deprecated name. `asked_by` returns the model server of a run, to which consent is bound.
    `ask_user` and `lookup` serve the `ToolContext` of the tools. `hooks` run before consent, and
    after each tool that ran; at most `at_once` at a time.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        *,
        consent: Consent | None = None,
        hooks: ToolHooks | None = None,
        at_once: int = AT_ONCE,
        seconds: float = SECONDS,
        most: int = CHARACTERS,
        keep: SaveFile | None = None,
        on_tool_event: OnToolEvent = ignore_event,
        tracer: Tracer = NO_TRACES,
        asked_by: AskedBy | None = None,
        ask_user: AskUser | None = None,
        lookup: RunLookup | None = None,
        watch: OnToolEvent | None = None,
    ) -> None:
        self._toolbox = toolbox
        self._ask_user = ask_user
        self._lookup = lookup
        if type(at_once) is not int or at_once < 1:
            raise InvalidRequest(
                "Tools cannot run so many at once.",
                expected="max_tools of 1 or more",
                received=repr(at_once)[:100],
            )
        if not isinstance(cast("object", consent), Consent | None):
            raise InvalidRequest(
                "That is no Consent.",
                expected="Consent(asker=...), or None",
                received=repr(consent)[:100],
            )
        if not isinstance(cast("object", hooks), ToolHooks | None):
            raise InvalidRequest(
                "These are no ToolHooks.",
                expected="ToolHooks([Hook(...)]), or None",
                received=repr(hooks)[:100],
            )
        self._authorizer = CallAuthorizer(
            consent or Consent(),
            hooks or NO_HOOKS,
            at_once=at_once,
            asked_by=asked_by,
        )
        self._gate = Gate(toolbox, at_once=at_once, seconds=seconds)
        self._most = most
        self._keep = keep
        self._on_tool_event = resolve_argument("watch", watch, "on_tool_event", on_tool_event)
        self._tracer = tracer
        self._tasks: dict[str, asyncio.Task[ToolResult]] = {}
        self._stopped: set[str] = set()
        self._started: dict[str, tuple[ToolCall, Tool, float]] = {}

    async def process_tool_calls(
        self,
        run_id: str,
        calls: Iterable[ToolCall],
        approvals: Iterable[tuple[ToolCall, Tool]] = (),
        trace: str | None = None,
        thread_id: str | None = None,
        attempt: int = 1,
        journal: TaskJournal = NO_JOURNAL,
    ) -> AsyncGenerator[tuple[ToolCall, ToolResult], None]:
        """Yield each call with its result, as they complete; closing cancels the rest.

        `approvals` are calls that run elsewhere, of tools that are not ours: their result is the
        decision of consent. `trace` is the parent of their spans, if it is not the current one.
        Tools learn the run, its thread and the `attempt` from their `ToolContext`. Tasks of MCP
        servers are kept in the `journal`.
        """
        calls = tuple(calls)
        call_ids = {call.id for call in calls}
        # Each task keeps the context of its creation.
        with (
            name_run(run_id, thread_id, attempt, self._ask_user, self._lookup),
            use_journal(LoopJournal(journal, call_ids, self._stopped)),
        ):
            tasks = [
                *(
                    asyncio.create_task(self._run_single_call(run_id, call, trace))
                    for call in calls
                ),
                *(asyncio.create_task(self._approve(run_id, *each)) for each in approvals),
            ]
        try:
            for ready in asyncio.as_completed(tasks):
                yield await ready
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def cancel(self, tool_call_id: str) -> bool:
        """Cancel one call, on any thread; return False if it is not in progress.

        A call that waits for consent or for a slot is in progress.
        """
        task = self._tasks.get(tool_call_id)
        if task is None or task.done():
            return False
        self._stopped.add(tool_call_id)
        with suppress(RuntimeError):  # its loop has ended, and the call with it
            task.get_loop().call_soon_threadsafe(task.cancel)
        return True

    def _report(self, event: ToolEvent) -> None:
        """Report an event; an error of the callback does not touch the call."""
        try:
            self._on_tool_event(event)
        except Exception:  # raised by the program's own code
            log.exception("on_tool_event raised at %s", type(event).__name__)

    async def _run_single_call(
        self, run_id: str, call: ToolCall, trace: str | None
    ) -> tuple[ToolCall, ToolResult]:
        task = asyncio.create_task(self._run_with_consent(run_id, call, trace))
        self._tasks[call.id] = task
        try:
            result = await task
        except asyncio.CancelledError:
            if is_task_cancelled():
                raise
            result = ToolResult(
                "The user stopped this call; it may or may not have been carried out.",
                is_error=True,
                fault="cancelled",
            )
        finally:
            self._tasks.pop(call.id, None)
            self._stopped.discard(call.id)
            started = self._started.pop(call.id, None)
        seconds = 0.0
        if started is not None:
            ran, tool, since = started
            seconds = _now() - since
            result = await self._run_after_hooks(ran, tool, result)
        self._report(ToolEnded(call.id, result, seconds))
        return call, await self._for_submission(call, result)

    async def _approve(
        self, run_id: str, call: ToolCall, tool: Tool
    ) -> tuple[ToolCall, ToolResult]:
        decision = await self._authorizer.authorize(run_id, call, lambda: (tool,), self._report)
        return call, approval_output(decision)

    async def _run_after_hooks(self, call: ToolCall, tool: Tool, result: ToolResult) -> ToolResult:
        """Return the result as the hooks leave it; unchanged if the user stops the hooks.

        `tool` is the tool as it was when it ran: its server may have removed it since.
        """
        if not self._authorizer.has_after_hooks(tool, result):
            return result
        task = asyncio.create_task(
            self._authorizer.run_after_hooks(call, tool, result, self._report)
        )
        self._tasks[call.id] = task
        try:
            return await task
        except asyncio.CancelledError:
            if is_task_cancelled():
                raise
            return result
        finally:
            self._tasks.pop(call.id, None)

    async def _run_with_consent(self, run_id: str, call: ToolCall, trace: str | None) -> ToolResult:
        """Get consent, then a slot, then run. If the tool changes meanwhile, begin again."""
        await self._wait_for_tool(call)
        while True:
            if (wrong := self._check_arguments(call)) is not None:
                return wrong
            decision = await self._authorizer.authorize(
                run_id, call, self._toolbox.tools, self._report
            )
            if isinstance(decision, Refused):
                # Another process may have started a task of an MCP server for it.
                handle = await current_journal().find(call.id)
                if handle is not None and isinstance(self._toolbox, TaskToolbox):
                    await self._toolbox.cancel_task(handle)
                return decision.result
            async with self._gate.slot():
                if decision.holds(self._toolbox.tools()):
                    with suppress(ToolChanged):
                        return await self._run_traced(run_id, decision, trace)

    async def _wait_for_tool(self, call: ToolCall) -> None:
        """Wait for the tool of a call if its server is starting, as after a restart."""
        toolbox = self._toolbox
        if not isinstance(toolbox, StartingToolbox):
            return
        toolbox.retry(call.name)
        if servers := toolbox.starting(call.name):
            self._report(ToolAwaited(call, servers))
            await toolbox.arrival(call.name, ARRIVAL_SECONDS)

    def _check_arguments(self, call: ToolCall) -> ToolResult | None:
        """Return a result if the arguments are invalid; most functions validate their own."""
        tool = find_tool(call.name, self._toolbox.tools())
        if tool.check is not None and (why := tool.check(call)):
            return ToolResult(why, is_error=True, fault="refused")
        if tool.server is None:
            return None
        wrong = find_argument_errors(call.arguments, tool.spec.parameters)
        if wrong is None:
            return None
        return ToolResult(wrong, is_error=True, fault="invalid_arguments")

    async def _run_traced(self, run_id: str, permitted: Approved, trace: str | None) -> ToolResult:
        """Run the tool within a span."""
        call, tracer = permitted.call, self._tracer
        name, facts = (
            genai.span_name("execute_tool", call.name),
            genai.tool_attributes(call, run_id),
        )
        with current_span(tracer, name, parent=trace, facts=facts) as span:
            result = await self._run_in_gate(permitted)
            if result.is_error:
                span.set_error(result.fault or "failed")
            if tracer.content:
                span.set_attributes(genai.tool_content(call, result))
            return result

    async def _run_in_gate(self, permitted: Approved) -> ToolResult:
        call = permitted.call

        def report_progress(progress: Progress) -> None:
            if call.id in self._tasks:  # an abandoned tool may still report progress
                self._report(ToolProgressed(call.id, progress))

        def begin() -> None:
            tools = tuple(self._toolbox.tools())
            record_permission(permitted, tools)
            self._report(ToolBegan(call))
            self._started[call.id] = (call, find_tool(call.name, tools), _now())

        try:
            result = await self._gate.run(call, report_progress, begin)
        except ToolChanged:  # it was not sent
            self._started.pop(call.id, None)
            raise
        if permitted.edited or permitted.hooked:
            by = "The user" if permitted.edited else "A hook"
            note = f"[{by} changed the arguments to {call.arguments}]\n"
            return replace(result, output=note + result.output, arguments=call.arguments)
        return result

    async def _for_submission(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """Return the result to submit: the model's text, and the ids of saved files."""
        blobs = [each for each in result.content if isinstance(each, Blob)]
        room = MAX_FILES - 1 - len(result.files)  # one place is kept for the whole output
        kept_blobs = blobs[: max(0, room)]
        files = [
            await self._save_file(each.name or f"{call.name}-{count}", each.media_type, each.data)
            for count, each in enumerate(kept_blobs, 1)
        ]
        output = sanitize.sanitize_text(result.output)
        if len(output) > self._most:
            whole = await self._save_file(f"{call.name}.txt", "text/plain", output.encode())
            files.append(whole)
            where = "The user has the whole." if whole else "The rest could not be saved."
            output = truncate(output, self._most, where)
        if left_out := len(blobs) - len(kept_blobs):
            output += f"\n[{left_out} more files were left out: they were too many.]"
        return replace(
            result,
            output=output,
            files=(*result.files, *(each for each in files if each is not None)),
        )

    async def _save_file(self, name: str, media_type: str, content: bytes) -> str | None:
        """Save a file; return its id, or None if that fails: the result matters more."""
        if self._keep is None:
            return None
        try:
            return await self._keep(
                _file_name(name), sanitize.parse_media_type(media_type), content
            )
        except AntiphonError:
            return None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _file_name(name: str) -> str:
    """Return the file name if it is valid: servers choose it."""
    try:
        return sanitize.validate_file_name(name)
    except InvalidRequest:
        return "tool-output"
