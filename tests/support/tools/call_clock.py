"""The clock of tool calls, which only a test moves forward."""

from __future__ import annotations

import asyncio

RECHECK_SECONDS = 0.05
"""How often a deadline of this many seconds checks its clock."""


class CallClock:
    """The seconds that deadlines of tool calls count, independent of how busy the machine is."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def think(self, seconds: float = 1_000.0) -> None:
        """Let this many seconds pass, and wait until a deadline would have ended a call."""
        self.now += seconds
        await asyncio.sleep(4 * RECHECK_SECONDS)
