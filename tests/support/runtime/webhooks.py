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
from tests.support.runtime.rig import BY, RuntimeRig, open_rig
from tests.support.tools.far_server import FarServer, ReceivedRequest, serve_far

SECONDS = 20.0


class WebhookRig:
    """A runtime, a receiver that accepts everything at `/`, and the deliverer between them."""

    def __init__(
        self, runtime: RuntimeRig, far: FarServer, resolve: Resolve, seconds: float
    ) -> None:
        self.runtime = runtime
        self.far = far
        self._resolve = resolve
        self._seconds = seconds
        self.metrics = Metrics()
        self.deliverer = self.new_deliverer()

    def new_deliverer(self) -> WebhookDeliverer:
        """Return the deliverer of another worker."""
        policy = webhook_policy(self.runtime.settings)
        return WebhookDeliverer(
            self.runtime.store,
            self.runtime.bus,
            self.runtime.secrets(),
            WebhookSender(policy, self._seconds, self._resolve),
            self.runtime.mint,
            timeout=self._seconds,
            retention=86_400,
            metrics=self.metrics,
            random=lambda: 0.5,
        )

    async def create(self, path: str = "/", **fields: Any) -> NewWebhook:
        url = fields.pop("url", None) or self.far.url(path)
        call = operations.CreateWebhook(url=url, **fields)
        webhook: NewWebhook = (await self.runtime.dispatcher.dispatch(call, BY)).value
        return webhook

    async def dispatch(self, call: operations.Operation[Any]) -> Any:
        return (await self.runtime.dispatcher.dispatch(call, BY)).value

    async def deliver(self) -> None:
        """Deliver until nothing is due, not even a retry that became due meanwhile."""
        while await self.deliverer.deliver_due():
            await self.deliverer.wait_for_attempts()

    async def deliveries(self, webhook: NewWebhook) -> Sequence[WebhookDelivery]:
        page = await self.dispatch(operations.ListWebhookDeliveries(webhook.webhook.id))
        deliveries: Sequence[WebhookDelivery] = page.data
        return deliveries

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return the decoded bodies of the requests that the receiver got."""
        return [json.loads(request.body) for request in self.far.requests]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


@asynccontextmanager
async def open_webhook_rig(
    *scripts: str,
    hosts: Sequence[str] = ("127.0.0.1",),
    resolve: Resolve = resolve_host,
    seconds: float = SECONDS,
) -> AsyncIterator[WebhookRig]:
    settings = Settings(webhook_hosts=tuple(hosts))
    cipher = AesCipher([b"k" * 32])
    async with (
        serve_far() as far,
        open_rig(*scripts, settings=settings, create_cipher=lambda: cipher) as runtime,
    ):
        far.say("/", "thanks")
        rig = WebhookRig(runtime, far, resolve, seconds)
        try:
            yield rig
        finally:
            await rig.deliverer.stop(0)


def headers_of(request: ReceivedRequest) -> dict[str, str]:
    """Return the headers by which a receiver verifies a request."""
    return {name: value for name, value in request.headers.items() if name.startswith("webhook-")}
