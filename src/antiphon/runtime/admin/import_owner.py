"""Imports an owner's archive: checked as a whole, written in batches, visible at its end.

Everything is checked before anything is written. Records are then added under a staging owner,
whose data no key opens, and transferred to the target when all of them are there. An import that
was interrupted continues when it is run again: its ids and its staging owner follow from the file
and the target.
"""

from __future__ import annotations

import asyncio
import hmac
import shutil
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from hashlib import blake2b
from tempfile import gettempdir
from typing import IO, Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec.structs import replace

from antiphon.api.operations import ImportOwner, OwnerImport
from antiphon.engine import sanitize
from antiphon.ports import Store
from antiphon.runtime.admin import audit
from antiphon.runtime.admin.archive import ArchivedRun, ThreadRecord, keep, renew
from antiphon.runtime.admin.archive_loader import Loaded, load
from antiphon.runtime.admin.archive_reader import ArchiveReader, Bounds
from antiphon.runtime.admin.import_check import (
    KINDS,
    Additions,
    ImportCheck,
    ImportStep,
    OnImportStep,
    decode_stored,
    ignore_step,
    read_pages,
)
from antiphon.stores.spool import Record, Spool, State
from antiphon.types.accounts import AuditEntry, Principal
from antiphon.types.chat_imports import ImportClaim
from antiphon.types.errors import Unavailable
from antiphon.types.ids import Mint
from antiphon.types.imports import ImportBatch, ImportedEvents, ImportedRun
from antiphon.types.personal import MAX_MEMORIES, PersonalRecord, PersonalSettings
from antiphon.types.schedules import StoredSchedule

T = TypeVar("T")

BATCH_BYTES = 1_000_000  # about as much is written in one transaction
BATCH_RECORDS = 500
STAGING = "import_"
MAX_SCHEDULES = 50
"""Default limit of the schedules of an owner."""

_encode = msgspec.json.Encoder().encode


class ImportGuard(NamedTuple):
    """Claim that every write of the import checks, and calls before two of its steps.

    `on_write` is called with the staging owner before anything is written, `on_transfer` before the
    records are transferred to the target, with the audit entry, which is written then. An error of
    either ends the import.
    """

    claim: ImportClaim
    on_write: Callable[[str], Awaitable[None]]
    on_transfer: Callable[[AuditEntry], Awaitable[None]]


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
        operation: ImportOwner,
        file: IO[bytes],
        by: Principal,
        on_step: OnImportStep = ignore_step,
        guard: ImportGuard | None = None,
    ) -> OwnerImport:
        """Import the archive in this file, which is seekable, or only check it.

        Raises `InvalidRequest` and `TooLarge` for a file that cannot be imported, and `Conflict`
        where ids are taken; nothing is written then. Raises `Fenced` when the claim of the guard is
        lost.
        """
        if operation.owner is not None:
            sanitize.validate_owner(operation.owner)
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
                    operation,
                    on_step=on_step,
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
        operation: ImportOwner,
        *,
        on_step: OnImportStep,
        max_schedules: int,
        guard: ImportGuard | None,
    ) -> None:
        self._store = store
        self._guard = guard
        self._claim = None if guard is None else guard.claim
        self._archive = archive
        self._spool = spool
        self._operation = operation
        self._on_step = on_step
        self._owner = operation.owner or archive.manifest.owner
        self._staging = ""
        self._counts: Mapping[str, Counter[State]] = {}
        self._max_schedules = max_schedules

    async def run(self, secret: bytes, digest: bytes, mint: Mint, by: Principal) -> OwnerImport:
        """Check, write, give to the owner."""
        # The same import has the same owner of its own and the same new ids, however often it runs.
        subject = _encode(["import", digest.hex(), self._owner, self._operation.new_ids])
        seed = hmac.digest(secret, subject, "sha256")
        self._staging = STAGING + seed.hex()[:32]
        new_ids = renew(seed) if self._operation.new_ids else keep
        loaded: Loaded = await run_in_thread(self._load, new_ids)
        check = ImportCheck(
            self._store,
            self._archive,
            self._spool,
            owner=self._owner,
            staging=self._staging,
            on_step=self._on_step,
            max_schedules=self._max_schedules,
        )
        additions = await check.run(secret)
        self._counts = await asyncio.to_thread(self._spool.counts)
        if not self._operation.check:
            if self._guard is not None:
                await self._guard.on_write(self._staging)
            await self._write()
            await self._finish(additions, mint, by)
        return self._answer(loaded, additions)

    def _load(self, stopped: threading.Event, new_ids: Any) -> Loaded:
        read, of = 0, self._archive.record_bytes + self._archive.file_bytes

        def advance(size: int) -> None:
            nonlocal read
            _check_stopped(stopped)
            read += size
            self._on_step(ImportStep("reading", "bytes", read, of))

        return load(self._archive, self._spool, self._owner, new_ids, advance)

    # Writing.

    async def _write(self) -> None:
        """Add what is new to the import's own owner, each kind behind what it belongs to."""
        of = sum(self._counts[kind]["new"] for kind in KINDS)
        done = 0
        for kind in KINDS:
            async with aclosing(self._batches(kind)) as batches:
                async for batch, records in batches:
                    await self._store.import_records(self._staging, batch, self._claim)
                    done += records
                    self._on_step(ImportStep("writing", "records", done, of))

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
        async with aclosing(read_pages(self._spool, kind, reverse=newest_first)) as pages:
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
            return (decode_stored(kind, record.doc), content), len(record.doc) + len(content)
        if kind == "threads":
            thread = msgspec.json.decode(record.doc, type=ThreadRecord)
            family = thread.family if isinstance(thread.family, str) else None
            return (decode_stored(kind, record.doc), family), len(record.doc)
        return decode_stored(kind, record.doc), len(record.doc)

    async def _parts_of_runs(self) -> AsyncGenerator[list[ImportedRun | ImportedEvents], None]:
        """Yield runs with their events, oldest first.

        A run is in one part with its events, unless these are more than `BATCH_BYTES`.
        """
        batch: list[ImportedRun | ImportedEvents] = []
        size = 0
        async with aclosing(read_pages(self._spool, "runs", reverse=True)) as pages:
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

    async def _finish(self, new: Additions, mint: Mint, by: Principal) -> None:
        """Write usage and audit entries, then give everything to the owner."""
        added = {kind: self._count_added(kind) for kind in KINDS}
        added["schedules"] = len(new.schedules)
        added["memories"] = len(new.memories)
        added["personal_settings"] = len(new.personal_settings)
        if not (any(added.values()) or new.usage or new.audit):
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
            replace(each, details={**each.details, "imported": entry.id}) for each in new.audit
        ]
        if self._guard is None:
            await self._store.finish_import(new.usage, entries, entry)
        else:  # a worker that goes on writes the same entry, which is there once
            await self._guard.on_transfer(entry)
            await self._store.finish_import(new.usage, [*entries, entry], None)
        await _transfer_all(self._store, self._staging, self._owner, self._claim)
        if new.memories or new.personal_settings:
            await self._store.change_personal(self._owner, partial(_add_personal, new))
        for schedule in new.schedules:  # behind the threads and assistants that they name
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

    def _answer(self, loaded: Loaded, additions: Additions) -> OwnerImport:
        added: Counter[str] = Counter()
        unchanged: Counter[str] = Counter()
        for kind in KINDS:
            unchanged[kind] = self._counts[kind]["present"]
            added[kind] = self._count_added(kind)
        for kind, new in additions._asdict().items():
            added[kind] = len(new)
            unchanged[kind] = self._counts[kind].total() - len(new)
        return OwnerImport(
            owner=self._owner,
            checked_only=self._operation.check,
            added=_nonzero(added),
            unchanged=_nonzero(unchanged),
            skipped=dict(loaded.skipped),
            ended_runs=loaded.ended_runs,
        )

    def _count_added(self, kind: str) -> int:
        """Return how many records of a kind were not in their place when the import began."""
        return self._counts[kind]["new"] + self._counts[kind]["staged"]


def _add_personal(new: Additions, there: PersonalRecord) -> PersonalRecord:
    if there.settings == PersonalSettings():
        for settings in new.personal_settings:
            there = replace(there, settings=settings)
    known = {each.text.casefold() for each in there.memories}
    memories = (each for each in new.memories if each.text.casefold() not in known)
    return replace(there, memories=(*there.memories, *memories)[:MAX_MEMORIES])


def _batch(kind: str, items: Sequence[Any]) -> ImportBatch:
    return ImportBatch(**{"uploads" if kind == "files" else kind: items})


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
