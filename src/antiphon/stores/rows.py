"""What stores that speak SQL have in common: rows as values, and lists of things of a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from antiphon.engine.window import SUMMARY
from antiphon.messages import Message, Upload
from antiphon.ports import Context, Landmark, Page
from antiphon.runs import Action, Assistant, Drive, Run, Thread
from antiphon.stores import rules

T = TypeVar("T")

PAGE_BYTES = 1_000_000  # of the log in one page, about


class Kind(NamedTuple):
    """How things of a kind are found; all of it is ours, nothing a caller's."""

    table: str
    key: str = "seq"
    newest_first: bool = True
    owned: str = "owner = :owner"
    scopes: Mapping[str, str] = {}


KINDS: Mapping[type[Any], Kind] = {
    Assistant: Kind("assistants"),
    Upload: Kind("uploads"),
    Thread: Kind("threads", scopes={"parent_id": "parent_id = :parent_id"}),
    Run: Kind("runs", scopes={"thread_id": "thread_id = :thread_id"}),
    Message: Kind(
        "messages",
        key="number",
        newest_first=False,
        owned=":owner = (SELECT owner FROM threads WHERE threads.id = thread_id)",
        scopes={"thread_id": "thread_id = :thread_id"},
    ),
    Action: Kind(
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


class Search:
    """A SELECT of one kind, put together from the table of kinds; what callers say is bound."""

    def __init__(self, kind: type[Any], owner: str | None, where: Mapping[str, str | None]) -> None:
        self._how = KINDS[kind]
        self._conditions = ["TRUE"]
        self.values: dict[str, Any] = {}
        if owner is not None:
            self.require(self._how.owned, owner=owner)
        for name, condition in self._how.scopes.items():
            if where.get(name) is not None:
                self.require(condition, **{name: where[name]})

    def require(self, condition: str, **values: Any) -> None:
        """Find only what this is true of."""
        self._conditions.append(condition)
        self.values |= values

    def require_beyond(self, place: Any) -> None:
        """Find only what is listed behind the place."""
        self.require(
            f"{self._how.key} {'<' if self._how.newest_first else '>'} :place", place=place
        )

    def require_words(self, contains: str, words: Mapping[str, Any]) -> None:
        """Find only threads whose title, or one of whose messages, holds all of these.

        `contains` is how SQL says that a `text` holds a `word`.
        """
        in_title = " AND ".join(contains.format(text="threads.words", word=w) for w in words)
        in_message = " AND ".join(contains.format(text="messages.words", word=w) for w in words)
        self.require(
            f"(({in_title}) OR EXISTS (SELECT 1 FROM messages "  # noqa: S608
            f"WHERE messages.thread_id = threads.id AND {in_message}))",
            **words,
        )

    def sql(self, column: str) -> str:
        """The statement; `:limit` is to be given with the `values`."""
        how = self._how
        return (
            f"SELECT {column} FROM {how.table} WHERE {' AND '.join(self._conditions)} "  # noqa: S608
            f"ORDER BY {how.key} {'DESC' if how.newest_first else 'ASC'} LIMIT :limit"
        )

    @property
    def place(self) -> str:
        """The column by which the list is ordered."""
        return self._how.key


def page(
    run_id: str,
    after: int,
    ended: bool,
    kept_after: int,
    last_event: int,
    first: int | None,
    joined: bytes | None,
) -> Page:
    """A page of the log from its joined lines, of which the first is numbered `first`.

    Raises `EventExpired`.
    """
    rules.check_kept(run_id, after, kept_after)
    lines = joined.split(b"\n")[after + 1 - first :] if joined and first is not None else []
    more = bool(lines) and after + len(lines) < last_event
    return Page(after + 1, lines, ended and not more, more)


def context(
    version: int, messages: int, tokens: int, chats: Sequence[bytes], marks: Sequence[bytes]
) -> Context:
    """A context from pieces of its chat, and of its landmarks, in order."""
    joined = b",".join(marks)
    return Context(
        version=version,
        messages=messages,
        tokens=tokens,
        chat=b",".join(chats),
        landmarks=_LANDMARKS.decode(b"[" + joined + b"]"),
        compacted=_SUMMARY in joined,
    )


def actions(joined: bytes | None) -> tuple[Action, ...]:
    """Actions from their JSON, joined by commas."""
    return _ACTIONS.decode(b"[" + (joined or b"") + b"]")


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Reads the JSON of a kind."""
    return cast("Callable[[bytes], T]", _DECODERS[kind].decode)


_DECODERS = {kind: msgspec.json.Decoder(kind) for kind in KINDS}
_ACTIONS = msgspec.json.Decoder(tuple[Action, ...])
_LANDMARKS = msgspec.json.Decoder(tuple[Landmark, ...])
_SUMMARY = f'"{SUMMARY}"'.encode()
