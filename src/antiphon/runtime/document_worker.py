"""Reads the text of files that were added, in every process that has a worker.

The store is the queue. A file is claimed under a lease that is longer than its reading may take, so
a process that dies delays it. One file is read at a time, in a process of its own.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from antiphon.documents.process import FileContent
from antiphon.documents.reader import ReadEnd
from antiphon.ports import DOCUMENTS, Bus, DocumentStores
from antiphon.runtime.loops import BackgroundLoops
from antiphon.runtime.stored_files import read_pieces
from antiphon.telemetry.metrics import DOCUMENTS_READ, Metrics
from antiphon.types import errors
from antiphon.types.documents import Document, DocumentClaim, DocumentFailure, DocumentPage
from antiphon.types.messages import Upload

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds between looks at the store without a notification."""
LEASE_MARGIN = 60.0
"""Seconds that a lease is longer than a reading: a busy process must still store its end."""
MAX_ATTEMPTS = 3
"""Readings of one file: a process that died might have died of it."""
BATCH_TEXT = 60_000
"""Characters of the pages that are stored in one transaction, about."""

_EXTRA_MODULES = ("pypdfium2", "docx", "openpyxl", "pptx")


class DocumentParser(Protocol):
    """Reads a file within `seconds`; with a program for pictures if there is one."""

    seconds: int
    tesseract: str | None

    def read(self, file: FileContent) -> AsyncGenerator[DocumentPage | ReadEnd, None]:
        """Yield the pages and then the end."""
        ...


class DocumentWorker:
    """Claims files whose text is not read, reads them, and stores their pages."""

    def __init__(
        self,
        store: DocumentStores,
        bus: Bus,
        reader: DocumentParser,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._loops = BackgroundLoops(bus)
        self._reader = reader
        self._lease_ms = int((reader.seconds + LEASE_MARGIN) * 1000)
        self._metrics = metrics or Metrics()
        self._retried = False

    def start(self) -> None:
        """Start to read; a second call does nothing."""
        if not self._loops.started:
            self._loops.start("documents", self._read_all, topic=DOCUMENTS)

    async def stop(self) -> None:
        """Stop at once. The file that is being read is read again when its lease has ended."""
        await self._loops.stop()

    async def read_next(self) -> bool:
        """Read the file that has waited longest; return False if none waits."""
        if not await self._store.has_pending_documents():
            return False
        claim = await self._store.claim_document(self._lease_ms)
        if claim is None:
            return False
        began = time.monotonic()
        try:
            document = await self._read(claim)
        except errors.NotFound:  # deleted meanwhile
            return True
        if await self._store.settle_document(claim, document):
            outcome = document.reason or document.status
            self._metrics.observe(DOCUMENTS_READ, time.monotonic() - began, outcome)
            level = logging.INFO if document.status == "ready" else logging.WARNING
            log.log(level, "text of %s: %s, %d pages", claim.upload_id, outcome, document.pages)
        return True

    async def retry_failed(self) -> int:
        """Make files pending again that another process could not read, and this one can."""
        reasons: list[DocumentFailure] = []
        if all(importlib.util.find_spec(name) for name in _EXTRA_MODULES):
            reasons.append("no_extra")
        if self._reader.tesseract is not None:
            reasons.append("no_ocr")
        return await self._store.retry_documents(reasons) if reasons else 0

    async def _read_all(self) -> float:
        if not self._retried:
            await self.retry_failed()
            self._retried = True
        while await self.read_next():
            pass
        return PATIENCE

    async def _read(self, claim: DocumentClaim) -> Document:
        """Read a file and store its pages; return its state. Raises `NotFound` if it is gone."""
        if claim.attempt > MAX_ATTEMPTS:
            return Document(status="failed", reason="too_slow")
        upload = await self._store.get(Upload, claim.owner, claim.upload_id)
        count = 0
        waiting: list[DocumentPage] = []
        pieces = read_pieces(self._store, claim.owner, upload)
        file = FileContent(upload.name, upload.media_type, pieces)
        async with aclosing(self._reader.read(file)) as found:
            async for item in found:
                if isinstance(item, ReadEnd):
                    await self._add(claim, waiting)
                    if item.reason is not None:
                        return Document(status="failed", pages=count, reason=item.reason)
                    return Document(status="ready", pages=count, cut=item.cut)
                count += 1
                waiting.append(item)
                if sum(len(page.text) for page in waiting) >= BATCH_TEXT or len(waiting) >= 100:
                    await self._add(claim, waiting)
                    waiting = []
        return Document(status="failed", pages=count, reason="damaged")

    async def _add(self, claim: DocumentClaim, pages: Sequence[DocumentPage]) -> None:
        if pages and not await self._store.add_pages(claim, pages):
            raise errors.NotFound(
                f"The file {claim.upload_id} is gone, or another process reads it."
            )
