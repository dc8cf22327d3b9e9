"""Helpers of the SQL stores: values from rows, and queries for lists of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from antiphon.engine.context_window import SUMMARY, landmark_role, tokens
from antiphon.engine.text_search import Phrase, examine, parse_query
from antiphon.engine.thread_order import Position
from antiphon.ports import Context, EventPage, FilterValue, Landmark, MessageMatch
from antiphon.stores import invariants
from antiphon.types.accounts import AuditEntry, Key, Person, Project, ProviderKey
from antiphon.types.messages import Message, Upload, to_chat_completions
from antiphon.types.runs import Action, Assistant, Run, RunLease, Thread

T = TypeVar("T")

EVENT_PAGE_BYTES = 1_000_000  # about, of the log in one page
LIST_PAGE_BYTES = 2_000_000  # of a list in one page; a single item may be larger
SEARCH_BYTES = 1_000_000  # of the messages that a search returns at once, which all are ranked


class TableOfKind(NamedTuple):
    """The table and columns of a kind of record; constants, nothing comes from a caller.

    `scopes` and `filters` are columns by which a list may be narrowed, each of the name of a field.
    A page begins after a record of its scope; that record need not be one that the filters find.
    """

    table: str
    key: str = "seq"
    newest_first: bool = True
    owned: str = "owner = :owner"
    scopes: Sequence[str] = ()
    filters: Sequence[str] = ()


KINDS: Mapping[type[Any], TableOfKind] = {
    Assistant: TableOfKind("assistants"),
    Upload: TableOfKind("uploads"),
    Thread: TableOfKind("threads", scopes=("parent_id",)),
    Run: TableOfKind("runs", scopes=("thread_id",)),
    Message: TableOfKind(
        "messages",
        key="number",
        newest_first=False,
        owned=":owner = (SELECT owner FROM threads WHERE threads.id = thread_id)",
        scopes=("thread_id",),
    ),
    Action: TableOfKind(
        "actions",
        newest_first=False,
        owned=":owner = (SELECT owner FROM runs WHERE runs.id = run_id)",
        scopes=("run_id",),
        filters=("status",),
    ),
}


_OWNERS: Mapping[type[Any], str] = {
    Message: "(SELECT threads.owner FROM threads WHERE threads.id = thread_id)",
    Action: "(SELECT runs.owner FROM runs WHERE runs.id = run_id)",
    AuditEntry: "coalesce(owner, '')",
}


def records_sql(kind: type[Any], among: str) -> str:
    """Return a SELECT of id, owner and document of the records with these ids.

    `among` is the end of its condition, the same for each kind.
    """
    table = "acts" if kind is AuditEntry else KINDS[kind].table
    return f"SELECT id, {_OWNERS.get(kind, 'owner')}, doc FROM {table} WHERE id {among}"  # noqa: S608


class RunRow(NamedTuple):
    """A run as it is stored, with its owner and lease."""

    owner: str
    run: Run
    lease: RunLease
    wanted_at: int


def decode_lease(columns: Sequence[Any]) -> RunLease:
    """Return the lease in these columns of a run."""
    epoch, wanted, worker, due_at, last_event, turn_began_after, kept_after, fresh = columns[:8]
    key_id, trace, destination = columns[8:]
    return RunLease(
        epoch=epoch,
        wanted=bool(wanted),
        worker=worker,
        due_at=due_at,
        last_event=last_event,
        turn_began_after=turn_began_after,
        kept_after=kept_after,
        fresh=bool(fresh),
        key_id=key_id,
        trace=trace,
        destination=destination,
    )


class RecordQuery:
    """A SELECT of one kind of record; values of callers are bound parameters."""

    def __init__(
        self, kind: type[Any], owner: str | None, where: Mapping[str, FilterValue]
    ) -> None:
        self._how = KINDS[kind]
        order = where.get("order")
        self._order = Position._fields if order == "activity" else (self._how.key,)
        self._newest_first = self._how.newest_first or order == "newest"
        self._conditions = ["TRUE"]
        self.values: dict[str, Any] = {}
        if owner is not None:
            self.require(self._how.owned, owner=owner)
        self._require_equal(self._how.scopes, where)

    def _require_equal(self, names: Iterable[str], where: Mapping[str, FilterValue]) -> None:
        for name in names:
            if where.get(name) is not None:
                self.require(f"{name} = :{name}", **{name: where[name]})

    def require(self, condition: str, **values: Any) -> None:
        """Add a condition."""
        self._conditions.append(condition)
        self.values |= values

    def require_after(self, place: Any) -> None:
        """Select only records that are listed after the place."""
        if isinstance(place, Position):
            beyond = {f"beyond_{column}": value for column, value in place._asdict().items()}
            columns, values = ", ".join(place._fields), ", ".join(f":{each}" for each in beyond)
            self.require(f"({columns}) < ({values})", **beyond)
            return
        self.require(f"{self._how.key} {'<' if self._newest_first else '>'} :place", place=place)

    def require_found(
        self,
        where: Mapping[str, FilterValue],
        with_words: str,
        encode: Callable[[str | None, Sequence[Phrase]], str],
    ) -> None:
        """Select only the records that the filters find.

        Of threads, `query` finds those whose title, or one of whose messages, contains all of its
        words: `with_words` is a SELECT of their ids, in which the query is bound as `:words`, as
        `encode` returns it for the owner. `where` may also name a thread whose `family` is wanted,
        or `latest` as `branches`: of each family only the thread that was changed last, of those
        that have the words.
        """
        self._require_equal(self._how.filters, where)
        query = str(where.get("query") or "")
        phrases = parse_query(query)
        if (family := where.get("family")) is not None:
            owned = "asked.owner = :owner" if "owner" in self.values else "TRUE"
            self.require(_FAMILY.format(owned=owned), family=family)
        if phrases:
            words = encode(self.values.get("owner"), phrases)
            self.require(f"threads.id IN ({with_words})", words=words)
        elif query.strip():
            self.require("FALSE")
        if where.get("branches") == "latest":
            condition = f"kin.id IN ({with_words})" if phrases else "TRUE"
            self.require(_LATEST.format(held=condition))

    def sql(self, column: str) -> str:
        """Return the statement; bind `:limit` with the `values`."""
        return (
            f"SELECT {column} FROM {self._how.table} "  # noqa: S608
            f"WHERE {' AND '.join(self._conditions)} "
            f"ORDER BY {self._order_by(self._order)} LIMIT :limit"
        )

    def size_limited_sql(self) -> str:
        """Return a statement for the documents of one page, of which the database sends no more
        than `:cap` bytes, or one document. Each row bears how many documents were found.

        For clients that fetch all rows of an answer at once.
        """
        places = {f"place{number}": column for number, column in enumerate(self._order)}
        columns = ", ".join(f"{column} AS {place}" for place, column in places.items())
        return (
            f"SELECT doc, found FROM (SELECT doc, {', '.join(places)},"  # noqa: S608
            " row_number() OVER rows AS place_in_page, count(*) OVER () AS found,"
            " sum(octet_length(doc)) OVER rows AS bytes"
            f" FROM ({self.sql(f'doc, {columns}')}) AS listed"
            f" WINDOW rows AS (ORDER BY {self._order_by(places)} ROWS UNBOUNDED PRECEDING)"
            ") AS measured WHERE bytes <= :cap::bigint OR place_in_page = 1"
            " ORDER BY place_in_page"
        )

    def _order_by(self, columns: Iterable[str]) -> str:
        way = "DESC" if self._newest_first else "ASC"
        return ", ".join(f"{column} {way}" for column in columns)

    @property
    def order_column(self) -> str:
        """The column that orders the list."""
        return self._how.key


def take_page(
    items: Iterable[T],
    limit: int,
    size: Callable[[T], int] = len,  # type: ignore[assignment]
    cap: int = LIST_PAGE_BYTES,
) -> tuple[list[T], bool]:
    """Return the items of one page, and whether there is more.

    A page has at most `limit` items and `cap` bytes, but at least one item. `size` returns bytes.
    No item is read after the first that does not fit.
    """
    page: list[T] = []
    total = 0
    for item in items:
        total += size(item)
        if len(page) == limit or (page and total > cap):
            return page, True
        page.append(item)
    return page, False


_FAMILY = """coalesce(family, id) = coalesce(
    (
        SELECT coalesce(asked.family, asked.id) FROM threads AS asked
        WHERE asked.id = :family AND {owned}
    ),
    :family
)"""
_LATEST = """has_messages AND coalesce(
    id = (
        SELECT kin.id FROM threads AS kin
        WHERE kin.owner = threads.owner
            AND coalesce(kin.family, kin.id) = coalesce(threads.family, threads.id)
            AND kin.has_messages AND {held}
        ORDER BY kin.updated_at DESC, kin.id DESC
        LIMIT 1
    ),
    FALSE  -- so that planners estimate half of the rows, and read the index until the limit
)"""


def build_event_page(
    run_id: str,
    after: int,
    ended: bool,
    kept_after: int,
    last_event: int,
    first: int | None,
    joined: bytes | None,
) -> EventPage:
    """Return a page of the log from joined lines, of which the first is numbered `first`.

    Raises `EventExpired`.
    """
    invariants.check_not_expired(run_id, after, kept_after)
    lines = joined.split(b"\n")[after + 1 - first :] if joined and first is not None else []
    more = bool(lines) and after + len(lines) < last_event
    return EventPage(after + 1, lines, ended and not more, more)


def build_context(
    version: int, messages: int, tokens: int, chats: Sequence[bytes], marks: Sequence[bytes]
) -> Context:
    """Return a context from pieces of its chat and of its landmarks, in order."""
    joined = b",".join(marks)
    return Context(
        version=version,
        messages=messages,
        tokens=tokens,
        chat=b",".join(chats),
        landmarks=_LANDMARKS.decode(b"[" + joined + b"]"),
        compacted=_SUMMARY in joined,
    )


def decode_actions(joined: bytes | None) -> tuple[Action, ...]:
    """Return actions from their JSON, joined by commas."""
    return _ACTIONS.decode(b"[" + (joined or b"") + b"]")


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Return the function that decodes the JSON of a kind."""
    return cast("Callable[[bytes], T]", _DECODERS[kind].decode)


_DECODERS = {
    kind: msgspec.json.Decoder(kind)
    for kind in (*KINDS, AuditEntry, Key, Person, Project, ProviderKey)
}
_ACTIONS = msgspec.json.Decoder(tuple[Action, ...])
_LANDMARKS = msgspec.json.Decoder(tuple[Landmark, ...])
_SUMMARY = f'"{SUMMARY}"'.encode()


def build_match(
    place: int, message: bytes, thread: bytes, phrases: Sequence[Phrase]
) -> MessageMatch:
    """Return a message that was found; takes a while for a long one."""
    found = decoder(Message)(message)
    return MessageMatch(place, found, decoder(Thread)(thread), examine(found.full_text, phrases))


def message_columns(message: Message) -> dict[str, Any]:
    """Return the columns of a message."""
    chat = to_chat_completions(message)
    return {
        "id": message.id,
        "thread_id": message.thread_id,
        "number": message.number,
        "role": landmark_role(message),
        "size": len(chat),
        "tokens": tokens(len(chat)),
        "chat": chat,
        "doc": msgspec.json.encode(message),
    }
