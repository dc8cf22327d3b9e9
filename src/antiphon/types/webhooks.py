"""Webhooks, the events that they are sent, and the deliveries of these events."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import msgspec

from antiphon.types.accounts import RedactedRepr

WebhookEventType = Literal[
    "run.completed",
    "run.incomplete",
    "run.failed",
    "run.cancelled",
    "run.expired",
    "action.required",
    "approval.required",
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.cancelled",
    "webhook.test",
]
"""Types of the events that webhooks are sent.

`run.` and a final status: the run has ended so. `action.required`: a client must run tool calls.
`approval.required`: a person must approve tool calls. `response.` and a status: a response of
OpenAI's wire that was made in the background has ended so, as there. `webhook.test` is sent on
request only.
"""

EVENT_TYPES: tuple[WebhookEventType, ...] = get_args(WebhookEventType)

DisabledReason = Literal["owner", "gone", "failing"]
"""Reason of a webhook's being disabled: its owner did it, the receiver answered 410, or no
delivery succeeded for three days."""

DeliveryStatus = Literal["pending", "delivered", "failed"]


class WebhookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event for the webhooks of a run's owner; `body` is the JSON that every receiver gets."""

    id: str
    type: WebhookEventType
    run_id: str
    body: bytes


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that is sent events of its owner's runs. Times in ms.

    It is sent the events whose types are in `events`, or all if that is empty. `failing_since` is
    the time of the first failure after the last success. While `old_secret_until` is in the future,
    requests are signed with the previous secret too. `enabled_at` is when it was last enabled.
    """

    id: str
    url: str
    events: tuple[WebhookEventType, ...] = ()
    description: str = ""
    enabled: bool = True
    disabled_reason: DisabledReason | None = None
    failing_since: int | None = None
    old_secret_until: int | None = None
    enabled_at: int
    created_at: int
    updated_at: int

    def wants(self, kind: WebhookEventType) -> bool:
        """Return whether events of this type are to be sent to it."""
        return self.enabled and (not self.events or kind in self.events)


class StoredWebhook(msgspec.Struct, frozen=True):
    """A webhook with its owner and its encrypted secrets."""

    owner: str
    webhook: Webhook
    sealed: bytes


class WebhookSecrets(RedactedRepr, frozen=True):
    """The secrets of a webhook in plain text, `whsec_...`; `old` is the previous one."""

    secrets: ClassVar[tuple[str, ...]] = ("current", "old")

    current: str
    old: str | None = None


class DeliveryOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of the last attempt. Times in ms, the duration too.

    `retry_from` is when the three days of attempts began: when the event happened, or when the
    delivery was last sent again by hand.
    """

    retry_from: int = 0
    attempted_at: int | None = None
    duration: int | None = None
    status_code: int | None = None
    error: str | None = None


class WebhookDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """The delivery of an event to a webhook. Times in ms, the duration of the last attempt too.

    `id` is that of the event: the header `webhook-id` of every attempt. `status_code` and `error`
    are of the last attempt. `next_attempt_at` is None once it is delivered or given up.
    """

    id: str
    webhook_id: str
    type: WebhookEventType
    run_id: str
    status: DeliveryStatus
    attempts: int = 0
    next_attempt_at: int | None = None
    attempted_at: int | None = None
    duration: int | None = None
    status_code: int | None = None
    error: str | None = None
    created_at: int


class DeliveryClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that a worker holds under a lease, fenced by its number of `attempts`.

    `now` is the store's clock (ms). `body` is the event as JSON.
    """

    delivery: WebhookDelivery
    outcome: DeliveryOutcome
    body: bytes
    stored: StoredWebhook
    now: int


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """The result of sending an event once, in `duration` ms.

    `status_code` is None if there was no response, and `error` says in one line why it counts as a
    failure. `retry_after` are the seconds that the receiver asked to wait.
    """

    duration: int
    status_code: int | None = None
    error: str | None = None
    retry_after: int | None = None
