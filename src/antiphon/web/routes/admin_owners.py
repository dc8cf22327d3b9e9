"""Administration: projects, data of owners, provider keys, and the audit log."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, UnsetType

from antiphon.api import operations
from antiphon.api.operations import ListProjects
from antiphon.types.accounts import RedactedRepr
from antiphon.types.errors import NotFound
from antiphon.web import admin_views
from antiphon.web.context import admin_client, current_site, require_admin
from antiphon.web.heavy_answers import send_file
from antiphon.web.http import json_response, read_json, read_query

routes = Blueprint("admin_owners", __name__, url_prefix="/api/admin")
routes.before_request(require_admin)

ZIP = "application/zip"


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


# Projects.


@routes.get("/projects")
def list_projects() -> Response:
    """List all projects."""

    async def everything() -> list[object]:
        return [each async for each in current_site().client.paginate(ListProjects())]

    return json_response({"data": current_site().run(everything())})


@routes.post("/projects")
def create_project() -> Response:
    """Create a project: an owner that is not a person."""
    return json_response(
        current_site().run(admin_client().create_project(read_json(NewProject).name)), 201
    )


@routes.patch("/projects/<project_id>")
def update_project(project_id: str) -> Response:
    """Change a project."""
    body = read_json(ChangedProject)
    changing = admin_client().update_project(project_id, name=body.name, disabled=body.disabled)
    return json_response(current_site().run(changing))


@routes.delete("/projects/<project_id>")
def delete_project(project_id: str) -> Response:
    """Delete a project; its keys stop working, and its data stays."""
    return json_response(current_site().run(admin_client().delete_project(project_id)))


# Owners.


@routes.get("/owners")
def list_owners() -> Response:
    """List every owner of data with their totals."""
    return json_response(
        {"data": current_site().run(admin_views.list_owners(current_site().client))}
    )


@routes.get("/owners/<path:owner>/export")
def export_owner(owner: str) -> Response:
    """Send all data of an owner as a ZIP file, made while it is sent."""
    there = current_site().run(current_site().client.list_owners(owner=owner)).data
    if not there:
        raise NotFound(f"There is nothing of the owner {owner!r}.")
    name = re.sub(r"[^A-Za-z0-9_-]", "_", owner)
    day = datetime.now(UTC).date().isoformat()
    export = partial(admin_client().export_owner, owner)
    return send_file(f"antiphon-{name}-{day}.zip", export, ZIP)


@routes.delete("/owners/<path:owner>")
def erase_owner(owner: str) -> Response:
    """Erase data of an owner; call it again until the response says that it is done."""
    return json_response(current_site().run(admin_client().erase_owner(owner)))


# Keys of owners at providers.


@routes.get("/provider_keys")
def list_provider_keys() -> Response:
    """List the provider keys of all owners by their last characters."""
    return json_response(
        {"data": current_site().run(admin_views.list_provider_keys(current_site().client))}
    )


@routes.put("/provider_keys/<provider>/<path:owner>")
def set_provider_key(provider: str, owner: str) -> Response:
    """Set an owner's key at a provider; it is never returned."""
    body = read_json(NewProviderKey)
    keeping = admin_client().set_owners_provider_key(owner, provider, body.key, body.base_url)
    return json_response(current_site().run(keeping))


@routes.delete("/provider_keys/<provider>/<path:owner>")
def delete_provider_key(provider: str, owner: str) -> Response:
    """Delete an owner's key at a provider."""
    return json_response(
        current_site().run(admin_client().on_behalf_of(owner).delete_provider_key(provider))
    )


# The audit log.


@routes.get("/acts")
def list_audit_entries() -> Response:
    """List the acts of administrators, newest first."""
    query = read_query(AuditQuery)
    return json_response(
        current_site().run(
            admin_views.list_audit_entries(current_site().client, query.after, query.owner)
        )
    )
