"""Signatures of Standard Webhooks (https://www.standardwebhooks.com), version 1."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256

from antiphon.runtime.admin.webhook_secrets import SECRET_PREFIX

_VERSION = "v1"


def make_signed_headers(
    secrets: Sequence[str], event_id: str, at: int, body: bytes
) -> Mapping[str, str]:
    """Return the headers of a request of the time `at` (seconds), with a signature per secret."""
    signatures = " ".join(_sign(secret, event_id, at, body) for secret in secrets)
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(at),
        "webhook-signature": signatures,
    }


def _sign(secret: str, event_id: str, at: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.new(key, f"{event_id}.{at}.".encode() + body, sha256).digest()
    return f"{_VERSION},{base64.b64encode(digest).decode()}"
