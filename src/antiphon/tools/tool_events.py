"""What happens to tool calls where they run, for whoever shows it: never sent, never stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from antiphon.tools.questions import Question
from antiphon.types.messages import Progress, ToolCall, ToolResult


class ToolAwaited(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_awaited"):
    """The call waits for its tool: these MCP servers, one of which has it, are starting."""

    call: ToolCall
    servers: tuple[str, ...]


class ConsentAsked(msgspec.Struct, frozen=True, tag_field="type", tag="local.consent_asked"):
    """A person is asked now; the call waits for them and holds nothing."""

    question: Question


class ConsentRefused(msgspec.Struct, frozen=True, tag_field="type", tag="local.consent_refused"):
    """The call may not run: a rule denies it, a person said no, or there was nobody to be asked."""

    call: ToolCall
    by: Literal["rule", "person", "nobody"]


class ToolBegan(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_began"):
    """The tool runs, with these arguments: consent was given, and a slot was free."""

    call: ToolCall


class ToolProgressed(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_progress"):
    """The tool says how far it is; never after its end."""

    tool_call_id: str
    progress: Progress


class ToolEnded(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_ended"):
    """The call has its result, whole; `seconds` is how long the tool ran, 0 if it never did."""

    tool_call_id: str
    result: ToolResult
    seconds: float


Happening = ToolAwaited | ConsentAsked | ConsentRefused | ToolBegan | ToolProgressed | ToolEnded

Watch = Callable[[Happening], None]
"""Told on the loop on which tools run; must not raise or block."""


def unwatched(happening: Happening) -> None:
    """Watches nothing."""
