"""Decisions about webhooks: the events of a run, and what follows from an attempt to deliver one.

Events carry ids, types and statuses, never text of people, models or tools: a receiver reads the
rest through the API, with a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.types.events import ActionRequired, Event, PendingAction, RunStatus
from antiphon.types.ids import Mint, response_id
from antiphon.types.runs import Run, Status
from antiphon.types.webhooks import (
    Attempt,
    DeliveryOutcome,
    DeliveryStatus,
    DisabledReason,
    Webhook,
    WebhookEvent,
    WebhookEventType,
)

# The events of a run.

MAX_LISTED_ACTIONS = 100
"""Actions in one event; a receiver reads the others through the API."""

_ENDED: Mapping[Status, WebhookEventType] = {
    Status.COMPLETED: "run.completed",
    Status.INCOMPLETE: "run.incomplete",
    Status.FAILED: "run.failed",
    Status.CANCELLED: "run.cancelled",
    Status.EXPIRED: "run.expired",
}
"""Type of the event of each final status."""


_RESPONSE_ENDED: Mapping[Status, WebhookEventType] = {
    Status.ACTION_REQUIRED: "response.completed",  # its calls are the last items of a response
    Status.COMPLETED: "response.completed",
    Status.INCOMPLETE: "response.incomplete",
    Status.FAILED: "response.failed",
    Status.CANCELLED: "response.cancelled",
    Status.EXPIRED: "response.incomplete",
}
"""Type of the event of a response of OpenAI's wire, by the status of the run at its end."""


def webhook_events(
    run: Run, events: Sequence[Event], turn_began_after: int, now: int, mint: Mint
) -> tuple[WebhookEvent, ...]:
    """Return the webhook events of these new events of a run, in their order.

    `turn_began_after` is that of the lease before these events.
    """
    return tuple(
        _create_event(mint("evt"), kind, run.id, now, data)
        for event in events
        for kind, data in _describe(run, event, turn_began_after)
    )


def create_test_event(webhook: Webhook, now: int, mint: Mint) -> WebhookEvent:
    """Return an event with which an owner tests the webhook; it is of no run."""
    data = {"id": webhook.id, "object": "webhook"}
    return _create_event(mint("evt"), "webhook.test", "", now, data)


def _describe(
    run: Run, event: Event, turn_began_after: int
) -> Iterator[tuple[WebhookEventType, dict[str, Any]]]:
    """Yield type and data of the webhook events of an event of the run."""
    match event:
        case RunStatus(status=status) if status in _ENDED:
            yield _ENDED[status], _describe_run(run, status)
        case ActionRequired(actions=actions):
            status = Status.ACTION_REQUIRED
            for kind, name in _REQUIRED.items():
                if listed := [action for action in actions if action.kind == kind]:
                    yield name, _describe_run(run, status) | _list_actions(listed)
        case _:
            return
    if (place := _find_background_response(run, turn_began_after)) is not None:
        yield _RESPONSE_ENDED[status], {"id": response_id(run.id, place)}


def _find_background_response(run: Run, turn_began_after: int) -> int | None:
    """Return the place of the response in progress, if it was made in the background."""
    if not run.responses:  # unset, for a run that was not started on OpenAI's wire
        return None
    place = len(run.responses) - 1
    last = run.responses[place]
    is_current = last.after == turn_began_after and not last.deleted
    return place if is_current and last.request.get("background") else None


_REQUIRED: Mapping[str, WebhookEventType] = {
    "tool": "action.required",
    "approval": "approval.required",
}


def _describe_run(run: Run, status: Status) -> dict[str, Any]:
    return {
        "id": run.id,
        "object": "run",
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "status": status,
        "reason": run.reason,
        "error_code": run.error.code if run.error else None,
    }


def _list_actions(actions: Sequence[PendingAction]) -> dict[str, Any]:
    return {
        "actions": [
            {
                "id": action.action_id,
                "tool_call_id": action.tool_call_id,
                "expires_at": action.expires_at // 1000,
            }
            for action in actions[:MAX_LISTED_ACTIONS]
        ],
        "has_more": len(actions) > MAX_LISTED_ACTIONS,
    }


def _create_event(
    id: str, kind: WebhookEventType, run_id: str, now: int, data: dict[str, Any]
) -> WebhookEvent:
    """Return an event of the time `now` (ms).

    Its body has the fields of Standard Webhooks (`type`, `timestamp`, `data`) and those that
    OpenAI's clients read (`id`, `object`, `created_at` in seconds).
    """
    at = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")
    body = {
        "id": id,
        "object": "event",
        "type": kind,
        "created_at": now // 1000,
        "timestamp": at.replace("+00:00", "Z"),
        "data": data,
    }
    return WebhookEvent(id=id, type=kind, run_id=run_id, body=msgspec.json.encode(body))


# What follows from an attempt.

RETRY_MS = 3 * 86_400_000
"""Time for which a delivery is retried, and a webhook may fail before it is disabled."""
FIRST_PAUSE_MS = 5_000
PAUSE_FACTOR = 4
MAX_PAUSE_MS = 8 * 3_600_000
JITTER = 0.2
"""A pause is longer or shorter by up to this share, so that retries do not come together."""
_GONE = 410


class Settlement(msgspec.Struct, frozen=True):
    """A delivery and its webhook after an attempt; `due_at` is when a pending one is sent next."""

    status: DeliveryStatus
    due_at: int | None
    outcome: DeliveryOutcome
    webhook: Webhook


def settle(
    webhook: Webhook,
    before: DeliveryOutcome,
    now: int,
    *,
    attempts: int,
    attempt: Attempt,
    random: float,
) -> Settlement:
    """Decide what follows from the last of `attempts` attempts; `random` is from 0 to 1."""
    outcome = DeliveryOutcome(
        retry_from=before.retry_from,
        attempted_at=now,
        duration=attempt.duration,
        status_code=attempt.status_code,
        error=attempt.error,
    )
    if attempt.error is None:
        return Settlement("delivered", None, outcome, replace(webhook, failing_since=None))
    failing = replace(webhook, failing_since=webhook.failing_since or now)
    if attempt.status_code == _GONE:
        return Settlement("failed", None, outcome, disable(failing, "gone", now))
    ends = max(before.retry_from, webhook.enabled_at) + RETRY_MS
    if failing.failing_since is not None and now - failing.failing_since >= RETRY_MS:
        failing = disable(failing, "failing", now)
    if now >= ends:
        return Settlement("failed", None, outcome, failing)
    pause = max(retry_pause(attempts, random), (attempt.retry_after or 0) * 1000)
    due_at = min(now + min(pause, MAX_PAUSE_MS), ends)
    return Settlement("pending", due_at, outcome, failing)


def retry_pause(attempts: int, random: float) -> int:
    """Return the pause in ms after so many failed attempts: 5 s, 20 s, 80 s ... up to 8 hours."""
    exponent = min(attempts - 1, 10)  # beyond which a pause is the longest in any case
    pause = min(FIRST_PAUSE_MS * PAUSE_FACTOR**exponent, MAX_PAUSE_MS)
    return int(pause * (1 + JITTER * (2 * random - 1)))


def disable(webhook: Webhook, reason: DisabledReason, now: int) -> Webhook:
    """Return the webhook disabled, unless it already is."""
    if not webhook.enabled:
        return webhook
    return replace(webhook, enabled=False, disabled_reason=reason, updated_at=now)


def enable(webhook: Webhook, now: int) -> Webhook:
    """Return the webhook enabled, with three days for each delivery that waits."""
    if webhook.enabled:
        return webhook
    return replace(
        webhook,
        enabled=True,
        disabled_reason=None,
        failing_since=None,
        enabled_at=now,
        updated_at=now,
    )
