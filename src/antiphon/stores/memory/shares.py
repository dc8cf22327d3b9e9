"""Shares of threads, and published assistants, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from antiphon.ports import AmendShare, RecordPage
from antiphon.stores import admin_rules, invariants
from antiphon.stores.invariants import Clock
from antiphon.stores.memory.admin import MemoryAdministration, delete_all
from antiphon.stores.memory.records import StoredRecord
from antiphon.types.accounts import AuditEntry
from antiphon.types.runs import Assistant, Thread
from antiphon.types.shares import Share


@dataclass
class _StoredShare:
    """A share with its owner, the hash of its token, and its snapshot."""

    owner: str
    share: Share
    token_hash: bytes
    snapshot: bytes


class MemoryShares(MemoryAdministration):
    """`ShareStore`; the table has the oldest first."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._shares: dict[str, _StoredShare] = {}

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
        expired = self._list_expired()
        delete_all(self._shares, [each for each in expired if self._shares[each].owner == owner])
        if sum(each.owner == owner for each in self._shares.values()) >= limit:
            raise admin_rules.share_limit_error(limit)
        if not self._owns_thread(owner, share.thread_id):
            raise invariants.not_found(Thread, share.thread_id)
        self._shares[share.id] = _StoredShare(owner, share, token_hash, snapshot)
        self._append_entry(entry)

    async def shares(self, owner: str, thread_id: str | None = None) -> Sequence[Share]:
        """See `ShareStore.shares`."""
        now = self._clock()
        found = [
            each.share
            for each in self._shares.values()
            if each.owner == owner
            and each.share.expires_at > now
            and thread_id in (None, each.share.thread_id)
        ]
        return found[::-1]

    async def find_share(self, owner: str, share_id: str) -> Share:
        """See `ShareStore.find_share`."""
        return self._get_share(owner, share_id).share

    async def change_share(
        self, owner: str, share_id: str, amend: AmendShare, snapshot: bytes, entry: AuditEntry
    ) -> Share:
        """See `ShareStore.change_share`."""
        stored = self._get_share(owner, share_id)
        stored.share, stored.snapshot = amend(stored.share), snapshot
        self._append_entry(entry)
        return stored.share

    async def delete_share(self, owner: str, share_id: str, entry: AuditEntry) -> None:
        """See `ShareStore.delete_share`."""
        stored = self._shares.get(share_id)
        if stored is None or stored.owner != owner:
            raise invariants.not_found(Share, share_id)
        del self._shares[share_id]
        self._append_entry(entry)

    async def open_share(self, token_hash: bytes) -> tuple[Share, bytes] | None:
        """See `ShareStore.open_share`."""
        now = self._clock()
        for each in self._shares.values():
            if each.token_hash == token_hash and each.share.expires_at > now:
                return each.share, each.snapshot
        return None

    async def publish_assistant(
        self, owner: str, assistant_id: str, at: int | None, limit: int, entry: AuditEntry
    ) -> Assistant:
        """See `ShareStore.publish_assistant`."""
        stored = self._get_assistants().get(assistant_id)
        if stored is None or stored.owner != owner:
            raise invariants.not_found(Assistant, assistant_id)
        assistant: Assistant = stored.record
        if (assistant.published_at is None) == (at is None):
            return assistant
        if (
            at is not None
            and len((await self.list_published_assistants(owner, limit)).data) >= limit
        ):
            raise admin_rules.publication_limit_error(limit)
        changed = replace(assistant, published_at=at)
        self._get_assistants()[assistant_id] = StoredRecord(owner, changed)
        self._append_entry(entry)
        return changed

    async def list_published_assistants(
        self, owner: str | None, limit: int, after: str | None = None
    ) -> RecordPage:
        """See `ShareStore.list_published_assistants`."""
        newest = [
            each
            for each in reversed(self._get_assistants().values())
            if each.record.published_at is not None
        ]
        if after is not None:
            places = [place for place, each in enumerate(newest, 1) if each.record.id == after]
            if not places:
                raise invariants.not_found(Assistant, after)
            newest = newest[places[0] :]
        found = [(each.owner, each.record) for each in newest if owner in (None, each.owner)]
        return RecordPage(found[:limit], len(found) > limit)

    async def delete_expired_shares(self, limit: int) -> int:
        """See `ShareStore.delete_expired_shares`."""
        return delete_all(self._shares, self._list_expired()[:limit])

    def _get_share(self, owner: str, share_id: str) -> _StoredShare:
        stored = self._shares.get(share_id)
        if stored is None or stored.owner != owner or stored.share.expires_at <= self._clock():
            raise invariants.not_found(Share, share_id)
        return stored

    def _list_expired(self) -> list[str]:
        now = self._clock()
        return [key for key, each in self._shares.items() if each.share.expires_at <= now]

    def _delete_shares_of(self, thread_id: str) -> None:
        theirs = [key for key, each in self._shares.items() if each.share.thread_id == thread_id]
        delete_all(self._shares, theirs)

    def _get_assistants(self) -> dict[str, StoredRecord]:
        """Return the assistants of all owners by id, the oldest first."""
        raise NotImplementedError

    def _owns_thread(self, owner: str, thread_id: str) -> bool:
        """Return whether the owner has this thread."""
        raise NotImplementedError
