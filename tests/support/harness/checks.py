"""Pure judges: the record of the clients and the final state in, complaints out.

Five lists, each to be empty. LOST, DUP and CHANGED are about what was acknowledged, DOUBLE-CLAIM
about who drove what, BROKEN about what must hold of any database, acknowledged or not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import msgspec

from tests.support.harness.final import Doc, Final
from tests.support.harness.record import Heard, Op, Record, digest, operations

# The table of design, written down once more: the program's own is not to judge itself.
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
        told = [
            f"{each.name.upper()}: {complaint}"
            for each in fields(self)
            for complaint in getattr(self, each.name)[:5]
        ]
        return "\n".join([str(self.numbers), *told])


def judge(record: Record, final: Final) -> Verdict:
    """All complaints."""
    kept = Kept(final)
    ops = list(operations(record.entries))
    return Verdict(
        lost=[word for op in ops for word in find_lost(op, kept)],
        dup=[word for op in ops for word in dup(op, kept)] + list(find_repeated(final)),
        changed=[word for op in ops for word in find_changed(op, kept)],
        double_claim=list(double_claims(final)),
        broken=[
            *final.faults,
            *(word for op in ops for word in find_refused_yet_done(op, kept)),
            *illegal_moves(final),
            *early(final),
            *numbering(final),
            *hearsay(record.heard, final),
            *(word for run_id in final.runs for word in log_of(run_id, final)),
            *(word for thread_id in final.threads for word in thread(thread_id, final)),
        ],
    )


@dataclass(frozen=True)
class Kept:
    """The final state by what an operation knows of its effect: ids and markers."""

    final: Final

    @cached_property
    def messages(self) -> dict[str, Doc]:
        return {message["id"]: message for message in self.final.messages}

    @cached_property
    def said(self) -> Counter[str]:
        """Count each text among the user's messages."""
        return Counter(text(each) for each in self.final.messages if each["role"] == "user")

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


def find_lost(op: Op, kept: Kept) -> Iterator[str]:
    """An effect that was acknowledged and is not there."""
    for answer in op.answers:
        match op.what:
            case "thread" if answer["id"] not in kept.final.threads:
                yield f"thread {answer['id']}"
            case "message" if answer["id"] not in kept.messages:
                yield f"message {answer['id']}"
            case "run" | "process" if answer["id"] not in kept.final.runs:
                yield f"run {answer['id']}"
            case "process" if not kept.said[op.asked["message"]["content"]]:
                yield f"the message of run {answer['id']}"
            case "output" if _action(op, kept).get("output") is None:
                yield f"the output of {op.asked['tool_call_id']}"
            case "output" if not kept.outputs[op.asked["run_id"], op.asked["tool_call_id"]]:
                yield f"the message of the output of {op.asked['tool_call_id']}"
            case "cancel" if _status(op, kept) not in ENDS:
                yield f"the cancelling of {op.asked['run_id']}, which is {_status(op, kept)}"
            case _:
                pass


def dup(op: Op, kept: Kept) -> Iterator[str]:
    """An operation, however often tried, of which two effects are there or were told."""
    ids = {answer["id"] for answer in op.answers}
    if len(ids) > 1:
        yield f"{op.what} {sorted(ids)} for one key"
    match op.what:
        case "thread" if kept.titles[op.asked["title"]] > 1:
            yield f"thread {op.asked['title']!r}"
        case "message" if kept.said[op.asked["content"]] > 1:
            yield f"message {op.asked['content']!r}"
        case "run" if kept.markers[op.asked["metadata"]["marker"]] > 1:
            yield f"run {op.asked['metadata']['marker']!r}"
        case "process" if kept.said[op.asked["message"]["content"]] > 1:
            yield f"message {op.asked['message']['content']!r}"
        case _:
            pass


def find_repeated(final: Final) -> Iterator[str]:
    """Outputs that are twice in the history, whoever sent them."""
    for (run_id, tool_call_id), count in Kept(final).outputs.items():
        if count > 1:
            yield f"{count} outputs of {tool_call_id} in run {run_id}"


def find_changed(op: Op, kept: Kept) -> Iterator[str]:
    """An acknowledged effect that has another body now."""
    for answer in op.answers:
        match op.what:
            case "thread" if found := kept.final.threads.get(answer["id"]):
                if found["title"] != op.asked["title"]:
                    yield f"thread {answer['id']} is called {found['title']!r}"
            case "message" if found := kept.messages.get(answer["id"]):
                if text(found) != op.asked["content"]:
                    yield f"message {answer['id']} says {text(found)!r}"
            case "output" if (output := _action(op, kept).get("output")) is not None:
                if output != op.asked["output"]:
                    yield f"the output of {op.asked['tool_call_id']} is {output!r}"
            case "cancel" if _status(op, kept) in ENDS:
                if _status(op, kept) != answer["status"]:
                    run_id, told = op.asked["run_id"], answer["status"]
                    yield f"run {run_id} is {_status(op, kept)}, and {told} was told"
            case _:
                pass


def find_refused_yet_done(op: Op, kept: Kept) -> Iterator[str]:
    """A definite no, though the effect is there."""
    if not op.refused or op.answers:
        return
    match op.what:
        case "message" if kept.said[op.asked["content"]]:
            yield f"message {op.asked['content']!r} was refused, and is there"
        case "output" if _action(op, kept).get("output") == op.asked["output"]:
            yield f"the output of {op.asked['tool_call_id']} was refused, and is there"
        case _:
            pass


def _action(op: Op, kept: Kept) -> Doc:
    return kept.actions.get((op.asked["run_id"], op.asked["tool_call_id"]), {})


def _status(op: Op, kept: Kept) -> str | None:
    status: str | None = kept.final.runs.get(op.asked["run_id"], {}).get("status")
    return status


# Who drove what


def double_claims(final: Final) -> Iterator[str]:
    """Two workers that had one run in one epoch."""
    workers: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for move in final.moves:
        if move.after == "in_progress" and move.worker:
            workers[move.run_id, move.epoch].add(move.worker)
    for (run_id, epoch), names in workers.items():
        if len(names) > 1:
            yield f"run {run_id} in epoch {epoch} by {sorted(names)}"


def illegal_moves(final: Final) -> Iterator[str]:
    """Moves that are not in the table, and epochs that fell."""
    for move in final.moves:
        if move.before != move.after and move.after not in LEGAL.get(move.before, ()):
            yield f"run {move.run_id} went from {move.before} to {move.after}"
        if move.epoch < move.epoch_before:
            yield f"run {move.run_id} went from epoch {move.epoch_before} to {move.epoch}"


def early(final: Final) -> Iterator[str]:
    """Calls that expired before their time, which is the database's."""
    for action in final.actions:
        if action["status"] == "expired" and final.at and action["expires_at"] > final.at:
            yield f"action {action['id']} has expired too early"


def find_taken_runs(final: Final) -> Iterator[str]:
    """Runs that were taken from their worker: none where no worker had any trouble."""
    for move in final.moves:
        if (move.before, move.after) == ("in_progress", "queued"):
            yield f"run {move.run_id} was taken from {move.worker_before}"


# The log


def numbering(final: Final) -> Iterator[str]:
    """Events are numbered 1, 2, 3 ... in each run."""
    for run_id, run in final.runs.items():
        numbers = [number for number, _ in final.events.get(run_id, ())]
        first = run["row"]["kept_after"] + 1
        if numbers != list(range(first, first + len(numbers))) or (first == 1 and not numbers):
            yield f"the events of run {run_id} are numbered {_abbreviate(numbers)}"


def hearsay(heard: Sequence[Heard], final: Final) -> Iterator[str]:
    """Nobody heard anything under a number but what is kept there."""
    kept = {
        (run_id, number): digest(line)
        for run_id, events in final.events.items()
        for number, line in events
    }
    for each in set(heard):
        if kept.get((each.run_id, each.number)) != each.digest:
            there = "another" if (each.run_id, each.number) in kept else "none"
            yield f"event {each.number} of run {each.run_id} was heard, and {there} is kept"


def log_of(run_id: str, final: Final) -> Iterator[str]:
    """A run's events: one end, only legal moves, and the saved messages as they were streamed."""
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
    yield from _end(run_id, [event for _, event in events])
    yield from _compare_stream(run_id, events, final)


def _end(run_id: str, events: Sequence[Doc]) -> Iterator[str]:
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


def _compare_stream(run_id: str, events: Sequence[tuple[int, Doc]], final: Final) -> Iterator[str]:
    """Deltas joined, less what was voided, are what was saved: text, reasoning, arguments."""
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
                    del joined["arguments"]  # calls of a reply that was cut are not handed out
                for part, told in joined.items():
                    if told != _message_content(message)[part]:
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
    told = {"text": "", "reasoning": ""}
    for _, event in events:
        match event["type"]:
            case "text.delta":
                told["text"] += event["text"]
            case "reasoning.delta":
                told["reasoning"] += event["text"]
            case "tool_call.delta":
                arguments[event["tool_call_id"]] += event["arguments"]
            case _:
                pass
    ready = {
        event["tool_call_id"]: event["arguments"]
        for _, event in events
        if event["type"] == "tool_call.ready"
    }
    return told | {"arguments": {call: arguments[call] or "{}" for call in ready}}


def _message_content(message: Doc) -> dict[str, Any]:
    calls = {call["id"]: call["arguments"] for call in message["tool_calls"]}
    return {"text": text(message), "reasoning": message["reasoning"] or "", "arguments": calls}


# The history


def thread(thread_id: str, final: Final) -> Iterator[str]:
    """One order without a gap, and one result to each call before anything else is said."""
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


def text(message: Doc) -> str:
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")


def _abbreviate(numbers: Sequence[int]) -> str:
    return str(numbers) if len(numbers) < 20 else f"{numbers[:8]} ... {numbers[-8:]}"
