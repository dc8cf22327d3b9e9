"""Delivers events to webhooks: at least once, in the order of each run, by any process.

The store is the queue: notifications only make it fast. A delivery is claimed under a lease that is
longer than an attempt may take, so a process that dies delays it, and never loses it. Webhooks that
fail get one attempt at a time and half of the places, so that they hold up no other.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from antiphon.engine.webhooks import settle
from antiphon.ports import WEBHOOKS, Bus, WebhookStore
from antiphon.runtime.admin import audit
from antiphon.runtime.admin.webhook_secrets import SecretBox
from antiphon.runtime.loops import BackgroundLoops, cancel_and_wait
from antiphon.runtime.webhooks.sender import WebhookSender, make_signed_headers
from antiphon.telemetry.failpoints import hit
from antiphon.telemetry.metrics import WEBHOOKS_SENT, Metrics
from antiphon.types import errors
from antiphon.types.accounts import Principal
from antiphon.types.ids import Mint
from antiphon.types.runs import DAY
from antiphon.types.terminal_safe import one_line
from antiphon.types.webhooks import Attempt, DeliveryClaim

log = logging.getLogger(__name__)

MAX_SENDING = 96
"""Deliveries that a process sends at once; its HTTP client has 100 connections."""
MAX_FAILING = 32
"""Number of these that may be to webhooks that fail."""
PER_WEBHOOK = 8
"""Deliveries to one webhook at once, of all processes."""
LEASE_MARGIN = 15.0
"""Seconds that a lease is longer than an attempt: a busy process must still settle in time."""
PATIENCE = 2.0
"""Seconds between looks at the store without a notification."""
PAUSE = 0.05
"""Seconds after a look that found nothing: many events in a moment cause few looks."""
MIN_RETENTION = 7 * DAY
"""Seconds that deliveries are kept at least: longer than they are tried, to be looked at."""
FORGET_SECONDS = 600.0
FORGOTTEN_AT_ONCE = 500

BACKEND = Principal(owner="", actor="backend")
"""The actor of changes that no caller made: a webhook is disabled because it fails."""


class WebhookDeliverer:
    """Claims due deliveries and sends them.

    An attempt takes at most `timeout` seconds. Deliveries are kept for `retention` seconds, but for
    `MIN_RETENTION` at least.
    """

    def __init__(
        self,
        store: WebhookStore,
        bus: Bus,
        secrets: SecretBox,
        sender: WebhookSender,
        mint: Mint,
        *,
        timeout: float,
        retention: float,
        metrics: Metrics | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._bus = bus
        self._secrets = secrets
        self._sender = sender
        self._mint = mint
        self._lease_ms = int((timeout + LEASE_MARGIN) * 1000)
        self._retention_ms = int(max(retention, MIN_RETENTION) * 1000)
        self._metrics = metrics or Metrics()
        self._random = random
        self._sending: dict[asyncio.Task[None], DeliveryClaim] = {}
        self._loops = BackgroundLoops(bus)

    def start(self) -> None:
        """Start to deliver; a second call does nothing."""
        if not self._loops.started:
            self._loops.start("webhooks", self._deliver_all, topic=WEBHOOKS)
            self._loops.start("old deliveries", self._delete_old_deliveries)

    async def stop(self, grace: float) -> None:
        """Claim no more, and wait up to `grace` seconds for attempts in progress.

        What is cut off is sent again when its lease has ended.
        """
        await self._loops.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.wait_for_attempts()
        await cancel_and_wait(self._sending)
        await self._sender.close()

    async def _deliver_all(self) -> float:
        while await self.deliver_due():
            pass
        await asyncio.sleep(PAUSE)
        return PATIENCE

    async def deliver_due(self) -> int:
        """Claim due deliveries as far as there are places, start to send them; return how many."""
        places = MAX_SENDING - len(self._sending)
        if not places or not await self._store.has_due_deliveries():
            return 0
        failing = sum(
            claim.stored.webhook.failing_since is not None for claim in self._sending.values()
        )
        claims = await self._store.claim_deliveries(
            places, max(0, MAX_FAILING - failing), PER_WEBHOOK, self._lease_ms
        )
        for claim in claims:
            task = asyncio.create_task(self._deliver(claim), name=f"webhook {claim.delivery.id}")
            self._sending[task] = claim
            task.add_done_callback(self._on_done)
        return len(claims)

    async def wait_for_attempts(self) -> None:
        """Wait until no attempt is in progress."""
        while self._sending:
            await asyncio.wait(self._sending)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        # The place is free, and the next event of the run may follow.
        self._bus.notify(WEBHOOKS)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.warning("a webhook's delivery was not settled: %s", one_line(str(fault)))

    async def _deliver(self, claim: DeliveryClaim) -> None:
        try:
            attempt = await self._send(claim)
        except Exception:
            # It must be settled all the same, or it would be sent again for ever.
            log.exception("the request to webhook %s could not be made", claim.stored.webhook.id)
            attempt = Attempt(duration=0, error="The request could not be made.")
        hit("webhook.before_settle")
        webhook = claim.stored.webhook
        entry = await audit.create_entry(
            self._store,
            self._mint,
            BACKEND,
            "webhook.disabled",
            webhook.id,
            claim.stored.owner,
            reason="gone" if attempt.status_code == 410 else "failing",
        )
        decide = partial(
            settle, attempts=claim.delivery.attempts, attempt=attempt, random=self._random()
        )
        settled = await self._store.settle_delivery(claim, decide, entry)
        outcomes = {"delivered": "delivered", "pending": "retried", "failed": "given_up"}
        outcome = "lost" if settled is None else outcomes[settled.status]
        self._metrics.observe(WEBHOOKS_SENT, attempt.duration / 1000, outcome)
        log.log(
            logging.DEBUG if outcome == "delivered" else logging.INFO,
            "webhook %s at %s: %s of %s, attempt %d: %s %s",
            webhook.id,
            urlsplit(webhook.url).hostname,
            claim.delivery.id,
            claim.delivery.type,
            claim.delivery.attempts,
            outcome,
            attempt.error or "",
        )
        if settled and webhook.enabled and not settled.webhook.enabled:
            log.warning(
                "webhook %s of %s is disabled: %s",
                webhook.id,
                one_line(claim.stored.owner),
                attempt.error,
            )

    async def _send(self, claim: DeliveryClaim) -> Attempt:
        webhook = claim.stored.webhook
        try:
            known = self._secrets.decrypt(claim.stored)
        except errors.BadSettings as fault:
            log.error("%s", fault.message)  # noqa: TRY400 - what it was raised from adds nothing
            return Attempt(duration=0, error="The webhook's secret cannot be decrypted here.")
        secrets = [known.current]
        if known.old is not None and (webhook.old_secret_until or 0) > claim.now:
            secrets.append(known.old)
        headers = make_signed_headers(secrets, claim.delivery.id, claim.now // 1000, claim.body)
        return await self._sender.send(webhook.url, headers, claim.body)

    async def _delete_old_deliveries(self) -> float:
        before = await self._store.now() - self._retention_ms
        while await self._store.delete_deliveries(before, FORGOTTEN_AT_ONCE):
            pass
        return FORGET_SECONDS
