"""Administration: people, API keys, live runs, usage, and what the installation offers."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, Meta, UnsetType

from antiphon.api import operations
from antiphon.api.operations import GetUsage, ListKeys, ListPeople
from antiphon.types.accounts import Limits, RedactedRepr, Role
from antiphon.web import admin_views
from antiphon.web.context import admin_client, current_site, require_admin
from antiphon.web.http import json_response, read_json, read_query
from antiphon.web.session import current_user

routes = Blueprint("admin", __name__, url_prefix="/api/admin")


class NewPerson(RedactedRepr, frozen=True):
    """Person to create, who can log in."""

    name: operations.PersonName
    role: Role = "user"
    password: operations.Password | None = None


class ChangedPerson(RedactedRepr, frozen=True):
    """Changes of a person; `sign_out` ends all their logins."""

    name: operations.PersonName | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    password: operations.Password | UnsetType = UNSET
    sign_out: bool = False


class NewApiKey(msgspec.Struct, frozen=True):
    """Key to create: its name, owner, scopes, limits and lifetime."""

    name: operations.Name
    owner: operations.Id
    scopes: Annotated[tuple[operations.KeyScope, ...], Meta(max_length=4)] = ("read", "write")
    limits: Limits = Limits()
    expires_in: operations.KeySeconds | None = None


class ChangedKey(msgspec.Struct, frozen=True):
    """Changes of a key; null removes a limit."""

    name: operations.Name | UnsetType = UNSET
    limits: operations.NewLimits = operations.NewLimits()


class RunOwner(msgspec.Struct, frozen=True):
    """Owner of the run."""

    owner: operations.Id


class UsageDays(msgspec.Struct, frozen=True):
    """Number of days, counted back from today."""

    days: Annotated[int, Meta(ge=1, le=366)] = 30


routes.before_request(require_admin)


# People.


@routes.get("/people")
def list_people() -> Response:
    """List everybody who may log in."""

    async def everybody() -> list[object]:
        return [each async for each in current_site().client.paginate(ListPeople())]

    return json_response({"data": current_site().run(everybody())})


@routes.post("/people")
def create_person() -> Response:
    """Create a person."""
    body = read_json(NewPerson)
    making = admin_client().create_person(body.name, body.role, body.password)
    return json_response(current_site().run(making), 201)


@routes.patch("/people/<person_id>")
def update_person(person_id: str) -> Response:
    """Change a person."""
    body = read_json(ChangedPerson)
    changing = admin_client().update_person(
        person_id,
        name=body.name,
        role=body.role,
        disabled=body.disabled,
        password=body.password,
        sign_out=body.sign_out,
    )
    return json_response(current_site().run(changing))


@routes.delete("/people/<person_id>")
def delete_person(person_id: str) -> Response:
    """Delete a person; they cannot log in again, and their threads stay."""
    return json_response(current_site().run(admin_client().delete_person(person_id)))


# Keys.


@routes.get("/keys")
def list_keys() -> Response:
    """List the keys that are not revoked."""

    async def standing() -> list[object]:
        listed = current_site().client.paginate(ListKeys())
        return [key async for key in listed if key.revoked_at is None]

    return json_response({"data": current_site().run(standing())})


@routes.post("/keys")
def create_key() -> Response:
    """Create a key; its token is returned this once."""
    body = read_json(NewApiKey)
    making = admin_client().create_key(
        body.name,
        body.owner,
        body.scopes,
        limits=body.limits,
        expires_in=body.expires_in,
    )
    return json_response(current_site().run(making), 201)


@routes.patch("/keys/<key_id>")
def update_key(key_id: str) -> Response:
    """Change a key's name or limits."""
    body = read_json(ChangedKey)
    changing = admin_client().update_key(key_id, name=body.name, limits=body.limits)
    return json_response(current_site().run(changing))


@routes.delete("/keys/<key_id>")
def revoke_key(key_id: str) -> Response:
    """Revoke a key."""
    return json_response(current_site().run(admin_client().revoke_key(key_id)))


# What goes on.


@routes.get("/runs")
def list_runs() -> Response:
    """List the runs of all owners that have not ended."""
    return json_response(
        {"data": current_site().run(admin_views.list_live_runs(current_site().client))}
    )


@routes.post("/runs/<run_id>/stop")
def stop_run(run_id: str) -> Response:
    """Cancel a run of any owner."""
    owner = read_json(RunOwner).owner
    run = current_site().run(
        current_site().client_for_owner(owner).as_actor(current_user().id).cancel_run(run_id)
    )
    return json_response({"id": run.id, "status": run.status})


@routes.get("/usage")
def read_usage() -> Response:
    """Return usage and costs by day, model and owner."""
    return json_response(
        current_site().run(
            admin_views.read_usage(current_site().client, GetUsage(read_query(UsageDays).days))
        )
    )


# What there is.


@routes.get("/servers")
def list_servers() -> Response:
    """List the MCP servers of the web chat, and those that the backend runs."""
    return json_response({"data": current_site().run(admin_views.list_servers(current_site()))})


@routes.get("/models")
def list_models() -> Response:
    """List the models."""
    return json_response({"data": current_site().run(current_site().client.list_models()).data})


@routes.get("/assistants")
def list_shared_assistants() -> Response:
    """List all assistants that have a link."""
    return json_response(
        {"data": current_site().run(admin_views.list_shared_assistants(current_site()))}
    )
