"""Administration: people, projects, keys, live runs, usage, data of owners, and the audit log."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, ClassVar

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, Meta, UnsetType

from antiphon.api import operations
from antiphon.api.operations import GetUsage, ListKeys, ListPeople, ListProjects
from antiphon.types.accounts import Limits, RedactedRepr, Role
from antiphon.types.errors import NotFound
from antiphon.web import admin_views
from antiphon.web.http import json_response, read_json, read_query
from antiphon.web.session import (
    admin_client,
    current_site,
    current_user,
    require_admin,
    respond_with,
)
from antiphon.web.streamed_responses import send_file

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


class NewProject(msgspec.Struct, frozen=True):
    """Name of a project to create."""

    name: operations.PersonName


class ChangedProject(msgspec.Struct, frozen=True):
    """Changes of a project."""

    name: operations.PersonName | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class NewProviderKey(RedactedRepr, frozen=True):
    """Key of an owner at a provider, and the provider's address if it is not the usual one."""

    secrets: ClassVar[tuple[str, ...]] = ("key",)

    key: operations.ProviderSecret
    base_url: operations.BaseUrl | None = None


class AuditQuery(msgspec.Struct, frozen=True):
    """Query of the audit log: entries after this one, about this owner."""

    after: operations.Id | None = None
    owner: operations.Id | None = None


routes.before_request(require_admin)


def _respond_with_list(work: Coroutine[Any, Any, Sequence[object]]) -> Response:
    return json_response({"data": current_site().run(work)})


async def _collect(rows: AsyncIterable[object]) -> Sequence[object]:
    return [row async for row in rows]


# People.


@routes.get("/people")
def list_people() -> Response:
    """List everybody who may log in."""
    return _respond_with_list(_collect(current_site().client.paginate(ListPeople())))


@routes.post("/people")
def create_person() -> Response:
    """Create a person."""
    body = read_json(NewPerson)
    making = admin_client().create_person(body.name, body.role, body.password)
    return respond_with(making, 201)


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
    return respond_with(changing)


@routes.delete("/people/<person_id>")
def delete_person(person_id: str) -> Response:
    """Delete a person; they cannot log in again, and their threads stay."""
    return respond_with(admin_client().delete_person(person_id))


# Keys.


@routes.get("/keys")
def list_keys() -> Response:
    """List the keys that are not revoked."""
    keys = current_site().client.paginate(ListKeys())
    return _respond_with_list(_collect(key async for key in keys if key.revoked_at is None))


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
    return respond_with(making, 201)


@routes.patch("/keys/<key_id>")
def update_key(key_id: str) -> Response:
    """Change a key's name or limits."""
    body = read_json(ChangedKey)
    changing = admin_client().update_key(key_id, name=body.name, limits=body.limits)
    return respond_with(changing)


@routes.delete("/keys/<key_id>")
def revoke_key(key_id: str) -> Response:
    """Revoke a key."""
    return respond_with(admin_client().revoke_key(key_id))


# Runs and usage.


@routes.get("/runs")
def list_runs() -> Response:
    """List the runs of all owners that have not ended."""
    return _respond_with_list(admin_views.list_live_runs(current_site().client))


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
    return respond_with(
        admin_views.read_usage(current_site().client, GetUsage(read_query(UsageDays).days))
    )


# MCP servers, models and assistants.


@routes.get("/servers")
def list_servers() -> Response:
    """List the MCP servers of the web chat, and those that the backend runs."""
    return _respond_with_list(admin_views.list_servers(current_site()))


@routes.get("/models")
def list_models() -> Response:
    """List the models."""
    return json_response({"data": current_site().run(current_site().client.list_models()).data})


@routes.get("/assistants")
def list_shared_assistants() -> Response:
    """List all assistants that have a link or are published."""
    return _respond_with_list(admin_views.list_shared_assistants(current_site()))


@routes.delete("/published_assistants/<assistant_id>")
def remove_published_assistant(assistant_id: str) -> Response:
    """Take back a published assistant of any owner, who keeps it."""
    return respond_with(admin_client().remove_published_assistant(assistant_id))


# Projects.


@routes.get("/projects")
def list_projects() -> Response:
    """List all projects."""
    return _respond_with_list(_collect(current_site().client.paginate(ListProjects())))


@routes.post("/projects")
def create_project() -> Response:
    """Create a project: an owner that is not a person."""
    return respond_with(admin_client().create_project(read_json(NewProject).name), 201)


@routes.patch("/projects/<project_id>")
def update_project(project_id: str) -> Response:
    """Change a project."""
    body = read_json(ChangedProject)
    changing = admin_client().update_project(project_id, name=body.name, disabled=body.disabled)
    return respond_with(changing)


@routes.delete("/projects/<project_id>")
def delete_project(project_id: str) -> Response:
    """Delete a project; its keys stop working, and its data stays."""
    return respond_with(admin_client().delete_project(project_id))


# Owners.


@routes.get("/owners")
def list_owners() -> Response:
    """List every owner of data with their totals."""
    return _respond_with_list(admin_views.list_owners(current_site().client))


@routes.get("/owners/<path:owner>/export")
def export_owner(owner: str) -> Response:
    """Send all data of an owner as a ZIP file, made while it is sent."""
    there = current_site().run(current_site().client.list_owners(owner=owner)).data
    if not there:
        raise NotFound(f"There is nothing of the owner {owner!r}.")
    name = re.sub(r"[^A-Za-z0-9_-]", "_", owner)
    day = datetime.now(UTC).date().isoformat()
    export = partial(admin_client().export_owner, owner)
    return send_file(f"antiphon-{name}-{day}.zip", export, "application/zip")


@routes.delete("/owners/<path:owner>")
def erase_owner(owner: str) -> Response:
    """Erase data of an owner; call it again until the response says that it is done."""
    return respond_with(admin_client().erase_owner(owner))


# Keys of owners at providers.


@routes.get("/provider_keys")
def list_provider_keys() -> Response:
    """List the provider keys of all owners by their last characters."""
    return _respond_with_list(admin_views.list_provider_keys(current_site().client))


@routes.put("/provider_keys/<provider>/<path:owner>")
def set_provider_key(provider: str, owner: str) -> Response:
    """Set an owner's key at a provider; it is never returned."""
    body = read_json(NewProviderKey)
    keeping = admin_client().set_owners_provider_key(owner, provider, body.key, body.base_url)
    return respond_with(keeping)


@routes.delete("/provider_keys/<provider>/<path:owner>")
def delete_provider_key(provider: str, owner: str) -> Response:
    """Delete an owner's key at a provider."""
    return respond_with(admin_client().on_behalf_of(owner).delete_provider_key(provider))


# The audit log.


@routes.get("/acts")
def list_audit_entries() -> Response:
    """List the acts of administrators, newest first."""
    query = read_query(AuditQuery)
    return respond_with(
        admin_views.list_audit_entries(current_site().client, query.after, query.owner)
    )
