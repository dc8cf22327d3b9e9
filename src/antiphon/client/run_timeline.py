"""Timeline of a run: its steps one after another, and how long each took.

    timeline = await load_timeline(client, run_id)
    for step in timeline.steps:
        print(step.name, step.milliseconds)

Times are those of the stored records: a reply begins where the outputs before it were complete, so
that the wait for a worker is part of it. Tokens and restarts are read from the run's events: they
are unknown until the run has ended, and once its events are past retention.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal

import msgspec

from antiphon.api.operations import ListActions, ListMessages
from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import EventExpired
from antiphon.types.events import Event, TurnEnded, TurnRestarted, UsageAdded
from antiphon.types.ids import reply_id
from antiphon.types.messages import Message
from antiphon.types.runs import Action, Run, Usage

PAGE = 100
TYPES = "usage,turn.restarted"
"""Events that tell of turns; `turn.ended` always comes."""


class TimelineStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a run. Times are milliseconds since 1970; `ended_at` is None while it goes on.

    `name` is the model of a reply, or the tool of a call. `outcome` is empty for what went well,
    else one word, such as `failed` or `refused`. `characters` is the length of the reply's text or
    of the call's output. `restarts` are the reasons for which the reply was begun again.
    """

    kind: Literal["queue", "reply", "call"]
    name: str = ""
    turn: int = 0
    began_at: int
    ended_at: int | None = None
    outcome: str = ""
    characters: int = 0
    usage: Usage | None = None
    restarts: tuple[str, ...] = ()
    tool_call_id: str | None = None
    where: Literal["client", "server", ""] = ""

    @property
    def milliseconds(self) -> int | None:
        """Its duration; None while it goes on."""
        return None if self.ended_at is None else max(0, self.ended_at - self.began_at)


class RunTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """A run and its steps, in the order in which they began."""

    run: Run
    steps: tuple[TimelineStep, ...]

    @property
    def milliseconds(self) -> int | None:
        """Time from the creation of the run to its end; None before its end."""
        return None if self.run.ended_at is None else self.run.ended_at - self.run.created_at

    @property
    def end(self) -> int:
        """The time of its last known moment."""
        return max((step.ended_at or step.began_at for step in self.steps), default=0)

    def time_in(self, kind: Literal["queue", "reply", "call"]) -> int:
        """Return the milliseconds in which at least one step of this kind was going on."""
        total, covered = 0, 0
        for step in self.steps:  # in the order of their beginnings
            if step.kind == kind and step.ended_at is not None:
                total += max(0, step.ended_at - max(covered, step.began_at))
                covered = max(covered, step.ended_at)
        return total


async def load_timeline(client: AsyncClient, run_id: str) -> RunTimeline:
    """Return the timeline of a run of this client's owner. Raises `NotFound`."""
    run = await client.get_run(run_id)
    about = ListMessages(run.thread_id, run_id=run_id, limit=PAGE)
    messages = [message async for message in client.paginate(about)]
    actions = [each async for each in client.paginate(ListActions(run_id, limit=PAGE))]
    return build_timeline(run, messages, actions, await _load_events(client, run))


async def _load_events(client: AsyncClient, run: Run) -> Sequence[Event]:
    """Return the events about turns; none of a run that goes on, or if some are past retention."""
    if not run.status.ended:
        return ()
    try:
        return [event async for event in client.events(run.id, types=TYPES)]
    except EventExpired:
        return ()


def build_timeline(
    run: Run, messages: Iterable[Message], actions: Iterable[Action], events: Iterable[Event]
) -> RunTimeline:
    """Return the timeline made of the run's records and events."""
    replies = {message.id: message for message in messages if message.role == "assistant"}
    calls = {turn: tuple(each) for turn, each in groupby(actions, lambda action: action.turn)}
    facts = _facts_by_turn(events)
    began = run.started_at
    queue_end = began or run.ended_at
    steps = [TimelineStep(kind="queue", began_at=run.created_at, ended_at=queue_end)]
    for turn in range(1, run.turn + 1):
        if began is None:
            break
        reply = replies.get(reply_id(run.id, turn))
        # Only the last turn can be without a reply of its own: it ends with the run.
        without_reply = run.ended_at if turn == run.turn else run.started_at
        ended = reply.created_at if reply else without_reply
        usage, restarts = facts.get(turn, (None, ()))
        steps.append(
            TimelineStep(
                kind="reply",
                name=run.model,
                turn=turn,
                began_at=began,
                ended_at=ended,
                outcome=_reply_outcome(run, reply, ended),
                characters=len(reply.full_text) if reply else 0,
                usage=usage,
                restarts=restarts,
            )
        )
        steps += map(_call_step, calls.get(turn, ()))
        began = _end_of_calls(calls.get(turn, ()), ended)
    return RunTimeline(run=run, steps=tuple(steps))


def _facts_by_turn(events: Iterable[Event]) -> Mapping[int, tuple[Usage, tuple[str, ...]]]:
    facts: dict[int, tuple[Usage, tuple[str, ...]]] = {}
    turn = 1
    for event in events:
        usage, restarts = facts.setdefault(turn, (Usage(), ()))
        match event:
            case UsageAdded(usage=more):
                facts[turn] = usage + more, restarts
            case TurnRestarted(reason=reason):
                facts[turn] = usage, (*restarts, reason)
            case TurnEnded():
                turn += 1
            case _:
                pass
    return facts


def _reply_outcome(run: Run, reply: Message | None, ended: int | None) -> str:
    if reply is None:
        return "" if ended is None else (run.status.value if run.status.ended else "")
    return "" if reply.status == "completed" else reply.status


def _call_step(action: Action) -> TimelineStep:
    outcome: str = "" if action.status in ("completed", "pending") else action.status
    if action.approval == "refused":
        outcome = "refused"
    elif action.status == "completed" and action.is_error:
        outcome = "failed"
    return TimelineStep(
        kind="call",
        name=action.name,
        turn=action.turn,
        began_at=action.created_at,
        ended_at=action.ended_at,
        outcome=outcome,
        characters=len(action.output or ""),
        tool_call_id=action.tool_call_id,
        where=action.runs_on,
    )


def _end_of_calls(calls: Iterable[Action], reply_end: int | None) -> int | None:
    """Return the time when the last output was there; None while one is missing."""
    ends = [reply_end, *(action.ended_at for action in calls)]
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else None
