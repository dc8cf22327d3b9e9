"""Work in a transaction of a SQL database, the same for SQLite and PostgreSQL.

A function takes the `Transaction` of a database, and names statements that both `sql/sqlite.sql`
and `sql/postgres.sql` have. `reading`, `finding` and `writing` make methods of a store of them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from types import CoroutineType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import msgspec

from antiphon.types.accounts import AuditEntry
from antiphon.types.documents import DocumentPage
from antiphon.types.errors import NotFound
from antiphon.types.messages import Message, Upload

T = TypeVar("T")
P = ParamSpec("P")
Columns = Mapping[str, Any]


class UniqueViolation(Exception):
    """A row was not written because another one has its id, name or place."""


class Transaction(Protocol):
    """A connection to a database inside a transaction.

    In SQLite no method ever waits, so a function that awaits only these runs without an event loop,
    in the thread that writes. Reads alone are not in one transaction.
    """

    among: str
    """SQL after a column that selects the values of the array `:ids`."""

    async def now(self) -> int:
        """Return the store's time, ms since 1970."""
        ...

    async def fetch(self, statement: str, **values: Any) -> Sequence[Any]:
        """Return all rows of a named statement, or of SQL."""
        ...

    async def fetch_row(self, name: str, **values: Any) -> Any:
        """Return the first row of a named statement, or None."""
        ...

    async def execute(self, name: str, **values: Any) -> int:
        """Execute a named statement; return how many rows it wrote. Raises `UniqueViolation`."""
        ...

    async def execute_many(self, name: str, rows: Iterable[Columns]) -> None:
        """Execute a named statement for each row. Raises `UniqueViolation`."""
        ...

    async def add_upload(self, owner: str, upload: Upload, content: bytes) -> None:
        """Add an upload with its content. Raises `UniqueViolation`."""
        ...

    def array(self, texts: Sequence[str]) -> Any:
        """Return the texts as an array of SQL."""
        ...

    async def add_messages(self, owner: str, messages: Sequence[Message]) -> None:
        """Add messages with their words. Raises `UniqueViolation`."""
        ...

    async def add_pages(self, owner: str, upload_id: str, pages: Sequence[DocumentPage]) -> None:
        """Add pages of a file with their words."""
        ...

    def title_columns(self, owner: str, title: str) -> Columns:
        """Return the columns of a thread by which its title is found."""
        ...


async def append_audit_entry(sql: Transaction, entry: AuditEntry | None) -> None:
    """Append the entry, if any, in the transaction of the change that it describes."""
    if entry is not None:
        await sql.execute("add_audit_entry", **entry_columns(entry))


def entry_columns(entry: AuditEntry) -> dict[str, Any]:
    """Return the columns of an audit entry."""
    return {"id": entry.id, "owner": entry.owner, "doc": msgspec.json.encode(entry)}


class TransactionMethods:
    """A store that runs functions in its transactions."""

    async def read_administration(
        self, work: Callable[[Transaction], Coroutine[Any, Any, T]], *, slow: bool
    ) -> T:
        """Run a read; a `slow` one reads many rows."""
        raise NotImplementedError

    async def write_administration(
        self,
        what: str,
        work: Callable[[Transaction], Coroutine[Any, Any, T]],
        *,
        slow: bool,
        single: bool,
    ) -> T:
        """Run `work` in a transaction, which a `single` statement does not need.

        `what` names the failpoints; a `slow` transaction writes many rows.
        """
        raise NotImplementedError


def reading(
    work: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, T]], *, slow: bool = False
) -> Callable[Concatenate[TransactionMethods, P], CoroutineType[Any, Any, T]]:
    """Return the method of a store that runs a read; a `slow` one reads many rows."""

    async def read(store: TransactionMethods, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store.read_administration(lambda sql: work(sql, *args, **kwargs), slow=slow)

    return cast("Callable[Concatenate[TransactionMethods, P], CoroutineType[Any, Any, T]]", read)


def finding(
    work: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, T | None]],
) -> Callable[Concatenate[TransactionMethods, P], CoroutineType[Any, Any, T | None]]:
    """Return the method of a store that looks up one record by a name, which may be impossible."""
    read = reading(work)

    async def find(store: TransactionMethods, /, *args: P.args, **kwargs: P.kwargs) -> T | None:
        with suppress(NotFound):  # a name that no column can hold
            return await read(store, *args, **kwargs)
        return None

    return cast(
        "Callable[Concatenate[TransactionMethods, P], CoroutineType[Any, Any, T | None]]", find
    )


def writing(
    what: str,
    work: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, T]],
    *,
    slow: bool = False,
    single: bool = False,
) -> Callable[Concatenate[TransactionMethods, P], CoroutineType[Any, Any, T]]:
    """Return the method of a store that runs a write, as `write_administration` does."""

    async def write(store: TransactionMethods, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store.write_administration(
            what, lambda sql: work(sql, *args, **kwargs), slow=slow, single=single
        )

    return cast("Callable[Concatenate[TransactionMethods, P], CoroutineType[Any, Any, T]]", write)
