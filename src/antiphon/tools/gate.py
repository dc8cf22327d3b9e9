"""Wraps any toolbox: how many of its calls run at once, for how long, and what they may say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace

from antiphon.engine.kept import fit
from antiphon.messages import Progress, Tool, ToolCall, ToolResult
from antiphon.ports import Tell, Toolbox, quiet

AT_ONCE = 4
SECONDS = 120.0
LONGEST = 5  # times its seconds a call may take that goes on telling how far it is
END_SECONDS = 2.0  # for a tool that was cancelled to end; then it is left behind


class Gate:
    """A toolbox in front of a toolbox: at most `at_once` calls run, each for at most `seconds`.

    The clock of a call starts when it gets its slot, so that waiting for others costs it nothing.
    It starts anew whenever the tool tells how far it is, up to five times `seconds` in all.
    Whatever the tool does is a result, also where its toolbox breaks its word, and comes out as
    text that can be kept.
    """

    def __init__(
        self, toolbox: Toolbox, *, at_once: int = AT_ONCE, seconds: float = SECONDS
    ) -> None:
        self._toolbox = toolbox
        self._slots = asyncio.Semaphore(at_once)
        self._seconds = seconds
        self._left_behind: set[asyncio.Task[ToolResult]] = set()

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
        clock = _Clock(self._seconds)

        def told(progress: Progress) -> None:
            clock.start_anew()
            tell(progress)

        working = asyncio.create_task(self._tried(call, told))
        try:
            while not working.done() and (left := clock.left()) > 0:
                await asyncio.wait([working], timeout=left)
            return _result(working) if working.done() else clock.over(call.name)
        finally:
            await self._end(working)

    async def _tried(self, call: ToolCall, tell: Tell) -> ToolResult:
        try:
            result = await self._toolbox.call(call, tell)
            return replace(result, output=fit(result.output))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a wall to other people's toolboxes
            return _broken(error)

    async def _end(self, working: asyncio.Task[ToolResult]) -> None:
        """Cancel what still runs. One that does not let itself be cancelled is not waited for."""
        if working.done():
            return
        self._left_behind.add(working)
        working.add_done_callback(self._left_behind.discard)
        working.cancel()
        await asyncio.wait([working], timeout=END_SECONDS)


class _Clock:
    """How long a call may still take."""

    def __init__(self, seconds: float) -> None:
        self._now = asyncio.get_running_loop().time
        self._began = self._now()
        self._seconds = seconds
        self._end = self._began + seconds
        self._anew = False

    def start_anew(self) -> None:
        self._anew = True
        latest = self._began + LONGEST * self._seconds
        self._end = min(self._now() + self._seconds, latest)

    def left(self) -> float:
        return self._end - self._now()

    def over(self, name: str) -> ToolResult:
        """What is said of a call that gave no result in time."""
        ran = self._now() - self._began
        in_all = f", nor within {ran:.0f} s in all" if self._anew else ""
        return ToolResult(
            f"TimeoutError: {name} gave no result within {self._seconds:g} s{in_all}; "
            "it may or may not have been carried out.",
            is_error=True,
            fault="timed_out",
        )


def _result(working: asyncio.Task[ToolResult]) -> ToolResult:
    """What a call gave; one that was cancelled from within has failed."""
    return _broken(asyncio.CancelledError()) if working.cancelled() else working.result()


def _broken(error: BaseException) -> ToolResult:
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return ToolResult(fit(said), is_error=True, fault="failed")
