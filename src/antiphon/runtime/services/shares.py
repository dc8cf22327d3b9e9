"""Operations on shares: snapshots of threads, and reading them under a link."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Deleted, Listed, Operation
from antiphon.engine.shares import take_snapshot, to_past_messages
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import Store
from antiphon.runtime.admin import audit
from antiphon.runtime.admin.accounts import check_standing
from antiphon.runtime.responses import OperationHandler
from antiphon.runtime.stored_files import add_documents
from antiphon.settings.settings import Settings
from antiphon.types.accounts import AuditAction, AuditEntry, Principal
from antiphon.types.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    TooLarge,
    Unauthorized,
)
from antiphon.types.ids import Mint
from antiphon.types.messages import Message, Upload
from antiphon.types.runs import Run, Thread
from antiphon.types.shares import (
    LIFETIME,
    SECOND_MS,
    TOKEN_BYTES,
    Share,
    SharedMessage,
    SharedSnapshot,
    SharedThread,
)
from antiphon.types.thread_view import file_ids

PAGE = 200
MAX_BYTES = 16_000_000
MAX_MESSAGES = 10_000
"""Most of one snapshot: as many messages as a new thread may begin with."""


class ShareService:
    """Creates, updates, lists and revokes shares; reads and copies what is shared.

    `create_thread` is the handler of `CreateThread`, for copies.
    """

    def __init__(
        self, store: Store, mint: Mint, settings: Settings, create_thread: OperationHandler
    ) -> None:
        self._store = store
        self._mint = mint
        self._sharing = settings.sharing
        self._limit = settings.max_shares
        self._max_lifetime = settings.max_share_lifetime
        self._create_thread = create_thread
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.CreateShare: self._create,
            operations.ListShares: self._list,
            operations.UpdateShare: self._update,
            operations.DeleteShare: self._delete,
            operations.GetShared: lambda operation, _by, _: self._open(operation.token),
            operations.CopyShared: self._copy_shared,
        }

    async def _create(
        self, operation: operations.CreateShare, by: Principal, _: IdempotencyKey | None
    ) -> operations.NewShare:
        self._require_sharing()
        lifetime = operation.expires_in or min(LIFETIME, self._max_lifetime)
        self._check_lifetime(lifetime)
        thread = await self._store.get(Thread, by.owner, operation.thread_id)
        now = await self._store.now()
        share = Share(
            id=self._mint("share"),
            thread_id=thread.id,
            title=thread.title if operation.title is None else operation.title,
            include_tools=operation.include_tools,
            include_reasoning=operation.include_reasoning,
            created_at=now,
            updated_at=now,
            expires_at=now + lifetime * SECOND_MS,
        )
        messages = await self._read_messages(share, by.owner)
        share = replace(share, messages=len(messages))
        token = secrets.token_urlsafe(TOKEN_BYTES)
        entry = await self._entry("share.created", share, by)
        await self._store.add_share(
            by.owner, share, hash_token(token), _encode(messages), self._limit, entry
        )
        await self._revoke_without_standing(share, by)
        return operations.NewShare(share, token)

    async def _list(
        self, operation: operations.ListShares, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Share]:
        if operation.thread_id is not None:
            await self._store.get(Thread, by.owner, operation.thread_id)
        return Listed(await self._store.shares(by.owner, operation.thread_id), has_more=False)

    async def _update(
        self, operation: operations.UpdateShare, by: Principal, _: IdempotencyKey | None
    ) -> Share:
        self._require_sharing()
        before = await self._store.find_share(by.owner, operation.share_id)
        now = await self._store.now()
        changes: dict[str, Any] = {
            name: value
            for name in ("title", "include_tools", "include_reasoning")
            if (value := getattr(operation, name)) is not UNSET
        }
        if operation.expires_in is not UNSET:
            self._check_lifetime(operation.expires_in)
            changes["expires_at"] = now + operation.expires_in * SECOND_MS
        messages = await self._read_messages(replace(before, **changes), by.owner)
        changes |= {"updated_at": now, "messages": len(messages)}

        def amend(share: Share) -> Share:
            if share != before:  # the snapshot is of what the share included before
                raise Conflict(
                    "The share was changed at the same time.", hint="Update it once more."
                )
            return replace(share, **changes)

        updated = await self._store.change_share(
            by.owner,
            operation.share_id,
            amend,
            _encode(messages),
            await self._entry("share.updated", before, by),
        )
        await self._revoke_without_standing(updated, by)
        return updated

    async def _revoke_without_standing(self, share: Share, by: Principal) -> None:
        """Revoke the share, and raise `Unauthorized`, if the caller has no rights any more."""
        try:
            await check_standing(self._store, by)
        except Unauthorized:
            with suppress(NotFound):
                entry = await self._entry("share.revoked", share, by)
                await self._store.delete_share(by.owner, share.id, entry)
            raise

    async def _delete(
        self, operation: operations.DeleteShare, by: Principal, _: IdempotencyKey | None
    ) -> Deleted:
        share = await self._store.find_share(by.owner, operation.share_id)
        entry = await self._entry("share.revoked", share, by)
        await self._store.delete_share(by.owner, operation.share_id, entry)
        return Deleted(operation.share_id)

    async def _copy_shared(
        self, operation: operations.CopyShared, by: Principal, once: IdempotencyKey | None
    ) -> object:
        shared = await self._open(operation.token)
        past = tuple(to_past_messages(shared.messages))
        return await self._create_thread(
            operations.CreateThread(title=shared.title, messages=past), by, once
        )

    async def _open(self, token: str) -> SharedThread:
        """Return what the link shows. Raises `NotFound`, always the same.

        The database is asked in every case, so that the time tells nothing either.
        """
        found = await self._store.open_share(hash_token(token))
        if found is None or self._sharing == "off":
            raise NotFound(
                "Nothing is shared under this link.",
                hint="It may have expired, or been revoked: ask the person that it came from.",
            )
        share, snapshot = found
        return SharedThread(
            title=share.title,
            messages=msgspec.json.decode(snapshot, type=SharedSnapshot).messages,
            shared_at=share.updated_at,
            expires_at=share.expires_at,
        )

    async def _read_messages(self, share: Share, owner: str) -> Sequence[SharedMessage]:
        messages: list[Message] = []
        size, after, more = 0, None, True
        while more:
            page = await self._store.list(
                Message, owner, limit=PAGE, after=after, thread_id=share.thread_id
            )
            messages += page.data
            size += sum(map(_count_characters, page.data))
            more, after = page.has_more, page.data[-1].id if page.data else None
            if size > MAX_BYTES or len(messages) > MAX_MESSAGES:
                raise TooLarge(
                    "The conversation is too long to be shared.",
                    expected=f"at most {MAX_MESSAGES} messages and {MAX_BYTES} bytes of text",
                    hint="Fork it before a later message, and share the fork.",
                )
        models = await self._read_models(share.thread_id, owner)
        uploads: list[Upload] = []
        for file_id in {each for message in messages for each in file_ids(message)}:
            try:
                uploads.append(await self._store.get(Upload, owner, file_id))
            except NotFound:  # deleted meanwhile
                continue
        files = {each.id: each for each in await add_documents(self._store, uploads)}
        return take_snapshot(
            messages, models, files, tools=share.include_tools, reasoning=share.include_reasoning
        )

    async def _read_models(self, thread_id: str, owner: str) -> Mapping[str, str]:
        models: dict[str, str] = {}
        after, more = None, True
        while more:
            page = await self._store.list(Run, owner, limit=PAGE, after=after, thread_id=thread_id)
            models |= {run.id: run.model for run in page.data}
            more, after = page.has_more, page.data[-1].id if page.data else None
        return models

    async def _entry(self, what: AuditAction, share: Share, by: Principal) -> AuditEntry:
        return await audit.create_entry(
            self._store, self._mint, by, what, share.id, by.owner, thread=share.thread_id
        )

    def _check_lifetime(self, seconds: int) -> None:
        if seconds > self._max_lifetime:
            raise InvalidRequest(
                "A link may not be valid for so long here.",
                expected=f"at most {self._max_lifetime} seconds, by max_share_lifetime",
                received=str(seconds),
                where="$.expires_in",
            )

    def _require_sharing(self) -> None:
        if self._sharing == "off":
            raise Forbidden(
                "Conversations are not shared by links here.",
                hint="An operator can allow it by the setting sharing.",
            )


def _count_characters(message: Message) -> int:
    """Return the length of what is read of the message, whether the share includes it or not."""
    calls = sum(len(each.arguments) for each in message.tool_calls)
    return len(message.full_text) + len(message.reasoning or "") + calls


def hash_token(token: str) -> bytes:
    """Return the hash under which the share of this token is stored."""
    return blake2b(token.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def _encode(messages: Sequence[SharedMessage]) -> bytes:
    return msgspec.json.encode(SharedSnapshot(tuple(messages)))
