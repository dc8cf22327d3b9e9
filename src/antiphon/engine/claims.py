"""Claims of workers for tools on actions: pure functions, as in `transitions`.

A claim is a lease that is fenced by a number: each claim of an action raises its `attempt`, and a
worker that has lost its claim can neither renew it nor submit an output under it. Other clients,
which claim nothing, may submit as ever: the first output is final.
"""

from __future__ import annotations

from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, Snapshot
from antiphon.types import errors
from antiphon.types.messages import Progress
from antiphon.types.runs import Action, Status


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
    """Give the action back, so that another worker can claim it at once. Raises `ClaimLost`."""
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
