"""ShareStore: shares of threads and their snapshots, and published assistants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from antiphon.ports.records import RecordPage, RecordStore
from antiphon.types.accounts import AuditEntry
from antiphon.types.runs import Assistant
from antiphon.types.shares import Share

AmendShare = Callable[[Share], Share]
"""Pure function from a share to the new one."""


class ShareStore(RecordStore, Protocol):
    """Stores shares of threads, and which assistants are published.

    A share ends with its thread, and thereby with its owner.
    `RunStore.delete_expired_shares` deletes those that have expired, which no method returns.
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

    async def publish_assistant(
        self, owner: str, assistant_id: str, at: int | None, limit: int, entry: AuditEntry
    ) -> Assistant:
        """Publish the assistant as of that time (ms), or take it back with None; return it.

        One that is in this state already is left as it is, without an entry. Raises `NotFound`, and
        `Conflict` if the owner has published `limit` assistants.
        """
        ...

    async def list_published_assistants(
        self, owner: str | None, limit: int, after: str | None = None
    ) -> RecordPage:
        """Return pairs of owner and published assistant, of one owner or all, newest first.

        Raises `NotFound` for an `after` that is no published assistant.
        """
        ...

    async def open_share(self, token_hash: bytes) -> tuple[Share, bytes] | None:
        """Return the share of any owner and its snapshot; None if there is none or it expired."""
        ...
