"""What a person says of a call that the worker would run: read, told to the model, told apart."""

from __future__ import annotations

import msgspec

from antiphon.errors import InvalidRequest
from antiphon.runs import Action, Approval

_WANTED = '{"approve": true} or {"approve": false, "reason": "..."}'
_decoder = msgspec.json.Decoder(Approval)


def read(action: Action, output: str) -> Approval:
    """What was submitted as the output of a call that the worker runs. Raises `InvalidRequest`."""
    if action.approval is None:
        raise InvalidRequest(
            f"Tool call {action.tool_call_id} is run by this server, and waits for no output.",
            expected="an action of kind approval, or one whose tool the client runs",
            received=f"a call of {action.name}, which needs no approval",
        )
    try:
        return _decoder.decode(output)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidRequest(
            f"Tool call {action.tool_call_id} waits to be approved, and this is no answer to that.",
            expected=_WANTED + ", as a string",
            received=str(error),
            hint="The tool is run here; its output comes from there.",
            where="$.output",
        ) from error


def refusal(said: Approval) -> str:
    """What the model is told of a call that was refused."""
    return f"This call was refused and not carried out. {said.reason}".strip()


def same(action: Action, said: Approval) -> bool:
    """Whether this very thing was said of the action before."""
    if said.approve:
        return action.approval == "given"
    return action.approval == "refused" and action.output == refusal(said)
