"""Records of a store, and the steps in which tests of stores write and read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, Claim, ReadSet, RunUpdate, Snapshot
from antiphon.ports import Store
from antiphon.types import events
from antiphon.types.events import RunStatus, TextDelta
from antiphon.types.messages import Message, Text
from antiphon.types.runs import (
    TRANSITIONS,
    Action,
    Run,
    RunLease,
    Status,
    Thread,
    Usage,
)
from tests.support.stores.appending import append_lines


def a_thread(number: int = 1, **fields: Any) -> Thread:
    return Thread(id=f"thread_{number}", created_at=1, updated_at=1, **fields)


def a_run(number: int = 1, thread: str = "thread_1", **fields: Any) -> Run:
    return Run(id=f"run_{number}", thread_id=thread, model="demo", created_at=1, **fields)


def a_message(number: int, text: str, thread: str = "thread_1", **fields: Any) -> Message:
    return Message(
        **{
            "id": f"msg_{thread}_{number}_{len(text)}",
            "thread_id": thread,
            "number": number,
            "role": "user",
            "content": (Text(text),),
            "created_at": 1,
            **fields,
        }
    )


def an_action(number: int, run: str = "run_1", **fields: Any) -> Action:
    return Action(
        **{
            "id": f"act_{run}_{number}",
            "run_id": run,
            "thread_id": "thread_1",
            "turn": 1,
            "tool_call_id": f"call_{number}",
            "name": "look",
            "arguments": {"at": number},
            "created_at": 1,
            "expires_at": 2,
            **fields,
        }
    )


def status_of(run: Run) -> RunStatus:
    return RunStatus(run_id=run.id, thread_id=run.thread_id, status=run.status)


def move_run(records: Snapshot, to: Status, *more_events: events.Event, **lease: Any) -> RunUpdate:
    """Return the update of the run to another status, with the event of it and further events."""
    assert records.run is not None
    assert records.lease is not None
    run = replace(records.run, status=to, ended_at=records.now if not TRANSITIONS[to] else None)
    run_events = (status_of(run), *more_events)
    last_event = records.lease.last_event + len(run_events)
    return RunUpdate(run, replace(records.lease, last_event=last_event, **lease), run_events)


def move(to: Status, *more_events: events.Event, **lease: Any) -> Callable[[Snapshot], ChangeSet]:
    return lambda records: ChangeSet(
        run_updates=(move_run(records, to, *more_events, **lease),), answer="moved"
    )


def say(*messages: Message, places: int = 0, **change: Any) -> Callable[[Snapshot], ChangeSet]:
    """Add messages to the thread of the records, and reserve places after them."""

    def decide(records: Snapshot) -> ChangeSet:
        assert records.thread is not None
        thread = records.thread
        count = max([thread.messages, *(message.number for message in messages)])
        thread = replace(thread, messages=count + places, version=thread.version + 1)
        return ChangeSet(thread=thread, messages=messages, **change)

    return decide


def begin(run: Run, **lease: Any) -> Callable[[Snapshot], ChangeSet]:
    return lambda records: ChangeSet(
        owner="ann",
        run_updates=(RunUpdate(run, RunLease(last_event=1, **lease), (status_of(run),)),),
        answer=run.id,
    )


async def add_thread(store: Store, number: int = 1, owner: str = "ann", **fields: Any) -> Thread:
    thread = a_thread(number, **fields)
    await store.change(ReadSet(owner=owner), lambda records: ChangeSet(thread=thread, owner=owner))
    return thread


async def add_run(store: Store, number: int = 1, thread: str = "thread_1", **lease: Any) -> Run:
    run = a_run(number, thread)
    await store.change(ReadSet(owner="ann", thread_id=thread), begin(run, **lease))
    return run


def take(**lease: Any) -> Callable[[Snapshot], ChangeSet | None]:
    def decide(records: Snapshot) -> ChangeSet:
        assert records.lease is not None
        fields = {"epoch": records.lease.epoch + 1, "worker": "w", "due_at": records.now + 15_000}
        return ChangeSet(
            run_updates=(move_run(records, Status.IN_PROGRESS, **{**fields, **lease}),)
        )

    return decide


async def add_claimed(store: Store, number: int = 1) -> Claim:
    """Add and claim a run: thread N, run N in progress, epoch 1, two events."""
    await add_thread(store, number)
    await add_run(store, number, f"thread_{number}", wanted=True)
    claim = await store.claim(take())
    assert claim is not None
    return claim


def lines(*texts: str) -> list[bytes]:
    return [events.encode(TextDelta(text=text)) for text in texts]


async def append(store: Store, claim: Claim, first: int, *texts: str, urgent: bool = True) -> None:
    await append_lines(store, claim.run.id, claim.lease.epoch, first, lines(*texts), urgent=urgent)


async def whole_log(store: Store, run_id: str, after: int = 0) -> list[bytes]:
    log_lines: list[bytes] = []
    while True:
        page = await store.read_events(run_id, after + len(log_lines))
        assert page.first == after + len(log_lines) + 1
        log_lines += page.lines
        if not page.lines:
            return log_lines


async def page_through(store: Store, kind: type[Any], limit: int, **where: str) -> list[str]:
    ids: list[str] = []
    after = None
    while True:
        page = await store.list(kind, "ann", limit=limit, after=after, **where)
        ids += [each.id for each in page.data]
        if not page.has_more:
            return ids
        after = ids[-1]


def ending(usage: Usage, model: str = "demo") -> Callable[[Snapshot], ChangeSet]:
    def decide(records: Snapshot) -> ChangeSet:
        update = move_run(records, Status.CANCELLED)
        return ChangeSet(
            run_updates=(replace(update, run=replace(update.run, usage=usage, model=model)),)
        )

    return decide


async def spend(store: Store, number: int, usage: Usage, model: str = "demo") -> None:
    await add_thread(store, number)
    await add_run(store, number, f"thread_{number}")
    await store.change(ReadSet(owner="ann", run_id=f"run_{number}"), ending(usage, model))
