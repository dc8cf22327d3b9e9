"""Operations on webhooks: endpoints that are sent events of the caller's runs."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from antiphon.api.operation import Deleted, Id, Limit, Listed, Operation
from antiphon.types.accounts import RedactedRepr
from antiphon.types.runs import DAY
from antiphon.types.webhooks import (
    EVENT_TYPES,
    DeliveryStatus,
    Webhook,
    WebhookDelivery,
    WebhookEventType,
)

WebhookUrl = Annotated[str, Meta(min_length=1, max_length=2048)]
WebhookEvents = Annotated[tuple[WebhookEventType, ...], Meta(max_length=len(EVENT_TYPES))]
Description = Annotated[str, Meta(max_length=512)]


class NewWebhook(RedactedRepr, frozen=True):
    """A webhook with a new secret, which is returned this once only."""

    secrets: ClassVar[tuple[str, ...]] = ("secret",)

    webhook: Webhook
    secret: str


class CreateWebhook(Operation[NewWebhook], frozen=True):
    """Create a webhook: a URL that is sent events of the caller's runs.

    Requests are signed as in Standard Webhooks with the secret of the response, which is not shown
    again. `events` are the types to send, all by default. An event carries ids and statuses, and no
    text of messages, tools or models: read the rest through the API. The URL is https, at a public
    address; the operator can allow others.
    """

    route: ClassVar[str] = "POST /v1/webhooks"
    answer: ClassVar[Any] = NewWebhook
    http_status: ClassVar[int] = 201

    url: WebhookUrl
    events: WebhookEvents = ()
    description: Description = ""


class ListWebhooks(Operation[Listed[Webhook]], frozen=True):
    """List the caller's webhooks, oldest first."""

    route: ClassVar[str] = "GET /v1/webhooks"
    answer: ClassVar[Any] = Listed[Webhook]


class OwnedWebhook(msgspec.Struct, frozen=True):
    """A webhook, and its owner."""

    owner: str
    webhook: Webhook


class ListAllWebhooks(Operation[Listed[OwnedWebhook]], frozen=True):
    """List the webhooks of all owners, oldest first."""

    route: ClassVar[str] = "GET /v1/all_webhooks"
    answer: ClassVar[Any] = Listed[OwnedWebhook]
    scope: ClassVar[str | None] = "admin"


class GetWebhook(Operation[Webhook], frozen=True):
    """Get one webhook."""

    route: ClassVar[str] = "GET /v1/webhooks/{webhook_id}"
    answer: ClassVar[Any] = Webhook

    webhook_id: Id


class UpdateWebhook(Operation[Webhook], frozen=True):
    """Change the given fields of a webhook; the others stay.

    A disabled webhook gets no new events. What waits for it is sent when it is enabled again, for
    three days from then.
    """

    route: ClassVar[str] = "PATCH /v1/webhooks/{webhook_id}"
    answer: ClassVar[Any] = Webhook

    webhook_id: Id
    url: WebhookUrl | msgspec.UnsetType = msgspec.UNSET
    events: WebhookEvents | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


class DeleteWebhook(Operation[Deleted], frozen=True):
    """Delete a webhook with its deliveries; what is being sent now may still arrive."""

    route: ClassVar[str] = "DELETE /v1/webhooks/{webhook_id}"
    answer: ClassVar[Any] = Deleted

    webhook_id: Id


class RotateWebhookSecret(Operation[NewWebhook], frozen=True):
    """Give a webhook a new secret, which is returned this once only.

    Requests carry a signature with each of both secrets for `keep_old_for` seconds, a day by
    default, so that receivers can be changed one by one. With 0 the old secret ends at once.
    """

    route: ClassVar[str] = "POST /v1/webhooks/{webhook_id}/rotate_secret"
    answer: ClassVar[Any] = NewWebhook

    webhook_id: Id
    keep_old_for: Annotated[int, Meta(ge=0, le=7 * DAY)] = DAY


class SendTestEvent(Operation[WebhookDelivery], frozen=True):
    """Send a webhook an event of type `webhook.test`, and return its delivery.

    Raises `Conflict` if the webhook is disabled.
    """

    route: ClassVar[str] = "POST /v1/webhooks/{webhook_id}/test"
    answer: ClassVar[Any] = WebhookDelivery

    webhook_id: Id


class ListWebhookDeliveries(Operation[Listed[WebhookDelivery]], frozen=True):
    """List deliveries of a webhook, newest first; with `status`, only those.

    They are kept as long as the events of runs, and for a week at least.
    """

    route: ClassVar[str] = "GET /v1/webhooks/{webhook_id}/deliveries"
    answer: ClassVar[Any] = Listed[WebhookDelivery]

    webhook_id: Id
    status: DeliveryStatus | None = None
    limit: Limit = 20
    after: Id | None = None


class ResendWebhookDelivery(Operation[WebhookDelivery], frozen=True):
    """Send a delivery again, now and for three days, whatever became of it.

    The receiver gets the same `webhook-id`. Raises `Conflict` if the webhook is disabled.
    """

    route: ClassVar[str] = "POST /v1/webhooks/{webhook_id}/deliveries/{event_id}/resend"
    answer: ClassVar[Any] = WebhookDelivery

    webhook_id: Id
    event_id: Id
