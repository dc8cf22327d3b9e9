"""Webhooks of a store, their events, and steps of tests that deliver the events."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, ReadSet, Snapshot
from antiphon.engine.webhooks import Settlement, settle
from antiphon.ports import Store
from antiphon.types.accounts import AuditEntry
from antiphon.types.runs import Status
from antiphon.types.webhooks import Attempt, DeliveryClaim, Webhook, WebhookEvent, WebhookEventType
from tests.support.stores.steps import move_run

LEASE_MS = 20_000
DELIVERED = Attempt(duration=5, status_code=204)
REFUSED = Attempt(duration=5, status_code=500, error="the receiver answered 500")


def a_webhook(number: int = 1, **fields: Any) -> Webhook:
    return Webhook(
        **{
            "id": f"hook_{number}",
            "url": f"https://hooks.example/{number}",
            "enabled_at": 1,
            "created_at": 1,
            "updated_at": 1,
            **fields,
        }
    )


def an_event(
    number: int = 1, kind: WebhookEventType = "run.completed", run: str = "run_1"
) -> WebhookEvent:
    return WebhookEvent(id=f"evt_{number}", type=kind, run_id=run, body=b'{"number":%d}' % number)


def an_entry(number: int = 1) -> AuditEntry:
    return AuditEntry(
        id=f"audit_hook_{number}", at=1, actor="backend", what="webhook.disabled", target="hook"
    )


async def add_webhook(store: Store, number: int = 1, owner: str = "ann", **fields: Any) -> Webhook:
    webhook = a_webhook(number, **fields)
    entry = replace(an_entry(number), id=f"audit_added_{number}", what="webhook.created")
    await store.add_webhook(owner, webhook, b"sealed %d" % number, 10, entry)
    return webhook


async def announce(store: Store, *events: WebhookEvent, run: str = "run_1") -> None:
    """Write the events with a change of a run that is in progress; its status stays."""

    def decide(records: Snapshot) -> ChangeSet:
        update = move_run(records, Status.IN_PROGRESS)
        return ChangeSet(run_updates=(replace(update, webhook_events=events),))

    await store.change(ReadSet(owner=None, run_id=run), decide)


async def claim(
    store: Store, limit: int = 10, failing: int = 10, per_webhook: int = 10
) -> Sequence[DeliveryClaim]:
    return await store.claim_deliveries(limit, failing, per_webhook, LEASE_MS)


async def claim_ids(store: Store, limit: int = 10, **limits: int) -> list[str]:
    claims = await claim(store, limit, **limits)
    return sorted(f"{each.delivery.webhook_id} {each.delivery.id}" for each in claims)


async def settle_claim(
    store: Store, claimed: DeliveryClaim, attempt: Attempt = DELIVERED, entry: int = 1
) -> Settlement | None:
    return await store.settle_delivery(
        claimed,
        partial(settle, attempts=claimed.delivery.attempts, attempt=attempt, random=0.5),
        an_entry(entry),
    )
