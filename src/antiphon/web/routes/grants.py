"""Tools that the user always allows: list and revoke."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from flask import Blueprint, Response
from msgspec import Meta

from antiphon.types.terminal_safe import clean
from antiphon.web.context import current_site
from antiphon.web.http import json_response, read_json
from antiphon.web.session import current_user

routes = Blueprint("grants", __name__)

Named = Annotated[str, Meta(max_length=1024)]


class GrantView(msgspec.Struct, frozen=True):
    """Tool that runs without a question; `server` is empty for a function of the app.

    `description` is the tool's own at the time it was allowed. `asked_by` are the model servers
    whose calls run; grants of older versions name none, and the user is asked.
    """

    server: str
    tool: str
    description: str
    asked_by: tuple[str, ...] = ()


class GrantList(msgspec.Struct, frozen=True):
    """All grants of the user, in the order in which they were given."""

    data: Sequence[GrantView]


class Revoking(msgspec.Struct, frozen=True):
    """Tool to revoke, as in `GrantView`; without `tool` all tools of the server."""

    server: Named
    tool: Named | None = None


class Revoked(msgspec.Struct, frozen=True):
    """Number of tools about which the user is asked again."""

    revoked: int


@routes.get("/api/grants")
def list_grants() -> Response:
    """List the tools that this user always allows."""
    servers: dict[tuple[str, str], list[str]] = {}
    newest: dict[tuple[str, str], str] = {}
    for each in current_site().relays.grants(current_user().owner).all():
        tool = each.server, each.own_name
        newest[tool] = clean(each.description)
        servers.setdefault(tool, []).extend([clean(str(each.asked_by))] if each.asked_by else [])
    return json_response(
        GrantList([GrantView(*tool, newest[tool], tuple(by)) for tool, by in servers.items()])
    )


@routes.post("/api/grants/revoke")
def revoke_grants() -> Response:
    """Revoke grants, also for runs under way."""
    body = read_json(Revoking)
    grants = current_site().relays.grants(current_user().owner)
    return json_response(Revoked(grants.revoke(body.server, body.tool)))
