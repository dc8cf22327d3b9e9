"""Administration in memory: audit log, keys and their usage, projects, provider keys, people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from antiphon.engine.accounts import normalize_name
from antiphon.ports import AmendAccount, AmendKey, AmendProject, Key, RecordPage
from antiphon.stores import admin_rules, invariants
from antiphon.types.accounts import (
    Account,
    AuditEntry,
    Counter,
    CounterValue,
    Person,
    Project,
    ProviderKey,
    period,
)


class AuditLog:
    """Audit entries, oldest first."""

    def __init__(self) -> None:
        self._entries: list[AuditEntry] = []

    def append(self, entry: AuditEntry | None) -> None:
        """See `AdminStore.append_audit_entry`."""
        if entry is not None:
            self._entries.append(entry)

    def all(self) -> Sequence[AuditEntry]:
        """Return all entries."""
        return self._entries

    def page(self, limit: int, after: str | None, owner: str | None) -> RecordPage:
        """See `AdminStore.audit_entries`."""
        entries = list(reversed(self._entries))
        if after is not None:
            places = [place for place, entry in enumerate(entries, 1) if entry.id == after]
            if not places:
                raise invariants.not_found(AuditEntry, after)
            entries = entries[places[0] :]
        entries = [entry for entry in entries if owner in (None, entry.owner)]
        return RecordPage(entries[:limit], len(entries) > limit)


class KeyTable:
    """Keys with their hashes, oldest first, and the usage counted for each."""

    def __init__(self, audit_log: AuditLog) -> None:
        self._audit_log = audit_log
        self._keys: dict[str, tuple[Key, bytes]] = {}
        self._used: dict[Counter, tuple[int, int]] = {}

    def add(self, key: Key, digest: bytes, entry: AuditEntry | None) -> None:
        """See `AdminStore.add_key`."""
        self._keys[key.id] = (key, digest)
        self._audit_log.append(entry)

    def find(self, prefix: str) -> tuple[Key, bytes] | None:
        """See `AdminStore.find_key`."""
        return next((kept for kept in self._keys.values() if kept[0].prefix == prefix), None)

    def all(self) -> Sequence[Key]:
        """See `AdminStore.keys`."""
        return [key for key, _ in self._keys.values()]

    def change(self, key_id: str, amend: AmendKey, entry: AuditEntry | None) -> Key:
        """See `AdminStore.change_key`."""
        if key_id not in self._keys:
            raise invariants.not_found(Key, key_id)
        key, digest = self._keys[key_id]
        changed = amend(key)
        if changed != key:
            self._keys[key_id] = (changed, digest)
            self._audit_log.append(entry)
        return changed

    def revoke_keys_of(self, owner: str, now: int) -> None:
        """Revoke the keys that act for this owner or belong to this person."""
        for key in self._keys_of(owner):
            self.change(key.id, admin_rules.revoke_at(now), None)

    def erase_keys_of(self, owner: str, now: int) -> int:
        """Revoke and anonymize these keys and delete their usage; return how many rows changed."""
        theirs = self._keys_of(owner)
        blank = [self.change(key.id, admin_rules.anonymize_at(now), None) for key in theirs]
        ids = {key.id for key in theirs if key.owner == owner}
        used = [counter for counter in self._used if counter.key_id in ids]
        for counter in used:
            del self._used[counter]
        return sum(was != key for was, key in zip(theirs, blank, strict=True)) + len(used)

    def _keys_of(self, owner: str) -> Sequence[Key]:
        return [key for key in self.all() if owner in (key.owner, key.person_id)]

    def count(self, counter: Counter, amount: int, now: int) -> CounterValue:
        """See `AdminStore.count_usage`."""
        then, total = self._used.get(counter, (0, 0))
        current = period(counter, now)
        total = amount if current > then else total + amount
        self._used[counter] = (max(current, then), total)
        return CounterValue(total, now)

    def count_tokens(self, key_id: str | None, amount: int, now: int) -> None:
        """Count tokens that a run has used, if its key has a token limit."""
        kept = self._keys.get(key_id or "")
        if amount and kept and kept[0].limits.tokens_per_day is not None:
            self.count(Counter(kept[0].id, "tokens"), amount, now)

    def read_usage(self, counter: Counter, now: int) -> int:
        """Return the usage counted in the current period."""
        then, total = self._used.get(counter, (0, 0))
        return total if then >= period(counter, now) else 0


class ProjectTable:
    """Projects by id, oldest first."""

    def __init__(self, audit_log: AuditLog, keys: KeyTable) -> None:
        self._audit_log = audit_log
        self._keys = keys
        self._projects: dict[str, Project] = {}

    def add(self, project: Project, entry: AuditEntry) -> None:
        """See `AdminStore.add_project`."""
        self._check_unique(project)
        self._projects[project.id] = project
        self._audit_log.append(entry)

    def get(self, id: str) -> Project | None:
        """Return the project, if there is one."""
        return self._projects.get(id)

    def all(self) -> Sequence[Project]:
        """See `AdminStore.projects`."""
        return list(self._projects.values())

    def change(self, id: str, amend: AmendProject, entry: AuditEntry, now: int) -> Project | None:
        """See `AdminStore.change_project`."""
        if id not in self._projects:
            raise invariants.not_found(Project, id)
        project = self._projects[id]
        amended = admin_rules.amend_project(project, amend)
        if amended.is_change:
            if amended.after is None:
                del self._projects[id]
            else:
                self._check_unique(amended.after)
                self._projects[id] = amended.after
            if amended.revokes_keys:
                self._keys.revoke_keys_of(id, now)
            self._audit_log.append(entry)
        return amended.after

    def _check_unique(self, project: Project) -> None:
        for other in self._projects.values():
            if other.id != project.id and normalize_name(other.name) == normalize_name(
                project.name
            ):
                raise admin_rules.project_conflict(project)


class ProviderKeyTable:
    """Encrypted keys for providers, by owner and provider."""

    def __init__(self, audit_log: AuditLog) -> None:
        self._audit_log = audit_log
        self._keys: dict[tuple[str, str], tuple[ProviderKey, bytes]] = {}

    def save(self, key: ProviderKey, encrypted: bytes, entry: AuditEntry) -> None:
        """See `AdminStore.save_provider_key`."""
        self._keys[key.owner, key.provider] = (key, encrypted)
        self._audit_log.append(entry)

    def all(self, owner: str | None) -> Sequence[ProviderKey]:
        """See `AdminStore.provider_keys`."""
        kept = [self._keys[whose][0] for whose in sorted(self._keys)]
        return [key for key in kept if owner in (None, key.owner)]

    def find_encrypted(self, owner: str, provider: str) -> bytes | None:
        """See `AdminStore.find_encrypted_key`."""
        kept = self._keys.get((owner, provider))
        return kept[1] if kept else None

    def replace_encrypted(
        self, owner: str, provider: str, before: bytes, encrypted: bytes, entry: AuditEntry
    ) -> bool:
        """See `AdminStore.replace_encrypted_key`."""
        kept = self._keys.get((owner, provider))
        if kept is None or kept[1] != before:
            return False
        self.save(kept[0], encrypted, entry)
        return True

    def delete(self, owner: str, provider: str, entry: AuditEntry) -> None:
        """See `AdminStore.delete_provider_key`."""
        if self._keys.pop((owner, provider), None) is None:
            raise admin_rules.provider_key_not_found(owner, provider)
        self._audit_log.append(entry)

    def delete_keys_of(self, owner: str) -> int:
        """Delete all keys of an owner; return how many."""
        theirs = self.all(owner)
        for key in theirs:
            del self._keys[owner, key.provider]
        return len(theirs)


class PeopleTable:
    """Accounts by the id of their person, oldest first; names are unique without case."""

    def __init__(self, audit_log: AuditLog, keys: KeyTable) -> None:
        self._audit_log = audit_log
        self._keys = keys
        self._accounts: dict[str, Account] = {}

    def add(self, account: Account, entry: AuditEntry | None) -> None:
        """See `AdminStore.add_person`."""
        if account.person.id in self._accounts:
            raise invariants.duplicate_id(Person, account.person.id)
        self._check_unique(account.person)
        self._accounts[account.person.id] = account
        self._audit_log.append(entry)

    def find(
        self, *, id: str | None = None, name: str | None = None, subject: str | None = None
    ) -> Account | None:
        """See `AdminStore.find_person`."""
        if id is not None:
            return self._accounts.get(id)
        if name is not None:
            return self._first(lambda person: normalize_name(person.name) == normalize_name(name))
        return self._first(lambda person: subject is not None and person.subject == subject)

    def all(self) -> Sequence[Person]:
        """See `AdminStore.people`."""
        return [account.person for account in self._accounts.values()]

    def change(
        self, person_id: str, amend: AmendAccount, entry: AuditEntry | None, now: int
    ) -> Account | None:
        """See `AdminStore.change_person`."""
        account = self._accounts.get(person_id)
        if account is None:
            raise invariants.not_found(Person, person_id)
        others = self._first(lambda person: person.is_admin and person.id != person_id)
        amended = admin_rules.amend_account(account, amend, has_other_admin=others is not None)
        if amended.is_change:
            if amended.after is None:
                del self._accounts[person_id]
            else:
                self._check_unique(amended.after.person)
                self._accounts[person_id] = amended.after
            if amended.revokes_keys:
                self._keys.revoke_keys_of(person_id, now)
            self._audit_log.append(entry)
        return amended.after

    def _first(self, fits: Callable[[Person], bool]) -> Account | None:
        return next((each for each in self._accounts.values() if fits(each.person)), None)

    def _check_unique(self, person: Person) -> None:
        for other in (self.find(name=person.name), self.find(subject=person.subject)):
            if other is not None and other.person.id != person.id:
                raise admin_rules.person_conflict(person)
