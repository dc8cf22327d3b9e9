"""MCP servers of the web chat: their state, and their prompts and resources for a message.

A prompt and a resource are asked for by a person, one at a time, and come back to them as a text
and as files of theirs. `server_changes` has the requests that change servers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar

import msgspec
from flask import Blueprint, Response
from msgspec import Meta

from antiphon.client.async_client import AsyncClient
from antiphon.mcp.client.server_listing import Prompt, ServerResource
from antiphon.types.errors import AntiphonError, InvalidRequest, NotFound, TooLarge
from antiphon.types.messages import MAX_FILES, Blob, Link, ResultPart, Text
from antiphon.web import server_views
from antiphon.web.http import file_media_type, plain_name, read_json
from antiphon.web.server_views import ServerList
from antiphon.web.session import current_client, current_site, current_user, respond_with
from antiphon.web.tools import Toolset

routes = Blueprint("servers", __name__)

SERVER_SECONDS = 30.0
"""Seconds that a server has for an answer."""
LISTED = 500
"""Most prompts and most resources of one server that are listed."""

T = TypeVar("T")


class CatalogView(msgspec.Struct, frozen=True):
    """Offers of a server for a message; `problems` are those of lists that it did not give."""

    prompts: Sequence[Prompt]
    resources: Sequence[ServerResource]
    problems: Sequence[str]


class PromptRequest(msgspec.Struct, frozen=True):
    """Prompt of a server, with values of its arguments."""

    name: Annotated[str, Meta(min_length=1, max_length=1000)]
    arguments: Annotated[
        dict[
            Annotated[str, Meta(max_length=1000)],
            Annotated[str, Meta(max_length=100_000)],
        ],
        Meta(max_length=100),
    ] = {}


class ResourceRequest(msgspec.Struct, frozen=True):
    """Resource of a server."""

    uri: Annotated[str, Meta(min_length=1, max_length=10_000)]


class FileView(msgspec.Struct, frozen=True):
    """File that was stored for the user; `size` in bytes."""

    id: str
    name: str
    media_type: str
    size: int


class PromptMessageView(msgspec.Struct, frozen=True):
    """Text and files to go on writing with."""

    text: str
    files: Sequence[FileView]


@routes.get("/api/servers")
def list_servers() -> Response:
    """Return the servers in the order of the configuration."""
    site, is_admin = current_site(), current_user().is_admin

    async def view() -> ServerList:  # on the loop, where acts of administrators change the list
        return server_views.list_servers(site.settings, site.tools, for_admin=is_admin)

    return respond_with(view())


@routes.get("/api/servers/<name>")
def get_server_catalog(name: str) -> Response:
    """Return the prompts and the resources of a server."""
    return respond_with(_read_catalog(current_site().tools, name))


@routes.post("/api/servers/<name>/prompts")
def fill_in_prompt(name: str) -> Response:
    """Return the messages of a prompt as one text, and its files as files of the user."""
    body, tools, client = read_json(PromptRequest), current_site().tools, current_client()

    async def fill_in() -> PromptMessageView:
        filled = await _in_time(name, tools.get_prompt(name, body.name, body.arguments))
        parts = [part for message in filled.messages for part in message.content]
        return await _store(client, parts, body.name, as_text=True)

    return respond_with(fill_in())


@routes.post("/api/servers/<name>/resources")
def read_resource(name: str) -> Response:
    """Read a resource, and store what it holds as files of the user."""
    body, tools, client = read_json(ResourceRequest), current_site().tools, current_client()

    async def read() -> PromptMessageView:
        await _in_time(name, _check_listed(tools, name, body.uri))
        parts = await _in_time(name, tools.read_resource(name, body.uri))
        return await _store(client, parts, body.uri, as_text=False)

    return respond_with(read(), 201)


async def _check_listed(tools: Toolset, name: str, uri: str) -> None:
    """Check that the server lists the resource or a template of it. Raises `NotFound`.

    A server may read any address that it is asked for, also those of other services.
    """
    if any(each.uri == uri for each in await tools.list_resources(name)):
        return
    with suppress(InvalidRequest):  # it has no templates
        templates = await tools.list_resource_templates(name)
        if any(fits_template(each.uri_template, uri) for each in templates):
            return
    raise NotFound(
        "The MCP server lists no such resource.",
        expected="the uri of a resource that it lists, or one that fits a template of it",
        where="uri",
    )


def fits_template(template: str, uri: str) -> bool:
    """Return True if the address has the literals of a URI template (RFC 6570) in their order.

    A value of `{name}` has no slash and no `..`; those of `{+name}` and other operators may have
    slashes. The time is linear: templates are the server's.
    """
    pieces = _EXPRESSION.split(template)
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return uri == template
    if not uri.startswith(first) or not uri.endswith(last) or len(uri) < len(first) + len(last):
        return False
    place, end = len(first), len(uri) - len(last)
    for number in range(1, len(pieces), 2):
        is_last = number == len(pieces) - 2
        following = end if is_last else uri.find(pieces[number + 1], place, end)
        if following < 0:
            return False
        value = uri[place:following]
        if ".." in value or (pieces[number][:1] not in _OPERATORS and "/" in value):
            return False
        place = following + len(pieces[number + 1])
    return True


_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_OPERATORS = tuple("+#./;?&")


def _text(part: ResultPart) -> str:
    match part:
        case Text(text=text):
            return text
        case Link(uri=uri):
            return uri
        case Blob():
            return ""


async def _read_catalog(tools: Toolset, name: str) -> CatalogView:
    """Return what the server lists; a list that it does not give is a problem, not an error."""
    state = tools.server(name)
    problems: list[str] = []
    prompts: Sequence[Prompt] = ()
    resources: Sequence[ServerResource] = ()
    try:
        if "prompts" in state.capabilities:
            prompts = await _in_time(name, tools.list_prompts(name))
    except AntiphonError as error:
        problems.append(str(error))
    try:
        if "resources" in state.capabilities:
            resources = await _in_time(name, tools.list_resources(name))
    except AntiphonError as error:
        problems.append(str(error))
    return CatalogView(prompts[:LISTED], resources[:LISTED], problems)


async def _in_time(name: str, asking: Coroutine[Any, Any, T]) -> T:
    try:
        async with asyncio.timeout(SERVER_SECONDS):
            return await asking
    except TimeoutError as error:
        raise InvalidRequest(
            f"The MCP server {name} did not answer within {SERVER_SECONDS:g} s.",
            hint="Try again later; the administration shows its state.",
        ) from error


async def _store(
    client: AsyncClient, parts: Sequence[ResultPart], name: str, *, as_text: bool
) -> PromptMessageView:
    """Store binary parts as files; text is returned, or stored as a file too."""
    most = current_site().settings.max_upload
    text = "\n\n".join(filter(None, map(_text, parts)))
    contents = [
        (part.name or name, part.media_type, part.data) for part in parts if isinstance(part, Blob)
    ]
    if text and not as_text:
        contents.insert(0, (name, "text/plain", text.encode("utf-8", "replace")))
    if len(contents) > MAX_FILES:
        raise TooLarge(
            "It has too many files for a message.",
            expected=f"at most {MAX_FILES} files",
            received=f"{len(contents)} files",
        )
    if (largest := max((len(data) for *_, data in contents), default=0)) > most:
        raise TooLarge(
            "What the server gave is too large for a file.",
            expected=f"at most {most} bytes",
            received=f"{largest} bytes",
        )
    files: list[FileView] = []
    for title, declared, data in contents:
        upload = await client.upload_file(data, plain_name(title), file_media_type(data, declared))
        files.append(FileView(upload.id, upload.name, upload.media_type, upload.size))
    return PromptMessageView(text if as_text else "", files)
