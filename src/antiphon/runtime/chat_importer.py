"""Reads uploaded exports of other chats and imports them, in every process that has a worker.

The store is the queue, and has the files in pieces, so that any server can go on with an import. It
is claimed under a lease that its worker renews; a worker that dies delays it. A process works on
one import at a time. Nothing is visible before an import is complete (`OwnerImporter`), and ids
follow from the export, so an import that is read again adds nothing twice. A process of its own
reads the export, which may be hostile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from functools import partial
from tempfile import TemporaryFile
from typing import IO

import msgspec

from antiphon.api.operations import ImportOwner
from antiphon.engine import chat_imports
from antiphon.engine.chat_imports import ImportCancelled, ImportLost
from antiphon.ports import CHAT_IMPORTS, Bus, Store
from antiphon.runtime.admin.import_check import ImportStep
from antiphon.runtime.admin.import_owner import ImportGuard, OwnerImporter
from antiphon.runtime.imports.conversion import (
    IMPORTED_FROM,
    SOURCES,
    ConversionRequest,
    Converted,
)
from antiphon.runtime.imports.process import Convert, convert_in_process
from antiphon.runtime.loops import BackgroundLoops
from antiphon.types import errors
from antiphon.types.accounts import AuditEntry, Principal
from antiphon.types.chat_imports import (
    ENDED,
    WORKING,
    FoundChats,
    ImportClaim,
    ImportStatus,
    StoredImport,
)
from antiphon.types.runs import Fault, Thread

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds between looks at the store without a notification."""
REPORT_SECONDS = 1.0
"""Seconds between reports of progress."""
CONVERSION_SECONDS = 600
"""Time that the conversion of one export may take."""
RELEASE_SECONDS = 5.0
"""Time in which a worker that stops hands its import over."""
MAX_DUE = 20
"""Due imports that are read from the store at once."""
UNPACKED = 8
"""Times the largest upload that an export may have unpacked."""
PAGE = 200
_EXHAUSTED = (
    f"The import was begun {chat_imports.MAX_ATTEMPTS} times, and its server ended each time. "
    "Import a part of the conversations at a time; the logs of the servers have the reason."
)
KNOWN_PLACE = -1
"""Place, among the pieces of a file, of the ids of threads that were there before."""


class ChatImporter:
    """Claims imports of chats whose file has arrived, and checks or writes them."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        importer: OwnerImporter,
        *,
        name: str,
        max_upload: int,
        convert: Convert = convert_in_process,
    ) -> None:
        self._store = store
        self._loops = BackgroundLoops(bus)
        self._importer = importer
        self._name = name
        self._max_total = UNPACKED * max_upload
        self._convert = convert

    def start(self) -> None:
        """Start to import; a second call does nothing."""
        if not self._loops.started:
            self._loops.start("imports of chats", self._import_all, topic=CHAT_IMPORTS)

    async def stop(self) -> None:
        """Stop at once. Another worker goes on."""
        await self._loops.stop()

    async def import_next(self) -> bool:
        """Check or write the import that has been due for longest; return False if none is."""
        now = await self._store.now()
        due = await self._store.due_chat_imports(now, MAX_DUE)
        for stored in due:
            try:
                claimed = await self._claim(stored, now)
            except (ImportLost, errors.NotFound):
                continue
            if claimed is not None:
                work = _Work(claimed, self._store, self._importer, self._convert, self._max_total)
                await work.run()
                return True
        return len(due) == MAX_DUE

    async def _claim(self, stored: StoredImport, now: int) -> StoredImport | None:
        """Claim an import; or cancel one that its owner has left, delete its file, return None.

        Raises `ImportLost` and `NotFound`.
        """
        change = partial(self._store.change_chat_import, stored.owner, stored.record.id)
        if stored.record.status in WORKING:
            return await change(partial(chat_imports.claim_import, worker=self._name, now=now))
        if stored.record.status not in ENDED:
            await change(partial(chat_imports.cancel_abandoned, now=now))
        while await self._store.delete_import_pieces(stored.record.id):
            pass  # in short transactions: a file may have hundreds of MB
        await change(chat_imports.forget_file)
        return None

    async def _import_all(self) -> float:
        while await self.import_next():
            pass
        return PATIENCE


class _Work:
    """The work of one claim: reads the file, and writes it if the import was started."""

    def __init__(
        self,
        stored: StoredImport,
        store: Store,
        importer: OwnerImporter,
        convert: Convert,
        max_total: int,
    ) -> None:
        self._stored = stored
        self._store = store
        self._importer = importer
        self._convert_export = convert
        self._max_total = max_total
        self._progress = ImportStep("reading", "bytes", 0, 2 * stored.record.size)

    async def run(self) -> None:
        """Do the work, and report about it every second. Raises `TryAgain`."""
        try:
            if chat_imports.is_exhausted(self._stored) and not self._stored.transferring:
                await self._end("failed", Fault("internal", _EXHAUSTED))
            else:
                await self._run_and_settle()
        except (errors.TryAgain, asyncio.CancelledError):  # no fault of the file
            # The next worker goes on at once, which it else does when the lease has ended.
            with suppress(ImportLost, errors.NotFound, errors.TryAgain, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._change(chat_imports.release_import)
            raise

    async def _run_and_settle(self) -> None:
        with TemporaryFile() as archive:  # without a name, so that it is gone with this process
            work = asyncio.create_task(self._check_or_write(archive))
            try:
                await self._watch(work)
                await self._settle("completed")
            except (ImportCancelled, errors.NotFound):  # or its owner was erased
                await self._end("cancelled", work=work)
            except (ImportLost, errors.Fenced):
                log.info("import %s is another worker's by now", self._stored.record.id)
            except errors.TryAgain:
                raise
            except Exception as fault:
                if isinstance(fault, errors.CallerError) and not self._stored.transferring:
                    expected = fault.details.get("expected")
                    words = f"{fault.message} Expected: {expected}." if expected else fault.message
                    await self._end("failed", Fault(fault.code, words), work)
                    return
                log.exception("an import of chats failed")
                if self._stored.transferring:
                    return  # a part may be the owner's; the rest follows when the claim has ended
                words = "The server failed at this file. Its log has the reason."
                await self._end("failed", Fault("internal", words), work)
            finally:
                await self._stop(work)

    async def _watch(self, work: asyncio.Task[None]) -> None:
        """Wait for the end of the work, and raise what it raises. Raises `ImportCancelled`."""
        while not work.done():
            await asyncio.wait([work], timeout=REPORT_SECONDS)
            if work.done():
                break
            stored = await self._report_progress()
            if stored.cancel and not self._stored.cancel:
                raise ImportCancelled
        await work

    async def _check_or_write(self, archive: IO[bytes]) -> None:
        owner, claim = self._stored.owner, self._claim()
        if self._stored.transferring:  # its worker died before everything was the owner's
            stored = self._stored
            await self._importer.transfer(stored.staging, owner, claim, stored.entry)
            return
        if self._stored.cancel:  # its worker died before it could delete what it had written
            raise ImportCancelled
        known = await self._find_known(owner)
        converted = await self._convert(archive, known)
        found = FoundChats(
            conversations=converted.conversations,
            versions=converted.threads - converted.conversations,
            messages=converted.messages,
            files=converted.files,
            present=converted.present,
            skipped=converted.skipped,
        )
        self._stored = await self._change(
            partial(chat_imports.settle_check, found=found, source=converted.source)
        )
        if self._stored.cancel:
            raise ImportCancelled
        if self._stored.record.status == "importing" and converted.conversations:
            by = Principal(owner=owner, key_id=self._stored.key_id, actor=self._stored.actor)
            guard = ImportGuard(claim, self._begin_writing, self._begin_transfer)
            await self._importer.run(
                ImportOwner(owner=owner), archive, by, self._set_progress, guard
            )

    async def _read_upload(self) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of the upload."""
        record, place = self._stored.record, 0
        while place < record.size:
            piece = await self._store.import_piece(record.id, place)
            if piece is None:
                raise errors.InvalidRequest(
                    "The file of the import is not complete.", hint="Import it again."
                )
            yield piece
            place += len(piece)
            self._progress = ImportStep("reading", "bytes", place, 2 * record.size)

    async def _find_known(self, owner: str) -> set[str]:
        """Return the threads that were imported before this import was checked.

        They are stored beside the pieces: where a worker died while conversations were given to the
        owner, the next one must make the same archive.
        """
        record, known = self._stored.record, set[str]()
        stored = await self._store.import_piece(record.id, KNOWN_PLACE)
        if stored is not None:
            return msgspec.json.decode(stored, type=set[str])
        for source in SOURCES:
            after, more = None, True
            while more:
                page = await self._store.list(
                    Thread, owner, limit=PAGE, after=after, metadata={IMPORTED_FROM: source}
                )
                known |= {thread.id for thread in page.data}
                more, after = page.has_more, page.data[-1].id if page.data else None
        now, step = await self._store.now(), self._progress
        amend = partial(
            chat_imports.report_progress,
            worker=self._stored.worker,
            now=now,
            step=step.doing,
            done=step.done,
            of=step.of,
        )
        await self._store.add_import_piece(
            owner, record.id, KNOWN_PLACE, msgspec.json.encode(sorted(known)), amend
        )
        return known

    async def _convert(self, archive: IO[bytes], known: set[str]) -> Converted:
        record, read = self._stored.record, 0

        def advance(size: int) -> None:
            nonlocal read
            read += size
            done = record.size + min(read, record.size)
            self._progress = ImportStep("reading", "bytes", done, 2 * record.size)

        request = ConversionRequest(
            owner=self._stored.owner,
            source=record.source,
            known=sorted(known),
            max_total=self._max_total,
            seconds=CONVERSION_SECONDS,
        )
        async with aclosing(self._read_upload()) as export:
            return await self._convert_export(request, export, archive, advance)

    def _set_progress(self, step: ImportStep) -> None:
        self._progress = step

    async def _settle(self, status: ImportStatus, problem: Fault | None = None) -> None:
        if status == "completed" and self._stored.record.status != "importing":
            return  # it waits to be started
        try:
            await self._change(partial(chat_imports.settle_import, status=status, problem=problem))
        except (ImportLost, errors.NotFound):
            log.info("import %s was ended elsewhere", self._stored.record.id)

    async def _begin_writing(self, staging: str) -> None:
        """Store the owner of what is written, so that it is deleted whatever happens."""
        if self._stored.staging not in ("", staging):  # a server of another version made another
            await self._importer.discard(self._stored.staging, self._claim())
        self._stored = await self._change(partial(chat_imports.begin_writing, staging=staging))

    async def _begin_transfer(self, entry: AuditEntry) -> None:
        """Note that the import cannot be cancelled any more. Raises `ImportCancelled`."""
        self._stored = await self._change(partial(chat_imports.begin_transfer, entry=entry))

    async def _end(
        self,
        status: ImportStatus,
        problem: Fault | None = None,
        work: asyncio.Task[None] | None = None,
    ) -> None:
        """Stop the work, delete what it wrote and did not transfer, and settle the import.

        An import that another worker has by now is left to it.
        """
        if work is not None:
            await self._stop(work)
        try:
            if self._stored.staging:
                await self._discard()
        except (ImportLost, errors.Fenced, errors.NotFound):
            log.info("import %s is another worker's by now", self._stored.record.id)
        else:
            await self._settle(status, problem)

    async def _discard(self) -> None:
        """Delete what is in staging, and keep the claim meanwhile.

        Raises `ImportLost`, `Fenced` and `NotFound`.
        """
        discard = self._importer.discard(self._stored.staging, self._claim())
        work = asyncio.create_task(discard)
        try:
            while not work.done():
                await asyncio.wait([work], timeout=REPORT_SECONDS)
                if not work.done():
                    await self._report_progress()
            await work
        finally:
            await self._stop(work)

    async def _stop(self, work: asyncio.Task[None]) -> None:
        if not work.done():
            work.cancel()
            await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # it was raised already, or is of no interest any more

    def _claim(self) -> ImportClaim:
        return ImportClaim(self._stored.owner, self._stored.record.id, self._stored.worker)

    async def _report_progress(self) -> StoredImport:
        """Report how far the work is, and renew the lease. Raises `ImportLost`, `NotFound`."""
        step = self._progress
        return await self._change(
            partial(chat_imports.report_progress, step=step.doing, done=step.done, of=step.of)
        )

    async def _change(self, amend: Callable[..., StoredImport]) -> StoredImport:
        """Change the import, as long as this worker has it. Raises `ImportLost`, `NotFound`."""
        now = await self._store.now()
        bound = partial(amend, worker=self._stored.worker, now=now)
        return await self._store.change_chat_import(
            self._stored.owner, self._stored.record.id, bound
        )
