"""Sends events to addresses that owners chose: to the internet only, and never for long.

A redirect is a failure: a receiver at a public address cannot lead the request elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from antiphon.settings.settings import Settings
from antiphon.tools.egress_policy import (
    BlockedAddress,
    EgressPolicy,
    Resolve,
    parse_exemptions,
    resolve_host,
)
from antiphon.tools.guarded_http import GuardedClient, post
from antiphon.types.errors import Unavailable
from antiphon.types.terminal_safe import one_line
from antiphon.types.webhooks import Attempt

MAX_ANSWER_BYTES = 4_096
"""Bytes of a response that are read, so that its connection can be used again; no more are."""
MAX_ERROR_LENGTH = 300
_USER_AGENT = "antiphon-webhooks"


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
        self._seconds = seconds
        self._clock = clock
        self._client = GuardedClient(
            policy, resolve=resolve, headers={"user-agent": _USER_AGENT}, any_encoding=True
        )

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """POST the body; return what became of it."""
        began = self._clock()
        status: int | None = None
        retry_after: int | None = None
        try:
            answer = await post(
                *(self._client, url, headers, body),
                max_bytes=MAX_ANSWER_BYTES,
                seconds=self._seconds,
            )
        except (BlockedAddress, Unavailable) as failure:
            error: str | None = one_line(failure.message)[:MAX_ERROR_LENGTH]
        else:
            status, retry_after = answer.status, answer.retry_after
            error = _describe_refusal(status)
        return Attempt(
            duration=int((self._clock() - began) * 1000),
            status_code=status,
            error=error,
            retry_after=retry_after,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def _describe_refusal(status: int) -> str | None:
    """Return why a response with this status is a failure; None for success."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"The receiver answered {status}: redirects are not followed."
    return f"The receiver answered {status}."
