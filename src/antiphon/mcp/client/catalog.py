"""What a server offers beside its tools, asked for and put into our words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import mcp_types as types
from mcp import Client, MCPError

from antiphon.mcp.client import results
from antiphon.mcp.client.results import account, in_words
from antiphon.mcp.client.server_listing import (
    Completion,
    FilledPrompt,
    Prompt,
    PromptArgument,
    PromptMessage,
    Resource,
    ResourceTemplate,
)
from antiphon.mcp.client.session_monitor import Watch
from antiphon.mcp.config.server_config import LogLevel, ServerConfig
from antiphon.mcp.metadata import told, told_line
from antiphon.types.errors import InvalidRequest, NotFound, Unavailable
from antiphon.types.messages import Given

MOST_PAGES = 100
MOST_ITEMS = 5_000

T = TypeVar("T")


class Filter:
    """The resources whose changes are wanted; `changed` is set when they are others."""

    def __init__(self) -> None:
        self.uris: set[str] = set()
        self.changed = asyncio.Event()


class Catalog:
    """Everything that can be asked of a server but calls.

    Raises errors of our tree: `NotFound` for what is not there, `InvalidRequest` for what the
    server refuses, `Unavailable` when it went away or did not answer.
    """

    def __init__(self, config: ServerConfig, client: Client, watch: Watch, filter: Filter) -> None:
        self._name = told_line(config.name, 60)
        self._client = client
        self._watch = watch
        self._filter = filter

    async def resources(self) -> tuple[Resource, ...]:
        """All that can be read."""
        listed = await self.all(self._client.list_resources, lambda page: page.resources)
        return tuple(
            Resource(
                uri=each.uri,
                name=told_line(each.name),
                title=told_line(each.title),
                description=told(each.description),
                media_type=told_line(each.mime_type),
                size=each.size,
            )
            for each in listed
        )

    async def resource_templates(self) -> tuple[ResourceTemplate, ...]:
        """All families of what can be read."""
        pages = self._client.list_resource_templates
        return tuple(
            ResourceTemplate(
                uri_template=each.uri_template,
                name=told_line(each.name),
                title=told_line(each.title),
                description=told(each.description),
                media_type=told_line(each.mime_type),
            )
            for each in await self.all(pages, lambda page: page.resource_templates)
        )

    async def read_resource(self, uri: str) -> tuple[Given, ...]:
        """What the resource holds."""
        read = await self._ask(self._client.read_resource(uri))
        return results.contents(read.contents)

    async def prompts(self) -> tuple[Prompt, ...]:
        """All prompts."""
        listed = await self.all(self._client.list_prompts, lambda page: page.prompts)
        return tuple(
            Prompt(
                name=each.name,
                title=told_line(each.title),
                description=told(each.description),
                arguments=tuple(
                    PromptArgument(
                        name=argument.name,
                        description=told(argument.description, 1_000),
                        required=bool(argument.required),
                    )
                    for argument in each.arguments or ()
                ),
            )
            for each in listed
        )

    async def get_prompt(self, name: str, arguments: dict[str, str]) -> FilledPrompt:
        """The prompt, filled in."""
        filled = await self._ask(self._client.get_prompt(name, arguments))
        return FilledPrompt(
            messages=tuple(
                PromptMessage(role=each.role, content=results.content([each.content]))
                for each in filled.messages
            ),
            description=told(filled.description),
        )

    async def complete(
        self,
        prompt: str | None,
        template: str | None,
        argument: str,
        begun: str,
        known: dict[str, str],
    ) -> Completion:
        """Values that an argument may have, of a prompt or of a template's URI."""
        ref = (
            types.PromptReference(type="ref/prompt", name=prompt)
            if prompt is not None
            else types.ResourceTemplateReference(type="ref/resource", uri=template or "")
        )
        said = {"name": argument, "value": begun}
        given = await self._ask(self._client.complete(ref, said, known or None))
        values = [told_line(value) for value in given.completion.values[:100]]
        return Completion(values=values, more=bool(given.completion.has_more))

    async def set_log_level(self, level: LogLevel) -> None:
        """Ask for log lines from this level on, as protocols before 2026-07-28 have it."""
        request = types.SetLevelRequest(params=types.SetLevelRequestParams(level=level))
        await self._ask(self._client.session.send_request(request, types.EmptyResult))

    async def subscribe(self, uri: str) -> None:
        """Have `Host.updated` called when the resource changes."""
        if not self._watch.modern:
            request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))
            await self._ask(self._client.session.send_request(request, types.EmptyResult))
        self._filter.uris.add(uri)
        self._filter.changed.set()

    async def unsubscribe(self, uri: str) -> None:
        """Have it no more."""
        if not self._watch.modern:
            request = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=uri))
            await self._ask(self._client.session.send_request(request, types.EmptyResult))
        self._filter.uris.discard(uri)
        self._filter.changed.set()

    async def all(
        self,
        page: Callable[..., Awaitable[Any]],
        items: Callable[[Any], Iterable[T]],
        most: int = MOST_ITEMS,
    ) -> list[T]:
        """Everything on all pages, up to a cap: a list that never ends has one here."""
        everything: list[T] = []
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(MOST_PAGES):
            answer = await self._ask(page(cursor=cursor))
            everything.extend(items(answer))
            cursor = answer.next_cursor
            if cursor is None:
                return everything
            if cursor in seen or len(everything) >= most:
                break
            seen.add(cursor)
        self._watch.left_out["more"] = f"it lists more than {most}, or its pages never end"
        return everything[:most]

    async def _ask(self, asking: Awaitable[T]) -> T:
        """The answer; the SDK's errors as ours."""
        try:
            return await asking
        except MCPError as error:
            said = told_line(error.message, 500)
            if self._watch.over.is_set() or error.code == types.REQUEST_TIMEOUT:
                raise Unavailable(account(self._watch, self._name, said)) from error
            if error.code in {types.INVALID_PARAMS, _RESOURCE_NOT_FOUND}:
                raise NotFound(f"{self._name} says: {said}") from error
            raise InvalidRequest(f"{self._name} says: {said}") from error
        except Exception as error:  # a wall to the SDK and to answers that are none
            if self._watch.over.is_set():
                raise Unavailable(account(self._watch, self._name)) from error
            raise InvalidRequest(f"{self._name} answers oddly: {in_words(error)}") from error


_RESOURCE_NOT_FOUND = -32002
