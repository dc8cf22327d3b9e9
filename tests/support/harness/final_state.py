"""The final state of the database as plain values, and the triggers that record transitions.

It reads SQLite with its own statements, because the checks trust nothing of the program.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

Doc = dict[str, Any]


@dataclass(frozen=True)
class RunTransition:
    """A run's row before and after one statement, as a trigger recorded it."""

    run_id: str
    before: str
    after: str
    epoch_before: int
    epoch: int
    worker_before: str | None
    worker: str | None


@dataclass(frozen=True)
class FinalState:
    """Rows of all tables, at the time `at` of the database, in ms.

    `events` are each run's, with their numbers; documents are as stored.
    """

    threads: dict[str, Doc] = field(default_factory=dict)
    messages: Sequence[Doc] = ()
    runs: dict[str, Doc] = field(default_factory=dict)
    actions: Sequence[Doc] = ()
    events: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    transitions: Sequence[RunTransition] = ()
    faults: Sequence[str] = ()
    at: int | None = None


TRANSITIONS_TABLE = """
CREATE TABLE witness (
    seq INTEGER PRIMARY KEY, run_id TEXT, before TEXT, after TEXT, epoch_before INTEGER,
    epoch INTEGER, worker_before TEXT, worker TEXT
);
CREATE TRIGGER witness_moves AFTER UPDATE OF status, epoch, worker ON runs
WHEN OLD.status <> NEW.status OR OLD.epoch <> NEW.epoch OR OLD.worker IS NOT NEW.worker
BEGIN
    INSERT INTO witness (run_id, before, after, epoch_before, epoch, worker_before, worker)
    VALUES (NEW.id, OLD.status, NEW.status, OLD.epoch, NEW.epoch, OLD.worker, NEW.worker);
END;
"""

LATE_MS = 25_000
"""Within this time a run continues after the death of its worker and of other services."""

# States that no consistent read may ever show.
HALF_DONE = {
    "waits for outputs without an action": """
        SELECT id FROM runs WHERE status = 'action_required'
        AND NOT EXISTS (SELECT 1 FROM actions WHERE run_id = runs.id AND status = 'pending')""",
    "has ended with an open action": """
        SELECT runs.id FROM runs JOIN actions ON actions.run_id = runs.id
        WHERE actions.status = 'pending' AND runs.status <> 'action_required'""",
    "has no first event": """
        SELECT id FROM runs WHERE kept_after = 0
        AND NOT EXISTS (SELECT 1 FROM log WHERE run = runs.seq AND first = 1)
        AND NOT EXISTS (SELECT 1 FROM fresh WHERE run = runs.seq AND first = 1)""",
    "was begun without its message": """
        SELECT id FROM runs WHERE NOT EXISTS (
            SELECT 1 FROM messages WHERE messages.thread_id = runs.thread_id AND role = 'user')""",
    "is held by nobody, and nobody takes it up": f"""
        SELECT id FROM runs WHERE status = 'in_progress' AND due_at < {{now}} - {LATE_MS}""",
    "is wanted, and nobody takes it up": f"""
        SELECT id FROM runs WHERE status = 'queued' AND wanted
        AND wanted_at < {{now}} - {LATE_MS}""",
}
NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


def record_transitions(path: Path) -> None:
    """Create the triggers that record every transition of a run from now on."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TRANSITIONS_TABLE)


def find_half_done(path: Path) -> list[str]:
    """Return the rows that are half done, in one consistent read."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        return [
            f"run {run_id} {what}"
            for what, statement in HALF_DONE.items()
            for (run_id,) in connection.execute(statement.format(now=NOW))
        ]


def list_unfinished_runs(path: Path) -> list[str]:
    """Return the ids of runs that a worker has to continue."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT id FROM runs WHERE status = 'in_progress' OR (status = 'queued' AND wanted)"
        )
        return [run_id for (run_id,) in rows]


def load(path: Path) -> FinalState:
    """Read the whole state, consistently."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        ask = connection.execute
        ask("BEGIN")
        faults = [text for (text,) in ask("PRAGMA integrity_check") if text != "ok"]
        faults += [f"foreign key: {row}" for row in ask("PRAGMA foreign_key_check")]
        if ask("SELECT 1 FROM sqlite_master WHERE name = 'witness'").fetchone():
            columns = "run_id, before, after, epoch_before, epoch, worker_before, worker"
            transitions = [
                RunTransition(*row) for row in ask(f"SELECT {columns} FROM witness ORDER BY seq")
            ]
        else:
            transitions = []
        runs = {
            run_id: msgspec.json.decode(doc) | {"row": {"status": status, "kept_after": kept_after}}
            for run_id, status, kept_after, doc in ask(
                "SELECT id, status, kept_after, doc FROM runs"
            )
        }
        return FinalState(
            threads={
                thread_id: msgspec.json.decode(doc)
                for thread_id, doc in ask("SELECT id, doc FROM threads")
            },
            messages=[
                msgspec.json.decode(doc)
                for (doc,) in ask("SELECT doc FROM messages ORDER BY thread_id, number")
            ],
            runs=runs,
            actions=[
                msgspec.json.decode(doc) for (doc,) in ask("SELECT doc FROM actions ORDER BY seq")
            ],
            events=_events(connection, faults),
            transitions=transitions,
            faults=faults,
            at=ask(f"SELECT {NOW}").fetchone()[0],
        )


def _events(
    connection: sqlite3.Connection, faults: list[str]
) -> dict[str, list[tuple[int, bytes]]]:
    rows = connection.execute(
        "SELECT id, first, last, lines FROM log JOIN runs ON runs.seq = run "
        "UNION ALL "
        "SELECT id, first, last, lines FROM fresh JOIN runs ON runs.seq = run"
    )
    return split_rows(rows, faults)


def split_rows(
    rows: Iterable[tuple[str, int, int, bytes]], faults: list[str]
) -> dict[str, list[tuple[int, bytes]]]:
    """Return the numbered events of each run; a row holds a run's events `first` to `last`."""
    events: dict[str, list[tuple[int, bytes]]] = {}
    for run_id, first, last, lines in rows:
        split = lines.split(b"\n")
        if len(split) != last - first + 1:
            faults.append(f"run {run_id}: the row {first} to {last} holds {len(split)} events")
        events.setdefault(run_id, []).extend(enumerate(split, first))
    return events
