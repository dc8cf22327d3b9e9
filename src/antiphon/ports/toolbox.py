"""Toolbox: tools that can be called by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from antiphon.types.messages import (
    Progress,
    Tool,
    ToolCall,
    ToolResult,
)

ProgressCallback = Callable[[Progress], None]
"""Called on the event loop with a tool's progress; must not raise."""


def quiet(progress: Progress) -> None:
    """Ignore the progress."""


class Toolbox(Protocol):
    """Tools that can be called by name.

    A call never raises: failure, refusal and timeout are results.
    """

    def tools(self) -> Sequence[Tool]:
        """Return the tools that can be called now; a server's tools may come, change and go."""
        ...

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Run the tool; cancelling the task cancels the tool as far as possible."""
        ...
