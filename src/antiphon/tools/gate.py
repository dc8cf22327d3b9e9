"""Limits in front of a toolbox: calls at once, deadlines, and the length of outputs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace

from antiphon.engine.sanitize import sanitize_text
from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.tools.deadlines import CallDeadline, run_within
from antiphon.types.messages import Progress, Tool, ToolCall, ToolResult

AT_ONCE = 4
SECONDS = 120.0


class Gate:
    """A toolbox in front of a toolbox: at most `at_once` calls run, each for at most `seconds`.

    The deadline of a call starts when the call gets a slot. It restarts whenever the tool reports
    progress, up to five times `seconds` in all, and pauses while a person is asked something for
    the call.

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
        clock = CallDeadline(self._seconds)

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
            result = await self._toolbox.call(call, tell)
            return replace(result, output=sanitize_text(result.output))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a wall to other people's toolboxes
            return _failure(error)


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
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return ToolResult(sanitize_text(said), is_error=True, fault="failed")


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
