"""Queries for lists of records: which rows, after which one, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from antiphon.engine.text_search import Phrase, parse_query
from antiphon.engine.thread_order import Position
from antiphon.ports import FilterValue
from antiphon.types.accounts import AuditEntry
from antiphon.types.folders import NO_FOLDER, Folder
from antiphon.types.messages import Message, Upload
from antiphon.types.runs import Action, Assistant, Run, Thread

_RUN_OF_ACTION = "(SELECT runs.doc FROM runs WHERE runs.id = run_id)"
_TIMES = ("created_after", "created_before")


class TableOfKind(NamedTuple):
    """The table and columns of a kind of record; constants, nothing comes from a caller.

    `scopes` are columns by which a list may be narrowed, each of the name of a field. A page begins
    after a record of its scope; that record need not be one that the other filters find. `fields`
    are the fields of documents by which it may be filtered, with the document that has each. A
    list across scopes is ordered by `seq`.
    """

    table: str
    key: str = "seq"
    newest_first: bool = True
    owned: str = "owner = :owner"
    scopes: Sequence[str] = ()
    fields: Mapping[str, str] = {}


KINDS: Mapping[type[Any], TableOfKind] = {
    Assistant: TableOfKind("assistants", fields={"name": "doc"}),
    Folder: TableOfKind("folders"),
    Upload: TableOfKind("uploads", fields={"purpose": "doc"}),
    Thread: TableOfKind("threads", scopes=("parent_id",), fields={"metadata": "doc"}),
    Run: TableOfKind(
        "runs",
        scopes=("thread_id",),
        fields={"assistant_id": "doc", "model": "doc", "metadata": "doc"},
    ),
    Message: TableOfKind(
        "messages",
        key="number",
        newest_first=False,
        owned=":owner = (SELECT owner FROM threads WHERE threads.id = thread_id)",
        scopes=("thread_id",),
        fields={"role": "doc", "run_id": "doc", "metadata": "doc"},
    ),
    Action: TableOfKind(
        "actions",
        newest_first=False,
        owned=":owner = (SELECT owner FROM runs WHERE runs.id = run_id)",
        scopes=("run_id",),
        fields={
            "name": "doc",
            "thread_id": "doc",
            "assistant_id": _RUN_OF_ACTION,
            "model": _RUN_OF_ACTION,
            "metadata": _RUN_OF_ACTION,
        },
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


class Dialect(NamedTuple):
    """The expressions in which the databases differ.

    `threads_with_words` is a SELECT of the ids of threads that a query finds, in which the query is
    bound as `:words`, as `encode_query` returns it for an owner. Of a field's document, `text` and
    `number` are the value of the field named by `{field}`, and `pair` is whether its metadata has
    the value `{value}` under `{key}`. `live_runs` is a SELECT of the `seq` of runs that have not
    ended and have `:status`, `run_status` the status of a run. `flag` is whether the field of the
    document that is its argument is true, `rating` the rating of a message. `named` is whether the
    metadata of a thread has, under a key of `NAMES`, the parameter of this name. `tagged` is
    whether a thread has the tag `:tag`, `in_folder` whether it is in the folder `:folder_id`,
    `in_any_folder` whether it is in one.
    """

    threads_with_words: str
    encode_query: Callable[[str | None, Sequence[Phrase]], str]
    text: str
    number: str
    pair: str
    live_runs: str
    run_status: str
    flag: Callable[[str], str]
    rating: str
    named: Callable[[str, str], str]
    tagged: str
    in_folder: str
    in_any_folder: str


FLAG_FIELDS = ("pinned", "archived", "temporary")
"""Fields of a thread by which lists are filtered: whether they are true."""

NAMES = ("client_name", "openwebui_chat")
"""Keys of a thread's metadata that are names which its client gave it: each has an index."""

LIVE = frozenset({"queued", "in_progress", "action_required"})
"""Statuses of a run that has not ended."""


def reads_documents(kind: type[Any], where: Mapping[str, FilterValue]) -> bool:
    """Return whether a list may have to read many documents, as a search does, to find a page.

    Few runs have not ended, few actions are pending, and an owner has few assistants and folders.
    """
    if kind in (Assistant, Folder):
        return False
    names = {name for name, value in where.items() if value not in (None, "created", "all")}
    how = KINDS[kind]
    if names & {"query"}:
        return True
    metadata = where.get("metadata")
    if kind is Thread and isinstance(metadata, Mapping) and not metadata.keys().isdisjoint(NAMES):
        return False
    if names & {*how.scopes} or where.get("status") in {*LIVE, "pending"}:
        return False
    across = kind in (Message, Action)
    return across or bool(names & {*how.fields, *_TIMES, "status", "tag"})


class RecordQuery:
    """A SELECT of one kind of record; values of callers are bound parameters."""

    def __init__(
        self, kind: type[Any], owner: str | None, where: Mapping[str, FilterValue]
    ) -> None:
        self._kind = kind
        self._how = KINDS[kind]
        order = where.get("order")
        scoped = any(where.get(name) is not None for name in self._how.scopes)
        self._key = self._how.key if scoped else "seq"
        self._order = Position._fields if order == "activity" else (self._key,)
        self._newest_first = self._how.newest_first if order in _DEFAULT else order != "oldest"
        self._conditions = ["TRUE"]
        self.values: dict[str, Any] = {}
        if owner is not None:
            self.require(self._how.owned, owner=owner)
        for name in self._how.scopes:
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
        self.require(f"{self._key} {'<' if self._newest_first else '>'} :place", place=place)

    def require_found(self, where: Mapping[str, FilterValue], dialect: Dialect) -> None:
        """Select only the records that the filters find, as `RunStore.list` names them."""
        self._require_status(where.get("status"), dialect)
        self._require_fields(where, dialect)
        if self._kind is Thread:
            self._require_threads(where, dialect)
        elif self._kind is Message:
            rating = where.get("rating")
            if rating == "any":
                self.require(f"{dialect.rating} IS NOT NULL")
            elif rating is not None:
                self.require(f"{dialect.rating} = :rating", rating=rating)

    def _require_status(self, status: FilterValue, dialect: Dialect) -> None:
        """Require a status. Indexes of few rows are used only if the SQL names what is in them."""
        if status is None:
            return
        if self._kind is Run and status in LIVE:
            self.require(f"seq IN ({dialect.live_runs})", status=status)
        elif self._kind is Run:
            self.require(f"{dialect.run_status} = :status", status=status)
        elif status == "pending":
            self.require("status = 'pending'")
        else:
            self.require("status = :status", status=status)

    def _require_fields(self, where: Mapping[str, FilterValue], dialect: Dialect) -> None:
        for name, document in self._how.fields.items():
            text = dialect.text.format(document=document, field=name)
            match where.get(name):
                case None:
                    pass
                case str(value):
                    self.require(f"{text} = :{name}", **{name: value})
                case Mapping() as pairs:
                    for count, (key, value) in enumerate(pairs.items()):
                        names = f"{name}_key{count}", f"{name}_value{count}"
                        if self._kind is Thread and key in NAMES:
                            self.require(dialect.named(key, names[1]), **{names[1]: value})
                            continue
                        pair = dialect.pair.format(document=document, key=names[0], value=names[1])
                        self.require(pair, **dict(zip(names, (key, value), strict=True)))
                case Sequence() as values:
                    among = {f"{name}{count}": value for count, value in enumerate(values)}
                    listed = ", ".join(f":{each}" for each in among) or "NULL"
                    self.require(f"{text} IN ({listed})", **among)
                case other:
                    raise TypeError(f"A filter cannot be {other!r}.")
        created = dialect.number.format(document="doc", field="created_at")
        for name, sign in zip(_TIMES, (">", "<"), strict=True):
            if where.get(name) is not None:
                self.require(f"{created} {sign} :{name}", **{name: where[name]})
        if (at := where.get("expires_before")) is not None:
            expires = dialect.number.format(document="doc", field="expires_at")
            self.require(f"{expires} < :expires_before", expires_before=at)
        if (now := where.get("claimable_at")) is not None:
            client = dialect.text.format(document="doc", field="runs_on")
            until = dialect.number.format(document="doc", field="claimed_until")
            expires = dialect.number.format(document="doc", field="expires_at")
            self.require(
                f"{client} = 'client' AND coalesce({until}, 0) <= :now AND {expires} > :now",
                now=now,
            )

    def _require_threads(self, where: Mapping[str, FilterValue], dialect: Dialect) -> None:
        for name in FLAG_FIELDS:
            if (wanted := where.get(name)) is not None:
                condition = dialect.flag(name)
                self.require(condition if wanted else f"NOT ({condition})")
        if (tag := where.get("tag")) is not None:
            self.require(dialect.tagged, tag=tag)
        if (folder_id := where.get("folder_id")) == NO_FOLDER:
            self.require(f"NOT ({dialect.in_any_folder})")
        elif folder_id is not None:
            self.require(dialect.in_folder, folder_id=folder_id)
        query = str(where.get("query") or "")
        phrases = parse_query(query)
        if (family := where.get("family")) is not None:
            owned = "asked.owner = :owner" if "owner" in self.values else "TRUE"
            self.require(_FAMILY.format(owned=owned), family=family)
        if phrases:
            words = dialect.encode_query(self.values.get("owner"), phrases)
            self.require(f"threads.id IN ({dialect.threads_with_words})", words=words)
        elif query.strip():
            self.require("FALSE")
        if where.get("branches") == "latest":
            held = f"kin.id IN ({dialect.threads_with_words})" if phrases else "TRUE"
            self.require(_LATEST.format(held=held))

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
        return self._key


_DEFAULT = (None, "created")
"""Orders that are the kind's own."""

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
