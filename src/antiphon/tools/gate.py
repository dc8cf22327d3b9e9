"""Gate in front of tools: a number of slots, a deadline for each call, and a result in any case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
from msgspec.structs import replace

from antiphon.engine import sanitize
from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.tools.consent import find_tool
from antiphon.tools.deadlines import TOOL_ERRORS, CallDeadline, run_within
from antiphon.tools.permitted_call import ToolChanged
from antiphon.types.messages import Progress, Tool, ToolCall, ToolResult

AT_ONCE = 4
SECONDS = 120.0


def _do_nothing() -> None:
    """Default of on_start."""


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

    async def run(
        self,
        call: ToolCall,
        tell: ProgressCallback = quiet,
        on_start: Callable[[], None] = _do_nothing,
    ) -> ToolResult:
        """Run the tool now; the caller holds a slot.

        `on_start` is called directly before the tool: no other task runs in between. If it raises,
        the tool is not called, and the exception is raised here. Raises `ToolChanged` if the
        toolbox finds that the tool is no longer the one that was permitted.
        """
        tool = find_tool(call.name, self._toolbox.tools())
        deadline = CallDeadline(self._seconds if tool.timeout is None else tool.timeout)

        def report(progress: Progress) -> None:
            deadline.restart()
            tell(progress)

        async def start() -> ToolResult:
            on_start()
            try:
                result = _check_result(await self._toolbox.call(call, report))
                return replace(result, output=sanitize.sanitize_text(result.output))
            except ToolChanged:
                raise
            except TOOL_ERRORS as error:
                return _failure(error)

        task = await run_within(deadline, start())
        if task is None:
            return _timeout_result(call.name, deadline)
        if task.cancelled():  # the tool has cancelled itself
            return _failure(asyncio.CancelledError())
        return task.result()


def _check_result(result: object) -> ToolResult:
    """Return the result. Raises `TypeError` and `ValidationError`: toolboxes are others' code."""
    if not isinstance(result, ToolResult):
        raise TypeError(f"a tool's result is a ToolResult, this one is {type(result).__name__}")
    fields = {name: getattr(result, name) for name in ToolResult.__struct_fields__}
    if isinstance(fields["output"], str):
        fields["output"] = str.__str__(fields["output"])  # of a subclass only the text
    return msgspec.convert(fields, ToolResult)


def _timeout_result(name: str, deadline: CallDeadline) -> ToolResult:
    """Return the result of a call that timed out."""
    in_all = (
        f", nor within {deadline.seconds_elapsed():.0f} s in all" if deadline.was_restarted else ""
    )
    return ToolResult(
        f"TimeoutError: {name} gave no result within {deadline.seconds:g} s{in_all}; "
        "it may or may not have been carried out.",
        is_error=True,
        fault="timed_out",
    )


def _failure(error: BaseException) -> ToolResult:
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    return ToolResult(sanitize.sanitize_text(text), is_error=True, fault="failed")
