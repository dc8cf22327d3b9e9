"""Two workers on one database are compared with a model of plain records after every step.

Guarantees G2, G6, G8, G11, G13, G20, G22 and G29. The model knows what the pages on runs promise,
and nothing of the program: after each step both workers must agree with it.
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

# What the model says, and what must come of it: status, text that is stored, tools that are called.
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
WORKERS = st.integers(0, 1)
SCRIPT = st.sampled_from(SCRIPTS)
OUTPUTS = st.sampled_from(["42", "", "43"])
BY_OWNER = st.sampled_from([True] * 9 + [False])
"""True if the owner of the thread asks, False if another owner does."""


@dataclass
class Call:
    """Tool call; `output` is the output that was submitted for it."""

    id: str
    status: str = "pending"
    output: str | None = None


@dataclass
class Run:
    """Run as it must be; `known_events` are all events that any reader ever got."""

    id: str
    thread: Thread
    on_expiry: str
    due: float
    status: str = "queued"
    calls: list[Call] = field(default_factory=list)
    handed_out: int = 0
    known_events: list[NumberedLine] = field(default_factory=list)

    @property
    def open(self) -> list[Call]:
        return [call for call in self.calls if call.status == "pending"]


@dataclass
class Thread:
    """Thread as it must be. `entries` are roles and texts, or calls whose outputs stand there."""

    id: str
    owner: str
    entries: list[tuple[str, str] | Call] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def active(self) -> Run | None:
        return next((run for run in self.runs if run.status not in ENDS), None)

    @property
    def history(self) -> list[tuple[str, str]]:
        return [
            ("tool", each.output or "") if isinstance(each, Call) else each
            for each in self.entries
            if not isinstance(each, Call) or each.status != "pending"
        ]


class TwoWorkers(RuleBasedStateMachine):
    """Each step is asked of one worker; `perform` runs it on the pair's loop."""

    pair: WorkerPair
    perform: Callable[[Awaitable[Any]], Any]

    @initialize()
    def create_first_thread(self) -> None:
        self.owners = (new_owner(), new_owner())
        self.threads: list[Thread] = []
        self.answers: list[tuple[Any, str, str, Any]] = []
        """Call, owner, key and answer."""
        self.keys = 0
        self.create_thread(0, 0)

    # Threads and messages

    @precondition(lambda self: len(self.threads) < 4)
    @rule(worker=WORKERS, owner_index=WORKERS)
    def create_thread(self, worker: int, owner_index: int) -> None:
        thread = self.send_and_check(
            worker, self.owners[owner_index], operations.CreateThread(), None, with_key=True
        )
        self.threads.append(Thread(thread.id, self.owners[owner_index]))

    @precondition(lambda self: len(self.threads) > 1)
    @rule(worker=WORKERS, at=PLACES, by_owner=BY_OWNER)
    def delete_thread(self, worker: int, at: int, by_owner: bool) -> None:
        thread = self.threads[at % len(self.threads)]
        expected_error = None if by_owner else "not_found"
        self.send_and_check(
            worker,
            self.choose_owner(thread, by_owner),
            operations.DeleteThread(thread.id),
            expected_error,
        )
        if by_owner:
            self.threads.remove(thread)
            for run in thread.runs:
                self.send_and_check(
                    1 - worker, thread.owner, operations.GetRun(run.id), "not_found"
                )
            self.answers = [each for each in self.answers if thread.id not in repr(each)]

    @rule(worker=WORKERS, at=PLACES, by_owner=BY_OWNER, role=st.sampled_from(["user", "system"]))
    def add_message(self, worker: int, at: int, by_owner: bool, role: Any) -> None:
        thread = self.threads[at % len(self.threads)]
        expected_error = None if by_owner else "not_found"
        if by_owner and thread.active:
            expected_error = "run_active"
        call = operations.CreateMessage(thread.id, "Well?", role)
        self.send_and_check(
            worker, self.choose_owner(thread, by_owner), call, expected_error, with_key=True
        )
        if expected_error is None:
            thread.entries.append((role, "Well?"))

    # Runs

    @rule(
        worker=WORKERS,
        at=PLACES,
        by_owner=BY_OWNER,
        on_expiry=st.sampled_from(["continue", "expire"]),
    )
    def create_run(self, worker: int, at: int, by_owner: bool, on_expiry: Any) -> None:
        thread = self.threads[at % len(self.threads)]
        expected_error = None if by_owner else "not_found"
        if by_owner and thread.active:
            expected_error = "run_active"
        call = operations.CreateRun(thread_id=thread.id, tools=TOOLS, on_expiry=on_expiry)
        run = self.send_and_check(
            worker, self.choose_owner(thread, by_owner), call, expected_error, with_key=True
        )
        if expected_error is None:
            thread.runs.append(Run(run.id, thread, on_expiry, self.pair.now + WEEK * 1000))

    @rule(worker=WORKERS, at=PLACES, script=SCRIPT, by_owner=BY_OWNER)
    def ask_for_turn(self, worker: int, at: int, script: Any, by_owner: bool) -> None:
        """Ask for the next turn of some run, of whichever status."""
        if (run := self.choose_run(at)) is None:
            return
        expected_error = None if by_owner else "not_found"
        if by_owner and run.open:
            expected_error = "outputs_missing"
        if by_owner and run.status in ENDS:
            expected_error = "run_ended"
        self.pair.model.script = script[0]
        owner = self.choose_owner(run.thread, by_owner)
        turn = self.run_turn(worker, owner, operations.Complete(run.id), expected_error)
        if expected_error is None:
            self.end_turn(run, script, turn)

    @rule(
        worker=WORKERS, at=PLACES, script=SCRIPT, on_expiry=st.sampled_from(["continue", "expire"])
    )
    def process(self, worker: int, at: int, script: Any, on_expiry: Any) -> None:
        """Send a message, with a run and its first turn."""
        thread = self.threads[at % len(self.threads)]
        expected_error = "run_active" if thread.active else None
        self.pair.model.script = script[0]
        call = new_process(thread.id, tools=TOOLS, on_expiry=on_expiry)
        turn = self.run_turn(worker, thread.owner, call, expected_error)
        if expected_error is None:
            self.end_turn(self.begin_run(thread, turn, on_expiry), script, turn)

    @rule(
        worker=WORKERS,
        at=PLACES,
        first=st.sampled_from(["say Lost", "think Lost"]),
        then_script=SCRIPT,
    )
    def lose_worker(self, worker: int, at: int, first: str, then_script: Any) -> None:
        """Have the worker stand still in the middle, another take its place, then let it go on."""
        thread = self.threads[at % len(self.threads)]
        if thread.active or any(other.active for other in self.threads):
            return  # time will pass, which would expire the other runs too
        name, gate = self.pair.gate()
        self.pair.model.script = f"{first}\nwait {name}\nsay Zombie.\n{ONE[0]}"

        transport = self.pair.transports[worker].on_behalf_of(thread.owner)
        call = new_process(thread.id, tools=TOOLS)
        turn = self.perform(self.pair.read_overtaken_turn(transport, call, gate, then_script[0]))
        restarts = [event for event in _of_type(turn, "turn.restarted") if event["reason"] == LOST]
        assert [event["attempt"] for event in restarts] == [2]
        self.end_turn(self.begin_run(thread, turn, "continue"), then_script, turn)

    @rule(worker=WORKERS, at=PLACES, by_owner=BY_OWNER)
    def cancel(self, worker: int, at: int, by_owner: bool) -> None:
        if (run := self.choose_run(at)) is None:
            return
        owner = self.choose_owner(run.thread, by_owner)
        self.send_and_check(
            worker, owner, operations.CancelRun(run.id), None if by_owner else "not_found"
        )
        if by_owner and run.status not in ENDS:
            _end_run(run, "cancelled")

    @rule(worker=WORKERS, at=PLACES, which=PLACES, output=OUTPUTS, by_owner=BY_OWNER)
    def submit(self, worker: int, at: int, which: int, output: str, by_owner: bool) -> None:
        """Submit some call's output, in any order, twice, otherwise or too late."""
        run = self.choose_run(at)
        if run is None or not run.calls:
            return
        call = run.calls[which % len(run.calls)]
        expected_error = None if by_owner else "not_found"
        if (
            by_owner
            and call.status != "pending"
            and (call.status, call.output) != ("completed", output)
        ):
            is_late = call.status != "completed" and run.status in ENDS
            expected_error = "run_ended" if is_late else "output_conflict"
        operation = operations.SubmitToolOutput(run.id, call.id, output)
        self.send_and_check(
            worker, self.choose_owner(run.thread, by_owner), operation, expected_error
        )
        if expected_error is None and call.status == "pending":
            call.status, call.output = "completed", output
            if not run.open:
                run.status, run.due = "queued", self.pair.now + WEEK * 1000

    @rule(worker=WORKERS, at=PLACES)
    def submit_to_no_call(self, worker: int, at: int) -> None:
        if run := self.choose_run(at):
            operation = operations.SubmitToolOutput(run.id, "call_none", "42")
            self.send_and_check(worker, run.thread.owner, operation, "unknown_tool_call")

    @rule(worker=WORKERS, owner_index=WORKERS)
    def ask_for_unknown_ids(self, worker: int, owner_index: int) -> None:
        owner = self.owners[owner_index]
        self.send_and_check(worker, owner, operations.GetRun(f"run_{UNKNOWN}"), "not_found")
        self.send_and_check(worker, owner, operations.CancelRun(f"run_{UNKNOWN}"), "not_found")
        self.send_and_check(
            worker, owner, operations.CreateRun(thread_id=f"thread_{UNKNOWN}"), "not_found"
        )

    # Repetitions, and time

    @precondition(lambda self: self.answers)
    @rule(worker=WORKERS, at=PLACES, same=st.booleans())
    def send_again(self, worker: int, at: int, same: bool) -> None:
        """Send under the same key: the same gets the same answer, another one is refused."""
        call, owner, key, answer = self.answers[at % len(self.answers)]
        if not same:
            call = msgspec.structs.replace(call, metadata={"another": "one"})
        self.compare_answer(
            worker, owner, call, None if same else "idempotency_conflict", key, answer
        )

    @rule(days=st.sampled_from([1, 8]))
    def let_time_pass(self, days: int) -> None:
        self.perform(self.pair.pass_time(days * 86_400))
        if days * 86_400 * 1000 > 2 * 86_400 * 1000:
            self.answers.clear()  # keys are kept for two days
        for run in [run for thread in self.threads for run in thread.runs]:
            if run.status not in ENDS and run.due <= self.pair.now:
                self.handle_overdue_run(run)

    def handle_overdue_run(self, run: Run) -> None:
        expires = run.on_expiry == "expire" or run.status == "queued"
        for call in run.open:
            call.status, call.output = "expired", UNANSWERED
        run.status, run.due = "queued", self.pair.now + WEEK * 1000
        if expires:
            _end_run(run, "expired")

    # Invariants

    @invariant()
    def check_both_workers(self) -> None:
        for thread in getattr(self, "threads", ()):
            for worker in range(2):
                self.compare(worker, thread)

    def compare(self, worker: int, thread: Thread) -> None:
        page = self.send(worker, thread.owner, operations.ListMessages(thread.id, limit=100))
        assert [(each.role, each.text) for each in page.data] == thread.history
        for run in thread.runs:
            assert self.send(worker, thread.owner, operations.GetRun(run.id)).status == run.status
            actions = self.send(worker, thread.owner, operations.ListActions(run_id=run.id)).data
            stored_actions = [(each.tool_call_id, each.status, each.output) for each in actions]
            assert stored_actions == [(each.id, each.status, each.output) for each in run.calls]
            log = self.perform(self.pair.read_log(worker, run.id))
            assert [number for number, _ in log] == list(range(1, len(log) + 1))
            assert log[: len(run.known_events)] == run.known_events
            assert _of_type(log, "run.status")[-1]["status"] == run.status
            assert sum(each["status"] in ENDS for each in _of_type(log, "run.status")) <= 1
            run.known_events = log

    def teardown(self) -> None:
        for thread in getattr(self, "threads", ()):
            self.send(0, thread.owner, operations.DeleteThread(thread.id))

    # Helpers

    def choose_run(self, at: int) -> Run | None:
        """Choose some run, the newest ones most often."""
        runs = [run for thread in self.threads for run in thread.runs[-3:]]
        return runs[at % len(runs)] if runs else None

    def choose_owner(self, thread: Thread, by_owner: bool) -> str:
        one, other = self.owners
        return thread.owner if by_owner else other if thread.owner == one else one

    def send_and_check(
        self,
        worker: int,
        owner: str,
        call: Any,
        expected_error: str | None,
        *,
        with_key: bool = False,
    ) -> Any:
        """Send an operation; it must fail with this error, or not at all."""
        if not with_key:
            return self.compare_answer(worker, owner, call, expected_error, None)
        self.keys += 1
        key = f"key-{self.keys}"
        answer = self.compare_answer(worker, owner, call, expected_error, key)
        if expected_error is None:
            self.answers.append((call, owner, key, answer))
        return answer

    def compare_answer(
        self,
        worker: int,
        owner: str,
        call: Any,
        expected_error: str | None,
        key: str | None,
        before: Any = None,
    ) -> Any:
        transport = self.pair.transports[worker].on_behalf_of(owner)
        answer = self.answer(call, transport.send(call, key), expected_error)
        assert before is None or answer == before or expected_error
        return answer

    def run_turn(
        self, worker: int, owner: str, call: Any, expected_error: str | None
    ) -> list[NumberedLine]:
        transport = self.pair.transports[worker].on_behalf_of(owner)
        return self.answer(call, self.pair.read_turn(transport, call), expected_error) or []

    def send(self, worker: int, owner: str, call: Any) -> Any:
        return self.perform(self.pair.transports[worker].on_behalf_of(owner).send(call))

    def answer(self, call: Any, awaitable: Awaitable[Any], expected_error: str | None) -> Any:
        """Return the answer, None if it fails with the expected code. Raise any other error."""
        try:
            answer = self.perform(awaitable)
        except errors.AntiphonError as error:
            if error.code != expected_error:
                raise
            return None
        assert expected_error is None, (call, answer)
        return answer

    def begin_run(self, thread: Thread, turn: list[NumberedLine], on_expiry: str) -> Run:
        run_id = _of_type(turn, "run.status")[0]["run_id"]
        run = Run(run_id, thread, on_expiry, self.pair.now + WEEK * 1000)
        thread.runs.append(run)
        thread.entries.append(("user", "Well?"))
        return run

    def end_turn(self, run: Run, script: Any, turn: list[NumberedLine]) -> None:
        """Record a turn in which the model said what the script has."""
        _, status, text, tools = script
        before = [number for number, line in run.known_events if _TURN_ENDED in line]
        assert turn[0][0] == max(before, default=0) + 1
        known_lines = run.known_events[turn[0][0] - 1 :]
        assert turn[: len(known_lines)] == known_lines
        run.known_events[turn[0][0] - 1 :] = turn
        run.status, run.due = status, self.pair.now + WEEK * 1000
        if text or tools:
            run.thread.entries.append(("assistant", text))
        actions = [each for event in _of_type(turn, "action.required") for each in event["actions"]]
        assert [each["name"] for each in actions] == list(tools)
        calls = [Call(each["tool_call_id"]) for each in actions]
        run.calls += calls
        run.thread.entries += calls
        assert len({call.id for call in run.calls}) == len(run.calls)


def _end_run(run: Run, status: str) -> None:
    for call in run.open:
        call.status, call.output = status, CLOSED[status]
    run.status = status


def _of_type(turn: list[NumberedLine], kind: str) -> list[Any]:
    return [event for _, line in turn if (event := msgspec.json.decode(line))["type"] == kind]


def _run_machine(
    store: Callable[[Callable[[], int]], Awaitable[Store]], examples: int, steps: int
) -> None:
    """Run the machine with one pair for all examples; each example has owners of its own."""
    loop = asyncio.new_event_loop()

    async def within_time(awaitable: Awaitable[Any]) -> Any:
        async with asyncio.timeout(30):
            return await awaitable

    class Machine(TwoWorkers):
        pair = WorkerPair()

        def perform(self, awaitable: Awaitable[Any]) -> Any:
            return loop.run_until_complete(within_time(awaitable))

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
def test_two_workers_on_sqlite_agree_with_the_model(
    length: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "antiphon.db"
    _run_machine(lambda clock: SqliteStore.open(path, clock=clock), *length)


@pytest.mark.parametrize("length", [SHORTER, SLOW])
def test_two_workers_on_postgresql_agree_with_the_model(
    length: tuple[int, int], postgres: Postgres
) -> None:
    address = asyncio.run(postgres.create())
    _run_machine(lambda clock: PostgresStore.open(address, clock=clock), *length)
