"""Webhooks and their deliveries in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antiphon.engine.webhooks import Settlement
from antiphon.ports import AmendWebhook, RecordPage, Settle
from antiphon.stores import admin_rules, invariants
from antiphon.stores.invariants import Clock
from antiphon.stores.memory.admin import MemoryAdministration, delete_all
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


@dataclass
class _StoredDelivery:
    """A delivery; `due_at` is the end of the lease while it is claimed."""

    owner: str
    webhook_id: str
    event: WebhookEvent
    created_at: int
    due_at: int | None
    outcome: DeliveryOutcome
    status: DeliveryStatus = "pending"
    claimed: bool = False
    attempts: int = 0

    @property
    def delivery(self) -> WebhookDelivery:
        """The delivery as it is shown."""
        return WebhookDelivery(
            id=self.event.id,
            webhook_id=self.webhook_id,
            type=self.event.type,
            run_id=self.event.run_id,
            status=self.status,
            attempts=self.attempts,
            next_attempt_at=self.due_at,
            attempted_at=self.outcome.attempted_at,
            duration=self.outcome.duration,
            status_code=self.outcome.status_code,
            error=self.outcome.error,
            created_at=self.created_at,
        )


class MemoryWebhooks(MemoryAdministration):
    """`WebhookStore`; both tables have the oldest first."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._webhooks: dict[str, StoredWebhook] = {}
        self._deliveries: dict[tuple[str, str], _StoredDelivery] = {}

    # Webhooks

    async def add_webhook(
        self, owner: str, webhook: Webhook, sealed: bytes, limit: int, entry: AuditEntry
    ) -> None:
        """See `WebhookStore.add_webhook`."""
        if len(await self.webhooks(owner)) >= limit:
            raise admin_rules.webhook_limit_error(limit)
        self._webhooks[webhook.id] = StoredWebhook(owner, webhook, sealed)
        self._append_entry(entry)

    async def webhooks(self, owner: str | None) -> Sequence[StoredWebhook]:
        """See `WebhookStore.webhooks`."""
        return [each for each in self._webhooks.values() if owner in (None, each.owner)]

    async def find_webhook(self, owner: str, webhook_id: str) -> StoredWebhook:
        """See `WebhookStore.find_webhook`."""
        stored = self._webhooks.get(webhook_id)
        if stored is None or stored.owner != owner:
            raise invariants.not_found(Webhook, webhook_id)
        return stored

    async def change_webhook(
        self, owner: str, webhook_id: str, amend: AmendWebhook, entry: AuditEntry
    ) -> Webhook | None:
        """See `WebhookStore.change_webhook`."""
        stored = await self.find_webhook(owner, webhook_id)
        changed = amend(stored)
        if changed == stored:
            return stored.webhook
        self._append_entry(entry)
        if changed is None:
            del self._webhooks[webhook_id]
            delete_all(self._deliveries, [key for key in self._deliveries if key[0] == webhook_id])
            return None
        self._webhooks[webhook_id] = changed
        if changed.webhook.enabled and not stored.webhook.enabled:
            now = self._clock()
            for each in self._pending(webhook_id):
                if not each.claimed and each.due_at is not None:
                    each.due_at = min(each.due_at, now)
        return changed.webhook

    # Deliveries

    def _add_deliveries(self, owner: str, event: WebhookEvent) -> None:
        """Add a delivery of the event for each webhook of the owner that wants it."""
        for stored in self._webhooks.values():
            if stored.owner == owner and stored.webhook.wants(event.type):
                self._add_delivery(owner, stored.webhook.id, event)

    def _add_delivery(self, owner: str, webhook_id: str, event: WebhookEvent) -> WebhookDelivery:
        now = self._clock()
        added = _StoredDelivery(owner, webhook_id, event, now, now, DeliveryOutcome(retry_from=now))
        self._deliveries[webhook_id, event.id] = added
        return added.delivery

    async def add_delivery(
        self, owner: str, webhook_id: str, event: WebhookEvent
    ) -> WebhookDelivery:
        """See `WebhookStore.add_delivery`."""
        webhook = (await self.find_webhook(owner, webhook_id)).webhook
        if not webhook.enabled:
            raise admin_rules.webhook_disabled_error()
        return self._add_delivery(owner, webhook_id, event)

    async def deliveries(
        self,
        owner: str,
        webhook_id: str,
        limit: int,
        after: str | None = None,
        status: DeliveryStatus | None = None,
    ) -> RecordPage:
        """See `WebhookStore.deliveries`."""
        await self.find_webhook(owner, webhook_id)
        newest = [each for each in self._deliveries.values() if each.webhook_id == webhook_id]
        newest.reverse()
        if after is not None:
            places = [place for place, each in enumerate(newest, 1) if each.event.id == after]
            if not places:
                raise invariants.not_found(WebhookDelivery, after)
            newest = newest[places[0] :]
        found = [each.delivery for each in newest if status in (None, each.status)]
        return RecordPage(found[:limit], len(found) > limit)

    async def resend_delivery(self, owner: str, webhook_id: str, event_id: str) -> WebhookDelivery:
        """See `WebhookStore.resend_delivery`."""
        webhook = (await self.find_webhook(owner, webhook_id)).webhook
        stored = self._deliveries.get((webhook_id, event_id))
        if stored is None:
            raise invariants.not_found(WebhookDelivery, event_id)
        if not webhook.enabled:
            raise admin_rules.webhook_disabled_error()
        now = self._clock()
        if not self._is_leased(stored):
            stored.status, stored.claimed, stored.due_at = "pending", False, now
            stored.outcome = DeliveryOutcome(retry_from=now)
        return stored.delivery

    async def has_due_deliveries(self) -> bool:
        """See `WebhookStore.has_due_deliveries`."""
        return any(
            self._due(each.webhook.id) for each in self._webhooks.values() if each.webhook.enabled
        )

    async def claim_deliveries(
        self, limit: int, failing: int, per_webhook: int, lease_ms: int
    ) -> Sequence[DeliveryClaim]:
        """See `WebhookStore.claim_deliveries`."""
        now = self._clock()
        enabled = [each for each in self._webhooks.values() if each.webhook.enabled]
        enabled.sort(key=lambda each: each.webhook.failing_since is not None)
        claims: list[DeliveryClaim] = []
        for stored in enabled:
            leased = sum(map(self._is_leased, self._pending(stored.webhook.id)))
            most = per_webhook
            if stored.webhook.failing_since is not None:
                most, failing = max(0, min(1, failing)), failing - 1
            free = max(0, min(limit - len(claims), most - leased))
            for each in self._due(stored.webhook.id)[:free]:
                each.claimed, each.due_at = True, now + lease_ms
                each.attempts += 1
                claims.append(
                    DeliveryClaim(
                        delivery=each.delivery,
                        outcome=each.outcome,
                        body=each.event.body,
                        stored=stored,
                        now=now,
                    )
                )
        return claims

    def _pending(self, webhook_id: str) -> Sequence[_StoredDelivery]:
        return [
            each
            for each in self._deliveries.values()
            if each.webhook_id == webhook_id and each.status == "pending"
        ]

    def _due(self, webhook_id: str) -> Sequence[_StoredDelivery]:
        """Return what may be sent to the webhook now: of each run the first that is pending."""
        firsts: dict[str, _StoredDelivery] = {}
        for each in self._pending(webhook_id):
            firsts.setdefault(each.event.run_id or each.event.id, each)
        now = self._clock()
        due = [each for each in firsts.values() if each.due_at is not None and each.due_at <= now]
        return sorted(due, key=lambda each: each.due_at or 0)

    def _is_leased(self, stored: _StoredDelivery) -> bool:
        return (
            stored.status == "pending"
            and stored.claimed
            and stored.due_at is not None
            and stored.due_at > self._clock()
        )

    async def settle_delivery(
        self, claim: DeliveryClaim, settle: Settle, entry: AuditEntry
    ) -> Settlement | None:
        """See `WebhookStore.settle_delivery`."""
        held = self._deliveries.get((claim.delivery.webhook_id, claim.delivery.id))
        stored = self._webhooks.get(claim.delivery.webhook_id)
        if held is None or stored is None:
            return None
        if not held.claimed or held.attempts != claim.delivery.attempts:
            return None
        settled = settle(stored.webhook, claim.outcome, self._clock())
        held.status, held.claimed, held.due_at = settled.status, False, settled.due_at
        held.outcome = settled.outcome
        self._webhooks[stored.webhook.id] = StoredWebhook(
            stored.owner, settled.webhook, stored.sealed
        )
        if stored.webhook.enabled and not settled.webhook.enabled:
            self._append_entry(entry)
        return settled

    async def delete_deliveries(self, before: int, limit: int) -> int:
        """See `WebhookStore.delete_deliveries`."""
        old = [key for key, each in self._deliveries.items() if each.created_at < before]
        return delete_all(self._deliveries, old[:limit])

    def _delete_webhooks(self, owner: str) -> int:
        """Delete the webhooks of an owner with their deliveries; return how many rows."""
        hooks = [key for key, each in self._webhooks.items() if each.owner == owner]
        theirs = [key for key, each in self._deliveries.items() if each.owner == owner]
        return delete_all(self._webhooks, hooks) + delete_all(self._deliveries, theirs)
