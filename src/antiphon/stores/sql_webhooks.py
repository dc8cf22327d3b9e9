"""Webhooks and their deliveries in a SQL database, the same for SQLite and PostgreSQL.

The deliveries of a run's events are written by the change of the run itself, in `add_deliveries` of
SQLite and `deliveries_added` of PostgreSQL. A claimed delivery stays pending, with the end of its
lease in `due_at`, so that a lost claim is due again by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.engine.webhooks import Settlement
from antiphon.ports import AmendWebhook, RecordPage, Settle
from antiphon.stores import admin_rules, invariants
from antiphon.stores.rows import decoder
from antiphon.stores.sql_transaction import (
    Transaction,
    TransactionMethods,
    append_audit_entry,
    reading,
    writing,
)
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

_encode = msgspec.json.encode


# Webhooks.


async def add_webhook(
    sql: Transaction, owner: str, webhook: Webhook, sealed: bytes, limit: int, entry: AuditEntry
) -> None:
    """See `WebhookStore.add_webhook`."""
    await sql.execute("lock_webhooks")
    (count,) = await sql.fetch_row("count_webhooks", owner=owner)
    if count >= limit:
        raise admin_rules.webhook_limit_error(limit)
    await sql.execute("add_webhook", **_webhook_columns(StoredWebhook(owner, webhook, sealed)))
    await append_audit_entry(sql, entry)


async def list_webhooks(sql: Transaction, owner: str | None) -> Sequence[StoredWebhook]:
    """See `WebhookStore.webhooks`."""
    return [_to_webhook(row) for row in await sql.fetch("webhooks", owner=owner)]


async def find_webhook(sql: Transaction, owner: str, webhook_id: str) -> StoredWebhook:
    """See `WebhookStore.find_webhook`."""
    row = await sql.fetch_row("webhook", id=webhook_id)
    if row is None or row[0] != owner:
        raise invariants.not_found(Webhook, webhook_id)
    return _to_webhook(row)


async def change_webhook(
    sql: Transaction, owner: str, webhook_id: str, amend: AmendWebhook, entry: AuditEntry
) -> Webhook | None:
    """See `WebhookStore.change_webhook`."""
    stored = await _lock_webhook(sql, owner, webhook_id)
    changed = amend(stored)
    if changed == stored:
        return stored.webhook
    if changed is None:
        await sql.execute("remove_deliveries", webhook_id=webhook_id)
        await sql.execute("remove_webhook", id=webhook_id)
    else:
        await sql.execute("save_webhook", **_webhook_columns(changed))
        if changed.webhook.enabled and not stored.webhook.enabled:
            await sql.execute("hasten_deliveries", webhook_id=webhook_id, at=await sql.now())
    await append_audit_entry(sql, entry)
    return changed.webhook if changed else None


async def _lock_webhook(sql: Transaction, owner: str | None, webhook_id: str) -> StoredWebhook:
    row = await sql.fetch_row("webhook_for_update", id=webhook_id)
    if row is None or owner not in (None, row[0]):
        raise invariants.not_found(Webhook, webhook_id)
    return _to_webhook(row)


def _to_webhook(row: Any) -> StoredWebhook:
    owner, sealed, doc, *_ = row
    return StoredWebhook(owner, decoder(Webhook)(doc), bytes(sealed))


def _webhook_columns(stored: StoredWebhook) -> dict[str, Any]:
    webhook = stored.webhook
    return {
        "id": webhook.id,
        "owner": stored.owner,
        "types": f" {' '.join(webhook.events)} " if webhook.events else "*",
        "enabled": webhook.enabled,
        "failing": webhook.failing_since is not None,
        "sealed": stored.sealed,
        "doc": _encode(webhook),
    }


# Deliveries.


async def add_delivery(
    sql: Transaction, owner: str, webhook_id: str, event: WebhookEvent
) -> WebhookDelivery:
    """See `WebhookStore.add_delivery`."""
    stored = await find_webhook(sql, owner, webhook_id)
    if not stored.webhook.enabled:
        raise admin_rules.webhook_disabled_error()
    now = await sql.now()
    columns = delivery_columns(event, now)
    await sql.execute("add_delivery", webhook_id=webhook_id, owner=owner, at=now, **columns)
    return await _get_delivery(sql, webhook_id, event.id)


def delivery_columns(event: WebhookEvent, now: int) -> dict[str, Any]:
    """Return the columns of a new delivery that follow from its event."""
    return {
        "id": event.id,
        "run_id": event.run_id,
        "type": event.type,
        "body": event.body,
        "outcome": new_outcome(now),
    }


def new_outcome(now: int) -> bytes:
    """Return the stored outcome of a delivery that was never tried."""
    return _encode(DeliveryOutcome(retry_from=now))


async def list_deliveries(
    sql: Transaction,
    owner: str,
    webhook_id: str,
    limit: int,
    after: str | None = None,
    status: DeliveryStatus | None = None,
) -> RecordPage:
    """See `WebhookStore.deliveries`."""
    await find_webhook(sql, owner, webhook_id)
    place = 2**63 - 1
    if after is not None:
        row = await sql.fetch_row("delivery_place", webhook_id=webhook_id, id=after)
        if row is None:
            raise invariants.not_found(WebhookDelivery, after)
        (place,) = row
    rows = await sql.fetch(
        "deliveries", webhook_id=webhook_id, status=status, place=place, limit=limit + 1
    )
    return RecordPage([_to_delivery(row) for row in rows[:limit]], len(rows) > limit)


async def resend_delivery(
    sql: Transaction, owner: str, webhook_id: str, event_id: str
) -> WebhookDelivery:
    """See `WebhookStore.resend_delivery`."""
    stored = await _lock_webhook(sql, owner, webhook_id)
    now = await sql.now()
    delivery = await _get_delivery(sql, webhook_id, event_id)
    if not stored.webhook.enabled:
        raise admin_rules.webhook_disabled_error()
    values = {"webhook_id": webhook_id, "id": event_id, "at": now, "outcome": new_outcome(now)}
    if await sql.execute("resend_delivery", **values):
        delivery = await _get_delivery(sql, webhook_id, event_id)
    return delivery


async def _get_delivery(sql: Transaction, webhook_id: str, event_id: str) -> WebhookDelivery:
    row = await sql.fetch_row("delivery", webhook_id=webhook_id, id=event_id)
    if row is None:
        raise invariants.not_found(WebhookDelivery, event_id)
    return _to_delivery(row)


async def has_due_deliveries(sql: Transaction) -> bool:
    """See `WebhookStore.has_due_deliveries`."""
    return await sql.fetch_row("has_due_deliveries", at=await sql.now()) is not None


async def claim_deliveries(
    sql: Transaction, limit: int, failing: int, per_webhook: int, lease_ms: int
) -> Sequence[DeliveryClaim]:
    """See `WebhookStore.claim_deliveries`."""
    now = await sql.now()
    claims: list[DeliveryClaim] = []
    for row in await sql.fetch("due_webhooks", at=now, most=per_webhook, limit=limit):
        stored = _to_webhook(row)
        most = per_webhook
        if stored.webhook.failing_since is not None:
            most, failing = min(1, failing), failing - 1
        claimed = await sql.fetch(
            "claim_deliveries",
            webhook_id=stored.webhook.id,
            at=now,
            until=now + lease_ms,
            most=most,
            limit=limit - len(claims),
        )
        claims += [
            DeliveryClaim(
                delivery=_to_delivery(columns),
                outcome=decoder(DeliveryOutcome)(columns[-1]),
                body=bytes(body),
                stored=stored,
                now=now,
            )
            for body, *columns in claimed
        ]
        if len(claims) >= limit:
            break
    return claims


async def settle_delivery(
    sql: Transaction, claim: DeliveryClaim, settle: Settle, entry: AuditEntry
) -> Settlement | None:
    """See `WebhookStore.settle_delivery`."""
    names = {"webhook_id": claim.delivery.webhook_id, "id": claim.delivery.id}
    webhook_row = await sql.fetch_row("webhook_for_update", id=claim.delivery.webhook_id)
    held = await sql.fetch_row("held_delivery", attempts=claim.delivery.attempts, **names)
    if webhook_row is None or held is None:
        return None
    stored = _to_webhook(webhook_row)
    now = await sql.now()
    settled = settle(stored.webhook, claim.outcome, now)
    await sql.execute(
        "settle_delivery",
        status=settled.status,
        due_at=settled.due_at,
        outcome=_encode(settled.outcome),
        **names,
    )
    if settled.due_at is not None:  # later events of the run need not be looked at before
        await sql.execute(
            "postpone_deliveries",
            webhook_id=claim.delivery.webhook_id,
            run_id=claim.delivery.run_id,
            due_at=settled.due_at,
        )
    if settled.webhook != stored.webhook:
        changed = StoredWebhook(stored.owner, settled.webhook, stored.sealed)
        await sql.execute("save_webhook", **_webhook_columns(changed))
        if stored.webhook.enabled and not settled.webhook.enabled:
            await append_audit_entry(sql, entry)
    return settled


async def delete_deliveries(sql: Transaction, before: int, limit: int) -> int:
    """See `WebhookStore.delete_deliveries`."""
    return await sql.execute("expire_deliveries", before=before, limit=limit)


def _to_delivery(row: Any) -> WebhookDelivery:
    webhook_id, event_id, run_id, kind, status, due_at, attempts, created_at, json = row
    outcome = decoder(DeliveryOutcome)(json)
    return WebhookDelivery(
        id=event_id,
        webhook_id=webhook_id,
        type=kind,
        run_id=run_id,
        status=status,
        attempts=attempts,
        next_attempt_at=due_at,
        attempted_at=outcome.attempted_at,
        duration=outcome.duration,
        status_code=outcome.status_code,
        error=outcome.error,
        created_at=created_at,
    )


class WebhookMethods(TransactionMethods):
    """`WebhookStore`: each method is a function of this module."""

    add_webhook = writing("webhook", add_webhook)
    webhooks = reading(list_webhooks)
    find_webhook = reading(find_webhook)
    change_webhook = writing("webhook", change_webhook, slow=True)
    add_delivery = writing("delivery", add_delivery)
    deliveries = reading(list_deliveries)
    resend_delivery = writing("delivery", resend_delivery)
    has_due_deliveries = reading(has_due_deliveries)
    claim_deliveries = writing("claim_delivery", claim_deliveries)
    settle_delivery = writing("settle_delivery", settle_delivery)
    delete_deliveries = writing("forget", delete_deliveries, single=True)
