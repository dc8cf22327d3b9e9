"""A PostgreSQL database as the checks read it, with their own statements."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from tests.support.harness.final_state import LATE_MS, FinalState, RunTransition, split_rows

WITNESS = """
CREATE EXTENSION IF NOT EXISTS amcheck;
CREATE TABLE witness (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_id TEXT, before TEXT, after TEXT,
    epoch_before INTEGER, epoch INTEGER, worker_before TEXT, worker TEXT
);
CREATE FUNCTION witnessed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness (run_id, before, after, epoch_before, epoch, worker_before, worker)
    VALUES (NEW.id, OLD.status, NEW.status, OLD.epoch, NEW.epoch, OLD.worker, NEW.worker);
    RETURN NULL;
END $$;
CREATE TRIGGER witness_moves AFTER UPDATE ON drives FOR EACH ROW
WHEN ((OLD.status, OLD.epoch, OLD.worker) IS DISTINCT FROM (NEW.status, NEW.epoch, NEW.worker))
EXECUTE FUNCTION witnessed();
"""

NOW = "(extract(epoch FROM clock_timestamp()) * 1000)"
HALVES = {
    "waits for outputs without an action": """
        SELECT id FROM drives WHERE status = 'action_required'
        AND NOT EXISTS (
            SELECT 1 FROM actions WHERE run_id = drives.id AND status = 'pending')""",
    "has ended with an open action": """
        SELECT DISTINCT drives.id FROM drives JOIN actions ON actions.run_id = drives.id
        WHERE actions.status = 'pending' AND drives.status <> 'action_required'""",
    "has no first event": """
        SELECT id FROM drives WHERE kept_after = 0
        AND NOT EXISTS (SELECT 1 FROM log WHERE log.run = drives.run AND first = 1)""",
    "was begun without its message": """
        SELECT id FROM drives WHERE NOT EXISTS (
            SELECT 1 FROM messages
            WHERE messages.thread_id = drives.thread_id AND role = 'user')""",
    "is not driven, or drives nothing": """
        SELECT coalesce(runs.id, drives.id) FROM runs FULL JOIN drives ON drives.run = runs.seq
        WHERE runs.id IS DISTINCT FROM drives.id""",
    "counts other events than there are": """
        SELECT id FROM drives WHERE kept_after < last_event AND last_event IS DISTINCT FROM (
            SELECT max(last) FROM log WHERE log.run = drives.run)""",
    "is held by nobody, and nobody takes it up": f"""
        SELECT id FROM drives WHERE status = 'in_progress' AND due_at < {NOW} - {LATE_MS}""",
    "is wanted, and nobody takes it up": f"""
        SELECT id FROM drives WHERE status = 'queued' AND wanted
        AND wanted_at < {NOW} - {LATE_MS}""",
}
ORPHANS = """
SELECT 'message ' || id FROM messages WHERE thread_id NOT IN (SELECT id FROM threads)
UNION ALL SELECT 'run ' || id FROM runs WHERE thread_id NOT IN (SELECT id FROM threads)
UNION ALL SELECT 'action ' || id FROM actions WHERE run_id NOT IN (SELECT id FROM runs)
UNION ALL SELECT 'events of ' || run FROM log WHERE run NOT IN (SELECT seq FROM runs)
"""
INDEXES = """
SELECT bt_index_check(indexrelid::regclass, true)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace AND nspname = 'public'
WHERE relkind = 'i'
"""


class PostgresDatabase:
    """A PostgreSQL database; see `Database`. While it is down, no half-done rows are found."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def record_transitions(self) -> None:
        """See `Database`."""
        async with self._connect() as connection:
            await connection.execute(WITNESS)

    async def find_half_done(self) -> list[str]:
        """See `Database`."""
        try:
            async with self._read() as connection:
                return [
                    f"run {row[0]} {what}"
                    for what, statement in HALVES.items()
                    for row in await connection.fetch(statement)
                ]
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return []

    async def list_unfinished_runs(self) -> list[str]:
        """See `Database`."""
        async with self._read() as connection:
            rows = await connection.fetch(
                "SELECT id FROM drives "
                "WHERE status = 'in_progress' OR (status = 'queued' AND wanted)"
            )
            return [row[0] for row in rows]

    async def load(self) -> FinalState:
        """See `Database`."""
        async with self._read() as connection:
            faults = [f"{row[0]} belongs to nothing" for row in await connection.fetch(ORPHANS)]
            return FinalState(
                threads=await _docs(connection, "SELECT id, doc FROM threads"),
                messages=await _fetch_column(
                    connection, "SELECT doc FROM messages ORDER BY thread_id, number"
                ),
                runs=await _runs(connection),
                actions=await _fetch_column(connection, "SELECT doc FROM actions ORDER BY seq"),
                events=await _events(connection, faults),
                transitions=await _transitions(connection),
                faults=faults + await _broken_indexes(connection),
                at=int(await connection.fetchval(f"SELECT {NOW}")),
            )

    async def log(self, run_id: str) -> list[tuple[int, int, bytes]]:
        """Return the rows of a run's log."""
        async with self._read() as connection:
            rows = await connection.fetch(
                "SELECT first, last, lines FROM log JOIN runs ON seq = run WHERE id = $1 "
                "ORDER BY last",
                run_id,
            )
            return [tuple(row) for row in rows]

    async def fetch_value(self, statement: str, *values: Any) -> Any:
        """Execute the statement and return the first value."""
        async with self._connect() as connection:
            return await connection.fetchval(statement, *values)

    @asynccontextmanager
    async def _connect(self) -> AsyncGenerator[Any]:
        connection = await asyncpg.connect(self.address)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    @asynccontextmanager
    async def _read(self) -> AsyncGenerator[Any]:
        async with (
            self._connect() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection


async def _fetch_column(connection: Any, statement: str) -> list[Any]:
    return [msgspec.json.decode(row[0]) for row in await connection.fetch(statement)]


async def _docs(connection: Any, statement: str) -> dict[str, Any]:
    return {row[0]: msgspec.json.decode(row[1]) for row in await connection.fetch(statement)}


async def _runs(connection: Any) -> dict[str, Any]:
    rows = await connection.fetch(
        "SELECT runs.id, status, kept_after, doc FROM runs JOIN drives ON drives.run = runs.seq"
    )
    return {
        run_id: msgspec.json.decode(doc) | {"row": {"status": status, "kept_after": kept_after}}
        for run_id, status, kept_after, doc in rows
    }


async def _transitions(connection: Any) -> list[RunTransition]:
    if await connection.fetchval("SELECT to_regclass('witness')") is None:
        return []
    columns = "run_id, before, after, epoch_before, epoch, worker_before, worker"
    return [
        RunTransition(*row)
        for row in await connection.fetch(f"SELECT {columns} FROM witness ORDER BY seq")
    ]


async def _broken_indexes(connection: Any) -> list[str]:
    if await connection.fetchval("SELECT to_regproc('bt_index_check')") is None:
        return []
    try:
        await connection.fetch(INDEXES)
    except asyncpg.IndexCorruptedError as fault:
        return [str(fault)]
    return []


async def _events(connection: Any, faults: list[str]) -> dict[str, list[tuple[int, bytes]]]:
    rows = await connection.fetch(
        "SELECT id, first, last, lines FROM log JOIN runs ON seq = run ORDER BY run, last"
    )
    return split_rows(rows, faults)
