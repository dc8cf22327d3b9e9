"""Every transition of a run, decided from its snapshot alone: pure functions.

Each function takes the `Snapshot` of one transaction and returns the `ChangeSet` to write, or
raises the error for the caller. The store runs it inside the transaction, so the snapshot still
holds when the changes are written. `runs.TRANSITIONS` is the table of legal status changes; every
transition is checked against it. `actions` decides on outputs of calls, `threads` on messages
beside runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.engine import accounts
from antiphon.engine.actions import find_action
from antiphon.engine.destinations import adopt_destination, provider_name
from antiphon.engine.personal import personal_parts
from antiphon.engine.snapshot import ChangeSet, RunUpdate, Snapshot
from antiphon.engine.transcript import ReplySoFar
from antiphon.engine.turn import TurnResult
from antiphon.engine.unit_of_work import UnitOfWork, queue_deadline, run_active_error, status_event
from antiphon.types import errors
from antiphon.types.accounts import AuditEntry, Principal
from antiphon.types.ids import Mint
from antiphon.types.messages import Message, TaskHandle, ToolListing, parts
from antiphon.types.runs import (
    Action,
    Fault,
    HostedTool,
    Reason,
    ResponseRecord,
    Run,
    RunLease,
    Serves,
    Status,
    Thread,
    serve_all,
)

NOT_STARTED = "This call was not carried out: the run reached its limit of {}."
NO_HOSTED_TOOLS: Mapping[str, HostedTool] = {}
LOCAL_PRINCIPAL = Principal()


class AskModel(msgspec.Struct, frozen=True):
    """A worker may claim the run and ask the model for the next turn."""


class RunTools(msgspec.Struct, frozen=True):
    """A worker may claim the run, and must run these calls before it asks the model."""

    tool_call_ids: tuple[str, ...]


class AwaitRequest(msgspec.Struct, frozen=True):
    """Nothing is missing; the next turn starts when a client requests it."""


class AwaitWorker(msgspec.Struct, frozen=True):
    """A worker holds the run."""


class AwaitOutputs(msgspec.Struct, frozen=True):
    """The client must run or approve these calls first."""

    tool_call_ids: tuple[str, ...]


class Ended(msgspec.Struct, frozen=True):
    """The run has ended."""


Move = AskModel | RunTools | AwaitRequest | AwaitWorker | AwaitOutputs | Ended


def next_move(snapshot: Snapshot) -> Move:
    """Return what must happen before this run can continue. Raises `NotFound`."""
    run, lease = snapshot.require_run()
    if run.status.ended:
        return Ended()
    if run.status is Status.IN_PROGRESS:
        return AwaitWorker()
    if awaited := _ids(action for action in snapshot.actions if action.awaited):
        return AwaitOutputs(awaited)
    if not lease.wanted:
        return AwaitRequest()
    due = _ids(action for action in snapshot.actions if action.due)
    return RunTools(due) if due else AskModel()


class RunSpec(msgspec.Struct, frozen=True):
    """A requested run, with the defaults of its assistant and of the settings filled in.

    `draft` has no id, thread and time of creation yet. `destination` is where the run's messages go
    under the settings of this program. `lacks` is what the provider of its model is known not to
    have. With `own_sampling` the request has set the sampling, and options of the thread do not
    change it. `folder_id` is the folder whose instructions the draft has.
    """

    draft: Run
    destination: str = ""
    lacks: frozenset[str] = frozenset()
    own_sampling: bool = False
    folder_id: str | None = None


class Claimant(msgspec.Struct, frozen=True):
    """A worker that has room for one more run. A lease of it lasts `lease_ms`."""

    worker: str
    lease_ms: int


class TurnRequested(msgspec.Struct, frozen=True):
    """A requested turn: its events are those numbered above `after`."""

    run: Run
    after: int


def create_run(
    snapshot: Snapshot,
    spec: RunSpec,
    mint: Mint,
    *,
    by: Principal,
    if_busy: operations.IfBusy = "reject",
    message: operations.NewMessage | None = None,
    history: Sequence[operations.PastMessage] = (),
    new_thread: Thread | None = None,
    ask: bool = False,
    fresh: bool = False,
    claimant: Claimant | None = None,
    response: Mapping[str, Any] | None = None,
    expected_messages: int | None = None,
    last_message: Message | None = None,
) -> ChangeSet:
    """Create a run, and its message and thread where those are new, in one transaction.

    `ask` requests the first turn too, and a `claimant` claims the run at once. `response` is the
    request of a `ResponseRecord` that the run begins with; such a run displaces only one that waits
    for its client. With `expected_messages`, the thread must have that number of messages.
    `last_message` is the thread's last one as it was read, for a run that continues it. The answer
    is `TurnRequested`. Raises `QuotaExceeded`, `ThreadMovedOn`, `Conflict` if there is nothing to
    continue, `RunActive` where the thread has an active run that is not displaced, and
    `FolderMismatch` where the thread is not in the folder of `spec`.
    """
    unit = UnitOfWork(replace(snapshot, thread=new_thread) if new_thread else snapshot, mint)
    _check_thread(unit, spec, expected_messages, last_message)
    displaced = unit.busy
    if displaced:
        waits_for_client = unit.run.status is not Status.IN_PROGRESS and not unit.lease.wanted
        if if_busy in ("reject", "wait") or (response and not waits_for_client):
            raise run_active_error(unit.run)
    frees_slot = displaced and unit.lease.key_id == by.key_id
    accounts.check_run_quota(snapshot, by.limits, ending=int(frees_slot))
    if displaced and _displace_run(unit, rolls_back=if_busy == "rollback"):
        return replace(unit.build(), more=True)
    messages_before = unit.thread.messages
    for past in history:
        unit.add_past_message(past)
    if message is not None:
        unit.add_message(message.role, parts(message.content))
    run = _create_from_draft(spec, unit.thread, snapshot, mint)
    run = replace(run, messages_before=messages_before)
    now = snapshot.now
    if response is not None:
        added = unit.thread.messages - messages_before
        record = ResponseRecord(request=dict(response), messages=added, created_at=now)
        run = replace(run, responses=(record,))
    wanted = ask or run.background
    lease = RunLease(
        wanted=wanted,
        fresh=fresh,
        due_at=queue_deadline(run, now, wanted=wanted),
        key_id=by.key_id,
        trace=by.trace,
        destination=spec.destination,
    )
    unit.begin_run(run, lease)
    unit.emit(status_event(run))
    if wanted and claimant is not None:
        _claim_run(unit, claimant)
    change = unit.build(TurnRequested(run, 0))
    return replace(change, owner=by.owner, thread=unit.thread)


def _displace_run(unit: UnitOfWork, *, rolls_back: bool) -> bool:
    """Cancel the thread's active run; with `rolls_back`, delete what it has added.

    Return whether closing its calls takes another transaction.
    """
    if unit.close_some_calls(Status.CANCELLED):
        return True
    messages_before = unit.run.messages_before
    unit.cancel(keep_partial=not rolls_back)
    if rolls_back:
        unit.roll_back(messages_before)
    return False


def _check_thread(
    unit: UnitOfWork, spec: RunSpec, expected_messages: int | None, last_message: Message | None
) -> None:
    """Raise `FolderMismatch`, `Conflict` or `ThreadMovedOn` if the thread is not as it must be."""
    if unit.thread.folder_id != spec.folder_id:
        raise FolderMismatch(unit.thread.folder_id)
    if spec.draft.continues:
        _require_cut_answer(unit, last_message)
    if expected_messages is not None and unit.thread.messages != expected_messages:
        raise ThreadMovedOn(
            f"Thread {unit.thread.id} has {unit.thread.messages} messages by now.",
            expected=str(expected_messages),
            received=str(unit.thread.messages),
            hint="Read the thread again.",
        )


def _create_from_draft(spec: RunSpec, thread: Thread, snapshot: Snapshot, mint: Mint) -> Run:
    """Return the run of the draft, with the thread's options and what its owner has noted."""
    options, sampling = thread.options, spec.draft.sampling
    is_personal = spec.draft.personal and not thread.temporary
    return replace(
        spec.draft,
        id=mint("run"),
        sampling=sampling if spec.own_sampling else options.adapt(sampling, spec.lacks),
        thread_tools=options.allowed_tools,
        personal=is_personal,
        instruction_parts=(
            *(personal_parts(snapshot.personal) if is_personal else ()),
            *spec.draft.instruction_parts,
        ),
        thread_id=thread.id,
        created_at=snapshot.now,
    )


def _require_cut_answer(unit: UnitOfWork, last_message: Message | None) -> None:
    """Check that the thread ends with an answer that was cut, and that no run is active.

    An answer that ends with outputs of tools was cut before its next turn. Raises `RunActive`,
    `ThreadMovedOn` and `Conflict`.
    """
    unit.require_no_active_run()
    if unit.thread.messages != (last_message.number if last_message else 0):
        raise ThreadMovedOn(
            f"Something was added to thread {unit.thread.id} meanwhile.",
            expected="a thread that nobody writes to",
            received=f"{unit.thread.messages} messages",
            hint="Read the thread again.",
        )
    received = "no message"
    if last_message is not None:
        role, status = last_message.role, last_message.status
        if role == "tool" or (role == "assistant" and status == "incomplete"):
            return
        received = f"a message of role {role}, {status}"
    raise errors.Conflict(
        f"Thread {unit.thread.id} does not end with an answer that was cut.",
        expected="an answer that was cut off",
        received=received,
        hint="Send a message, or create a run without continues.",
    )


class FolderMismatch(Exception):
    """The thread is in another folder than the one whose instructions the specification has.

    `folder_id` is the thread's folder, None for none.
    """

    def __init__(self, folder_id: str | None) -> None:
        super().__init__(folder_id)
        self.folder_id = folder_id


class ThreadMovedOn(errors.RunActive):
    """Something was added to the thread since it was read."""


def request_turn(
    snapshot: Snapshot,
    *,
    by: Principal = LOCAL_PRINCIPAL,
    fresh: bool = False,
    serves: Serves = serve_all,
    adopt: str | None = None,
    claimant: Claimant | None = None,
    response: Mapping[str, Any] | None = None,
) -> ChangeSet:
    """Request the next turn of this run, or join a turn in progress.

    The answer is `TurnRequested`. A `claimant` claims the run at once. `serves` returns whether
    this program sends a run with that destination to the same place; a run without a destination
    gets `adopt`. `response` is the request of a `ResponseRecord` that begins with this turn, which
    then cannot be joined: `RunActive` is raised. Raises `QuotaExceeded`, `RunEnded`,
    `OutputsMissing`, `ProviderMismatch` and `DestinationUnknown`.
    """
    run, lease = snapshot.require_run()
    requested = TurnRequested(run, lease.turn_began_after)
    match next_move(snapshot):
        case Ended():
            raise errors.RunEnded(
                f"Run {run.id} has ended: {run.status.value}.",
                expected="a run that has not ended",
                received=run.status.value,
                hint="Create a new run in the thread.",
                run_id=run.id,
                run_status=run.status.value,
                last_event=lease.last_event,
            )
        case AwaitOutputs(missing):
            raise errors.OutputsMissing(
                f"{len(missing)} tool call(s) of run {run.id} still wait for an output.",
                expected="an output for every call of the last turn",
                received="none yet for " + ", ".join(missing),
                hint="Submit each with POST /v1/submit_tool_output, then ask again.",
                run_id=run.id,
                tool_call_ids=list(missing),
                last_event=lease.last_event,
            )
        case AwaitRequest():
            lease = adopt_destination(run, lease, serves, adopt)
            accounts.check_turn_quota(snapshot, by.limits)
            wanted = replace(lease, wanted=True, fresh=fresh, due_at=run.ends_by, trace=by.trace)
            unit = UnitOfWork(replace(snapshot, lease=wanted), _no_mint)
            if response is not None:
                unit.run = _add_response(run, lease, response, snapshot.now)
                requested = TurnRequested(unit.run, lease.turn_began_after)
            if claimant is not None:
                _claim_run(unit, claimant)
            return unit.build(requested)
        case _ if response is not None:
            raise run_active_error(run)
        case AskModel() | RunTools():
            adopted = adopt_destination(run, lease, serves, adopt)
            updates = () if adopted == lease else (RunUpdate(run, adopted),)
            return ChangeSet(answer=requested, run_updates=updates)
        case AwaitWorker():
            return ChangeSet(answer=requested)


def _add_response(run: Run, lease: RunLease, request: Mapping[str, Any], now: int) -> Run:
    """Return the run with the record of a response that begins with its next turn."""
    record = ResponseRecord(
        request=dict(request), after=lease.turn_began_after, turn=run.turn, created_at=now
    )
    before = () if run.responses is msgspec.UNSET else run.responses
    return replace(run, responses=(*before, record))


def forget_response(snapshot: Snapshot, place: int, keep: str) -> ChangeSet:
    """Delete the record of the response at this place of the run, except `keep` of its request.

    `keep` is the name of a field. Later responses keep their places. The answer is the run. Raises
    `NotFound`.
    """
    run, lease = snapshot.require_run()
    records = () if run.responses is msgspec.UNSET else run.responses
    if place >= len(records) or records[place].deleted:
        raise errors.NotFound("There is no such response.")
    request = records[place].request
    # Later records hold only what differs from the first, which keeps its request beside others.
    if place > 0 or len(records) == 1:
        request = {name: value for name, value in request.items() if name == keep}
    forgotten = replace(records[place], request=request, deleted=True)
    run = replace(run, responses=(*records[:place], forgotten, *records[place + 1 :]))
    return ChangeSet(answer=run, run_updates=(RunUpdate(run, lease),))


def claim(worker: str, lease_ms: int) -> Callable[[Snapshot], ChangeSet | None]:
    """Return a decision that claims the run: a higher epoch, a lease, the next attempt."""

    def decide(snapshot: Snapshot) -> ChangeSet | None:
        if not isinstance(next_move(snapshot), AskModel | RunTools):
            return None
        unit = UnitOfWork(snapshot, _no_mint)
        _claim_run(unit, Claimant(worker, lease_ms))
        return unit.build()

    return decide


def _claim_run(unit: UnitOfWork, claimant: Claimant) -> None:
    run, lease = unit.run, unit.lease
    unit.set_status(
        Status.IN_PROGRESS,
        turn=run.turn + (run.attempt == 0),
        attempt=run.attempt + 1,
        started_at=run.started_at or unit.now,
    )
    unit.lease = replace(
        unit.lease,
        epoch=lease.epoch + 1,
        worker=claimant.worker,
        due_at=unit.now + claimant.lease_ms,
    )


def finish(
    snapshot: Snapshot,
    epoch: int,
    reply: TurnResult,
    mint: Mint,
    *,
    turn: int,
    last_event: int,
    hosted: Mapping[str, HostedTool] = NO_HOSTED_TOOLS,
    listings: Sequence[ToolListing] = (),
) -> ChangeSet:
    """Save the reply of this turn, whole or cut, and decide how the run continues.

    `last_event` is the number of the reply's last event. `hosted` are the tools that the worker
    runs itself, `listings` those that it has listed. A worker that must run every call of the reply
    keeps the run. The answer is the `RunUpdate`. Raises `Fenced`, also if not every event of the
    reply has been stored.
    """
    run = _require_lease(snapshot, epoch)
    if run.turn != turn:
        raise errors.Fenced(f"The reply of turn {turn} of run {run.id} was saved before.")
    unit = UnitOfWork(snapshot, mint)
    if unit.lease.last_event != last_event:
        raise errors.Fenced(
            f"The log of run {run.id} ends with event {unit.lease.last_event}, not {last_event}."
        )
    unit.emit(*reply.events)
    unit.tool_listings = tuple(listings)
    if reply.usage:
        unit.run = replace(unit.run, usage=unit.run.usage + reply.usage)
    match reply.outcome:
        case "calls" if (reached := _find_reached_limit(unit, reply)) is not None:
            reason, limit = reached
            _add_reply(unit, reply)
            for call in reply.calls:  # a history needs an output for each
                unit.add_output(call.id, NOT_STARTED.format(limit))
            unit.end_turn(Status.INCOMPLETE, reason=reason)
        case "calls":
            _add_reply(unit, reply)
            unit.run = replace(unit.run, tool_calls=run.tool_calls + len(reply.calls))
            unit.dispatch_tool_calls(reply.calls, hosted)
        case "completed":
            _add_reply(unit, reply)
            unit.end_turn(Status.COMPLETED)
        case "incomplete":
            _add_partial_reply(unit, reply)
            is_late = reply.reason == "stalled" and run.is_overdue(snapshot.now)
            unit.end_turn(Status.INCOMPLETE, reason="timeout" if is_late else reply.reason)
        case "failed" | "invalid_tool_call":
            _add_partial_reply(unit, reply)
            unit.end_turn(Status.FAILED, error=reply.fault)
    return unit.build(RunUpdate(unit.run, unit.lease))


def _add_reply(unit: UnitOfWork, reply: TurnResult) -> None:
    """Add the message of a whole reply."""
    unit.add_reply(
        reply.text,
        reply.reasoning,
        reasoning_seconds=reply.reasoning_seconds,
        refusal=reply.refusal,
        details=reply.reasoning_details,
        citations=reply.citations,
        calls=reply.calls,
    )


def _add_partial_reply(unit: UnitOfWork, reply: TurnResult) -> None:
    """Add the message of a cut reply; calls that it may have begun are left out."""
    unit.add_partial_reply(
        ReplySoFar(
            text=reply.text,
            reasoning=reply.reasoning,
            reasoning_seconds=reply.reasoning_seconds,
            refusal=reply.refusal,
            citations=reply.citations,
        )
    )


def _find_reached_limit(unit: UnitOfWork, reply: TurnResult) -> tuple[Reason, str] | None:
    """Return the first limit of the run that forbids a further turn, and the limit in words."""
    run = unit.run
    used = run.usage
    tokens = used.input_tokens + used.output_tokens
    if run.turn >= run.max_turns:
        return "max_turns", f"{run.max_turns} turns"
    if run.max_tool_calls is not None and run.tool_calls + len(reply.calls) > run.max_tool_calls:
        return "max_tool_calls", f"{run.max_tool_calls} tool calls"
    if run.max_total_tokens is not None and tokens >= run.max_total_tokens:
        return "max_total_tokens", f"{run.max_total_tokens} tokens"
    if run.max_cost is not None and (used.cost is None or used.cost >= run.max_cost):
        return "max_cost", f"{run.max_cost:g} US dollars"
    if run.is_overdue(unit.now):
        return "timeout", f"{run.timeout} seconds"
    return None


def save_result(
    snapshot: Snapshot,
    epoch: int,
    tool_call_id: str,
    output: str,
    is_error: bool,
    mint: Mint,
    metadata: dict[str, str] | None = None,
) -> ChangeSet:
    """Save the output of a call that the worker ran; a second output is ignored.

    The answer is the `RunUpdate`. Raises `Fenced`.
    """
    _require_lease(snapshot, epoch)
    action = find_action(snapshot, tool_call_id)
    unit = UnitOfWork(snapshot, mint)
    if action.due:
        unit.close_action(action, "failed" if is_error else "completed", output, is_error, metadata)
    return unit.build(RunUpdate(unit.run, unit.lease))


def save_task(
    snapshot: Snapshot, epoch: int, tool_call_id: str, handle: TaskHandle, mint: Mint
) -> ChangeSet:
    """Save the task of an MCP server that carries out a call of the worker.

    The answer is the `RunUpdate`. Raises `Fenced`, and `Conflict` for a second task.
    """
    _require_lease(snapshot, epoch)
    action = find_action(snapshot, tool_call_id)
    unit = UnitOfWork(snapshot, mint)
    if action.due:
        unit.save_task(action, handle)
    return unit.build(RunUpdate(unit.run, unit.lease))


def fail(snapshot: Snapshot, epoch: int, fault: Fault, mint: Mint) -> ChangeSet:
    """End a run whose turn could not start or broke here; partial text is saved."""
    _require_lease(snapshot, epoch)
    unit = UnitOfWork(snapshot, mint)
    if unit.close_some_calls(Status.FAILED, fence=False):
        return replace(unit.build(unit.run), more=True)
    unit.add_partial_reply_from(snapshot.log)
    unit.end_turn(Status.FAILED, error=fault)
    return unit.build(unit.run)


def cancel(snapshot: Snapshot, mint: Mint, by: Principal = LOCAL_PRINCIPAL) -> ChangeSet:
    """Cancel the run in any state; a run that has ended is unchanged. The answer is the `Run`.

    A higher epoch fences the worker, partial text is saved, and open calls get an output. If an
    administrator cancels another owner's run, an audit entry is written.
    """
    run, _ = snapshot.require_run()
    if run.status.ended:
        return ChangeSet(answer=run)
    unit = UnitOfWork(snapshot, mint)
    if unit.close_some_calls(Status.CANCELLED):
        return replace(unit.build(unit.run), more=True)
    unit.cancel()
    change = unit.build(unit.run)
    if not by.administering:
        return change
    entry = AuditEntry(
        id=mint("audit"),
        at=snapshot.now,
        actor=by.actor,
        what="run.cancelled_by_admin",
        target=run.id,
        owner=by.owner,
    )
    return replace(change, audit_entry=entry)


def handle_timeout(snapshot: Snapshot, mint: Mint) -> ChangeSet | None:
    """Apply what is due by time alone: a lost worker, expired calls, or an expired run."""
    run, lease = snapshot.require_run()
    if run.status.ended or lease.due_at is None or lease.due_at > snapshot.now:
        return None
    unit = UnitOfWork(snapshot, mint)
    match run.status:
        case Status.IN_PROGRESS:
            more = _handle_lost_worker(unit)
        case Status.ACTION_REQUIRED:
            more = unit.expire_calls()
            if not more and (run.on_expiry == "expire" or run.is_overdue(snapshot.now)):
                more = _expire(unit)
            elif not more:
                unit.resume_if_complete()
        case _:
            more = _expire(unit)
    return replace(unit.build(unit.run), more=more)


def _expire(unit: UnitOfWork) -> bool:
    """End the run. Return whether closing its calls takes another transaction."""
    if unit.close_some_calls(Status.EXPIRED):
        return True
    unit.end_run(Status.EXPIRED)
    return False


def _handle_lost_worker(unit: UnitOfWork, *, fence: bool = True) -> bool:
    """Queue the run for its next attempt, or end it after the last one.

    Return whether closing its calls takes another transaction.
    """
    if unit.run.attempt < unit.run.max_attempts:
        unit.queue_next_attempt()
        return False
    if unit.close_some_calls(Status.INCOMPLETE, fence=fence):
        return True
    unit.end_lost_turn()
    return False


def release(snapshot: Snapshot, epoch: int, mint: Mint) -> ChangeSet | None:
    """Requeue the run of a worker that is stopping; None if another worker holds it by now."""
    run, lease = snapshot.require_run()
    if run.status is not Status.IN_PROGRESS or lease.epoch != epoch:
        return None
    unit = UnitOfWork(snapshot, mint)
    more = _handle_lost_worker(unit, fence=False)  # a raised epoch would refuse the next part
    return replace(unit.build(unit.run), more=more)


def decline(snapshot: Snapshot, epoch: int) -> ChangeSet | None:
    """Release a run whose destination this program does not serve; other programs may claim it.

    The model was not asked, so the attempt does not count. None if another worker holds the run.
    """
    run, lease = snapshot.require_run()
    if run.status is not Status.IN_PROGRESS or lease.epoch != epoch:
        return None
    unit = UnitOfWork(snapshot, _no_mint)
    unit.decline(provider_name(lease))
    return unit.build(unit.run)


def _require_lease(snapshot: Snapshot, epoch: int) -> Run:
    """Return the run, which must be held under this epoch. Raises `Fenced`."""
    run, lease = snapshot.require_run()
    if lease.epoch != epoch or run.status is not Status.IN_PROGRESS:
        raise errors.Fenced(f"Run {run.id} is in other hands: epoch {lease.epoch}, not {epoch}.")
    return run


def _ids(actions: Iterable[Action]) -> tuple[str, ...]:
    return tuple(action.tool_call_id for action in actions)


def _no_mint(prefix: str) -> str:
    raise errors.Internal(f"This transition creates nothing, so it needs no {prefix} id.")
