"""Operations on assistants, and on the models that there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from antiphon.api.fields import (
    FileIds,
    Long,
    MaxToolCalls,
    Metadata,
    Servers,
    Tools,
)
from antiphon.api.operation import Deleted, Id, Limit, Listed, Name, Operation
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import (
    Assistant,
    McpServer,
    Sampling,
)


class CreateAssistant(Operation[Assistant], frozen=True):
    """Create an assistant: a model, instructions, tools and sampling settings.

    `file_ids` are uploads whose text its runs may search.
    """

    route: ClassVar[str] = "POST /v1/assistants"
    answer: ClassVar[Any] = Assistant
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    name: Name = ""
    model: Name | None = None
    instructions: Long | None = None
    tools: Tools = ()
    mcp_servers: Servers = ()
    sampling: Sampling = Sampling()
    max_tool_calls: MaxToolCalls | None = None
    file_ids: FileIds = ()
    metadata: Metadata = {}


class ListAssistants(Operation[Listed[Assistant]], frozen=True):
    """List assistants, newest first; with `name`, those of exactly this name."""

    route: ClassVar[str] = "GET /v1/assistants"
    answer: ClassVar[Any] = Listed[Assistant]

    limit: Limit = 20
    after: Id | None = None
    name: Name | None = None


class GetAssistant(Operation[Assistant], frozen=True):
    """Get one assistant."""

    route: ClassVar[str] = "GET /v1/assistants/{assistant_id}"
    answer: ClassVar[Any] = Assistant

    assistant_id: Id


class UpdateAssistant(Operation[Assistant], frozen=True):
    """Change the given fields of an assistant; the others stay."""

    route: ClassVar[str] = "PATCH /v1/assistants/{assistant_id}"
    answer: ClassVar[Any] = Assistant

    assistant_id: Id
    name: Name | msgspec.UnsetType = msgspec.UNSET
    model: Name | msgspec.UnsetType | None = msgspec.UNSET
    instructions: Long | msgspec.UnsetType | None = msgspec.UNSET
    tools: Tools | msgspec.UnsetType = msgspec.UNSET
    mcp_servers: Servers | msgspec.UnsetType = msgspec.UNSET
    sampling: Sampling | msgspec.UnsetType = msgspec.UNSET
    max_tool_calls: MaxToolCalls | msgspec.UnsetType | None = msgspec.UNSET
    file_ids: FileIds | msgspec.UnsetType = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET


class DeleteAssistant(Operation[Deleted], frozen=True):
    """Delete an assistant; its runs stay."""

    route: ClassVar[str] = "DELETE /v1/assistants/{assistant_id}"
    answer: ClassVar[Any] = Deleted

    assistant_id: Id


class PublishAssistant(Operation[Assistant], frozen=True):
    """Publish an assistant: all owners of the installation may use it and copy it.

    They read its name, model, instructions, tools and settings, as they are at that time, and the
    name of its author. They get none of its files, no MCP server at an address, and approve each
    call of the operator's servers themselves. Refused where the setting `publishing` is off.
    """

    route: ClassVar[str] = "POST /v1/assistants/{assistant_id}/publish"
    answer: ClassVar[Any] = Assistant

    assistant_id: Id


class UnpublishAssistant(Operation[Assistant], frozen=True):
    """Take a published assistant back: new runs of other owners cannot use it. Copies stay."""

    route: ClassVar[str] = "POST /v1/assistants/{assistant_id}/unpublish"
    answer: ClassVar[Any] = Assistant

    assistant_id: Id


class PublishedAssistant(msgspec.Struct, frozen=True, kw_only=True):
    """A published assistant as other owners may use it. Times in ms.

    `author` is the name of its owner, "" for an owner without an account. The texts are its
    author's: do not trust them more than those of any other person.
    """

    id: str
    author: str = ""
    name: str = ""
    model: str | None = None
    instructions: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    sampling: Sampling = Sampling()
    max_tool_calls: int | None = None
    metadata: dict[str, str] = {}
    published_at: int
    updated_at: int


class ListPublishedAssistants(Operation[Listed[PublishedAssistant]], frozen=True):
    """List the assistants that owners of the installation have published, the newest first.

    The caller's own are among them. Empty where the setting `publishing` is off.
    """

    route: ClassVar[str] = "GET /v1/published_assistants"
    answer: ClassVar[Any] = Listed[PublishedAssistant]

    limit: Limit = 20
    after: Id | None = None


class GetPublishedAssistant(Operation[PublishedAssistant], frozen=True):
    """Get one published assistant of any owner."""

    route: ClassVar[str] = "GET /v1/published_assistants/{assistant_id}"
    answer: ClassVar[Any] = PublishedAssistant

    assistant_id: Id


class CopyPublishedAssistant(Operation[Assistant], frozen=True):
    """Copy a published assistant into a new one of the caller, who may change it.

    The copy is not published, and later changes of the original do not reach it.
    """

    route: ClassVar[str] = "POST /v1/published_assistants/{assistant_id}/copies"
    answer: ClassVar[Any] = Assistant
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    assistant_id: Id


class RemovePublishedAssistant(Operation[Deleted], frozen=True):
    """Take back a published assistant of any owner, for administrators.

    Its owner keeps it, and may publish it again; copies stay.
    """

    route: ClassVar[str] = "DELETE /v1/published_assistants/{assistant_id}"
    answer: ClassVar[Any] = Deleted
    scope: ClassVar[str | None] = "admin"

    assistant_id: Id


class Model(msgspec.Struct, frozen=True):
    """A model that can be named: `id` is `provider:name`.

    `context_tokens` is how much of a conversation the model gets at most, if that is known: the
    model's own limit, or a smaller one from the settings. `lacks` are what its provider is known
    not to have, such as `tools` and `files`, or settings of a run.
    """

    id: str
    provider: str
    default: bool = False
    context_tokens: int | None = None
    lacks: tuple[str, ...] = ()


class ProviderProblem(msgspec.Struct, frozen=True):
    """A provider whose models could not be listed, with `code` and `message` of the error."""

    provider: str
    code: str
    message: str


class ModelList(Listed[Model], frozen=True):
    """The models of all providers that answered; `problems` lists the other providers."""

    problems: Sequence[ProviderProblem] = ()


class ListModels(Operation[ModelList], frozen=True):
    """List the available models; with `model`, only that one, without asking its provider."""

    route: ClassVar[str] = "GET /v1/models"
    answer: ClassVar[Any] = ModelList

    model: Name | None = None
