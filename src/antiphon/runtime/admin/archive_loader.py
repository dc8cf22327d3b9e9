"""Loads an archive into a spool: every record checked, under its id and owner in the target.

Runs that had not ended are ended here as if somebody had cancelled them when the archive was made,
by the same pure function: an import never starts a run. Records that belong to nothing in the
archive are left out; they were deleted, or made, while it was written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple, cast

import msgspec
from msgspec.structs import asdict, replace

from antiphon.engine import sanitize, transitions
from antiphon.engine.snapshot import Snapshot
from antiphon.runtime.admin.archive import (
    MANIFEST,
    RECORDS,
    ArchivedRun,
    EventsRecord,
    FileRecord,
    NewIds,
    ThreadRecord,
    change_ids,
    change_owner,
    member,
)
from antiphon.runtime.admin.archive_reader import ArchiveReader, at
from antiphon.runtime.admin.archive_validation import (
    MAX_COUNT,
    MAX_TIME,
    prepare_event,
    prepare_message,
    prepare_record,
    validate_fields,
    validate_number,
    validate_run,
    validate_usage,
)
from antiphon.stores.spool import DuplicateRecord, Record, Spool
from antiphon.types import events, ids
from antiphon.types.accounts import AuditEntry, Key, ProviderKey, UsageRow
from antiphon.types.errors import InvalidRequest, TooLarge
from antiphon.types.events import Numbered, TurnEnded
from antiphon.types.folders import Folder
from antiphon.types.ids import Prefix
from antiphon.types.messages import Message
from antiphon.types.personal import Memory, PersonalSettings
from antiphon.types.runs import Action, Assistant, RunLease, Thread
from antiphon.types.schedules import Occurrence, Schedule
from antiphon.types.webhooks import Webhook, WebhookDelivery

MAX_TURN_BYTES = 64_000_000  # of what is held in memory to end one run
MAX_HISTORY_BYTES = 64_000_000  # of audit entries, and of usage: they are written at once
NOT_IMPORTED = ("keys", "provider_keys", "webhooks", "webhook_deliveries", "occurrences")

Advance = Callable[[int], None]
"""Called with the number of bytes that were read since the last call; may raise to stop."""

_encode = msgspec.json.Encoder().encode


class Loaded(NamedTuple):
    """Result of loading: the number of records left out, by kind, and of runs that were ended."""

    skipped: Mapping[str, int]
    ended_runs: int


def load(
    archive: ArchiveReader, spool: Spool, owner: str, new_ids: NewIds, advance: Advance
) -> Loaded:
    """Load all records. Raises `InvalidRequest` and `TooLarge` for the first that is wrong."""
    return _Loader(archive, spool, owner, new_ids, advance).load()


class _Loader:
    def __init__(
        self,
        archive: ArchiveReader,
        spool: Spool,
        owner: str,
        new_ids: NewIds,
        advance: Advance,
    ) -> None:
        self._archive = archive
        self._spool = spool
        self._owner = owner
        self._new_ids = new_ids
        self._advance = advance
        self._skipped: Counter[str] = Counter()
        self._line = 0

    def load(self) -> Loaded:
        with at(MANIFEST):
            validate_number(self._archive.manifest.made_at, "made_at", 0, MAX_TIME)
        self._spool.begin()
        for kind in RECORDS:
            self._load_kind(kind)
        self._check_files()
        for kind, of in _PARENTS:
            self._skipped[kind] += self._spool.drop_orphans(kind, of)
        for kind in ("audit", "usage"):
            if self._spool.size(kind) > MAX_HISTORY_BYTES:
                raise TooLarge(
                    f"There is too much in {member(kind)}.",
                    expected=f"at most {MAX_HISTORY_BYTES:,} bytes",
                )
        ended = sum(self._settle(run) for run in self._every("runs"))
        for spooled in self._every("threads"):
            thread = msgspec.json.decode(spooled.doc, type=ThreadRecord)
            last = self._spool.last_mark("messages", spooled.id)
            if thread.messages != last:  # orphans were dropped
                self._spool.change(spooled, _encode(replace(thread, messages=last)))
        self._spool.commit()
        skipped = {kind: count for kind, count in self._skipped.items() if count}
        return Loaded(skipped, ended)

    def _load_kind(self, kind: str) -> None:
        count = 0
        name = member(kind)
        for line, record, size in self._archive.lines(kind):
            count, self._line = line, line
            with at(name, line):
                validate_fields(kind, record.run if isinstance(record, ArchivedRun) else record)
                self._add(kind, record)
            self._advance(size + 1)
        wanted = self._archive.manifest.counts.get(kind, 0)
        # Events are counted in records, which say how many events they hold themselves.
        if wanted != count:
            raise InvalidRequest(
                f"There are not as many records in {name} as the manifest says.",
                expected=f"{wanted:,}",
                received=f"{count:,}",
                where=name,
            )
        if kind in NOT_IMPORTED:
            self._skipped[kind] = count

    def _add(self, kind: str, record: Any) -> None:
        match record:
            case Key() | ProviderKey() | UsageRow() | AuditEntry() if (
                record.owner != self._archive.manifest.owner
            ):
                raise InvalidRequest(
                    "The record is another owner's.",
                    expected=f"the owner of the manifest, {self._archive.manifest.owner}",
                    received=ascii(record.owner)[:100],
                    where="$.owner",
                )
            case Key() | ProviderKey() | Webhook() | WebhookDelivery() | Occurrence():
                return
            case UsageRow():
                validate_usage(record)
                changed = change_owner(record, self._owner)
                self._put(kind, f"{record.day} {record.model}", changed)
            case AuditEntry():
                self._put(
                    kind, record.id, change_ids(change_owner(record, self._owner), self._new_ids)
                )
            case EventsRecord():
                self._add_events(record)
            case FileRecord():
                self._add_file(record)
            case Message():
                cleaned = prepare_message(record)
                message = change_ids(cleaned, self._new_ids)
                # One that is stored as it came stays: an earlier version cleaned less.
                before = change_ids(record, self._new_ids) if cleaned != record else None
                self._put(
                    kind,
                    message.id,
                    message,
                    parent=message.thread_id,
                    mark=message.number,
                    before=before,
                )
            case ArchivedRun():
                validate_run(record)
                new = change_ids(record, self._new_ids)
                self._put(kind, new.run.id, new, parent=new.run.thread_id)
            case Action():
                validate_number(record.turn, "turn", 0)
                action = change_ids(record, self._new_ids)
                self._put(kind, action.id, action, parent=action.run_id, mark=action.tool_call_id)
            case ThreadRecord():
                validate_number(record.messages, "messages", 0)
                validate_number(record.version, "version", 0, MAX_COUNT)
                thread = self._without_missing_folder(change_ids(record, self._new_ids))
                self._put(kind, thread.id, thread)
            case Assistant() | Folder() | Schedule() | Memory() | PersonalSettings():
                renewed = change_ids(prepare_record(record), self._new_ids)
                self._put(kind, getattr(renewed, "id", kind), renewed)
            case _:
                raise AssertionError(kind)

    def _without_missing_folder(self, thread: ThreadRecord) -> ThreadRecord:
        """Return the thread, out of a folder that the archive does not have."""
        if thread.folder_id and self._spool.get("folders", thread.folder_id) is None:
            return replace(thread, folder_id=None)
        return thread

    def _put(
        self,
        kind: str,
        id: str,
        record: Any,
        *,
        parent: str | None = None,
        mark: int | str | None = None,
        before: Any = None,
    ) -> None:
        """Add a record; `before` is what came, where it was changed."""
        came = None if before is None else _encode(before)
        doc, line = _encode(record), self._line
        try:
            self._spool.add(kind, id, doc, parent=parent, mark=mark, line=line, before=came)
        except DuplicateRecord as twice:
            raise InvalidRequest(
                f"Two records have {twice.what}.",
                expected="each once",
                received=f"it was in line {twice.line} before",
            ) from twice

    def _add_events(self, record: EventsRecord) -> None:
        validate_number(record.first, "first", 1)
        validate_number(record.first + len(record.events), "first", 1)
        lines: list[bytes] = []
        for place, raw in enumerate(record.events):
            try:
                lines.append(events.encode(prepare_event(events.decode(bytes(raw)))))
            except msgspec.DecodeError as error:
                raise InvalidRequest(
                    "This is no event.",
                    expected="an event of the reference",
                    received=str(error)[:200],
                    where=f"$.events[{place}]",
                ) from error
        if not lines:
            raise InvalidRequest("The record holds no event.", expected="one or more")
        new = change_ids(replace(record, events=tuple(map(msgspec.Raw, lines))), self._new_ids)
        self._put_events(new.run_id, new.first, [bytes(raw) for raw in new.events])

    def _put_events(
        self, run_id: str, first: int, lines: list[bytes], *, made: bool = False
    ) -> None:
        doc = b"\n".join(lines)
        name = f"{run_id} {first}"
        try:
            self._spool.add(
                "events", name, doc, parent=run_id, mark=first, line=self._line, made=made
            )
        except DuplicateRecord as twice:
            raise InvalidRequest(
                f"Events from number {first} on are there twice.",
                expected="each event once",
                received=f"they were in line {twice.line} before",
            ) from twice

    def _add_file(self, record: FileRecord) -> None:
        sanitize.validate_file_name(record.name)
        size = self._archive.size(record.place)
        if size is None or size != record.size:
            raise InvalidRequest(
                "The bytes of a file are not as its record says."
                if size is not None
                else "The bytes of a file are missing.",
                expected=f"a member {ascii(record.place)[:100]} of {record.size:,} bytes",
                received="none" if size is None else f"{size:,} bytes",
                where="$.place",
            )
        if sanitize.parse_media_type(record.media_type) != record.media_type:
            raise InvalidRequest(
                "This is no media type.",
                expected="type/subtype",
                received=ascii(record.media_type[:64]),
                where="$.media_type",
            )
        new = change_ids(record, self._new_ids)
        self._put("files", new.id, new, parent=record.place, mark="place")

    def _check_files(self) -> None:
        """Read the bytes of every file once, so that what is damaged is noticed before a write."""
        named: set[str] = set()
        for record in self._every("files"):
            named.add(str(record.parent))
            with self._archive.open(str(record.parent)) as pieces:
                for piece in pieces:
                    self._advance(len(piece))
        if extra := self._archive.files - named:
            raise InvalidRequest(
                f"There is a file that {member('files')} does not name.",
                expected="one member for each record",
                received=ascii(min(extra))[:100],
            )

    def _every(self, kind: str) -> Iterator[Record]:
        """Yield the records of a kind in pages, so that they may be changed meanwhile."""
        after: int | None = None
        while page := self._spool.page(kind, after, 100, reverse=False):
            yield from page
            after = page[-1].seq

    # Runs and threads, once everything is there.

    def _settle(self, spooled: Record) -> bool:
        """Fit a run's log to the run, and end the run; return whether it had not ended."""
        record = msgspec.json.decode(spooled.doc, type=ArchivedRun)
        kept_after = self._fit_events(spooled, record)
        if kept_after != record.events_after:
            record = replace(record, events_after=kept_after)
            self._spool.change(spooled, _encode(record))
        if record.run.status.ended:
            return False
        self._end(spooled, record)
        return True

    def _fit_events(self, run: Record, record: ArchivedRun) -> int:
        """Return the number that the run's events begin behind.

        Events that were appended behind the run's last one are left out, and all of a log that
        lost its end while it was exported. Raises `InvalidRequest` for a gap.
        """
        begin: int | None = None
        behind = 0
        for part in self._spool.children("events", run.id):
            first = cast("int", part.mark)
            lines = part.doc.split(b"\n")
            if begin is None:
                begin = behind = first - 1
            if first != behind + 1:
                raise InvalidRequest(
                    f"Events of the run {run.id} are missing or there twice.",
                    expected=f"event {behind + 1}",
                    received=f"event {first}",
                    where=member("events"),
                )
            behind += len(lines)
            if behind > record.last_event:
                whole = lines[: max(0, record.last_event - first + 1)]
                self._spool.replace_lines(part, b"\n".join(whole))
        if begin is None or begin < record.events_after or behind < record.last_event:
            self._spool.drop_children("events", run.id)
            return record.last_event
        return begin

    def _end(self, spooled: Record, record: ArchivedRun) -> None:
        """End a run as a cancellation does, at the time of the export."""
        thread = cast("Record", self._spool.get("threads", record.run.thread_id))
        loaded = msgspec.json.decode(thread.doc, type=ThreadRecord)
        known = self._actions_of_last_turn(spooled.id)
        snapshot = Snapshot(
            now=self._archive.manifest.made_at,
            thread=msgspec.json.decode(thread.doc, type=Thread),
            run=record.run,
            lease=RunLease(last_event=record.last_event, kept_after=record.events_after),
            actions=tuple(msgspec.json.decode(each.doc, type=Action) for each in known.values()),
            log=self._log_of_last_turn(spooled.id, record),
        )
        more = True
        while more:
            change = transitions.cancel(snapshot, _mint(snapshot.now, record.run.id))
            (update,) = change.run_updates
            for message in change.messages:
                self._add_made(message)
            for action in change.actions:
                self._spool.change(known[action.id], _encode(action))
            if update.events:
                first = update.lease.last_event - len(update.events) + 1
                lines = [events.encode(event) for event in update.events]
                self._put_events(update.run.id, first, lines, made=True)
            closed = {action.id: action for action in change.actions}
            record = replace(record, run=update.run, last_event=update.lease.last_event)
            after = change.thread or cast("Thread", snapshot.thread)
            loaded = replace(loaded, **asdict(after))
            snapshot = replace(
                snapshot,
                thread=after,
                run=update.run,
                lease=update.lease,
                actions=tuple(closed.get(each.id, each) for each in snapshot.actions),
            )
            more = change.more
        self._spool.change(spooled, _encode(record))
        self._spool.change(thread, _encode(loaded))

    def _actions_of_last_turn(self, run_id: str) -> dict[str, Record]:
        if self._spool.size("actions", run_id) > MAX_TURN_BYTES:
            raise TooLarge(
                f"The run {run_id} has not ended, and has too many calls.",
                expected=f"at most {MAX_TURN_BYTES:,} bytes",
                where=member("actions"),
            )
        found = [
            (record, msgspec.json.decode(record.doc, type=Action))
            for record in self._spool.in_order("actions", run_id)
        ]
        last = max((action.turn for _, action in found), default=0)
        return {record.id: record for record, action in found if action.turn == last}

    def _log_of_last_turn(self, run_id: str, record: ArchivedRun) -> tuple[Numbered, ...]:
        """Return the events after the last turn that ended."""
        if self._spool.size("events", run_id) > MAX_TURN_BYTES:
            raise TooLarge(
                f"The run {run_id} has not ended, and has too many events.",
                expected=f"at most {MAX_TURN_BYTES:,} bytes",
                where=member("events"),
            )
        turn: list[Numbered] = []
        number = record.events_after
        for part in self._spool.children("events", run_id):
            for line in part.doc.split(b"\n"):
                number += 1
                event = events.decode(line)
                if isinstance(event, TurnEnded):
                    turn.clear()
                else:
                    turn.append((number, event))
        return tuple(turn)

    def _add_made(self, message: Message) -> None:
        """Add a message that ends a run, unless its place is taken."""
        try:
            self._spool.add(
                "messages",
                message.id,
                _encode(message),
                parent=message.thread_id,
                mark=message.number,
                made=True,
            )
        except DuplicateRecord:  # the thread went on while it was exported
            return


_PARENTS = (
    ("messages", "threads"),
    ("runs", "threads"),
    ("events", "runs"),
    ("actions", "runs"),
)
"""Kinds of records that belong to records of another kind, in an order that leaves no orphan."""


def _mint(now: int, run_id: str) -> Callable[[Prefix], str]:
    """Return a mint whose ids follow from the run, so that the same import makes the same ones."""
    made = 0

    def mint(prefix: Prefix) -> str:
        nonlocal made
        made += 1
        digest = blake2b(f"{run_id} {made}".encode(), digest_size=ids.RANDOM_BYTES).digest()
        return ids.make(prefix, now, digest)

    return mint
