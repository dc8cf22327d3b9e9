"""The statement that writes changes of one shape, built from the pieces of these changes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec
from asyncpg.connection import Connection
from msgspec.structs import asdict

from antiphon.engine.snapshot import ChangeSet, ReadSet, RunUpdate
from antiphon.engine.text_search import join_words
from antiphon.stores import admin_rules, invariants
from antiphon.stores.postgres import text_index
from antiphon.stores.postgres.connections import NAMED_SQL
from antiphon.stores.postgres.reads import ReadResult
from antiphon.stores.rows import message_columns
from antiphon.stores.sql_schedules import occurrence_columns, schedule_columns
from antiphon.stores.sql_webhooks import new_outcome
from antiphon.types import events
from antiphon.types.errors import Internal
from antiphon.types.runs import Thread

LONG_TEXT = 20_000  # characters, whose words take some milliseconds
USAGE_PARTS = 16  # rows among which an owner's spending of a day is spread

_encode = msgspec.json.encode


class ChangeShape(NamedTuple):
    """The tables with a row that must be as it was read, and the pieces of the statement."""

    seen: tuple[str, ...]
    pieces: tuple[str, ...]


class ChangeStatement(NamedTuple):
    """SQL with `$1`, `$2`, ... and the names of these parameters, each an array for all changes.

    `lists` names those of which a change has a list of values.
    """

    sql: str
    names: tuple[str, ...]
    lists: frozenset[str]

    def values(self, changes: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """Return the arrays in the order of their numbers. Raises `KeyError` for a missing name."""
        return [self._array(name, changes) for name in self.names]

    def _array(self, name: str, changes: Sequence[Mapping[str, Any]]) -> list[Any]:
        if name == "places":
            return list(range(1, len(changes) + 1))
        if (counted := _COUNTED.get(name)) is not None:
            return [place for place, each in enumerate(changes, 1) for _ in each[counted]]
        if name == "spent_part":  # one for all, so that changes of an owner write one row
            return [changes[0][name]] * len(changes)
        if name in self.lists:
            return [value for each in changes for value in each[name]]
        return [each[name] for each in changes]


_COUNTED = {
    "message_places": "message_ids",
    "action_places": "action_ids",
    "notice_places": "notice_ids",
    "occurrence_places": "occurrence_ids",
}
"""Parameters with the place of the change that each value of a list belongs to, and that list."""
_PARAMETER = re.compile(r"(?<!:):([a-z]\w*)::(\w+)(\[\])?")


@cache
def change_statement(shape: ChangeShape, *, wait: bool) -> ChangeStatement:
    """Return the statement that writes changes of this shape, in the order of its pieces.

    A change of a row that another transaction has locked is left out, or waits with `wait`.
    """
    follows = {
        "seen": _lock_sql(shape.seen, wait=wait),
        "after_cut": NAMED_SQL["change_after_cut"] if "messages_cut" in shape.pieces else "",
        "after_move": NAMED_SQL["change_after_move"] if "run_moved" in shape.pieces else "",
    }
    parts = [NAMED_SQL[f"change_{piece}"].format(**follows) for piece in ("passed", *shape.pieces)]
    sql = "WITH " + ",\n".join(parts) + "\n" + NAMED_SQL["change_end"]
    found = _PARAMETER.findall(sql)
    names = tuple(dict.fromkeys(name for name, _, _ in found))
    numbers = {name: number for number, name in enumerate(names, 1)}

    def number(found: re.Match[str]) -> str:
        array = f"${numbers[found[1]]}::{found[2]}[]"
        return array if found[3] else f"({array})[place]"

    lists = frozenset(name for name, _, brackets in found if brackets)
    return ChangeStatement(_PARAMETER.sub(number, sql), names, lists)


def _lock_sql(seen: tuple[str, ...], *, wait: bool) -> str:
    unless_locked = "" if wait else " SKIP LOCKED"
    return "".join(
        "\n"
        + NAMED_SQL["change_seen"].format(
            table=table, so=NAMED_SQL[f"seen_{table}"], unless_locked=unless_locked
        )
        for table in seen
    )


async def write_changes(
    connection: Connection[Any], drafts: Sequence[ChangeDraft], *, wait: bool
) -> frozenset[int]:
    """Write changes of one shape, of which no two are about one record.

    Return the places, from 0, of those that were written: the records of the others have changed
    since they were read, or another transaction has locked them and `wait` is false. Raises, and
    writes none, if one of them is not allowed.
    """
    statement = change_statement(drafts[0].shape, wait=wait)
    values = statement.values([each.values for each in drafts])
    places = await connection.fetchval(statement.sql, *values)
    return frozenset(place - 1 for place in places)


class ChangeDraft:
    """The pieces of a change, each after those that it uses, and the values of their parameters."""

    def __init__(self, read_set: ReadSet, read: ReadResult, decided: ChangeSet) -> None:
        self.pieces: list[str] = []
        self.seen: list[str] = []
        self.values: dict[str, Any] = {"read_at": read.records.now}
        self._read_set = read_set
        self._read = read
        self.decided = decided
        self._add_checks()
        self._add_messages()
        for update in decided.run_updates:
            self._add_run_update(update)
        self._add_request_usage()
        self._add_actions()
        self._add_deliveries()
        self._add_schedule()
        self._add_answer_and_audit()
        self.pieces.sort(key=_ORDER.index)

    @property
    def shape(self) -> ChangeShape:
        """The shape of the change: one statement can write changes of the same shape."""
        return ChangeShape(tuple(self.seen), tuple(self.pieces))

    @property
    def records(self) -> frozenset[str]:
        """The ids of the records that are written, but for new ones, which nothing else writes."""
        found = {self.values.get(name) for name in _RECORDS}
        return frozenset(each for each in found if each is not None)

    @classmethod
    async def of(cls, read_set: ReadSet, read: ReadResult, decided: ChangeSet) -> ChangeDraft:
        """Return the draft of a change, with the words by which its messages are found.

        Words of long messages are found beside the loop. Raises if the change is not allowed.
        """
        draft = cls(read_set, read, decided)
        texts = [message.full_text for message in decided.messages]
        if decided.thread is None or not texts:
            return draft

        def encode() -> list[str]:
            return [text_index.encode_vector(draft._thread_owner, text) for text in texts]

        is_long = sum(map(len, texts)) > LONG_TEXT
        draft.values["message_words"] = await asyncio.to_thread(encode) if is_long else encode()
        return draft

    def _add(self, *pieces: str, **values: Any) -> None:
        self.pieces += pieces
        self.values |= values

    def _add_checks(self) -> None:
        """Check that the records are as they were read; write the thread in the same piece."""
        seen, thread = self._read.records.thread, self.decided.thread
        known = seen is not None and thread is not None and thread.id == seen.id
        invariants.check_thread_change(seen if known else None, self.decided)
        if seen is not None:
            self.seen.append("threads")
            piece = "thread_saved" if known else "thread_held"
            self._add(piece, thread_id=seen.id, changes=self._read.changes)
        if self._read.runs_begun is not None:
            self.seen.append("keys")
            self._add("key_held", key_id=self._read_set.key_id, begun=self._read.runs_begun)
        self._add_run_check()
        if thread is not None:
            self._add_thread(thread, known=known)

    def _add_schedule(self) -> None:
        """Add the move of the schedule, if it is still as it was read, and its history."""
        stored = self._read.records.schedule
        invariants.check_schedule_update(stored, self.decided)
        if stored is not None:
            self.seen.append("schedules")
            self.values |= {
                "schedule_id": stored.schedule.id,
                "schedule_changes": self._read.schedule_changes,
            }
        update = self.decided.schedule_update
        if update is None:
            return
        columns = schedule_columns(update.stored)
        self._add("schedule_saved", schedule_next_at=columns["next_at"], schedule=columns["doc"])
        if update.occurrences:
            rows = list(map(occurrence_columns, update.occurrences))
            self._add(
                "occurrences_added",
                schedule_owner=update.stored.owner,
                **{names: [row[name] for row in rows] for names, name in _OCCURRENCE},
            )

    def _add_run_check(self) -> None:
        row = self._read.row
        if row is None:
            return
        self.seen.append("drives")
        self._add(
            run_id=row.run.id,
            last_event_before=row.lease.last_event,
            due_at_before=row.lease.due_at,
        )

    def _add_thread(self, thread: Thread, *, known: bool) -> None:
        self.values |= {
            "version": thread.version,
            "parent_id": thread.parent_id,
            "thread": _encode(thread),
            "title": text_index.encode_vector(self._thread_owner, thread.title),
            "words": join_words(thread.title).encode(),
            "updated_at": thread.updated_at,
            "has_messages": thread.messages > 0,
            "replaces": _remove_nul(thread.metadata.get("replaces")),
        }
        if not known:
            self._add("thread_added", new_thread_id=thread.id, new_owner=self._thread_owner)

    @property
    def _thread_owner(self) -> str:
        seen, thread = self._read.records.thread, self.decided.thread
        if self._read.owner is not None and seen and thread and seen.id == thread.id:
            return self._read.owner
        return invariants.require_owner(self._read_set, self.decided)

    def _add_messages(self) -> None:
        """Cut, then add messages; segments that contain a changed message are dropped."""
        thread, messages = self.decided.thread, self.decided.messages
        if thread is None:
            return
        keep = self.decided.keep_messages
        touched = [message.number for message in messages]
        if keep is not None:
            self._add("messages_cut", keep_messages=keep)
            touched.append(keep + 1)
        before = self._read.records.thread
        if touched and before is not None and min(touched) <= before.messages:
            self._add("segments_dropped", touched=min(touched))
        if messages:
            rows = list(map(message_columns, messages))
            self._add(
                "messages_added", **{names: [row[name] for row in rows] for names, name in _MESSAGE}
            )
        self.values["messages_of"] = thread.id

    def _add_run_update(self, update: RunUpdate) -> None:
        row = self._read.row
        known = row is not None and row.run.id == update.run.id
        invariants.check_run_update((row.run, row.lease) if row and known else None, update)
        if known:
            self._add_moved_run(update)
        elif "run_added" not in self.pieces:
            self._add_new_run(update)
        else:
            raise Internal("A change begins one run at most.")
        grown = admin_rules.count_new_tokens(row.run if row and known else None, update.run)
        if grown and update.lease.key_id is not None:  # counted if the key has a limit
            self._add("tokens_counted", counted_key=update.lease.key_id, grown=grown)
        had_ended = row is not None and known and row.run.status.ended
        if update.run.status.ended and not had_ended:
            self._add_usage(update)

    def _add_moved_run(self, update: RunUpdate) -> None:
        row, now = self._read.row, self._read.records.now
        waited = row.wanted_at if row and row.lease.wanted else now
        self._add("run_moved", **_lease_values(update, waited))
        if row and row.run != update.run:
            self._add("run_saved", run=_encode(update.run))
        if update.events:
            self._add("events_added", **_event_values(update))

    def _add_new_run(self, update: RunUpdate) -> None:
        run = update.run
        values = _lease_values(update, self._read.records.now) | {
            "run_id": run.id,
            "owner": invariants.require_owner(self._read_set, self.decided),
            "run_of": run.thread_id,
            "run": _encode(run),
            **_event_values(update),
        }
        self._add(
            "run_added", "lease_added", **{f"new_{name}": each for name, each in values.items()}
        )
        if update.events:
            self._add("first_events_added")

    def _add_usage(self, update: RunUpdate) -> None:
        row = self._read.row
        known = row is not None and row.run.id == update.run.id
        owner = (
            row.owner if row and known else invariants.require_owner(self._read_set, self.decided)
        )
        spent = asdict(admin_rules.usage_of_run(owner, update.run, self._read.records.now))
        part = hash(update.run.id) % USAGE_PARTS
        values = {f"spent_{name}": each for name, each in spent.items()}
        self._add("usage_added", spent_part=part, **values)

    def _add_request_usage(self) -> None:
        request, now = self.decided.request_usage, self._read.records.now
        if request is None:
            return
        row = asdict(admin_rules.usage_of_request(self._read_set.owner or "", request, now))
        values = {f"spent_{name}": each for name, each in row.items()}
        self._add("usage_added", spent_part=hash(row["model"]) % USAGE_PARTS, **values)
        if request.key_id is not None:
            grown = admin_rules.count_request_tokens(request)
            self._add("tokens_counted", counted_key=request.key_id, grown=grown)

    def _add_actions(self) -> None:
        if self.decided.actions:
            rows = [
                (each.id, each.run_id, each.turn, each.tool_call_id, each.status, _encode(each))
                for each in self.decided.actions
            ]
            columns = map(list, zip(*rows, strict=True))
            self._add("actions_saved", **dict(zip(_ACTION, columns, strict=True)))

    def _add_deliveries(self) -> None:
        """Add the deliveries of the events for webhooks; all runs of a change have one owner."""
        notices = [event for update in self.decided.run_updates for event in update.webhook_events]
        if notices:
            known = self._read.owner
            self._add(
                "deliveries_added",
                notice_owner=known or invariants.require_owner(self._read_set, self.decided),
                notice_ids=[event.id for event in notices],
                notice_runs=[event.run_id for event in notices],
                notice_types=[event.type for event in notices],
                notice_bodies=[event.body for event in notices],
                outcome=new_outcome(self._read.records.now),
            )

    def _add_answer_and_audit(self) -> None:
        """Add the stored answer of an idempotency key, and the audit entry."""
        once, entry = self._read_set.idempotency_key, self.decided.audit_entry
        if entry is not None:
            self._add(
                "audit_entry_added", act_id=entry.id, act_owner=entry.owner, act=_encode(entry)
            )
        if once is not None and not self.decided.more:
            self._add(
                "answer_saved",
                once_owner=once.owner,
                once_route=once.route,
                once_key=once.key,
                digest=once.digest,
                answer=_encode(self.decided.answer),
                subject=invariants.answer_subject(self._read.records, self.decided),
            )


_ORDER = (
    *("thread_held", "thread_saved", "key_held"),
    *("thread_added", "messages_cut", "segments_dropped", "messages_added"),
    *("run_moved", "run_saved", "events_added", "run_added", "lease_added", "first_events_added"),
    *("actions_saved", "answer_saved", "tokens_counted", "usage_added"),
    *("audit_entry_added", "deliveries_added"),
    *("schedule_saved", "occurrences_added"),
)
"""All pieces, each after those that it uses."""

_RECORDS = ("thread_id", "messages_of", "run_id", "key_id", "counted_key", "schedule_id")
"""Parameters that name a record of which one statement writes one change."""

_MESSAGE = (
    *(("message_ids", "id"), ("numbers", "number"), ("roles", "role"), ("sizes", "size")),
    *(("tokens", "tokens"), ("chats", "chat"), ("messages", "doc")),
)
"""Parameters of the piece `messages_added`, and the columns of messages that they hold."""
_OCCURRENCE = (
    *(("occurrence_ids", "id"), ("occurrence_statuses", "status"), ("occurrence_times", "due_at")),
    *(("occurrence_births", "created_at"), ("occurrences", "doc")),
)
"""Parameters of the piece `occurrences_added`, and the columns of occurrences that they hold."""
_ACTION = ("action_ids", "action_runs", "turns", "tool_call_ids", "action_statuses", "actions")


def _remove_nul(text: str | None) -> str | None:
    """Return the text without the character that a column cannot hold."""
    return text.replace("\0", "") if text is not None else None


def _lease_values(update: RunUpdate, waited: int) -> dict[str, Any]:
    lease = asdict(update.lease)
    return lease | {
        "drive_key_id": lease.pop("key_id"),
        "status": update.run.status.value,
        "wanted_at": waited,
        "ended_at": update.run.ended_at,
    }


def _event_values(update: RunUpdate) -> dict[str, Any]:
    return {
        "first": update.lease.last_event - len(update.events) + 1,
        "lines": b"\n".join(map(events.encode, update.events)),
    }
