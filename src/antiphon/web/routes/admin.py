"""For those who run the installation: who uses it, with which keys, what runs and what it cost."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, Meta, UnsetType

from antiphon.api import operations
from antiphon.api.operations import GetUsage, ListKeys, ListPeople
from antiphon.types.accounts import Limits, RedactedRepr, Role
from antiphon.web import admin_views
from antiphon.web.context import governing, refuse_others, site
from antiphon.web.http import answer, query, read
from antiphon.web.session import person

routes = Blueprint("admin", __name__, url_prefix="/api/admin")


class NewPerson(RedactedRepr, frozen=True):
    """Somebody who shall be able to log in."""

    name: operations.PersonName
    role: Role = "user"
    password: operations.Password | None = None


class ChangedPerson(RedactedRepr, frozen=True):
    """What is given changes; `sign_out` ends all logins of the person."""

    name: operations.PersonName | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    password: operations.Password | UnsetType = UNSET
    sign_out: bool = False


class KeyWanted(msgspec.Struct, frozen=True):
    """What the key is for, whose threads it opens, and what it may do."""

    name: operations.Name
    owner: operations.Id
    scopes: Annotated[tuple[operations.KeyScope, ...], Meta(max_length=4)] = ("read", "write")
    limits: Limits = Limits()
    expires_in: operations.KeySeconds | None = None


class ChangedKey(msgspec.Struct, frozen=True):
    """What is given changes; null takes a limit away."""

    name: operations.Name | UnsetType = UNSET
    limits: operations.NewLimits = operations.NewLimits()


class Stopping(msgspec.Struct, frozen=True):
    """Whose run it is."""

    owner: operations.Id


class Span(msgspec.Struct, frozen=True):
    """How far back."""

    days: Annotated[int, Meta(ge=1, le=366)] = 30


routes.before_request(refuse_others)


# People.


@routes.get("/people")
def people() -> Response:
    """Everybody who may log in."""

    async def everybody() -> list[object]:
        return [each async for each in site().client.paginate(ListPeople())]

    return answer({"data": site().run(everybody())})


@routes.post("/people")
def person_added() -> Response:
    """Somebody new."""
    wanted = read(NewPerson)
    making = governing().create_person(wanted.name, wanted.role, wanted.password)
    return answer(site().run(making), 201)


@routes.patch("/people/<person_id>")
def person_changed(person_id: str) -> Response:
    """Who they are from now on."""
    wanted = read(ChangedPerson)
    changing = governing().update_person(
        person_id,
        name=wanted.name,
        role=wanted.role,
        disabled=wanted.disabled,
        password=wanted.password,
        sign_out=wanted.sign_out,
    )
    return answer(site().run(changing))


@routes.delete("/people/<person_id>")
def person_removed(person_id: str) -> Response:
    """They cannot log in any more; their threads stay."""
    return answer(site().run(governing().delete_person(person_id)))


# Keys.


@routes.get("/keys")
def keys() -> Response:
    """The keys that open something."""

    async def standing() -> list[object]:
        listed = site().client.paginate(ListKeys())
        return [key async for key in listed if key.revoked_at is None]

    return answer({"data": site().run(standing())})


@routes.post("/keys")
def key_made() -> Response:
    """A key with its text, which is told this once."""
    wanted = read(KeyWanted)
    making = governing().create_key(
        wanted.name,
        wanted.owner,
        wanted.scopes,
        limits=wanted.limits,
        expires_in=wanted.expires_in,
    )
    return answer(site().run(making), 201)


@routes.patch("/keys/<key_id>")
def key_changed(key_id: str) -> Response:
    """How much the key may from now on."""
    wanted = read(ChangedKey)
    changing = governing().update_key(key_id, name=wanted.name, limits=wanted.limits)
    return answer(site().run(changing))


@routes.delete("/keys/<key_id>")
def key_revoked(key_id: str) -> Response:
    """The key opens nothing any more."""
    return answer(site().run(governing().revoke_key(key_id)))


# What goes on.


@routes.get("/runs")
def runs() -> Response:
    """What runs just now, whoever asked for it."""
    return answer({"data": site().run(admin_views.live_runs(site().client))})


@routes.post("/runs/<run_id>/stop")
def run_stopped(run_id: str) -> Response:
    """The run has been told to end."""
    owner = read(Stopping).owner
    run = site().run(site().client_for(owner).as_actor(person().id).cancel_run(run_id))
    return answer({"id": run.id, "status": run.status})


@routes.get("/usage")
def usage() -> Response:
    """What was used and what it cost, by day, model and person."""
    return answer(site().run(admin_views.usage(site().client, GetUsage(query(Span).days))))


# What there is.


@routes.get("/servers")
def servers() -> Response:
    """The MCP servers of the web chat, and those that the backend runs itself."""
    return answer({"data": site().run(admin_views.servers(site()))})


@routes.get("/models")
def models() -> Response:
    """The models that can be named."""
    return answer({"data": site().run(site().client.list_models()).data})


@routes.get("/assistants")
def assistants() -> Response:
    """Every assistant that somebody shares by a link."""
    return answer({"data": site().run(admin_views.shared_assistants(site()))})
