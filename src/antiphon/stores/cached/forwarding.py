"""Store that passes every call to another one, for stores that change some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from antiphon.engine.context_window import Context
from antiphon.engine.snapshot import Claim, Committed, Decide, IdempotencyKey, ReadSet
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
from antiphon.types.events import EventPage
from antiphon.types.folders import Folder
from antiphon.types.imports import ImportBatch
from antiphon.types.messages import Feedback, Message, Upload
from antiphon.types.personal import PersonalRecord
from antiphon.types.runs import Assistant, LeaseInfo, RunLease, Serves, serve_all
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


class ForwardingStore:
    """Passes every call to `inner`."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    # Transactions of runs

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        """See `RunStore.change`."""
        return await self._inner.change(read_set, decide, before_commit)

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
        return await self._inner.claim(decide, serves, declined)

    async def find_unclaimed_runs(
        self, serves: Serves, wanted_before: int, limit: int
    ) -> Sequence[str]:
        """See `RunStore.find_unclaimed_runs`."""
        return await self._inner.find_unclaimed_runs(serves, wanted_before, limit)

    async def renew_leases(self, epochs: Mapping[str, int], lease_ms: int) -> frozenset[str]:
        """See `RunStore.renew_leases`."""
        return await self._inner.renew_leases(epochs, lease_ms)

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
        """See `RunStore.append`."""
        self._inner.append(run_id, epoch, first, lines, on_commit, urgent=urgent)

    async def overdue_runs(self, limit: int) -> Sequence[str]:
        """See `RunStore.overdue_runs`."""
        return await self._inner.overdue_runs(limit)

    async def leases(self, limit: int) -> Sequence[LeaseInfo]:
        """See `RunStore.leases`."""
        return await self._inner.leases(limit)

    async def delete_expired(self, events_before: int, keys_before: int) -> int:
        """See `RunStore.delete_expired`."""
        return await self._inner.delete_expired(events_before, keys_before)

    # Reading

    async def read_events(self, run_id: str, after: int) -> EventPage:
        """See `RunStore.read_events`."""
        return await self._inner.read_events(run_id, after)

    def find_cached_events(self, run_id: str, after: int) -> EventPage | None:
        """See `RunStore.find_cached_events`."""
        return self._inner.find_cached_events(run_id, after)

    async def context(
        self, thread_id: str, *, fresh: bool = False, version: int | None = None
    ) -> Context:
        """See `RunStore.context`."""
        return await self._inner.context(thread_id, fresh=fresh, version=version)

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
        """See `RunStore.save_feedback`."""
        return await self._inner.save_feedback(owner, message_id, feedback)

    async def delete(self, kind: type[Any], owner: str | None, id: str) -> None:
        """See `RunStore.delete`."""
        await self._inner.delete(kind, owner, id)

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

    # Webhooks

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

    # Schedules

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

    # What is personal

    async def personal(self, owner: str) -> PersonalRecord:
        """See `PersonalStore.personal`."""
        return await self._inner.personal(owner)

    async def change_personal(self, owner: str, amend: AmendPersonal) -> PersonalRecord:
        """See `PersonalStore.change_personal`."""
        return await self._inner.change_personal(owner, amend)

    # Imports of chats

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

    async def delete_chat_import(self, owner: str, import_id: str) -> None:
        """See `ChatImportStore.delete_chat_import`."""
        await self._inner.delete_chat_import(owner, import_id)

    async def delete_import_pieces(self, import_id: str) -> int:
        """See `ChatImportStore.delete_import_pieces`."""
        return await self._inner.delete_import_pieces(import_id)

    async def import_piece(self, import_id: str, offset: int) -> bytes | None:
        """See `ChatImportStore.import_piece`."""
        return await self._inner.import_piece(import_id, offset)

    # Shares and published assistants

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

    # Documents

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

    # Owners and their imports

    async def owners(
        self, limit: int, after: str | None = None, owner: str | None = None
    ) -> RecordPage:
        """See `AdminStore.owners`."""
        return await self._inner.owners(limit, after, owner)

    async def delete_owned(self, owner: str, limit: int, claim: ImportClaim | None = None) -> int:
        """See `AdminStore.delete_owned`."""
        return await self._inner.delete_owned(owner, limit, claim)

    async def find_records(self, kind: type[T], ids: Sequence[str]) -> Mapping[str, tuple[str, T]]:
        """See `AdminStore.find_records`."""
        return await self._inner.find_records(kind, ids)

    async def thread_families(self, thread_ids: Sequence[str]) -> Mapping[str, str]:
        """See `AdminStore.thread_families`."""
        return await self._inner.thread_families(thread_ids)

    async def import_records(
        self, owner: str, batch: ImportBatch, claim: ImportClaim | None = None
    ) -> None:
        """See `AdminStore.import_records`."""
        await self._inner.import_records(owner, batch, claim)

    async def transfer_owned(
        self, owner: str, to: str, limit: int, claim: ImportClaim | None = None
    ) -> int:
        """See `AdminStore.transfer_owned`."""
        return await self._inner.transfer_owned(owner, to, limit, claim)

    async def finish_import(
        self, usage: Sequence[UsageRow], entries: Sequence[AuditEntry], entry: AuditEntry | None
    ) -> None:
        """See `AdminStore.finish_import`."""
        await self._inner.finish_import(usage, entries, entry)

    # Audit, usage and the installation

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
        """See `Store.close`."""
        await self._inner.close()
