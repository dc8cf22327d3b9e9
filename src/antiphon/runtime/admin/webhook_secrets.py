"""Secrets of webhooks: stored encrypted, shown once, and two at a time while one replaces another.

A secret is `whsec_` and 32 random bytes in base64, as in Standard Webhooks.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Protocol

import msgspec

from antiphon.ports import WebhookStore
from antiphon.runtime.admin import audit
from antiphon.runtime.admin.provider_keys import Cipher
from antiphon.types.accounts import Principal
from antiphon.types.errors import BadSettings
from antiphon.types.ids import Mint
from antiphon.types.webhooks import StoredWebhook, WebhookSecrets

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - the beginning of every secret


def new_secret() -> str:
    """Return a new secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


class SecretBox(Protocol):
    """Encrypts and decrypts the secrets of webhooks."""

    def encrypt(self, owner: str, webhook_id: str, plain: WebhookSecrets) -> bytes:
        """Return the secrets encrypted, bound to their webhook. Raises `BadSettings`."""
        ...

    def decrypt(self, stored: StoredWebhook) -> WebhookSecrets:
        """Return the secrets of a webhook. Raises `BadSettings` where they cannot be decrypted."""
        ...


class WebhookSecretService:
    """Encrypts and decrypts the secrets of webhooks; `create_cipher` is called on first use."""

    def __init__(
        self, store: WebhookStore, mint: Mint, create_cipher: Callable[[], Cipher]
    ) -> None:
        self._store = store
        self._mint = mint
        self._create_cipher = create_cipher
        self._cipher: Cipher | None = None

    def encrypt(self, owner: str, webhook_id: str, plain: WebhookSecrets) -> bytes:
        """See `SecretBox.encrypt`."""
        about = (owner, "webhook", webhook_id)
        return self._get_cipher().encrypt(msgspec.json.encode(plain), about)

    def decrypt(self, stored: StoredWebhook) -> WebhookSecrets:
        """See `SecretBox.decrypt`."""
        about = (stored.owner, "webhook", stored.webhook.id)
        try:
            plain = self._get_cipher().decrypt(stored.sealed, about)
        except BadSettings as wrong:
            raise BadSettings(
                f"The secret of webhook {stored.webhook.id} cannot be opened. {wrong.message}",
                **wrong.details,
            ) from wrong
        return msgspec.json.decode(plain, type=WebhookSecrets)

    async def reencrypt(self, by: Principal) -> int:
        """Encrypt again with the current key what an older key encrypted; return how many."""
        renewed = 0
        for stored in await self._store.webhooks(None):
            if self._get_cipher().is_current(stored.sealed):
                continue
            sealed = self.encrypt(stored.owner, stored.webhook.id, self.decrypt(stored))
            entry = await audit.create_entry(
                self._store, self._mint, by, "webhook.changed", stored.webhook.id, stored.owner
            )

            def amend(
                current: StoredWebhook, before: StoredWebhook = stored, sealed: bytes = sealed
            ) -> StoredWebhook:
                # Secrets that were replaced meanwhile stay as they are.
                if current.sealed != before.sealed:
                    return current
                return StoredWebhook(current.owner, current.webhook, sealed)

            await self._store.change_webhook(stored.owner, stored.webhook.id, amend, entry)
            renewed += 1
        return renewed

    async def count_undecryptable(self) -> int:
        """Return how many webhooks' secrets cannot be decrypted."""
        lost = 0
        for stored in await self._store.webhooks(None):
            try:
                self.decrypt(stored)
            except BadSettings:
                lost += 1
        return lost

    def _get_cipher(self) -> Cipher:
        if self._cipher is None:
            self._cipher = self._create_cipher()
        return self._cipher
