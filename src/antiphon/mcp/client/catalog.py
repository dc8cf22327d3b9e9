"""Resources, prompts and completions of a server, requested and converted to our types."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import mcp_types as types
from mcp import Client, MCPError

from antiphon.mcp.client import results
from antiphon.mcp.client.results import describe_loss, error_text
from antiphon.mcp.client.server_listing import (
    Completion,
    FilledPrompt,
    Prompt,
    PromptArgument,
    PromptMessage,
    ResourceTemplate,
    ServerResource,
)
from antiphon.mcp.client.session_monitor import SessionMonitor
from antiphon.mcp.config.server_config import LogLevel, ServerConfig
from antiphon.mcp.metadata import clean_line, clean_text
from antiphon.types.errors import InvalidRequest, NotFound, Unavailable
from antiphon.types.messages import ResultPart

MOST_PAGES = 100
MOST_ITEMS = 5_000

T = TypeVar("T")


class ResourceSubscriptions:
    """Resources whose changes are subscribed to; `changed` is set when the set changes."""

    def __init__(self) -> None:
        self.uris: set[str] = set()
        self.changed = asyncio.Event()


class ServerCatalog:
    """Requests to a server other than tool calls.

    Raises `NotFound`, `InvalidRequest` if the server refuses, and `Unavailable` if the server is
    gone or does not answer.
    """

    def __init__(
        self,
        config: ServerConfig,
        client: Client,
        monitor: SessionMonitor,
        filter: ResourceSubscriptions,
    ) -> None:
        self._name = clean_line(config.name, 60)
        self._client = client
        self._monitor = monitor
        self._filter = filter

    async def resources(self) -> tuple[ServerResource, ...]:
        """Return all resources."""
        listed = await self.list_all(self._client.list_resources, lambda page: page.resources)
        return tuple(
            ServerResource(
                uri=each.uri,
                name=clean_line(each.name),
                title=clean_line(each.title),
                description=clean_text(each.description),
                media_type=clean_line(each.mime_type),
                size=each.size,
            )
            for each in listed
        )

    async def resource_templates(self) -> tuple[ResourceTemplate, ...]:
        """Return all resource templates."""
        pages = self._client.list_resource_templates
        return tuple(
            ResourceTemplate(
                uri_template=each.uri_template,
                name=clean_line(each.name),
                title=clean_line(each.title),
                description=clean_text(each.description),
                media_type=clean_line(each.mime_type),
            )
            for each in await self.list_all(pages, lambda page: page.resource_templates)
        )

    async def read_resource(self, uri: str) -> tuple[ResultPart, ...]:
        """Return the content of the resource."""
        read = await self._ask(self._client.read_resource(uri))
        return results.convert_resource(read.contents)

    async def prompts(self) -> tuple[Prompt, ...]:
        """Return all prompts."""
        listed = await self.list_all(self._client.list_prompts, lambda page: page.prompts)
        return tuple(
            Prompt(
                name=each.name,
                title=clean_line(each.title),
                description=clean_text(each.description),
                arguments=tuple(
                    PromptArgument(
                        name=argument.name,
                        description=clean_text(argument.description, 1_000),
                        required=bool(argument.required),
                    )
                    for argument in each.arguments or ()
                ),
            )
            for each in listed
        )

    async def get_prompt(self, name: str, arguments: dict[str, str]) -> FilledPrompt:
        """Return the prompt, filled in."""
        filled = await self._ask(self._client.get_prompt(name, arguments))
        return FilledPrompt(
            messages=tuple(
                PromptMessage(role=each.role, content=results.convert_content([each.content]))
                for each in filled.messages
            ),
            description=clean_text(filled.description),
        )

    async def complete(
        self,
        prompt: str | None,
        template: str | None,
        argument: str,
        begun: str,
        known: dict[str, str],
    ) -> Completion:
        """Return values for an argument of a prompt or of a template's URI."""
        ref = (
            types.PromptReference(type="ref/prompt", name=prompt)
            if prompt is not None
            else types.ResourceTemplateReference(type="ref/resource", uri=template or "")
        )
        partial = {"name": argument, "value": begun}
        given = await self._ask(self._client.complete(ref, partial, known or None))
        values = [clean_line(value) for value in given.completion.values[:100]]
        return Completion(values=values, more=bool(given.completion.has_more))

    async def set_log_level(self, level: LogLevel) -> None:
        """Request log lines from this level on (protocols before 2026-07-28)."""
        request = types.SetLevelRequest(params=types.SetLevelRequestParams(level=level))
        await self._ask(self._client.session.send_request(request, types.EmptyResult))

    async def subscribe(self, uri: str) -> None:
        """Subscribe to changes of the resource, reported by `ClientFeatures.resource_updated`."""
        if not self._monitor.modern:
            request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))
            await self._ask(self._client.session.send_request(request, types.EmptyResult))
        self._filter.uris.add(uri)
        self._filter.changed.set()

    async def unsubscribe(self, uri: str) -> None:
        """End the subscription."""
        if not self._monitor.modern:
            request = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=uri))
            await self._ask(self._client.session.send_request(request, types.EmptyResult))
        self._filter.uris.discard(uri)
        self._filter.changed.set()

    async def list_all(
        self,
        page: Callable[..., Awaitable[Any]],
        items: Callable[[Any], Iterable[T]],
        most: int = MOST_ITEMS,
    ) -> list[T]:
        """Return the items of all pages, up to a limit: a server's list may never end."""
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
        self._monitor.left_out["more"] = f"it lists more than {most}, or its pages never end"
        return everything[:most]

    async def _ask(self, asking: Awaitable[T]) -> T:
        """Await the request, translating the SDK's errors."""
        try:
            return await asking
        except MCPError as error:
            message = clean_line(error.message, 500)
            if self._monitor.ended.is_set() or error.code == types.REQUEST_TIMEOUT:
                raise Unavailable(describe_loss(self._monitor, self._name, message)) from error
            if error.code in {types.INVALID_PARAMS, _RESOURCE_NOT_FOUND}:
                raise NotFound(f"{self._name} says: {message}") from error
            raise InvalidRequest(f"{self._name} says: {message}") from error
        except Exception as error:  # raised by the SDK, or for a malformed answer
            if self._monitor.ended.is_set():
                raise Unavailable(describe_loss(self._monitor, self._name)) from error
            raise InvalidRequest(f"{self._name} answers oddly: {error_text(error)}") from error


_RESOURCE_NOT_FOUND = -32002
