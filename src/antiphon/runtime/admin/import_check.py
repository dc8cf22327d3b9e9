"""Comparison of an archive with what the owner has, before an import writes anything."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import asdict, replace

from antiphon.ports import Store
from antiphon.runtime.admin.archive import ArchivedRun, FileRecord, renew
from antiphon.runtime.admin.archive_reader import ArchiveReader
from antiphon.stores.spool import Record, Spool, State
from antiphon.types.accounts import AuditEntry, UsageRow
from antiphon.types.errors import Conflict, InvalidRequest
from antiphon.types.folders import MAX_FOLDERS, Folder
from antiphon.types.messages import Message, Upload
from antiphon.types.personal import MAX_MEMORIES, Memory, PersonalSettings
from antiphon.types.runs import Action, Assistant, Run, Thread
from antiphon.types.schedules import Schedule

T = TypeVar("T")

PAGE = 200  # records that are looked up at once
CONTENT_BYTES = 1_000_000  # of a file that are compared at once
MAX_USAGE = 1_000_000
NAMED = 10  # conflicts that the error names

KINDS: Mapping[str, type[Any]] = {
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


class ImportStep(NamedTuple):
    """Progress: `done` of `of`, in bytes while it is read and in records then."""

    doing: str
    what: str
    done: int
    of: int


OnImportStep = Callable[[ImportStep], None]
"""Called with each step, in the event loop's thread or in another one; must not raise."""


def ignore_step(step: ImportStep) -> None:
    """Ignore the step."""


class Additions(NamedTuple):
    """Additions of an import beside its records: what the owner does not have yet.

    `personal_settings` has one item, or none if the owner wrote some here.
    """

    schedules: Sequence[Schedule]
    memories: Sequence[Memory]
    personal_settings: Sequence[PersonalSettings]
    usage: Sequence[UsageRow]
    audit: Sequence[AuditEntry]


class ImportCheck:
    """Compares the archive in a spool with what the owner has, and what a broken import wrote.

    Records of the import that was broken off belong to `staging`.
    """

    def __init__(
        self,
        store: Store,
        archive: ArchiveReader,
        spool: Spool,
        *,
        owner: str,
        staging: str,
        on_step: OnImportStep,
        max_schedules: int,
    ) -> None:
        self._store = store
        self._archive = archive
        self._spool = spool
        self._owner = owner
        self._staging = staging
        self._on_step = on_step
        self._max_schedules = max_schedules
        self._conflicts: list[str] = []
        self._conflict_count = 0
        self._used_id = self._missing_id = ""  # an instance of each, with the reason

    async def run(self, secret: bytes) -> Additions:
        """Note in the spool of each record whether it is there; return what is new beside them.

        `secret` is that of the installation. Raises `Conflict` where something else is in the place
        of a record, and `InvalidRequest` where the owner would have too much.
        """
        counts = await asyncio.to_thread(self._spool.counts)
        of = sum(counts[kind].total() for kind in KINDS)
        done = 0
        for kind in KINDS:
            async with aclosing(read_pages(self._spool, kind)) as pages:
                async for page in pages:
                    states = await self._compare(kind, page)
                    await asyncio.to_thread(self._spool.set_states, states)
                    done += len(page)
                    self._on_step(ImportStep("checking", "records", done, of))
        schedules = await self._find_new_schedules()
        memories, personal_settings = await self._find_new_personal()
        await self._check_folders()
        if self._conflict_count:
            raise self._conflict_error()
        usage = await self._find_new_usage()
        entries: list[AuditEntry] = []
        async with aclosing(read_pages(self._spool, "audit", reverse=True)) as pages:
            async for page in pages:
                entries += await self._lacking_entries(page, secret)
        return Additions(schedules, memories, personal_settings, usage, entries)

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

    async def _find_new_personal(self) -> tuple[Sequence[Memory], Sequence[PersonalSettings]]:
        """Return the memories that are not there, and the settings if none were written here.

        A memory whose text is there counts as there. Raises `InvalidRequest` if the owner would
        have too many.
        """
        there = await self._store.personal(self._owner)
        ids = {each.id for each in there.memories}
        texts = {each.text.casefold() for each in there.memories}
        new: list[Memory] = []
        async for memory in self._decode_all("memories", Memory):
            if memory.id not in ids and memory.text.casefold() not in texts:
                texts.add(memory.text.casefold())
                new.append(memory)
        count = len(there.memories) + len(new)
        if new and count > MAX_MEMORIES:
            raise InvalidRequest(
                f"{self._owner} would have too many memories.",
                expected=f"at most {MAX_MEMORIES}, with those of the import",
                received=f"{count}",
                hint="Delete some.",
            )
        if there.settings != PersonalSettings():
            return new[::-1], ()
        settings = self._decode_all("personal_settings", PersonalSettings)
        return new[::-1], [each async for each in settings]

    async def _compare(self, kind: str, page: Sequence[Record]) -> dict[int, State]:
        found = await self._store.find_records(KINDS[kind], [each.id for each in page])
        parents: Mapping[str, State] = {}
        if kind in _PARENTS:
            ids = list({each.parent for each in page if each.parent})
            parents = await asyncio.to_thread(self._spool.states, _PARENTS[kind], ids)
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
                    self._refuse(kind, record.id, f"is missing in {record.parent}", is_missing=True)
            elif there[0] not in (self._owner, self._staging):
                self._refuse(kind, record.id, "belongs to another owner")
            elif not await self._is_same(kind, record, there[1]):
                self._refuse(kind, record.id, "has other content")
            else:
                states[record.seq] = "staged" if there[0] == self._staging else "present"
        return states

    async def _is_same(self, kind: str, record: Record, there: Any) -> bool:
        """Return whether what is there is what the archive has, as it came or as it was ended."""
        docs = [doc for doc in (record.doc, record.before) if doc is not None]
        known = [decode_stored(kind, doc) for doc in docs]
        if there not in known:
            return False
        if kind == "files":
            return await self._has_same_bytes(record, there)
        return True

    async def _has_same_bytes(self, record: Record, upload: Upload) -> bool:
        content = await asyncio.to_thread(self._archive.content, str(record.parent))
        for start in range(0, upload.size, CONTENT_BYTES):
            part = await self._store.content(None, upload.id, start, CONTENT_BYTES)
            if part != content[start : start + CONTENT_BYTES]:
                return False
        return True

    def _conflict_error(self) -> Conflict:
        count = self._conflict_count
        records, ids = ("record", "its id is") if count == 1 else ("records", "their ids are")
        why = f"{ids} used already" if self._used_id else "what held them here lacks them now"
        return Conflict(
            f"{count:,} {records} cannot be imported, because {why}, for instance"
            f" {self._used_id or self._missing_id}.",
            hint="With --new-ids everything is imported under new ids.",
            conflicts=list(self._conflicts),
        )

    def _refuse(self, kind: str, record_id: str, why: str, *, is_missing: bool = False) -> None:
        instance = f"{record_id}, which {why}"
        if is_missing:
            self._missing_id = self._missing_id or instance
        else:
            self._used_id = self._used_id or instance
        self._conflict_count += 1
        if len(self._conflicts) < NAMED:
            self._conflicts.append(f"{kind}: {record_id} {why}")

    async def _find_new_usage(self) -> Sequence[UsageRow]:
        known = {
            (row.day, row.model): row for row in await self._store.usage("", MAX_USAGE, self._owner)
        }
        return [
            row
            async for row in self._decode_all("usage", UsageRow)
            if _exceeds(row, known.get((row.day, row.model)))
        ]

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
        async with aclosing(read_pages(self._spool, kind)) as pages:
            async for page in pages:
                for each in page:
                    yield msgspec.json.decode(each.doc, type=type)


async def read_pages(
    spool: Spool, kind: str, *, reverse: bool = False
) -> AsyncGenerator[Sequence[Record], None]:
    """Yield the records of a kind, as they came or in the other direction."""
    after: int | None = None
    while page := await asyncio.to_thread(spool.page, kind, after, PAGE, reverse=reverse):
        yield page
        after = page[-1].seq


def decode_stored(kind: str, doc: bytes) -> Any:
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
            return msgspec.json.decode(doc, type=KINDS[kind])


def _exceeds(row: UsageRow, known: UsageRow | None) -> bool:
    """Return whether a number of the row is larger than the one that is there."""
    return known is None or any(
        getattr(row, name) > getattr(known, name)
        for name in row.__struct_fields__
        if name not in ("day", "owner", "model")
    )
