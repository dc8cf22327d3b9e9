"""Operations on published assistants: publish, take back, list, read and copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon.api import operations
from antiphon.api.operations import Deleted, Listed, Operation, PublishedAssistant
from antiphon.engine.published import COPIED_FROM, describe_published
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import Store
from antiphon.runtime.admin import audit
from antiphon.runtime.admin.accounts import check_standing
from antiphon.runtime.published import find_author, find_published
from antiphon.runtime.responses import OperationHandler
from antiphon.settings.settings import Settings
from antiphon.types.accounts import Principal
from antiphon.types.errors import Forbidden, NotFound, Unauthorized
from antiphon.types.ids import Mint
from antiphon.types.runs import Assistant

MAX_PUBLISHED = 100
"""Assistants that an owner may have published at a time: everyone lists them."""


class PublishedAssistantService:
    """Publishes assistants, and lets other owners read and copy them.

    `create_assistant` is the handler of `CreateAssistant`, for copies.
    """

    def __init__(
        self, store: Store, mint: Mint, settings: Settings, create_assistant: OperationHandler
    ) -> None:
        self._store = store
        self._mint = mint
        self._enabled = settings.publishing
        self._create_assistant = create_assistant
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.PublishAssistant: self._publish,
            operations.UnpublishAssistant: self._unpublish,
            operations.ListPublishedAssistants: self._list,
            operations.GetPublishedAssistant: lambda operation, _by, _: self._find(
                operation.assistant_id
            ),
            operations.CopyPublishedAssistant: self._copy,
            operations.RemovePublishedAssistant: self._remove,
        }

    async def find_usable(self, assistant_id: str, owner: str) -> Assistant:
        """Return the owner's assistant, or a published one as others may use it.

        Raises `NotFound`.
        """
        try:
            return await self._store.get(Assistant, owner, assistant_id)
        except NotFound:
            if not self._enabled:
                raise
        return (await find_published(self._store, assistant_id))[1]

    async def _publish(
        self, operation: operations.PublishAssistant, by: Principal, _: IdempotencyKey | None
    ) -> Assistant:
        if not self._enabled:
            raise Forbidden(
                "Assistants are not published here.",
                hint="An operator can allow it by the setting publishing.",
            )
        entry = await audit.create_entry(
            self._store, self._mint, by, "assistant.published", operation.assistant_id, by.owner
        )
        now = await self._store.now()
        published = await self._store.publish_assistant(
            by.owner, operation.assistant_id, now, MAX_PUBLISHED, entry
        )
        try:
            await check_standing(self._store, by)
        except Unauthorized:
            if published.published_at == now:  # by this request
                await self._unpublish(operations.UnpublishAssistant(published.id), by, None)
            raise
        return published

    async def _unpublish(
        self, operation: operations.UnpublishAssistant, by: Principal, _: IdempotencyKey | None
    ) -> Assistant:
        entry = await audit.create_entry(
            self._store, self._mint, by, "assistant.unpublished", operation.assistant_id, by.owner
        )
        return await self._store.publish_assistant(
            by.owner, operation.assistant_id, None, MAX_PUBLISHED, entry
        )

    async def _list(
        self,
        operation: operations.ListPublishedAssistants,
        _by: Principal,
        _: IdempotencyKey | None,
    ) -> Listed[PublishedAssistant]:
        if not self._enabled:
            return Listed((), has_more=False)
        page = await self._store.list_published_assistants(None, operation.limit, operation.after)
        authors = {
            owner: await find_author(self._store, owner)
            for owner in dict.fromkeys(owner for owner, _ in page.data)
        }
        shown = [
            describe_published(assistant, author)
            for owner, assistant in page.data
            if (author := authors[owner]) is not None
        ]
        following = page.data[-1][1].id if page.has_more else None
        return Listed(shown, has_more=page.has_more, next=following)

    async def _copy(
        self,
        operation: operations.CopyPublishedAssistant,
        by: Principal,
        once: IdempotencyKey | None,
    ) -> object:
        found = await self._find(operation.assistant_id)
        copied: dict[str, Any] = {
            name: getattr(found, name)
            for name in operations.CreateAssistant.__struct_fields__
            if name in PublishedAssistant.__struct_fields__
        }
        copied["metadata"] = {**found.metadata, COPIED_FROM: found.id}
        return await self._create_assistant(operations.CreateAssistant(**copied), by, once)

    async def _remove(
        self,
        operation: operations.RemovePublishedAssistant,
        by: Principal,
        _: IdempotencyKey | None,
    ) -> Deleted:
        """Take the assistant back, also while `publishing` is off or its owner disabled."""
        found = await self._store.find_records(Assistant, [operation.assistant_id])
        owner, assistant = found.get(operation.assistant_id, ("", None))
        if assistant is None or assistant.published_at is None:
            raise NotFound(
                f"There is no published assistant {operation.assistant_id[:64]}.",
                hint="Its owner may have taken it back.",
            )
        entry = await audit.create_entry(
            self._store, self._mint, by, "assistant.unpublished", assistant.id, owner
        )
        await self._store.publish_assistant(owner, assistant.id, None, MAX_PUBLISHED, entry)
        return Deleted(assistant.id)

    async def _find(self, assistant_id: str) -> PublishedAssistant:
        if not self._enabled:
            raise NotFound(
                "There are no published assistants here.",
                hint="An operator can allow them by the setting publishing.",
            )
        author, assistant = await find_published(self._store, assistant_id)
        return describe_published(assistant, author)
