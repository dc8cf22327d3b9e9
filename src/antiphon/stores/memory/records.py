"""Records of every kind in memory: their tables, lists of them, and the search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar, cast

import msgspec

from antiphon.engine.text_search import (
    MessageMatch,
    Phrase,
    TextMatches,
    examine,
    matches,
    parse_query,
)
from antiphon.engine.thread_order import REPLACES, Position, list_start, position_of
from antiphon.ports import FilterValue, RecordPage, TagUse
from antiphon.stores import invariants
from antiphon.stores.invariants import Clock
from antiphon.stores.memory.admin import MemoryAdministration
from antiphon.stores.record_query import FLAG_FIELDS, KINDS
from antiphon.stores.rows import SEARCH_BYTES, take_page
from antiphon.types.folders import NO_FOLDER, Folder
from antiphon.types.messages import Message, Upload
from antiphon.types.runs import Action, Assistant, Run, RunLease, Thread

T = TypeVar("T")


@dataclass
class StoredThread:
    """A thread with its messages, in order."""

    owner: str
    thread: Thread
    messages: list[Message] = field(default_factory=list[Message])


@dataclass
class StoredRun:
    """A run; `lines` are its encoded events after `lease.kept_after`."""

    owner: str
    run: Run
    lease: RunLease
    wanted_at: int
    lines: list[bytes] = field(default_factory=list[bytes])


@dataclass
class StoredRecord:
    """An assistant or a folder, or an upload with its bytes."""

    owner: str
    record: Any
    content: bytes = b""


class Families:
    """The family of each thread: the id of the first thread of those that replaced each other."""

    def __init__(self) -> None:
        self._joined: dict[str, str] = {}

    def of(self, thread_id: str) -> str:
        """Return the family of a thread; one that replaces none is a family of its own."""
        return self._joined.get(thread_id, thread_id)

    def join(self, before: Thread | None, thread: Thread, *, is_there: bool) -> None:
        """Put the thread in the family of the one that it replaces, where that has changed.

        `is_there` says that the replaced one exists and has the same owner.
        """
        replaced = thread.metadata.get(REPLACES)
        if replaced == (before.metadata.get(REPLACES) if before else None):
            return
        if replaced is None:
            self._joined.pop(thread.id, None)
        else:
            self._joined[thread.id] = self.of(replaced) if is_there else replaced

    def put(self, thread_id: str, family: str | None) -> None:
        """Put a thread that is new here in this family; None is one of its own."""
        if family is not None:
            self._joined[thread_id] = family

    def leave(self, thread_id: str) -> None:
        """Remove a deleted thread; its branches stay in the family."""
        self._joined.pop(thread_id, None)

    def latest(self, threads: Iterable[tuple[str, Thread]]) -> set[str]:
        """Return the id of the last changed thread of each family that has a message.

        `threads` come with their owners.
        """
        newest: dict[tuple[str, str], Thread] = {}
        for owner, thread in threads:
            if thread.messages:
                kin = owner, self.of(thread.id)
                newest[kin] = max(newest.get(kin, thread), thread, key=position_of)
        return {thread.id for thread in newest.values()}


class MemoryRecords(MemoryAdministration):
    """`RunStore` as far as it reads records of every kind; all tables have the oldest first."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._threads: dict[str, StoredThread] = {}
        self._next_place = count(1)
        self._places: dict[str, int] = {}  # of messages, by id, in the order in which they came
        self._families = Families()
        self._runs: dict[str, StoredRun] = {}
        self._actions: dict[str, Action] = {}
        self._records: dict[type[Any], dict[str, StoredRecord]] = {
            Assistant: {},
            Folder: {},
            Upload: {},
        }

    async def get(self, kind: type[T], owner: str | None, id: str) -> T:
        """See `RunStore.get`."""
        for record_owner, record in self._records_of(kind):
            if record.id == id and owner in (None, record_owner):
                return cast("T", record)
        raise invariants.not_found(kind, id)

    async def list(
        self,
        kind: type[Any],
        owner: str | None,
        *,
        limit: int,
        after: str | None = None,
        **where: FilterValue,
    ) -> RecordPage:
        """See `RunStore.list`."""
        listed = [
            record
            for record_owner, record in self._records_of(kind)
            if owner in (None, record_owner) and _matches_scopes(record, KINDS[kind].scopes, where)
        ]
        if kind is Message and where.get("thread_id") is None:
            listed.sort(key=lambda message: self._places[message.id])
        newest_first = KINDS[kind].newest_first
        if where.get("order") in ("newest", "oldest"):
            newest_first = where["order"] == "newest"
        if newest_first:
            listed.reverse()
        start = list_start(after, where.get("order"))
        if where.get("order") == "activity":
            listed.sort(key=position_of, reverse=True)
        if isinstance(start, Position):
            listed = [each for each in listed if position_of(each) < start]
        elif start is not None:
            places = [place for place, record in enumerate(listed) if record.id == start]
            if not places:
                raise invariants.not_found(kind, start)
            listed = listed[places[0] + 1 :]
        listed = [
            each
            for each in listed
            if _matches_filters(
                each, self._runs[each.run_id].run if isinstance(each, Action) else None, where
            )
        ]
        if kind is Thread:
            found = self._find_threads(owner, where)
            listed = [thread for thread in listed if thread.id in found]
        return RecordPage(*take_page(listed, limit, json_size))

    def _find_threads(self, owner: str | None, where: Mapping[str, FilterValue]) -> set[str]:
        """Return ids of threads that match the query, the family and the branches asked for."""
        query, family = str(where.get("query") or "").strip(), where.get("family")
        phrases = parse_query(query)
        found = [
            (stored.owner, stored.thread)
            for stored in self._threads.values()
            if not query or self._thread_matches(phrases, stored)
        ]
        ids = {thread.id for _, thread in found}
        if where.get("branches") == "latest":
            ids = self._families.latest(found)
        for name in FLAG_FIELDS:
            if (wanted := where.get(name)) is not None:
                ids = {each for each in ids if getattr(self._threads[each].thread, name) == wanted}
        if (tag := where.get("tag")) is not None:
            ids = {each for each in ids if tag in self._threads[each].thread.tags}
        if (folder_id := where.get("folder_id")) is not None:
            wanted = None if folder_id == NO_FOLDER else folder_id
            ids = {each for each in ids if self._threads[each].thread.folder_id == wanted}
        if isinstance(family, str):
            record_owner = self._threads[family].owner if family in self._threads else owner
            wanted = self._families.of(family) if owner in (None, record_owner) else family
            ids = {thread_id for thread_id in ids if self._families.of(thread_id) == wanted}
        return ids

    def _records_of(self, kind: type[Any]) -> Iterable[tuple[str, Any]]:
        """Return all records of a kind with their owners, oldest first; messages in order."""
        if kind is Thread:
            return ((stored.owner, stored.thread) for stored in self._threads.values())
        if kind is Message:
            threads = self._threads.values()
            return ((stored.owner, message) for stored in threads for message in stored.messages)
        if kind is Run:
            return ((stored.owner, stored.run) for stored in self._runs.values())
        if kind is Action:
            return ((self._runs[each.run_id].owner, each) for each in self._actions.values())
        return ((stored.owner, stored.record) for stored in self._records[kind].values())

    def _thread_matches(self, phrases: Sequence[Phrase], stored: StoredThread) -> bool:
        texts = (stored.thread.title, *(message.full_text for message in stored.messages))
        return any(matches(text, phrases) for text in texts)

    async def count_tags(self, owner: str, limit: int, after: str) -> Sequence[TagUse]:
        """See `RunStore.count_tags`."""
        uses: dict[str, tuple[set[str], set[str]]] = {}
        for stored in self._threads.values():
            if stored.owner == owner and not stored.thread.temporary:
                for tag in stored.thread.tags:
                    families = uses.setdefault(tag, (set(), set()))[stored.thread.archived]
                    families.add(self._families.of(stored.thread.id))
        return [
            TagUse(tag, len(listed), len(archived))
            for tag, (listed, archived) in sorted(uses.items())
            if tag > after
        ][:limit]

    async def search(
        self, owner: str, phrases: Sequence[Phrase], *, limit: int, before: int | None = None
    ) -> TextMatches:
        """See `RunStore.search`."""
        owned = [stored for stored in self._threads.values() if stored.owner == owner]
        found = (
            MessageMatch(
                self._places[message.id],
                message,
                stored.thread,
                examine(message.full_text, phrases),
            )
            for stored in owned
            for message in stored.messages
            if matches(message.full_text, phrases)
        )
        below = [match for match in found if before is None or match.place < before]
        below.sort(key=lambda match: match.place, reverse=True)
        page, more = take_page(below, limit, lambda match: json_size(match.message), SEARCH_BYTES)
        threads = [
            stored.thread
            for stored in reversed(owned)
            if before is None and matches(stored.thread.title, phrases)
        ]
        return TextMatches(page, threads[:limit], more)


def _matches_scopes(record: Any, names: Iterable[str], where: Mapping[str, FilterValue]) -> bool:
    """Return whether the fields of these names have the values that are asked for, if any."""
    wanted = ((name, where.get(name)) for name in names)
    return all(value is None or getattr(record, name) == value for name, value in wanted)


def _matches_filters(record: Any, run: Run | None, where: Mapping[str, FilterValue]) -> bool:
    """Return whether the filters find the record; `run` is that of an action.

    The filters are those of `RunStore.list`, without its scopes and those of threads.
    """
    if not (_has_status(record, where.get("status")) and _is_rated(record, where.get("rating"))):
        return False
    for name, document in KINDS[type(record)].fields.items():
        source = record if document == "doc" else run
        if not _has_value(getattr(source, name, None), where.get(name)):
            return False
    after, before = where.get("created_after"), where.get("created_before")
    if isinstance(after, int) and record.created_at <= after:
        return False
    if isinstance(before, int) and record.created_at >= before:
        return False
    expires = where.get("expires_before")
    if isinstance(expires, int) and not (record.expires_at and record.expires_at < expires):
        return False
    now = where.get("claimable_at")
    return not isinstance(now, int) or (isinstance(record, Action) and record.is_claimable(now))


def _has_status(record: Any, status: FilterValue) -> bool:
    return status is None or getattr(record, "status", None) == status


def _is_rated(record: Any, rating: FilterValue) -> bool:
    if rating is None:
        return True
    feedback = record.feedback if isinstance(record, Message) else None
    return feedback is not None and rating in ("any", feedback.rating)


def _has_value(value: Any, wanted: FilterValue) -> bool:
    match wanted:
        case None:
            return True
        case Mapping():
            pairs: dict[str, str] = value or {}
            return all(pairs.get(key) == text for key, text in wanted.items())
        case str():
            return bool(value == wanted)
        case Sequence():
            return value in wanted
        case _:
            return bool(value == wanted)


def json_size(record: object) -> int:
    """Return the record's size in bytes as JSON, as other stores store it."""
    return len(msgspec.json.encode(record))
