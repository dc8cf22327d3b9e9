"""The one statement that writes a change, put together from what the change consists of.

It says what the thread and the run looked like when they were read; somebody who was quicker makes
it write nothing. So no transaction is open while a decision is made, no lock is held by a process
that has been stopped, and a change costs two round trips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from asyncpg.connection import Connection
from msgspec.structs import asdict

from antiphon import events
from antiphon.engine.window import tokens
from antiphon.errors import Internal
from antiphon.messages import Message, chat
from antiphon.ports import About, Change, Driven
from antiphon.runs import Thread
from antiphon.stores import rules
from antiphon.stores.postgres.connections import execute
from antiphon.stores.postgres.reads import Read
from antiphon.stores.postgres.statements import writing

SEGMENT = 64  # messages whose chat is joined for good
SPENT_PARTS = 16  # rows among which an owner's spending of a day is spread

_encode = msgspec.json.encode


async def write(connection: Connection[Any], about: About, read: Read, decided: Change) -> bool:
    """Write all of the change; False where what it was decided from is so no more.

    Raises what speaks against the change.
    """
    draft = _Draft(about, read, decided)
    statement = writing(tuple(draft.seen), tuple(draft.pieces))
    values = statement.values(draft.values)
    return bool(await connection.fetchval(statement.sql, *values))


async def seal(connection: Connection[Any], read: Read, decided: Change) -> None:
    """Join the chat of many messages for good, where the change completed so many."""
    before, after = read.records.thread, decided.thread
    if after is None or not decided.messages or after.messages < 2 * SEGMENT:
        return
    had = before.messages if before and before.id == after.id else 0
    if had // SEGMENT == after.messages // SEGMENT and decided.keep_messages is None:
        return
    values = {"thread_id": after.id, "length": SEGMENT, "messages": after.messages}
    changes = read.changes + 1 if had or (before and before.id == after.id) else 0
    await execute(connection, "seal", changes=changes, **values)


class _Draft:
    """The pieces of the statement, in the order in which they may refer to one another."""

    def __init__(self, about: About, read: Read, decided: Change) -> None:
        self.pieces: list[str] = []
        self.seen: list[str] = []
        self.values: dict[str, Any] = {"read_at": read.records.now}
        self._about = about
        self._read = read
        self._decided = decided
        self._hold()
        self._say()
        for driven in decided.driven:
            self._drive(driven)
        self._act()
        self._remember()
        self.pieces.sort(key=_ORDER.index)

    def _add(self, *pieces: str, **values: Any) -> None:
        self.pieces += pieces
        self.values |= values

    def _hold(self) -> None:
        """What was read must still be so; the thread, if it is written, is written with that."""
        seen, thread = self._read.records.thread, self._decided.thread
        known = seen is not None and thread is not None and thread.id == seen.id
        rules.judge_thread(seen if known else None, self._decided)
        if seen is not None:
            self.seen.append("threads")
            self._add("saved" if known else "held", thread_id=seen.id, changes=self._read.changes)
        if self._read.begun is not None:
            self.seen.append("keys")
            self._add("key_held", key_id=self._about.key_id, begun=self._read.begun)
        self._hold_run()
        if thread is not None:
            self._save_thread(thread, known=known)

    def _hold_run(self) -> None:
        kept = self._read.kept
        if kept is None:
            return
        self.seen.append("drives")
        self._add(
            run_id=kept.run.id,
            last_event_before=kept.drive.last_event,
            due_at_before=kept.drive.due_at,
        )

    def _save_thread(self, thread: Thread, *, known: bool) -> None:
        self.values |= {
            "version": thread.version,
            "parent_id": thread.parent_id,
            "words": rules.searchable(thread.title).encode(),
            "thread": _encode(thread),
        }
        if not known:
            owner = rules.owner_of(self._about, self._decided)
            self._add("thread_added", new_thread_id=thread.id, new_owner=owner)

    def _say(self) -> None:
        """Cut, then add messages; what was joined of a place that is touched is joined anew."""
        thread, messages = self._decided.thread, self._decided.messages
        if thread is None:
            return
        keep = self._decided.keep_messages
        touched = [message.number for message in messages]
        if keep is not None:
            self._add("cut", keep_messages=keep)
            touched.append(keep + 1)
        before = self._read.records.thread
        if touched and before is not None and min(touched) <= before.messages:
            self._add("unsealed", touched=min(touched))
        if messages:
            self._add("said", **_columns(_MESSAGE, map(_message_row, messages)))
        self.values["messages_of"] = thread.id

    def _drive(self, driven: Driven) -> None:
        kept = self._read.kept
        known = kept is not None and kept.run.id == driven.run.id
        rules.judge_move((kept.run, kept.drive) if kept and known else None, driven)
        if known:
            self._move(driven)
        elif "begun" not in self.pieces:
            self._begin(driven)
        else:
            raise Internal("A change begins one run at most.")
        self._count(driven, rules.grown(kept.run if kept and known else None, driven.run))
        if driven.run.status.ended:
            self._spend(driven)

    def _move(self, driven: Driven) -> None:
        kept, now = self._read.kept, self._read.records.now
        waited = kept.wanted_at if kept and kept.drive.wanted else now
        self._add("moved", **_drive_values(driven, waited))
        if kept and kept.run != driven.run:
            self._add("run_saved", run=_encode(driven.run))
        if driven.events:
            self._add("told", **_told(driven))

    def _begin(self, driven: Driven) -> None:
        run = driven.run
        values = _drive_values(driven, self._read.records.now) | {
            "run_id": run.id,
            "owner": rules.owner_of(self._about, self._decided),
            "run_of": run.thread_id,
            "run": _encode(run),
            **_told(driven),
        }
        self._add("begun", "begun_drive", **{f"new_{name}": each for name, each in values.items()})
        if driven.events:
            self._add("begun_told")

    def _count(self, driven: Driven, grown: int) -> None:
        """What it has used since, with its key, if that has a limit."""
        if grown and driven.drive.key_id is not None:
            self._add("counted", counted_key=driven.drive.key_id, grown=grown)

    def _spend(self, driven: Driven) -> None:
        kept = self._read.kept
        known = kept is not None and kept.run.id == driven.run.id
        owner = kept.owner if kept and known else rules.owner_of(self._about, self._decided)
        spent = asdict(rules.spent(owner, driven.run, self._read.records.now))
        part = hash(driven.run.id) % SPENT_PARTS
        values = {f"spent_{name}": each for name, each in spent.items()}
        self._add("spent", spent_part=part, **values)

    def _act(self) -> None:
        if self._decided.actions:
            rows = (
                (each.id, each.run_id, each.turn, each.tool_call_id, each.status, _encode(each))
                for each in self._decided.actions
            )
            self._add("acted", **_columns(_ACTION, rows))

    def _remember(self) -> None:
        """The answer for whoever asks again, and the act for whoever asks who it was."""
        once, act = self._about.once, self._decided.act
        if act is not None:
            self._add("noted", act_id=act.id, act_owner=act.owner, act=_encode(act))
        if once is not None and not self._decided.more:
            self._add(
                "answered",
                once_owner=once.owner,
                once_route=once.route,
                once_key=once.key,
                digest=once.digest,
                answer=_encode(self._decided.answer),
                subject=rules.subject(self._read.records, self._decided),
            )


_ORDER = (
    *("held", "saved", "key_held"),
    *("thread_added", "cut", "unsealed", "said"),
    *("moved", "run_saved", "told", "begun", "begun_drive", "begun_told"),
    *("acted", "answered", "counted", "spent", "noted"),
)
"""All pieces, each behind those that it reads."""

_MESSAGE = (
    *("message_ids", "numbers", "roles", "sizes", "tokens"),
    *("chats", "message_words", "messages"),
)
_ACTION = ("action_ids", "action_runs", "turns", "tool_call_ids", "action_statuses", "actions")


def _columns(names: Sequence[str], rows: Any) -> dict[str, list[Any]]:
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _message_row(message: Message) -> tuple[Any, ...]:
    said = chat(message)
    return (
        message.id,
        message.number,
        rules.role(message),
        len(said),
        tokens(len(said)),
        said,
        rules.searchable(message.full_text).encode(),
        _encode(message),
    )


def _drive_values(driven: Driven, waited: int) -> dict[str, Any]:
    drive = asdict(driven.drive)
    return drive | {
        "drive_key_id": drive.pop("key_id"),
        "status": driven.run.status.value,
        "wanted_at": waited,
        "ended_at": driven.run.ended_at,
    }


def _told(driven: Driven) -> dict[str, Any]:
    return {
        "first": driven.drive.last_event - len(driven.events) + 1,
        "lines": b"\n".join(map(events.encode, driven.events)),
    }


def refused(constraint: str | None, decided: Change) -> Exception:
    """The error for a place or a name that something else has."""
    match constraint:
        case "messages_number" if decided.messages:
            return rules.place_taken(decided.messages[0])
        case "threads_id" if decided.thread is not None:
            return rules.taken(Thread, decided.thread.id)
        case _:
            return Internal(f"The database refused the change: {constraint}.")
