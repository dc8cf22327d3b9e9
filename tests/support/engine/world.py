"""Records that tests apply changes to, in place of a store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import NewToolOutput
from antiphon.engine import actions, transitions
from antiphon.engine.snapshot import ChangeSet, Snapshot
from antiphon.engine.turn import Turn, TurnResult
from antiphon.types import errors
from antiphon.types.chunks import CallPiece, Chunk
from antiphon.types.events import Event, Numbered
from antiphon.types.messages import Message
from antiphon.types.runs import Action, HostedTool, Run, RunLease, Thread

LEASE_MS = 15_000
WEEK_MS = 7 * 86_400_000


def run_spec(**fields: Any) -> transitions.RunSpec:
    """Return the specification of a run of the demo model with these fields."""
    return transitions.RunSpec(
        Run(**{"id": "", "thread_id": "", "created_at": 0, "model": "demo", **fields})
    )


class World:
    """A thread and its run, as a store would keep them."""

    def __init__(self) -> None:
        self.now = 1_000
        self.counter = itertools.count(1)
        self.thread = Thread(id="thread_1", created_at=0, updated_at=0)
        self.messages: dict[int, Message] = {}
        self.runs: dict[str, tuple[Run, RunLease]] = {}
        self.actions: dict[str, Action] = {}
        self.log: dict[str, list[Event]] = {}
        self.current: str | None = None

    def mint(self, prefix: str) -> str:
        return f"{prefix}_{next(self.counter)}"

    @property
    def run(self) -> Run:
        assert self.current is not None
        return self.runs[self.current][0]

    @property
    def lease(self) -> RunLease:
        assert self.current is not None
        return self.runs[self.current][1]

    @property
    def events(self) -> list[Event]:
        return self.log[self.run.id]

    def records(self) -> Snapshot:
        """Return the records for a change of the run, which may have ended."""
        if self.current is None:
            return self.thread_records()
        run, lease = self.runs[self.current]
        numbered: list[Numbered] = list(enumerate(self.log[run.id], 1))
        return Snapshot(
            now=self.now,
            thread=self.thread,
            run=run,
            lease=lease,
            actions=tuple(a for a in self.actions.values() if a.run_id == run.id),
            log=tuple(numbered[lease.turn_began_after :]),
        )

    def thread_records(self) -> Snapshot:
        """Return the records for a change of the thread: with its run only if that is active."""
        if self.current is None or self.run.status.ended:
            return Snapshot(now=self.now, thread=self.thread)
        return self.records()

    def apply(
        self, decide: Callable[[Snapshot], ChangeSet | None], records: Snapshot | None = None
    ) -> object:
        change = decide(records or self.records())
        if change is None:
            return None
        if change.thread:
            self.thread = change.thread
        if change.keep_messages is not None:
            self.messages = {
                n: m for n, m in self.messages.items() if n <= (change.keep_messages or 0)
            }
        for message in change.messages:
            assert message.number not in self.messages
            self.messages[message.number] = message
        for update in change.run_updates:
            self.log.setdefault(update.run.id, []).extend(update.events)
            assert update.lease.last_event == len(self.log[update.run.id])
            self.runs[update.run.id] = (update.run, update.lease)
            self.current = update.run.id
        for action in change.actions:
            self.actions[action.id] = action
        return change.answer

    # Operations of clients and workers.

    def begin(
        self, text: str = "hello", if_busy: operations.IfBusy = "reject", **fields: object
    ) -> None:
        spec = run_spec(**fields)
        self.apply(
            lambda records: transitions.create_run(
                records,
                spec,
                self.mint,
                by=transitions.LOCAL_PRINCIPAL,
                if_busy=if_busy,
                message=operations.NewMessage(text),
                ask=True,
            ),
            self.thread_records(),
        )

    def ask(self) -> transitions.TurnRequested:
        result = self.apply(transitions.request_turn)
        assert isinstance(result, transitions.TurnRequested)
        return result

    def claim(self) -> None:
        self.apply(transitions.claim("worker", LEASE_MS))

    def say(self, *events: Event) -> None:
        self.log[self.run.id] += events
        lease = replace(self.lease, last_event=self.lease.last_event + len(events))
        self.runs[self.run.id] = (self.run, lease)

    def reply(
        self,
        *chunks: Chunk,
        finish: bool = True,
        hosted: Mapping[str, HostedTool] = transitions.NO_HOSTED_TOOLS,
    ) -> None:
        turn = Turn(("look", *hosted), lambda: self.mint("call"))
        self.say(*turn.feed(chunks))
        reply = turn.close(None if finish else errors.Disconnected("cut"))
        self.finish(self.lease.epoch, reply, turn=self.run.turn, hosted=hosted)

    def finish(
        self,
        epoch: int,
        reply: TurnResult,
        *,
        turn: int,
        unstored: int = 0,
        hosted: Mapping[str, HostedTool] = transitions.NO_HOSTED_TOOLS,
    ) -> None:
        """Save the reply as the worker; its last `unstored` events are not in the log."""
        last = self.lease.last_event + unstored
        self.apply(
            lambda records: transitions.finish(
                records, epoch, reply, self.mint, turn=turn, last_event=last, hosted=hosted
            )
        )

    def result(self, call_id: str, output: str = "42", is_error: bool = False) -> None:
        """Save the output of a tool as the worker."""
        epoch = self.lease.epoch
        self.apply(
            lambda records: transitions.save_result(
                records, epoch, call_id, output, is_error, self.mint
            )
        )

    def submit(self, call_id: str, output: str = "42", is_error: bool = False) -> object:
        return self.apply(
            lambda records: actions.save_output(
                records, NewToolOutput(call_id, output, is_error), self.mint
            )
        )

    def cancel(self) -> None:
        self.apply(lambda records: transitions.cancel(records, self.mint))

    def wait(self, ms: int) -> None:
        self.now += ms
        self.apply(lambda records: transitions.handle_timeout(records, self.mint))


def call(index: int, name: str = "look") -> CallPiece:
    return CallPiece(index=index, id=f"c{index}", name=name, arguments=f'{{"x":{index}}}')
