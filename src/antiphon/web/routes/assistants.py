"""A user's assistants, and links by which others get a copy."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, request

from antiphon.api import operations
from antiphon.api.operations import ListAssistants
from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import NotFound
from antiphon.types.runs import Assistant
from antiphon.web import assistants, session
from antiphon.web.assistants import (
    AssistantChanges,
    AssistantView,
    PublishedView,
    assistant_view,
    create_operation,
    describe_published,
    update_operation,
)
from antiphon.web.http import json_response, read_json, read_query
from antiphon.web.people import LOCAL_USER
from antiphon.web.session import current_client, current_site, current_user, respond_with

routes = Blueprint("assistants", __name__)


class AssistantQuery(msgspec.Struct, frozen=True):
    """Page of assistants to list."""

    after: operations.Id | None = None
    limit: operations.Limit = 100


class AssistantLink(msgspec.Struct, frozen=True):
    """Link of an assistant; `url` is the address to open."""

    token: str
    url: str


class SharedAssistantView(msgspec.Struct, frozen=True):
    """Shared assistant as others see it; `by` is the name of its owner."""

    name: str
    model: str | None
    starters: tuple[str, ...]
    by: str


class PublishedList(operations.Listed[PublishedView], frozen=True, kw_only=True):
    """Page of published assistants, the user's own among them.

    `publishing` is true if the user can publish: the setting allows it, and there are others.
    """

    publishing: bool


@routes.get("/api/assistants")
def list_assistants() -> Response:
    """List the user's assistants, newest first."""
    query = read_query(AssistantQuery)
    page = current_site().run(
        current_client().transport.send(ListAssistants(query.limit, query.after))
    )
    return json_response(
        operations.Listed([_view(each) for each in page.data], page.has_more, page.next)
    )


@routes.post("/api/assistants")
def create_assistant() -> Response:
    """Create an assistant."""
    body = read_json(AssistantChanges)
    return json_response(
        _view(current_site().run(current_client().transport.send(create_operation(body)))), 201
    )


@routes.get("/api/assistants/<assistant_id>")
def get_assistant(assistant_id: str) -> Response:
    """Return an assistant."""
    return json_response(_view(current_site().run(current_client().get_assistant(assistant_id))))


@routes.patch("/api/assistants/<assistant_id>")
def update_assistant(assistant_id: str) -> Response:
    """Change an assistant; fields that are not given stay."""
    body = read_json(AssistantChanges)

    async def change(client: AsyncClient) -> Assistant:
        assistant = await client.get_assistant(assistant_id)
        return await client.transport.send(update_operation(body, assistant))

    return json_response(_view(current_site().run(change(current_client()))))


@routes.delete("/api/assistants/<assistant_id>")
def delete_assistant(assistant_id: str) -> Response:
    """Delete an assistant and its link; threads with it stay."""
    return respond_with(current_client().delete_assistant(assistant_id))


@routes.post("/api/assistants/<assistant_id>/share")
def share_assistant(assistant_id: str) -> Response:
    """Return the assistant's link, the same until it is removed."""
    assistant = current_site().run(assistants.share(current_client(), assistant_id))
    token = _token(assistant) or ""
    address = session.base_url(request, current_site().policy)
    return json_response(AssistantLink(token, f"{address}/a/{token}"))


@routes.delete("/api/assistants/<assistant_id>/share")
def unshare_assistant(assistant_id: str) -> Response:
    """Remove the assistant's link."""
    return json_response(
        _view(current_site().run(assistants.unshare(current_client(), assistant_id)))
    )


@routes.post("/api/assistants/<assistant_id>/publish")
def publish_assistant(assistant_id: str) -> Response:
    """Publish the assistant to all users, and return it."""
    return json_response(
        _view(current_site().run(current_client().publish_assistant(assistant_id)))
    )


@routes.delete("/api/assistants/<assistant_id>/publish")
def unpublish_assistant(assistant_id: str) -> Response:
    """Take the published assistant back, and return it."""
    return json_response(
        _view(current_site().run(current_client().unpublish_assistant(assistant_id)))
    )


@routes.get("/api/published_assistants")
def list_published_assistants() -> Response:
    """List published assistants, the newest first."""
    query, user = read_query(AssistantQuery), current_user()
    call, client = operations.ListPublishedAssistants(query.limit, query.after), current_client()
    may_publish = current_site().settings.publishing and user != LOCAL_USER

    async def read() -> PublishedList:
        try:
            page = await client.transport.send(call)
        except NotFound:
            if query.after is not None:
                raise
            return PublishedList((), has_more=False, publishing=False)  # an older backend
        views = [describe_published(each) for each in page.data]
        return PublishedList(views, page.has_more, page.next, publishing=may_publish)

    return respond_with(read())


@routes.post("/api/published_assistants/<assistant_id>/copies")
def copy_published_assistant(assistant_id: str) -> Response:
    """Copy a published assistant into one of the user's own."""
    copy = current_site().run(current_client().copy_published_assistant(assistant_id))
    return json_response(_view(copy), 201)


@routes.get("/api/shared/<token>")
def get_shared_assistant(token: str) -> Response:
    """Return the assistant of a link."""
    owner, assistant = _resolve_link(token)
    by = current_site().run(_owner_name(owner))
    like = assistant_view(assistant)
    return json_response(SharedAssistantView(like.name, like.model, like.starters, by))


@routes.post("/api/shared/<token>")
def copy_shared_assistant(token: str) -> Response:
    """Return the user's own copy, the same each time; its owner gets the original."""
    owner, assistant = _resolve_link(token)
    if owner != current_user().owner:
        assistant = current_site().run(assistants.find_or_create_copy(current_client(), assistant))
    return json_response(_view(assistant))


def _view(assistant: Assistant) -> AssistantView:
    return assistant_view(assistant, _token(assistant))


def _token(assistant: Assistant) -> str | None:
    return assistants.link_token(current_site().secret, current_user().owner, assistant)


def _resolve_link(token: str) -> tuple[str, Assistant]:
    return current_site().run(
        assistants.resolve_link(current_site().client, current_site().secret, token)
    )


async def _owner_name(owner: str) -> str:
    """Return the owner's name; empty if nobody logs in or the person is gone."""
    if owner == LOCAL_USER.owner:
        return ""
    try:
        return (await current_site().client.get_person(owner)).name
    except NotFound:
        return ""
