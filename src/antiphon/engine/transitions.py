"""What a run does next, read from its records alone: every move, pure.

Each function takes the `Records` of one transaction and returns the `Change` to write, or raises
the error that the caller gets; the store runs it inside the transaction, so what was read still
holds when it is written. `runs.MOVES` is the table of legal moves; nothing here gets past it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.engine import quotas
from antiphon.engine.destinations import adopt_destination, serves_all, waiting_for
from antiphon.engine.snapshot import Change, Driven, Records
from antiphon.engine.turn import Reply
from antiphon.engine.unit_of_work import Draft, rest_until, status_event
from antiphon.types import errors
from antiphon.types.accounts import Act, Principal
from antiphon.types.errors import InvalidRequest
from antiphon.types.ids import Mint
from antiphon.types.messages import Message, ToolSpec, parts
from antiphon.types.runs import (
    Action,
    Approval,
    Deadlines,
    Drive,
    Fault,
    Hosted,
    McpServer,
    Run,
    Sampling,
    Status,
    Thread,
)

# What a person says of a call that the worker would run: read, told to the model, told apart.


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


NOT_STARTED = "This call was not carried out: the run reached its limit of {} turns."
NONE_HOSTED: Mapping[str, Hosted] = {}
LOCALLY = Principal()


class AskModel(msgspec.Struct, frozen=True):
    """A worker may take the run and ask the model for the next turn."""


class RunTools(msgspec.Struct, frozen=True):
    """A worker may take the run; it has to run these calls itself before it asks the model."""

    tool_call_ids: tuple[str, ...]


class AwaitAsking(msgspec.Struct, frozen=True):
    """Nothing is missing; the next turn starts when a client asks for it."""


class AwaitWorker(msgspec.Struct, frozen=True):
    """A worker has the run."""


class AwaitOutputs(msgspec.Struct, frozen=True):
    """The client has to run these calls first, or to approve them."""

    tool_call_ids: tuple[str, ...]


class Ended(msgspec.Struct, frozen=True):
    """The run is over."""


Move = AskModel | RunTools | AwaitAsking | AwaitWorker | AwaitOutputs | Ended


def next_move(records: Records) -> Move:
    """What has to happen before this run can go on. Raises `NotFound` where there is no run."""
    run, drive = _driven(records)
    if run.status.ended:
        return Ended()
    if run.status is Status.IN_PROGRESS:
        return AwaitWorker()
    if awaited := _ids(action for action in records.actions if action.awaited):
        return AwaitOutputs(awaited)
    if not drive.wanted:
        return AwaitAsking()
    due = _ids(action for action in records.actions if action.due)
    return RunTools(due) if due else AskModel()


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it was asked for, with the assistant's and the settings' words filled in.

    `destination` is where its words go by the settings of this program.
    """

    model: str
    assistant_id: str | None = None
    instructions: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    sampling: Sampling = Sampling()
    deadlines: Deadlines = Deadlines()
    background: bool = False
    max_turns: int = 50
    max_attempts: int = 3
    on_expiry: Literal["continue", "expire"] = "continue"
    expires_in: int
    metadata: dict[str, str] = {}
    destination: str = ""


class Asked(msgspec.Struct, frozen=True):
    """A turn that was asked for: its events are those after number `after`."""

    run: Run
    after: int


def add_message(records: Records, call: operations.CreateMessage, mint: Mint) -> Change:
    """A user or system message at the end of a thread that no run is busy with."""
    draft = Draft(records, mint)
    _refuse_busy(records)
    role: Literal["user", "system"] = "system" if call.role == "system" else "user"
    message = draft.say(role, parts(call.content), call.metadata, call.compacts)
    return draft.change(message)


def create_run(
    records: Records,
    wish: RunSpec,
    mint: Mint,
    *,
    by: Principal,
    if_busy: operations.IfBusy = "reject",
    message: operations.NewMessage | None = None,
    new_thread: Thread | None = None,
    ask: bool = False,
    fresh: bool = False,
) -> Change:
    """A new run, with its message and its thread where those are new too, in one transaction.

    `ask` records that the first turn is wanted. The answer is `Asked`. Raises `RunActive` where the
    thread is busy and `if_busy` does not make way, and `QuotaExceeded`.
    """
    draft = Draft(replace(records, thread=new_thread) if new_thread else records, mint)
    displaced = draft.busy
    if displaced and if_busy in ("reject", "wait"):
        raise _busy(draft.run)
    less = displaced and draft.drive.key_id == by.key_id
    quotas.refuse_run(records, by.limits, less=int(less))
    if displaced and draft.close_some_calls(Status.CANCELLED):
        return replace(draft.change(), more=True)
    if displaced:
        _make_way(draft, if_busy)
    messages_before = draft.thread.messages
    if message is not None:
        draft.say(message.role, parts(message.content))
    now = records.now
    wished = msgspec.structs.asdict(wish)
    destination = wished.pop("destination")
    run = Run(
        id=mint("run"),
        thread_id=draft.thread.id,
        created_at=now,
        messages_before=messages_before,
        **wished,
    )
    wanted = ask or wish.background
    drive = Drive(wanted=wanted, fresh=fresh, due_at=rest_until(run, now, wanted=wanted))
    drive = replace(drive, key_id=by.key_id, trace=by.trace, destination=destination)
    draft.begin(run, drive)
    draft.tell(status_event(run))
    change = draft.change(Asked(run, 0))
    return replace(change, owner=by.owner, thread=draft.thread)


def ask(
    records: Records,
    *,
    by: Principal = LOCALLY,
    fresh: bool = False,
    serves: Callable[[str], bool] = serves_all,
    adopt: str | None = None,
) -> Change:
    """The next turn of this run is wanted; a turn in progress is joined. The answer is `Asked`.

    `serves` says of a destination whether this program sends words there in the same way; a run
    that has none is given the one to `adopt`. Raises `QuotaExceeded`, `RunEnded`, `OutputsMissing`,
    `ProviderMismatch` and `Unmarked`.
    """
    run, drive = _driven(records)
    asked = Asked(run, drive.turn_began_after)
    match next_move(records):
        case Ended():
            raise errors.RunEnded(
                f"Run {run.id} has ended: {run.status.value}.",
                expected="a run that has not ended",
                received=run.status.value,
                hint="Create a new run in the thread.",
                run_id=run.id,
                run_status=run.status.value,
                last_event=drive.last_event,
            )
        case AwaitOutputs(missing):
            raise errors.OutputsMissing(
                f"{len(missing)} tool call(s) of run {run.id} still wait for an output.",
                expected="an output for every call of the last turn",
                received="none yet for " + ", ".join(missing),
                hint="Submit each with POST /v1/submit_tool_output, then ask again.",
                run_id=run.id,
                tool_call_ids=list(missing),
                last_event=drive.last_event,
            )
        case AwaitAsking():
            drive = adopt_destination(run, drive, serves, adopt)
            quotas.refuse_turn(records, by.limits)
            wanted = replace(drive, wanted=True, fresh=fresh, due_at=None, trace=by.trace)
            return Change(answer=asked, driven=(Driven(run, wanted),))
        case AskModel() | RunTools():
            asked_of = adopt_destination(run, drive, serves, adopt)
            driven = () if asked_of == drive else (Driven(run, asked_of),)
            return Change(answer=asked, driven=driven)
        case AwaitWorker():
            return Change(answer=asked)


def claim(worker: str, lease_ms: int) -> Callable[[Records], Change | None]:
    """A worker takes the run: a higher epoch, a lease, and the turn's next attempt."""

    def decide(records: Records) -> Change | None:
        if not isinstance(next_move(records), AskModel | RunTools):
            return None
        draft = Draft(records, _no_mint)
        run, drive = _driven(records)
        draft.move(
            Status.IN_PROGRESS,
            turn=run.turn + (run.attempt == 0),
            attempt=run.attempt + 1,
            started_at=run.started_at or records.now,
        )
        draft.drive = replace(
            draft.drive, epoch=drive.epoch + 1, worker=worker, due_at=records.now + lease_ms
        )
        return draft.change()

    return decide


def finish(
    records: Records,
    epoch: int,
    reply: Reply,
    mint: Mint,
    *,
    turn: int,
    hosted: Mapping[str, Hosted] = NONE_HOSTED,
) -> Change:
    """The reply of this turn is whole, or will never be: keep it, and move the run on.

    `hosted` are the tools that the worker runs itself. Where it has to run all that was called, the
    run stays in its hands; the answer is the run as it now is. Raises `Fenced`.
    """
    run = _held(records, epoch)
    if run.turn != turn:
        raise errors.Fenced(f"The reply of turn {turn} of run {run.id} was kept before.")
    draft = Draft(records, mint)
    draft.tell(*reply.events)
    if reply.usage:
        draft.run = replace(draft.run, usage=draft.run.usage + reply.usage)
    match reply.outcome:
        case "calls" if run.turn >= run.max_turns:
            _keep(draft, reply)
            for call in reply.calls:
                draft.output(call.id, NOT_STARTED.format(run.max_turns))
            draft.end_turn(Status.INCOMPLETE, reason="max_turns")
        case "calls":
            _keep(draft, reply)
            draft.hand_out(reply.calls, hosted)
        case "completed":
            _keep(draft, reply)
            draft.end_turn(Status.COMPLETED)
        case "incomplete":
            draft.partial(reply.text, reply.reasoning, reply.refusal)
            draft.end_turn(Status.INCOMPLETE, reason=reply.reason)
        case "failed" | "invalid_tool_call":
            draft.partial(reply.text, reply.reasoning, reply.refusal)
            draft.end_turn(Status.FAILED, error=reply.fault)
    return draft.change(Driven(draft.run, draft.drive))


def _keep(draft: Draft, reply: Reply) -> None:
    """Add the message of a whole reply."""
    draft.reply(
        reply.text,
        reply.reasoning,
        refusal=reply.refusal,
        details=reply.reasoning_details,
        calls=reply.calls,
    )


def save_result(
    records: Records,
    epoch: int,
    tool_call_id: str,
    output: str,
    is_error: bool,
    mint: Mint,
    metadata: dict[str, str] | None = None,
) -> Change:
    """The output of a call that the worker ran, once. Answers as `finish`. Raises `Fenced`."""
    _held(records, epoch)
    action = _action(records, tool_call_id)
    draft = Draft(records, mint)
    if action.due:
        draft.answer_action(
            action, "failed" if is_error else "completed", output, is_error, metadata
        )
    return draft.change(Driven(draft.run, draft.drive))


def fail(records: Records, epoch: int, fault: Fault, mint: Mint) -> Change:
    """The turn cannot even be asked for, or broke in our own hands; what was said is kept."""
    _held(records, epoch)
    draft = Draft(records, mint)
    if draft.close_some_calls(Status.FAILED, fence=False):
        return replace(draft.change(draft.run), more=True)
    draft.partial_from(records.log)
    draft.end_turn(Status.FAILED, error=fault)
    return draft.change(draft.run)


def save_output(
    records: Records,
    tool_call_id: str,
    output: str,
    is_error: bool,
    mint: Mint,
    metadata: dict[str, str] | None = None,
) -> Change:
    """One output, once; the last one lets the run go on. The answer is the `Action`.

    For a call that waits to be approved the output is the `Approval`. The same output again changes
    nothing, whatever has become of the run since.
    """
    run, _ = _driven(records)
    action = _action(records, tool_call_id)
    if action.runs_on == "server":
        return _save_approval(records, action, read(action, output), mint)
    if action.status in ("completed", "failed") and _same(action, output, is_error):
        return Change(answer=action)
    if not _may_answer(run, action):
        raise _answered_otherwise(run, action)
    draft = Draft(records, mint)
    status: Literal["completed", "failed"] = "failed" if is_error else "completed"
    saved = draft.answer_action(action, status, output, is_error, metadata)
    draft.go_on_if_answered()
    return draft.change(saved)


def _save_approval(records: Records, action: Action, said: Approval, mint: Mint) -> Change:
    run, _ = _driven(records)
    if same(action, said):
        return Change(answer=action)
    if not _may_answer(run, action):
        raise _answered_otherwise(run, action)
    draft = Draft(records, mint)
    if said.approve:
        saved = draft.approve(action)
    else:
        refused = replace(action, approval="refused")
        saved = draft.answer_action(refused, "failed", refusal(said), is_error=True)
    draft.go_on_if_answered()
    return draft.change(saved)


def _may_answer(run: Run, action: Action) -> bool:
    return action.awaited and run.status is Status.ACTION_REQUIRED


def _answered_otherwise(run: Run, action: Action) -> errors.CallerError:
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


def cancel(records: Records, mint: Mint, by: Principal = LOCALLY) -> Change:
    """Stop the run where it stands; an ended run stays as it is. The answer is the `Run`.

    The driver is fenced by a higher epoch, what it had said is kept, open calls get an output. An
    administrator who does it to another's run leaves an act.
    """
    run, _ = _driven(records)
    if run.status.ended:
        return Change(answer=run)
    draft = Draft(records, mint)
    if draft.close_some_calls(Status.CANCELLED):
        return replace(draft.change(draft.run), more=True)
    draft.cancel()
    change = draft.change(draft.run)
    if not by.governing:
        return change
    act = Act(
        id=mint("audit"),
        at=records.now,
        actor=by.actor,
        what="run.cancelled_by_admin",
        target=run.id,
        owner=by.owner,
    )
    return replace(change, act=act)


def overdue(records: Records, mint: Mint) -> Change | None:
    """What time alone does to a run: a lost worker, calls nobody answered, a rest too long."""
    run, drive = _driven(records)
    if run.status.ended or drive.due_at is None or drive.due_at > records.now:
        return None
    draft = Draft(records, mint)
    match run.status:
        case Status.IN_PROGRESS:
            more = _lose_worker(draft)
        case Status.ACTION_REQUIRED:
            more = draft.expire_calls()
            if not more and run.on_expiry == "expire":
                more = _expire(draft)
            elif not more:
                draft.go_on_if_answered()
        case _:
            more = _expire(draft)
    return replace(draft.change(draft.run), more=more)


def _expire(draft: Draft) -> bool:
    """End the run; returns whether its calls have to be closed in more than one transaction."""
    if draft.close_some_calls(Status.EXPIRED):
        return True
    draft.end(Status.EXPIRED)
    return False


def _lose_worker(draft: Draft, *, fence: bool = True) -> bool:
    """Give the run to the next attempt, or end it; returns as `_expire`."""
    ends = draft.run.attempt >= draft.run.max_attempts
    if ends and draft.close_some_calls(Status.INCOMPLETE, fence=fence):
        return True
    draft.lose_worker()
    return False


def give_back(records: Records, epoch: int, mint: Mint) -> Change | None:
    """A worker that must stop lets go of the run; None where it is in other hands already."""
    run, drive = _driven(records)
    if run.status is not Status.IN_PROGRESS or drive.epoch != epoch:
        return None
    draft = Draft(records, mint)
    more = _lose_worker(draft, fence=False)  # or the rest could not be given back
    return replace(draft.change(draft.run), more=more)


def decline(records: Records, epoch: int) -> Change | None:
    """Release a run to other programs: its words would not go to its destination from here.

    Nothing was asked yet, so the attempt does not count. None where the run is in other hands.
    """
    run, drive = _driven(records)
    if run.status is not Status.IN_PROGRESS or drive.epoch != epoch:
        return None
    draft = Draft(records, _no_mint)
    draft.decline(waiting_for(drive))
    return draft.change(draft.run)


def fork(
    messages: Sequence[Message], thread: Thread, mint: Mint, now: int
) -> tuple[Thread, tuple[Message, ...]]:
    """The new thread with copies of these messages, less a call whose outputs are not all there."""
    kept = list(messages)
    waiting: dict[str, int] = {}
    for place, message in enumerate(messages):
        waiting |= {call.id: place for call in message.tool_calls}
        waiting.pop(message.tool_call_id or "", None)
    if waiting:
        kept = kept[: min(waiting.values())]
    copies = tuple(
        replace(
            message,
            id=mint("msg"),
            thread_id=thread.id,
            number=number,
            parent_id=message.id,
            run_id=None,
            created_at=now,
        )
        for number, message in enumerate(kept, 1)
    )
    return replace(thread, messages=len(copies), version=1 if copies else 0), copies


def _make_way(draft: Draft, if_busy: operations.IfBusy) -> None:
    run = draft.run
    draft.cancel(keep_partial=if_busy != "rollback")
    if if_busy == "rollback":
        draft.roll_back(run.messages_before)


def _refuse_busy(records: Records) -> None:
    if records.run is not None and not records.run.status.ended:
        raise _busy(records.run)


def _busy(run: Run) -> errors.RunActive:
    return errors.RunActive(
        f"Thread {run.thread_id} is busy with run {run.id} ({run.status.value}).",
        expected="a thread without an active run",
        received=f"{run.id} in {run.status.value}",
        hint="Finish or cancel that run, or set if_busy to wait, interrupt or rollback.",
        run_id=run.id,
        run_status=run.status.value,
    )


def _driven(records: Records) -> tuple[Run, Drive]:
    if records.run is None or records.drive is None:
        raise errors.NotFound("There is no such run.")
    return records.run, records.drive


def _held(records: Records, epoch: int) -> Run:
    """The run, which a worker has under this epoch. Raises `Fenced`."""
    run, drive = _driven(records)
    if drive.epoch != epoch or run.status is not Status.IN_PROGRESS:
        raise errors.Fenced(f"Run {run.id} is in other hands: epoch {drive.epoch}, not {epoch}.")
    return run


def _same(action: Action, output: str, is_error: bool) -> bool:
    return (action.output, action.is_error) == (output, is_error)


def _ids(actions: Iterable[Action]) -> tuple[str, ...]:
    return tuple(action.tool_call_id for action in actions)


def _action(records: Records, tool_call_id: str) -> Action:
    for action in records.actions:
        if action.tool_call_id == tool_call_id:
            return action
    raise errors.UnknownToolCall(
        "The model of this run made no such tool call.",
        expected="the tool_call_id of one of the run's actions",
        hint="GET /v1/actions?run_id= lists them.",
    )


def _no_mint(prefix: str) -> str:
    raise errors.Internal(f"This move makes nothing new, so it needs no {prefix} id.")
