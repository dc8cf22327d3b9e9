"""Pure checks: compare the record of the clients with the final state, and return complaints.

There are five lists, which must be empty. LOST, DUP and CHANGED are about acknowledged effects,
DOUBLE-CLAIM is about workers, and BROKEN about invariants of any database, acknowledged or not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import msgspec

from tests.support.harness.final_state import Doc, FinalState
from tests.support.harness.record import Operation, ReceivedEvent, Record, digest, group_operations

# A copy of the documented table: the program's own table must not judge itself.
LEGAL = {
    "queued": {"in_progress", "cancelled", "expired", "failed"},
    "in_progress": {
        *("action_required", "completed", "incomplete", "failed", "cancelled", "queued"),
    },
    "action_required": {"queued", "expired", "cancelled"},
}
ENDS = {"completed", "incomplete", "failed", "cancelled", "expired"}


@dataclass(frozen=True)
class Verdict:
    """Complaints, as sentences."""

    lost: Sequence[str] = ()
    dup: Sequence[str] = ()
    changed: Sequence[str] = ()
    double_claim: Sequence[str] = ()
    broken: Sequence[str] = ()

    @property
    def numbers(self) -> dict[str, int]:
        """Return the number of each kind."""
        return {each.name: len(getattr(self, each.name)) for each in fields(self)}

    def __str__(self) -> str:
        lines = [
            f"{each.name.upper()}: {complaint}"
            for each in fields(self)
            for complaint in getattr(self, each.name)[:5]
        ]
        return "\n".join([str(self.numbers), *lines])


def judge(record: Record, final: FinalState) -> Verdict:
    """Run all checks."""
    stored = StoredState(final)
    ops = list(group_operations(record.entries))
    return Verdict(
        lost=[complaint for op in ops for complaint in find_lost(op, stored)],
        dup=[complaint for op in ops for complaint in find_duplicates(op, stored)]
        + list(find_repeated(final)),
        changed=[complaint for op in ops for complaint in find_changed(op, stored)],
        double_claim=list(find_double_claims(final)),
        broken=[
            *final.faults,
            *(complaint for op in ops for complaint in find_refused_but_done(op, stored)),
            *find_illegal_transitions(final),
            *find_early_expiries(final),
            *find_misnumbered_events(final),
            *find_changed_events(record.received, final),
            *(complaint for run_id in final.runs for complaint in check_log(run_id, final)),
            *(
                complaint
                for thread_id in final.threads
                for complaint in check_thread(thread_id, final)
            ),
        ],
    )


@dataclass(frozen=True)
class StoredState:
    """Final state, indexed by what an operation knows of its effect: ids and markers."""

    final: FinalState

    @cached_property
    def messages(self) -> dict[str, Doc]:
        return {message["id"]: message for message in self.final.messages}

    @cached_property
    def texts(self) -> Counter[str]:
        """Count each text among the user's messages."""
        return Counter(text_of(each) for each in self.final.messages if each["role"] == "user")

    @cached_property
    def titles(self) -> Counter[str]:
        return Counter(each["title"] for each in self.final.threads.values())

    @cached_property
    def markers(self) -> Counter[str]:
        return Counter(each["metadata"].get("marker") for each in self.final.runs.values())

    @cached_property
    def actions(self) -> dict[tuple[str, str], Doc]:
        return {(each["run_id"], each["tool_call_id"]): each for each in self.final.actions}

    @cached_property
    def outputs(self) -> Counter[tuple[str, str]]:
        return Counter(
            (each["run_id"], each["tool_call_id"])
            for each in self.final.messages
            if each["role"] == "tool"
        )


# Acknowledged effects


def find_lost(op: Operation, stored: StoredState) -> Iterator[str]:
    """Find an effect that was acknowledged and is missing."""
    for answer in op.responses:
        match op.what:
            case "thread" if answer["id"] not in stored.final.threads:
                yield f"thread {answer['id']}"
            case "message" if answer["id"] not in stored.messages:
                yield f"message {answer['id']}"
            case "run" | "process" if answer["id"] not in stored.final.runs:
                yield f"run {answer['id']}"
            case "process" if not stored.texts[op.request["message"]["content"]]:
                yield f"the message of run {answer['id']}"
            case "output" if _action(op, stored).get("output") is None:
                yield f"the output of {op.request['tool_call_id']}"
            case "output" if not stored.outputs[op.request["run_id"], op.request["tool_call_id"]]:
                yield f"the message of the output of {op.request['tool_call_id']}"
            case "cancel" if _status(op, stored) not in ENDS:
                yield f"the cancelling of {op.request['run_id']}, which is {_status(op, stored)}"
            case _:
                pass


def find_duplicates(op: Operation, stored: StoredState) -> Iterator[str]:
    """Find an operation with two effects, or with responses that name two."""
    ids = {answer["id"] for answer in op.responses}
    if len(ids) > 1:
        yield f"{op.what} {sorted(ids)} for one key"
    match op.what:
        case "thread" if stored.titles[op.request["title"]] > 1:
            yield f"thread {op.request['title']!r}"
        case "message" if stored.texts[op.request["content"]] > 1:
            yield f"message {op.request['content']!r}"
        case "run" if stored.markers[op.request["metadata"]["marker"]] > 1:
            yield f"run {op.request['metadata']['marker']!r}"
        case "process" if stored.texts[op.request["message"]["content"]] > 1:
            yield f"message {op.request['message']['content']!r}"
        case _:
            pass


def find_repeated(final: FinalState) -> Iterator[str]:
    """Find calls that have two outputs in the history."""
    for (run_id, tool_call_id), count in StoredState(final).outputs.items():
        if count > 1:
            yield f"{count} outputs of {tool_call_id} in run {run_id}"


def find_changed(op: Operation, stored: StoredState) -> Iterator[str]:
    """Find an acknowledged effect whose content has changed."""
    for answer in op.responses:
        match op.what:
            case "thread" if stored_doc := stored.final.threads.get(answer["id"]):
                if stored_doc["title"] != op.request["title"]:
                    yield f"thread {answer['id']} is called {stored_doc['title']!r}"
            case "message" if stored_doc := stored.messages.get(answer["id"]):
                if text_of(stored_doc) != op.request["content"]:
                    yield f"message {answer['id']} says {text_of(stored_doc)!r}"
            case "output" if (output := _action(op, stored).get("output")) is not None:
                if output != op.request["output"]:
                    yield f"the output of {op.request['tool_call_id']} is {output!r}"
            case "cancel" if _status(op, stored) in ENDS:
                if _status(op, stored) != answer["status"]:
                    run_id, answer_status = op.request["run_id"], answer["status"]
                    yield f"run {run_id} is {_status(op, stored)}, and {answer_status} was told"
            case _:
                pass


def find_refused_but_done(op: Operation, stored: StoredState) -> Iterator[str]:
    """Find an operation that was refused though its effect is there."""
    if not op.refusals or op.responses:
        return
    match op.what:
        case "message" if stored.texts[op.request["content"]]:
            yield f"message {op.request['content']!r} was refused, and is there"
        case "output" if _action(op, stored).get("output") == op.request["output"]:
            yield f"the output of {op.request['tool_call_id']} was refused, and is there"
        case _:
            pass


def _action(op: Operation, stored: StoredState) -> Doc:
    return stored.actions.get((op.request["run_id"], op.request["tool_call_id"]), {})


def _status(op: Operation, stored: StoredState) -> str | None:
    status: str | None = stored.final.runs.get(op.request["run_id"], {}).get("status")
    return status


# Workers


def find_double_claims(final: FinalState) -> Iterator[str]:
    """Find runs that two workers had in one epoch."""
    workers: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for change in final.transitions:
        if change.after == "in_progress" and change.worker:
            workers[change.run_id, change.epoch].add(change.worker)
    for (run_id, epoch), names in workers.items():
        if len(names) > 1:
            yield f"run {run_id} in epoch {epoch} by {sorted(names)}"


def find_illegal_transitions(final: FinalState) -> Iterator[str]:
    """Find transitions that are not in the table, and epochs that fell."""
    for change in final.transitions:
        if change.before != change.after and change.after not in LEGAL.get(change.before, ()):
            yield f"run {change.run_id} went from {change.before} to {change.after}"
        if change.epoch < change.epoch_before:
            yield f"run {change.run_id} went from epoch {change.epoch_before} to {change.epoch}"


def find_early_expiries(final: FinalState) -> Iterator[str]:
    """Find calls that expired too early by the clock of the database."""
    for action in final.actions:
        if action["status"] == "expired" and final.at and action["expires_at"] > final.at:
            yield f"action {action['id']} has expired too early"


def find_taken_runs(final: FinalState) -> Iterator[str]:
    """Find runs that were taken from their worker: there are none if no worker failed."""
    for change in final.transitions:
        if (change.before, change.after) == ("in_progress", "queued"):
            yield f"run {change.run_id} was taken from {change.worker_before}"


# The log


def find_misnumbered_events(final: FinalState) -> Iterator[str]:
    """Find runs whose events are not numbered 1, 2, 3 ..."""
    for run_id, run in final.runs.items():
        numbers = [number for number, _ in final.events.get(run_id, ())]
        first = run["row"]["kept_after"] + 1
        if numbers != list(range(first, first + len(numbers))) or (first == 1 and not numbers):
            yield f"the events of run {run_id} are numbered {_abbreviate(numbers)}"


def find_changed_events(received: Sequence[ReceivedEvent], final: FinalState) -> Iterator[str]:
    """Find received events that differ from the stored event of the same number."""
    stored = {
        (run_id, number): digest(line)
        for run_id, events in final.events.items()
        for number, line in events
    }
    for each in set(received):
        if stored.get((each.run_id, each.number)) != each.digest:
            stored_kind = "another" if (each.run_id, each.number) in stored else "none"
            yield f"event {each.number} of run {each.run_id} was heard, and {stored_kind} is kept"


def check_log(run_id: str, final: FinalState) -> Iterator[str]:
    """Check a run's events: one end, legal transitions, and saved messages equal to the stream."""
    run = final.runs[run_id]
    if run["row"]["kept_after"]:
        return
    events = [(number, msgspec.json.decode(line)) for number, line in final.events.get(run_id, ())]
    statuses = [event["status"] for _, event in events if event["type"] == "run.status"]
    for before, after in zip(["", *statuses], statuses, strict=False):
        if after not in LEGAL.get(before, {"queued"} if not before else ()):
            yield f"run {run_id} tells of {before} -> {after}"
    if run["status"] != run["row"]["status"]:
        yield f"run {run_id} is {run['status']} and {run['row']['status']}"
    if statuses and statuses[-1] != run["status"]:
        yield f"run {run_id} is {run['status']}, its events say {statuses[-1]}"
    yield from _check_end(run_id, [event for _, event in events])
    yield from _compare_stream(run_id, events, final)


def _check_end(run_id: str, events: Sequence[Doc]) -> Iterator[str]:
    ends = [
        at
        for at, event in enumerate(events)
        if event["type"] == "run.status" and event["status"] in ENDS
    ]
    if len(ends) > 1:
        yield f"run {run_id} ends {len(ends)} times"
    for at in ends[:1]:
        rest = [event["type"] for event in events[at + 1 :]]
        if rest not in ([], ["turn.ended"]):
            yield f"run {run_id} goes on after its end: {rest[:4]}"
        elif rest and events[-1]["status"] != events[at]["status"]:
            yield f"the last turn of run {run_id} ends otherwise than the run"


def _compare_stream(
    run_id: str, events: Sequence[tuple[int, Doc]], final: FinalState
) -> Iterator[str]:
    """Compare the joined deltas, without the void ones, with the saved messages."""
    saved = {each["id"]: each for each in final.messages}
    pending: list[tuple[int, Doc]] = []
    for number, event in events:
        match event["type"]:
            case "turn.restarted":
                pending = [each for each in pending if each[0] <= event["after"]]
            case "message.completed":
                message = event["message"]
                if message != saved.get(message["id"]):
                    yield f"message {message['id']} was told otherwise than it is kept"
                joined = _join_deltas(pending)
                if message["status"] != "completed":
                    del joined["arguments"]  # calls of an incomplete reply are not requested
                for part, joined_part in joined.items():
                    if joined_part != _message_content(message)[part]:
                        yield f"the {part} of message {message['id']} was streamed otherwise"
                pending = []
            case "turn.ended":
                if any(each["type"] == "text.delta" for _, each in pending):
                    yield f"run {run_id} streamed text that no message holds"
                pending = []
            case _:
                pending.append((number, event))


def _join_deltas(events: Sequence[tuple[int, Doc]]) -> dict[str, Any]:
    arguments: defaultdict[str, str] = defaultdict(str)
    joined = {"text": "", "reasoning": ""}
    for _, event in events:
        match event["type"]:
            case "text.delta":
                joined["text"] += event["text"]
            case "reasoning.delta":
                joined["reasoning"] += event["text"]
            case "tool_call.delta":
                arguments[event["tool_call_id"]] += event["arguments"]
            case _:
                pass
    ready = {
        event["tool_call_id"]: event["arguments"]
        for _, event in events
        if event["type"] == "tool_call.ready"
    }
    return joined | {"arguments": {call: arguments[call] or "{}" for call in ready}}


def _message_content(message: Doc) -> dict[str, Any]:
    calls = {call["id"]: call["arguments"] for call in message["tool_calls"]}
    return {"text": text_of(message), "reasoning": message["reasoning"] or "", "arguments": calls}


# The history


def check_thread(thread_id: str, final: FinalState) -> Iterator[str]:
    """Check that numbers have no gap, and that each call has one result before the next message."""
    messages = [each for each in final.messages if each["thread_id"] == thread_id]
    numbers = [each["number"] for each in messages]
    waiting = [
        each
        for each in final.actions
        if each["thread_id"] == thread_id and each["status"] == "pending"
    ]
    places = len(messages) + len(waiting)
    if len(set(numbers)) < len(numbers) or (not waiting and numbers != list(range(1, places + 1))):
        yield f"the messages of thread {thread_id} are numbered {_abbreviate(numbers)}"
    counted = final.threads[thread_id]["messages"]
    if counted != places:
        yield f"thread {thread_id} counts {counted} of {places} messages"
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                yield f"thread {thread_id} has an output of {message['tool_call_id']} out of place"
            else:
                open_calls.remove(message["tool_call_id"])
        elif open_calls:
            yield f"thread {thread_id} goes on without the outputs of {open_calls}"
        if message["tool_calls"]:
            open_calls = [call["id"] for call in message["tool_calls"]]
    if set(open_calls) - {each["tool_call_id"] for each in waiting}:
        yield f"thread {thread_id} ends without the outputs of {open_calls}"


def text_of(message: Doc) -> str:
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")


def _abbreviate(numbers: Sequence[int]) -> str:
    return str(numbers) if len(numbers) < 20 else f"{numbers[:8]} ... {numbers[-8:]}"
