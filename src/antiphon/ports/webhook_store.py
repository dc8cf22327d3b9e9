"""WebhookStore: webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from antiphon.engine.webhooks import Settlement
from antiphon.ports.records import RecordPage, RecordStore
from antiphon.types.accounts import AuditEntry
from antiphon.types.webhooks import (
    DeliveryClaim,
    DeliveryOutcome,
    DeliveryStatus,
    StoredWebhook,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
)

AmendWebhook = Callable[[StoredWebhook], StoredWebhook | None]
"""Pure function from a webhook and its secrets to the new ones; None removes it."""


Settle = Callable[[Webhook, DeliveryOutcome, int], Settlement]
"""Pure function from a webhook, the outcome before the attempt, and the time (ms)."""


class WebhookStore(RecordStore, Protocol):
    """Stores webhooks and the deliveries of events to them.

    `RunStore.change` writes a delivery of each of its `webhook_events` for every webhook of the
    run's owner that wants it, in its own transaction. The deliveries of one run to one webhook are
    claimed in their order: none before the one before it is delivered or given up.
    """

    async def add_webhook(
        self, owner: str, webhook: Webhook, sealed: bytes, limit: int, entry: AuditEntry
    ) -> None:
        """Add a webhook. Raises `Conflict` if its owner has `limit` webhooks."""
        ...

    async def webhooks(self, owner: str | None) -> Sequence[StoredWebhook]:
        """Return the webhooks of an owner, or all, oldest first."""
        ...

    async def find_webhook(self, owner: str, webhook_id: str) -> StoredWebhook:
        """Return the webhook. Raises `NotFound`."""
        ...

    async def change_webhook(
        self, owner: str, webhook_id: str, amend: AmendWebhook, entry: AuditEntry
    ) -> Webhook | None:
        """Replace the webhook by the result of `amend`; an exception changes nothing.

        A webhook is removed with its deliveries. The pending deliveries of a webhook that becomes
        enabled are due at once. Raises `NotFound`.
        """
        ...

    async def add_delivery(
        self, owner: str, webhook_id: str, event: WebhookEvent
    ) -> WebhookDelivery:
        """Add a delivery of an event to one webhook, whatever types it wants.

        Raises `NotFound`, and `Conflict` for a disabled webhook.
        """
        ...

    async def deliveries(
        self,
        owner: str,
        webhook_id: str,
        limit: int,
        after: str | None = None,
        status: DeliveryStatus | None = None,
    ) -> RecordPage:
        """Return deliveries of a webhook, newest first, as `RunStore.list` does."""
        ...

    async def resend_delivery(self, owner: str, webhook_id: str, event_id: str) -> WebhookDelivery:
        """Make a delivery due now, for three days, whatever its status. Raises `NotFound`.

        One that a worker is sending stays as it is. Raises `Conflict` for a disabled webhook.
        """
        ...

    async def has_due_deliveries(self) -> bool:
        """Return whether a delivery may be claimed: a cheap read before a claim."""
        ...

    async def claim_deliveries(
        self, limit: int, failing: int, per_webhook: int, lease_ms: int
    ) -> Sequence[DeliveryClaim]:
        """Claim up to `limit` due deliveries of enabled webhooks, and count an attempt of each.

        Of one webhook at most `per_webhook` are claimed at a time, by all workers together; of one
        that fails, one. At most `failing` claims are of webhooks that fail, which come last. A
        claim that is not settled before its lease ends is due again.
        """
        ...

    async def settle_delivery(
        self, claim: DeliveryClaim, settle: Settle, entry: AuditEntry
    ) -> Settlement | None:
        """Write what `settle` decides about a claimed delivery; return it.

        `entry` is stored if it disables the webhook. None means that the claim was lost, or the
        delivery deleted, and that nothing was written.
        """
        ...

    async def delete_deliveries(self, before: int, limit: int) -> int:
        """Delete up to `limit` deliveries of events before that time (ms); return how many."""
        ...
