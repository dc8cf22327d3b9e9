"""Decisions about webhooks: which events there are, and what follows from an attempt."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from antiphon.engine.webhooks import (
    MAX_LISTED_ACTIONS,
    MAX_PAUSE_MS,
    RETRY_MS,
    Settlement,
    disable,
    enable,
    retry_pause,
    settle,
    webhook_events,
)
from antiphon.types.events import ActionRequired, PendingAction, RunStatus, TextDelta
from antiphon.types.runs import TRANSITIONS, Fault, ResponseRecord, Run, Status
from antiphon.types.webhooks import Attempt, DeliveryOutcome, Webhook

HOUR_MS = 3_600_000
OUTCOME = DeliveryOutcome(retry_from=1_000)
OK = Attempt(duration=3, status_code=200)
FAILED = Attempt(duration=3, status_code=500, error="The receiver answered 500.")


def mint() -> Callable[[str], str]:
    numbers = itertools.count(1)
    return lambda prefix: f"{prefix}_{next(numbers)}"


def a_run(status: Status = Status.COMPLETED) -> Run:
    fault = Fault("provider_error", "The words of a provider.") if status is Status.FAILED else None
    return Run(
        id="run_1", thread_id="thread_1", model="demo", status=status, error=fault, created_at=1
    )


def a_status(status: Status) -> RunStatus:
    return RunStatus(run_id="run_1", thread_id="thread_1", status=status)


def a_call(number: int, kind: str = "tool") -> PendingAction:
    return PendingAction(
        action_id=f"act_{number}",
        tool_call_id=f"call_{number}",
        name="delete_everything",
        arguments={"path": "/private"},
        expires_at=9_000,
        kind=kind,  # type: ignore[arg-type]
    )


def a_webhook(**fields: object) -> Webhook:
    plain = Webhook(
        id="hook_1", url="https://hooks.example/", enabled_at=1, created_at=1, updated_at=1
    )
    return replace(plain, **fields)


def settle_at(now: int, webhook: Webhook, attempt: Attempt = FAILED, number: int = 1) -> Settlement:
    return settle(webhook, OUTCOME, now, attempts=number, attempt=attempt, random=0.5)


@pytest.mark.parametrize("status", Status)
def test_each_final_status_has_an_event_and_no_other_status_has(status: Status) -> None:
    found_events = webhook_events(a_run(status), [a_status(status)], 0, 5_000, mint())

    assert [each.type for each in found_events] == (
        [] if TRANSITIONS[status] else [f"run.{status}"]
    )


def test_calls_for_a_client_and_calls_for_a_person_are_different_events() -> None:
    required = ActionRequired(run_id="run_1", actions=(a_call(1), a_call(2, "approval"), a_call(3)))
    run_events = [TextDelta(text="Hm."), required, a_status(Status.ACTION_REQUIRED)]

    tools, approvals = webhook_events(a_run(Status.ACTION_REQUIRED), run_events, 0, 5_000, mint())

    assert (tools.id, tools.type, tools.run_id) == ("evt_1", "action.required", "run_1")
    assert (approvals.id, approvals.type) == ("evt_2", "approval.required")
    data = json.loads(tools.body)["data"]
    assert data["status"] == "action_required"
    assert data["has_more"] is False
    assert data["actions"] == [
        {"id": "act_1", "tool_call_id": "call_1", "expires_at": 9},
        {"id": "act_3", "tool_call_id": "call_3", "expires_at": 9},
    ]


def test_no_event_holds_text_of_a_tool_or_a_provider() -> None:
    required = ActionRequired(run_id="run_1", actions=(a_call(1),))
    run_events = [required, a_status(Status.FAILED)]

    for event in webhook_events(a_run(Status.FAILED), run_events, 0, 5_000, mint()):
        assert b"private" not in event.body
        assert b"delete_everything" not in event.body
        assert b"words" not in event.body


def test_an_event_lists_a_limited_number_of_actions() -> None:
    calls = tuple(a_call(number) for number in range(MAX_LISTED_ACTIONS + 1))

    (event,) = webhook_events(
        a_run(Status.ACTION_REQUIRED), [ActionRequired(run_id="run_1", actions=calls)], 0, 1, mint()
    )

    data = json.loads(event.body)["data"]
    assert (len(data["actions"]), data["has_more"]) == (MAX_LISTED_ACTIONS, True)


def of_response(status: Status, *records: ResponseRecord, began: int = 0) -> list[tuple[str, str]]:
    run = replace(a_run(status), id="run_0123", responses=records)
    event = (
        ActionRequired(run_id="run_0123", actions=(a_call(1),))
        if status is Status.ACTION_REQUIRED
        else a_status(status)
    )
    response_events = webhook_events(run, [event], began, 5_000, mint())
    return [
        (each.type, json.loads(each.body)["data"]["id"])
        for each in response_events
        if each.type.startswith("response.")
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.COMPLETED, "response.completed"),
        (Status.ACTION_REQUIRED, "response.completed"),
        (Status.INCOMPLETE, "response.incomplete"),
        (Status.EXPIRED, "response.incomplete"),
        (Status.FAILED, "response.failed"),
        (Status.CANCELLED, "response.cancelled"),
    ],
)
def test_a_background_response_ends_with_its_run_or_at_a_hand_off(
    status: Status, kind: str
) -> None:
    record = ResponseRecord(request={"background": True})

    assert of_response(status, record) == [(kind, "resp_01230")]


def test_only_a_background_response_in_progress_has_an_event() -> None:
    first_record = ResponseRecord(request={"background": True})
    second_record = ResponseRecord(request={"background": True}, after=7)

    assert of_response(Status.COMPLETED, first_record, second_record, began=7) == [
        ("response.completed", "resp_01231")
    ]
    assert of_response(Status.CANCELLED, first_record, began=7) == []
    assert of_response(Status.COMPLETED, replace(first_record, deleted=True)) == []
    assert of_response(Status.COMPLETED, ResponseRecord(request={})) == []
    assert of_response(Status.COMPLETED) == []


def test_pauses_grow_to_eight_hours_and_vary_by_a_fifth() -> None:
    pauses = [retry_pause(number, 0.5) for number in range(1, 60)]

    assert pauses[:4] == [5_000, 20_000, 80_000, 320_000]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_PAUSE_MS == 8 * HOUR_MS
    assert (retry_pause(1, 0.0), retry_pause(1, 1.0)) == (4_000, 6_000)


def test_a_success_is_delivered_and_ends_the_failures() -> None:
    settlement = settle_at(2_000, a_webhook(failing_since=500), OK)

    assert (settlement.status, settlement.due_at) == ("delivered", None)
    assert settlement.webhook.failing_since is None
    assert (settlement.outcome.status_code, settlement.outcome.error) == (200, None)


def test_a_failure_is_tried_again_for_three_days_and_once_at_their_end() -> None:
    end = OUTCOME.retry_from + RETRY_MS

    first_settlement = settle_at(2_000, a_webhook())
    late_settlement = settle_at(end - HOUR_MS, a_webhook(), number=20)
    last_settlement = settle_at(end, a_webhook(failing_since=end - HOUR_MS), number=21)

    assert (first_settlement.status, first_settlement.due_at) == ("pending", 7_000)
    assert first_settlement.webhook.failing_since == 2_000
    assert (late_settlement.status, late_settlement.due_at) == ("pending", end)
    assert (last_settlement.status, last_settlement.due_at, last_settlement.webhook.enabled) == (
        "failed",
        None,
        True,
    )


def test_a_webhook_is_disabled_after_three_days_without_a_success() -> None:
    settlement = settle_at(2_000 + RETRY_MS, a_webhook(failing_since=2_000))

    assert (settlement.webhook.enabled, settlement.webhook.disabled_reason) == (False, "failing")


def test_a_webhook_that_was_disabled_meanwhile_keeps_its_reason() -> None:
    disabled_webhook = disable(a_webhook(failing_since=1), "owner", 5)

    settlement = settle_at(5 + RETRY_MS, disabled_webhook)

    assert settlement.webhook.disabled_reason == "owner"


def test_what_waits_for_a_webhook_has_three_days_from_when_it_is_enabled() -> None:
    now = OUTCOME.retry_from + 2 * RETRY_MS
    enabled_webhook = enable(disable(a_webhook(failing_since=1), "failing", 5), now)

    settlement = settle_at(now + HOUR_MS, enabled_webhook)

    assert settlement.status == "pending"
    assert settlement.webhook.failing_since == now + HOUR_MS
    assert enable(enabled_webhook, now + 1) == enabled_webhook


def test_a_receiver_cannot_ask_for_more_than_eight_hours_or_for_less_than_the_pause() -> None:
    long_pause = replace(FAILED, retry_after=999_999_999)
    no_pause = replace(FAILED, retry_after=0)

    assert settle_at(2_000, a_webhook(), long_pause).due_at == 2_000 + MAX_PAUSE_MS
    assert settle_at(2_000, a_webhook(), no_pause).due_at == 7_000
