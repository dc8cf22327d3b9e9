"""Exports everything of an owner: a zip of JSON lines and of the uploaded files.

The store is read page by page and sent on at once, so that an owner may have any amount of data.
The archive is no snapshot: what is written meanwhile may be in it or not.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, Any, NamedTuple, TypeVar
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec
from msgspec.structs import asdict

from antiphon.ports import RecordPage, Store
from antiphon.runtime.admin import audit
from antiphon.runtime.admin.archive import (
    FILES,
    FORM,
    MANIFEST,
    ArchivedRun,
    EventsRecord,
    FileRecord,
    Manifest,
    ThreadRecord,
    member,
)
from antiphon.types.accounts import AuditEntry, Key, Principal, ProviderKey, UsageRow
from antiphon.types.errors import Conflict, EventExpired, NotFound
from antiphon.types.folders import Folder
from antiphon.types.ids import Mint
from antiphon.types.messages import Message, Upload
from antiphon.types.personal import Memory, PersonalSettings
from antiphon.types.runs import Action, Assistant, Run, Thread
from antiphon.types.schedules import Occurrence, Schedule
from antiphon.types.webhooks import Webhook, WebhookDelivery

# The zip stream: an archive that is sent while it is written.


class ZipStream:
    """Writes a zip archive entry by entry; `take` returns the finished bytes.

    Every entry has the time `made`, and is readable only by its owner when it is unpacked.
    """

    def __init__(self, made: datetime) -> None:
        self._made = made.timetuple()[:6]
        self._ready = _PieceBuffer()
        self._zip = ZipFile(self._ready, "w", ZIP_DEFLATED)

    @contextmanager
    def entry(self, name: str) -> Generator[IO[bytes]]:
        """Open a new entry, to which any number of bytes may be written."""
        about = ZipInfo(name, self._made)
        about.compress_type = ZIP_DEFLATED
        about.external_attr = 0o600 << 16
        with self._zip.open(about, "w", force_zip64=True) as entry:
            yield entry

    def take(self) -> bytes:
        """Return the bytes written since the last call."""
        return self._ready.take()

    def close(self) -> bytes:
        """Return the last bytes: the list of all entries."""
        self._zip.close()
        return self._ready.take()


class _PieceBuffer:
    """A write-only file; `take` empties it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def take(self) -> bytes:
        ready = b"".join(self._pieces)
        self._pieces.clear()
        return ready


# The export.


T = TypeVar("T")

PAGE_BYTES = 1_000_000  # about as much of a list is in memory at once
FIRST_PAGE = 10  # records in the first page, before their size is known
MAX_PAGE = 200
REMEMBERED = 1_000  # ids of exported records: the last one may be deleted meanwhile
MAX_LINES = 10_000  # events in one record
MAX_NAME_LENGTH = 100
MAX_USAGE = 1_000_000  # rows: ten models a day for centuries
TRIES = 5  # to read a run and its log's end while both change

_THREADS = ThreadPoolExecutor(2, "antiphon export")
"""Threads for compression, so that archives do not delay sign-ins and probes."""

_encode = msgspec.json.Encoder().encode
_UNSAFE = re.compile(r"[^\w .()+-]")


class Archive(NamedTuple):
    """An archive's file name, and its pieces, which are produced while they are read."""

    name: str
    pieces: AsyncGenerator[bytes, None]


class OwnerExporter:
    """Creates the archives of owners, and audits each export."""

    def __init__(self, store: Store, mint: Mint) -> None:
        self._store = store
        self._mint = mint

    async def begin(self, owner: str, by: Principal) -> Archive:
        """Start an export of the owner. Raises `NotFound` where the owner has nothing."""
        if not (await self._store.owners(1, owner=owner)).data:
            raise NotFound(f"There is nothing of the owner {owner!r}.")
        entry = await audit.create_entry(
            self._store, self._mint, by, "owner.exported", owner, owner
        )
        await self._store.append_audit_entry(entry)
        return Archive(file_name(owner, entry.at), _Export(self._store, owner, entry.at).pieces())


def file_name(owner: str, now: int) -> str:
    """Return the archive's name: `antiphon-local-2026-11-21.zip`."""
    day = datetime.fromtimestamp(now / 1000, UTC).date().isoformat()
    return f"antiphon-{re.sub(r'[^A-Za-z0-9_-]', '_', owner)}-{day}.zip"


class _Export:
    """One export in progress."""

    def __init__(self, store: Store, owner: str, now: int) -> None:
        self._store = store
        self._owner = owner
        self._now = now
        self._zip = ZipStream(datetime.fromtimestamp(now / 1000, UTC))
        self._counts: Counter[str] = Counter()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the archive."""
        for kind, records in (
            ("assistants", self._every(Assistant)),
            ("folders", self._every(Folder)),
            ("threads", self._threads()),
            ("messages", self._messages()),
            ("runs", self._runs()),
            ("events", self._events()),
            ("actions", self._actions()),
            ("files", self._uploads()),
            ("personal_settings", self._personal_settings()),
            ("memories", self._memories()),
            ("usage", self._usage()),
            ("audit", self._audit()),
            ("keys", self._keys()),
            ("provider_keys", self._provider_keys()),
            ("webhooks", self._webhooks()),
            ("webhook_deliveries", self._deliveries()),
            ("schedules", self._schedules()),
            ("occurrences", self._occurrences()),
        ):
            async for piece in self._entry(member(kind), self._lines(kind, records)):
                yield piece
        async for piece in self._contents():
            yield piece
        manifest = Manifest(FORM, self._owner, self._now, self._counts)
        text = msgspec.json.format(_encode(manifest), indent=2) + b"\n"
        async for piece in self._entry(MANIFEST, _whole(text)):  # the last shows completeness
            yield piece
        yield self._zip.close()

    async def _entry(
        self, name: str, parts: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        """Yield the finished bytes of the archive while a file is written into it."""
        with self._zip.entry(name) as entry:
            async with aclosing(parts):
                async for part in parts:
                    loop = asyncio.get_running_loop()
                    await loop.run_in_executor(_THREADS, entry.write, part)  # it is compressed
                    if ready := self._zip.take():
                        yield ready

    async def _lines(
        self, name: str, things: AsyncGenerator[Any, None]
    ) -> AsyncGenerator[bytes, None]:
        """Yield records as JSON lines, several at a time."""
        lines = bytearray()
        async with aclosing(things):
            async for thing in things:
                lines += _encode(thing) + b"\n"
                self._counts[name] += 1
                if len(lines) >= PAGE_BYTES:
                    yield bytes(lines)
                    lines.clear()
        yield bytes(lines)

    async def _contents(self) -> AsyncGenerator[bytes, None]:
        """Yield the uploaded files."""
        async for upload in self._every(Upload):
            try:
                content = await self._store.content(self._owner, upload.id)
            except NotFound:  # deleted meanwhile
                continue
            async for piece in self._entry(_place(upload), _whole(content)):
                yield piece

    # Records.

    async def _threads(self) -> AsyncGenerator[Thread, None]:
        """Yield each thread, with its family where that is another thread's."""
        async for page in self._pages(Thread):
            families = await self._store.thread_families([thread.id for thread in page])
            for thread in page:
                family = families.get(thread.id)
                yield ThreadRecord(**asdict(thread), family=family) if family else thread

    async def _messages(self) -> AsyncGenerator[Message, None]:
        async for thread in self._every(Thread):
            async for message in self._every(Message, thread_id=thread.id):
                yield message

    async def _runs(self) -> AsyncGenerator[ArchivedRun, None]:
        """Yield each run with how far its log goes."""
        async for run in self._every(Run):
            with suppress(NotFound):  # deleted meanwhile
                yield await self._run_record(run)

    async def _run_record(self, run: Run) -> ArchivedRun:
        """Return a run and its log's end as they were at one moment."""
        lease = await self._store.run_lease(run.id)
        for _ in range(TRIES):
            if run.status.ended:
                break
            before, run = run, await self._store.get(Run, self._owner, run.id)
            if run == before:
                break
            lease = await self._store.run_lease(run.id)
        return ArchivedRun(run, lease.kept_after, lease.last_event)

    async def _events(self) -> AsyncGenerator[EventsRecord, None]:
        """Yield the events of each run that are still stored."""
        async for run in self._every(Run):
            with suppress(NotFound, EventExpired):  # deleted or forgotten meanwhile
                after, more = (await self._store.run_lease(run.id)).kept_after, True
                while more:
                    page = await self._store.read_events(run.id, after)
                    for first, lines in _parts(page.first, page.lines):
                        yield EventsRecord(run.id, first, tuple(map(msgspec.Raw, lines)))
                    after += len(page.lines)
                    more = page.more

    async def _actions(self) -> AsyncGenerator[Action, None]:
        async for run in self._every(Run):
            async for action in self._every(Action, run_id=run.id):
                yield action

    async def _uploads(self) -> AsyncGenerator[FileRecord, None]:
        """Yield each upload with its path in the archive."""
        async for upload in self._every(Upload):
            yield FileRecord(**asdict(upload), place=_place(upload))

    async def _personal_settings(self) -> AsyncGenerator[PersonalSettings, None]:
        settings = (await self._store.personal(self._owner)).settings
        if settings != PersonalSettings():
            yield settings

    async def _memories(self) -> AsyncGenerator[Memory, None]:
        for memory in reversed((await self._store.personal(self._owner)).memories):
            yield memory

    async def _usage(self) -> AsyncGenerator[UsageRow, None]:
        for row in await self._store.usage("", MAX_USAGE, self._owner):
            yield row

    async def _audit(self) -> AsyncGenerator[AuditEntry, None]:
        """Yield the audit entries about the owner."""
        after, more = None, True
        while more:
            page = await self._store.audit_entries(MAX_PAGE, after, self._owner)
            for entry in page.data:
                yield entry
            more = page.has_more
            after = page.data[-1].id if page.data else None

    async def _keys(self) -> AsyncGenerator[Key, None]:
        """Yield the keys, without their secrets, which are not stored."""
        for key in await self._store.keys():
            if key.owner == self._owner:
                yield key

    async def _provider_keys(self) -> AsyncGenerator[ProviderKey, None]:
        for key in await self._store.provider_keys(self._owner):
            yield key

    async def _webhooks(self) -> AsyncGenerator[Webhook, None]:
        """Yield the webhooks, without their secrets."""
        for stored in await self._store.webhooks(self._owner):
            yield stored.webhook

    async def _deliveries(self) -> AsyncGenerator[WebhookDelivery, None]:
        async for webhook in self._webhooks():
            after, more = None, True
            with suppress(NotFound):  # deleted meanwhile
                while more:
                    page = await self._store.deliveries(self._owner, webhook.id, MAX_PAGE, after)
                    for delivery in page.data:
                        yield delivery
                    more = page.has_more
                    after = page.data[-1].id if page.data else None

    async def _schedules(self) -> AsyncGenerator[Schedule, None]:
        for stored in await self._store.schedules(self._owner):
            yield stored.schedule

    async def _occurrences(self) -> AsyncGenerator[Occurrence, None]:
        async for schedule in self._schedules():
            after, more = None, True
            with suppress(NotFound):  # deleted meanwhile
                while more:
                    page = await self._store.occurrences(self._owner, schedule.id, MAX_PAGE, after)
                    for occurrence in page.data:
                        yield occurrence
                    more = page.has_more
                    after = page.data[-1].id if page.data else None

    async def _every(self, kind: type[T], **where: str) -> AsyncGenerator[T, None]:
        """Yield all records of a kind."""
        async for page in self._pages(kind, **where):
            for record in page:
                yield record

    async def _pages(self, kind: type[T], **where: str) -> AsyncGenerator[Sequence[T], None]:
        """Yield all records of a kind in pages of about `PAGE_BYTES`."""
        limit, seen = FIRST_PAGE, deque[str](maxlen=REMEMBERED)
        more = True
        while more:
            page = await self._page(kind, limit, seen, where)
            yield page.data
            seen.extend(thing.id for thing in page.data)
            size = sum(len(_encode(thing)) for thing in page.data)
            limit = max(1, min(MAX_PAGE, limit * PAGE_BYTES // max(size, 1)))
            more = page.has_more

    async def _page(
        self, kind: type[Any], limit: int, seen: Sequence[str], where: Mapping[str, str]
    ) -> RecordPage:
        """Return the page after the last record seen that was not deleted meanwhile."""
        for after in (*reversed(seen), None)[: len(seen) or 1]:
            try:
                return await self._store.list(kind, self._owner, limit=limit, after=after, **where)
            except NotFound:
                continue
        raise Conflict("What is to be exported is being deleted.", hint="Begin anew.")


def _parts(first: int, lines: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Yield the lines in parts of about `PAGE_BYTES`, each with the number of its first line."""
    start = size = 0
    for end, line in enumerate(lines, 1):
        size += len(line)
        if size >= PAGE_BYTES or end - start == MAX_LINES or end == len(lines):
            yield first + start, lines[start:end]
            start, size = end, 0


async def _whole(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


def _place(upload: Upload) -> str:
    """Return a file's path in the archive, which is harmless wherever it is unpacked."""
    name = _UNSAFE.sub("_", upload.name)[-MAX_NAME_LENGTH:].strip(". ")
    return f"{FILES}{upload.id}-{name or 'file'}"
