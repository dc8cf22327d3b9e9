"""Webhooks of all owners, for administrators; each route names the owner in its query."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, UnsetType

from antiphon.api import operations
from antiphon.client.async_client import AsyncClient
from antiphon.types.webhooks import DeliveryStatus
from antiphon.web import admin_views
from antiphon.web.http import json_response, read_json, read_query
from antiphon.web.session import admin_client, current_site, require_admin, respond_with

routes = Blueprint("webhooks", __name__, url_prefix="/api/admin/webhooks")


class NewOwnedWebhook(msgspec.Struct, frozen=True):
    """Webhook to create for an owner."""

    owner: operations.Id
    url: operations.WebhookUrl
    events: operations.WebhookEvents = ()
    description: operations.Description = ""


class ChangedWebhook(msgspec.Struct, frozen=True):
    """Changes of a webhook."""

    url: operations.WebhookUrl | UnsetType = UNSET
    events: operations.WebhookEvents | UnsetType = UNSET
    description: operations.Description | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class OwnerQuery(msgspec.Struct, frozen=True):
    """Owner of the webhook."""

    owner: operations.Id


class DeliveryQuery(msgspec.Struct, frozen=True):
    """Owner of the webhook, and the deliveries to list: those after this one, of this status."""

    owner: operations.Id
    after: operations.Id | None = None
    status: DeliveryStatus | None = None


routes.before_request(require_admin)


def _client() -> AsyncClient:
    """Return the client of the administrator, at work for the owner in the query."""
    return admin_client().on_behalf_of(read_query(OwnerQuery).owner)


@routes.get("")
def list_webhooks() -> Response:
    """List the webhooks of all owners."""
    listing = admin_views.list_webhooks(current_site().client)
    return json_response({"data": current_site().run(listing)})


@routes.post("")
def create_webhook() -> Response:
    """Create a webhook; its secret is returned this once."""
    body = read_json(NewOwnedWebhook)
    client = admin_client().on_behalf_of(body.owner)
    return respond_with(client.create_webhook(body.url, body.events, body.description), 201)


@routes.patch("/<webhook_id>")
def update_webhook(webhook_id: str) -> Response:
    """Change a webhook, or switch it on or off."""
    body = read_json(ChangedWebhook)
    changing = _client().update_webhook(
        webhook_id,
        url=body.url,
        events=body.events,
        description=body.description,
        enabled=body.enabled,
    )
    return respond_with(changing)


@routes.delete("/<webhook_id>")
def delete_webhook(webhook_id: str) -> Response:
    """Delete a webhook with its deliveries."""
    return respond_with(_client().delete_webhook(webhook_id))


@routes.post("/<webhook_id>/rotate_secret")
def rotate_webhook_secret(webhook_id: str) -> Response:
    """Replace the secret of a webhook; the new one is returned this once."""
    return respond_with(_client().rotate_webhook_secret(webhook_id))


@routes.post("/<webhook_id>/test")
def send_test_event(webhook_id: str) -> Response:
    """Send a test event."""
    return respond_with(_client().send_test_event(webhook_id))


@routes.get("/<webhook_id>/deliveries")
def list_deliveries(webhook_id: str) -> Response:
    """List deliveries of a webhook, newest first."""
    query = read_query(DeliveryQuery)
    client = admin_client().on_behalf_of(query.owner)
    return respond_with(client.list_webhook_deliveries(webhook_id, query.status, after=query.after))


@routes.post("/<webhook_id>/deliveries/<event_id>/resend")
def resend_delivery(webhook_id: str, event_id: str) -> Response:
    """Send a delivery again."""
    return respond_with(_client().resend_webhook_delivery(webhook_id, event_id))
