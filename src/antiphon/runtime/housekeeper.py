"""Deletes what has expired, and fills the index of texts of messages that are not in it."""

from __future__ import annotations

from contextlib import suppress

from antiphon.engine import transitions
from antiphon.engine.snapshot import ReadSet
from antiphon.ports import LEASES, Bus, RunStore
from antiphon.runtime.loops import BackgroundLoops
from antiphon.runtime.notify import commit_in_parts
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.ids import Mint
from antiphon.types.messages import Upload
from antiphon.types.runs import Run, Thread

DELETE_SECONDS = 600.0  # between deletions
PAGE = 100  # threads or files that are read at once, shares that are deleted at once
INDEX_SECONDS = 5.0  # between looks for text that is not in the index
INDEX_PAUSE_SECONDS = 0.05  # between batches of it
KEYS_KEPT = 2 * 86_400.0  # seconds an idempotency key is stored; 24 h are promised


class Housekeeper:
    """Deletes expired events, idempotency keys, temporary threads, files and shares."""

    def __init__(self, store: RunStore, bus: Bus, settings: Settings, mint: Mint) -> None:
        self._store = store
        self._bus = bus
        self._mint = mint
        self._event_ms = int(settings.event_retention * 1000)
        self._temporary_ms = int(settings.temporary_retention * 1000)
        self._loops = BackgroundLoops(bus)

    def start(self) -> None:
        """Start to delete and to index; a second call does nothing."""
        if not self._loops.started:
            self._loops.start("expired data", self.delete_expired)
            self._loops.start("index of texts", self.index_text)

    async def stop(self) -> None:
        """Stop at once."""
        await self._loops.stop()

    async def delete_expired(self) -> float:
        """Delete what has expired; return the seconds until the next time."""
        now = await self._store.now()
        await self._store.delete_expired(now - self._event_ms, now - int(KEYS_KEPT * 1000))
        await self._delete_temporary_threads(now - self._temporary_ms)
        await self._delete_expired_files(now)
        while await self._store.delete_expired_shares(PAGE):
            pass
        return DELETE_SECONDS

    async def _delete_expired_files(self, now: int) -> None:
        while True:
            page = await self._store.list(Upload, None, limit=PAGE, expires_before=now)
            for upload in page.data:
                with suppress(errors.NotFound):
                    await self._store.delete(Upload, None, upload.id)
            if not page.has_more:
                return

    async def _delete_temporary_threads(self, changed_before: int) -> None:
        """Delete temporary threads without a later change, and cancel their active runs first.

        A run that has ended counts in the usage of its owner, whose records stay.
        """
        after = None
        while True:
            page = await self._store.list(
                Thread,
                None,
                limit=PAGE,
                after=after,
                temporary=True,
                created_before=changed_before,
            )
            for thread in page.data:
                if thread.updated_at < changed_before:
                    await self._delete_temporary_thread(thread)
            if not page.has_more or not page.data:
                return
            after = page.data[-1].id

    async def _delete_temporary_thread(self, thread: Thread) -> None:
        with suppress(errors.NotFound):
            for run in (await self._store.list(Run, None, limit=1, thread_id=thread.id)).data:
                if not run.status.ended:
                    await commit_in_parts(
                        self._store,
                        self._bus,
                        ReadSet(owner=None, run_id=run.id, turn_log=True, what="cancel"),
                        lambda records: transitions.cancel(records, self._mint),
                    )
            await self._store.delete(Thread, None, thread.id)
            self._bus.notify(LEASES)

    async def index_text(self) -> float:
        """Index a batch of old messages; return the seconds until the next one."""
        if not await self._store.index_text():
            return INDEX_SECONDS
        return INDEX_PAUSE_SECONDS
