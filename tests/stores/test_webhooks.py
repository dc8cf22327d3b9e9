"""Promises of every store about webhooks; see `WebhookStore` in `ports`."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, ReadSet, Snapshot
from antiphon.engine.webhooks import RETRY_MS, disable, enable
from antiphon.ports import Store
from antiphon.types import errors
from antiphon.types.runs import Status
from antiphon.types.webhooks import Attempt, StoredWebhook
from tests.support.stores.openers import Clock
from tests.support.stores.steps import add_claimed, move_run
from tests.support.stores.webhooks import (
    LEASE_MS,
    REFUSED,
    a_webhook,
    add_webhook,
    an_entry,
    an_event,
    announce,
    claim,
    claim_ids,
    settle_claim,
)


async def test_webhooks_are_listed_oldest_first_and_by_owner(store: Store) -> None:
    first = await add_webhook(store, 1)
    other = await add_webhook(store, 2, owner="bob")
    last = await add_webhook(store, 3)

    assert [each.webhook for each in await store.webhooks("ann")] == [first, last]
    assert [each.webhook for each in await store.webhooks(None)] == [first, other, last]
    assert await store.find_webhook("ann", first.id) == StoredWebhook("ann", first, b"sealed 1")


async def test_a_webhook_of_another_owner_is_not_found(store: Store) -> None:
    await add_webhook(store)
    await add_claimed(store)
    await announce(store, an_event())

    with pytest.raises(errors.NotFound):
        await store.find_webhook("bob", "hook_1")
    with pytest.raises(errors.NotFound):
        await store.change_webhook("bob", "hook_1", lambda _: None, an_entry())
    with pytest.raises(errors.NotFound):
        await store.deliveries("bob", "hook_1", 10)
    with pytest.raises(errors.NotFound):
        await store.resend_delivery("bob", "hook_1", "evt_1")
    with pytest.raises(errors.NotFound):
        await store.add_delivery("bob", "hook_1", an_event(2))


async def test_an_owner_has_a_limited_number_of_webhooks_however_many_are_added_at_once(
    store: Store,
) -> None:
    outcomes = await asyncio.gather(
        *(
            store.add_webhook("ann", a_webhook(number), b"", 2, an_entry(number))
            for number in range(5)
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(each, errors.Conflict) for each in outcomes) == 3
    assert len(await store.webhooks("ann")) == 2
    assert len((await store.audit_entries(10)).data) == 2


async def test_a_change_is_stored_with_its_audit_entry_or_not_at_all(store: Store) -> None:
    webhook = await add_webhook(store)

    def refuse(_: StoredWebhook) -> StoredWebhook:
        raise errors.Conflict("Not now.")

    def rename(stored: StoredWebhook) -> StoredWebhook:
        return StoredWebhook(stored.owner, replace(webhook, description="new"), b"other")

    with pytest.raises(errors.Conflict):
        await store.change_webhook("ann", webhook.id, refuse, an_entry(1))
    await store.change_webhook("ann", webhook.id, lambda stored: stored, an_entry(2))
    changed_webhook = await store.change_webhook("ann", webhook.id, rename, an_entry(3))

    assert changed_webhook == replace(webhook, description="new")
    assert (await store.find_webhook("ann", webhook.id)).sealed == b"other"
    ids = [entry.id for entry in (await store.audit_entries(10)).data]
    assert ids == ["audit_hook_3", "audit_added_1"]


async def test_an_event_is_written_with_the_change_for_each_webhook_that_wants_it(
    store: Store,
) -> None:
    await add_webhook(store, 1)
    await add_webhook(store, 2, events=("run.failed", "run.expired"))
    await add_webhook(store, 3, events=("run.failed", "run.completed"))
    await add_webhook(store, 4, enabled=False)
    await add_webhook(store, 5, owner="bob")
    await add_claimed(store)

    await announce(store, an_event())

    assert await claim_ids(store) == ["hook_1 evt_1", "hook_3 evt_1"]


async def test_a_change_that_is_refused_leaves_no_delivery(store: Store) -> None:
    await add_webhook(store)
    await add_claimed(store)

    def decide(records: Snapshot) -> ChangeSet:
        update = move_run(records, Status.COMPLETED, epoch=0)
        return ChangeSet(run_updates=(replace(update, webhook_events=(an_event(),)),))

    with pytest.raises(errors.Fenced):
        await store.change(ReadSet(owner=None, run_id="run_1"), decide)

    assert not await store.has_due_deliveries()
    assert (await store.deliveries("ann", "hook_1", 10)).data == []


async def test_a_claim_has_the_body_and_counts_the_attempt(store: Store, clock: Clock) -> None:
    webhook = await add_webhook(store)
    await add_claimed(store)
    await announce(store, an_event(), an_event(2, "action.required"))

    (claimed,) = await claim(store)

    assert claimed.body == an_event().body
    assert claimed.stored == StoredWebhook("ann", webhook, b"sealed 1")
    assert claimed.now == clock.now
    assert claimed.delivery.attempts == 1
    assert claimed.delivery.created_at == clock.now
    newest, oldest = (await store.deliveries("ann", webhook.id, 10)).data
    assert oldest == claimed.delivery
    assert (newest.id, newest.type, newest.attempts) == ("evt_2", "action.required", 0)


async def test_events_of_a_run_are_claimed_in_order_and_those_of_others_beside_it(
    store: Store, clock: Clock
) -> None:
    await add_webhook(store)
    await add_claimed(store, 1)
    await add_claimed(store, 2)
    await announce(store, an_event(1), an_event(2))
    await announce(store, an_event(3, run="run_2"), run="run_2")
    await announce(store, an_event(4))

    first, other = sorted(await claim(store), key=lambda each: each.delivery.id)
    assert (first.delivery.id, other.delivery.id) == ("evt_1", "evt_3")
    assert not await store.has_due_deliveries()
    assert await claim(store) == []

    await settle_claim(store, other)
    await settle_claim(store, first, REFUSED)
    clock.now += 4_000
    assert not await store.has_due_deliveries()
    clock.now += 2_000
    (retried,) = await claim(store)
    assert (retried.delivery.id, retried.delivery.attempts) == ("evt_1", 2)

    await settle_claim(store, retried)
    (second,) = await claim(store)
    await settle_claim(store, second)
    (last,) = await claim(store)
    assert (second.delivery.id, last.delivery.id) == ("evt_2", "evt_4")


async def test_an_event_that_comes_while_an_earlier_one_is_sent_follows_it_at_once(
    store: Store,
) -> None:
    await add_webhook(store)
    await add_claimed(store)
    await announce(store, an_event(1))
    (first,) = await claim(store)

    await announce(store, an_event(2))
    await settle_claim(store, first)

    assert await claim_ids(store) == ["hook_1 evt_2"]


async def test_workers_claim_a_delivery_once_at_a_time(store: Store) -> None:
    await add_webhook(store)
    for number in range(1, 6):
        await add_claimed(store, number)
        await announce(store, an_event(number, run=f"run_{number}"), run=f"run_{number}")

    delivery_ids = [
        each.delivery.id
        for claims in await asyncio.gather(*(claim(store, 2) for _ in range(6)))
        for each in claims
    ]
    while more := await claim(store, 2):
        delivery_ids += [each.delivery.id for each in more]

    assert sorted(delivery_ids) == [f"evt_{number}" for number in range(1, 6)]


async def test_a_webhook_has_a_limited_number_of_claims_and_one_that_fails_has_one(
    store: Store, clock: Clock
) -> None:
    await add_webhook(store, 1)
    await add_webhook(store, 2, failing_since=1)
    for number in range(1, 5):
        await add_claimed(store, number)
        await announce(store, an_event(number, run=f"run_{number}"), run=f"run_{number}")

    claim_names = await claim_ids(store, per_webhook=3)

    assert [each[:6] for each in claim_names] == ["hook_1"] * 3 + ["hook_2"]
    assert await claim_ids(store, per_webhook=3) == []
    clock.now += LEASE_MS
    assert len(await claim_ids(store, per_webhook=3)) == 4


async def test_a_webhook_that_fails_comes_after_those_that_do_not(store: Store) -> None:
    await add_webhook(store, 1, failing_since=1)
    await add_webhook(store, 2)
    await add_claimed(store)
    await announce(store, an_event())

    assert await claim_ids(store, limit=1) == ["hook_2 evt_1"]
    assert await claim_ids(store, failing=0) == []
    assert await claim_ids(store, failing=1) == ["hook_1 evt_1"]


async def test_a_claim_that_is_never_settled_is_due_again_and_its_worker_is_refused(
    store: Store, clock: Clock
) -> None:
    await add_webhook(store)
    await add_claimed(store)
    await announce(store, an_event())
    (lost_claim,) = await claim(store)

    clock.now += LEASE_MS
    assert await store.has_due_deliveries()
    (new_claim,) = await claim(store)

    assert new_claim.delivery.attempts == 2
    assert await settle_claim(store, lost_claim) is None
    outcome = await settle_claim(store, new_claim)
    assert outcome is not None
    (delivery,) = (await store.deliveries("ann", "hook_1", 10)).data
    assert (delivery.status, delivery.attempts, delivery.next_attempt_at) == ("delivered", 2, None)
    assert await settle_claim(store, new_claim) is None


async def test_a_failure_says_what_came_and_when_it_is_tried_again(
    store: Store, clock: Clock
) -> None:
    await add_webhook(store)
    await add_claimed(store)
    await announce(store, an_event())
    (claimed,) = await claim(store)

    await settle_claim(store, claimed, REFUSED)

    (delivery,) = (await store.deliveries("ann", "hook_1", 10)).data
    assert (delivery.status, delivery.status_code) == ("pending", 500)
    assert delivery.error == "the receiver answered 500"
    assert (delivery.attempted_at, delivery.next_attempt_at) == (clock.now, clock.now + 5_000)
    webhook = (await store.find_webhook("ann", "hook_1")).webhook
    assert (webhook.enabled, webhook.failing_since) == (True, clock.now)


async def test_a_success_ends_the_failures_of_a_webhook(store: Store, clock: Clock) -> None:
    await add_webhook(store, failing_since=5)
    await add_claimed(store)
    await announce(store, an_event())
    (claimed,) = await claim(store)

    await settle_claim(store, claimed)

    assert (await store.find_webhook("ann", "hook_1")).webhook.failing_since is None


async def test_a_webhook_that_is_gone_is_disabled_with_an_audit_entry_and_keeps_what_waits(
    store: Store, clock: Clock
) -> None:
    await add_webhook(store)
    await add_claimed(store)
    await announce(store, an_event(1), an_event(2))
    (claimed,) = await claim(store)

    gone = Attempt(duration=1, status_code=410, error="gone")
    await settle_claim(store, claimed, gone, entry=7)
    await announce(store, an_event(3))

    webhook = (await store.find_webhook("ann", "hook_1")).webhook
    assert (webhook.enabled, webhook.disabled_reason) == (False, "gone")
    assert (await store.audit_entries(1)).data[0].id == "audit_hook_7"
    assert not await store.has_due_deliveries()
    deliveries = (await store.deliveries("ann", "hook_1", 10)).data
    assert [(each.id, each.status) for each in deliveries] == [
        ("evt_2", "pending"),
        ("evt_1", "failed"),
    ]

    clock.now += RETRY_MS
    await store.change_webhook(
        "ann",
        "hook_1",
        lambda stored: replace(stored, webhook=enable(stored.webhook, clock.now)),
        an_entry(8),
    )
    (waiting,) = await claim(store)
    assert waiting.delivery.id == "evt_2"
    await settle_claim(store, waiting, REFUSED)
    (newest, _) = (await store.deliveries("ann", "hook_1", 10)).data
    assert newest.status == "pending"


async def test_what_waits_for_a_retry_is_due_at_once_when_its_webhook_is_enabled(
    store: Store, clock: Clock
) -> None:
    await add_webhook(store)
    await add_claimed(store)
    await announce(store, an_event())
    (claimed,) = await claim(store)
    await settle_claim(store, claimed, REFUSED)
    for change in (
        lambda stored: replace(stored, webhook=disable(stored.webhook, "owner", clock.now)),
        lambda stored: replace(stored, webhook=enable(stored.webhook, clock.now)),
    ):
        assert await claim(store) == []
        await store.change_webhook("ann", "hook_1", change, an_entry(clock.now))
        clock.now += 1

    assert await claim_ids(store) == ["hook_1 evt_1"]


async def test_deliveries_are_listed_newest_first_in_pages_and_by_status(store: Store) -> None:
    await add_webhook(store)
    await add_claimed(store)
    await announce(store, *(an_event(number) for number in range(1, 6)))
    (claimed,) = await claim(store)
    await settle_claim(store, claimed)

    page = await store.deliveries("ann", "hook_1", 2)
    rest = await store.deliveries("ann", "hook_1", 5, page.data[-1].id)
    done = await store.deliveries("ann", "hook_1", 5, status="delivered")

    assert ([each.id for each in page.data], page.has_more) == (["evt_5", "evt_4"], True)
    assert ([each.id for each in rest.data], rest.has_more) == (["evt_3", "evt_2", "evt_1"], False)
    assert [each.id for each in done.data] == ["evt_1"]
    with pytest.raises(errors.NotFound):
        await store.deliveries("ann", "hook_1", 5, "evt_none")


async def test_a_delivery_is_sent_again_by_hand_whatever_became_of_it(
    store: Store, clock: Clock
) -> None:
    await add_webhook(store)
    await add_claimed(store)
    await announce(store, an_event())
    (claimed,) = await claim(store)

    busy = await store.resend_delivery("ann", "hook_1", "evt_1")
    assert busy == claimed.delivery
    await settle_claim(store, claimed)
    resent = await store.resend_delivery("ann", "hook_1", "evt_1")

    assert (resent.status, resent.next_attempt_at) == ("pending", clock.now)
    (claimed,) = await claim(store)
    assert (claimed.delivery.attempts, claimed.outcome.retry_from) == (2, clock.now)
    with pytest.raises(errors.NotFound):
        await store.resend_delivery("ann", "hook_1", "evt_none")
    await store.change_webhook(
        "ann",
        "hook_1",
        lambda stored: replace(stored, webhook=disable(stored.webhook, "owner", 1)),
        an_entry(),
    )
    with pytest.raises(errors.Conflict):
        await store.resend_delivery("ann", "hook_1", "evt_1")
    with pytest.raises(errors.Conflict):
        await store.add_delivery("ann", "hook_1", an_event(2))


async def test_test_events_wait_for_no_other_event(store: Store) -> None:
    await add_webhook(store, events=("run.failed",))

    for number in (1, 2):
        await store.add_delivery("ann", "hook_1", an_event(number, "webhook.test", run=""))

    assert await claim_ids(store) == ["hook_1 evt_1", "hook_1 evt_2"]


async def test_a_removed_webhook_takes_its_deliveries_with_it(store: Store) -> None:
    await add_webhook(store, 1)
    await add_webhook(store, 2)
    await add_claimed(store)
    await announce(store, an_event())
    claims = await claim(store)

    assert await store.change_webhook("ann", "hook_1", lambda _: None, an_entry()) is None

    outcomes = [await settle_claim(store, each) for each in claims]
    assert [each is None for each in outcomes] == [
        each.delivery.webhook_id == "hook_1" for each in claims
    ]
    assert [each.webhook.id for each in await store.webhooks("ann")] == ["hook_2"]
    assert await store.delete_deliveries(2**60, 10) == 1


async def test_deliveries_of_old_events_are_deleted(store: Store, clock: Clock) -> None:
    await add_webhook(store)
    await add_claimed(store)
    await announce(store, an_event(1), an_event(2))
    clock.now += 1_000
    await announce(store, an_event(3))

    deleted = [await store.delete_deliveries(clock.now, 1) for _ in range(3)]

    assert deleted == [1, 1, 0]
    assert [each.id for each in (await store.deliveries("ann", "hook_1", 5)).data] == ["evt_3"]


async def test_an_owner_of_webhooks_alone_is_an_owner_and_can_be_erased(store: Store) -> None:
    await add_webhook(store, 1)
    await add_webhook(store, 2, owner="bob")
    await store.add_delivery("ann", "hook_1", an_event(1, "webhook.test", run=""))
    assert [each.owner for each in (await store.owners(10)).data] == ["ann", "bob"]

    while await store.delete_owned("ann", 10):
        pass

    assert [each.owner for each in (await store.owners(10)).data] == ["bob"]
    assert [each.owner for each in await store.webhooks(None)] == ["bob"]
    assert await store.delete_deliveries(2**60, 10) == 0
