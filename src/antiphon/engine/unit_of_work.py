"""A change while it is being written: the run as it will be, and what will be told of it.

`moves` decides; here is what each decision does to thread, run, actions and events, so that a
message is never added without its number, nor a status moved without its event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from antiphon.engine.snapshot import Change, Driven, Records
from antiphon.engine.transcript import fold
from antiphon.types import errors
from antiphon.types.events import (
    ActionRequired,
    Event,
    MessageCompleted,
    Numbered,
    PendingAction,
    RunStatus,
    ToolOutputAdded,
    TurnEnded,
    TurnRestarted,
    pending,
)
from antiphon.types.ids import Mint
from antiphon.types.messages import (
    Message,
    MessagePart,
    Part,
    ReasoningDetails,
    Refusal,
    Text,
    ToolCall,
    changed_arguments,
    parts,
)
from antiphon.types.runs import MOVES, Action, Drive, Fault, Hosted, Reason, Run, Status, Thread

CANCELLED = "This call was cancelled before its output came."
UNANSWERED = "Nobody answered this call in time; it may or may not have been carried out."
UNAPPROVED = "Nobody approved this call in time; it was not carried out."
CUT_SHORT = "The run ended before this call did; it may or may not have been carried out."

MOST_CLOSED = 1_000
"""Calls that one transaction closes: writing them takes a store some hundredths of a second."""
PARTS = 10
"""Transactions in which the calls of a larger turn are closed: each of them reads all its calls."""

_TITLE_LENGTH = 60

_Closed = Literal["completed", "failed", "expired", "cancelled"]
_CLOSED: Mapping[Status, _Closed] = {Status.CANCELLED: "cancelled", Status.EXPIRED: "expired"}
"""What becomes of an open call with its run; where nothing else is said, it has failed."""


class Draft:
    """A change while it is being written: the run as it will be, and what will be told of it."""

    def __init__(self, records: Records, mint: Mint) -> None:
        if records.thread is None:
            raise errors.NotFound("There is no such thread.")
        self.now = records.now
        self.mint = mint
        self.thread: Thread = records.thread
        self._run = records.run
        self.drive: Drive = records.drive or Drive()
        self._log = records.log
        self._actions = {action.id: action for action in records.actions}
        self._last_place = self.thread.messages  # of those that are kept for outputs
        self._places: dict[int, dict[str, int]] = {}
        self._touched: dict[str, Action] = {}
        self._messages: list[Message] = []
        self._events: list[Event] = []
        self._driven: list[Driven] = []
        self._keep_messages: int | None = None

    @property
    def busy(self) -> bool:
        """Whether the thread has a run that is under way."""
        return self._run is not None and not self._run.status.ended

    @property
    def run(self) -> Run:
        """The run. Raises `NotFound` where there is none."""
        if self._run is None:
            raise errors.NotFound("There is no such run.")
        return self._run

    @run.setter
    def run(self, run: Run) -> None:
        self._run = run

    # What the change says.

    def tell(self, *events: Event) -> None:
        """Add events to the run's log."""
        self._events += events
        self.drive = replace(self.drive, last_event=self.drive.last_event + len(events))

    def begin(self, run: Run, drive: Drive) -> None:
        """Go over to a new run; the one that it displaced, if any, is written as it stands."""
        self._settle()
        self.run, self.drive, self._actions, self._places = run, drive, {}, {}

    def change(self, answer: object = None) -> Change:
        """Everything drafted so far, to be written at once."""
        self._settle()
        said = bool(self._messages) or self._keep_messages is not None
        if said:
            self.thread = replace(self.thread, version=self.thread.version + 1, updated_at=self.now)
        return Change(
            answer=answer,
            thread=self.thread if said else None,
            keep_messages=self._keep_messages,
            messages=tuple(self._messages),
            driven=tuple(self._driven),
            actions=tuple(self._touched.values()),
        )

    def _settle(self) -> None:
        if self._run is not None:
            self._driven.append(Driven(self._run, self.drive, tuple(self._events)))
            self._events = []

    # Messages.

    def say(
        self,
        role: Literal["user", "system"],
        content: tuple[Part, ...],
        metadata: dict[str, str] | None = None,
        compacts: int | None = None,
    ) -> Message:
        """A user or system message; the first user message names the thread."""
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
        if role == "user" and not self.thread.title:
            self.thread = replace(self.thread, title=_title(message.text))
        return self._append(message)

    def reply(
        self,
        text: str,
        reasoning: str | None,
        *,
        refusal: str | None = None,
        details: ReasoningDetails | None = None,
        calls: tuple[ToolCall, ...] = (),
        status: Literal["completed", "incomplete"] = "completed",
    ) -> None:
        """The assistant's message, and the event that shows it."""
        message = self._append(
            Message(
                id=self.mint("msg"),
                thread_id=self.thread.id,
                number=self.thread.messages + 1,
                role="assistant",
                content=_reply_content(text, refusal),
                tool_calls=calls,
                reasoning=reasoning or None,
                reasoning_details=details,
                status=status,
                run_id=self.run.id,
                created_at=self.now,
            )
        )
        self.tell(MessageCompleted(message=message))

    def partial(self, text: str, reasoning: str | None, refusal: str | None = None) -> None:
        """What a cut reply had said, marked; nothing where it had said nothing."""
        if text or reasoning or refusal:
            self.reply(text, reasoning, refusal=refusal, status="incomplete")

    def partial_from(self, log: Sequence[Numbered]) -> None:
        """The same, from the events of a turn whose driver is gone: what it said and had not saved.

        Several replies may have been saved in it, with outputs between them.
        """
        saved = max((n for n, event in log if isinstance(event, MessageCompleted)), default=0)
        said = fold(numbered for numbered in log if numbered[0] > saved)
        self.partial(said.text, said.reasoning, said.refusal)

    def output(self, tool_call_id: str, output: str) -> None:
        """A tool message at the end of the thread, for a call that never became an action."""
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

    # Moves.

    def move(self, status: Status, **fields: object) -> None:
        """One legal move, and the event that says so."""
        run = self.run
        if status not in MOVES[run.status]:
            raise errors.Internal(f"A run cannot go from {run.status.value} to {status.value}.")
        self.run = replace(run, **{"status": status, "waiting_for": None, **fields})
        self.tell(status_event(self.run))

    def wait_for(self, provider: str) -> None:
        """Say which provider the queued run waits for; it stays where it is."""
        self.run = replace(self.run, waiting_for=provider)
        self.tell(status_event(self.run))

    def end(
        self, status: Status, *, reason: Reason | None = None, error: Fault | None = None
    ) -> None:
        """The run is over, between two turns or before the first; no call stays open."""
        self._close(self._open(), _CLOSED.get(status, "failed"))
        self.move(status, reason=reason, error=error, ended_at=self.now)
        self.drive = replace(self.drive, wanted=False, worker=None, due_at=None)

    def end_turn(
        self, status: Status, *, reason: Reason | None = None, error: Fault | None = None
    ) -> None:
        """The run is over, and with it the turn under way."""
        self.end(status, reason=reason, error=error)
        self._close_turn(reason)

    def _close_turn(self, reason: Reason | None = None) -> None:
        run = self.run
        self.tell(TurnEnded(run_id=run.id, status=run.status, reason=reason))
        self.drive = replace(self.drive, turn_began_after=self.drive.last_event)

    def hand_out(self, tool_calls: tuple[ToolCall, ...], hosted: Mapping[str, Hosted]) -> None:
        """One action per call; the thread keeps a place for each output.

        `hosted` are the tools, by name, that the worker runs. While the client has anything to do
        the run rests, and the manifest says what; where it has not, the next turn begins at once,
        in other words the worker goes on.
        """
        expires_at = self.now + self.run.expires_in * 1000
        actions = [self._action(call, hosted.get(call.name), expires_at) for call in tool_calls]
        self._actions |= {action.id: action for action in actions}
        self._places = {}
        self._touched |= {action.id: action for action in actions}
        # Outputs come in any order and are kept in call order, so their numbers are taken now.
        self.thread = replace(self.thread, messages=self.thread.messages + len(actions))
        self._last_place = self.thread.messages
        manifest = tuple(pending(action) for action in actions if action.awaited)
        if manifest:
            self._rest(manifest, expires_at)
        else:
            self.run = replace(self.run, turn=self.run.turn + 1, attempt=1)

    def _rest(self, manifest: tuple[PendingAction, ...], until: int) -> None:
        self.tell(ActionRequired(run_id=self.run.id, actions=manifest))
        self.move(Status.ACTION_REQUIRED, attempt=0)
        self.drive = replace(self.drive, wanted=False, worker=None, due_at=until, fresh=False)
        self._close_turn()

    def _action(self, call: ToolCall, hosted: Hosted | None, expires_at: int) -> Action:
        run = self.run
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
            created_at=self.now,
            expires_at=expires_at,
        )

    def approve(self, action: Action) -> Action:
        """The call may be run; it is, when the run goes on."""
        return self._keep_action(replace(action, approval="given"))

    def answer_action(
        self,
        action: Action,
        status: _Closed,
        output: str,
        is_error: bool,
        metadata: dict[str, str] | None = None,
    ) -> Action:
        """The action's end, its tool message in the place that was kept for it, and the event."""
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
        self.tell(
            ToolOutputAdded(
                tool_call_id=action.tool_call_id,
                output=output,
                is_error=is_error,
                refused=action.approval == "refused" or metadata.get("fault") == "refused",
                cancelled=metadata.get("fault") == "cancelled",
                arguments=changed_arguments(metadata),
            )
        )
        return self._keep_action(
            replace(action, status=status, output=output, is_error=is_error, ended_at=self.now)
        )

    def _places_of(self, turn: int) -> dict[str, int]:
        """The actions of a turn by their ids, numbered from 0 in call order."""
        if turn not in self._places:
            ids = (each.id for each in self._actions.values() if each.turn == turn)
            self._places[turn] = {each: place for place, each in enumerate(ids)}
        return self._places[turn]

    def expire_calls(self) -> bool:
        """Give the calls that the client has left open an output that says so.

        Returns whether there are more than one transaction closes; these are still open.
        """
        awaited = [action for action in self._open() if action.awaited]
        for action in awaited[: self._most_closed]:
            output = UNANSWERED if action.runs_on == "client" else UNAPPROVED
            self.answer_action(action, "expired", output, is_error=True)
        return len(awaited) > self._most_closed

    def close_some_calls(self, status: Status, *, fence: bool = True) -> bool:
        """Close as many calls as one transaction may, where a run that shall end has more open.

        Returns whether it had: then the run does not end yet. A driver is fenced off with `fence`.
        """
        waiting = self._open()
        if len(waiting) <= self._most_closed:
            return False
        if fence and self.run.status is Status.IN_PROGRESS:
            self.drive = replace(self.drive, epoch=self.drive.epoch + 1)
        self._close(waiting[: self._most_closed], _CLOSED.get(status, "failed"))
        return True

    @property
    def _most_closed(self) -> int:
        return max(MOST_CLOSED, len(self._actions) // PARTS)

    def _close(self, actions: Sequence[Action], status: _Closed) -> None:
        """Give open calls an output that says what became of them."""
        output = CANCELLED if status == "cancelled" else CUT_SHORT
        for action in actions:
            self.answer_action(action, status, output, is_error=True)

    def _open(self) -> list[Action]:
        return [action for action in self._actions.values() if action.status == "pending"]

    def _keep_action(self, action: Action) -> Action:
        self._actions[action.id] = self._touched[action.id] = action
        return action

    def go_on_if_answered(self) -> None:
        """When the client has done its part the run may go on; it waits to be asked."""
        if any(action.awaited for action in self._actions.values()):
            return
        run = self.run
        self.move(Status.QUEUED)
        self.drive = replace(
            self.drive,
            wanted=run.background,
            due_at=rest_until(run, self.now, wanted=run.background),
        )

    def cancel(self, *, keep_partial: bool = True) -> None:
        """Stop; whoever drives the run is fenced, what it had said is kept."""
        driven = self.run.status is Status.IN_PROGRESS
        self.drive = replace(self.drive, epoch=self.drive.epoch + 1)
        if driven and keep_partial:
            self.partial_from(self._log)
        if driven:
            self.end_turn(Status.CANCELLED)
        else:
            self.end(Status.CANCELLED)

    def lose_worker(self) -> None:
        """The next attempt, or the end of them; what was said is void, or kept and marked."""
        run = self.run
        if run.attempt >= run.max_attempts:
            self.partial_from(self._log)
            self.drive = replace(self.drive, epoch=self.drive.epoch + 1)
            self.end_turn(Status.INCOMPLETE, reason="worker_lost")
            return
        void_after = _attempt_began(self._log)
        if void_after is not None:
            self.tell(
                TurnRestarted(reason="worker_lost", after=void_after, attempt=run.attempt + 1)
            )
        self.move(Status.QUEUED)
        # The epoch rises here too, so that the lost worker is fenced before the next one comes.
        self.drive = replace(
            self.drive, epoch=self.drive.epoch + 1, wanted=True, worker=None, due_at=None
        )

    def decline(self, provider: str) -> None:
        """Undo a claim before anything was asked; the run waits for this provider."""
        run = self.run
        self.move(
            Status.QUEUED,
            attempt=run.attempt - 1,
            turn=run.turn - (run.attempt == 1),  # the next claim begins the turn again
            waiting_for=provider,
        )
        self.drive = replace(self.drive, epoch=self.drive.epoch + 1, worker=None, due_at=None)

    def roll_back(self, messages: int) -> None:
        """Leave only so many messages in the thread: as if those after them had never been."""
        self._keep_messages = messages
        self._messages = []
        self.thread = replace(self.thread, messages=messages)


def _reply_content(text: str, refusal: str | None) -> tuple[MessagePart, ...]:
    said: tuple[MessagePart, ...] = (Text(text),) if text else ()
    return (*said, Refusal(refusal)) if refusal else said


def output_message_id(action: Action) -> str:
    """The id of the tool message that holds this action's output."""
    return "msg_" + action.id.removeprefix("act_")


def _attempt_began(log: Sequence[Numbered]) -> int | None:
    """The event after which the lost attempt spoke; None where it had said nothing yet.

    A message and an output that were saved stand, whatever befell who came after them.
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
    """The event that says where the run is now."""
    return RunStatus(
        run_id=run.id,
        thread_id=run.thread_id,
        status=run.status,
        reason=run.reason,
        error=run.error,
        waiting_for=run.waiting_for,
    )


def rest_until(run: Run, now: int, *, wanted: bool) -> int | None:
    """Until when a run may wait to be asked for; it must not block its thread for ever."""
    return None if wanted else now + run.expires_in * 1000


def _title(text: str) -> str:
    """The first line; a long one ends at a word, unless that would leave less than half."""
    line = text.strip().split("\n", 1)[0].strip()
    if len(line) <= _TITLE_LENGTH:
        return line
    head = line[: _TITLE_LENGTH - 1]
    words = head if line[len(head)].isspace() else head.rpartition(" ")[0]
    return (words if len(words) >= _TITLE_LENGTH // 2 else head).rstrip() + "…"
