"""The permission under which a tool runs, for toolboxes whose tools change while a call waits.

A toolbox may have to wait before it can send a call, for instance for a server that is restarting.
The server may offer a different tool under that name by then, which nobody has approved.
"""

from __future__ import annotations

from contextvars import ContextVar

from antiphon.tools.consent import Approved
from antiphon.tools.questions import tool_identity
from antiphon.types.messages import Tool, ToolCall

_permitted: ContextVar[Approved | None] = ContextVar("permitted_call", default=None)


class ToolChanged(Exception):
    """The tool is no longer the one that was permitted. Nothing was sent."""


def record_permission(permitted: Approved, tools: tuple[Tool, ...]) -> None:
    """Record the permission of the call that this context is about to make.

    Raises `ToolChanged` if its tool is not the one that was permitted. A function of the program
    decides itself which calls it makes, under its own id too: so its permission is not recorded.
    """
    if not permitted.holds(tools):
        raise ToolChanged
    found = next((tool for tool in tools if tool.spec.name == permitted.call.name), None)
    is_function = found is not None and found.server is None
    _permitted.set(None if is_function else permitted)


def check_permission(call: ToolCall, tool: Tool) -> None:
    """Raise `ToolChanged` if the call in this context was permitted for another tool than this."""
    permitted = _permitted.get()
    if permitted is None or permitted.call.id != call.id:
        return
    if tool_identity(tool).fingerprint != permitted.fingerprint:
        raise ToolChanged
