"""Wraps any toolbox: how many of its calls run at once, for how long, and what they may say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.engine.kept import fit
from antiphon.messages import Tool, ToolCall, ToolResult
from antiphon.ports import Tell, Toolbox, quiet

AT_ONCE = 4
SECONDS = 120.0


class Gate:
    """A toolbox in front of a toolbox: at most `at_once` calls run, each for at most `seconds`.

    The clock of a call starts when it gets its slot, so that waiting for others costs it nothing.
    Whatever the tool said comes out as text that can be kept.
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
        async with self._slots:
            return await self._in_time(call, tell)

    async def _in_time(self, call: ToolCall, tell: Tell) -> ToolResult:
        try:
            async with asyncio.timeout(self._seconds):
                result = await self._toolbox.call(call, tell)
        except TimeoutError:
            return ToolResult(
                f"TimeoutError: {call.name} gave no result within {self._seconds:g} s; "
                "it may or may not have been carried out.",
                is_error=True,
                fault="timed_out",
            )
        return replace(result, output=fit(result.output))
