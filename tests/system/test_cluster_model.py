"""Two workers on one database against a model of plain records, whatever is asked of whichever.

Guarantees G2, G6, G8, G11, G13, G20, G22 and G29. The model knows what the pages on runs promise,
and nothing of the program: after each step both workers must tell what it tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from antiphon.api import operations
from antiphon.engine.unit_of_work import CANCELLED, CUT_SHORT, UNANSWERED
from antiphon.ports import Store
from antiphon.stores.postgres.store import PostgresStore
from antiphon.stores.sqlite.store import SqliteStore
from antiphon.types import errors
from antiphon.types.messages import ToolSpec
from tests.support.harness.pair import NumberedLine, WorkerPair, new_owner, new_process
from tests.support.services.postgres import Postgres

WEEK = 7 * 86_400
TOOLS = (ToolSpec("look", "Look something up."), ToolSpec("add", "Add numbers."))
UNKNOWN = "0123456789abcdefghjkmnpq"

# What the model says, and what must come of it: status, text that is kept, tools that are called.
ONE = ('call look {"q":1}', "action_required", "", ("look",))
TWO = ('say So:\ncall look {"q":1}\ncall add {}', "action_required", "So:", ("look", "add"))
SCRIPTS = (
    ("say Hello.", "completed", "Hello.", ()),
    ("think Hm.\nsay Well.", "completed", "Well.", ()),
    ("say Half\nfinish length", "incomplete", "Half", ()),
    ("say Half\ncut", "incomplete", "Half", ()),
    ("fail provider_rejected No.", "failed", "", ()),
    ("say So:\ncall look [", "failed", "So:", ()),
    ("call look [", "failed", "", ()),
    *(ONE, TWO, ONE, TWO),
)
ENDS = ("completed", "incomplete", "failed", "cancelled", "expired")
CLOSED = {"cancelled": CANCELLED, "expired": UNANSWERED, "failed": CUT_SHORT}

LOST = "worker_lost"
_TURN_ENDED = b'"type":"turn.ended"'

PLACES = st.integers(0, 20)
WHERE = st.integers(0, 1)
SAID = st.sampled_from(SCRIPTS)
OUTPUTS = st.sampled_from(["42", "", "43"])
THEIRS = st.sampled_from([True] * 9 + [False])
"""Whether it is asked by whose thread it is."""


@dataclass
class Call:
    """A tool call; `output` is what it has got."""

    id: str
    status: str = "pending"
    output: str | None = None


@dataclass
class Run:
    """A run as it must be; `heard` are the events that anybody was ever told."""

    id: str
    thread: Thread
    on_expiry: str
    due: float
    status: str = "queued"
    calls: list[Call] = field(default_factory=list)
    handed_out: int = 0
    heard: list[NumberedLine] = field(default_factory=list)

    @property
    def open(self) -> list[Call]:
        return [call for call in self.calls if call.status == "pending"]


@dataclass
class Thread:
    """A thread as it must be. `said` are roles and texts, or calls whose outputs stand there."""

    id: str
    owner: str
    said: list[tuple[str, str] | Call] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def active(self) -> Run | None:
        return next((run for run in self.runs if run.status not in ENDS), None)

    @property
    def history(self) -> list[tuple[str, str]]:
        return [
            ("tool", each.output or "") if isinstance(each, Call) else each
            for each in self.said
            if not isinstance(each, Call) or each.status != "pending"
        ]


class TwoWorkers(RuleBasedStateMachine):
    """Each step is asked of one worker; `perform` runs it on the pair's loop."""

    pair: WorkerPair
    perform: Callable[[Awaitable[Any]], Any]

    @initialize()
    def begin_with_a_thread(self) -> None:
        self.owners = (new_owner(), new_owner())
        self.threads: list[Thread] = []
        self.answers: list[tuple[Any, str, str, Any]] = []
        """Call, owner, key and answer."""
        self.keys = 0
        self.create_thread(0, 0)

    # Threads and messages

    @precondition(lambda self: len(self.threads) < 4)
    @rule(where=WHERE, whose=WHERE)
    def create_thread(self, where: int, whose: int) -> None:
        thread = self.tell(where, self.owners[whose], operations.CreateThread(), None, keyed=True)
        self.threads.append(Thread(thread.id, self.owners[whose]))

    @precondition(lambda self: len(self.threads) > 1)
    @rule(where=WHERE, at=PLACES, theirs=THEIRS)
    def delete_thread(self, where: int, at: int, theirs: bool) -> None:
        thread = self.threads[at % len(self.threads)]
        refused = None if theirs else "not_found"
        self.tell(where, self.asker(thread, theirs), operations.DeleteThread(thread.id), refused)
        if theirs:
            self.threads.remove(thread)
            for run in thread.runs:
                self.tell(1 - where, thread.owner, operations.GetRun(run.id), "not_found")
            self.answers = [each for each in self.answers if thread.id not in repr(each)]

    @rule(where=WHERE, at=PLACES, theirs=THEIRS, role=st.sampled_from(["user", "system"]))
    def say(self, where: int, at: int, theirs: bool, role: Any) -> None:
        thread = self.threads[at % len(self.threads)]
        refused = None if theirs else "not_found"
        if theirs and thread.active:
            refused = "run_active"
        call = operations.CreateMessage(thread.id, "Well?", role)
        self.tell(where, self.asker(thread, theirs), call, refused, keyed=True)
        if refused is None:
            thread.said.append((role, "Well?"))

    # Runs

    @rule(where=WHERE, at=PLACES, theirs=THEIRS, on_expiry=st.sampled_from(["continue", "expire"]))
    def create_run(self, where: int, at: int, theirs: bool, on_expiry: Any) -> None:
        thread = self.threads[at % len(self.threads)]
        refused = None if theirs else "not_found"
        if theirs and thread.active:
            refused = "run_active"
        call = operations.CreateRun(thread_id=thread.id, tools=TOOLS, on_expiry=on_expiry)
        run = self.tell(where, self.asker(thread, theirs), call, refused, keyed=True)
        if refused is None:
            thread.runs.append(Run(run.id, thread, on_expiry, self.pair.now + WEEK * 1000))

    @rule(where=WHERE, at=PLACES, said=SAID, theirs=THEIRS)
    def ask(self, where: int, at: int, said: Any, theirs: bool) -> None:
        """The next turn of some run, of whichever status."""
        if (run := self.run(at)) is None:
            return
        refused = None if theirs else "not_found"
        if theirs and run.open:
            refused = "outputs_missing"
        if theirs and run.status in ENDS:
            refused = "run_ended"
        self.pair.model.script = said[0]
        owner = self.asker(run.thread, theirs)
        turn = self.hear(where, owner, operations.Complete(run.id), refused)
        if refused is None:
            self.end_turn(run, said, turn)

    @rule(where=WHERE, at=PLACES, said=SAID, on_expiry=st.sampled_from(["continue", "expire"]))
    def process(self, where: int, at: int, said: Any, on_expiry: Any) -> None:
        """A message, a run and its first turn."""
        thread = self.threads[at % len(self.threads)]
        refused = "run_active" if thread.active else None
        self.pair.model.script = said[0]
        call = new_process(thread.id, tools=TOOLS, on_expiry=on_expiry)
        turn = self.hear(where, thread.owner, call, refused)
        if refused is None:
            self.end_turn(self.begin_run(thread, turn, on_expiry), said, turn)

    @rule(where=WHERE, at=PLACES, first=st.sampled_from(["say Lost", "think Lost"]), then=SAID)
    def lose_worker(self, where: int, at: int, first: str, then: Any) -> None:
        """The worker stands still in the middle, another takes its place, then it goes on."""
        thread = self.threads[at % len(self.threads)]
        if thread.active or any(other.active for other in self.threads):
            return  # time will pass, which would befall them too
        name, gate = self.pair.gate()
        self.pair.model.script = f"{first}\nwait {name}\nsay Zombie.\n{ONE[0]}"

        line = self.pair.transports[where].on_behalf_of(thread.owner)
        call = new_process(thread.id, tools=TOOLS)
        turn = self.perform(self.pair.read_overtaken_turn(line, call, gate, then[0]))
        lost = [event for event in _of_type(turn, "turn.restarted") if event["reason"] == LOST]
        assert [event["attempt"] for event in lost] == [2]
        self.end_turn(self.begin_run(thread, turn, "continue"), then, turn)

    @rule(where=WHERE, at=PLACES, theirs=THEIRS)
    def cancel(self, where: int, at: int, theirs: bool) -> None:
        if (run := self.run(at)) is None:
            return
        owner = self.asker(run.thread, theirs)
        self.tell(where, owner, operations.CancelRun(run.id), None if theirs else "not_found")
        if theirs and run.status not in ENDS:
            _end(run, "cancelled")

    @rule(where=WHERE, at=PLACES, which=PLACES, output=OUTPUTS, theirs=THEIRS)
    def submit(self, where: int, at: int, which: int, output: str, theirs: bool) -> None:
        """Some call's output, in any order, twice, otherwise or too late."""
        run = self.run(at)
        if run is None or not run.calls:
            return
        call = run.calls[which % len(run.calls)]
        refused = None if theirs else "not_found"
        if (
            theirs
            and call.status != "pending"
            and (call.status, call.output) != ("completed", output)
        ):
            late = call.status != "completed" and run.status in ENDS
            refused = "run_ended" if late else "output_conflict"
        asked = operations.SubmitToolOutput(run.id, call.id, output)
        self.tell(where, self.asker(run.thread, theirs), asked, refused)
        if refused is None and call.status == "pending":
            call.status, call.output = "completed", output
            if not run.open:
                run.status, run.due = "queued", self.pair.now + WEEK * 1000

    @rule(where=WHERE, at=PLACES)
    def submit_to_no_call(self, where: int, at: int) -> None:
        if run := self.run(at):
            asked = operations.SubmitToolOutput(run.id, "call_none", "42")
            self.tell(where, run.thread.owner, asked, "unknown_tool_call")

    @rule(where=WHERE, whose=WHERE)
    def ask_for_what_never_was(self, where: int, whose: int) -> None:
        owner = self.owners[whose]
        self.tell(where, owner, operations.GetRun(f"run_{UNKNOWN}"), "not_found")
        self.tell(where, owner, operations.CancelRun(f"run_{UNKNOWN}"), "not_found")
        self.tell(where, owner, operations.CreateRun(thread_id=f"thread_{UNKNOWN}"), "not_found")

    # Again, and later

    @precondition(lambda self: self.answers)
    @rule(where=WHERE, at=PLACES, same=st.booleans())
    def send_again(self, where: int, at: int, same: bool) -> None:
        """Under the same key: the same is told the same, and another is refused."""
        call, owner, key, answer = self.answers[at % len(self.answers)]
        if not same:
            call = msgspec.structs.replace(call, metadata={"another": "one"})
        self.compare_answer(
            where, owner, call, None if same else "idempotency_conflict", key, answer
        )

    @rule(days=st.sampled_from([1, 8]))
    def let_time_pass(self, days: int) -> None:
        self.perform(self.pair.pass_time(days * 86_400))
        if days * 86_400 * 1000 > 2 * 86_400 * 1000:
            self.answers.clear()  # keys are kept for two days
        for run in [run for thread in self.threads for run in thread.runs]:
            if run.status not in ENDS and run.due <= self.pair.now:
                self.overdue(run)

    def overdue(self, run: Run) -> None:
        expires = run.on_expiry == "expire" or run.status == "queued"
        for call in run.open:
            call.status, call.output = "expired", UNANSWERED
        run.status, run.due = "queued", self.pair.now + WEEK * 1000
        if expires:
            _end(run, "expired")

    # What must hold

    @invariant()
    def both_workers_tell_what_the_model_tells(self) -> None:
        for thread in getattr(self, "threads", ()):
            for where in range(2):
                self.compare(where, thread)

    def compare(self, where: int, thread: Thread) -> None:
        listed = self.send(where, thread.owner, operations.ListMessages(thread.id, limit=100))
        assert [(each.role, each.text) for each in listed.data] == thread.history
        for run in thread.runs:
            assert self.send(where, thread.owner, operations.GetRun(run.id)).status == run.status
            actions = self.send(where, thread.owner, operations.ListActions(run_id=run.id)).data
            kept = [(each.tool_call_id, each.status, each.output) for each in actions]
            assert kept == [(each.id, each.status, each.output) for each in run.calls]
            log = self.perform(self.pair.read_log(where, run.id))
            assert [number for number, _ in log] == list(range(1, len(log) + 1))
            assert log[: len(run.heard)] == run.heard
            assert _of_type(log, "run.status")[-1]["status"] == run.status
            assert sum(each["status"] in ENDS for each in _of_type(log, "run.status")) <= 1
            run.heard = log

    def teardown(self) -> None:
        for thread in getattr(self, "threads", ()):
            self.send(0, thread.owner, operations.DeleteThread(thread.id))

    # How it is done

    def run(self, at: int) -> Run | None:
        """Some run, the newest ones most often."""
        runs = [run for thread in self.threads for run in thread.runs[-3:]]
        return runs[at % len(runs)] if runs else None

    def asker(self, thread: Thread, theirs: bool) -> str:
        one, other = self.owners
        return thread.owner if theirs else other if thread.owner == one else one

    def tell(
        self, where: int, owner: str, call: Any, refused: str | None, *, keyed: bool = False
    ) -> Any:
        """Ask for something; it must be refused so, or not at all."""
        if not keyed:
            return self.compare_answer(where, owner, call, refused, None)
        self.keys += 1
        key = f"key-{self.keys}"
        answer = self.compare_answer(where, owner, call, refused, key)
        if refused is None:
            self.answers.append((call, owner, key, answer))
        return answer

    def compare_answer(
        self,
        where: int,
        owner: str,
        call: Any,
        refused: str | None,
        key: str | None,
        before: Any = None,
    ) -> Any:
        line = self.pair.transports[where].on_behalf_of(owner)
        answer = self.answer(call, line.send(call, key), refused)
        assert before is None or answer == before or refused
        return answer

    def hear(self, where: int, owner: str, call: Any, refused: str | None) -> list[NumberedLine]:
        line = self.pair.transports[where].on_behalf_of(owner)
        return self.answer(call, self.pair.read_turn(line, call), refused) or []

    def send(self, where: int, owner: str, call: Any) -> Any:
        return self.perform(self.pair.transports[where].on_behalf_of(owner).send(call))

    def answer(self, call: Any, deed: Awaitable[Any], refused: str | None) -> Any:
        """The answer, None if it is refused with this code. Raises any other error."""
        try:
            answer = self.perform(deed)
        except errors.AntiphonError as error:
            if error.code != refused:
                raise
            return None
        assert refused is None, (call, answer)
        return answer

    def begin_run(self, thread: Thread, turn: list[NumberedLine], on_expiry: str) -> Run:
        run_id = _of_type(turn, "run.status")[0]["run_id"]
        run = Run(run_id, thread, on_expiry, self.pair.now + WEEK * 1000)
        thread.runs.append(run)
        thread.said.append(("user", "Well?"))
        return run

    def end_turn(self, run: Run, said: Any, turn: list[NumberedLine]) -> None:
        """A turn was heard in which the model said this."""
        _, status, text, tools = said
        before = [number for number, line in run.heard if _TURN_ENDED in line]
        assert turn[0][0] == max(before, default=0) + 1
        known = run.heard[turn[0][0] - 1 :]
        assert turn[: len(known)] == known
        run.heard[turn[0][0] - 1 :] = turn
        run.status, run.due = status, self.pair.now + WEEK * 1000
        if text or tools:
            run.thread.said.append(("assistant", text))
        handed = [each for event in _of_type(turn, "action.required") for each in event["actions"]]
        assert [each["name"] for each in handed] == list(tools)
        made = [Call(each["tool_call_id"]) for each in handed]
        run.calls += made
        run.thread.said += made
        assert len({call.id for call in run.calls}) == len(run.calls)


def _end(run: Run, status: str) -> None:
    for call in run.open:
        call.status, call.output = status, CLOSED[status]
    run.status = status


def _of_type(turn: list[NumberedLine], kind: str) -> list[Any]:
    return [event for _, line in turn if (event := msgspec.json.decode(line))["type"] == kind]


def _tried(
    store: Callable[[Callable[[], int]], Awaitable[Store]], examples: int, steps: int
) -> None:
    """One pair for all examples; their owners are others."""
    loop = asyncio.new_event_loop()

    async def within_time(deed: Awaitable[Any]) -> Any:
        async with asyncio.timeout(30):
            return await deed

    class Machine(TwoWorkers):
        pair = WorkerPair()

        def perform(self, deed: Awaitable[Any]) -> Any:
            return loop.run_until_complete(within_time(deed))

    try:
        loop.run_until_complete(Machine.pair.open(store))
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.run_until_complete(Machine.pair.close())
        loop.close()


SHORT, SHORTER = (15, 30), (8, 30)
LONG = pytest.param((2000, 50), marks=pytest.mark.soak)
SLOW = pytest.param((300, 50), marks=pytest.mark.soak)


@pytest.mark.parametrize("length", [SHORT, LONG])
def test_two_workers_on_sqlite_tell_what_the_model_tells(
    length: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "antiphon.db"
    _tried(lambda clock: SqliteStore.open(path, clock=clock), *length)


@pytest.mark.parametrize("length", [SHORTER, SLOW])
def test_two_workers_on_postgresql_tell_what_the_model_tells(
    length: tuple[int, int], postgres: Postgres
) -> None:
    address = asyncio.run(postgres.create())
    _tried(lambda clock: PostgresStore.open(address, clock=clock), *length)
