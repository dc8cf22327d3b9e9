"""Unit of work: collects the changes of one transaction on a run.

`transitions` decides; `UnitOfWork` applies each decision to thread, run, actions and events
together. No message is added without a number, and no status changes without an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from antiphon.api.threads import PastMessage
from antiphon.engine.page_tools import PAGE_WORKER, page_tools
from antiphon.engine.snapshot import ChangeSet, RunUpdate, Snapshot
from antiphon.engine.transcript import ReplySoFar, fold_events
from antiphon.engine.webhooks import webhook_events
from antiphon.types import errors
from antiphon.types.events import (
    ActionRequired,
    Event,
    MessageCompleted,
    Numbered,
    RunStatus,
    ToolOutputAdded,
    ToolsListed,
    TurnEnded,
    TurnRestarted,
    to_pending_action,
)
from antiphon.types.ids import Mint, reply_id
from antiphon.types.messages import (
    Citation,
    Message,
    MessagePart,
    Part,
    ReasoningDetails,
    Refusal,
    TaskHandle,
    Text,
    ToolCall,
    ToolListing,
    join_text,
    parts,
    read_changed_arguments,
    result_files,
)
from antiphon.types.runs import (
    TRANSITIONS,
    Action,
    Fault,
    HostedTool,
    Reason,
    Run,
    RunLease,
    Status,
    Thread,
)
from antiphon.types.webhooks import WebhookEvent

CANCELLED = "This call was cancelled before its output came."
UNANSWERED = "Nobody answered this call in time; it may or may not have been carried out."
UNAPPROVED = "Nobody approved this call in time; it was not carried out."
CUT_SHORT = "The run ended before this call did; it may or may not have been carried out."

MAX_CLOSED_CALLS = 1_000
"""Calls closed in one transaction: writing them takes a store some hundredths of a second."""
MAX_CLOSING_TRANSACTIONS = 10
"""Transactions for closing the calls of a larger turn; each reads all calls of the turn."""

_TITLE_LENGTH = 60

_Closed = Literal["completed", "failed", "expired", "cancelled"]
_CLOSED: Mapping[Status, _Closed] = {Status.CANCELLED: "cancelled", Status.EXPIRED: "expired"}
"""Status of an open call after its run ended with this status; `failed` for any other."""


class UnitOfWork:
    """Collects the changes of one transaction on a run."""

    def __init__(self, snapshot: Snapshot, mint: Mint) -> None:
        if snapshot.thread is None:
            raise errors.NotFound("There is no such thread.")
        self.now = snapshot.now
        self.mint = mint
        self.thread: Thread = snapshot.thread
        self._was_archived = self.thread.archived
        self._run = snapshot.run
        self.lease: RunLease = snapshot.lease or RunLease()
        self._turn_began_after = self.lease.turn_began_after  # before this change
        self._log = snapshot.log
        self._actions = {action.id: action for action in snapshot.actions}
        self._last_place = self.thread.messages  # the last number reserved for an output
        self._output_places: dict[int, dict[str, int]] = {}
        self._touched: dict[str, Action] = {}
        self._messages: list[Message] = []
        self._events: list[Event] = []
        self._run_updates: list[RunUpdate] = []
        self._keep_messages: int | None = None
        self.tool_listings: tuple[ToolListing, ...] = ()  # of the next reply

    @property
    def busy(self) -> bool:
        """True if the thread has an active run."""
        return self._run is not None and not self._run.status.ended

    def require_no_active_run(self) -> None:
        """Raise `RunActive` if the thread has an active run."""
        if self.busy:
            raise run_active_error(self.run)

    @property
    def run(self) -> Run:
        """The run. Raises `NotFound` if there is none."""
        if self._run is None:
            raise errors.NotFound("There is no such run.")
        return self._run

    @run.setter
    def run(self, run: Run) -> None:
        self._run = run

    # The run and its events.

    def emit(self, *events: Event) -> None:
        """Append events to the run's log."""
        self._events += events
        self.lease = replace(self.lease, last_event=self.lease.last_event + len(events))

    def begin_run(self, run: Run, lease: RunLease) -> None:
        """Continue with a new run; a displaced run is written in its current state."""
        self._flush_run()
        self._unarchive_thread()
        self.run, self.lease, self._actions, self._output_places = run, lease, {}, {}
        self._turn_began_after = lease.turn_began_after

    def build(self, answer: object = None) -> ChangeSet:
        """Return the collected changes."""
        self._flush_run()
        has_changed = self.thread.archived != self._was_archived
        if self._messages or self._keep_messages is not None:
            has_changed = True
            self.thread = replace(self.thread, version=self.thread.version + 1, updated_at=self.now)
        return ChangeSet(
            answer=answer,
            thread=self.thread if has_changed else None,
            keep_messages=self._keep_messages,
            messages=tuple(self._messages),
            run_updates=tuple(self._run_updates),
            actions=tuple(self._touched.values()),
        )

    def _flush_run(self) -> None:
        """Collect the run with its new events, and the webhook events of these.

        A temporary thread has no webhook events.
        """
        if self._run is None:
            return
        notices: tuple[WebhookEvent, ...] = ()
        if not self.thread.temporary:
            notices = webhook_events(
                self._run, self._events, self._turn_began_after, self.now, self.mint
            )
        self._run_updates.append(RunUpdate(self._run, self.lease, tuple(self._events), notices))
        self._events = []

    # Messages.

    def add_message(
        self,
        role: Literal["user", "assistant", "system"],
        content: tuple[Part, ...],
        metadata: dict[str, str] | None = None,
        compacts: int | None = None,
    ) -> Message:
        """Add a message of no run. The first user message gives the thread its title."""
        message = Message(
            id=self.mint("msg"),
            thread_id=self.thread.id,
            number=self.thread.messages + 1,
            role=role,
            content=content,
            compacts=compacts,
            metadata=metadata or {},
            created_at=self.now,
        )
        if role == "user":
            self._continue_thread(message.text)
        return self._append(message)

    def _continue_thread(self, text: str) -> None:
        """Unarchive the thread; name it after this message of the user."""
        self._unarchive_thread()
        if not self.thread.title:
            self.thread = replace(self.thread, title=_make_title(text), title_from="message")

    def _unarchive_thread(self) -> None:
        if self.thread.archived:
            self.thread = replace(self.thread, archived=False)

    def add_past_message(self, past: PastMessage) -> Message:
        """Add a message of a conversation that took place elsewhere."""
        if past.role == "user":
            self._continue_thread(join_text(past.content))
        return self._append(
            Message(
                id=self.mint("msg"),
                thread_id=self.thread.id,
                number=self.thread.messages + 1,
                role=past.role,
                content=parts(past.content),
                tool_calls=tuple(
                    ToolCall(call.id, call.name, call.arguments) for call in past.tool_calls
                ),
                tool_call_id=past.tool_call_id,
                is_error=past.is_error,
                reasoning=past.reasoning,
                metadata=past.metadata,
                created_at=self.now,
            )
        )

    def add_reply(
        self,
        text: str,
        reasoning: str | None,
        *,
        reasoning_seconds: int = 0,
        refusal: str | None = None,
        details: ReasoningDetails | None = None,
        citations: tuple[Citation, ...] = (),
        calls: tuple[ToolCall, ...] = (),
        status: Literal["completed", "incomplete"] = "completed",
    ) -> None:
        """Add the assistant's message and emit its event."""
        content: tuple[MessagePart, ...] = (Text(text),) if text else ()
        if refusal:
            content = (*content, Refusal(refusal))
        message = self._append(
            Message(
                id=reply_id(self.run.id, self.run.turn),
                thread_id=self.thread.id,
                number=self.thread.messages + 1,
                role="assistant",
                content=content,
                tool_calls=calls,
                reasoning=reasoning or None,
                reasoning_seconds=reasoning_seconds or msgspec.UNSET,
                reasoning_details=details,
                status=status,
                continues=True if self.run.continues and self.run.turn <= 1 else msgspec.UNSET,
                run_id=self.run.id,
                tool_listings=self.tool_listings or msgspec.UNSET,
                citations=citations or msgspec.UNSET,
                created_at=self.now,
            )
        )
        self.emit(MessageCompleted(message=message))

    def add_partial_reply(self, reply: ReplySoFar) -> None:
        """Add the text of a cut reply as an incomplete message; nothing if there was none."""
        if reply.text or reply.reasoning or reply.refusal:
            self.add_reply(
                reply.text,
                reply.reasoning,
                reasoning_seconds=reply.reasoning_seconds,
                refusal=reply.refusal,
                citations=reply.citations,
                status="incomplete",
            )

    def add_partial_reply_from(self, log: Sequence[Numbered]) -> None:
        """Add the unsaved text of a turn whose worker is gone, read from its events.

        The turn may have saved several replies, with outputs between them.
        """
        saved = max((n for n, event in log if isinstance(event, MessageCompleted)), default=0)
        listed = [event for n, event in log if isinstance(event, ToolsListed) and n > saved]
        self.tool_listings = listed[-1].listings if listed else ()
        self.add_partial_reply(fold_events(numbered for numbered in log if numbered[0] > saved))

    def add_output(self, tool_call_id: str, output: str) -> None:
        """Append a tool message for a call that never became an action."""
        number = self.thread.messages + 1
        self._append(
            self._tool_message(self.mint("msg"), number, tool_call_id, output, is_error=True)
        )

    def _tool_message(
        self, id: str, number: int, tool_call_id: str, output: str, **fields: Any
    ) -> Message:
        return Message(
            id=id,
            thread_id=self.thread.id,
            number=number,
            role="tool",
            content=parts(output),
            tool_call_id=tool_call_id,
            run_id=self.run.id,
            created_at=self.now,
            **fields,
        )

    def _append(self, message: Message) -> Message:
        self.thread = replace(self.thread, messages=message.number)
        self._messages.append(message)
        return message

    # Status.

    def set_status(self, status: Status, **fields: object) -> None:
        """Change the status, if the change is legal, and emit the event."""
        run = self.run
        if status not in TRANSITIONS[run.status]:
            raise errors.Internal(f"A run cannot go from {run.status.value} to {status.value}.")
        self.run = replace(run, **{"status": status, "waiting_for": None, **fields})
        self.emit(status_event(self.run))

    def wait_for_provider(self, provider: str) -> None:
        """Set the provider that the queued run waits for, and emit the event."""
        self.run = replace(self.run, waiting_for=provider)
        self.emit(status_event(self.run))

    def end_run(
        self, status: Status, *, reason: Reason | None = None, error: Fault | None = None
    ) -> None:
        """End the run between two turns or before the first, and close its open calls."""
        self._close_actions(self._open_actions(), _CLOSED.get(status, "failed"))
        self.set_status(status, reason=reason, error=error, ended_at=self.now)
        self.lease = replace(self.lease, wanted=False, worker=None, due_at=None)

    def end_turn(
        self, status: Status, *, reason: Reason | None = None, error: Fault | None = None
    ) -> None:
        """End the run and its current turn."""
        self.end_run(status, reason=reason, error=error)
        self._close_turn(reason)

    def _close_turn(self, reason: Reason | None = None) -> None:
        run = self.run
        self.emit(TurnEnded(run_id=run.id, status=run.status, reason=reason))
        self.lease = replace(self.lease, turn_began_after=self.lease.last_event)

    def dispatch_tool_calls(
        self, tool_calls: tuple[ToolCall, ...], hosted: Mapping[str, HostedTool]
    ) -> None:
        """Create an action for each call, and reserve a place in the thread for each output.

        `hosted` are the worker's tools by name. If the client must run or approve a call, the run
        waits and `action.required` lists these actions. Otherwise the worker continues with the
        next turn.
        """
        expires_at = rest_deadline(self.run, self.now)
        actions = [
            self._make_action(call, hosted.get(call.name), expires_at) for call in tool_calls
        ]
        self._actions |= {action.id: action for action in actions}
        self._output_places = {}
        self._touched |= {action.id: action for action in actions}
        # Outputs arrive in any order and are stored in call order: reserve their numbers now.
        self.thread = replace(self.thread, messages=self.thread.messages + len(actions))
        self._last_place = self.thread.messages
        manifest = tuple(to_pending_action(action) for action in actions if action.awaited)
        if manifest:
            self.emit(ActionRequired(run_id=self.run.id, actions=manifest))
            self.set_status(Status.ACTION_REQUIRED, attempt=0)
            self.lease = replace(
                self.lease, wanted=False, worker=None, due_at=expires_at, fresh=False
            )
            self._close_turn()
        else:
            self.run = replace(self.run, turn=self.run.turn + 1, attempt=1)

    def _make_action(self, call: ToolCall, hosted: HostedTool | None, expires_at: int) -> Action:
        run = self.run
        is_of_page = not hosted and any(tool.name == call.name for tool in page_tools(run))
        return Action(
            id=self.mint("act"),
            run_id=run.id,
            thread_id=run.thread_id,
            turn=run.turn,
            tool_call_id=call.id,
            name=call.name,
            arguments=msgspec.json.decode(call.arguments, type=dict[str, Any]),
            runs_on="server" if hosted else "client",
            server=hosted.server if hosted else None,
            approval="required" if hosted and hosted.asks else None,
            tool_digest=hosted.digest if hosted and hosted.asks else None,
            worker=PAGE_WORKER if is_of_page else None,
            claimed_until=expires_at if is_of_page else None,
            created_at=self.now,
            expires_at=expires_at,
        )

    def save_task(self, action: Action, handle: TaskHandle) -> Action:
        """Save the task that carries out the call; its age is counted from now.

        The same task again changes nothing. Raises `Conflict` if the call has another one.
        """
        if action.task is None:
            return self._put_action(replace(action, task=replace(handle, created_at=self.now)))
        if replace(action.task, created_at=handle.created_at) == handle:
            return action
        raise errors.Conflict(
            f"Tool call {action.tool_call_id} is carried out by another task already.",
            expected="one task for a call",
            hint="Somebody else runs the call too: the first output counts.",
            action_id=action.id,
        )

    def approve_action(self, action: Action) -> Action:
        """Allow the worker to run this call when the run continues."""
        return self._put_action(replace(action, approval="given"))

    def close_action(
        self,
        action: Action,
        status: _Closed,
        output: str,
        is_error: bool,
        metadata: dict[str, str] | None = None,
    ) -> Action:
        """Close the action, add its tool message in the reserved place, and emit the event."""
        cancelled = {"fault": "cancelled"} if status == "cancelled" else {}
        metadata = cancelled | (metadata or {})
        places = self._places_of(action.turn)
        number = self._last_place - len(places) + 1 + places[action.id]
        self._messages.append(
            self._tool_message(
                output_message_id(action),
                number,
                action.tool_call_id,
                output,
                is_error=is_error,
                metadata=metadata,
            )
        )
        self.emit(
            ToolOutputAdded(
                tool_call_id=action.tool_call_id,
                output=output,
                is_error=is_error,
                refused=action.approval == "refused" or metadata.get("fault") == "refused",
                cancelled=metadata.get("fault") == "cancelled",
                arguments=read_changed_arguments(metadata),
                files=result_files(metadata),
            )
        )
        return self._put_action(
            replace(
                action,
                status=status,
                output=output,
                is_error=is_error,
                task=None,
                ended_at=self.now,
            )
        )

    def _places_of(self, turn: int) -> dict[str, int]:
        """Return the places of a turn's actions by id, numbered from 0 in call order."""
        if turn not in self._output_places:
            ids = (each.id for each in self._actions.values() if each.turn == turn)
            self._output_places[turn] = {each: place for place, each in enumerate(ids)}
        return self._output_places[turn]

    def expire_calls(self) -> bool:
        """Close calls that the client left open, each with an output that says so.

        Return whether some are still open, because one transaction closes a limited number.
        """
        awaited = [action for action in self._open_actions() if action.awaited]
        for action in awaited[: self._max_closed]:
            output = UNANSWERED if action.runs_on == "client" else UNAPPROVED
            self.close_action(action, "expired", output, is_error=True)
        return len(awaited) > self._max_closed

    def close_some_calls(self, status: Status, *, fence: bool = True) -> bool:
        """Close some calls of a run that is to end, if it has too many for one transaction.

        Return whether it had too many: then the run does not end in this transaction. With `fence`,
        the epoch of a run that a worker holds is raised.
        """
        waiting = self._open_actions()
        if len(waiting) <= self._max_closed:
            return False
        if fence and self.run.status is Status.IN_PROGRESS:
            self.lease = replace(self.lease, epoch=self.lease.epoch + 1)
        self._close_actions(waiting[: self._max_closed], _CLOSED.get(status, "failed"))
        return True

    @property
    def _max_closed(self) -> int:
        return max(MAX_CLOSED_CALLS, len(self._actions) // MAX_CLOSING_TRANSACTIONS)

    def _close_actions(self, actions: Sequence[Action], status: _Closed) -> None:
        """Close these calls with an output that says why."""
        output = CANCELLED if status == "cancelled" else CUT_SHORT
        for action in actions:
            self.close_action(action, status, output, is_error=True)

    def _open_actions(self) -> list[Action]:
        return [action for action in self._actions.values() if action.status == "pending"]

    def _put_action(self, action: Action) -> Action:
        self._actions[action.id] = self._touched[action.id] = action
        return action

    def resume_if_complete(self, *, request_turn: bool = False) -> None:
        """Queue the run if no action waits for the client.

        A background run requests its next turn at once, as any run does with `request_turn`.
        """
        if any(action.awaited for action in self._actions.values()):
            return
        run = self.run
        wanted = run.background or request_turn
        self.set_status(Status.QUEUED)
        self.lease = replace(
            self.lease, wanted=wanted, due_at=queue_deadline(run, self.now, wanted=wanted)
        )

    def cancel(self, *, keep_partial: bool = True) -> None:
        """Cancel the run, fence its worker, and save its partial text."""
        in_turn = self.run.status is Status.IN_PROGRESS
        self.lease = replace(self.lease, epoch=self.lease.epoch + 1)
        if in_turn and keep_partial:
            self.add_partial_reply_from(self._log)
        if in_turn:
            self.end_turn(Status.CANCELLED)
        else:
            self.end_run(Status.CANCELLED)

    def end_lost_turn(self) -> None:
        """End the run of a lost worker, fence the worker, and save its partial text."""
        self.add_partial_reply_from(self._log)
        self.lease = replace(self.lease, epoch=self.lease.epoch + 1)
        self.end_turn(Status.INCOMPLETE, reason="worker_lost")

    def queue_next_attempt(self) -> None:
        """Queue the run of a lost worker; what the lost attempt has written is void."""
        run = self.run
        void_after = _attempt_start(self._log)
        if void_after is not None:
            self.emit(
                TurnRestarted(reason="worker_lost", after=void_after, attempt=run.attempt + 1)
            )
        self.set_status(Status.QUEUED)
        # The epoch rises here too, so that the lost worker is fenced before the next claim.
        self.lease = replace(
            self.lease,
            epoch=self.lease.epoch + 1,
            wanted=True,
            worker=None,
            due_at=run.ends_by,
        )

    def decline(self, provider: str) -> None:
        """Undo a claim before the model was asked; the run waits for this provider."""
        run = self.run
        self.set_status(
            Status.QUEUED,
            attempt=run.attempt - 1,
            turn=run.turn - (run.attempt == 1),  # the next claim counts the turn again
            waiting_for=provider,
        )
        self.lease = replace(
            self.lease, epoch=self.lease.epoch + 1, worker=None, due_at=run.ends_by
        )

    def roll_back(self, messages: int) -> None:
        """Delete the messages after this number from the thread."""
        self._keep_messages = messages
        self._messages = []
        self.thread = replace(self.thread, messages=messages)


def output_message_id(action: Action) -> str:
    """Return the id of the tool message with this action's output."""
    return "msg_" + action.id.removeprefix("act_")


def _attempt_start(log: Sequence[Numbered]) -> int | None:
    """Return the number of the event before the first void one; None if the attempt wrote nothing.

    Saved messages and outputs are never void.
    """
    began = None
    for number, event in log:
        match event:
            case RunStatus(status=Status.IN_PROGRESS) | TurnRestarted():
                began = number
            case MessageCompleted() | ToolOutputAdded():  # of this turn's beginning
                began = number
            case _:
                pass
    last = log[-1][0] if log else None
    return None if began is None or began == last else began


def status_event(run: Run) -> RunStatus:
    """Return the event for the run's current status."""
    return RunStatus(
        run_id=run.id,
        thread_id=run.thread_id,
        status=run.status,
        reason=run.reason,
        error=run.error,
        waiting_for=run.waiting_for,
        continues=run.continues,
    )


def run_active_error(run: Run) -> errors.RunActive:
    """Return the error for a thread that is busy with this run."""
    return errors.RunActive(
        f"Thread {run.thread_id} is busy with run {run.id} ({run.status.value}).",
        expected="a thread without an active run",
        received=f"{run.id} in {run.status.value}",
        hint="Finish or cancel that run, or set if_busy to wait, interrupt or rollback.",
        run_id=run.id,
        run_status=run.status.value,
    )


def rest_deadline(run: Run, now: int) -> int:
    """Return when a run that waits for its client expires: it blocks its thread until then."""
    expires_at = now + run.expires_in * 1000
    return expires_at if run.ends_by is None else min(expires_at, run.ends_by)


def queue_deadline(run: Run, now: int, *, wanted: bool) -> int | None:
    """Return when a queued run expires: at its timeout if a turn is requested, else as at rest."""
    return run.ends_by if wanted else rest_deadline(run, now)


def _make_title(text: str) -> str:
    """Return the first line; a long one is cut at a word that leaves at least half."""
    line = text.strip().split("\n", 1)[0].strip()
    if len(line) <= _TITLE_LENGTH:
        return line
    head = line[: _TITLE_LENGTH - 1]
    words = head if line[len(head)].isspace() else head.rpartition(" ")[0]
    return (words if len(words) >= _TITLE_LENGTH // 2 else head).rstrip() + "…"
