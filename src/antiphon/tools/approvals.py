"""What is submitted of a call that the other side would run: a yes, or the reason for a no.

The call is judged by the same consent as those that run here. What the tool is cannot be seen from
here, so that nothing that was allowed for a tool of this side holds for it.
"""

from __future__ import annotations

import msgspec

from antiphon.messages import Tool, ToolResult, ToolSpec
from antiphon.runs import Approval
from antiphon.tools.consent import Permitted, Refused

ORIGIN = "the backend"
"""What stands for the address of its servers."""


def foreign(name: str, server: str) -> Tool:
    """The tool of such a call, as far as it is known here."""
    own_name = name.removeprefix(f"{server}__")
    return Tool(spec=ToolSpec(name), server=server, own_name=own_name, origin=ORIGIN)


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
