"""Webhooks of a runtime in one process, and a receiver on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from antiphon.api import operations
from antiphon.api.operations import NewWebhook
from antiphon.runtime.admin.encryption import AesCipher
from antiphon.runtime.webhooks.deliverer import WebhookDeliverer
from antiphon.runtime.webhooks.sender import WebhookSender, webhook_policy
from antiphon.settings.settings import Settings
from antiphon.telemetry.metrics import Metrics
from antiphon.tools.egress_policy import Resolve, resolve_host
from antiphon.types.webhooks import WebhookDelivery
from tests.support.runtime.rig import BY, House, house
from tests.support.tools.far_server import Asked, FarServer, far_server

SECONDS = 20.0


class Hooks:
    """A house, a receiver that accepts everything at `/`, and the deliverer between them."""

    def __init__(self, built: House, far: FarServer, resolve: Resolve, seconds: float) -> None:
        self.house = built
        self.far = far
        self._resolve = resolve
        self._seconds = seconds
        self.metrics = Metrics()
        self.deliverer = self.new_deliverer()

    def new_deliverer(self) -> WebhookDeliverer:
        """Another worker's."""
        policy = webhook_policy(self.house.settings)
        return WebhookDeliverer(
            self.house.store,
            self.house.bus,
            self.house.secrets(),
            WebhookSender(policy, self._seconds, self._resolve),
            self.house.mint,
            timeout=self._seconds,
            retention=86_400,
            metrics=self.metrics,
            random=lambda: 0.5,
        )

    async def create(self, path: str = "/", **fields: Any) -> NewWebhook:
        url = fields.pop("url", None) or self.far.url(path)
        call = operations.CreateWebhook(url=url, **fields)
        created: NewWebhook = (await self.house.dispatcher.dispatch(call, BY)).value
        return created

    async def dispatch(self, call: operations.Operation[Any]) -> Any:
        return (await self.house.dispatcher.dispatch(call, BY)).value

    async def deliver(self) -> None:
        """Deliver what is due, and what follows from it, until nothing is."""
        while await self.deliverer.deliver_due():
            await self.deliverer.wait_for_attempts()

    async def deliveries(self, webhook: NewWebhook) -> Sequence[WebhookDelivery]:
        listed = await self.dispatch(operations.ListWebhookDeliveries(webhook.webhook.id))
        found: Sequence[WebhookDelivery] = listed.data
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the receiver was sent, decoded."""
        return [json.loads(asked.body) for asked in self.far.asked]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


@asynccontextmanager
async def hooks(
    *scripts: str,
    hosts: Sequence[str] = ("127.0.0.1",),
    resolve: Resolve = resolve_host,
    seconds: float = SECONDS,
) -> AsyncIterator[Hooks]:
    settings = Settings(webhook_hosts=tuple(hosts))
    cipher = AesCipher([b"k" * 32])
    async with (
        far_server() as far,
        house(*scripts, settings=settings, create_cipher=lambda: cipher) as built,
    ):
        far.say("/", "thanks")
        rig = Hooks(built, far, resolve, seconds)
        try:
            yield rig
        finally:
            await rig.deliverer.stop(0)


def headers_of(asked: Asked) -> dict[str, str]:
    """The headers by which a receiver verifies a request."""
    return {name: value for name, value in asked.headers.items() if name.startswith("webhook-")}
