"""An assistant as the page has it: what to begin with, and which of the app's tools it may use.

The backend's own tools and servers of an assistant are left alone: what the page says of tools is
about those that this app runs, and stands in the assistant's metadata.
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

from antiphon.api import operations
from antiphon.api.operations import CreateAssistant, ListAssistants, UpdateAssistant
from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Tool, ToolSpec
from antiphon.types.runs import Assistant
from antiphon.web.toolset import Toolset

T = TypeVar("T")

SHARED = "shared"
"""The key, in an assistant's metadata, of what its link has to name; without it there is none."""
COPIED_FROM = "copied_from"
"""The key, in a copy's metadata, of the assistant that it was made from."""

Names = Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=128)]
Starters = Annotated[tuple[Annotated[str, Meta(max_length=300)], ...], Meta(max_length=6)]

_LISTS = ("tools", "mcp_servers", "starters")
_MAX_VALUE = 512
"""Characters of a value in metadata: a longer list goes over several of them."""
_MAX_VALUES = 4
"""Values that a list may take, of the sixteen that there are."""


class AssistantView(msgspec.Struct, frozen=True, kw_only=True):
    """An assistant as its owner sees it, and what it may use.

    Functions of the app are those named in `tools`, all for None. Tools of MCP servers are those
    named in `tools`, and all tools of the servers named in `mcp_servers`; where both are None, all.
    """

    id: str
    name: str
    model: str | None
    instructions: str | None
    tools: tuple[str, ...] | None
    mcp_servers: tuple[str, ...] | None
    starters: tuple[str, ...]
    shared: str | None = None
    created_at: int
    updated_at: int


class AssistantChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of an assistant; what is left out stays as it is."""

    name: operations.Name | UnsetType = UNSET
    model: operations.Name | UnsetType | None = UNSET
    instructions: operations.Long | UnsetType | None = UNSET
    tools: Names | UnsetType | None = UNSET
    mcp_servers: Names | UnsetType | None = UNSET
    starters: Starters | UnsetType = UNSET


def assistant_view(assistant: Assistant, shared: str | None = None) -> AssistantView:
    """The assistant as a card; `shared` is the token of its link."""
    return AssistantView(
        id=assistant.id,
        name=assistant.name,
        model=assistant.model,
        instructions=assistant.instructions,
        tools=_read_list(assistant, "tools"),
        mcp_servers=_read_list(assistant, "mcp_servers"),
        starters=_read_list(assistant, "starters") or (),
        shared=shared,
        created_at=assistant.created_at,
        updated_at=assistant.updated_at,
    )


def create_operation(
    wanted: AssistantChanges, metadata: dict[str, str] | None = None
) -> CreateAssistant:
    """The call that makes the assistant."""
    return CreateAssistant(
        name=_value_or(wanted.name, ""),
        model=_value_or(wanted.model, None),
        instructions=_value_or(wanted.instructions, None),
        metadata=_updated_metadata(wanted, metadata or {}),
    )


def update_operation(wanted: AssistantChanges, assistant: Assistant) -> UpdateAssistant:
    """The call that makes of the assistant what is wanted."""
    return UpdateAssistant(
        assistant.id,
        name=wanted.name,
        model=wanted.model,
        instructions=wanted.instructions,
        metadata=_updated_metadata(wanted, assistant.metadata),
    )


def changes_to_copy(assistant: Assistant) -> AssistantChanges:
    """What makes another assistant like this one."""
    like = assistant_view(assistant)
    return AssistantChanges(
        name=like.name,
        model=like.model,
        instructions=like.instructions,
        tools=like.tools,
        mcp_servers=like.mcp_servers,
        starters=like.starters,
    )


def allowed_tools(tooling: Toolset, card: AssistantView) -> tuple[ToolSpec, ...]:
    """What a run of this assistant is offered of the app's tools, as they are now."""
    return tuple(tool.spec for tool in tooling.tools() if _may_use(card, tool))


def _may_use(card: AssistantView, tool: Tool) -> bool:
    if card.tools is None and (tool.server is None or card.mcp_servers is None):
        return True
    named = card.tools is not None and tool.spec.name in card.tools
    return named or (card.mcp_servers is not None and tool.server in card.mcp_servers)


def _value_or(value: T | UnsetType, otherwise: T) -> T:
    return otherwise if value is UNSET else value


# Lists in metadata, whose values are short texts.


def _read_list(assistant: Assistant, name: str) -> tuple[str, ...] | None:
    text = "".join(assistant.metadata.get(key, "") for key in _list_keys(name))
    try:
        return msgspec.json.decode(text, type=tuple[str, ...]) if text else None
    except msgspec.DecodeError:  # another program has written there
        return None


def _updated_metadata(wanted: AssistantChanges, metadata: dict[str, str]) -> dict[str, str]:
    lists: dict[str, Sequence[str] | UnsetType | None] = {
        name: getattr(wanted, name) for name in _LISTS
    }
    for name, values in lists.items():
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


# Links to assistants: whoever of this installation has one gets a copy of their own.


PAGE = 100
PURPOSE = b"antiphon assistant link\0"
DIGEST = "sha256"
DIGEST_BYTES = 32
MAX_TOKEN = 1024
MARK_BYTES = 12


class LinkToken(msgspec.Struct, frozen=True, array_like=True):
    """What a token says; `mark` is new whenever the assistant is shared anew."""

    owner: str
    assistant_id: str
    mark: str


def link_token(secret: bytes, owner: str, assistant: Assistant) -> str | None:
    """The token of the assistant's link; None where it is not shared."""
    mark = assistant.metadata.get(SHARED)
    if not mark:
        return None
    said = msgspec.json.encode(LinkToken(owner, assistant.id, mark))
    return base64.urlsafe_b64encode(_signature(secret, said) + said).rstrip(b"=").decode()


async def share(client: AsyncClient, assistant_id: str) -> Assistant:
    """The assistant, which has a link from now on."""
    assistant = await client.get_assistant(assistant_id)
    if assistant.metadata.get(SHARED):
        return assistant
    mark = secrets.token_urlsafe(MARK_BYTES)
    return await client.update_assistant(assistant_id, metadata=assistant.metadata | {SHARED: mark})


async def unshare(client: AsyncClient, assistant_id: str) -> Assistant:
    """The assistant, whose link leads nowhere from now on. Copies stay."""
    assistant = await client.get_assistant(assistant_id)
    metadata = {key: text for key, text in assistant.metadata.items() if key != SHARED}
    return await client.update_assistant(assistant_id, metadata=metadata)


async def resolve_link(client: AsyncClient, secret: bytes, given: str) -> tuple[str, Assistant]:
    """The owner and the assistant that the link leads to. Raises `NotFound`.

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
    """The person's own copy, made at the first time; the oldest, should there be several."""
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
        signature, said = whole[:DIGEST_BYTES], whole[DIGEST_BYTES:]
        if not hmac.compare_digest(signature, _signature(secret, said)):
            return None
        return msgspec.json.decode(said, type=LinkToken)
    except (binascii.Error, msgspec.DecodeError):
        return None


def _signature(secret: bytes, said: bytes) -> bytes:
    return hmac.digest(secret, PURPOSE + said, DIGEST)


def _no_such_link() -> NotFound:
    return NotFound(
        "This link leads nowhere.", hint="Whoever shared the assistant may have taken it back."
    )
