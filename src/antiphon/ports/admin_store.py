"""AdminStore: keys, people, projects, what owners have and use, and the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from antiphon.ports.records import RecordPage, RecordStore
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
from antiphon.types.chat_imports import ImportClaim
from antiphon.types.imports import ImportBatch

T = TypeVar("T")


AmendAccount = Callable[[Account, bool], Account | None]
"""Pure function from an account, and whether another administrator exists, to the new account.

None removes the account.
"""


AmendKey = Callable[[Key], Key]
"""Pure function from a key to the new key."""


AmendProject = Callable[[Project], Project | None]
"""Pure function from a project to the new project; None removes it."""


class AdminStore(RecordStore, Protocol):
    """Stores keys, people, projects, what owners have and use, and the audit log.

    An audit entry is stored with the change that it describes or not at all; it is not stored
    where nothing changed.
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

    async def delete_owned(self, owner: str, limit: int, claim: ImportClaim | None = None) -> int:
        """Delete about `limit` things of an owner and return how many; 0 when nothing is left.

        Everything is deleted but the audit log, and imports of chats that have not ended: they may
        have records of a staging owner, which are deleted first. Keys are revoked and lose their
        name, but stay, because the existence of a key is what requires one. Raises `Fenced`, and
        deletes nothing, if the worker has lost the import of `claim`.
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

    async def import_records(
        self, owner: str, batch: ImportBatch, claim: ImportClaim | None = None
    ) -> None:
        """Add records as they are, with their ids and times. No run of them is ever claimed.

        Nothing is counted: neither usage nor what a key has used. Raises `Conflict` where an id or
        a place in a thread is taken, and `Fenced` if the worker has lost the import of `claim`;
        adds nothing then.
        """
        ...

    async def transfer_owned(
        self, owner: str, to: str, limit: int, claim: ImportClaim | None = None
    ) -> int:
        """Transfer about `limit` assistants, uploads or threads to another owner; return how many.

        A thread is transferred with everything in it. Other things of the owner stay. 0 means that
        nothing is left to transfer. Raises `Fenced` if the worker has lost the import of `claim`.
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

    async def installation_secret(self) -> bytes:
        """Return 32 random bytes, created on first use and equal in every process."""
        ...
