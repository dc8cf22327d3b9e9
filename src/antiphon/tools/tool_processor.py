"""Execution of the tool calls of a turn.

Consent comes first, without holding a slot; then, behind a gate, a slot, a deadline and the tool.
Every outcome is a result.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypedDict, cast

import msgspec
from msgspec.structs import replace

from antiphon.engine import sanitize
from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.settings.deprecated import resolve_argument
from antiphon.telemetry import genai
from antiphon.telemetry.tracing import NO_TRACES, Tracer, current_span
from antiphon.tools.argument_check import find_argument_errors
from antiphon.tools.consent import Approved, Consent, Refused, Tools, approval_output, find_tool
from antiphon.tools.context import RunLookup, name_run
from antiphon.tools.deadlines import TOOL_ERRORS, CallDeadline, is_task_cancelled, run_within
from antiphon.tools.hooks import NO_HOOKS, HookVerdict, ToolHooks
from antiphon.tools.questions import AskedBy, AskUser, ModelServer, tool_identity
from antiphon.tools.task_journal import (
    NO_JOURNAL,
    LoopJournal,
    TaskJournal,
    current_journal,
    use_journal,
)
from antiphon.tools.tool_events import (
    ConsentRefused,
    HooksBegan,
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

AT_ONCE = 4
SECONDS = 120.0


class Gate:
    """A toolbox in front of a toolbox: at most `at_once` calls run, each for at most `seconds`.

    The deadline of a call starts when the call gets a slot. It restarts whenever the tool reports
    progress, up to five times `seconds` in all, and pauses while a person is asked something for
    the call. A tool's own `timeout` replaces `seconds`.

    Every outcome is a result whose text can be stored, even if the toolbox raises.
    """

    def __init__(
        self, toolbox: Toolbox, *, at_once: int = AT_ONCE, seconds: float = SECONDS
    ) -> None:
        self._toolbox = toolbox
        self._slots = asyncio.Semaphore(at_once)
        self._seconds = seconds

    def tools(self) -> Sequence[Tool]:
        """Return the tools behind the gate."""
        return self._toolbox.tools()

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Run the tool when a slot is free; a timeout is a result."""
        async with self.slot():
            return await self.run(call, tell)

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """Wait for a slot and hold it."""
        async with self._slots:
            yield

    async def run(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Run the tool now; the caller holds a slot."""
        tool = find_tool(call.name, self._toolbox.tools())
        clock = CallDeadline(self._seconds if tool.timeout is None else tool.timeout)

        def report(progress: Progress) -> None:
            clock.restart()
            tell(progress)

        working = await run_within(clock, self._call_safely(call, report))
        if working is None:
            return _timeout_result(call.name, clock)
        if working.cancelled():  # the tool has cancelled itself
            return _failure(asyncio.CancelledError())
        return working.result()

    async def _call_safely(self, call: ToolCall, tell: ProgressCallback) -> ToolResult:
        try:
            result = _check_result(await self._toolbox.call(call, tell))
            return replace(result, output=sanitize.sanitize_text(result.output))
        except TOOL_ERRORS as error:
            return _failure(error)


def _check_result(result: object) -> ToolResult:
    """Return the result. Raises `TypeError` and `ValidationError`: toolboxes are others' code."""
    if not isinstance(result, ToolResult):
        raise TypeError(f"a tool's result is a ToolResult, this one is {type(result).__name__}")
    fields = {name: getattr(result, name) for name in ToolResult.__struct_fields__}
    if isinstance(fields["output"], str):
        fields["output"] = str.__str__(fields["output"])  # of a subclass only the text
    return msgspec.convert(fields, ToolResult)


def _timeout_result(name: str, clock: CallDeadline) -> ToolResult:
    """Return the result of a call that timed out."""
    in_all = f", nor within {clock.seconds_elapsed():.0f} s in all" if clock.was_restarted else ""
    return ToolResult(
        f"TimeoutError: {name} gave no result within {clock.seconds:g} s{in_all}; "
        "it may or may not have been carried out.",
        is_error=True,
        fault="timed_out",
    )


def _failure(error: BaseException) -> ToolResult:
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    return ToolResult(sanitize.sanitize_text(text), is_error=True, fault="failed")


# Limit on the length of an output: the cut is marked, and the whole is saved for the person.


CHARACTERS = 60_000  # some 15,000 tokens
TAIL = 4  # one part in so many of what is kept is the end, where results tend to be summed up


def truncate(output: str, most: int, where: str) -> str:
    """Return head and tail of the output with a notice between them, or the output if it fits.

    `where` says in the notice where the whole is.
    """
    if len(output) <= most:
        return output
    tail = most // TAIL
    head = most - tail
    left_out = len(output) - most
    notice = (
        f"\n\n[{left_out:,} of {len(output):,} characters are left out here, as this output is"
        f" too long. {where}]\n\n"
    )
    return output[:head] + notice + output[len(output) - tail :]


# From a call to the result that is submitted.


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
        self._asked_by = asked_by
        self._servers: dict[str, ModelServer] = {}
        self._looking_up = asyncio.Lock()
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
        self._consent = consent or Consent()
        self._hooks = hooks or NO_HOOKS
        self._hook_slots = asyncio.Semaphore(at_once)
        self._gate = Gate(toolbox, at_once=at_once, seconds=seconds)
        self._most = most
        self._keep = keep
        self._report_event = resolve_argument("watch", watch, "on_tool_event", on_tool_event)
        self._tracer = tracer
        self._working: dict[str, asyncio.Task[ToolResult]] = {}
        self._stopped: set[str] = set()
        self._began: dict[str, tuple[ToolCall, Tool, float]] = {}

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
        working = self._working.get(tool_call_id)
        if working is None or working.done():
            return False
        self._stopped.add(tool_call_id)
        with suppress(RuntimeError):  # its loop has ended, and the call with it
            working.get_loop().call_soon_threadsafe(working.cancel)
        return True

    def _on_tool_event(self, event: ToolEvent) -> None:
        """Report an event; an error of the callback does not touch the call."""
        try:
            self._report_event(event)
        except Exception:  # a wall to the program's own code
            log.exception("on_tool_event raised at %s", type(event).__name__)

    async def _run_single_call(
        self, run_id: str, call: ToolCall, trace: str | None
    ) -> tuple[ToolCall, ToolResult]:
        working = asyncio.create_task(self._run_with_consent(run_id, call, trace))
        self._working[call.id] = working
        try:
            result = await working
        except asyncio.CancelledError:
            if is_task_cancelled():
                raise
            result = ToolResult(
                "The user stopped this call; it may or may not have been carried out.",
                is_error=True,
                fault="cancelled",
            )
        finally:
            self._working.pop(call.id, None)
            self._stopped.discard(call.id)
            began = self._began.pop(call.id, None)
        seconds = 0.0
        if began is not None:
            ran, tool, since = began
            seconds = _now() - since
            result = await self._run_after_hooks(ran, tool, result)
        self._on_tool_event(ToolEnded(call.id, result, seconds))
        return call, await self._for_submission(call, result)

    async def _approve(
        self, run_id: str, call: ToolCall, tool: Tool
    ) -> tuple[ToolCall, ToolResult]:
        return call, approval_output(await self._permit(run_id, call, lambda: (tool,)))

    async def _permit(self, run_id: str, call: ToolCall, tools: Tools) -> Approved | Refused:
        """Run the hooks before the call, then get consent for it as they leave it.

        What is approved went through the hooks as it is: arguments that a person edits, and a tool
        that changes or arrives meanwhile, go through them once more.
        """
        asked_by = None if self._asked_by is None else self._server_of
        given = call
        permitted: Approved | None = None
        while True:
            seen = tool_identity(find_tool(call.name, tools())).fingerprint
            verdict = await self._run_before_hooks(given, tools())
            if verdict.denial:
                self._on_tool_event(ConsentRefused(call, "hook", verdict.denial))
                return Refused(ToolResult(verdict.denial, is_error=True, fault="refused"))
            left, question = verdict.call, verdict.question
            if permitted is not None and permitted.edited:  # the person has been asked
                changed = left.arguments != given.arguments
                question = "it has changed the arguments that you edited" if changed else ""
            wanted = Approved(left, seen)
            if permitted is None or question or not permitted.covers(wanted):
                decided = await self._consent.permit(
                    run_id, left, tools, self._on_tool_event, asked_by, question
                )
                if isinstance(decided, Refused):
                    return decided
                permitted = decided
            if permitted.covers(wanted):
                by_hook = not permitted.edited and left.arguments != call.arguments
                return replace(permitted, hooked=by_hook)
            given = permitted.call

    async def _run_before_hooks(self, call: ToolCall, tools: Sequence[Tool]) -> HookVerdict:
        """Return the verdict of the hooks; a tool that is not here has none."""
        tool = next((each for each in tools if each.spec.name == call.name), None)
        if tool is None or not self._hooks.selects("before", tool):
            return HookVerdict(call)
        async with self._hook_slots:
            self._on_tool_event(HooksBegan(call, "before"))
            return await self._hooks.run_before(call, tool)

    async def _run_after_hooks(self, call: ToolCall, tool: Tool, result: ToolResult) -> ToolResult:
        """Return the result as the hooks leave it; as it was if the user stops them.

        The tool is that which ran: its server may have taken it away since.
        """
        if result.fault == "unknown_tool" or not self._hooks.selects("after", tool):
            return result

        async def run() -> ToolResult:
            async with self._hook_slots:
                self._on_tool_event(HooksBegan(call, "after"))
                return await self._hooks.run_after(call, tool, result)

        self._working[call.id] = working = asyncio.create_task(run())
        try:
            return await working
        except asyncio.CancelledError:
            if is_task_cancelled():
                raise
            return result
        finally:
            self._working.pop(call.id, None)

    async def _server_of(self, run_id: str) -> ModelServer | None:
        """Return the model server of the run, looked up once.

        Calls of one reply wait for it in order, so that they are asked about in that order.
        """
        async with self._looking_up:
            known = self._servers.get(run_id)
            if known is None and self._asked_by is not None:
                known = await self._asked_by(run_id)
                if known is not None:
                    self._servers = {run_id: known}
        return known

    async def _run_with_consent(self, run_id: str, call: ToolCall, trace: str | None) -> ToolResult:
        """Get consent, then a slot, then run. If the tool changes meanwhile, begin again."""
        tools = self._toolbox.tools
        await self._wait_for_tool(call)
        if (wrong := self._check_arguments(call)) is not None:
            return wrong
        while True:
            decided = await self._permit(run_id, call, tools)
            if isinstance(decided, Refused):
                await self._cancel_task(call)
                return decided.result
            async with self._gate.slot():
                if decided.holds(tools()):
                    return await self._run_traced(run_id, decided, trace)

    async def _cancel_task(self, call: ToolCall) -> None:
        """Cancel the task of a refused call, which another process has started, if it has one."""
        handle = await current_journal().find(call.id)
        if handle is not None and isinstance(self._toolbox, TaskToolbox):
            await self._toolbox.cancel_task(handle)

    async def _wait_for_tool(self, call: ToolCall) -> None:
        """Wait for the tool of a call if its server is starting, as after a restart."""
        toolbox = self._toolbox
        if not isinstance(toolbox, StartingToolbox):
            return
        toolbox.retry(call.name)
        if servers := toolbox.starting(call.name):
            self._on_tool_event(ToolAwaited(call, servers))
            await toolbox.arrival(call.name, ARRIVAL_SECONDS)

    def _check_arguments(self, call: ToolCall) -> ToolResult | None:
        """Return a result if the arguments are invalid; functions validate their own."""
        tool = find_tool(call.name, self._toolbox.tools())
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

        def tell(progress: Progress) -> None:
            if call.id in self._working:  # a tool that was left behind may still tell
                self._on_tool_event(ToolProgressed(call.id, progress))

        self._on_tool_event(ToolBegan(call))
        self._began[call.id] = (call, find_tool(call.name, self._toolbox.tools()), _now())
        result = await self._gate.run(call, tell)
        if permitted.edited or permitted.hooked:
            by = "The user" if permitted.edited else "A hook"
            note = f"[{by} changed the arguments to {call.arguments}]\n"
            return replace(result, output=note + result.output, arguments=call.arguments)
        return result

    async def _for_submission(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """Return the result to submit: the model's text, and the ids of saved files."""
        blobs = [each for each in result.content if isinstance(each, Blob)]
        room = MAX_FILES - 1 - len(result.files)  # one is left for the output itself
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
