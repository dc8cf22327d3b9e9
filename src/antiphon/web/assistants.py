"""Assistants as the page shows them: starters, and the app's tools that they may use.

Which tools of this app an assistant may use is stored in its metadata. The backend's own tools and
MCP servers of an assistant are not touched.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import (
    CreateAssistant,
    ListAssistants,
    PublishedAssistant,
    UpdateAssistant,
)
from antiphon.client.async_client import AsyncClient
from antiphon.engine.published import COPIED_FROM
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Tool, ToolSpec
from antiphon.types.runs import Assistant, Sampling
from antiphon.web.tools import Toolset

T = TypeVar("T")

SHARED = "shared"
"""Key, in an assistant's metadata, of the secret mark that its link must contain; unset if not
shared."""

Names = Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=128)]
Starters = Annotated[tuple[Annotated[str, Meta(max_length=300)], ...], Meta(max_length=6)]


_LISTS = ("tools", "mcp_servers", "starters")
_MAX_VALUE = 512
"""Characters of one value in metadata; a longer list is split over several values."""
_MAX_VALUES = 4
"""Values that one list may take, of the sixteen in metadata."""


class AssistantView(msgspec.Struct, frozen=True, kw_only=True):
    """Assistant as its owner sees it, with the tools that it may use.

    `tools` names functions of the app, None for all. It may also name tools of MCP servers, and all
    tools of servers in `mcp_servers` may be used; if both are None, all tools may. `max_tool_calls`
    is a limit of a run, `max_output_tokens` of each of its replies. `file_ids` are uploads whose
    text it may search.
    """

    id: str
    name: str
    model: str | None
    instructions: str | None
    tools: tuple[str, ...] | None
    mcp_servers: tuple[str, ...] | None
    starters: tuple[str, ...]
    max_tool_calls: int | None = None
    max_output_tokens: int | None = None
    file_ids: tuple[str, ...] = ()
    shared: str | None = None
    published_at: int | None = None
    created_at: int
    updated_at: int


class PublishedView(msgspec.Struct, frozen=True, kw_only=True):
    """Published assistant of anyone, as this user may use it; `author` is a name, or empty."""

    id: str
    author: str
    name: str
    model: str | None
    instructions: str | None
    tools: tuple[str, ...] | None
    mcp_servers: tuple[str, ...] | None
    starters: tuple[str, ...]


class AssistantChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of an assistant; fields that are not set stay."""

    name: operations.Name | UnsetType = UNSET
    model: operations.Name | UnsetType | None = UNSET
    instructions: operations.Long | UnsetType | None = UNSET
    tools: Names | UnsetType | None = UNSET
    mcp_servers: Names | UnsetType | None = UNSET
    starters: Starters | UnsetType = UNSET
    max_tool_calls: operations.MaxToolCalls | UnsetType | None = UNSET
    max_output_tokens: operations.MaxTokens | UnsetType | None = UNSET
    file_ids: operations.FileIds | UnsetType = UNSET


def assistant_view(assistant: Assistant, shared: str | None = None) -> AssistantView:
    """Return the assistant as its owner sees it; `shared` is the token of its link."""
    return AssistantView(
        id=assistant.id,
        name=assistant.name,
        model=assistant.model,
        instructions=assistant.instructions,
        tools=_read_list(assistant, "tools"),
        mcp_servers=_read_list(assistant, "mcp_servers"),
        starters=_read_list(assistant, "starters") or (),
        max_tool_calls=assistant.max_tool_calls,
        max_output_tokens=assistant.sampling.max_output_tokens,
        file_ids=assistant.file_ids,
        shared=shared,
        published_at=assistant.published_at,
        created_at=assistant.created_at,
        updated_at=assistant.updated_at,
    )


def describe_published(published: PublishedAssistant) -> PublishedView:
    """Return the published assistant as all users see it."""
    like = assistant_view(_to_assistant(published))
    return PublishedView(
        id=like.id,
        author=published.author,
        name=like.name,
        model=like.model,
        instructions=like.instructions,
        tools=like.tools,
        mcp_servers=like.mcp_servers,
        starters=like.starters,
    )


async def find_usable(client: AsyncClient, assistant_id: str) -> Assistant:
    """Return the user's assistant, or a published one of another. Raises `NotFound`."""
    try:
        return await client.get_assistant(assistant_id)
    except NotFound:
        return _to_assistant(await client.get_published_assistant(assistant_id))


def _to_assistant(published: PublishedAssistant) -> Assistant:
    return Assistant(
        id=published.id,
        name=published.name,
        model=published.model,
        instructions=published.instructions,
        sampling=published.sampling,
        max_tool_calls=published.max_tool_calls,
        metadata=published.metadata,
        created_at=published.published_at,
        updated_at=published.updated_at,
    )


def create_operation(
    changes: AssistantChanges, metadata: dict[str, str] | None = None
) -> CreateAssistant:
    """Return the operation that creates the assistant."""
    return CreateAssistant(
        name=_value_or(changes.name, ""),
        model=_value_or(changes.model, None),
        instructions=_value_or(changes.instructions, None),
        sampling=Sampling(max_output_tokens=_value_or(changes.max_output_tokens, None)),
        max_tool_calls=_value_or(changes.max_tool_calls, None),
        file_ids=_value_or(changes.file_ids, ()),
        metadata=_apply_to_metadata(changes, metadata or {}),
    )


def update_operation(changes: AssistantChanges, assistant: Assistant) -> UpdateAssistant:
    """Return the operation that applies the changes to the assistant."""
    return UpdateAssistant(
        assistant.id,
        name=changes.name,
        model=changes.model,
        instructions=changes.instructions,
        sampling=UNSET
        if changes.max_output_tokens is UNSET
        else replace(assistant.sampling, max_output_tokens=changes.max_output_tokens),
        max_tool_calls=changes.max_tool_calls,
        file_ids=changes.file_ids,
        metadata=_apply_to_metadata(changes, assistant.metadata),
    )


def changes_to_copy(assistant: Assistant) -> AssistantChanges:
    """Return the changes that make a new assistant equal to this one."""
    like = assistant_view(assistant)
    return AssistantChanges(
        name=like.name,
        model=like.model,
        instructions=like.instructions,
        tools=like.tools,
        mcp_servers=like.mcp_servers,
        starters=like.starters,
        max_tool_calls=like.max_tool_calls,
        max_output_tokens=like.max_output_tokens,
    )


def select_tools(toolset: Toolset, assistant: AssistantView) -> tuple[ToolSpec, ...]:
    """Return the app's tools that a run of this assistant may use, as of now."""
    names, servers = assistant.tools, assistant.mcp_servers

    def may_use(tool: Tool) -> bool:
        if names is None and (tool.server is None or servers is None):
            return True
        return tool.spec.name in (names or ()) or tool.server in (servers or ())

    return tuple(tool.spec for tool in toolset.tools() if may_use(tool))


def _value_or(value: T | UnsetType, otherwise: T) -> T:
    return otherwise if value is UNSET else value


# Lists in metadata, split over short values.


def _read_list(assistant: Assistant, name: str) -> tuple[str, ...] | None:
    text = "".join(assistant.metadata.get(key, "") for key in _list_keys(name))
    try:
        return msgspec.json.decode(text, type=tuple[str, ...]) if text else None
    except msgspec.DecodeError:  # written by another program
        return None


def _apply_to_metadata(changes: AssistantChanges, metadata: dict[str, str]) -> dict[str, str]:
    for name in _LISTS:
        values: Sequence[str] | UnsetType | None = getattr(changes, name)
        if values is not UNSET:
            metadata = {key: text for key, text in metadata.items() if key not in _list_keys(name)}
            metadata |= {} if values is None else _split_list(name, values)
    return metadata


def _split_list(name: str, values: Sequence[str] | UnsetType) -> dict[str, str]:
    text = msgspec.json.encode(values).decode()
    pieces = [text[at : at + _MAX_VALUE] for at in range(0, len(text), _MAX_VALUE)]
    if len(pieces) > _MAX_VALUES:
        raise InvalidRequest(
            f"The list of {name.replace('_', ' ')} is too long.",
            expected=f"at most {_MAX_VALUES * _MAX_VALUE} characters in all, or null for all of"
            " them",
            received=f"{len(text)} characters",
            where=f"$.{name}",
        )
    return dict(zip(_list_keys(name), pieces, strict=False))


def _list_keys(name: str) -> tuple[str, ...]:
    return tuple(f"{name}.{place}" for place in range(_MAX_VALUES))


# Links, by which other users of the installation get a copy.


PAGE = 100
PURPOSE = b"antiphon assistant link\0"
DIGEST = "sha256"
DIGEST_BYTES = 32
MAX_TOKEN = 1024
MARK_BYTES = 12


class LinkToken(msgspec.Struct, frozen=True, array_like=True):
    """Contents of a link's token; `mark` is new whenever the assistant is shared again."""

    owner: str
    assistant_id: str
    mark: str


def link_token(secret: bytes, owner: str, assistant: Assistant) -> str | None:
    """Return the token of the assistant's link; None if it is not shared."""
    mark = assistant.metadata.get(SHARED)
    if not mark:
        return None
    payload = msgspec.json.encode(LinkToken(owner, assistant.id, mark))
    return base64.urlsafe_b64encode(_signature(secret, payload) + payload).rstrip(b"=").decode()


async def share(client: AsyncClient, assistant_id: str) -> Assistant:
    """Give the assistant a link, and return it."""
    assistant = await client.get_assistant(assistant_id)
    if assistant.metadata.get(SHARED):
        return assistant
    mark = secrets.token_urlsafe(MARK_BYTES)
    return await client.update_assistant(assistant_id, metadata=assistant.metadata | {SHARED: mark})


async def unshare(client: AsyncClient, assistant_id: str) -> Assistant:
    """Remove the assistant's link, and return it. Copies stay."""
    assistant = await client.get_assistant(assistant_id)
    metadata = {key: text for key, text in assistant.metadata.items() if key != SHARED}
    return await client.update_assistant(assistant_id, metadata=metadata)


async def resolve_link(client: AsyncClient, secret: bytes, given: str) -> tuple[str, Assistant]:
    """Return the owner and the assistant of a link. Raises `NotFound`.

    `client` is the installation's own.
    """
    named = _parse_token(secret, given)
    if named is None:
        raise _no_such_link()
    try:
        assistant = await client.on_behalf_of(named.owner).get_assistant(named.assistant_id)
    except NotFound:
        raise _no_such_link() from None
    if not hmac.compare_digest(assistant.metadata.get(SHARED, "").encode(), named.mark.encode()):
        raise _no_such_link()
    return named.owner, assistant


async def find_or_create_copy(client: AsyncClient, shared: Assistant) -> Assistant:
    """Return the user's own copy, created on first use; the oldest if there are several."""
    own = [
        assistant
        async for assistant in client.paginate(ListAssistants(limit=PAGE))
        if assistant.metadata.get(COPIED_FROM) == shared.id
    ]
    if own:
        return min(own, key=lambda assistant: (assistant.created_at, assistant.id))
    return await client.transport.send(
        create_operation(changes_to_copy(shared), {COPIED_FROM: shared.id})
    )


def _parse_token(secret: bytes, given: str) -> LinkToken | None:
    if len(given) > MAX_TOKEN or not given.isascii():
        return None
    try:
        whole = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
        signature, payload = whole[:DIGEST_BYTES], whole[DIGEST_BYTES:]
        if not hmac.compare_digest(signature, _signature(secret, payload)):
            return None
        return msgspec.json.decode(payload, type=LinkToken)
    except (binascii.Error, msgspec.DecodeError):
        return None


def _signature(secret: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, PURPOSE + payload, DIGEST)


def _no_such_link() -> NotFound:
    return NotFound(
        "This link leads nowhere.",
        hint="The person who shared the assistant may have stopped sharing it.",
    )
