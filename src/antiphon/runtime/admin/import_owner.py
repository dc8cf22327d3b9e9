"""Imports an owner's archive: checked whole, written bite by bite, seen at its end.

Everything is checked before anything is written. Records are then added under an owner of the
import's own, which nobody's key opens, and given to the target when all of them are there. An
import that was broken off goes on where it was when it is run again: ids and the import's owner
follow from the file and the target.
"""

from __future__ import annotations

import asyncio
import hmac
import shutil
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from hashlib import blake2b
from tempfile import gettempdir
from typing import IO, Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec.structs import asdict, replace

from antiphon.api.operations import ImportOwner, OwnerImport
from antiphon.engine import sanitize
from antiphon.ports import Store
from antiphon.runtime.admin import audit
from antiphon.runtime.admin.archive import ArchivedRun, FileRecord, ThreadRecord, keep, renew
from antiphon.runtime.admin.archive_loader import Loaded, load
from antiphon.runtime.admin.archive_reader import ArchiveReader, Bounds
from antiphon.stores.spool import Record, Spool, State
from antiphon.types.accounts import AuditEntry, Principal, UsageRow
from antiphon.types.chat_imports import ImportClaim
from antiphon.types.errors import Conflict, InvalidRequest, Unavailable
from antiphon.types.folders import MAX_FOLDERS, Folder
from antiphon.types.ids import Mint
from antiphon.types.imports import ImportBatch, ImportedEvents, ImportedRun
from antiphon.types.messages import Message, Upload
from antiphon.types.personal import MAX_MEMORIES, Memory, PersonalRecord, PersonalSettings
from antiphon.types.runs import Action, Assistant, Run, Thread
from antiphon.types.schedules import Schedule, StoredSchedule

T = TypeVar("T")

BATCH_BYTES = 1_000_000  # about as much is written in one transaction
BATCH_RECORDS = 500
PAGE = 200  # records that are looked up at once
MAX_USAGE = 1_000_000
NAMED = 10  # conflicts that the error names
STAGING = "import_"
MAX_SCHEDULES = 50
"""Default limit of the schedules of an owner."""

_KINDS: Mapping[str, type[Any]] = {
    "assistants": Assistant,
    "folders": Folder,
    "files": Upload,
    "threads": Thread,
    "messages": Message,
    "runs": Run,
    "actions": Action,
}
"""Kinds of records that are added, each behind those that it may belong to."""

_PARENTS = {"messages": "threads", "runs": "threads", "actions": "runs"}

_encode = msgspec.json.Encoder().encode


class ImportStep(NamedTuple):
    """Progress: `done` of `of`, in bytes while it is read and in records then."""

    doing: str
    what: str
    done: int
    of: int


Tell = Callable[[ImportStep], None]
"""Called with each step, in the event loop's thread or in another one; must not raise."""


class ImportGuard(NamedTuple):
    """Claim that every write of the import checks, and calls before two of its steps.

    `on_write` is called with the staging owner before anything is written, `on_transfer` before the
    records are transferred to the target, with the audit entry, which is written then. An error of
    either ends the import.
    """

    claim: ImportClaim
    on_write: Callable[[str], Awaitable[None]]
    on_transfer: Callable[[AuditEntry], Awaitable[None]]


def quiet(step: ImportStep) -> None:
    """Ignore the step."""


class OwnerImporter:
    """Imports archives, and audits each import that changed something."""

    def __init__(
        self,
        store: Store,
        mint: Mint,
        bounds: Bounds = Bounds(),  # noqa: B008 - a frozen value
        *,
        max_schedules: int = MAX_SCHEDULES,
    ) -> None:
        self._store = store
        self._mint = mint
        self._bounds = bounds
        self._max_schedules = max_schedules

    async def run(
        self,
        call: ImportOwner,
        file: IO[bytes],
        by: Principal,
        tell: Tell = quiet,
        guard: ImportGuard | None = None,
    ) -> OwnerImport:
        """Import the archive in this file, which is seekable, or only check it.

        Raises `InvalidRequest` and `TooLarge` for a file that cannot be imported, and `Conflict`
        where ids are taken; nothing is written then. Raises `Fenced` when the claim of the guard is
        lost.
        """
        if call.owner is not None:
            sanitize.validate_owner(call.owner)
        secret = await self._store.installation_secret()
        archive = await asyncio.to_thread(ArchiveReader, file, self._bounds)
        try:
            _check_room(gettempdir(), 2 * archive.record_bytes)
            digest = await run_in_thread(_digest, file)
            spool = Spool()
            try:
                work = _Import(
                    self._store,
                    archive,
                    spool,
                    call,
                    tell=tell,
                    max_schedules=self._max_schedules,
                    guard=guard,
                )
                return await work.run(secret, digest, self._mint, by)
            finally:
                spool.close()
        finally:
            archive.close()

    async def transfer(
        self, staging: str, owner: str, claim: ImportClaim, entry: AuditEntry | None
    ) -> None:
        """Transfer what an import wrote to the owner, and write its audit entry if it is missing.

        Raises `Fenced` when the claim is lost.
        """
        if entry is not None:
            await self._store.finish_import([], [entry], None)
        await _transfer_all(self._store, staging, owner, claim)

    async def discard(self, staging: str, claim: ImportClaim) -> None:
        """Delete what an import wrote and did not transfer to the owner.

        Raises `Fenced` when the claim is lost: the worker that has it may write these records, as
        the same archive has the same staging owner.
        """
        while await self._store.delete_owned(staging, BATCH_RECORDS, claim):
            pass


async def _transfer_all(store: Store, staging: str, owner: str, claim: ImportClaim | None) -> None:
    while await store.transfer_owned(staging, owner, BATCH_RECORDS, claim):
        pass


def _find_staging(secret: bytes, digest: bytes, owner: str, *, new_ids: bool) -> tuple[str, bytes]:
    """Return the import's own owner, and the seed of new ids."""
    subject = _encode(["import", digest.hex(), owner, new_ids])
    seed = hmac.digest(secret, subject, "sha256")
    return STAGING + seed.hex()[:32], seed


def _check_room(folder: str, needed: int) -> None:
    """Raise `Unavailable` where the records have no room to be checked in."""
    room = shutil.disk_usage(folder).free
    if needed > room:
        raise Unavailable(
            f"There is not enough room in {folder} to check the file.",
            expected=f"{needed:,} bytes",
            received=f"{room:,} bytes",
            hint="TMPDIR names another folder.",
        )


def _digest(stopped: threading.Event, file: IO[bytes]) -> bytes:
    digest = blake2b(digest_size=32)
    file.seek(0)
    while piece := file.read(1 << 20):
        digest.update(piece)
        _check_stopped(stopped)
    return digest.digest()


def _check_stopped(stopped: threading.Event) -> None:
    if stopped.is_set():
        raise Unavailable("The import was stopped.")


class _Import:
    """One import."""

    def __init__(
        self,
        store: Store,
        archive: ArchiveReader,
        spool: Spool,
        call: ImportOwner,
        *,
        tell: Tell,
        max_schedules: int,
        guard: ImportGuard | None,
    ) -> None:
        self._store = store
        self._guard = guard
        self._claim = None if guard is None else guard.claim
        self._archive = archive
        self._spool = spool
        self._call = call
        self._tell = tell
        self._owner = call.owner or archive.manifest.owner
        self._staging = ""
        self._counts: Mapping[str, Counter[State]] = {}
        self._conflicts: list[str] = []
        self._conflict_count = 0
        self._max_schedules = max_schedules
        self._schedules: Sequence[Schedule] = ()
        self._memories: Sequence[Memory] = ()
        self._personal_settings: Sequence[PersonalSettings] = ()

    async def run(self, secret: bytes, digest: bytes, mint: Mint, by: Principal) -> OwnerImport:
        """Check, write, give to the owner."""
        self._staging, seed = _find_staging(secret, digest, self._owner, new_ids=self._call.new_ids)
        new_ids = renew(seed) if self._call.new_ids else keep
        loaded: Loaded = await run_in_thread(self._load, new_ids)
        await self._check()
        self._counts = await asyncio.to_thread(self._spool.counts)
        history = await self._history(secret)
        if not self._call.check:
            if self._guard is not None:
                await self._guard.on_write(self._staging)
            await self._write()
            await self._finish(history, mint, by)
        return self._answer(loaded, history)

    def _load(self, stopped: threading.Event, new_ids: Any) -> Loaded:
        read, of = 0, self._archive.record_bytes + self._archive.file_bytes

        def advance(size: int) -> None:
            nonlocal read
            _check_stopped(stopped)
            read += size
            self._tell(ImportStep("reading", "bytes", read, of))

        return load(self._archive, self._spool, self._owner, new_ids, advance)

    # What is there already.

    async def _check(self) -> None:
        """Note of each record whether it is there. Raises `Conflict` where something else is."""
        counts = await asyncio.to_thread(self._spool.counts)
        of = sum(counts[kind].total() for kind in _KINDS)
        done = 0
        for kind in _KINDS:
            async with aclosing(self._pages(kind)) as pages:
                async for page in pages:
                    states = await self._compare(kind, page)
                    await asyncio.to_thread(self._spool.set_states, states)
                    done += len(page)
                    self._tell(ImportStep("checking", kind, done, of))
        self._schedules = await self._find_new_schedules()
        await self._find_new_personal()
        await self._check_folders()
        if self._conflict_count:
            more = self._conflict_count - len(self._conflicts)
            raise Conflict(
                f"{self._conflict_count:,} records are in the way of the import.",
                expected="ids that are free, or hold the same for the same owner",
                received="; ".join(self._conflicts) + (f"; and {more:,} more" if more else ""),
                hint="With new ids (--new-ids) everything comes in beside what is there.",
                conflicts=list(self._conflicts),
            )

    async def _check_folders(self) -> None:
        """Raise `InvalidRequest` if the owner would have too many folders."""
        states = (await asyncio.to_thread(self._spool.counts))["folders"]
        new = states["new"] + states["staged"]
        count, after, more = new, None, new > 0
        while more:
            page = await self._store.list(Folder, self._owner, limit=PAGE, after=after)
            count, more = count + len(page.data), page.has_more
            after = page.data[-1].id if page.data else None
        if count > MAX_FOLDERS:
            raise InvalidRequest(
                f"{self._owner} would have too many folders.",
                expected=f"at most {MAX_FOLDERS}, with those of the import",
                received=f"{count}",
                hint="Delete some.",
            )

    async def _find_new_schedules(self) -> Sequence[Schedule]:
        """Return the schedules that are not there; one that is there may have changed since.

        Raises `InvalidRequest` if the owner would have too many.
        """
        owners = {each.schedule.id: each.owner for each in await self._store.schedules(None)}
        new: list[Schedule] = []
        async for schedule in self._decode_all("schedules", Schedule):
            owner = owners.get(schedule.id)
            if owner is None:
                new.append(schedule)
            elif owner != self._owner:
                self._refuse("schedules", schedule.id, "belongs to another owner")
        count = len(new) + sum(owner == self._owner for owner in owners.values())
        if new and count > self._max_schedules:
            raise InvalidRequest(
                f"{self._owner} would have too many schedules.",
                expected=f"at most {self._max_schedules}, with those of the import",
                received=f"{count}",
                hint="Remove some, or raise the setting max_schedules.",
            )
        return new

    async def _find_new_personal(self) -> None:
        """Note the memories that are not there, and the settings if none were written here.

        A memory whose text is there counts as there. Raises `InvalidRequest` if the owner would
        have too many.
        """
        there = await self._store.personal(self._owner)
        ids = {each.id for each in there.memories}
        texts = {each.text.casefold() for each in there.memories}
        async for memory in self._decode_all("memories", Memory):
            if memory.id not in ids and memory.text.casefold() not in texts:
                texts.add(memory.text.casefold())
                self._memories = (memory, *self._memories)
        count = len(there.memories) + len(self._memories)
        if self._memories and count > MAX_MEMORIES:
            raise InvalidRequest(
                f"{self._owner} would have too many memories.",
                expected=f"at most {MAX_MEMORIES}, with those of the import",
                received=f"{count}",
                hint="Delete some.",
            )
        if there.settings == PersonalSettings():
            settings = self._decode_all("personal_settings", PersonalSettings)
            self._personal_settings = [each async for each in settings]

    async def _compare(self, kind: str, page: Sequence[Record]) -> dict[int, State]:
        found = await self._store.find_records(_KINDS[kind], [each.id for each in page])
        parents = await self._states_of_parents(kind, page)
        states: dict[int, State] = {}
        for record in page:
            there = found.get(record.id)
            parent = parents.get(record.parent or "")
            if there is None:
                if parent != "present":
                    states[record.seq] = "new"
                elif record.made:  # the run is still active here, and stays so
                    states[record.seq] = "present"
                else:
                    self._refuse(kind, record.id, f"is missing in {record.parent}")
            elif there[0] not in (self._owner, self._staging):
                self._refuse(kind, record.id, "belongs to another owner")
            elif not await self._is_same(kind, record, there[1]):
                self._refuse(kind, record.id, "has other content")
            else:
                states[record.seq] = "staged" if there[0] == self._staging else "present"
        return states

    async def _states_of_parents(self, kind: str, page: Sequence[Record]) -> Mapping[str, State]:
        if kind not in _PARENTS:
            return {}
        ids = list({each.parent for each in page if each.parent})
        return await asyncio.to_thread(self._spool.states, _PARENTS[kind], ids)

    async def _is_same(self, kind: str, record: Record, there: Any) -> bool:
        """Return whether what is there is what the archive has, as it came or as it was ended."""
        docs = [doc for doc in (record.doc, record.before) if doc is not None]
        known = [_decode_stored(kind, doc) for doc in docs]
        if there not in known:
            return False
        if kind == "files":
            return await self._has_same_bytes(record, there)
        return True

    async def _has_same_bytes(self, record: Record, upload: Upload) -> bool:
        content = await asyncio.to_thread(self._archive.content, str(record.parent))
        for start in range(0, upload.size, BATCH_BYTES):
            part = await self._store.content(None, upload.id, start, BATCH_BYTES)
            if part != content[start : start + BATCH_BYTES]:
                return False
        return True

    def _refuse(self, kind: str, record_id: str, why: str) -> None:
        self._conflict_count += 1
        if len(self._conflicts) < NAMED:
            self._conflicts.append(f"{kind}: {record_id} {why}")

    # Usage and audit entries.

    async def _history(self, secret: bytes) -> _History:
        """Return the usage and the audit entries that are not there yet."""
        known = {
            (row.day, row.model): row for row in await self._store.usage("", MAX_USAGE, self._owner)
        }
        usage = [
            row
            async for row in self._decode_all("usage", UsageRow)
            if _exceeds(row, known.get((row.day, row.model)))
        ]
        entries: list[AuditEntry] = []
        async with aclosing(self._pages("audit", reverse=True)) as pages:
            async for page in pages:
                entries += await self._lacking_entries(page, secret)
        return _History(usage, entries)

    async def _lacking_entries(self, page: Sequence[Record], secret: bytes) -> list[AuditEntry]:
        """Return the entries of a page that this installation's log does not have.

        An entry of its own log is there under its id. Any other comes in under an id that only
        this installation can make, so that no file can take the place of an entry, or forge one.
        """
        entries = [msgspec.json.decode(each.doc, type=AuditEntry) for each in page]
        own = await self._store.find_records(AuditEntry, [entry.id for entry in entries])
        others = [entry for entry in entries if own.get(entry.id, ("", None))[1] != entry]
        renewed = renew(hmac.digest(secret, f"audit of {self._owner}".encode(), "sha256"))
        marked = {renewed(entry.id): entry for entry in others}
        known = await self._store.find_records(AuditEntry, list(marked))
        return [
            replace(entry, id=new, details={**entry.details, "imported_id": entry.id})
            for new, entry in marked.items()
            if new not in known
        ]

    async def _decode_all(self, kind: str, type: type[T]) -> AsyncGenerator[T, None]:
        async with aclosing(self._pages(kind)) as pages:
            async for page in pages:
                for each in page:
                    yield msgspec.json.decode(each.doc, type=type)

    # Writing.

    async def _write(self) -> None:
        """Add what is new to the import's own owner, each kind behind what it belongs to."""
        of = sum(self._counts[kind]["new"] for kind in _KINDS)
        done = 0
        for kind in _KINDS:
            async with aclosing(self._batches(kind)) as batches:
                async for batch, records in batches:
                    await self._store.import_records(self._staging, batch, self._claim)
                    done += records
                    self._tell(ImportStep("writing", kind, done, of))

    async def _batches(self, kind: str) -> AsyncGenerator[tuple[ImportBatch, int], None]:
        """Yield what is new of a kind, in batches of about `BATCH_BYTES`."""
        if kind == "runs":
            async for parts in self._parts_of_runs():
                runs = [each for each in parts if isinstance(each, ImportedRun)]
                logs = [each for each in parts if isinstance(each, ImportedEvents)]
                yield ImportBatch(runs=runs, events=logs), len(runs)
            return
        batch: list[Any] = []
        size = 0
        newest_first = kind in ("assistants", "folders", "files", "threads")
        async with aclosing(self._pages(kind, reverse=newest_first)) as pages:
            async for page in pages:
                for record in page:
                    if record.state != "new":
                        continue
                    item, weight = await self._item(kind, record)
                    if batch and (size + weight > BATCH_BYTES or len(batch) == BATCH_RECORDS):
                        yield _batch(kind, batch), len(batch)
                        batch, size = [], 0
                    batch.append(item)
                    size += weight
        if batch:
            yield _batch(kind, batch), len(batch)

    async def _item(self, kind: str, record: Record) -> tuple[Any, int]:
        """Return what is written for a record, and its bytes."""
        if kind == "files":
            content = await asyncio.to_thread(self._archive.content, str(record.parent))
            return (_decode_stored(kind, record.doc), content), len(record.doc) + len(content)
        if kind == "threads":
            thread = msgspec.json.decode(record.doc, type=ThreadRecord)
            family = thread.family if isinstance(thread.family, str) else None
            return (_decode_stored(kind, record.doc), family), len(record.doc)
        return _decode_stored(kind, record.doc), len(record.doc)

    async def _parts_of_runs(self) -> AsyncGenerator[list[ImportedRun | ImportedEvents], None]:
        """Yield runs with their events, oldest first.

        A run is in one part with its events, unless these are more than `BATCH_BYTES`.
        """
        batch: list[ImportedRun | ImportedEvents] = []
        size = 0
        async with aclosing(self._pages("runs", reverse=True)) as pages:
            async for page in pages:
                for record in page:
                    if record.state == "present":
                        continue
                    weight = self._spool.size("events", record.id)
                    if batch and (size + weight > BATCH_BYTES or len(batch) >= BATCH_RECORDS):
                        yield batch
                        batch, size = [], 0
                    reach = await self._reach(record, weight)
                    if record.state == "new":
                        run = msgspec.json.decode(record.doc, type=ArchivedRun)
                        batch.append(ImportedRun(run.run, run.last_event, run.events_after))
                        size += len(record.doc)
                    for part in self._spool.children("events", record.id):
                        if weight > BATCH_BYTES < size:
                            yield batch
                            batch, size = [], 0
                        lines = part.doc.split(b"\n")
                        events = ImportedEvents(record.id, cast("int", part.mark), lines)
                        if events.first > reach:
                            batch.append(events)
                            size += len(part.doc)
        if batch:
            yield batch

    async def _reach(self, record: Record, weight: int) -> int:
        """Return the number of the last event of a run that an earlier try has written."""
        run = msgspec.json.decode(record.doc, type=ArchivedRun)
        if record.state == "new":
            return 0
        if weight <= BATCH_BYTES:
            return run.last_event  # they were written with the run
        after, more = (await self._store.run_lease(record.id)).kept_after, True
        while more:
            page = await self._store.read_events(record.id, after)
            after += len(page.lines)
            more = bool(page.lines)
        return after

    async def _finish(self, history: _History, mint: Mint, by: Principal) -> None:
        """Write usage and audit entries, then give everything to the owner."""
        added = {kind: self._count_added(kind) for kind in _KINDS}
        added["schedules"] = len(self._schedules)
        added["memories"] = len(self._memories)
        added["personal_settings"] = len(self._personal_settings)
        if not (any(added.values()) or any(history)):
            return
        entry = await audit.create_entry(
            self._store,
            mint,
            by,
            "owner.imported",
            self._owner,
            self._owner,
            **{kind: str(count) for kind, count in added.items() if count},
        )
        entries = [
            replace(each, details={**each.details, "imported": entry.id})
            for each in history.entries
        ]
        if self._guard is None:
            await self._store.finish_import(history.usage, entries, entry)
        else:  # a worker that goes on writes the same entry, which is there once
            await self._guard.on_transfer(entry)
            await self._store.finish_import(history.usage, [*entries, entry], None)
        await _transfer_all(self._store, self._staging, self._owner, self._claim)
        if self._memories or self._personal_settings:
            await self._store.change_personal(self._owner, self._add_personal)
        for schedule in self._schedules:  # behind the threads and assistants that they name
            created = await audit.create_entry(
                self._store,
                mint,
                by,
                "schedule.created",
                schedule.id,
                self._owner,
                from_import=entry.id,
            )
            stored = StoredSchedule(self._owner, schedule)
            await self._store.add_schedule(stored, self._max_schedules, created)

    def _add_personal(self, there: PersonalRecord) -> PersonalRecord:
        if there.settings == PersonalSettings():
            for settings in self._personal_settings:
                there = replace(there, settings=settings)
        known = {each.text.casefold() for each in there.memories}
        new = (each for each in self._memories if each.text.casefold() not in known)
        return replace(there, memories=(*there.memories, *new)[:MAX_MEMORIES])

    def _answer(self, loaded: Loaded, history: _History) -> OwnerImport:
        added: Counter[str] = Counter()
        unchanged: Counter[str] = Counter()
        for kind in _KINDS:
            unchanged[kind] = self._counts[kind]["present"]
            added[kind] = self._count_added(kind)
        for kind, lacking in (
            ("schedules", self._schedules),
            ("memories", self._memories),
            ("personal_settings", self._personal_settings),
            ("usage", history.usage),
            ("audit", history.entries),
        ):
            added[kind] = len(lacking)
            unchanged[kind] = self._counts[kind].total() - len(lacking)
        return OwnerImport(
            owner=self._owner,
            checked_only=self._call.check,
            added=_nonzero(added),
            unchanged=_nonzero(unchanged),
            skipped=dict(loaded.skipped),
            ended_runs=loaded.ended_runs,
        )

    def _count_added(self, kind: str) -> int:
        """Return how many records of a kind were not in their place when the import began."""
        return self._counts[kind]["new"] + self._counts[kind]["staged"]

    async def _pages(
        self, kind: str, *, reverse: bool = False
    ) -> AsyncGenerator[Sequence[Record], None]:
        """Yield the records of a kind, as they came or in the other direction."""
        after: int | None = None
        while page := await asyncio.to_thread(self._spool.page, kind, after, PAGE, reverse=reverse):
            yield page
            after = page[-1].seq


class _History(NamedTuple):
    """Usage and audit entries that are to be written."""

    usage: Sequence[UsageRow]
    entries: Sequence[AuditEntry]


def _decode_stored(kind: str, doc: bytes) -> Any:
    """Return the record as a store has it."""
    match kind:
        case "runs":
            return msgspec.json.decode(doc, type=ArchivedRun).run
        case "files":
            record = msgspec.json.decode(doc, type=FileRecord)
            fields = asdict(record)
            del fields["place"]
            return Upload(**fields)
        case _:
            return msgspec.json.decode(doc, type=_KINDS[kind])


def _batch(kind: str, items: Sequence[Any]) -> ImportBatch:
    return ImportBatch(**{"uploads" if kind == "files" else kind: items})


def _exceeds(row: UsageRow, known: UsageRow | None) -> bool:
    """Return whether a number of the row is larger than the one that is there."""
    return known is None or any(
        getattr(row, name) > getattr(known, name)
        for name in row.__struct_fields__
        if name not in ("day", "owner", "model")
    )


def _nonzero(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


async def run_in_thread(work: Callable[..., T], *args: Any) -> T:
    """Run blocking work in a thread; where the caller is cancelled, stop it and wait for its end.

    `work` gets an event that is set then.
    """
    stopped = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, stopped, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait([task])
        raise
