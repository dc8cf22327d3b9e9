"""What is submitted of a call that the other side would run: a yes, or the reason for a no.

The call is judged by the same consent as those that run here. What the tool is cannot be seen from
here, only told from every other: what was allowed for it holds for no other tool of that name.
"""

from __future__ import annotations

import msgspec

from antiphon.events import PendingAction
from antiphon.messages import Tool, ToolResult, ToolSpec
from antiphon.runs import Approval
from antiphon.tools.consent import Permitted, Refused


def foreign(action: PendingAction) -> Tool:
    """The tool that this call is of, as far as it is known here."""
    server = action.server or ""
    return Tool(
        spec=ToolSpec(action.name),
        server=server,
        own_name=action.name.removeprefix(f"{server}__"),
        origin=action.tool_digest or action.action_id,
    )


def said(decided: Permitted | Refused) -> ToolResult:
    """The decision, as the output that such a call waits for."""
    match decided:
        case Refused(result):
            approval = Approval(approve=False, reason=result.output)
        case Permitted(call, edited=True):
            wish = f"The user wants it called with other arguments: {call.arguments}"
            approval = Approval(approve=False, reason=wish)
        case Permitted():
            approval = Approval(approve=True)
    return ToolResult(msgspec.json.encode(approval).decode(), is_error=not approval.approve)
