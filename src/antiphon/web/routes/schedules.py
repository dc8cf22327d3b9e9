"""Schedules of all owners, for administrators; each route names the owner in its query."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, UnsetType

from antiphon.api import operations
from antiphon.client.async_client import AsyncClient
from antiphon.types.runs import Globs
from antiphon.types.schedules import MAX_TOTAL_TOKENS, TIMEOUT, MissedPolicy
from antiphon.web import admin_views
from antiphon.web.http import json_response, read_json, read_query
from antiphon.web.session import admin_client, current_site, require_admin, respond_with

routes = Blueprint("schedules", __name__, url_prefix="/api/admin/schedules")


class NewOwnedSchedule(msgspec.Struct, frozen=True):
    """Schedule to create for an owner."""

    owner: operations.Id
    message: operations.Prompt
    cron: operations.CronText | None = None
    run_at: operations.Time | None = None
    timezone: operations.ZoneName = "UTC"
    name: operations.Title = ""
    assistant_id: operations.Id | None = None
    allowed_tools: Globs = ()
    max_total_tokens: operations.MaxTokens = MAX_TOTAL_TOKENS
    timeout: operations.RunSeconds = TIMEOUT
    missed: MissedPolicy = "run_once"


class ChangedSchedule(msgspec.Struct, frozen=True):
    """Changes of a schedule."""

    message: operations.Prompt | UnsetType = UNSET
    cron: operations.CronText | UnsetType = UNSET
    run_at: operations.Time | UnsetType = UNSET
    timezone: operations.ZoneName | UnsetType = UNSET
    name: operations.Title | UnsetType = UNSET
    assistant_id: operations.Id | UnsetType | None = UNSET
    allowed_tools: Globs | UnsetType = UNSET
    max_total_tokens: operations.MaxTokens | UnsetType = UNSET
    timeout: operations.RunSeconds | UnsetType = UNSET
    missed: MissedPolicy | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


class HistoryQuery(msgspec.Struct, frozen=True):
    """Owner of the schedule, and the occurrence after which the list begins."""

    owner: operations.Id
    after: operations.Id | None = None


class TimesQuery(msgspec.Struct, frozen=True):
    """Cron expression whose next times are listed, and its time zone."""

    cron: operations.CronText
    timezone: operations.ZoneName = "UTC"


routes.before_request(require_admin)


def _client() -> AsyncClient:
    """Return the client of the administrator, at work for the owner in the query."""
    return admin_client().on_behalf_of(read_query(HistoryQuery).owner)


@routes.get("")
def list_schedules() -> Response:
    """List the schedules of all owners."""
    listing = admin_views.list_schedules(current_site().client)
    return json_response({"data": current_site().run(listing)})


@routes.post("")
def create_schedule() -> Response:
    """Create a schedule."""
    body = read_json(NewOwnedSchedule)
    fields = msgspec.structs.asdict(body)
    client = admin_client().on_behalf_of(fields.pop("owner"))
    return respond_with(client.create_schedule(**fields), 201)


@routes.get("/times")
def list_times() -> Response:
    """List the next times of a cron expression."""
    query = read_query(TimesQuery)
    return respond_with(admin_client().preview_schedule(query.cron, query.timezone))


@routes.patch("/<schedule_id>")
def update_schedule(schedule_id: str) -> Response:
    """Change a schedule, pause or resume it."""
    changes = msgspec.structs.asdict(read_json(ChangedSchedule))
    return respond_with(_client().update_schedule(schedule_id, **changes))


@routes.delete("/<schedule_id>")
def delete_schedule(schedule_id: str) -> Response:
    """Delete a schedule with its history."""
    return respond_with(_client().delete_schedule(schedule_id))


@routes.post("/<schedule_id>/run")
def run_schedule(schedule_id: str) -> Response:
    """Start a run of the schedule now."""
    return respond_with(_client().run_schedule(schedule_id), 202)


@routes.get("/<schedule_id>/occurrences")
def list_occurrences(schedule_id: str) -> Response:
    """List what became of the times of a schedule, newest first."""
    after = read_query(HistoryQuery).after
    return respond_with(_client().list_occurrences(schedule_id, after=after))
