"""Local events of tool calls, for display: never sent, never stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from antiphon.tools.questions import ConsentRequest
from antiphon.types.messages import Progress, ToolCall, ToolResult


class ToolAwaited(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_awaited"):
    """The call waits for its tool: one of these starting MCP servers has it."""

    call: ToolCall
    servers: tuple[str, ...]


class HooksBegan(msgspec.Struct, frozen=True, tag_field="type", tag="local.hooks_began"):
    """Hooks run before the call, or after its tool; consent and the result may take longer."""

    call: ToolCall
    when: Literal["before", "after"]


class ConsentAsked(msgspec.Struct, frozen=True, tag_field="type", tag="local.consent_asked"):
    """A person is asked now; the call holds no slot while it waits."""

    question: ConsentRequest


class ConsentRefused(msgspec.Struct, frozen=True, tag_field="type", tag="local.consent_refused"):
    """The call may not run: by a rule, a hook, a person, or because there is nobody to ask.

    `reason` is the reason of a hook that denies the call, or that wants a person to be asked.
    """

    call: ToolCall
    by: Literal["rule", "hook", "person", "nobody"]
    reason: str = ""


class ToolBegan(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_began"):
    """The tool runs with these arguments."""

    call: ToolCall


class ToolProgressed(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_progress"):
    """The tool reports progress; never after its end."""

    tool_call_id: str
    progress: Progress


class ToolEnded(msgspec.Struct, frozen=True, tag_field="type", tag="local.tool_ended"):
    """The call has its whole result; `seconds` is the tool's running time, 0 if it never ran."""

    tool_call_id: str
    result: ToolResult
    seconds: float


ToolEvent = (
    ToolAwaited
    | HooksBegan
    | ConsentAsked
    | ConsentRefused
    | ToolBegan
    | ToolProgressed
    | ToolEnded
)

OnToolEvent = Callable[[ToolEvent], None]
"""Called on the event loop that runs the tools; must not raise or block."""


def ignore_event(event: ToolEvent) -> None:
    """Ignore the event."""
