"""Reads the items of threads: pages of them, one of them, and the outputs of calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import NamedTuple

from antiphon.api.operations import GetMessage, ListMessages
from antiphon.server.caller_api import PAGE, CallerApi
from antiphon.server.openai.run_tools import RunToolFacts, read_tool_facts
from antiphon.types.errors import NotFound
from antiphon.types.messages import Message
from antiphon.wires.openai.item_builders import name_in_namespace
from antiphon.wires.openai.items import InputItem, Item, ItemReference
from antiphon.wires.openai.object_ids import to_stored_item_id
from antiphon.wires.openai.stored_items import find_item, group_by_reply, message_of_item, to_items


class ItemPage(NamedTuple):
    """Some items of a thread, in the order that was asked for."""

    items: Sequence[Item]
    has_more: bool


class Located(NamedTuple):
    """An item with the messages that it comes from: one, or a reply with the outputs of calls."""

    item: Item
    group: Sequence[Message]


class ThreadItems:
    """Reads items for one caller, and remembers the runs that they come from."""

    def __init__(self, api: CallerApi) -> None:
        self._api = api
        self._runs: dict[tuple[str, bool], RunToolFacts] = {}

    async def items_of(
        self, messages: Sequence[Message], *, mcp_items: bool | None = None
    ) -> list[Item]:
        """Return the items of messages that follow each other; the first is no tool's output.

        Calls that the backend ran are shown as the response showed them, unless `mcp_items` says
        otherwise.
        """
        items: list[Item] = []
        for group in group_by_reply(messages):
            items += await self._items_of_group(group, mcp_items)
        return items

    async def _items_of_group(
        self, group: Sequence[Message], mcp_items: bool | None
    ) -> Sequence[Item]:
        reply = group[0]
        if reply.role != "assistant" or reply.run_id is None:
            return to_items(group)
        key = reply.run_id, bool(reply.tool_calls)
        if key not in self._runs:
            self._runs[key] = await read_tool_facts(self._api, key[0], has_calls=key[1])
        tools = self._runs[key]
        items = to_items(
            group,
            tools.actions,
            custom_tools=tools.custom,
            mcp_items=reply.id in tools.mcp_replies if mcp_items is None else mcp_items,
            hosted={reply.run_id: tools.hosted},
        )
        return [name_in_namespace(item, tools.namespaces) for item in items]

    async def locate(self, item_id: str, thread_id: str | None = None) -> Located:
        """Return the item with this id, of that thread if one is given. Raises `NotFound`."""
        stored_id = to_stored_item_id(item_id)
        message_id = message_of_item(stored_id)
        if message_id is not None:
            try:
                message = await self._api.ask(GetMessage(message_id))
            except NotFound:
                raise _no_item(item_id) from None
            if thread_id in (None, message.thread_id):
                group = [message, *await self._outputs_after(message)]
                for mcp_items in (None, False, True):
                    items = await self.items_of(group, mcp_items=mcp_items)
                    if (item := find_item(items, stored_id)) is not None:
                        return Located(item, group)
        raise _no_item(item_id)

    async def find_references(self, items: Iterable[InputItem]) -> dict[str, Item]:
        """Return the stored items that references stand for, by their ids, where there are any."""
        found: dict[str, Item] = {}
        for item in items:
            if isinstance(item, ItemReference) and item.id not in found:
                with suppress(NotFound):
                    found[item.id] = (await self.locate(item.id)).item
        return found

    async def list_items(
        self, thread_id: str, *, descending: bool, after: str | None = None, limit: int = PAGE
    ) -> ItemPage:
        """Return at most `limit` items of a thread, after the item `after`. Raises `NotFound`."""
        found: list[Item] = []
        cursor = None
        if after is not None:
            located = await self.locate(after, thread_id)
            items = await self.items_of(located.group)
            place = items.index(located.item)
            found += reversed(items[:place]) if descending else items[place + 1 :]
            cursor = located.group[0 if descending else -1].id
        async with aclosing(self.groups(thread_id, descending=descending, after=cursor)) as groups:
            while len(found) <= limit:
                group = await anext(groups, None)
                if group is None:
                    break
                items = await self.items_of(group)
                found += reversed(items) if descending else items
        return ItemPage(found[:limit], len(found) > limit)

    async def groups(
        self, thread_id: str, *, descending: bool, after: str | None = None
    ) -> AsyncGenerator[list[Message]]:
        """Yield the messages of a thread, a reply together with the outputs of its calls.

        `after` is the id of the message after which these begin, in the order of the list.
        """
        group: list[Message] = []
        async for message in self._messages(thread_id, descending=descending, after=after):
            if descending:
                group.insert(0, message)
                if message.role != "tool":
                    yield group
                    group = []
            else:
                if group and message.role != "tool":
                    yield group
                    group = []
                group.append(message)
        if group:
            yield group

    async def _messages(
        self, thread_id: str, *, descending: bool, after: str | None
    ) -> AsyncGenerator[Message]:
        while True:
            listing = ListMessages(thread_id, PAGE, after, "newest" if descending else "oldest")
            page = await self._api.ask(listing)
            for message in page.data:
                yield message
            if not page.has_more:
                return
            after = page.next

    async def _outputs_after(self, reply: Message) -> list[Message]:
        outputs: list[Message] = []
        if not reply.tool_calls:
            return outputs
        following = self._messages(reply.thread_id, descending=False, after=reply.id)
        async with aclosing(following):
            async for message in following:
                if message.role != "tool":
                    break
                outputs.append(message)
        return outputs


def _no_item(item_id: str) -> NotFound:
    return NotFound(f"Item with id '{item_id[:100]}' not found.", where="$.item_id")
