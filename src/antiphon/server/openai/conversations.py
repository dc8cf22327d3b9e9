"""`/openai/v1/conversations`: an owner's threads as conversations, and their items.

A thread keeps a call and its output together, and only its end can be deleted. So items that are
added have the outputs of their calls with them, except for calls of a run that waits for them: such
outputs are submitted to the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from antiphon.api.fields import Metadata
from antiphon.api.operation import convert
from antiphon.api.operations import (
    AppendMessages,
    CreateThread,
    DeleteThread,
    GetThread,
    Listed,
    UpdateThread,
)
from antiphon.server.caller_api import CallerApi
from antiphon.server.gateway import Gateway
from antiphon.server.openai.call_answers import busy_error, refuse_answers, submit_answers
from antiphon.server.openai.queries import Query
from antiphon.server.openai.thread_items import Located, ThreadItems
from antiphon.server.requests import RequestContext, idempotency_key, path_parameters
from antiphon.types.errors import Conflict, InvalidRequest, NotFound, RunActive
from antiphon.types.messages import Message
from antiphon.types.runs import Thread
from antiphon.wires.openai.input_items import parse_items, replace_references
from antiphon.wires.openai.item_builders import select_fields
from antiphon.wires.openai.items import Item
from antiphon.wires.openai.object_ids import (
    conversation_id,
    parse_conversation_id,
    parse_item_id,
)
from antiphon.wires.openai.output_pictures import move_pictures
from antiphon.wires.openai.sent_items import SentItems, read_items, require_outputs
from antiphon.wires.openai.stored_items import remove_item

ITEMS = 20
"""Items on a page, unless the query has a limit."""


class ConversationObject(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation; `created_at` is in seconds since 1970."""

    id: str
    object: str = "conversation"
    created_at: int
    metadata: Mapping[str, str]


class DeletedConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that was deleted."""

    id: str
    object: str = "conversation.deleted"
    deleted: bool = True


class ItemList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of items."""

    object: str = "list"
    data: Sequence[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class _NewConversation(msgspec.Struct, frozen=True):
    items: list[Any] | None = None
    metadata: Metadata | None = None


class _Changes(msgspec.Struct, frozen=True):
    metadata: Metadata | None


class _NewItems(msgspec.Struct, frozen=True):
    items: list[Any]


def item_list(
    items: Sequence[Item], include: frozenset[str], *, has_more: bool = False
) -> ItemList:
    """Return items as a page, with the optional fields that are asked for."""
    data = [select_fields(item, include) for item in items]
    return ItemList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=has_more,
    )


class Conversations:
    """Answers requests for conversations and their items."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._run = gateway.connections.run_in_slot

    async def create(self, context: RequestContext) -> None:
        """Answer `POST /conversations`."""
        body = convert(await self._read_object(context), _NewConversation)
        key = idempotency_key(context.scope)
        api = self._gateway.api(context)

        async def work() -> ConversationObject:
            sent = await _read_sent(ThreadItems(api), body.items or [])
            refuse_answers(sent)
            async with api.inline_files(sent.messages, key) as messages:
                call = CreateThread(metadata=body.metadata or {}, messages=tuple(messages))
                thread = await api.create(call, Thread, key)
            return _conversation(thread)

        await context.respond_json(200, await self._run(context, work()))

    async def retrieve(self, context: RequestContext) -> None:
        """Answer `GET /conversations/{conversation_id}`."""
        thread = await self._run(context, _find_thread(self._gateway.api(context), context))
        await context.respond_json(200, _conversation(thread))

    async def update(self, context: RequestContext) -> None:
        """Answer `POST /conversations/{conversation_id}`."""
        changes = convert(await self._read_object(context), _Changes)
        api = self._gateway.api(context)

        async def work() -> Thread:
            thread = await _find_thread(api, context)
            return await api.ask(UpdateThread(thread.id, metadata=changes.metadata or {}))

        await context.respond_json(200, _conversation(await self._run(context, work())))

    async def delete(self, context: RequestContext) -> None:
        """Answer `DELETE /conversations/{conversation_id}`."""
        api = self._gateway.api(context)

        async def work() -> DeletedConversation:
            thread = await _find_thread(api, context)
            await api.ask(DeleteThread(thread.id))
            return DeletedConversation(id=conversation_id(thread.id))

        await context.respond_json(200, await self._run(context, work()))

    async def create_items(self, context: RequestContext) -> None:
        """Answer `POST /conversations/{conversation_id}/items`."""
        body = convert(await self._read_object(context), _NewItems)
        query = Query(context.scope)
        work = self._add_items(context, body.items)
        items = await self._run(context, work)
        await context.respond_json(200, item_list(items, query.include))

    async def list_items(self, context: RequestContext) -> None:
        """Answer `GET /conversations/{conversation_id}/items`."""
        query = Query(context.scope)
        api = self._gateway.api(context)

        async def work() -> ItemList:
            thread = await _find_thread(api, context)
            found, has_more = await ThreadItems(api).list_items(
                thread.id,
                descending=query.descending,
                after=query.after,
                limit=query.limit(ITEMS),
            )
            return item_list(found, query.include, has_more=has_more)

        await context.respond_json(200, await self._run(context, work()))

    async def retrieve_item(self, context: RequestContext) -> None:
        """Answer `GET /conversations/{conversation_id}/items/{item_id}`."""
        query = Query(context.scope)
        api = self._gateway.api(context)

        async def work() -> Item:
            thread = await _find_thread(api, context)
            item_id = path_parameters(context.scope)["item_id"]
            return (await ThreadItems(api).locate(item_id, thread.id)).item

        item = await self._run(context, work())
        await context.respond_json(200, select_fields(item, query.include))

    async def delete_item(self, context: RequestContext) -> None:
        """Answer `DELETE /conversations/{conversation_id}/items/{item_id}`."""
        thread = await self._run(context, self._delete_item(context))
        await context.respond_json(200, _conversation(thread))

    async def _add_items(self, context: RequestContext, given: list[Any]) -> list[Item]:
        api = self._gateway.api(context)
        thread = await _find_thread(api, context)
        items = ThreadItems(api)
        sent = await _read_sent(items, given)
        key = idempotency_key(context.scope)
        added: list[Item] = []
        async with api.inline_files(sent.messages, key) as messages:
            if sent.outputs or sent.approvals:
                added += await submit_answers(api, thread, sent)
            if messages:
                call = AppendMessages(thread.id, tuple(messages))
                try:
                    stored = await api.create(call, Listed[Message], key)
                except RunActive:
                    raise await busy_error(api, thread) from None
                added += await items.items_of(stored.data)
        return added

    async def _delete_item(self, context: RequestContext) -> Thread:
        api = self._gateway.api(context)
        item_id = path_parameters(context.scope)["item_id"]
        while True:
            thread = await _find_thread(api, context)
            located = await ThreadItems(api).locate(item_id, thread.id)
            try:
                await api.ask(_deletion(thread, located))
            except RunActive:
                raise await busy_error(api, thread) from None
            except Conflict:  # another request came first: look again
                continue
            return await api.ask(GetThread(thread.id))

    async def _read_object(self, context: RequestContext) -> dict[str, Any]:
        body = await self._gateway.read_body(context)
        return self._gateway.parse_object(context, body) if body else {}


def _conversation(thread: Thread) -> ConversationObject:
    return ConversationObject(
        id=conversation_id(thread.id),
        created_at=thread.created_at // 1000,
        metadata=thread.metadata,
    )


def _deletion(thread: Thread, located: Located) -> AppendMessages:
    """Return the operation that deletes an item of a thread's end. Raises `InvalidRequest`."""
    item, group = located
    parsed = parse_item_id(item.id or "")
    if parsed is None or group[-1].number != thread.messages:
        raise InvalidRequest(
            "Only what a conversation ends with can be deleted.",
            expected="an item of the last message",
            received=item.id,
            hint="Delete the items after it first, the last one first.",
            where="$.item_id",
        )
    rest = tuple(remove_item(group, parsed))
    return AppendMessages(thread.id, rest, group[0].id, if_version=thread.version)


async def _find_thread(api: CallerApi, context: RequestContext) -> Thread:
    """Return the thread of the conversation in the path. Raises `NotFound`."""
    given = path_parameters(context.scope)["conversation_id"]
    thread_id = parse_conversation_id(given)
    if thread_id is not None:
        try:
            return await api.ask(GetThread(thread_id))
        except NotFound:
            pass
    raise NotFound(
        f"Conversation with id '{given[:100]}' not found.",
        hint="Its id begins with conv_.",
        where="$.conversation_id",
    )


async def _read_sent(stored: ThreadItems, given: list[Any]) -> SentItems:
    """Return what the items mean, each call with its output. Raises `InvalidRequest`."""
    items = parse_items(given, "items")
    items = replace_references(items, await stored.find_references(items), "items")
    sent = read_items(items, "items")
    require_outputs(sent)
    moved = move_pictures(sent._replace(outputs=()))
    return sent._replace(messages=moved.messages)
