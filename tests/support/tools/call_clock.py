"""The clock of tool calls, which stands still until a test sets it forward."""

from __future__ import annotations

import asyncio

RECHECK_SECONDS = 0.05
"""A deadline of so many seconds is looked at so often, whatever its clock says."""


class CallClock:
    """Seconds as deadlines of tool calls count them: a busy machine takes none away."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def think(self, seconds: float = 1_000.0) -> None:
        """Let so many seconds pass, and then the moment in which a deadline would end a call."""
        self.now += seconds
        await asyncio.sleep(4 * RECHECK_SECONDS)
