"""For those who run the installation: whose things there are, and what was done about them."""

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
    """What it shall be called."""

    name: operations.PersonName


class ChangedProject(msgspec.Struct, frozen=True):
    """What is given changes."""

    name: operations.PersonName | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class NewProviderKey(RedactedRepr, frozen=True):
    """A key that an owner has at a provider, and where it is sent if not there."""

    secrets: ClassVar[tuple[str, ...]] = ("key",)

    key: operations.ProviderSecret
    base_url: operations.BaseUrl | None = None


class AuditQuery(msgspec.Struct, frozen=True):
    """Behind which act, and about whom."""

    after: operations.Id | None = None
    owner: operations.Id | None = None


# Projects.


@routes.get("/projects")
def list_projects() -> Response:
    """All of them."""

    async def everything() -> list[object]:
        return [each async for each in current_site().client.paginate(ListProjects())]

    return json_response({"data": current_site().run(everything())})


@routes.post("/projects")
def create_project() -> Response:
    """A new owner that is no person."""
    return json_response(
        current_site().run(admin_client().create_project(read_json(NewProject).name)), 201
    )


@routes.patch("/projects/<project_id>")
def update_project(project_id: str) -> Response:
    """What it is from now on."""
    wanted = read_json(ChangedProject)
    changing = admin_client().update_project(project_id, name=wanted.name, disabled=wanted.disabled)
    return json_response(current_site().run(changing))


@routes.delete("/projects/<project_id>")
def delete_project(project_id: str) -> Response:
    """Its keys open nothing any more; its things stay."""
    return json_response(current_site().run(admin_client().delete_project(project_id)))


# Owners.


@routes.get("/owners")
def list_owners() -> Response:
    """Everybody who has something, and how much."""
    return json_response(
        {"data": current_site().run(admin_views.list_owners(current_site().client))}
    )


@routes.get("/owners/<path:owner>/export")
def export_owner(owner: str) -> Response:
    """All of an owner as a file, which is sent while it is made."""
    there = current_site().run(current_site().client.list_owners(owner=owner)).data
    if not there:
        raise NotFound(f"There is nothing of the owner {owner!r}.")
    return send_file(_file_name(owner), partial(admin_client().export_owner, owner), ZIP)


@routes.delete("/owners/<path:owner>")
def erase_owner(owner: str) -> Response:
    """How far the owner is erased; asked again until it is done."""
    return json_response(current_site().run(admin_client().erase_owner(owner)))


# Keys of owners at providers.


@routes.get("/provider_keys")
def list_provider_keys() -> Response:
    """Who has which, by how they end."""
    return json_response(
        {"data": current_site().run(admin_views.list_provider_keys(current_site().client))}
    )


@routes.put("/provider_keys/<provider>/<path:owner>")
def set_provider_key(provider: str, owner: str) -> Response:
    """The owner's key there from now on; it is never told again."""
    wanted = read_json(NewProviderKey)
    keeping = admin_client().set_owners_provider_key(owner, provider, wanted.key, wanted.base_url)
    return json_response(current_site().run(keeping))


@routes.delete("/provider_keys/<provider>/<path:owner>")
def delete_provider_key(provider: str, owner: str) -> Response:
    """The owner has no key there any more."""
    return json_response(
        current_site().run(admin_client().on_behalf_of(owner).delete_provider_key(provider))
    )


# The audit log.


@routes.get("/acts")
def list_audit_entries() -> Response:
    """What administrators did, the newest first."""
    asked = read_query(AuditQuery)
    return json_response(
        current_site().run(
            admin_views.list_audit_entries(current_site().client, asked.after, asked.owner)
        )
    )


def _file_name(owner: str) -> str:
    day = datetime.now(UTC).date().isoformat()
    return f"antiphon-{re.sub(r'[^A-Za-z0-9_-]', '_', owner)}-{day}.zip"
