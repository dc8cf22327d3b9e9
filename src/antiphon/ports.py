"""The ports: Provider, the seven of a store, Bus, Toolbox.

An adapter behind a port can be exchanged. Every implementation of a port passes the same
conformance file in `tests/`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from antiphon.engine.context_window import Context
from antiphon.engine.snapshot import (
    Claim,
    Committed,
    Decide,
    IdempotencyKey,
    ReadSet,
)
from antiphon.engine.text_search import Phrase, TextMatches
from antiphon.engine.webhooks import Settlement
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
from antiphon.types.chunks import Chunk, ModelRequest
from antiphon.types.documents import Document, DocumentClaim, DocumentFailure, DocumentPage
from antiphon.types.events import EventPage
from antiphon.types.folders import Folder
from antiphon.types.imports import ImportBatch
from antiphon.types.messages import (
    Feedback,
    Message,
    Progress,
    Tool,
    ToolCall,
    ToolResult,
    Upload,
)
from antiphon.types.personal import Personal
from antiphon.types.runs import (
    Assistant,
    Deadlines,
    Destination,
    LeaseInfo,
    RunLease,
    Serves,
    serve_all,
)
from antiphon.types.schedules import Schedule, StoredSchedule
from antiphon.types.shares import Share
from antiphon.types.webhooks import (
    DeliveryClaim,
    DeliveryOutcome,
    DeliveryStatus,
    StoredWebhook,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
)

T = TypeVar("T")
Editable = TypeVar("Editable", Assistant, Folder)


TakeNow = Callable[[Sequence[Chunk]], bool]
"""Takes chunks of a reply at once; returns False if they must be yielded instead."""


def take_none(chunks: Sequence[Chunk]) -> bool:
    """Take nothing: all chunks are yielded."""
    return False


class Provider(Protocol):
    """Streams one reply as chunks and translates every foreign error.

    Never retries after the first chunk.
    """

    def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Yield the reply's chunks as they arrive, in lists; an empty list is a sign of life.

        Chunks that arrive while the caller waits may go to `take_now`, which wakes no task. Those
        that it does not take are yielded. What it raises is raised here.

        A `Finish` marks the end; without one the reply counts as cut. Raises only `ProviderError`
        and `Cut`. Closing the generator closes the connection.
        """
        ...

    async def models(self) -> Sequence[str]:
        """Return the names of the models; empty if the provider has no list."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class ResolvedModel(msgspec.Struct, frozen=True, kw_only=True):
    """The provider that a model's name resolves to, and the terms of its use.

    `provider` knows the model as `model`; `name` is the provider's name. `deadlines` are the
    provider's own, where it has any. `lacks` lists what a run cannot ask of it: settings, values of
    settings (`tool_choice.required`), and `tools`, `images` and `files`. `destination` is where the
    text of its runs is sent.
    """

    provider: Provider
    model: str
    name: str = ""
    deadlines: Deadlines = Deadlines()
    lacks: frozenset[str] = frozenset()
    destination: Destination | None = None


OnCommit = Callable[[Exception | None], None]
"""Called on the event loop with None once events are stored, or with the error that prevents it.

It must not raise.
"""


AmendAccount = Callable[[Account, bool], Account | None]
"""Pure function from an account, and whether another administrator exists, to the new account.

None removes the account.
"""


AmendKey = Callable[[Key], Key]
"""Pure function from a key to the new key."""

AmendProject = Callable[[Project], Project | None]
"""Pure function from a project to the new project; None removes it."""


FilterValue = str | bool | int | Sequence[str] | Mapping[str, str] | None
"""Value of one filter of a list of records; None matches everything."""


class RecordPage(msgspec.Struct, frozen=True):
    """One page of a list, and whether there is more."""

    data: Sequence[Any]
    has_more: bool


class TagUse(NamedTuple):
    """A tag with the numbers of families of threads that have it: not archived, and archived."""

    tag: str
    listed: int
    archived: int


class FoundPage(NamedTuple):
    """A page of a file that a search found."""

    file_id: str
    page: DocumentPage


class RunStore(Protocol):
    """Stores threads and folders, messages, runs and their events, actions, assistants and files.

    Each method is one transaction; a failure leaves nothing behind. Every write of a running turn
    carries the run's epoch and raises `Fenced` when the run has another epoch by now. Events are
    numbered 1, 2, 3 ... in a run and never change. Time is the store's clock. A method raises
    `Unavailable` when the store cannot be reached.
    """

    async def change(self, read_set: ReadSet, decide: Decide) -> Committed:
        """Read the records, decide, and write the change in one transaction.

        If the idempotency key was used before with the same digest, nothing is decided and the
        answer is the stored one, as `msgspec.Raw`; with another digest `IdempotencyConflict` is
        raised. A status or an epoch cannot change in between, and a thread cannot get a second
        active run.
        The growth of a run's usage is counted as tokens of the key that the run was started with,
        if that key has a token limit at that time.
        """
        ...

    async def find_answer(self, once: IdempotencyKey) -> msgspec.Raw | None:
        """Return the answer stored under this key, if any: a cheap check before a change.

        Raises `IdempotencyConflict` for another digest, and `NotFound` where the object of the
        answer was deleted, as `change` does.
        """
        ...

    async def claim(
        self,
        decide: Decide,
        serves: Serves = serve_all,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        """Claim the run that has waited longest, if one is queued and no worker holds it.

        Only runs are considered whose `RunLease.destination` is served, and none whose id is in
        `declined`.
        """
        ...

    async def find_unclaimed_runs(
        self, serves: Serves, wanted_before: int, limit: int
    ) -> Sequence[str]:
        """Return ids of runs that have waited for a worker since before `wanted_before` (ms).

        The longest wait comes first. Runs whose destination is served are left out.
        """
        ...

    async def renew_leases(self, epochs: Mapping[str, int], lease_ms: int) -> frozenset[str]:
        """Renew the leases of these runs (id to epoch); return the ids whose lease was lost."""
        ...

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
        """Append encoded events, the first of them numbered `first`; return at once.

        The appends of all runs are written in one transaction every few milliseconds; `urgent` does
        not wait. This is the port's only hot method, so it takes a callback and returns no future.
        """
        ...

    async def read_events(self, run_id: str, after: int) -> EventPage:
        """Return some or all events above `after`. Raises `NotFound` and `EventExpired`."""
        ...

    def find_cached_events(self, run_id: str, after: int) -> EventPage | None:
        """Return stored events above `after` if they are in memory; None if they must be read."""
        ...

    async def context(
        self, thread_id: str, *, fresh: bool = False, version: int | None = None
    ) -> Context:
        """Return the thread as a model gets it; `fresh` bypasses caches. Raises `NotFound`.

        `version` is the thread's version where the caller knows that it still is: a cached context
        of that version needs no read.
        """
        ...

    async def thread_version(self, thread_id: str) -> int:
        """Return the thread's version: one cheap read that validates a cached context."""
        ...

    async def overdue_runs(self, limit: int) -> Sequence[str]:
        """Return ids of runs whose lease, actions or rest have expired."""
        ...

    async def leases(self, limit: int) -> Sequence[LeaseInfo]:
        """Return the leases of runs, expired ones too, in no order."""
        ...

    async def delete_expired(self, events_before: int, keys_before: int) -> int:
        """Delete events of ended runs and idempotency keys older than these times (ms)."""
        ...

    async def delete_expired_shares(self, limit: int) -> int:
        """Delete up to `limit` shares that have expired; return how many."""
        ...

    async def run_lease(self, run_id: str) -> RunLease:
        """Return the run's lease and the state of its log. Raises `NotFound`."""
        ...

    async def run_leases(self, run_ids: Sequence[str]) -> Mapping[str, RunLease]:
        """Return the leases of these runs by id, without runs that do not exist."""
        ...

    async def call_ids(self, run_id: str) -> frozenset[str]:
        """Return the ids of all tool calls of the run; empty where there is no such run."""
        ...

    async def get(self, kind: type[T], owner: str | None, id: str) -> T:
        """Return the Assistant, Folder, Thread, Message, Run, Action or Upload.

        Raises `NotFound`.
        """
        ...

    async def list(
        self,
        kind: type[Any],
        owner: str | None,
        *,
        limit: int,
        after: str | None = None,
        **where: FilterValue,
    ) -> RecordPage:
        """Return a page of records after the one with id `after`.

        Assistants, folders, threads, runs and uploads are listed newest first, messages and actions
        oldest first; `order` of `newest` or `oldest` says otherwise. A page holds about 2 MB at
        most, but at least one item, and then says that there is more. Raises `NotFound` for an
        unknown `after`, and `Overloaded` where a filter takes too long.

        `where`: `thread_id` (Message, Run, Action), `run_id` (Message, Action), `status` (Run,
        Action), `role` (Message), `parent_id` (Thread), `query` (Thread: its title or one of its
        messages contains these words, as `parse_query` reads them; one that was never indexed is
        not found). `metadata` has these pairs, and perhaps others (Thread, Message, Run; of an
        Action that of its run). `assistant_id` and `model` are those of the run (Run, Action).
        `name` is this name (Assistant) or one of these (Action). `created_after` and
        `created_before` are times in ms.
        `pinned`, `archived` and `temporary` (Thread). `tag` is one of its tags, `folder_id` the
        folder that it is in, or `NO_FOLDER` for those in none (Thread).
        `rating` is `up`, `down`, or `any` of both (Message).
        `purpose`, and `expires_before` in ms (Upload).
        `claimable_at` selects actions that a worker may claim at that time (Action).

        Threads only: `order` of `activity` lists the last changed first; `after` is then the cursor
        of a `Position`, else `NotFound` is raised. `family` is the id of a thread and selects all
        threads that replaced each other together with it. `branches` of `latest` omits threads
        without messages, and of each family all but the last changed that the query finds. A thread
        joins the family of the thread that its metadata says it replaces, and leaves it when the
        metadata names another or none; deleting a thread of a family leaves the others together.
        """
        ...

    async def count_tags(self, owner: str, limit: int, after: str) -> Sequence[TagUse]:
        """Return the tags above `after` of the owner's threads, ordered by their characters.

        Temporary threads do not count, and a family counts once. Raises `Overloaded` if it takes
        too long.
        """
        ...

    async def search(
        self, owner: str, phrases: Sequence[Phrase], *, limit: int, before: int | None = None
    ) -> TextMatches:
        """Return the newest messages that contain all phrases, with places below `before`.

        Without `before` also the threads with such a title, the newest `limit` of them. The
        messages of one answer have about 1 MB at most, but there is at least one. Nothing is found
        without a phrase.
        """
        ...

    async def index_text(self) -> bool:
        """Index some of the text that is in the store but not in its index, the newest first.

        Text of a version without an index, and text that has changed its owner. Returns False if
        there is none.
        """
        ...

    async def put(
        self,
        owner: str,
        record: Assistant | Folder | Upload,
        once: IdempotencyKey | None = None,
        content: bytes | None = None,
    ) -> Any:
        """Add an assistant or a folder, or an upload with its content; the caller sets the times.

        Returns the record, or the stored answer as `change` does. Raises `Conflict` for one folder
        more than `MAX_FOLDERS` of an owner.
        """
        ...

    async def update_record(
        self, kind: type[Editable], owner: str, id: str, change: Callable[[Editable], Editable]
    ) -> Editable:
        """Replace the record by the result of `change`, a pure function of the current one.

        Returns the new record. An exception changes nothing and is raised. Raises `NotFound`.
        """
        ...

    async def save_feedback(
        self, owner: str, message_id: str, feedback: Feedback | None
    ) -> Message:
        """Save the rating of a message, None to remove it; return the message.

        The thread keeps its version and the time of its last change. Raises `NotFound`.
        """
        ...

    async def content(
        self, owner: str | None, upload_id: str, start: int = 0, size: int | None = None
    ) -> bytes:
        """Return at most `size` bytes of an upload from `start` on. Raises `NotFound`."""
        ...

    async def delete(self, kind: type[Any], owner: str | None, id: str) -> None:
        """Delete an assistant, a folder, a file, or a thread with everything in it.

        The threads of a folder must have been taken out of it. Raises `NotFound`.

        An `owner` of None deletes that of any owner.
        """
        ...

    async def now(self) -> int:
        """Return the store's time, ms since 1970."""
        ...


class AdminStore(Protocol):
    """Stores keys, people, projects, what owners have and use, and the audit log.

    Each method is one transaction; a failure leaves nothing behind. An audit entry is stored with
    the change that it describes or not at all; it is not stored where nothing changed. A method
    raises `Unavailable` when the store cannot be reached.
    """

    async def add_key(self, key: Key, digest: bytes, entry: AuditEntry | None = None) -> None:
        """Add an API key, stored as the keyed hash of its secret.

        Raises `Conflict` where its owner is a disabled project.
        """
        ...

    async def find_key(self, prefix: str) -> tuple[Key, bytes] | None:
        """Return the key with this prefix, revoked or not, and its hash."""
        ...

    async def keys(self) -> Sequence[Key]:
        """Return all keys, oldest first."""
        ...

    async def change_key(
        self, key_id: str, amend: AmendKey, entry: AuditEntry | None = None
    ) -> Key:
        """Replace the key by the result of `amend`. Raises `NotFound`."""
        ...

    async def revoke_key(self, key_id: str, entry: AuditEntry | None = None) -> Key:
        """Revoke the key. Raises `NotFound`."""
        ...

    async def count_usage(self, counter: Counter, amount: int) -> CounterValue:
        """Add to the key's usage in the current period; usage of earlier periods is dropped.

        A crash of the machine may lose it.
        """
        ...

    async def add_person(self, account: Account, entry: AuditEntry | None = None) -> None:
        """Add a person. Raises `Conflict` where another person has the name or the subject."""
        ...

    async def find_person(
        self, *, id: str | None = None, name: str | None = None, subject: str | None = None
    ) -> Account | None:
        """Return the account with this id, this name in any case, or this subject."""
        ...

    async def people(self) -> Sequence[Person]:
        """Return all people, oldest first."""
        ...

    async def change_person(
        self, person_id: str, amend: AmendAccount, entry: AuditEntry | None = None
    ) -> Account | None:
        """Replace the account by the result of `amend`; an exception changes nothing and is raised.

        When a person is removed or disabled, their keys are revoked in the same transaction, those
        for other owners too. Raises `NotFound`, and `Conflict` as `add_person` does.
        """
        ...

    async def add_project(self, project: Project, entry: AuditEntry) -> None:
        """Add a project. Raises `Conflict` where another project has the name, in any case."""
        ...

    async def projects(self) -> Sequence[Project]:
        """Return all projects, oldest first."""
        ...

    async def change_project(
        self, id: str, amend: AmendProject, entry: AuditEntry
    ) -> Project | None:
        """Replace the project by the result of `amend`; an exception changes nothing and is raised.

        When a project is removed or disabled, its keys are revoked in the same transaction. Raises
        `NotFound`, and `Conflict` as `add_project` does.
        """
        ...

    async def save_provider_key(
        self, key: ProviderKey, encrypted: bytes, entry: AuditEntry
    ) -> None:
        """Store an owner's encrypted key for a provider in place of the previous one."""
        ...

    async def provider_keys(self, owner: str | None) -> Sequence[ProviderKey]:
        """Return the keys of an owner, or all, sorted by owner and provider."""
        ...

    async def find_encrypted_key(self, owner: str, provider: str) -> bytes | None:
        """Return the owner's encrypted key for the provider."""
        ...

    async def replace_encrypted_key(
        self, owner: str, provider: str, before: bytes, encrypted: bytes, entry: AuditEntry
    ) -> bool:
        """Replace the encrypted key if it is still `before`; return whether it was."""
        ...

    async def delete_provider_key(self, owner: str, provider: str, entry: AuditEntry) -> None:
        """Delete an owner's key for a provider. Raises `NotFound`."""
        ...

    async def owners(
        self, limit: int, after: str | None = None, owner: str | None = None
    ) -> RecordPage:
        """Return the `OwnerTotals` of each owner who has something.

        That is threads, files, assistants, provider keys, webhooks, schedules, or what is personal.
        Sorted by owner, from after `after`, which need not exist; `owner` selects that one.
        """
        ...

    async def delete_owned(self, owner: str, limit: int) -> int:
        """Delete about `limit` things of an owner and return how many; 0 when nothing is left.

        Everything is deleted but the audit log. Keys are revoked and lose their name, but stay,
        because the existence of a key is what requires one.
        """
        ...

    async def live_runs(self, limit: int, after: str | None = None) -> RecordPage:
        """Return pairs of owner and run for all active runs, newest first, as `list` does."""
        ...

    async def usage(self, since: str, limit: int, owner: str | None = None) -> Sequence[UsageRow]:
        """Return usage from the day `since` on (`2026-11-21`, UTC), latest day first.

        A run counts once, on the day it ended, and keeps counting after its thread is deleted.
        """
        ...

    async def append_audit_entry(self, entry: AuditEntry) -> None:
        """Append an audit entry that belongs to no other write."""
        ...

    async def audit_entries(
        self, limit: int, after: str | None = None, owner: str | None = None
    ) -> RecordPage:
        """Return audit entries, newest first, as `list` does; all, or those about `owner`."""
        ...

    async def find_records(self, kind: type[T], ids: Sequence[str]) -> Mapping[str, tuple[str, T]]:
        """Return the owner and the record of each of these ids that exists, of any owner.

        `kind` is one of `get`, or `AuditEntry`, whose owner may be "".
        """
        ...

    async def thread_families(self, thread_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the family of each of these threads that is in another one's family."""
        ...

    async def import_records(self, owner: str, batch: ImportBatch) -> None:
        """Add records as they are, with their ids and times. No run of them is ever claimed.

        Nothing is counted: neither usage nor what a key has used. Raises `Conflict` where an id or
        a place in a thread is taken, and adds nothing then.
        """
        ...

    async def transfer_owned(self, owner: str, to: str, limit: int) -> int:
        """Give about `limit` assistants, uploads or threads to another owner; return how many.

        A thread is given with everything in it. Other things of the owner stay. 0 means that
        nothing is left to give.
        """
        ...

    async def finish_import(
        self, usage: Sequence[UsageRow], entries: Sequence[AuditEntry], entry: AuditEntry | None
    ) -> None:
        """Write usage and audit entries of an import in one transaction.

        Of a row of usage that exists, each number becomes the larger one. Entries whose id exists
        are left as they are. `entry` is appended last.
        """
        ...

    async def now(self) -> int:
        """Return the store's time, ms since 1970."""
        ...

    async def installation_secret(self) -> bytes:
        """Return 32 random bytes, created on first use and equal in every process."""
        ...


AmendWebhook = Callable[[StoredWebhook], StoredWebhook | None]
"""Pure function from a webhook and its secrets to the new ones; None removes it."""


Settle = Callable[[Webhook, DeliveryOutcome, int], Settlement]
"""Pure function from a webhook, the outcome before the attempt, and the time (ms)."""


class WebhookStore(Protocol):
    """Stores webhooks and the deliveries of events to them.

    `RunStore.change` writes a delivery of each of its `webhook_events` for every webhook of the
    run's owner that wants it, in its own transaction. The deliveries of one run to one webhook are
    claimed in their order: none before the one before it is delivered or given up. Each method is
    one transaction, and raises `Unavailable` when the store cannot be reached.
    """

    async def add_webhook(
        self, owner: str, webhook: Webhook, sealed: bytes, limit: int, entry: AuditEntry
    ) -> None:
        """Add a webhook. Raises `Conflict` if its owner has `limit` webhooks."""
        ...

    async def webhooks(self, owner: str | None) -> Sequence[StoredWebhook]:
        """Return the webhooks of an owner, or all, oldest first."""
        ...

    async def find_webhook(self, owner: str, webhook_id: str) -> StoredWebhook:
        """Return the webhook. Raises `NotFound`."""
        ...

    async def change_webhook(
        self, owner: str, webhook_id: str, amend: AmendWebhook, entry: AuditEntry
    ) -> Webhook | None:
        """Replace the webhook by the result of `amend`; an exception changes nothing.

        A webhook is removed with its deliveries. The pending deliveries of a webhook that becomes
        enabled are due at once. Raises `NotFound`.
        """
        ...

    async def add_delivery(
        self, owner: str, webhook_id: str, event: WebhookEvent
    ) -> WebhookDelivery:
        """Add a delivery of an event to one webhook, whatever types it wants.

        Raises `NotFound`, and `Conflict` for a disabled webhook.
        """
        ...

    async def deliveries(
        self,
        owner: str,
        webhook_id: str,
        limit: int,
        after: str | None = None,
        status: DeliveryStatus | None = None,
    ) -> RecordPage:
        """Return deliveries of a webhook, newest first, as `RunStore.list` does."""
        ...

    async def resend_delivery(self, owner: str, webhook_id: str, event_id: str) -> WebhookDelivery:
        """Make a delivery due now, for three days, whatever its status. Raises `NotFound`.

        One that a worker is sending stays as it is. Raises `Conflict` for a disabled webhook.
        """
        ...

    async def has_due_deliveries(self) -> bool:
        """Return whether a delivery may be claimed: a cheap read before a claim."""
        ...

    async def claim_deliveries(
        self, limit: int, failing: int, per_webhook: int, lease_ms: int
    ) -> Sequence[DeliveryClaim]:
        """Claim up to `limit` due deliveries of enabled webhooks, and count an attempt of each.

        Of one webhook at most `per_webhook` are claimed at a time, by all workers together; of one
        that fails, one. At most `failing` claims are of webhooks that fail, which come last. A
        claim that is not settled before its lease ends is due again.
        """
        ...

    async def settle_delivery(
        self, claim: DeliveryClaim, settle: Settle, entry: AuditEntry
    ) -> Settlement | None:
        """Write what `settle` decides about a claimed delivery; return it.

        `entry` is stored if it disables the webhook. None means that the claim was lost, or the
        delivery deleted, and that nothing was written.
        """
        ...

    async def delete_deliveries(self, before: int, limit: int) -> int:
        """Delete up to `limit` deliveries of events before that time (ms); return how many."""
        ...

    async def now(self) -> int:
        """Return the store's time, ms since 1970."""
        ...


AmendSchedule = Callable[[StoredSchedule], StoredSchedule | None]
"""Pure function from a schedule to the new one; None removes it."""


class ScheduleStore(Protocol):
    """Stores schedules, and the history of their occurrences.

    `RunStore.change` writes the `ScheduleUpdate` that starts an occurrence together with its run.
    Each method is one transaction, and raises `Unavailable` when the store cannot be reached.
    """

    async def add_schedule(self, stored: StoredSchedule, limit: int, entry: AuditEntry) -> None:
        """Add a schedule. Raises `Conflict` if its owner has `limit` schedules."""
        ...

    async def schedules(self, owner: str | None) -> Sequence[StoredSchedule]:
        """Return the schedules of an owner, or all, oldest first."""
        ...

    async def find_schedule(self, owner: str, schedule_id: str) -> StoredSchedule:
        """Return the schedule. Raises `NotFound`."""
        ...

    async def change_schedule(
        self, owner: str, schedule_id: str, amend: AmendSchedule, entry: AuditEntry
    ) -> Schedule | None:
        """Replace the schedule by the result of `amend`; an exception changes nothing.

        A schedule is removed with its history. Raises `NotFound`.
        """
        ...

    async def due_schedules(self, limit: int, after: str = "") -> Sequence[StoredSchedule]:
        """Return schedules whose next time has come, in the order of their ids, after `after`."""
        ...

    async def next_schedule_time(self) -> int | None:
        """Return the earliest next time of all schedules (ms), which may have passed."""
        ...

    async def occurrences(
        self, owner: str, schedule_id: str, limit: int, after: str | None = None
    ) -> RecordPage:
        """Return the history of a schedule, newest first, as `RunStore.list` does."""
        ...

    async def delete_occurrences(self, before: int, limit: int) -> int:
        """Delete up to `limit` records of history made before that time; return how many."""
        ...

    async def now(self) -> int:
        """Return the store's time, ms since 1970."""
        ...


AmendPersonal = Callable[[Personal], Personal]
"""Pure function from the settings and memories of an owner to the new ones."""


class PersonalStore(Protocol):
    """Stores the personal settings and the memories of owners, one record of each owner.

    Each method is one transaction, and raises `Unavailable` when the store cannot be reached.
    """

    async def personal(self, owner: str) -> Personal:
        """Return the record of an owner, which is empty if nothing was written."""
        ...

    async def change_personal(self, owner: str, amend: AmendPersonal) -> Personal:
        """Replace the record by the result of `amend`; an exception changes nothing and is raised.

        Changes of one owner that come at once are made one after the other.
        """
        ...


AmendShare = Callable[[Share], Share]
"""Pure function from a share to the new one."""


class ShareStore(Protocol):
    """Stores shares of threads. A share ends with its thread, and thereby with its owner.

    `RunStore.delete_expired_shares` deletes those that have expired, which no method returns. Each
    method is one transaction, and raises `Unavailable` when the store cannot be reached.
    """

    async def add_share(
        self,
        owner: str,
        share: Share,
        token_hash: bytes,
        snapshot: bytes,
        limit: int,
        entry: AuditEntry,
    ) -> None:
        """Add a share of a thread of the owner, and delete their expired ones.

        Raises `NotFound` for another thread, and `Conflict` if the owner has `limit` shares.
        """
        ...

    async def shares(self, owner: str, thread_id: str | None = None) -> Sequence[Share]:
        """Return the shares of an owner, or of one thread, that have not expired, newest first."""
        ...

    async def find_share(self, owner: str, share_id: str) -> Share:
        """Return the share, if it has not expired. Raises `NotFound`."""
        ...

    async def change_share(
        self, owner: str, share_id: str, amend: AmendShare, snapshot: bytes, entry: AuditEntry
    ) -> Share:
        """Replace the snapshot, and the share by the result of `amend`. Raises `NotFound`."""
        ...

    async def delete_share(self, owner: str, share_id: str, entry: AuditEntry) -> None:
        """Delete the share. Raises `NotFound`."""
        ...

    async def open_share(self, token_hash: bytes) -> tuple[Share, bytes] | None:
        """Return the share of any owner and its snapshot; None if there is none or it expired."""
        ...

    async def now(self) -> int:
        """Return the store's time, ms since 1970."""
        ...


class DocumentStore(Protocol):
    """Stores the text of files, page by page, and the state of its reading.

    A file is pending from the moment when it is added, by an upload, an import or a move. Its pages
    are deleted with it. Each method is one transaction, and raises `Unavailable` when the store
    cannot be reached.
    """

    async def has_pending_documents(self) -> bool:
        """Return whether `claim_document` would find a file: one cheap read."""
        ...

    async def claim_document(self, lease_ms: int) -> DocumentClaim | None:
        """Claim the pending file that has waited longest and that no process reads.

        Pages of an earlier attempt are deleted.
        """
        ...

    async def add_pages(self, claim: DocumentClaim, pages: Sequence[DocumentPage]) -> bool:
        """Add pages with their words; return False if the claim is lost or the file is gone."""
        ...

    async def settle_document(self, claim: DocumentClaim, document: Document) -> bool:
        """Store the state of the file; return False as `add_pages` does."""
        ...

    async def retry_documents(self, reasons: Sequence[DocumentFailure]) -> int:
        """Make files that failed for these reasons pending again; return how many."""
        ...

    async def documents(self, file_ids: Sequence[str]) -> Mapping[str, Document]:
        """Return the state of these files by id, without files that do not exist."""
        ...

    async def pages(self, file_id: str, limit: int, after: int = 0) -> RecordPage:
        """Return the pages of a file with numbers above `after`, in their order."""
        ...

    async def search_pages(
        self,
        owner: str,
        phrases: Sequence[Phrase],
        *,
        limit: int,
        file_ids: Sequence[str] | None = None,
        any_phrase: bool = False,
    ) -> Sequence[FoundPage]:
        """Return the pages that match best: those with all phrases, or with any of them.

        With `file_ids` only pages of these files. Raises `Overloaded` if it takes too long. Nothing
        is found without a phrase, or with an empty `file_ids`.
        """
        ...


class DocumentStores(RunStore, DocumentStore, Protocol):
    """The ports that hold files and their text."""


class Store(
    RunStore,
    AdminStore,
    DocumentStore,
    WebhookStore,
    ScheduleStore,
    PersonalStore,
    ShareStore,
    Protocol,
):
    """A database that implements all seven ports; only the wiring needs all of it."""

    async def check(self) -> None:
        """Return if writes are durable and can be read back. Raises `Unavailable`."""
        ...

    async def close(self) -> None:
        """Close the database; what was stored stays stored."""
        ...


QUEUE = "queue"
"""The topic notified when a turn was requested."""
DOCUMENTS = "documents"
"""The topic notified when a file was added whose text is to be read."""
ACTIONS = "actions"
"""The topic notified when a worker for tools may claim an action."""
LEASES = "leases"
"""The topic notified when a worker may have lost a run's lease, as by a cancel."""
SCHEDULES = "schedules"
"""The topic notified when the times of a schedule have changed."""
WEBHOOKS = "webhooks"
"""The topic notified when an event for webhooks happened, or a delivery became due."""


Handle = Callable[[], bool]
"""Handles a notification without waking the task that waits; returns False if the task must."""


class Subscription(Protocol):
    """A subscription to a topic; a notification before `wait` is not lost."""

    async def wait(self, seconds: float, handle: Handle | None = None) -> bool:
        """Return True on a notification, False after `seconds`: one may be lost.

        `handle` is called on the loop soon after a notification, once for those that come together;
        if it returns True, the wait goes on.
        """
        ...


class Bus(Protocol):
    """Notifies subscribers of a topic; carries no data; may lose or repeat a notification."""

    def subscribe(self, topic: str) -> AbstractContextManager[Subscription]:
        """Subscribe to the topic; subscribe first, then read."""
        ...

    def notify(self, topic: str) -> None:
        """Notify subscribers here and, soon, in other processes. Never blocks, never raises."""
        ...

    async def close(self) -> None:
        """Send no further notifications."""
        ...


ProgressCallback = Callable[[Progress], None]
"""Called on the event loop with a tool's progress; must not raise."""


def quiet(progress: Progress) -> None:
    """Ignore the progress."""


class Toolbox(Protocol):
    """Tools that can be called by name.

    A call never raises: failure, refusal and timeout are results.
    """

    def tools(self) -> Sequence[Tool]:
        """Return the tools that can be called now; a server's tools may come, change and go."""
        ...

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Run the tool; cancelling the task cancels the tool as far as possible."""
        ...
