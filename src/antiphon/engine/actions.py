"""Decisions on actions: claims of workers for tools, and outputs: pure functions, as `transitions`.

A claim is a lease that is fenced by a number: each claim of an action raises its `attempt`, and a
worker that has lost its claim can neither renew it nor submit an output under it. Other clients,
which claim nothing, may submit at any time: the first output is final.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import msgspec
from msgspec.structs import replace

from antiphon.api.operations import NewToolOutput
from antiphon.engine.snapshot import ChangeSet, Snapshot
from antiphon.engine.unit_of_work import UnitOfWork
from antiphon.types import errors
from antiphon.types.errors import InvalidRequest
from antiphon.types.ids import Mint
from antiphon.types.messages import Progress, TaskHandle
from antiphon.types.runs import Action, Approval, Run, Status

_WANTED = '{"approve": true} or {"approve": false, "reason": "..."}'
_decoder = msgspec.json.Decoder(Approval)


def claim_action(
    snapshot: Snapshot, tool_call_id: str, worker: str, lease_ms: int
) -> ChangeSet | None:
    """Claim the action for this worker; None if it can no longer be claimed."""
    run, now = snapshot.run, snapshot.now
    if run is None or run.status is not Status.ACTION_REQUIRED:
        return None
    action = find_action(snapshot, tool_call_id)
    if not action.is_claimable(now):
        return None
    claimed = replace(
        action,
        attempt=action.attempt + 1,
        worker=worker,
        claimed_until=now + lease_ms,
        progress=None,
    )
    return ChangeSet(answer=claimed, actions=(claimed,))


def renew_claim(
    snapshot: Snapshot,
    tool_call_id: str,
    attempt: int,
    lease_ms: int,
    progress: Progress | None = None,
) -> ChangeSet:
    """Prolong the claim, and save the progress, if any. Raises `ClaimLost`.

    A claim that has run out can be renewed as long as nobody has claimed the action again.
    """
    action = require_claim(find_action(snapshot, tool_call_id), attempt)
    renewed = replace(
        action,
        claimed_until=snapshot.now + lease_ms,
        progress=action.progress if progress is None else progress,
    )
    return ChangeSet(answer=renewed, actions=(renewed,))


def release_claim(snapshot: Snapshot, tool_call_id: str, attempt: int) -> ChangeSet:
    """Release the claim; another worker can claim the action at once. Raises `ClaimLost`."""
    action = require_claim(find_action(snapshot, tool_call_id), attempt)
    released = replace(action, worker=None, claimed_until=None)
    return ChangeSet(answer=released, actions=(released,))


def require_claim(action: Action, attempt: int) -> Action:
    """Return the pending action, which must be claimed for this attempt. Raises `ClaimLost`."""
    is_open = action.status == "pending"
    if is_open and action.attempt == attempt and action.claimed_until is not None:
        return action
    raise errors.ClaimLost(
        f"The claim of tool call {action.tool_call_id} is lost.",
        expected=f"attempt {action.attempt} of a pending action, not given back",
        received=f"attempt {attempt}" if is_open else f"an action that is {action.status}",
        hint="Drop the result: another worker has the call, or it is over.",
        action_id=action.id,
        attempt=action.attempt,
    )


def find_action(snapshot: Snapshot, tool_call_id: str) -> Action:
    """Return the action of this call. Raises `UnknownToolCall`."""
    for action in snapshot.actions:
        if action.tool_call_id == tool_call_id:
            return action
    raise errors.UnknownToolCall(
        "The model of this run made no such tool call.",
        expected="the tool_call_id of one of the run's actions",
        hint="GET /v1/actions?run_id= lists them.",
    )


def save_task(
    snapshot: Snapshot, tool_call_id: str, handle: TaskHandle, attempt: int | None, mint: Mint
) -> ChangeSet:
    """Save the task at an MCP server that carries out this call, which its client runs.

    With an `attempt` the call must be claimed. Raises `ClaimLost`, `Conflict`, `OutputConflict`,
    `RunEnded` and `InvalidRequest`.
    """
    snapshot.require_run()
    unit = UnitOfWork(snapshot, mint)
    action = find_action(snapshot, tool_call_id)
    if action.runs_on == "server":
        raise InvalidRequest(
            f"Tool call {tool_call_id} is run by this server, which keeps its tasks itself.",
            expected="a call that the client runs",
            received=f"a call of {action.name}",
        )
    if attempt is not None:
        require_claim(action, attempt)
    if not _may_answer(unit.run, action):
        raise _output_error(unit.run, action)
    saved = unit.save_task(action, handle)
    return ChangeSet(answer=saved) if saved is action else unit.build(saved)


# Outputs and approvals.


def save_outputs(snapshot: Snapshot, outputs: Sequence[NewToolOutput], mint: Mint) -> ChangeSet:
    """Save outputs of calls, all or none; the last one lets the run continue.

    The answer is the tuple of their actions. For a call that waits for approval the output is the
    `Approval`. The same output again changes nothing, whatever state the run is in by then. An
    output of a worker has the `attempt` of its claim, and is refused once the claim is lost. If it
    is the last output of a turn, it also requests the next turn. Raises `ClaimLost`,
    `OutputConflict`, `RunEnded` and `UnknownToolCall`.
    """
    snapshot.require_run()
    unit = UnitOfWork(snapshot, mint)
    found = [find_action(snapshot, given.tool_call_id) for given in outputs]
    if len({action.id for action in found}) < len(found):
        raise InvalidRequest("A call has one output.", expected="each tool_call_id once")
    saved = tuple(map(partial(_save_one, unit), found, outputs))
    if all(after is before for after, before in zip(saved, found, strict=True)):
        return ChangeSet(answer=saved)
    unit.resume_if_complete(request_turn=any(each.attempt is not None for each in outputs))
    return unit.build(saved)


def save_output(snapshot: Snapshot, given: NewToolOutput, mint: Mint) -> ChangeSet:
    """Save the output of one call, as `save_outputs`. The answer is its `Action`."""
    change = save_outputs(snapshot, [given], mint)
    return replace(change, answer=change.answer[0])


def _save_one(unit: UnitOfWork, action: Action, given: NewToolOutput) -> Action:
    """Save one output; return the action, which is the same one if it has this output already."""
    if action.runs_on == "server":
        return _save_approval(unit, action, read_approval(action, given.output))
    is_same = (action.output, action.is_error) == (given.output, given.is_error)
    if action.status in ("completed", "failed") and is_same:
        return action
    if given.attempt is not None:
        require_claim(action, given.attempt)
    if not _may_answer(unit.run, action):
        raise _output_error(unit.run, action)
    status: Literal["completed", "failed"] = "failed" if given.is_error else "completed"
    return unit.close_action(action, status, given.output, given.is_error, given.metadata)


def _save_approval(unit: UnitOfWork, action: Action, approval: Approval) -> Action:
    if is_same_approval(action, approval):
        return action
    if not _may_answer(unit.run, action):
        raise _output_error(unit.run, action)
    if approval.approve:
        return unit.approve_action(action)
    refused = replace(action, approval="refused")
    return unit.close_action(refused, "failed", refusal_text(approval), is_error=True)


def read_approval(action: Action, output: str) -> Approval:
    """Decode the approval that was submitted as the output of a server-side call.

    Raises `InvalidRequest`.
    """
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


def refusal_text(approval: Approval) -> str:
    """Return the tool output that tells the model of a refused call."""
    return f"This call was refused and not carried out. {approval.reason}".strip()


def is_same_approval(action: Action, approval: Approval) -> bool:
    """Return whether the action already has this approval or refusal."""
    if approval.approve:
        return action.approval == "given"
    return action.approval == "refused" and action.output == refusal_text(approval)


def _may_answer(run: Run, action: Action) -> bool:
    return action.awaited and run.status is Status.ACTION_REQUIRED


def _output_error(run: Run, action: Action) -> errors.CallerError:
    tool_call_id = action.tool_call_id
    if action.status in ("completed", "failed") or not run.status.ended:
        return errors.OutputConflict(
            f"Tool call {tool_call_id} already has another output.",
            expected="the output that was saved first, or none",
            received="a different output",
            hint="An output is final; GET the action to see it.",
            action_id=action.id,
        )
    return errors.RunEnded(
        f"Tool call {tool_call_id} waits for no output any more: it is {action.status}, "
        f"and run {run.id} is {run.status.value}.",
        expected="a pending action of a run in action_required",
        received=f"{action.status} in {run.status.value}",
        hint="Create a new run in the thread.",
        run_id=run.id,
        run_status=run.status.value,
    )
