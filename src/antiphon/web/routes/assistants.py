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
from antiphon.web.context import client, site
from antiphon.web.http import answer, query, read
from antiphon.web.people import LOCAL
from antiphon.web.session import person

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
    asked = query(Listing)
    page = site().run(client().transport.send(ListAssistants(asked.limit, asked.after)))
    return answer(operations.Listed([_card(each) for each in page.data], page.has_more, page.next))


@routes.post("/api/assistants")
def made() -> Response:
    """A new one."""
    wanted = read(Wanted)
    return answer(_card(site().run(client().transport.send(making(wanted)))), 201)


@routes.get("/api/assistants/<assistant_id>")
def shown(assistant_id: str) -> Response:
    """One of them."""
    return answer(_card(site().run(client().get_assistant(assistant_id))))


@routes.patch("/api/assistants/<assistant_id>")
def changed(assistant_id: str) -> Response:
    """What is given is changed; the rest stays."""
    wanted = read(Wanted)

    async def change(client: AsyncClient) -> Assistant:
        assistant = await client.get_assistant(assistant_id)
        return await client.transport.send(changing(wanted, assistant))

    return answer(_card(site().run(change(client()))))


@routes.delete("/api/assistants/<assistant_id>")
def deleted(assistant_id: str) -> Response:
    """It is gone, and its link with it; what was said to it stays."""
    return answer(site().run(client().delete_assistant(assistant_id)))


@routes.post("/api/assistants/<assistant_id>/share")
def shared(assistant_id: str) -> Response:
    """Its link, the same until it is taken back."""
    assistant = site().run(assistants.share(client(), assistant_id))
    token = _token(assistant) or ""
    address = origin.own_address(request, site().policy)
    return answer(Link(token, f"{address}/a/{token}"))


@routes.delete("/api/assistants/<assistant_id>/share")
def unshared(assistant_id: str) -> Response:
    """Its link leads nowhere any more."""
    return answer(_card(site().run(assistants.unshare(client(), assistant_id))))


@routes.get("/api/shared/<token>")
def behind(token: str) -> Response:
    """What is behind a link."""
    owner, assistant = _behind(token)
    by = site().run(_name_of(owner))
    like = card(assistant)
    return answer(SharedCard(like.name, like.model, like.starters, by))


@routes.post("/api/shared/<token>")
def copied(token: str) -> Response:
    """The person's own copy, the same each time; who shared it gets their own assistant."""
    owner, assistant = _behind(token)
    if owner != person().owner:
        assistant = site().run(assistants.copied(client(), assistant))
    return answer(_card(assistant))


def _card(assistant: Assistant) -> Card:
    return card(assistant, _token(assistant))


def _token(assistant: Assistant) -> str | None:
    return assistants.token(site().secret, person().owner, assistant)


def _behind(token: str) -> tuple[str, Assistant]:
    return site().run(assistants.behind(site().client, site().secret, token))


async def _name_of(owner: str) -> str:
    """What the owner is called; nothing where nobody logs in, or they are gone."""
    if owner == LOCAL.owner:
        return ""
    try:
        return (await site().client.get_person(owner)).name
    except NotFound:
        return ""
