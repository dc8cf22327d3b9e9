"""Backups of a SQLite database: checked copies of one instant, made while others write."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from antiphon.settings.private_files import put_in_place
from antiphon.stores.sqlite.file import connect, read_schema
from antiphon.stores.sqlite.reads import SQL
from antiphon.types.errors import BadSettings, InvalidRequest

PAGES_PER_STEP = 4096
"""Pages that are copied between two checks for an interrupt: 16 MB."""


class Copy(msgspec.Struct, frozen=True):
    """Contents of a checked copy; `size` is in bytes, `sealed` counts sealed secrets."""

    path: Path
    size: int
    threads: int
    sealed: int


def back_up(database: Path, target: Path) -> Copy:
    """Copy a database that may be in use to a new file; returns what the copy holds.

    The copy is one file with mode 0600. Raises `BadSettings` where there is no database, where the
    target exists, or where the copy is damaged, which is then deleted; `InvalidRequest` where the
    target cannot be written.
    """
    if not read_schema(database).found:
        raise BadSettings(
            "There is no database to back up.",
            expected="the file of a database of Antiphon",
            received=str(database),
            hint="Name it with --database or ANTIPHON_DATABASE.",
        )
    return _make_copy(database, target)


def restore(backup: Path, database: Path) -> Copy:
    """Copy a backup to where a database is to be; returns what it holds.

    Raises `BadSettings` for what is no sound backup of this version or an older one, and where
    there is a database, or a log of one, already.
    """
    if not backup.is_file():  # opening a pipe would block, and a folder has no schema
        raise BadSettings(
            "There is no backup to restore.",
            expected="a file of `antiphon backup`",
            received=str(backup),
        )
    try:
        form = read_schema(backup)
    except BadSettings as fault:
        raise BadSettings(
            f"{backup} is no backup: {fault.__cause__ or fault.message}.",
            expected="a file of `antiphon backup`",
        ) from fault
    if not form.found or form.found > form.known:
        raise BadSettings(
            "This is no backup that this version can restore.",
            expected=f"a file of `antiphon backup`, with schema {form.known} or older",
            received=f"schema {form.found}" if form.found else str(backup),
            hint="Upgrade Antiphon to restore a newer one." if form.found else None,
        )
    for beside in ("-wal", "-shm", "-journal"):
        if (left := database.with_name(database.name + beside)).exists():
            raise _exists_error(left)
    return _make_copy(backup, database)


def _make_copy(source: Path, target: Path) -> Copy:
    if target.exists():
        raise _exists_error(target)
    made = target.with_name(f".{target.name}-{secrets.token_hex(8)}")
    _create_private(made, target)
    try:
        with closing(connect(made)) as copy:
            _copy(source, copy)
            threads, sealed = _check(copy, source)
        _rename_durably(made, target)
        return Copy(target, target.stat().st_size, threads, sealed)
    except FileExistsError:
        raise _exists_error(target) from None
    except (OSError, sqlite3.Error) as fault:
        raise BadSettings(
            f"{source} cannot be copied: {fault}.",
            expected=f"a folder with room at {target.parent}, and a database that can be read",
        ) from fault
    finally:
        for beside in ("", "-wal", "-shm", "-journal"):
            made.with_name(made.name + beside).unlink(missing_ok=True)


def _create_private(made: Path, target: Path) -> None:
    """Create the file that becomes the target. Raises `InvalidRequest` where none can be made."""
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as fault:
        raise InvalidRequest(f"{target} cannot be written: {fault.strerror}") from fault


def _copy(source: Path, copy: sqlite3.Connection) -> None:
    """Copy one instant of the source, however it changes meanwhile."""
    with closing(_open(source)) as connection:
        # The open read transaction pins the instant: without it the copy starts over at every
        # write. Writers go on, because the write-ahead log keeps both states.
        connection.execute("BEGIN")
        connection.execute(SQL["has_migrations"]).fetchone()
        connection.backup(copy, pages=PAGES_PER_STEP, progress=_interruptible)
    # Without a log beside it the copy is one file, which can be read anywhere.
    copy.execute("PRAGMA journal_mode = DELETE")


def _interruptible(status: int, remaining: int, total: int) -> None:
    """Allow Python to handle signals between two steps of a copy."""


def _open(source: Path) -> sqlite3.Connection:
    """Open the file for reading, also on a read-only disk."""
    connection = connect(source)
    try:
        connection.execute(SQL["has_migrations"]).fetchone()
    except sqlite3.OperationalError:  # its log cannot be made beside it
        connection.close()
        address = f"{source.absolute().as_uri()}?mode=ro&immutable=1"
        return sqlite3.connect(address, uri=True, isolation_level=None)
    return connection


def _check(copy: sqlite3.Connection, source: Path) -> tuple[int, int]:
    """Return how many threads and sealed keys the copy has. Raises `BadSettings`."""
    faults = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(3)")]
    if faults != ["ok"] or copy.execute("PRAGMA foreign_key_check").fetchone():
        raise BadSettings(
            f"The database {source} is damaged: {'; '.join(faults)}",
            expected="a database that passes PRAGMA integrity_check",
            hint="Restore an older backup, or recover it with `sqlite3 FILE .recover`.",
        )
    sealed = _count(copy, "count_provider_keys") + _count(copy, "count_all_webhooks")
    return _count(copy, "count_threads"), sealed


def _count(copy: sqlite3.Connection, statement: str) -> int:
    try:
        (count,) = copy.execute(SQL[statement]).fetchone()
    except sqlite3.OperationalError:  # an older schema lacks the table
        return 0
    return int(count)


def _rename_durably(made: Path, target: Path) -> None:
    """Rename the finished copy unless the name is taken; durable when this returns."""
    with made.open("rb") as written:
        os.fsync(written.fileno())
    put_in_place(made, target)
    with suppress(OSError):  # Windows opens no folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _exists_error(path: Path) -> BadSettings:
    return BadSettings(
        f"There is something at {path} already.",
        expected="a file that is not there yet: nothing is overwritten",
        received=str(path),
        hint="Name another, or move that one away when nothing uses it.",
    )
