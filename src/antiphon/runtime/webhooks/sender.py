"""Signs events, and sends them to addresses that owners chose: to the internet, never for long.

Signatures are those of Standard Webhooks (https://www.standardwebhooks.com), version 1.

A redirect is a failure: a receiver at a public address cannot lead the request elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any

from antiphon.runtime.admin.webhook_secrets import SECRET_PREFIX
from antiphon.settings.settings import Settings
from antiphon.tools.egress_policy import (
    BlockedAddress,
    EgressPolicy,
    Resolve,
    parse_exemptions,
    resolve_host,
)
from antiphon.types.errors import Unavailable
from antiphon.types.terminal_safe import one_line
from antiphon.types.webhooks import Attempt

if TYPE_CHECKING:
    from antiphon.tools.guarded_http import GuardedClient, PostAnswer

MAX_ANSWER_BYTES = 4_096
"""Bytes of a response that are read, so that its connection can be used again; no more are."""
MAX_ERROR_LENGTH = 300
_USER_AGENT = "antiphon-webhooks"
_SIGNATURE_VERSION = "v1"


def webhook_policy(settings: Settings) -> EgressPolicy:
    """Return the policy for webhooks. Raises `BadSettings`."""
    exemptions = parse_exemptions(settings.webhook_hosts, "webhook_hosts")
    return EgressPolicy(exemptions, setting="webhook_hosts")


class WebhookSender:
    """Sends requests, each of which ends after `seconds` in any case."""

    def __init__(
        self,
        policy: EgressPolicy,
        seconds: float,
        resolve: Resolve = resolve_host,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._seconds = seconds
        self._resolve = resolve
        self._clock = clock
        self._http: Any = None  # the module, which most processes never need
        self._client: GuardedClient | None = None

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """POST the body; return what became of it."""
        client = await self._open_client()
        began = self._clock()
        status: int | None = None
        retry_after: int | None = None
        try:
            answer: PostAnswer = await self._http.post(
                client, url, headers, body, max_bytes=MAX_ANSWER_BYTES, seconds=self._seconds
            )
        except (BlockedAddress, Unavailable) as failure:
            error: str | None = one_line(failure.message)[:MAX_ERROR_LENGTH]
        else:
            status, retry_after = answer.status, answer.retry_after
            error = _describe_refusal(answer.status)
        return Attempt(
            duration=int((self._clock() - began) * 1000),
            status_code=status,
            error=error,
            retry_after=retry_after,
        )

    async def _open_client(self) -> GuardedClient:
        """Return the client; the first time, its library is imported beside the loop."""
        if self._http is None:
            self._http = await asyncio.to_thread(import_module, "antiphon.tools.guarded_http")
        client = self._client
        if client is None:
            client = self._client = self._http.GuardedClient(
                self._policy,
                resolve=self._resolve,
                headers={"user-agent": _USER_AGENT},
                any_encoding=True,
            )
        return client

    async def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.aclose()


def _describe_refusal(status: int) -> str | None:
    """Return why a response with this status is a failure; None for success."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"The receiver answered {status}: redirects are not followed."
    return f"The receiver answered {status}."


def make_signed_headers(
    secrets: Sequence[str], event_id: str, at: int, body: bytes
) -> Mapping[str, str]:
    """Return the headers of a request of the time `at` (seconds), with a signature per secret."""
    signed = f"{event_id}.{at}.".encode() + body
    keys = [base64.b64decode(secret.removeprefix(SECRET_PREFIX)) for secret in secrets]
    digests = [base64.b64encode(hmac.new(key, signed, sha256).digest()).decode() for key in keys]
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"{_SIGNATURE_VERSION},{each}" for each in digests),
    }
