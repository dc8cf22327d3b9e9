"""Operations on webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import (
    Deleted,
    Listed,
    NewWebhook,
    Operation,
    OwnedWebhook,
    select_given_fields,
)
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.engine.webhooks import create_test_event, disable, enable
from antiphon.ports import WEBHOOKS, Bus, WebhookStore
from antiphon.runtime.admin import audit
from antiphon.runtime.admin.webhook_secrets import SecretBox, new_secret
from antiphon.runtime.responses import OperationHandler, to_listed
from antiphon.tools.egress_policy import EgressPolicy, Resolve, resolve_host
from antiphon.types.accounts import AuditAction, AuditEntry, Principal
from antiphon.types.errors import Forbidden, Internal, InvalidRequest
from antiphon.types.ids import Mint
from antiphon.types.webhooks import StoredWebhook, Webhook, WebhookDelivery, WebhookSecrets

LOOKUP_SECONDS = 3.0
_PORTS = {"https": 443, "http": 80}


class WebhookService:
    """Creates, reads, changes and deletes webhooks, and lists their deliveries.

    With `limit` of None no webhook can be created or changed here.
    """

    def __init__(
        self,
        store: WebhookStore,
        bus: Bus,
        mint: Mint,
        secrets: SecretBox,
        policy: EgressPolicy,
        limit: int | None,
        resolve: Resolve = resolve_host,
    ) -> None:
        self._store = store
        self._bus = bus
        self._mint = mint
        self._secrets = secrets
        self._policy = policy
        self._limit = limit
        self._resolve = resolve
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.CreateWebhook: self._create,
            operations.ListWebhooks: self._list,
            operations.GetWebhook: self._get,
            operations.UpdateWebhook: self._update,
            operations.DeleteWebhook: self._delete,
            operations.RotateWebhookSecret: self._rotate_secret,
            operations.SendTestEvent: self._send_test_event,
            operations.ListWebhookDeliveries: self._list_deliveries,
            operations.ResendWebhookDelivery: self._resend,
            operations.ListAllWebhooks: self._list_all,
        }

    async def _create(
        self, operation: operations.CreateWebhook, by: Principal, _: IdempotencyKey | None
    ) -> NewWebhook:
        limit = self._require_enabled()
        await self._check_url(operation.url)
        now = await self._store.now()
        webhook = Webhook(
            id=self._mint("hook"),
            url=operation.url,
            events=_unique(operation.events),
            description=operation.description,
            enabled_at=now,
            created_at=now,
            updated_at=now,
        )
        secret = new_secret()
        sealed = self._secrets.encrypt(by.owner, webhook.id, WebhookSecrets(secret))
        entry = await self._entry("webhook.created", webhook.id, by)
        await self._store.add_webhook(by.owner, webhook, sealed, limit, entry)
        return NewWebhook(webhook, secret)

    async def _list(
        self, _operation: operations.ListWebhooks, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Webhook]:
        stored = await self._store.webhooks(by.owner)
        return Listed([each.webhook for each in stored], has_more=False)

    async def _list_all(
        self, _operation: operations.ListAllWebhooks, _by: Principal, _: IdempotencyKey | None
    ) -> Listed[OwnedWebhook]:
        stored = await self._store.webhooks(None)
        return Listed([OwnedWebhook(each.owner, each.webhook) for each in stored], has_more=False)

    async def _get(
        self, operation: operations.GetWebhook, by: Principal, _: IdempotencyKey | None
    ) -> Webhook:
        return (await self._store.find_webhook(by.owner, operation.webhook_id)).webhook

    async def _update(
        self, operation: operations.UpdateWebhook, by: Principal, _: IdempotencyKey | None
    ) -> Webhook | None:
        self._require_enabled()
        changes = select_given_fields(operation, but="webhook_id")
        names = " ".join(sorted(changes))
        if isinstance(operation.url, str):
            await self._check_url(operation.url)
        if "events" in changes:
            changes["events"] = _unique(changes["events"])
        switch = changes.pop("enabled", None)
        now = await self._store.now()

        def amend(stored: StoredWebhook) -> StoredWebhook:
            webhook = replace(stored.webhook, **changes)
            if switch is not None:
                webhook = enable(webhook, now) if switch else disable(webhook, "owner", now)
            if webhook != stored.webhook:
                webhook = replace(webhook, updated_at=now)
            return replace(stored, webhook=webhook)

        entry = await self._entry("webhook.changed", operation.webhook_id, by, changed=names)
        changed = await self._store.change_webhook(by.owner, operation.webhook_id, amend, entry)
        self._bus.notify(WEBHOOKS)
        return changed

    async def _delete(
        self, operation: operations.DeleteWebhook, by: Principal, _: IdempotencyKey | None
    ) -> Deleted:
        entry = await self._entry("webhook.removed", operation.webhook_id, by)
        await self._store.change_webhook(by.owner, operation.webhook_id, lambda _: None, entry)
        return Deleted(operation.webhook_id)

    async def _rotate_secret(
        self, operation: operations.RotateWebhookSecret, by: Principal, _: IdempotencyKey | None
    ) -> NewWebhook:
        self._require_enabled()
        now = await self._store.now()
        secret = new_secret()

        def amend(stored: StoredWebhook) -> StoredWebhook:
            until = now + operation.keep_old_for * 1000 if operation.keep_old_for else None
            old = self._secrets.decrypt(stored).current if until else None
            sealed = self._secrets.encrypt(
                by.owner, operation.webhook_id, WebhookSecrets(secret, old)
            )
            webhook = replace(stored.webhook, old_secret_until=until, updated_at=now)
            return StoredWebhook(stored.owner, webhook, sealed)

        entry = await self._entry("webhook.rotated", operation.webhook_id, by)
        webhook = await self._store.change_webhook(by.owner, operation.webhook_id, amend, entry)
        if webhook is None:
            raise Internal("A webhook was removed by the change of its secret.")
        return NewWebhook(webhook, secret)

    async def _send_test_event(
        self, operation: operations.SendTestEvent, by: Principal, _: IdempotencyKey | None
    ) -> WebhookDelivery:
        webhook = (await self._store.find_webhook(by.owner, operation.webhook_id)).webhook
        event = create_test_event(webhook, await self._store.now(), self._mint)
        delivery = await self._store.add_delivery(by.owner, webhook.id, event)
        self._bus.notify(WEBHOOKS)
        return delivery

    async def _list_deliveries(
        self, operation: operations.ListWebhookDeliveries, by: Principal, _: IdempotencyKey | None
    ) -> Listed[WebhookDelivery]:
        return to_listed(
            await self._store.deliveries(
                by.owner, operation.webhook_id, operation.limit, operation.after, operation.status
            )
        )

    async def _resend(
        self, operation: operations.ResendWebhookDelivery, by: Principal, _: IdempotencyKey | None
    ) -> WebhookDelivery:
        delivery = await self._store.resend_delivery(
            by.owner, operation.webhook_id, operation.event_id
        )
        self._bus.notify(WEBHOOKS)
        return delivery

    async def _entry(
        self, what: AuditAction, webhook_id: str, by: Principal, **details: str
    ) -> AuditEntry:
        return await audit.create_entry(
            self._store, self._mint, by, what, webhook_id, by.owner, **details
        )

    def _require_enabled(self) -> int:
        """Return how many webhooks an owner may have. Raises `Forbidden` where they are off."""
        if self._limit is None:
            raise Forbidden(
                "Webhooks are off here.",
                hint="An operator can allow them by the setting webhooks.",
            )
        return self._limit

    async def _check_url(self, url: str) -> None:
        """Raise `InvalidRequest` unless events may be sent there, as far as that is known now."""
        parts = _split(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                addresses = await self._policy.resolve_allowed(host, port, self._resolve)
        except (OSError, UnicodeError, TimeoutError):
            addresses = []  # a name may come later; every request is checked again
        is_exempt = bool(addresses) and all(
            self._policy.exempts(host, address, port) for address in addresses
        )
        if parts.scheme == "http" and not is_exempt:
            raise InvalidRequest(
                "A webhook's URL is https.",
                expected="https://host/...",
                received="http",
                hint="An operator can allow http to a host by the setting webhook_hosts.",
            )


def _split(url: str) -> SplitResult:
    """Return the parts of a URL. Raises `InvalidRequest` for one that is not of a webhook."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole, parts = False, urlsplit("")
    if not is_whole or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidRequest(
            "A webhook's URL cannot be used.",
            expected="https://host/path, in ASCII characters",
            received=repr(url[:200]),
        )
    if "@" in parts.netloc:
        raise InvalidRequest(
            "A webhook's URL may not hold a user or a password.",
            hint="The signature shows that a request is genuine.",
        )
    return parts


def _unique(events: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(events))
