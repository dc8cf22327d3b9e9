"""Store that caches contexts and log tails in front of another store.

The cache is never the only copy, and never serves what is out of date:

- A thread's context is served if the inner store still has the version it was read at. Processes
  may share contexts.
- The newest events of a run are served from memory if this process wrote them, once they are
  stored. If there are none above the given number, the inner store is read, so that events of other
  processes are seen. Events never change, so a tail may be incomplete, never wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from antiphon.engine.context_window import EMPTY, Context, append_messages
from antiphon.engine.snapshot import ChangeSet, Claim, Committed, Decide, IdempotencyKey, ReadSet
from antiphon.engine.text_search import Phrase, TextMatches
from antiphon.engine.webhooks import Settlement
from antiphon.ports import (
    AmendAccount,
    AmendImport,
    AmendKey,
    AmendPersonal,
    AmendProject,
    AmendSchedule,
    AmendShare,
    AmendWebhook,
    BeforeCommit,
    Editable,
    FilterValue,
    FoundPage,
    OnCommit,
    RecordPage,
    Settle,
    Store,
    TagUse,
)
from antiphon.stores.cached.log_tails import LogTails, LruCache
from antiphon.stores.cached.shared import SharedContextCache
from antiphon.types import events
from antiphon.types.accounts import (
    Account,
    AuditEntry,
    Counter,
    CounterValue,
    Key,
    Person,
    Project,
    ProviderKey,
    UsageRow,
)
from antiphon.types.chat_imports import ImportClaim, StoredImport
from antiphon.types.documents import Document, DocumentClaim, DocumentFailure, DocumentPage
from antiphon.types.errors import Fenced, NotFound, TryAgain
from antiphon.types.events import EventPage
from antiphon.types.folders import Folder
from antiphon.types.imports import ImportBatch
from antiphon.types.messages import Feedback, Message, Upload
from antiphon.types.personal import PersonalRecord
from antiphon.types.runs import Assistant, LeaseInfo, Run, RunLease, Serves, Thread, serve_all
from antiphon.types.schedules import Schedule, StoredSchedule
from antiphon.types.shares import Share
from antiphon.types.webhooks import (
    DeliveryClaim,
    DeliveryStatus,
    StoredWebhook,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
)

T = TypeVar("T")

RUNS_DROPPED = 100  # of a deleted thread, one by one; of more, the tails of all runs
NO_CONTEXTS: Mapping[str, Context] = {}
LANDMARK_MEMORY_BYTES = 250  # about, with its numbers
MAX_APPENDED_CHARACTERS = 100_000  # of the messages of a change: they are encoded in a millisecond


class CachedStore:
    """Caches at most `max_bytes` of contexts, and as many of log tails of active runs.

    The least recently used entries are evicted first, tails of ended runs soon.
    """

    def __init__(
        self, inner: Store, shared: SharedContextCache | None = None, *, max_bytes: int = 64_000_000
    ) -> None:
        self._inner = inner
        self._shared = shared
        self._contexts: LruCache[Context] = LruCache(max_bytes)
        self._early: dict[str, Context] = {}  # by thread, of changes that are being committed
        self._tails = LogTails(max_bytes)

    # Transactions of runs

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        """See `RunStore.change`; `before_commit` is called if the context is known by then."""
        early: dict[str, Context] = {}  # that of the change's thread, if it was announced

        def extend_early(written: Committed) -> None:
            change = written.change
            if change is None or change.thread is None or before_commit is None:
                return
            context = self._find_extended(change.thread, change)
            if context is not None:
                early[change.thread.id] = context
                self._early |= early
                before_commit(written)

        try:
            committed = await self._inner.change(
                read_set, decide, None if before_commit is None else extend_early
            )
        except Fenced:
            self._tails.drop(read_set.run_id)
            raise
        finally:
            for thread_id in early:
                self._early.pop(thread_id, None)
        if committed.change is not None:
            self._apply_change(committed.change, early)
        return committed

    async def find_answer(self, once: IdempotencyKey) -> msgspec.Raw | None:
        """See `RunStore.find_answer`."""
        return await self._inner.find_answer(once)

    async def claim(
        self,
        decide: Decide,
        serves: Serves = serve_all,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        """See `RunStore.claim`."""
        claim = await self._inner.claim(decide, serves, declined)
        if claim is not None and claim.change is not None:
            self._apply_change(claim.change)
        return claim

    async def find_unclaimed_runs(
        self, serves: Serves, wanted_before: int, limit: int
    ) -> Sequence[str]:
        """See `RunStore.find_unclaimed_runs`."""
        return await self._inner.find_unclaimed_runs(serves, wanted_before, limit)

    async def renew_leases(self, epochs: Mapping[str, int], lease_ms: int) -> frozenset[str]:
        """See `RunStore.renew_leases`."""
        lost = await self._inner.renew_leases(epochs, lease_ms)
        for run_id in lost:
            self._tails.drop(run_id)
        return lost

    def append(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        on_commit: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        """See `RunStore.append`; the lines are cached before the callback is called."""

        def on_written(fault: Exception | None) -> None:
            if fault is None:
                self._tails.extend(run_id, first, lines, ended=False)
            else:
                self._tails.drop(run_id)
            on_commit(fault)

        self._inner.append(run_id, epoch, first, lines, on_written, urgent=urgent)

    async def overdue_runs(self, limit: int) -> Sequence[str]:
        """See `RunStore.overdue_runs`."""
        return await self._inner.overdue_runs(limit)

    async def leases(self, limit: int) -> Sequence[LeaseInfo]:
        """See `RunStore.leases`."""
        return await self._inner.leases(limit)

    async def delete_expired(self, events_before: int, keys_before: int) -> int:
        """See `RunStore.delete_expired`."""
        self._tails.clear()
        return await self._inner.delete_expired(events_before, keys_before)

    def _apply_change(self, change: ChangeSet, early: Mapping[str, Context] = NO_CONTEXTS) -> None:
        """Cache what was committed; `early` has the thread's context with it, if that is known."""
        if change.thread is not None:
            context = early.get(change.thread.id)
            context = context or self._find_extended(change.thread, change)
            self._contexts.drop(change.thread.id)
            if context is not None:
                self._contexts.put(change.thread.id, context, _weight(context))
        for update in change.run_updates:
            lines = [events.encode(event) for event in update.events]
            first = update.lease.last_event - len(lines) + 1
            self._tails.extend(update.run.id, first, lines, ended=update.run.status.ended)

    def _find_extended(self, thread: Thread, change: ChangeSet) -> Context | None:
        """Return the cached context with the change's messages; None if it must be read.

        The order of the messages is known only where no place before them is reserved for the
        output of a tool. Long messages are not encoded on the loop.
        """
        cached = self._contexts.get(thread.id)
        if cached is None and thread.version == 1:
            cached = EMPTY
        if (
            cached is None
            or cached.version + 1 != thread.version
            or change.keep_messages is not None
        ):
            return None
        numbers = [message.number for message in change.messages]
        first = cached.messages + 1
        if not numbers or numbers != [*range(first, thread.messages + 1)]:
            return None
        if sum(map(_length, change.messages)) > MAX_APPENDED_CHARACTERS:
            return None
        return append_messages(cached, change.messages, thread.version)

    # Reading

    async def read_events(self, run_id: str, after: int) -> EventPage:
        """See `RunStore.read_events`; events that this process wrote come from memory."""
        page = self.find_cached_events(run_id, after)
        return page or await self._inner.read_events(run_id, after)

    def find_cached_events(self, run_id: str, after: int) -> EventPage | None:
        """See `RunStore.find_cached_events`."""
        tail = self._tails.get(run_id)
        if tail is not None and (lines := tail.after(after)):
            return EventPage(after + 1, lines, tail.ended)
        return None

    async def context(
        self, thread_id: str, *, fresh: bool = False, version: int | None = None
    ) -> Context:
        """See `RunStore.context`; at most one cheap read if the cached context is current.

        The context of a change that is being committed is for the run that knows its version.
        """
        early = self._early.get(thread_id)
        if early is not None and early.version == version and not fresh:
            return early
        context = None if fresh else await self._find_current(thread_id, version)
        if context is None:
            context = await self._inner.context(thread_id, fresh=fresh)
            if self._shared is not None:
                self._shared.put_soon(thread_id, context, partial(self._is_deleted, thread_id))
        self._contexts.put(thread_id, context, _weight(context))
        return context

    async def _find_current(self, thread_id: str, version: int | None) -> Context | None:
        """Return the current context from this process's cache, else from the shared one."""
        cached = self._contexts.get(thread_id)
        if cached is not None and cached.version == version:
            return cached
        shared = None if self._shared is None or self._shared.is_suspended else self._shared
        if cached is None and shared is None:
            return None
        version = await self._inner.thread_version(thread_id)
        if cached is not None and cached.version == version:
            return cached
        return await shared.get(thread_id, version) if shared else None

    async def _is_deleted(self, thread_id: str) -> bool:
        """Return True if the thread is deleted, or may be."""
        try:
            await self._inner.thread_version(thread_id)
        except (NotFound, TryAgain):
            return True
        return False

    async def thread_version(self, thread_id: str) -> int:
        """See `RunStore.thread_version`."""
        return await self._inner.thread_version(thread_id)

    async def run_lease(self, run_id: str) -> RunLease:
        """See `RunStore.run_lease`."""
        return await self._inner.run_lease(run_id)

    async def run_leases(self, run_ids: Sequence[str]) -> Mapping[str, RunLease]:
        """See `RunStore.run_leases`."""
        return await self._inner.run_leases(run_ids)

    async def get(self, kind: type[T], owner: str | None, id: str) -> T:
        """See `RunStore.get`."""
        return await self._inner.get(kind, owner, id)

    async def call_ids(self, run_id: str) -> frozenset[str]:
        """See `RunStore.call_ids`."""
        return await self._inner.call_ids(run_id)

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
        return await self._inner.list(kind, owner, limit=limit, after=after, **where)

    async def count_tags(self, owner: str, limit: int, after: str) -> Sequence[TagUse]:
        """See `RunStore.count_tags`."""
        return await self._inner.count_tags(owner, limit, after)

    async def search(
        self, owner: str, phrases: Sequence[Phrase], *, limit: int, before: int | None = None
    ) -> TextMatches:
        """See `RunStore.search`."""
        return await self._inner.search(owner, phrases, limit=limit, before=before)

    async def index_text(self) -> bool:
        """See `RunStore.index_text`."""
        return await self._inner.index_text()

    async def content(
        self, owner: str | None, upload_id: str, start: int = 0, size: int | None = None
    ) -> bytes:
        """See `RunStore.content`."""
        return await self._inner.content(owner, upload_id, start, size)

    # Assistants, files and deletions

    async def put(
        self,
        owner: str,
        record: Assistant | Folder | Upload,
        once: IdempotencyKey | None = None,
        content: bytes | None = None,
    ) -> Any:
        """See `RunStore.put`."""
        return await self._inner.put(owner, record, once, content)

    async def update_record(
        self, kind: type[Editable], owner: str, id: str, change: Callable[[Editable], Editable]
    ) -> Editable:
        """See `RunStore.update_record`."""
        return await self._inner.update_record(kind, owner, id, change)

    async def save_feedback(
        self, owner: str, message_id: str, feedback: Feedback | None
    ) -> Message:
        """See `RunStore.save_feedback`; no cache holds ratings."""
        return await self._inner.save_feedback(owner, message_id, feedback)

    async def delete(self, kind: type[Any], owner: str | None, id: str) -> None:
        """See `RunStore.delete`; a deleted thread is dropped from the caches too."""
        runs = None
        if kind is Thread:
            runs = await self._inner.list(Run, owner, limit=RUNS_DROPPED, thread_id=id)
        await self._inner.delete(kind, owner, id)
        if runs is not None:
            self._contexts.drop(id)
            for run in runs.data:
                self._tails.drop(run.id)
            if runs.has_more:
                self._tails.clear()
            if self._shared is not None:
                await self._shared.drop(id)

    # Administration

    async def add_key(self, key: Key, digest: bytes, entry: AuditEntry | None = None) -> None:
        """See `AdminStore.add_key`."""
        await self._inner.add_key(key, digest, entry)

    async def find_key(self, prefix: str) -> tuple[Key, bytes] | None:
        """See `AdminStore.find_key`."""
        return await self._inner.find_key(prefix)

    async def keys(self) -> Sequence[Key]:
        """See `AdminStore.keys`."""
        return await self._inner.keys()

    async def change_key(
        self, key_id: str, amend: AmendKey, entry: AuditEntry | None = None
    ) -> Key:
        """See `AdminStore.change_key`."""
        return await self._inner.change_key(key_id, amend, entry)

    async def revoke_key(self, key_id: str, entry: AuditEntry | None = None) -> Key:
        """See `AdminStore.revoke_key`."""
        return await self._inner.revoke_key(key_id, entry)

    async def count_usage(self, counter: Counter, amount: int) -> CounterValue:
        """See `AdminStore.count_usage`."""
        return await self._inner.count_usage(counter, amount)

    async def add_person(self, account: Account, entry: AuditEntry | None = None) -> None:
        """See `AdminStore.add_person`."""
        await self._inner.add_person(account, entry)

    async def find_person(
        self, *, id: str | None = None, name: str | None = None, subject: str | None = None
    ) -> Account | None:
        """See `AdminStore.find_person`."""
        return await self._inner.find_person(id=id, name=name, subject=subject)

    async def people(self) -> Sequence[Person]:
        """See `AdminStore.people`."""
        return await self._inner.people()

    async def change_person(
        self, person_id: str, amend: AmendAccount, entry: AuditEntry | None = None
    ) -> Account | None:
        """See `AdminStore.change_person`."""
        return await self._inner.change_person(person_id, amend, entry)

    async def add_project(self, project: Project, entry: AuditEntry) -> None:
        """See `AdminStore.add_project`."""
        await self._inner.add_project(project, entry)

    async def projects(self) -> Sequence[Project]:
        """See `AdminStore.projects`."""
        return await self._inner.projects()

    async def change_project(
        self, id: str, amend: AmendProject, entry: AuditEntry
    ) -> Project | None:
        """See `AdminStore.change_project`."""
        return await self._inner.change_project(id, amend, entry)

    async def save_provider_key(
        self, key: ProviderKey, encrypted: bytes, entry: AuditEntry
    ) -> None:
        """See `AdminStore.save_provider_key`."""
        await self._inner.save_provider_key(key, encrypted, entry)

    async def provider_keys(self, owner: str | None) -> Sequence[ProviderKey]:
        """See `AdminStore.provider_keys`."""
        return await self._inner.provider_keys(owner)

    async def find_encrypted_key(self, owner: str, provider: str) -> bytes | None:
        """See `AdminStore.find_encrypted_key`."""
        return await self._inner.find_encrypted_key(owner, provider)

    async def replace_encrypted_key(
        self, owner: str, provider: str, before: bytes, encrypted: bytes, entry: AuditEntry
    ) -> bool:
        """See `AdminStore.replace_encrypted_key`."""
        return await self._inner.replace_encrypted_key(owner, provider, before, encrypted, entry)

    async def delete_provider_key(self, owner: str, provider: str, entry: AuditEntry) -> None:
        """See `AdminStore.delete_provider_key`."""
        await self._inner.delete_provider_key(owner, provider, entry)

    async def add_webhook(
        self, owner: str, webhook: Webhook, sealed: bytes, limit: int, entry: AuditEntry
    ) -> None:
        """See `WebhookStore.add_webhook`."""
        await self._inner.add_webhook(owner, webhook, sealed, limit, entry)

    async def webhooks(self, owner: str | None) -> Sequence[StoredWebhook]:
        """See `WebhookStore.webhooks`."""
        return await self._inner.webhooks(owner)

    async def find_webhook(self, owner: str, webhook_id: str) -> StoredWebhook:
        """See `WebhookStore.find_webhook`."""
        return await self._inner.find_webhook(owner, webhook_id)

    async def change_webhook(
        self, owner: str, webhook_id: str, amend: AmendWebhook, entry: AuditEntry
    ) -> Webhook | None:
        """See `WebhookStore.change_webhook`."""
        return await self._inner.change_webhook(owner, webhook_id, amend, entry)

    async def add_delivery(
        self, owner: str, webhook_id: str, event: WebhookEvent
    ) -> WebhookDelivery:
        """See `WebhookStore.add_delivery`."""
        return await self._inner.add_delivery(owner, webhook_id, event)

    async def deliveries(
        self,
        owner: str,
        webhook_id: str,
        limit: int,
        after: str | None = None,
        status: DeliveryStatus | None = None,
    ) -> RecordPage:
        """See `WebhookStore.deliveries`."""
        return await self._inner.deliveries(owner, webhook_id, limit, after, status)

    async def resend_delivery(self, owner: str, webhook_id: str, event_id: str) -> WebhookDelivery:
        """See `WebhookStore.resend_delivery`."""
        return await self._inner.resend_delivery(owner, webhook_id, event_id)

    async def has_due_deliveries(self) -> bool:
        """See `WebhookStore.has_due_deliveries`."""
        return await self._inner.has_due_deliveries()

    async def claim_deliveries(
        self, limit: int, failing: int, per_webhook: int, lease_ms: int
    ) -> Sequence[DeliveryClaim]:
        """See `WebhookStore.claim_deliveries`."""
        return await self._inner.claim_deliveries(limit, failing, per_webhook, lease_ms)

    async def settle_delivery(
        self, claim: DeliveryClaim, settle: Settle, entry: AuditEntry
    ) -> Settlement | None:
        """See `WebhookStore.settle_delivery`."""
        return await self._inner.settle_delivery(claim, settle, entry)

    async def delete_deliveries(self, before: int, limit: int) -> int:
        """See `WebhookStore.delete_deliveries`."""
        return await self._inner.delete_deliveries(before, limit)

    async def add_schedule(self, stored: StoredSchedule, limit: int, entry: AuditEntry) -> None:
        """See `ScheduleStore.add_schedule`."""
        await self._inner.add_schedule(stored, limit, entry)

    async def schedules(self, owner: str | None) -> Sequence[StoredSchedule]:
        """See `ScheduleStore.schedules`."""
        return await self._inner.schedules(owner)

    async def find_schedule(self, owner: str, schedule_id: str) -> StoredSchedule:
        """See `ScheduleStore.find_schedule`."""
        return await self._inner.find_schedule(owner, schedule_id)

    async def change_schedule(
        self, owner: str, schedule_id: str, amend: AmendSchedule, entry: AuditEntry
    ) -> Schedule | None:
        """See `ScheduleStore.change_schedule`."""
        return await self._inner.change_schedule(owner, schedule_id, amend, entry)

    async def due_schedules(self, limit: int, after: str = "") -> Sequence[StoredSchedule]:
        """See `ScheduleStore.due_schedules`."""
        return await self._inner.due_schedules(limit, after)

    async def next_schedule_time(self) -> int | None:
        """See `ScheduleStore.next_schedule_time`."""
        return await self._inner.next_schedule_time()

    async def occurrences(
        self, owner: str, schedule_id: str, limit: int, after: str | None = None
    ) -> RecordPage:
        """See `ScheduleStore.occurrences`."""
        return await self._inner.occurrences(owner, schedule_id, limit, after)

    async def delete_occurrences(self, before: int, limit: int) -> int:
        """See `ScheduleStore.delete_occurrences`."""
        return await self._inner.delete_occurrences(before, limit)

    async def personal(self, owner: str) -> PersonalRecord:
        """See `PersonalStore.personal`."""
        return await self._inner.personal(owner)

    async def change_personal(self, owner: str, amend: AmendPersonal) -> PersonalRecord:
        """See `PersonalStore.change_personal`."""
        return await self._inner.change_personal(owner, amend)

    async def add_chat_import(self, stored: StoredImport, keep: int) -> None:
        """See `ChatImportStore.add_chat_import`."""
        await self._inner.add_chat_import(stored, keep)

    async def chat_imports(self, owner: str) -> Sequence[StoredImport]:
        """See `ChatImportStore.chat_imports`."""
        return await self._inner.chat_imports(owner)

    async def due_chat_imports(self, now: int, limit: int) -> Sequence[StoredImport]:
        """See `ChatImportStore.due_chat_imports`."""
        return await self._inner.due_chat_imports(now, limit)

    async def find_chat_import(self, owner: str, import_id: str) -> StoredImport:
        """See `ChatImportStore.find_chat_import`."""
        return await self._inner.find_chat_import(owner, import_id)

    async def change_chat_import(
        self, owner: str, import_id: str, amend: AmendImport
    ) -> StoredImport:
        """See `ChatImportStore.change_chat_import`."""
        return await self._inner.change_chat_import(owner, import_id, amend)

    async def add_import_piece(
        self, owner: str, import_id: str, offset: int, content: bytes, amend: AmendImport
    ) -> StoredImport:
        """See `ChatImportStore.add_import_piece`."""
        return await self._inner.add_import_piece(owner, import_id, offset, content, amend)

    async def delete_import_pieces(self, import_id: str) -> int:
        """See `ChatImportStore.delete_import_pieces`."""
        return await self._inner.delete_import_pieces(import_id)

    async def import_piece(self, import_id: str, offset: int) -> bytes | None:
        """See `ChatImportStore.import_piece`."""
        return await self._inner.import_piece(import_id, offset)

    async def add_share(
        self,
        owner: str,
        share: Share,
        token_hash: bytes,
        snapshot: bytes,
        limit: int,
        entry: AuditEntry,
    ) -> None:
        """See `ShareStore.add_share`."""
        await self._inner.add_share(owner, share, token_hash, snapshot, limit, entry)

    async def shares(self, owner: str, thread_id: str | None = None) -> Sequence[Share]:
        """See `ShareStore.shares`."""
        return await self._inner.shares(owner, thread_id)

    async def find_share(self, owner: str, share_id: str) -> Share:
        """See `ShareStore.find_share`."""
        return await self._inner.find_share(owner, share_id)

    async def change_share(
        self, owner: str, share_id: str, amend: AmendShare, snapshot: bytes, entry: AuditEntry
    ) -> Share:
        """See `ShareStore.change_share`."""
        return await self._inner.change_share(owner, share_id, amend, snapshot, entry)

    async def delete_share(self, owner: str, share_id: str, entry: AuditEntry) -> None:
        """See `ShareStore.delete_share`."""
        await self._inner.delete_share(owner, share_id, entry)

    async def publish_assistant(
        self, owner: str, assistant_id: str, at: int | None, limit: int, entry: AuditEntry
    ) -> Assistant:
        """See `ShareStore.publish_assistant`."""
        return await self._inner.publish_assistant(owner, assistant_id, at, limit, entry)

    async def list_published_assistants(
        self, owner: str | None, limit: int, after: str | None = None
    ) -> RecordPage:
        """See `ShareStore.list_published_assistants`."""
        return await self._inner.list_published_assistants(owner, limit, after)

    async def open_share(self, token_hash: bytes) -> tuple[Share, bytes] | None:
        """See `ShareStore.open_share`."""
        return await self._inner.open_share(token_hash)

    async def delete_expired_shares(self, limit: int) -> int:
        """See `ShareStore.delete_expired_shares`."""
        return await self._inner.delete_expired_shares(limit)

    async def has_pending_documents(self) -> bool:
        """See `DocumentStore.has_pending_documents`."""
        return await self._inner.has_pending_documents()

    async def claim_document(self, lease_ms: int) -> DocumentClaim | None:
        """See `DocumentStore.claim_document`."""
        return await self._inner.claim_document(lease_ms)

    async def add_pages(self, claim: DocumentClaim, pages: Sequence[DocumentPage]) -> bool:
        """See `DocumentStore.add_pages`."""
        return await self._inner.add_pages(claim, pages)

    async def settle_document(self, claim: DocumentClaim, document: Document) -> bool:
        """See `DocumentStore.settle_document`."""
        return await self._inner.settle_document(claim, document)

    async def retry_documents(self, reasons: Sequence[DocumentFailure]) -> int:
        """See `DocumentStore.retry_documents`."""
        return await self._inner.retry_documents(reasons)

    async def documents(self, file_ids: Sequence[str]) -> Mapping[str, Document]:
        """See `DocumentStore.documents`."""
        return await self._inner.documents(file_ids)

    async def pages(self, file_id: str, limit: int, after: int = 0) -> RecordPage:
        """See `DocumentStore.pages`."""
        return await self._inner.pages(file_id, limit, after)

    async def search_pages(
        self,
        owner: str,
        phrases: Sequence[Phrase],
        *,
        limit: int,
        file_ids: Sequence[str] | None = None,
        any_phrase: bool = False,
    ) -> Sequence[FoundPage]:
        """See `DocumentStore.search_pages`."""
        return await self._inner.search_pages(
            owner, phrases, limit=limit, file_ids=file_ids, any_phrase=any_phrase
        )

    async def owners(
        self, limit: int, after: str | None = None, owner: str | None = None
    ) -> RecordPage:
        """See `AdminStore.owners`."""
        return await self._inner.owners(limit, after, owner)

    async def delete_owned(self, owner: str, limit: int, claim: ImportClaim | None = None) -> int:
        """See `AdminStore.delete_owned`; drops all entries, whose owners are not known."""
        erased = await self._inner.delete_owned(owner, limit, claim)
        self._contexts.clear()
        self._tails.clear()
        if self._shared is not None and not erased:  # nothing is left that could be shared again
            await self._shared.clear()
        return erased

    async def find_records(self, kind: type[T], ids: Sequence[str]) -> Mapping[str, tuple[str, T]]:
        """See `AdminStore.find_records`."""
        return await self._inner.find_records(kind, ids)

    async def thread_families(self, thread_ids: Sequence[str]) -> Mapping[str, str]:
        """See `AdminStore.thread_families`."""
        return await self._inner.thread_families(thread_ids)

    async def import_records(
        self, owner: str, batch: ImportBatch, claim: ImportClaim | None = None
    ) -> None:
        """See `AdminStore.import_records`; nothing here is known of what is new."""
        await self._inner.import_records(owner, batch, claim)

    async def transfer_owned(
        self, owner: str, to: str, limit: int, claim: ImportClaim | None = None
    ) -> int:
        """See `AdminStore.transfer_owned`; no copy here depends on the owner."""
        return await self._inner.transfer_owned(owner, to, limit, claim)

    async def finish_import(
        self, usage: Sequence[UsageRow], entries: Sequence[AuditEntry], entry: AuditEntry | None
    ) -> None:
        """See `AdminStore.finish_import`."""
        await self._inner.finish_import(usage, entries, entry)

    async def append_audit_entry(self, entry: AuditEntry) -> None:
        """See `AdminStore.append_audit_entry`."""
        await self._inner.append_audit_entry(entry)

    async def audit_entries(
        self, limit: int, after: str | None = None, owner: str | None = None
    ) -> RecordPage:
        """See `AdminStore.audit_entries`."""
        return await self._inner.audit_entries(limit, after, owner)

    async def live_runs(self, limit: int, after: str | None = None) -> RecordPage:
        """See `AdminStore.live_runs`."""
        return await self._inner.live_runs(limit, after)

    async def usage(self, since: str, limit: int, owner: str | None = None) -> Sequence[UsageRow]:
        """See `AdminStore.usage`."""
        return await self._inner.usage(since, limit, owner)

    async def installation_secret(self) -> bytes:
        """See `AdminStore.installation_secret`."""
        return await self._inner.installation_secret()

    async def now(self) -> int:
        """See `RunStore.now`."""
        return await self._inner.now()

    async def check(self) -> None:
        """See `Store.check`."""
        await self._inner.check()

    async def close(self) -> None:
        """Close the shared cache and the inner store."""
        if self._shared is not None:
            await self._shared.close()
        await self._inner.close()


def _length(message: Message) -> int:
    """Return about how many characters the message has."""
    arguments = sum(len(call.arguments) for call in message.tool_calls)
    return len(message.text) + arguments + len(message.reasoning or "")


def _weight(context: Context) -> int:
    return len(context.chat) + LANDMARK_MEMORY_BYTES * len(context.landmarks)
