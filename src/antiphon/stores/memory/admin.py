"""Administration in memory: audit log, keys and their usage, projects, provider keys, people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from antiphon.engine.accounts import normalize_name
from antiphon.ports import AmendAccount, AmendKey, AmendProject, RecordPage
from antiphon.stores import admin_rules, invariants
from antiphon.stores.invariants import Clock
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
    period,
)

T = TypeVar("T")


class MemoryAdministration:
    """`AdminStore` as far as it concerns no threads and runs; all tables have the oldest first.

    No method awaits between its reads and its writes, so each is a transaction.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._audit_log: list[AuditEntry] = []
        self._accounts: dict[str, Account] = {}
        self._projects: dict[str, Project] = {}
        self._keys: dict[str, tuple[Key, bytes]] = {}
        self._counters: dict[Counter, tuple[int, int]] = {}
        self._provider_keys: dict[tuple[str, str], tuple[ProviderKey, bytes]] = {}
        self._usage: dict[tuple[str, str, str], UsageRow] = {}

    # Audit log

    async def append_audit_entry(self, entry: AuditEntry) -> None:
        """See `AdminStore.append_audit_entry`."""
        self._append_entry(entry)

    def _append_entry(self, entry: AuditEntry | None) -> None:
        if entry is not None:
            self._audit_log.append(entry)

    async def audit_entries(
        self, limit: int, after: str | None = None, owner: str | None = None
    ) -> RecordPage:
        """See `AdminStore.audit_entries`."""
        entries = list(reversed(self._audit_log))
        if after is not None:
            places = [place for place, entry in enumerate(entries, 1) if entry.id == after]
            if not places:
                raise invariants.not_found(AuditEntry, after)
            entries = entries[places[0] :]
        entries = [entry for entry in entries if owner in (None, entry.owner)]
        return RecordPage(entries[:limit], len(entries) > limit)

    # People

    async def add_person(self, account: Account, entry: AuditEntry | None = None) -> None:
        """See `AdminStore.add_person`."""
        if account.person.id in self._accounts:
            raise invariants.duplicate_id(Person, account.person.id)
        self._save_account(account)
        self._append_entry(entry)

    async def find_person(
        self, *, id: str | None = None, name: str | None = None, subject: str | None = None
    ) -> Account | None:
        """See `AdminStore.find_person`; names are the same in any case."""
        if id is not None:
            return self._accounts.get(id)
        if name is not None:
            return self._find_account(
                lambda person: normalize_name(person.name) == normalize_name(name)
            )
        return self._find_account(lambda person: subject is not None and person.subject == subject)

    async def people(self) -> Sequence[Person]:
        """See `AdminStore.people`."""
        return [account.person for account in self._accounts.values()]

    async def change_person(
        self, person_id: str, amend: AmendAccount, entry: AuditEntry | None = None
    ) -> Account | None:
        """See `AdminStore.change_person`."""
        account = self._accounts.get(person_id)
        if account is None:
            raise invariants.not_found(Person, person_id)
        others = self._find_account(lambda person: person.is_admin and person.id != person_id)
        amended = admin_rules.amend_account(account, amend, has_other_admin=others is not None)
        if amended.is_change:
            if amended.after is None:
                del self._accounts[person_id]
            else:
                self._save_account(amended.after)
            if amended.revokes_keys:
                self._change_keys_of(person_id, admin_rules.revoke_at(self._clock()))
            self._append_entry(entry)
        return amended.after

    def _find_account(self, fits: Callable[[Person], bool]) -> Account | None:
        return next((each for each in self._accounts.values() if fits(each.person)), None)

    def _save_account(self, account: Account) -> None:
        person = account.person
        name = normalize_name(person.name)
        for other in (each.person for each in self._accounts.values()):
            same_subject = person.subject is not None and other.subject == person.subject
            if other.id != person.id and (same_subject or normalize_name(other.name) == name):
                raise admin_rules.person_conflict(person)
        self._accounts[person.id] = account

    # Keys, and what each has used

    async def add_key(self, key: Key, digest: bytes, entry: AuditEntry | None = None) -> None:
        """See `AdminStore.add_key`."""
        known = (self._accounts.get(whose) for whose in (key.owner, key.person_id) if whose)
        people = [account.person for account in known if account]
        admin_rules.require_enabled(self._projects.get(key.owner), *people)
        self._keys[key.id] = (key, digest)
        self._append_entry(entry)

    async def find_key(self, prefix: str) -> tuple[Key, bytes] | None:
        """See `AdminStore.find_key`."""
        return next((stored for stored in self._keys.values() if stored[0].prefix == prefix), None)

    async def keys(self) -> Sequence[Key]:
        """See `AdminStore.keys`."""
        return [key for key, _ in self._keys.values()]

    async def change_key(
        self, key_id: str, amend: AmendKey, entry: AuditEntry | None = None
    ) -> Key:
        """See `AdminStore.change_key`."""
        if key_id not in self._keys:
            raise invariants.not_found(Key, key_id)
        key, digest = self._keys[key_id]
        changed = amend(key)
        if changed != key:
            self._keys[key_id] = (changed, digest)
            self._append_entry(entry)
        return changed

    async def revoke_key(self, key_id: str, entry: AuditEntry | None = None) -> Key:
        """See `AdminStore.revoke_key`; a second time changes nothing."""
        return await self.change_key(key_id, admin_rules.revoke_at(self._clock()), entry)

    def _change_keys_of(self, owner: str, amend: AmendKey) -> int:
        """Change the keys that act for this owner or belong to this person; return how many."""
        theirs = [key for key, _ in self._keys.values() if owner in (key.owner, key.person_id)]
        changed = admin_rules.amend_keys(theirs, amend)
        for key in changed:
            self._keys[key.id] = (key, self._keys[key.id][1])
        return len(changed)

    async def count_usage(self, counter: Counter, amount: int) -> CounterValue:
        """See `AdminStore.count_usage`."""
        return self._count(counter, amount)

    def _count(self, counter: Counter, amount: int) -> CounterValue:
        now = self._clock()
        then, total = self._counters.get(counter, (0, 0))
        current = period(counter, now)
        total = amount if current > then else total + amount
        self._counters[counter] = (max(current, then), total)
        return CounterValue(total, now)

    def _count_tokens(self, key_id: str | None, amount: int) -> None:
        """Count tokens that a run has used, if its key has a token limit."""
        stored = self._keys.get(key_id or "")
        if amount and stored and stored[0].limits.tokens_per_day is not None:
            self._count(Counter(stored[0].id, "tokens"), amount)

    def _read_counter(self, counter: Counter, now: int) -> int:
        """Return the usage counted in the current period."""
        then, total = self._counters.get(counter, (0, 0))
        return total if then >= period(counter, now) else 0

    async def usage(self, since: str, limit: int, owner: str | None = None) -> Sequence[UsageRow]:
        """See `AdminStore.usage`."""
        newest = sorted(self._usage, reverse=True)
        rows = (self._usage[about] for about in newest if about[0] >= since)
        return [row for row in rows if owner in (None, row.owner)][:limit]

    async def finish_import(
        self, usage: Sequence[UsageRow], entries: Sequence[AuditEntry], entry: AuditEntry | None
    ) -> None:
        """See `AdminStore.finish_import`."""
        for row in usage:
            about = (row.day, row.owner, row.model)
            self._usage[about] = admin_rules.larger_usage(self._usage.get(about), row)
        known = {each.id for each in self._audit_log}
        self._audit_log += [each for each in entries if each.id not in known]
        self._append_entry(entry)

    # Projects and provider keys

    async def add_project(self, project: Project, entry: AuditEntry) -> None:
        """See `AdminStore.add_project`."""
        self._save_project(project)
        self._append_entry(entry)

    async def projects(self) -> Sequence[Project]:
        """See `AdminStore.projects`."""
        return list(self._projects.values())

    async def change_project(
        self, id: str, amend: AmendProject, entry: AuditEntry
    ) -> Project | None:
        """See `AdminStore.change_project`."""
        if id not in self._projects:
            raise invariants.not_found(Project, id)
        amended = admin_rules.amend_project(self._projects[id], amend)
        if amended.is_change:
            if amended.after is None:
                del self._projects[id]
            else:
                self._save_project(amended.after)
            if amended.revokes_keys:
                self._change_keys_of(id, admin_rules.revoke_at(self._clock()))
            self._append_entry(entry)
        return amended.after

    def _save_project(self, project: Project) -> None:
        name = normalize_name(project.name)
        for other in self._projects.values():
            if other.id != project.id and normalize_name(other.name) == name:
                raise admin_rules.project_conflict(project)
        self._projects[project.id] = project

    async def save_provider_key(
        self, key: ProviderKey, encrypted: bytes, entry: AuditEntry
    ) -> None:
        """See `AdminStore.save_provider_key`."""
        self._provider_keys[key.owner, key.provider] = (key, encrypted)
        self._append_entry(entry)

    async def provider_keys(self, owner: str | None) -> Sequence[ProviderKey]:
        """See `AdminStore.provider_keys`."""
        keys = [self._provider_keys[about][0] for about in sorted(self._provider_keys)]
        return [key for key in keys if owner in (None, key.owner)]

    async def find_encrypted_key(self, owner: str, provider: str) -> bytes | None:
        """See `AdminStore.find_encrypted_key`."""
        stored = self._provider_keys.get((owner, provider))
        return stored[1] if stored else None

    async def replace_encrypted_key(
        self, owner: str, provider: str, before: bytes, encrypted: bytes, entry: AuditEntry
    ) -> bool:
        """See `AdminStore.replace_encrypted_key`."""
        stored = self._provider_keys.get((owner, provider))
        if stored is None or stored[1] != before:
            return False
        await self.save_provider_key(stored[0], encrypted, entry)
        return True

    async def delete_provider_key(self, owner: str, provider: str, entry: AuditEntry) -> None:
        """See `AdminStore.delete_provider_key`."""
        if self._provider_keys.pop((owner, provider), None) is None:
            raise admin_rules.provider_key_not_found(owner, provider)
        self._append_entry(entry)

    def _delete_administration(self, owner: str) -> int:
        """Delete usage, provider keys and counters, and anonymize keys; return how many rows."""
        ids = {key.id for key, _ in self._keys.values() if key.owner == owner}
        deleted = (
            delete_all(self._usage, [about for about in self._usage if about[1] == owner])
            + delete_all(self._provider_keys, [it for it in self._provider_keys if it[0] == owner])
            + delete_all(self._counters, [it for it in self._counters if it.key_id in ids])
        )
        return deleted + self._change_keys_of(owner, admin_rules.anonymize_at(self._clock()))


def delete_all(things: dict[T, Any], those: Sequence[T]) -> int:
    """Delete these keys and return how many."""
    for each in those:
        del things[each]
    return len(those)
