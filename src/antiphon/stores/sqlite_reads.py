"""What is read from SQLite, as functions of a connection; each a single statement where it can be.

Every step of a cursor gives the interpreter's lock away and has to get it back from a busy loop, so
rows are joined by the database and split here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec.structs import replace

from antiphon import events
from antiphon.engine.window import SUMMARY
from antiphon.events import Numbered
from antiphon.messages import Message, Upload
from antiphon.people import Counter, period
from antiphon.ports import About, Context, Landmark, Listing, Once, Page, Records
from antiphon.runs import Action, Assistant, Drive, Run, Thread
from antiphon.stores import rules, statements

T = TypeVar("T")

SQL = statements.named("sqlite")
PAGE_BYTES = 1_000_000  # of the log in one page, about


class _Kind(NamedTuple):
    """How things of a kind are found; all of it is ours, nothing a caller's."""

    table: str
    key: str = "seq"
    newest_first: bool = True
    owned: str = "owner = :owner"
    scopes: Mapping[str, str] = {}


_KINDS: Mapping[type[Any], _Kind] = {
    Assistant: _Kind("assistants"),
    Upload: _Kind("uploads"),
    Thread: _Kind("threads", scopes={"parent_id": "parent_id = :parent_id"}),
    Run: _Kind("runs", scopes={"thread_id": "thread_id = :thread_id"}),
    Message: _Kind(
        "messages",
        key="number",
        newest_first=False,
        owned=":owner = (SELECT owner FROM threads WHERE threads.id = thread_id)",
        scopes={"thread_id": "thread_id = :thread_id"},
    ),
    Action: _Kind(
        "actions",
        newest_first=False,
        owned=":owner = (SELECT owner FROM runs WHERE runs.id = run_id)",
        scopes={"run_id": "run_id = :run_id"},
    ),
}


class RunRow(NamedTuple):
    """A run as it is kept, with how it is driven."""

    owner: str
    run: Run
    drive: Drive
    wanted_at: int


def one(connection: sqlite3.Connection, name: str, *values: Any) -> tuple[Any, ...] | None:
    """The first row of a named statement."""
    return cast("tuple[Any, ...] | None", connection.execute(SQL[name], values).fetchone())


def every(connection: sqlite3.Connection, name: str, *values: Any) -> list[tuple[Any, ...]]:
    """All rows of a named statement."""
    return connection.execute(SQL[name], values).fetchall()


def records(connection: sqlite3.Connection, about: About, now: int) -> Records:
    """What a change is about, without what is another owner's."""
    known = _known(connection, about.key_id, now)
    kept = run(connection, about.run_id) if about.run_id else None
    thread_id = about.thread_id or (kept.run.thread_id if kept else None)
    found = thread(connection, thread_id) if thread_id else None
    if found is None or about.owner not in (None, found[0]):
        return known
    if about.run_id is None:
        active = active_run(connection, found[1].id)
        kept = run(connection, active) if active else None
    if kept is None or kept.run.thread_id != found[1].id:
        return replace(known, thread=found[1])
    return replace(
        known,
        thread=found[1],
        run=kept.run,
        drive=kept.drive,
        actions=_actions(connection, kept.run.id, about.tool_call_id),
        log=_turn(connection, kept) if about.turn_log else (),
    )


def _known(connection: sqlite3.Connection, key_id: str | None, now: int) -> Records:
    """What is known of the key, before anything is known of a thread."""
    if key_id is None:
        return Records(now=now)
    tokens = Counter(key_id, "tokens")
    (running,) = connection.execute(SQL["running"], (key_id,)).fetchone()
    used = one(connection, "used", key_id, tokens.what, period(tokens, now))
    return Records(now=now, running=running, tokens=used[0] if used else 0)


def run(connection: sqlite3.Connection, run_id: str) -> RunRow | None:
    """The run, whoever's it is."""
    row = one(connection, "run", run_id)
    if row is None:
        return None
    owner, doc, wanted_at = row[:3]
    epoch, wanted, worker, due_at, last_event, turn_began_after, kept_after, fresh = row[3:11]
    key_id, trace = row[11:]
    drive = Drive(
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
    )
    return RunRow(owner, decoder(Run)(doc), drive, wanted_at)


def _actions(
    connection: sqlite3.Connection, run_id: str, tool_call_id: str | None
) -> tuple[Action, ...]:
    values = {"run_id": run_id, "tool_call_id": tool_call_id}
    (actions,) = connection.execute(SQL["actions"], values).fetchone()
    return _ACTIONS.decode(actions)


def active_run(connection: sqlite3.Connection, thread_id: str) -> str | None:
    """The id of the thread's run that has not ended."""
    row = one(connection, "active_run", thread_id)
    return row[0] if row else None


def thread(connection: sqlite3.Connection, thread_id: str) -> tuple[str, Thread] | None:
    """A thread and its owner."""
    row = one(connection, "thread", thread_id)
    return (row[0], decoder(Thread)(row[1])) if row else None


def drive(connection: sqlite3.Connection, run_id: str) -> Drive:
    """See `Store.drive`."""
    kept = run(connection, run_id)
    if kept is None:
        raise rules.missing(Run, run_id)
    return kept.drive


def log(connection: sqlite3.Connection, run_id: str, after: int) -> Page:
    """See `Store.log`."""
    values = {"run_id": run_id, "after": after, "cap": PAGE_BYTES}
    row = connection.execute(SQL["log"], values).fetchone()
    if row is None:
        raise rules.missing(Run, run_id)
    ended, kept_after, last_event, first, joined = row
    rules.check_kept(run_id, after, kept_after)
    lines: list[bytes] = joined.split(b"\n")[after + 1 - first :] if joined else []
    more = bool(lines) and after + len(lines) < last_event
    return Page(after + 1, lines, bool(ended) and not more, more)


def _turn(connection: sqlite3.Connection, kept: RunRow) -> tuple[Numbered, ...]:
    """The events after the previous turn, decoded."""
    after = max(kept.drive.turn_began_after, kept.drive.kept_after)
    lines: list[bytes] = []
    more = True
    while more:
        page = log(connection, kept.run.id, after + len(lines))
        lines += page.lines
        more = page.more
    return tuple(enumerate(map(events.decode, lines), after + 1))


def call_ids(connection: sqlite3.Connection, run_id: str) -> frozenset[str]:
    """See `Store.call_ids`."""
    (ids,) = connection.execute(SQL["call_ids"], (run_id,)).fetchone()
    return _IDS.decode(ids)


def answered(connection: sqlite3.Connection, once: Once) -> msgspec.Raw | None:
    """See `Store.answered`."""
    row = one(connection, "answer", once.owner, once.route, once.key)
    return rules.kept_answer(once, *row) if row else None


def version(connection: sqlite3.Connection, thread_id: str) -> int:
    """See `Store.version`."""
    row = one(connection, "version", thread_id)
    if row is None:
        raise rules.missing(Thread, thread_id)
    return int(row[0])


def context(connection: sqlite3.Connection, thread_id: str) -> Context:
    """See `Store.context`."""
    row = connection.execute(SQL["context"], {"thread_id": thread_id}).fetchone()
    if row is None:
        raise rules.missing(Thread, thread_id)
    number, messages, tokens, chat, sealed_landmarks, landmarks = row
    marks = b",".join(filter(None, (sealed_landmarks, landmarks)))
    return Context(
        version=number,
        messages=messages,
        tokens=tokens,
        chat=chat or b"",
        landmarks=_LANDMARKS.decode(b"[" + marks + b"]"),
        compacted=_SUMMARY in marks,
    )


def newest_rows(connection: sqlite3.Connection) -> tuple[int, int]:
    """The newest row that there was in `fresh`, and the newest in `log`."""
    fresh, folded = connection.execute(SQL["newest_rows"]).fetchone()
    return fresh, folded


def foreign_runs(
    connection: sqlite3.Connection, above: tuple[int, int], writer: int
) -> Sequence[str]:
    """The ids of runs to which somebody else has added rows above these of `fresh` and `log`.

    Rows that were folded since are found in the log, and so perhaps a second time.
    """
    fresh, folded = above
    values = {"fresh": fresh, "folded": folded, "me": writer}
    return [run_id for (run_id,) in connection.execute(SQL["foreign_runs"], values)]


def get(connection: sqlite3.Connection, kind: type[T], owner: str | None, id: str) -> T:
    """See `Store.get`."""
    search = _Search(_KINDS[kind], owner, {})
    search.require("id = :id", id=id)
    docs = search.select(connection, "doc")
    if not docs:
        raise rules.missing(kind, id)
    return decoder(kind)(docs[0])


def listing(
    connection: sqlite3.Connection,
    kind: type[Any],
    owner: str | None,
    limit: int,
    after: str | None,
    where: Mapping[str, str | None],
) -> Listing:
    """See `Store.list`."""
    how = _KINDS[kind]
    search = _Search(how, owner, where)
    if after is not None:
        place = _Search(how, owner, where)
        place.require("id = :after", after=after)
        found = place.select(connection, how.key)
        if not found:
            raise rules.missing(kind, after)
        search.require(f"{how.key} {'<' if how.newest_first else '>'} :place", place=found[0])
    if (status := where.get("status")) is not None:
        search.require("status = :status", status=status)
    if query := where.get("query"):
        _require_words(search, rules.words(query))
    docs = search.select(connection, "doc", limit + 1)
    return Listing([decoder(kind)(doc) for doc in docs[:limit]], len(docs) > limit)


class _Search:
    """A SELECT of one kind, put together from the table of kinds; what callers say is bound."""

    def __init__(self, how: _Kind, owner: str | None, where: Mapping[str, str | None]) -> None:
        self._how = how
        self._conditions = ["TRUE"]
        self._values: dict[str, Any] = {}
        if owner is not None:
            self.require(how.owned, owner=owner)
        for name, condition in how.scopes.items():
            if where.get(name) is not None:
                self.require(condition, **{name: where[name]})

    def require(self, condition: str, **values: Any) -> None:
        self._conditions.append(condition)
        self._values |= values

    def select(self, connection: sqlite3.Connection, column: str, limit: int = 1) -> list[Any]:
        how = self._how
        sql = (
            f"SELECT {column} FROM {how.table} WHERE {' AND '.join(self._conditions)} "  # noqa: S608
            f"ORDER BY {how.key} {'DESC' if how.newest_first else 'ASC'} LIMIT :limit"
        )
        return [value for (value,) in connection.execute(sql, self._values | {"limit": limit})]


def _require_words(search: _Search, words: Sequence[str]) -> None:
    """Threads whose title, or one of whose messages, holds all the words."""
    values = {f"word{place}": word for place, word in enumerate(words)}
    if values:
        in_title = " AND ".join(f"instr(threads.words, :{name})" for name in values)
        in_message = " AND ".join(f"instr(messages.words, :{name})" for name in values)
        search.require(
            f"(({in_title}) OR EXISTS (SELECT 1 FROM messages "  # noqa: S608
            f"WHERE messages.thread_id = threads.id AND {in_message}))",
            **values,
        )


def content(connection: sqlite3.Connection, owner: str | None, upload_id: str) -> bytes:
    """See `Store.content`."""
    row = one(connection, "content", upload_id)
    if row is None or owner not in (None, row[0]):
        raise rules.missing(Upload, upload_id)
    return bytes(row[1])


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Reads the JSON of a kind."""
    return cast("Callable[[bytes], T]", _DECODERS[kind].decode)


_DECODERS = {kind: msgspec.json.Decoder(kind) for kind in _KINDS}
_ACTIONS = msgspec.json.Decoder(tuple[Action, ...])
_IDS = msgspec.json.Decoder(frozenset[str])
_LANDMARKS = msgspec.json.Decoder(tuple[Landmark, ...])
_SUMMARY = f'"{SUMMARY}"'.encode()
