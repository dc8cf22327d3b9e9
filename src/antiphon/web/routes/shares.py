"""Links to conversations: the user's own, and what a link shows to its readers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import msgspec
from flask import Blueprint, Response, request

from antiphon.api import operations
from antiphon.limits.rate_limit import network_key
from antiphon.types.shares import Share
from antiphon.web import session
from antiphon.web.http import json_response, read_json
from antiphon.web.session import current_client, current_site, respond_with
from antiphon.web.streamed_responses import JSON, respond_when_made

routes = Blueprint("shares", __name__)

HEADERS = {"cache-control": "no-store", "x-robots-tag": "noindex"}


class ShareRequest(msgspec.Struct, frozen=True):
    """Parts of the chat that a new link shows, and the seconds for which it works."""

    expires_in: operations.ShareSeconds | None = None
    include_tools: bool = False
    include_reasoning: bool = False


class ShareChange(msgspec.Struct, frozen=True):
    """Changes of a link, which gets a new snapshot; the rest stays."""

    expires_in: operations.ShareSeconds | msgspec.UnsetType = msgspec.UNSET
    include_tools: bool | msgspec.UnsetType = msgspec.UNSET
    include_reasoning: bool | msgspec.UnsetType = msgspec.UNSET


class Shares(msgspec.Struct, frozen=True):
    """The user's links that have not expired, newest first, and who can read them.

    `max_lifetime` is the longest time that a link may last, in seconds.
    """

    data: Sequence[Share]
    sharing: str
    max_lifetime: int


class NewLink(msgspec.Struct, frozen=True):
    """A new link with its address, which cannot be shown again."""

    share: Share
    url: str


@routes.get("/api/shares")
def list_shares() -> Response:
    """Return the user's links."""
    found, settings = current_site().run(current_client().list_shares()), current_site().settings
    return json_response(Shares(found.data, settings.sharing, settings.max_share_lifetime))


@routes.post("/api/threads/<thread_id>/shares")
def create_share(thread_id: str) -> Response:
    """Share a snapshot of the thread, and return its link."""
    body = read_json(ShareRequest)
    operation = operations.CreateShare(thread_id, **msgspec.structs.asdict(body))
    new = current_site().run(current_client().transport.send(operation))
    address = session.base_url(request, current_site().policy)
    return json_response(NewLink(new.share, f"{address}/shared/{new.token}"), 201)


@routes.patch("/api/shares/<share_id>")
def update_share(share_id: str) -> Response:
    """Take a new snapshot under the same link."""
    body = read_json(ShareChange)
    operation = operations.UpdateShare(share_id, **msgspec.structs.asdict(body))
    return respond_with(current_client().transport.send(operation))


@routes.delete("/api/shares/<share_id>")
def delete_share(share_id: str) -> Response:
    """Revoke the link."""
    return respond_with(current_client().delete_share(share_id))


@routes.get("/api/links/<token>")
def get_shared(token: str) -> Response:
    """Return what a link shows; the guard admits readers without a login where anyone may read."""
    site, count_guess = current_site(), _count_guess()
    address = network_key(session.client_address(request, site.policy))

    async def make() -> bytes:
        async with site.limits.answers.slot(address):
            with count_guess:
                return msgspec.json.encode(await site.client.get_shared(token))

    response = respond_when_made(make, JSON)
    response.headers.update(HEADERS)
    return response


@routes.post("/api/links/<token>/copies")
def copy_shared(token: str) -> Response:
    """Copy what a link shows into a thread of the user."""
    with _count_guess():
        copy = current_site().run(current_client().copy_shared(token))
    return json_response({"id": copy.id}, 201)


def _count_guess() -> AbstractContextManager[None]:
    """Count links that lead nowhere, by the address of the reader."""
    site = current_site()
    return site.limits.links.count(network_key(session.client_address(request, site.policy)))
