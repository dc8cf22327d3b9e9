"""Store in memory: the reference implementation, to read before the others.

No method awaits between its reads and its writes, so each is a transaction. All checks of a change
run before anything is written.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from antiphon.engine.context_window import EMPTY, Context, append_messages
from antiphon.engine.snapshot import (
    ChangeSet,
    Claim,
    Committed,
    Decide,
    IdempotencyKey,
    ReadSet,
    RunUpdate,
    Snapshot,
)
from antiphon.engine.thread_order import REPLACES
from antiphon.ports import BeforeCommit, Editable, OnCommit, RecordPage
from antiphon.stores import admin_rules, invariants
from antiphon.stores.invariants import Clock, system_clock
from antiphon.stores.memory.admin import delete_all
from antiphon.stores.memory.documents import MemoryDocuments
from antiphon.stores.memory.owner_imports import MemoryOwnerImports
from antiphon.stores.memory.personal import MemoryPersonal
from antiphon.stores.memory.records import (
    StoredRecord,
    StoredRun,
    StoredThread,
    json_size,
)
from antiphon.stores.memory.schedules import MemorySchedules
from antiphon.stores.memory.shares import MemoryShares
from antiphon.stores.memory.webhooks import MemoryWebhooks
from antiphon.stores.rows import take_page
from antiphon.types import events
from antiphon.types.accounts import (
    Counter,
    OwnerTotals,
)
from antiphon.types.chat_imports import ImportClaim
from antiphon.types.events import EventPage, Numbered
from antiphon.types.folders import Folder
from antiphon.types.messages import Feedback, Message, Upload
from antiphon.types.runs import (
    Action,
    Assistant,
    LeaseInfo,
    Run,
    RunLease,
    Serves,
    Status,
    Thread,
    serve_all,
)

T = TypeVar("T")


@dataclass
class _StoredAnswer:
    digest: bytes
    answer: bytes | None
    subject: str | None
    created_at: int


class MemoryStore(
    MemoryOwnerImports,
    MemoryDocuments,
    MemoryWebhooks,
    MemorySchedules,
    MemoryPersonal,
    MemoryShares,
):
    """A store in dictionaries, oldest entry first; `clock` returns ms since 1970."""

    def __init__(self, clock: Clock = system_clock) -> None:
        super().__init__(clock)
        self._answers: dict[tuple[str, str, str], _StoredAnswer] = {}
        self._secret = secrets.token_bytes(32)

    # Transactions of runs

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        """See `RunStore.change`; `decide` runs at once, and no commit is waited for."""
        once = read_set.idempotency_key
        if once and (earlier := await self.find_answer(once)) is not None:
            return Committed(earlier)
        records = self._read_snapshot(read_set)
        change = decide(records)
        if change is None:
            return Committed()
        invariants.check_schedule_update(records.schedule, change)
        self._check(read_set, change)
        once = None if change.more else read_set.idempotency_key
        answer = msgspec.json.encode(change.answer) if once else b""
        self._write(read_set, change)
        if once:
            self._save_answer(once, answer, invariants.answer_subject(records, change))
        committed = Committed(change.answer, change)
        if before_commit is not None:
            before_commit(committed)
        return committed

    async def find_answer(self, once: IdempotencyKey) -> msgspec.Raw | None:
        """See `RunStore.find_answer`."""
        answer = self._answers.get((once.owner, once.route, once.key))
        return invariants.replay_answer(once, answer.digest, answer.answer) if answer else None

    async def claim(
        self,
        decide: Decide,
        serves: Serves = serve_all,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        """See `RunStore.claim`."""
        waiting = [
            stored
            for stored in self._list_queued_runs()
            if stored.run.id not in declined and serves(stored.lease.destination)
        ]
        if not waiting:
            return None
        chosen = min(waiting, key=lambda stored: stored.wanted_at)
        read_set = ReadSet(owner=None, run_id=chosen.run.id, what="claim")
        committed = await self.change(read_set, decide)
        if chosen.run.status is not Status.IN_PROGRESS:
            return None
        return Claim(chosen.owner, chosen.run, chosen.lease, committed.change)

    async def find_unclaimed_runs(
        self, serves: Serves, wanted_before: int, limit: int
    ) -> Sequence[str]:
        """See `RunStore.find_unclaimed_runs`."""
        found = [
            stored
            for stored in self._list_queued_runs()
            if stored.wanted_at < wanted_before and not serves(stored.lease.destination)
        ]
        found.sort(key=lambda stored: stored.wanted_at)
        return [stored.run.id for stored in found[:limit]]

    def _list_queued_runs(self) -> Sequence[StoredRun]:
        return [
            stored
            for stored in self._runs.values()
            if stored.run.status is Status.QUEUED and stored.lease.wanted
        ]

    async def renew_leases(self, epochs: Mapping[str, int], lease_ms: int) -> frozenset[str]:
        """See `RunStore.renew_leases`."""
        lost = frozenset(
            run_id for run_id, epoch in epochs.items() if not self._has_lease(run_id, epoch)
        )
        for run_id in epochs.keys() - lost:
            stored = self._runs[run_id]
            stored.lease = replace(stored.lease, due_at=self._clock() + lease_ms)
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
        """See `RunStore.append`; writes at once and calls back on the loop's next iteration."""
        refused: Exception | None = None
        if self._has_lease(run_id, epoch) and self._runs[run_id].lease.last_event == first - 1:
            run = self._runs[run_id]
            run.lines.extend(lines)
            run.lease = replace(run.lease, last_event=first - 1 + len(lines))
        else:
            refused = invariants.append_fenced_error(run_id, epoch, first)
        asyncio.get_running_loop().call_soon(on_commit, refused)

    async def overdue_runs(self, limit: int) -> Sequence[str]:
        """See `RunStore.overdue_runs`."""
        now = self._clock()
        due = [
            (stored.lease.due_at, stored.run.id)
            for stored in self._runs.values()
            if stored.lease.due_at is not None
            and stored.lease.due_at <= now
            and not stored.run.status.ended
        ]
        return [run_id for _, run_id in sorted(due)[:limit]]

    async def leases(self, limit: int) -> Sequence[LeaseInfo]:
        """See `RunStore.leases`."""
        leased = [
            LeaseInfo(stored.run.id, stored.lease.epoch, stored.lease.worker, stored.lease.due_at)
            for stored in self._runs.values()
            if stored.lease.worker is not None
            and stored.lease.due_at is not None
            and not stored.run.status.ended
        ]
        return leased[:limit]

    def _has_lease(self, run_id: str, epoch: int) -> bool:
        stored = self._runs.get(run_id)
        return (
            stored is not None
            and stored.lease.epoch == epoch
            and stored.run.status is Status.IN_PROGRESS
        )

    def _read_snapshot(self, read_set: ReadSet) -> Snapshot:
        """Return the records that a change reads, without those of other owners."""
        known = self._read_key_usage(read_set.key_id)
        known = replace(known, schedule=self._read_schedule(read_set))
        if read_set.personal and read_set.owner is not None:
            known = replace(known, personal=self._find_personal(read_set.owner))
        run = self._runs.get(read_set.run_id) if read_set.run_id else None
        thread_id = read_set.thread_id or (run.run.thread_id if run else None)
        thread = self._threads.get(thread_id) if thread_id else None
        if thread is None or read_set.owner not in (None, thread.owner):
            return known
        if read_set.run_id is None:
            run = self._find_active_run(thread.thread.id)
        if run is None or run.run.thread_id != thread.thread.id:
            return replace(known, thread=thread.thread)
        return replace(
            known,
            thread=thread.thread,
            run=run.run,
            lease=run.lease,
            actions=self._actions_of(run.run.id, read_set.tool_call_id),
            log=_decode_turn(run) if read_set.turn_log else (),
        )

    def _read_key_usage(self, key_id: str | None) -> Snapshot:
        """Return a snapshot with the key's usage alone."""
        now = self._clock()
        if key_id is None:
            return Snapshot(now=now)
        begun = [stored.run for stored in self._runs.values() if stored.lease.key_id == key_id]
        running = sum(not run.status.ended for run in begun)
        return Snapshot(
            now=now, running=running, tokens=self._read_counter(Counter(key_id, "tokens"), now)
        )

    def _actions_of(self, run_id: str, tool_call_id: str | None) -> tuple[Action, ...]:
        """Return the actions of the last turn that requested tool calls, and the one asked for."""
        actions = [each for each in self._actions.values() if each.run_id == run_id]
        turn = max((each.turn for each in actions), default=0)
        return tuple(
            each for each in actions if each.turn == turn or each.tool_call_id == tool_call_id
        )

    def _find_active_run(self, thread_id: str) -> StoredRun | None:
        runs = (stored for stored in self._runs.values() if stored.run.thread_id == thread_id)
        return next((stored for stored in runs if not stored.run.status.ended), None)

    def _check(self, read_set: ReadSet, change: ChangeSet) -> None:
        """Raise if the change is not allowed, before any of it is written."""
        thread = self._threads.get(change.thread.id) if change.thread else None
        invariants.check_thread_change(thread.thread if thread else None, change)
        if change.thread and not thread:
            invariants.require_owner(read_set, change)
        if thread:
            _check_message_numbers(thread.messages, change)
        ended = {update.run.id for update in change.run_updates if update.run.status.ended}
        for update in change.run_updates:
            stored = self._runs.get(update.run.id)
            invariants.check_run_update((stored.run, stored.lease) if stored else None, update)
            if not stored:
                invariants.require_owner(read_set, change)
                active = self._find_active_run(update.run.thread_id)
                if active and active.run.id not in ended:
                    raise invariants.second_run_error(active.run.thread_id, active.run.id)

    def _write(self, read_set: ReadSet, change: ChangeSet) -> None:
        if change.thread is not None:
            stored = self._threads.get(change.thread.id)
            before = stored.thread if stored else None
            if stored is None:
                stored = StoredThread(invariants.require_owner(read_set, change), change.thread)
                self._threads[change.thread.id] = stored
            stored.thread = change.thread
            replaced = self._threads.get(change.thread.metadata.get(REPLACES, ""))
            is_there = replaced is not None and replaced.owner == stored.owner
            self._families.join(before, change.thread, is_there=is_there)
            if change.keep_messages is not None:
                stored.messages = [m for m in stored.messages if m.number <= change.keep_messages]
            stored.messages = sorted((*stored.messages, *change.messages), key=lambda m: m.number)
            self._places |= {each.id: next(self._next_place) for each in change.messages}
        for update in change.run_updates:
            self._write_run(read_set, change, update)
        if (request := change.request_usage) is not None:
            row = admin_rules.usage_of_request(read_set.owner or "", request, self._clock())
            key = row.day, row.owner, row.model
            self._usage[key] = admin_rules.add_usage(self._usage.get(key), row)
            self._count_tokens(request.key_id, admin_rules.count_request_tokens(request))
        self._actions.update({action.id: action for action in change.actions})
        self._append_entry(change.audit_entry)
        self._write_schedule(change.schedule_update)

    def _write_run(self, read_set: ReadSet, change: ChangeSet, update: RunUpdate) -> None:
        kept = self._runs.get(update.run.id)
        grown = admin_rules.count_new_tokens(kept.run if kept else None, update.run)
        self._count_tokens(update.lease.key_id, grown)
        if kept is None:
            kept = StoredRun(
                invariants.require_owner(read_set, change), update.run, RunLease(), self._clock()
            )
            self._runs[update.run.id] = kept
        if update.lease.wanted and not kept.lease.wanted:
            kept.wanted_at = self._clock()
        had_ended = kept.run.status.ended
        kept.run, kept.lease = update.run, update.lease
        if update.run.status.ended and not had_ended:
            stored = admin_rules.usage_of_run(kept.owner, update.run, self._clock())
            key = stored.day, stored.owner, stored.model
            self._usage[key] = admin_rules.add_usage(self._usage.get(key), stored)
        kept.lines.extend(events.encode(event) for event in update.events)
        for event in update.webhook_events:
            self._add_deliveries(kept.owner, event)

    def _save_answer(self, once: IdempotencyKey, answer: bytes, subject: str | None) -> None:
        self._answers[once.owner, once.route, once.key] = _StoredAnswer(
            once.digest, answer, subject, self._clock()
        )

    # Reading

    async def read_events(self, run_id: str, after: int) -> EventPage:
        """See `RunStore.read_events`; a page always reaches the end."""
        stored = self._runs.get(run_id)
        if stored is None:
            raise invariants.not_found(Run, run_id)
        invariants.check_not_expired(run_id, after, stored.lease.kept_after)
        lines = stored.lines[after - stored.lease.kept_after :]
        return EventPage(after + 1, lines, stored.run.status.ended)

    def find_cached_events(self, run_id: str, after: int) -> EventPage | None:
        """See `RunStore.find_cached_events`; this store caches nothing."""
        return None

    async def context(
        self, thread_id: str, *, fresh: bool = False, version: int | None = None
    ) -> Context:
        """See `RunStore.context`; there is no cache to bypass."""
        stored = self._threads.get(thread_id)
        if stored is None:
            raise invariants.not_found(Thread, thread_id)
        return append_messages(EMPTY, stored.messages, stored.thread.version)

    async def thread_version(self, thread_id: str) -> int:
        """See `RunStore.thread_version`."""
        stored = self._threads.get(thread_id)
        if stored is None:
            raise invariants.not_found(Thread, thread_id)
        return stored.thread.version

    async def run_lease(self, run_id: str) -> RunLease:
        """See `RunStore.run_lease`."""
        stored = self._runs.get(run_id)
        if stored is None:
            raise invariants.not_found(Run, run_id)
        return stored.lease

    async def run_leases(self, run_ids: Sequence[str]) -> Mapping[str, RunLease]:
        """See `RunStore.run_leases`."""
        return {each: self._runs[each].lease for each in run_ids if each in self._runs}

    async def call_ids(self, run_id: str) -> frozenset[str]:
        """See `RunStore.call_ids`."""
        actions = self._actions.values()
        return frozenset(each.tool_call_id for each in actions if each.run_id == run_id)

    async def index_text(self) -> bool:
        """See `RunStore.index_text`; nothing is indexed here."""
        return False

    # Assistants, files and deletions

    async def put(
        self,
        owner: str,
        record: Assistant | Folder | Upload,
        once: IdempotencyKey | None = None,
        content: bytes | None = None,
    ) -> Any:
        """See `RunStore.put`."""
        if once and (earlier := await self.find_answer(once)) is not None:
            return earlier
        there = self._records[type(record)]
        if record.id in there:
            raise invariants.duplicate_id(type(record), record.id)
        if isinstance(record, Folder):
            invariants.check_folder_count(sum(each.owner == owner for each in there.values()))
        there[record.id] = StoredRecord(owner, record, content or b"")
        if once:
            self._save_answer(once, msgspec.json.encode(record), record.id)
        return record

    async def update_record(
        self, kind: type[Editable], owner: str, id: str, change: Callable[[Editable], Editable]
    ) -> Editable:
        """See `RunStore.update_record`."""
        changed = change(await self.get(kind, owner, id))
        self._records[kind][id] = StoredRecord(owner, changed)
        return changed

    async def save_feedback(
        self, owner: str, message_id: str, feedback: Feedback | None
    ) -> Message:
        """See `RunStore.save_feedback`."""
        message = await self.get(Message, owner, message_id)
        rated = replace(message, feedback=feedback)
        said = self._threads[message.thread_id].messages
        said[said.index(message)] = rated
        return rated

    async def content(
        self, owner: str | None, upload_id: str, start: int = 0, size: int | None = None
    ) -> bytes:
        """See `RunStore.content`."""
        stored = self._records[Upload].get(upload_id)
        if stored is None or owner not in (None, stored.owner):
            raise invariants.not_found(Upload, upload_id)
        return stored.content[start : None if size is None else start + size]

    async def delete(self, kind: type[Any], owner: str | None, id: str) -> None:
        """See `RunStore.delete`."""
        await self.get(kind, owner, id)
        if kind is Thread:
            self._remove_thread(id)
        else:
            del self._records[kind][id]
        for answer in self._answers.values():
            if answer.subject == id:
                answer.answer = None

    def _remove_thread(self, thread_id: str) -> None:
        for message in self._threads.pop(thread_id).messages:
            del self._places[message.id]
        self._families.leave(thread_id)
        self._delete_shares_of(thread_id)
        self._runs = {
            run_id: stored
            for run_id, stored in self._runs.items()
            if stored.run.thread_id != thread_id
        }
        self._actions = {
            action_id: action
            for action_id, action in self._actions.items()
            if action.thread_id != thread_id
        }

    def _get_assistants(self) -> dict[str, StoredRecord]:
        return self._records[Assistant]

    def _owns_thread(self, owner: str, thread_id: str) -> bool:
        stored = self._threads.get(thread_id)
        return stored is not None and stored.owner == owner

    async def delete_expired(self, events_before: int, keys_before: int) -> int:
        """See `RunStore.delete_expired`."""
        dropped = 0
        for stored in self._runs.values():
            ended_at = stored.run.ended_at
            if stored.lines and stored.run.status.ended and ended_at and ended_at < events_before:
                dropped += 1
                stored.lines.clear()
                stored.lease = replace(stored.lease, kept_after=stored.lease.last_event)
        old = [key for key, stored in self._answers.items() if stored.created_at < keys_before]
        for key in old:
            del self._answers[key]
        return dropped + len(old)

    # Administration that concerns threads and runs; see `MemoryAdministration`

    async def live_runs(self, limit: int, after: str | None = None) -> RecordPage:
        """See `AdminStore.live_runs`."""
        runs = list(reversed(self._runs.values()))
        if after is not None:
            if after not in self._runs:
                raise invariants.not_found(Run, after)
            runs = runs[[stored.run.id for stored in runs].index(after) + 1 :]
        live = [(stored.owner, stored.run) for stored in runs if not stored.run.status.ended]
        return RecordPage(*take_page(live, limit, lambda each: json_size(each[1])))

    async def owners(
        self, limit: int, after: str | None = None, owner: str | None = None
    ) -> RecordPage:
        """See `AdminStore.owners`."""
        having = {
            record_owner
            for kind in (Thread, Upload, Assistant, Folder)
            for record_owner, _ in self._records_of(kind)
        }
        having |= {record_owner for record_owner, _ in self._provider_keys}
        having |= {stored.owner for stored in self._webhooks.values()}
        having |= {stored.owner for stored in self._schedules.values()} | self._personal.keys()
        found = having & {owner} if owner is not None else having
        later = sorted(record_owner for record_owner in found if record_owner > (after or ""))
        return RecordPage(
            [self._count_things(record_owner) for record_owner in later[:limit]], len(later) > limit
        )

    def _count_things(self, owner: str) -> OwnerTotals:
        def number(kind: type[Any]) -> int:
            return sum(record_owner == owner for record_owner, _ in self._records_of(kind))

        return OwnerTotals(
            owner=owner,
            threads=number(Thread),
            runs=number(Run),
            files=number(Upload),
            assistants=number(Assistant),
        )

    async def delete_owned(self, owner: str, limit: int, claim: ImportClaim | None = None) -> int:
        """See `AdminStore.delete_owned`; deletes everything at once."""
        self._check_claim(claim)
        threads = [stored.thread.id for stored in self._threads.values() if stored.owner == owner]
        for thread_id in threads:
            self._remove_thread(thread_id)
        erased = len(threads)
        for records in self._records.values():
            erased += delete_all(
                records, [each for each in records if records[each].owner == owner]
            )
        erased += delete_all(self._answers, [once for once in self._answers if once[0] == owner])
        erased += self._delete_webhooks(owner) + self._delete_schedules(owner)
        erased += self._delete_personal(owner) + self._delete_chat_imports(owner)
        return erased + self._delete_administration(owner)

    # The installation

    async def installation_secret(self) -> bytes:
        """See `AdminStore.installation_secret`."""
        return self._secret

    async def now(self) -> int:
        """See `RunStore.now`."""
        return self._clock()

    async def check(self) -> None:
        """Do nothing: a dictionary is always reachable."""

    async def close(self) -> None:
        """Do nothing: there are no resources to close."""


def _check_message_numbers(there: Sequence[Message], change: ChangeSet) -> None:
    taken = {
        message.number
        for message in there
        if change.keep_messages is None or message.number <= change.keep_messages
    }
    for message in change.messages:
        if message.number in taken:
            raise invariants.duplicate_message(message)
        taken.add(message.number)


def _decode_turn(run: StoredRun) -> tuple[Numbered, ...]:
    """Return the decoded events after the previous turn."""
    first = max(run.lease.turn_began_after, run.lease.kept_after) + 1
    lines = run.lines[first - 1 - run.lease.kept_after :]
    return tuple(enumerate(map(events.decode, lines), first))
