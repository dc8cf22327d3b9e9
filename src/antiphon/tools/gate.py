"""Wraps any toolbox: how many of its calls run at once, for how long, and what they may say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace

from antiphon.engine.sanitize import sanitize_text
from antiphon.ports import Tell, Toolbox, quiet
from antiphon.tools.deadlines import Clock, within
from antiphon.types.messages import Progress, Tool, ToolCall, ToolResult

AT_ONCE = 4
SECONDS = 120.0


class Gate:
    """A toolbox in front of a toolbox: at most `at_once` calls run, each for at most `seconds`.

    The clock of a call starts when it gets its slot, so that waiting for others costs it nothing.
    It starts anew whenever the tool tells how far it is, up to five times `seconds` in all, and
    stands still while a person is asked something for the call.
    Whatever the tool does is a result, also where its toolbox breaks its word, and comes out as
    text that can be kept.
    """

    def __init__(
        self, toolbox: Toolbox, *, at_once: int = AT_ONCE, seconds: float = SECONDS
    ) -> None:
        self._toolbox = toolbox
        self._slots = asyncio.Semaphore(at_once)
        self._seconds = seconds

    def tools(self) -> Sequence[Tool]:
        """The tools behind the gate."""
        return self._toolbox.tools()

    async def call(self, call: ToolCall, tell: Tell = quiet) -> ToolResult:
        """Run the tool when a slot is free; its deadline is a result."""
        async with self.slot():
            return await self.run(call, tell)

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """One of the places in which calls run, once it is free."""
        async with self._slots:
            yield

    async def run(self, call: ToolCall, tell: Tell = quiet) -> ToolResult:
        """Run the tool now, for whoever has a slot."""
        clock = Clock(self._seconds)

        def told(progress: Progress) -> None:
            clock.start_anew()
            tell(progress)

        working = await within(clock, self._tried(call, told))
        return _over(call.name, clock) if working is None else _result(working)

    async def _tried(self, call: ToolCall, tell: Tell) -> ToolResult:
        try:
            result = await self._toolbox.call(call, tell)
            return replace(result, output=sanitize_text(result.output))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a wall to other people's toolboxes
            return _broken(error)


def _over(name: str, clock: Clock) -> ToolResult:
    """What is said of a call that gave no result in time."""
    in_all = f", nor within {clock.ran():.0f} s in all" if clock.anew else ""
    return ToolResult(
        f"TimeoutError: {name} gave no result within {clock.seconds:g} s{in_all}; "
        "it may or may not have been carried out.",
        is_error=True,
        fault="timed_out",
    )


def _result(working: asyncio.Task[ToolResult]) -> ToolResult:
    """What a call gave; one that was cancelled from within has failed."""
    return _broken(asyncio.CancelledError()) if working.cancelled() else working.result()


def _broken(error: BaseException) -> ToolResult:
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return ToolResult(sanitize_text(said), is_error=True, fault="failed")


# How much of a tool's result a model reads; what is left out is said, and kept for the person.


CHARACTERS = 60_000  # some 15,000 tokens
TAIL = 4  # one part in so many of what is kept is the end, where results tend to be summed up


def shortened(output: str, most: int, where: str) -> str:
    """The output's head and tail with a notice between them; the output itself where it fits.

    `where` says what became of the whole.
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
