"""What happens to tool calls where they run, for whoever shows it: never sent, never stored."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from antiphon.messages import Progress, ToolCall, ToolResult


class ToolBegan(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_began"):
    """The tool runs, with these arguments: consent was given, and a slot was free."""

    call: ToolCall


class ToolProgressed(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_progress"):
    """The tool says how far it is."""

    tool_call_id: str
    progress: Progress


class ToolEnded(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_ended"):
    """The call has its result, whole; `seconds` is how long the tool ran, 0 if it never did."""

    tool_call_id: str
    result: ToolResult
    seconds: float


Happening = ToolBegan | ToolProgressed | ToolEnded

Watch = Callable[[Happening], None]
"""Told on the loop on which tools run; must not raise or block."""


def unwatched(happening: Happening) -> None:
    """Watches nothing."""
