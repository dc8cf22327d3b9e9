"""Assistants of a person's own, and the links by which others get a copy."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, request

from antiphon.api import operations
from antiphon.api.operations import ListAssistants
from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import NotFound
from antiphon.types.runs import Assistant
from antiphon.web import assistants, origin
from antiphon.web.assistants import Card, Wanted, card, changing, making
from antiphon.web.context import current_client, current_site
from antiphon.web.http import json_response, read_json, read_query
from antiphon.web.people import LOCAL_USER
from antiphon.web.session import current_user

routes = Blueprint("assistants", __name__)


class Listing(msgspec.Struct, frozen=True):
    """Which assistants."""

    after: operations.Id | None = None
    limit: operations.Limit = 100


class Link(msgspec.Struct, frozen=True):
    """By which others get to an assistant; `url` is what the browser is to open."""

    token: str
    url: str


class SharedCard(msgspec.Struct, frozen=True):
    """What somebody sees of an assistant that is shared with them; `by` is whose it is."""

    name: str
    model: str | None
    starters: tuple[str, ...]
    by: str


@routes.get("/api/assistants")
def listed() -> Response:
    """The person's assistants, the newest first."""
    asked = read_query(Listing)
    page = current_site().run(
        current_client().transport.send(ListAssistants(asked.limit, asked.after))
    )
    return json_response(
        operations.Listed([_card(each) for each in page.data], page.has_more, page.next)
    )


@routes.post("/api/assistants")
def made() -> Response:
    """A new one."""
    wanted = read_json(Wanted)
    return json_response(
        _card(current_site().run(current_client().transport.send(making(wanted)))), 201
    )


@routes.get("/api/assistants/<assistant_id>")
def shown(assistant_id: str) -> Response:
    """One of them."""
    return json_response(_card(current_site().run(current_client().get_assistant(assistant_id))))


@routes.patch("/api/assistants/<assistant_id>")
def changed(assistant_id: str) -> Response:
    """What is given is changed; the rest stays."""
    wanted = read_json(Wanted)

    async def change(client: AsyncClient) -> Assistant:
        assistant = await client.get_assistant(assistant_id)
        return await client.transport.send(changing(wanted, assistant))

    return json_response(_card(current_site().run(change(current_client()))))


@routes.delete("/api/assistants/<assistant_id>")
def deleted(assistant_id: str) -> Response:
    """It is gone, and its link with it; what was said to it stays."""
    return json_response(current_site().run(current_client().delete_assistant(assistant_id)))


@routes.post("/api/assistants/<assistant_id>/share")
def shared(assistant_id: str) -> Response:
    """Its link, the same until it is taken back."""
    assistant = current_site().run(assistants.share(current_client(), assistant_id))
    token = _token(assistant) or ""
    address = origin.base_url(request, current_site().policy)
    return json_response(Link(token, f"{address}/a/{token}"))


@routes.delete("/api/assistants/<assistant_id>/share")
def unshared(assistant_id: str) -> Response:
    """Its link leads nowhere any more."""
    return json_response(
        _card(current_site().run(assistants.unshare(current_client(), assistant_id)))
    )


@routes.get("/api/shared/<token>")
def behind(token: str) -> Response:
    """What is behind a link."""
    owner, assistant = _behind(token)
    by = current_site().run(_name_of(owner))
    like = card(assistant)
    return json_response(SharedCard(like.name, like.model, like.starters, by))


@routes.post("/api/shared/<token>")
def copied(token: str) -> Response:
    """The person's own copy, the same each time; who shared it gets their own assistant."""
    owner, assistant = _behind(token)
    if owner != current_user().owner:
        assistant = current_site().run(assistants.copied(current_client(), assistant))
    return json_response(_card(assistant))


def _card(assistant: Assistant) -> Card:
    return card(assistant, _token(assistant))


def _token(assistant: Assistant) -> str | None:
    return assistants.token(current_site().secret, current_user().owner, assistant)


def _behind(token: str) -> tuple[str, Assistant]:
    return current_site().run(
        assistants.behind(current_site().client, current_site().secret, token)
    )


async def _name_of(owner: str) -> str:
    """What the owner is called; nothing where nobody logs in, or they are gone."""
    if owner == LOCAL_USER.owner:
        return ""
    try:
        return (await current_site().client.get_person(owner)).name
    except NotFound:
        return ""
