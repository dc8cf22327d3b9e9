"""The keys, projects and acts of the store that forgets, and what its keys have used."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from antiphon.engine.accounts import normalize_name
from antiphon.ports import AmendAccount, AmendKey, AmendProject, Key, RecordPage
from antiphon.stores import invariants
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
    """What administrators did, oldest first."""

    def __init__(self) -> None:
        self._acts: list[AuditEntry] = []

    def append(self, entry: AuditEntry | None) -> None:
        """See `AdminStore.append_audit_entry`."""
        if entry is not None:
            self._acts.append(entry)

    def all(self) -> Sequence[AuditEntry]:
        """Return all entries."""
        return self._acts

    def page(self, limit: int, after: str | None, owner: str | None) -> RecordPage:
        """See `AdminStore.audit_entries`."""
        acts = list(reversed(self._acts))
        if after is not None:
            places = [place for place, entry in enumerate(acts, 1) if entry.id == after]
            if not places:
                raise invariants.not_found(AuditEntry, after)
            acts = acts[places[0] :]
        acts = [entry for entry in acts if owner in (None, entry.owner)]
        return RecordPage(acts[:limit], len(acts) > limit)


class KeyTable:
    """Keys with their hashes, oldest first, and what was counted of each."""

    def __init__(self, acts: AuditLog) -> None:
        self._acts = acts
        self._keys: dict[str, tuple[Key, bytes]] = {}
        self._used: dict[Counter, tuple[int, int]] = {}

    def add(self, key: Key, digest: bytes, entry: AuditEntry | None) -> None:
        """See `AdminStore.add_key`."""
        self._keys[key.id] = (key, digest)
        self._acts.append(entry)

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
            self._acts.append(entry)
        return changed

    def revoke_keys_of(self, owner: str, now: int) -> None:
        """Revoke all that open what is this owner's, or that this person has."""
        for key in self._keys_of(owner):
            self.change(key.id, invariants.revoke_at(now), None)

    def erase_keys_of(self, owner: str, now: int) -> int:
        """Revoke them, and forget their names and what they used; how many had any of it."""
        theirs = self._keys_of(owner)
        blank = [self.change(key.id, invariants.anonymize_at(now), None) for key in theirs]
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
        """Count what a run has used, if its key has a limit of that."""
        kept = self._keys.get(key_id or "")
        if amount and kept and kept[0].limits.tokens_per_day is not None:
            self.count(Counter(kept[0].id, "tokens"), amount, now)

    def read_usage(self, counter: Counter, now: int) -> int:
        """What was counted in the period that is now."""
        then, total = self._used.get(counter, (0, 0))
        return total if then >= period(counter, now) else 0


class ProjectTable:
    """Projects by id, oldest first."""

    def __init__(self, acts: AuditLog, keys: KeyTable) -> None:
        self._acts = acts
        self._keys = keys
        self._projects: dict[str, Project] = {}

    def add(self, project: Project, entry: AuditEntry) -> None:
        """See `AdminStore.add_project`."""
        self._check_unique(project)
        self._projects[project.id] = project
        self._acts.append(entry)

    def get(self, id: str) -> Project | None:
        """The project, if there is one."""
        return self._projects.get(id)

    def all(self) -> Sequence[Project]:
        """See `AdminStore.projects`."""
        return list(self._projects.values())

    def change(self, id: str, amend: AmendProject, entry: AuditEntry, now: int) -> Project | None:
        """See `AdminStore.change_project`."""
        if id not in self._projects:
            raise invariants.not_found(Project, id)
        project = self._projects[id]
        changed = amend(project)
        if changed == project:
            return changed
        if changed is None:
            del self._projects[id]
        else:
            self._check_unique(changed)
            self._projects[id] = changed
        if changed is None or changed.disabled:
            self._keys.revoke_keys_of(id, now)
        self._acts.append(entry)
        return changed

    def _check_unique(self, project: Project) -> None:
        for other in self._projects.values():
            if other.id != project.id and normalize_name(other.name) == normalize_name(
                project.name
            ):
                raise invariants.project_conflict(project)


class ProviderKeyTable:
    """Sealed keys for providers, by owner and provider."""

    def __init__(self, acts: AuditLog) -> None:
        self._acts = acts
        self._keys: dict[tuple[str, str], tuple[ProviderKey, bytes]] = {}

    def save(self, key: ProviderKey, encrypted: bytes, entry: AuditEntry) -> None:
        """See `AdminStore.save_provider_key`."""
        self._keys[key.owner, key.provider] = (key, encrypted)
        self._acts.append(entry)

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
            raise invariants.provider_key_not_found(owner, provider)
        self._acts.append(entry)

    def delete_keys_of(self, owner: str) -> int:
        """Forget all of an owner; how many there were."""
        theirs = self.all(owner)
        for key in theirs:
            del self._keys[owner, key.provider]
        return len(theirs)


# The people of the store that forgets: found by id, by name whatever its case, or by subject.


class PeopleTable:
    """Accounts by the id of their person, oldest first."""

    def __init__(self, acts: AuditLog, keys: KeyTable) -> None:
        self._acts = acts
        self._keys = keys
        self._accounts: dict[str, Account] = {}

    def add(self, account: Account, entry: AuditEntry | None) -> None:
        """See `AdminStore.add_person`."""
        if account.person.id in self._accounts:
            raise invariants.duplicate_id(Person, account.person.id)
        self._check_unique(account.person)
        self._accounts[account.person.id] = account
        self._acts.append(entry)

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
        changed = amend(account, others is not None)
        if changed == account:
            return changed
        if changed is None:
            del self._accounts[person_id]
        else:
            self._check_unique(changed.person)
            self._accounts[person_id] = changed
        if changed is None or changed.person.disabled:
            self._keys.revoke_keys_of(person_id, now)
        self._acts.append(entry)
        return changed

    def _first(self, fits: Callable[[Person], bool]) -> Account | None:
        return next((each for each in self._accounts.values() if fits(each.person)), None)

    def _check_unique(self, person: Person) -> None:
        for named in (self.find(name=person.name), self.find(subject=person.subject)):
            if named is not None and named.person.id != person.id:
                raise invariants.person_conflict(person)
