"""Records of an import on disk: found by id, in order, and by what they belong to.

An archive may hold more than memory does, and its records come in no order that a store can take.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from tempfile import mkstemp
from typing import Literal, NamedTuple, cast

State = Literal["new", "staged", "present"]
"""State of a record: to be added, added by an earlier try, or in its place already."""

CHILDREN = 4  # that are held at once: each may be of megabytes

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -8000;
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    parent TEXT,
    mark ANY,
    line INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'new',
    doc BLOB NOT NULL,
    before BLOB,
    made INTEGER NOT NULL DEFAULT 0,
    UNIQUE (kind, id),
    UNIQUE (kind, parent, mark)
) STRICT;
"""


class Record(NamedTuple):
    """A record: its number in the spool, id, JSON, and where it stands.

    `before` is the JSON as it came, where it was changed; `made` marks a record that did not come.
    """

    seq: int
    id: str
    parent: str | None
    mark: int | str | None
    state: State
    doc: bytes
    before: bytes | None
    made: bool


class DuplicateRecord(Exception):
    """A second record under one id, or in one place of what it belongs to; `line` has the first."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


class Spool:
    """A file of records. Its methods block, and may be called in one thread after the other.

    The file has no name from the beginning on, so that it is gone with the process however that
    ends; where the system does not let an open file lose its name, it is deleted at the end.
    """

    def __init__(self) -> None:
        descriptor, path = mkstemp(prefix="antiphon-records-")
        os.close(descriptor)
        self._path: str | None = path
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.executescript(_SCHEMA)
        self._unlink()

    def add(
        self,
        kind: str,
        id: str,
        doc: bytes,
        *,
        parent: str | None = None,
        mark: int | str | None = None,
        line: int = 0,
        before: bytes | None = None,
        made: bool = False,
    ) -> None:
        """Add a record. `mark` is its place in its parent. Raises `DuplicateRecord`."""
        values = (kind, id, parent, mark, line, doc, before, made)
        try:
            self._connection.execute(
                "INSERT INTO records (kind, id, parent, mark, line, doc, before, made)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        except sqlite3.IntegrityError as fault:
            raise self._duplicate(kind, id, parent, mark) from fault

    def _duplicate(
        self, kind: str, id: str, parent: str | None, mark: int | str | None
    ) -> DuplicateRecord:
        find = "SELECT line FROM records WHERE kind = ? AND "
        if row := self._connection.execute(f"{find} id = ?", (kind, id)).fetchone():
            return DuplicateRecord(f"the id {id}", row[0])
        row = self._connection.execute(
            f"{find} parent = ? AND mark = ?", (kind, parent, mark)
        ).fetchone()
        return DuplicateRecord(f"the place {mark} in {parent}", row[0])

    def change(self, record: Record, doc: bytes) -> None:
        """Replace the JSON of a record; what came stays known as `before`."""
        self._connection.execute(
            "UPDATE records SET doc = ?, before = coalesce(before, doc) WHERE seq = ?",
            (doc, record.seq),
        )

    def replace_lines(self, record: Record, doc: bytes) -> None:
        """Replace the lines of a record, or remove it where none are left."""
        if doc:
            values = (doc, record.seq)
            self._connection.execute("UPDATE records SET doc = ? WHERE seq = ?", values)
        else:
            self._connection.execute("DELETE FROM records WHERE seq = ?", (record.seq,))

    def set_states(self, states: Mapping[int, State]) -> None:
        """Note where the records with these numbers stand."""
        self._connection.executemany(
            "UPDATE records SET state = ? WHERE seq = ?",
            ((state, seq) for seq, state in states.items()),
        )

    def get(self, kind: str, id: str) -> Record | None:
        """Return a record by its id."""
        return next(self._select("kind = ? AND id = ?", (kind, id)), None)

    def states(self, kind: str, ids: Sequence[str]) -> Mapping[str, State]:
        """Return where these records stand, by id."""
        marks = ", ".join("?" * len(ids))
        rows = self._connection.execute(
            f"SELECT id, state FROM records WHERE kind = ? AND id IN ({marks})",  # noqa: S608
            (kind, *ids),
        )
        return dict(rows.fetchall())

    def children(self, kind: str, parent: str) -> Iterator[Record]:
        """Yield what belongs to a record, in order of its places, a few at a time.

        They may be changed meanwhile.
        """
        where, after = "kind = ? AND parent = ? AND mark > ?", -1
        while page := list(self._select(where, (kind, parent, after), "mark", CHILDREN)):
            yield from page
            after = cast("int", page[-1].mark)

    def in_order(self, kind: str, parent: str) -> Iterator[Record]:
        """Yield what belongs to a record, in the order in which it came."""
        return self._select("kind = ? AND parent = ?", (kind, parent), "seq")

    def page(self, kind: str, after: int | None, limit: int, *, reverse: bool) -> Sequence[Record]:
        """Return the next records of a kind behind the number `after`."""
        beyond, order = ("<", "DESC") if reverse else (">", "ASC")
        start = after if after is not None else (2**62 if reverse else -1)
        return list(
            self._select(f"kind = ? AND seq {beyond} ?", (kind, start), f"seq {order}", limit)
        )

    def size(self, kind: str, parent: str | None = None) -> int:
        """Return the bytes of all records of a kind, or of those of one parent."""
        (size,) = self._connection.execute(
            "SELECT coalesce(sum(length(doc)), 0) FROM records"
            " WHERE kind = ?1 AND (?2 IS NULL OR parent = ?2)",
            (kind, parent),
        ).fetchone()
        return int(size)

    def counts(self) -> Mapping[str, Counter[State]]:
        """Return how many records there are of each kind, by where they stand."""
        counts: defaultdict[str, Counter[State]] = defaultdict(Counter)
        for kind, state, count in self._connection.execute(
            "SELECT kind, state, count(*) FROM records GROUP BY kind, state"
        ):
            counts[kind][state] = count
        return counts

    def last_mark(self, kind: str, parent: str) -> int:
        """Return the last place in a record that is taken, 0 for none."""
        (last,) = self._connection.execute(
            "SELECT coalesce(max(mark), 0) FROM records WHERE kind = ? AND parent = ?",
            (kind, parent),
        ).fetchone()
        return int(last)

    def drop_orphans(self, kind: str, of: str) -> int:
        """Remove the records that belong to nothing there is; return how many."""
        return self._connection.execute(
            "DELETE FROM records WHERE kind = ?1 AND NOT EXISTS"
            " (SELECT 1 FROM records AS above WHERE above.kind = ?2 AND above.id = records.parent)",
            (kind, of),
        ).rowcount

    def drop_children(self, kind: str, parent: str) -> None:
        """Remove what belongs to a record."""
        self._connection.execute(
            "DELETE FROM records WHERE kind = ? AND parent = ?", (kind, parent)
        )

    def begin(self) -> None:
        """Begin to add many records; they are written together."""
        self._connection.execute("BEGIN")

    def commit(self) -> None:
        """Write what was added."""
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        self._unlink()

    def _unlink(self) -> None:
        if self._path is not None:
            with suppress(PermissionError):  # Windows keeps the name of a file that is open
                os.unlink(self._path)
                self._path = None

    def _select(
        self, where: str, values: tuple[object, ...], order: str = "seq", limit: int = -1
    ) -> Iterator[Record]:
        cursor = self._connection.execute(
            "SELECT seq, id, parent, mark, state, doc, before, made FROM records"  # noqa: S608
            f" WHERE {where} ORDER BY {order} LIMIT {limit}",
            values,
        )
        for columns in cursor:
            yield Record._make((*columns[:-1], bool(columns[-1])))
