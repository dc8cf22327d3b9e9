"""A SQLite file: creation, migrations, checks of its disk, and erasure of free pages."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from antiphon.engine.text_search import join_words
from antiphon.stores import statements
from antiphon.stores.dump import make_unfinished_copy_error
from antiphon.stores.sqlite.reads import SQL
from antiphon.stores.statements import SchemaVersion
from antiphon.types.errors import BadSettings, Unavailable

OLDEST_SQLITE = (3, 37, 0)  # the first with strict tables
LOCK_SECONDS = 5.0  # how long another process may lock the file at the start and for appends
CHECKPOINT_PAGES = 4000  # a log of 16 MB is checkpointed even under load


def open_database(path: Path, now: int, *, moving: bool = False) -> sqlite3.Connection:
    """Open the file, create it if needed, and migrate it to this version's schema.

    Raises `BadSettings` for a file that this version cannot use and, except with `moving`, for one
    that a move has not finished filling.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise BadSettings(
            "SQLite is too old for this store.",
            expected=f"SQLite {'.'.join(map(str, OLDEST_SQLITE))} or newer",
            received=sqlite3.sqlite_version,
            hint="Use a Python that was built with a newer SQLite.",
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Conversations are private; SQLite gives its other files the same mode.
        path.touch(mode=0o600)
        with ExitStack() as undo:
            connection = connect(path)
            undo.callback(connection.close)
            _use_write_ahead_log(connection)
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            _migrate(connection, path, now)
            if not moving and connection.execute(SQL["unfinished_copy"]).fetchone():
                raise make_unfinished_copy_error()
            undo.pop_all()
    except (OSError, sqlite3.Error) as fault:
        raise _unusable_error(path, fault) from fault
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection to an existing file. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=LOCK_SECONDS,
        isolation_level=None,  # transactions are begun explicitly
        check_same_thread=False,  # a connection is opened in one thread and closed in another
        cached_statements=256,
    )
    connection.execute("PRAGMA foreign_keys = TRUE")
    return connection


def read_schema(path: Path) -> SchemaVersion:
    """Return the file's schema version, 0 if it is new or missing; changes nothing.

    Raises `BadSettings` for a file that is no database or cannot be read.
    """
    known = len(statements.load_migrations("sqlite"))
    if not path.exists():
        return SchemaVersion(0, known)
    # Without a log the file is not in use, and SQLite need not create one to read it.
    at_work = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=ro" if at_work else "mode=ro&immutable=1"
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=LOCK_SECONDS)
        ) as connection:
            (migrated,) = connection.execute(SQL["has_migrations"]).fetchone()
            return SchemaVersion(_count_applied(connection) if migrated else 0, known)
    except (OSError, sqlite3.Error) as fault:
        raise _unusable_error(path, fault) from fault


_PRAGMAS = (
    "synchronous = FULL",  # until the writer changes it; the compiled default may differ
    "fullfsync = TRUE",  # macOS: without it the disk may lose commits
    f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
    "secure_delete = FAST",  # overwrite deleted text where that needs no further page
)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode; SQLite does not wait for locks here, so this retries."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            break
    if mode != "wal":
        raise BadSettings(
            "The database cannot keep a write-ahead log here.",
            expected="a file on a disk of this machine",
            received=f"a file system that offers journal mode {mode!r}",
            hint=_ANOTHER_HINT,
        )


def _migrate(connection: sqlite3.Connection, path: Path, now: int) -> None:
    """Apply missing migrations in one transaction."""
    known = statements.load_migrations("sqlite")
    connection.create_function("index_words", 1, join_words)
    with transaction(connection):
        connection.execute(SQL["migrations"])
        applied = _count_applied(connection)
        if applied > len(known):
            raise BadSettings(
                f"The database {path} was made by a newer version of Antiphon.",
                expected=f"schema {len(known)} or older",
                received=f"schema {applied}",
                hint="Upgrade Antiphon, or use another database.",
            )
        for migration in known[applied:]:
            for statement in migration.statements:
                connection.execute(statement)
            values = (migration.number, migration.name, now)
            connection.execute(SQL["add_migration"], values)


def _count_applied(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute(SQL["newest_migration"]).fetchone()
    return int(number)


_ANOTHER_HINT = "Name another database with --database or ANTIPHON_DATABASE."


def _unusable_error(path: Path, fault: Exception) -> BadSettings:
    return BadSettings(
        f"The database {path} cannot be used: {fault}.",
        expected="a file that can be written, and is new or a database of Antiphon",
        hint=_ANOTHER_HINT,
    )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Run the block in a write transaction: commit at its end, roll back if it raises.

    A transaction that has begun already is used.
    """
    if not connection.in_transaction:
        connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# Erasure: deleted text is overwritten in the file's free pages.


OVERWRITE_BYTES = 8_000_000


def overwrite_free_pages(connection: sqlite3.Connection) -> bool:
    """Allocate and zero some of the free pages; return whether there were any."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    if not free:
        return False
    connection.execute(SQL["overwrite_free_pages"], (min(free * size, OVERWRITE_BYTES),))
    return True


def release_overwritten_pages(connection: sqlite3.Connection) -> bool:
    """Free some of the zeroed pages again; return whether there were any."""
    with _secure_delete(connection):
        return connection.execute(SQL["release_overwritten_pages"]).rowcount > 0


@contextmanager
def _secure_delete(connection: sqlite3.Connection) -> Generator[None]:
    """Overwrite everything that is deleted in the block, whatever that costs."""
    connection.execute("PRAGMA secure_delete = TRUE")
    try:
        yield
    finally:
        connection.execute("PRAGMA secure_delete = FAST")


# Checks while the store is open: room to write, and still the same file.

MIN_FREE_BYTES = 16_000_000
"""Free bytes required: the write-ahead log may grow by so much."""
PROBE_BYTES = 4_000_000
"""Bytes reserved for a moment, to notice quotas and limits of the process."""

_UNSUPPORTED = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


class DatabaseFile:
    """The identity of a database file when it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = str(path)  # each read checks it, and `Path.stat` takes three times as long
        self._opened = _identity(self._name)

    def check(self) -> None:
        """Return while the path names the file that was opened. Raises `Unavailable`."""
        try:
            found = _identity(self._name)
        except OSError:
            found = None
        if found != self._opened:
            happened = "deleted" if found is None else "replaced by another file"
            raise Unavailable(
                f"The database file {self.path} was {happened} while it was in use.",
                expected="the file that was opened",
                received="no file" if found is None else "another file of its name",
                hint="Nothing is saved any more. Put the file back, or restart the server.",
            )


def check_room(path: Path) -> None:
    """Return if more can be written beside this file. Raises `Unavailable`."""
    try:
        _check_free_bytes(path.parent)
        _reserve(path.parent)
    except OSError as fault:
        raise Unavailable(
            f"Nothing more can be written beside the database: {fault.strerror}.",
            expected=f"{MIN_FREE_BYTES} bytes that are free, and that this process may use",
            hint="Make room on the disk of the database.",
        ) from fault


def _check_free_bytes(folder: Path) -> None:
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _reserve(folder: Path) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    with tempfile.TemporaryFile(dir=folder) as probe:
        try:
            os.posix_fallocate(probe.fileno(), 0, PROBE_BYTES)
        except OSError as fault:
            if fault.errno not in _UNSUPPORTED:  # a file system that cannot reserve
                raise


def _identity(name: str) -> tuple[int, int]:
    found = os.stat(name)
    return found.st_dev, found.st_ino
