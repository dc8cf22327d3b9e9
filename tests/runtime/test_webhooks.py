"""Events of runs reach the receivers that their owners chose, and nothing else does."""

from __future__ import annotations

import asyncio
import logging
import time

import openai
import pytest
from msgspec.structs import replace
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from antiphon.api import operations
from antiphon.engine.webhooks import RETRY_MS
from antiphon.types import errors
from antiphon.types.accounts import AuditEntry, Principal
from tests.support.runtime.rig import BY, TOOLS, find_started
from tests.support.runtime.webhooks import WebhookRig, headers_of, open_webhook_rig

DAY_MS = 86_400_000


async def audit_of(rig: WebhookRig) -> list[tuple[str, str]]:
    page = await rig.runtime.store.audit_entries(100)
    entries: list[AuditEntry] = [*page.data]
    return [(entry.what, entry.actor) for entry in reversed(entries)]


# Events.


async def test_an_event_has_the_ids_of_a_run_that_ended_and_none_of_its_text() -> None:
    async with open_webhook_rig("say The secret is 42.") as rig:
        await rig.create()
        events = await rig.runtime.ask("Tell me a secret.")
        start_event = find_started(events)

        await rig.deliver()

        (event,) = rig.events
        (request,) = rig.far.requests
        assert event == {
            "id": request.headers["webhook-id"],
            "object": "event",
            "type": "run.completed",
            "created_at": 1_000,
            "timestamp": "1970-01-01T00:16:40.000Z",
            "data": {
                "id": start_event.run_id,
                "object": "run",
                "thread_id": start_event.thread_id,
                "assistant_id": None,
                "status": "completed",
                "reason": None,
                "error_code": None,
            },
        }
        assert request.method == "POST"
        assert request.headers["content-type"] == "application/json"


async def test_tool_calls_that_wait_are_told_of_by_their_ids_before_the_end_of_the_run() -> None:
    async with open_webhook_rig('call look {"q":"private"}', "say Done.") as rig:
        created = await rig.create()
        events = await rig.runtime.ask(tools=TOOLS)
        (action,) = await rig.runtime.submit(events)
        await rig.runtime.read(operations.Process(run_id=find_started(events).run_id))

        await rig.deliver()

        assert rig.types == ["action.required", "run.completed"]
        data = rig.events[0]["data"]
        assert [each["id"] for each in data["actions"]] == [action.id]
        assert data["status"] == "action_required"
        assert b"private" not in rig.far.requests[0].body
        assert b"look" not in rig.far.requests[0].body
        deliveries = await rig.deliveries(created)
        assert [(each.type, each.status) for each in deliveries] == [
            ("run.completed", "delivered"),
            ("action.required", "delivered"),
        ]


async def test_a_run_that_fails_or_is_cancelled_says_so_to_webhooks_that_want_to_know() -> None:
    async with open_webhook_rig(
        'call look {"q":"x"}', "fail provider_auth The words of a provider."
    ) as rig:
        await rig.create(events=("run.failed", "run.cancelled"))
        events = await rig.runtime.ask(tools=TOOLS)
        await rig.dispatch(operations.CancelRun(find_started(events).run_id))
        await rig.runtime.ask("Once more.")

        await rig.deliver()

        assert rig.types == ["run.cancelled", "run.failed"]
        assert rig.events[1]["data"]["error_code"] == "provider_auth"
        assert b"words" not in rig.far.requests[1].body


async def test_a_run_in_a_temporary_thread_is_told_to_nobody() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create()

        await rig.runtime.ask(temporary=True)

        assert await rig.deliveries(created) == ()


# Signatures.


def verify(rig: WebhookRig, place: int, secret: str) -> None:
    """Verify a request as its receiver does, at the time at which it was signed."""
    request = rig.far.requests[place]
    Verifier(secret).verify(request.body, headers_of(request))


async def test_openai_and_the_library_of_the_standard_verify_what_is_sent() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        rig.runtime.now = int(time.time() * 1000)
        created = await rig.create()
        await rig.runtime.ask()
        await rig.deliver()
        (request,) = rig.far.requests
        client = openai.OpenAI(api_key="unused", webhook_secret=created.secret)

        event = client.webhooks.unwrap(request.body, headers_of(request))
        Verifier(created.secret).verify(request.body, headers_of(request))

        assert event.type == "run.completed"  # type: ignore[comparison-overlap]
        assert event.data.id.startswith("run_")  # type: ignore[union-attr]
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(request.body + b" ", headers_of(request))
        with pytest.raises(WebhookVerificationError):
            Verifier(created.secret).verify(
                request.body, {**headers_of(request), "webhook-id": "evt"}
            )


async def test_both_secrets_are_valid_while_one_replaces_the_other() -> None:
    async with open_webhook_rig("say One.", "say Two.", "say Three.") as rig:
        rig.runtime.now = int(time.time() * 1000)
        created = await rig.create()
        rotated = await rig.dispatch(
            operations.RotateWebhookSecret(created.webhook.id, keep_old_for=60)
        )
        await rig.runtime.ask()
        await rig.deliver()
        rig.runtime.now += 60_000
        await rig.runtime.ask()
        await rig.deliver()

        verify(rig, 0, created.secret)
        verify(rig, 0, rotated.secret)
        verify(rig, 1, rotated.secret)
        with pytest.raises(WebhookVerificationError):
            verify(rig, 1, created.secret)

        last = await rig.dispatch(
            operations.RotateWebhookSecret(created.webhook.id, keep_old_for=0)
        )
        await rig.runtime.ask()
        await rig.deliver()
        verify(rig, 2, last.secret)
        with pytest.raises(WebhookVerificationError):
            verify(rig, 2, rotated.secret)


async def test_a_secret_is_shown_once_and_stored_encrypted() -> None:
    async with open_webhook_rig() as rig:
        created = await rig.create()
        (stored,) = await rig.runtime.store.webhooks(None)

        assert created.secret.startswith("whsec_")
        assert created.secret not in repr(created)
        assert created.secret.encode() not in stored.sealed
        assert rig.runtime.secrets().decrypt(stored).current == created.secret


# Times.


async def test_a_failure_is_tried_again_with_the_same_id_after_growing_pauses() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create()
        await rig.runtime.ask()
        rig.far.answers["/"] = "503 Service Unavailable", {}, b""

        pauses: list[int] = []
        for _ in range(4):
            await rig.deliver()
            (delivery,) = await rig.deliveries(created)
            assert delivery.next_attempt_at is not None
            pauses.append(delivery.next_attempt_at - rig.runtime.now)
            rig.runtime.now = delivery.next_attempt_at
        rig.far.say("/", "thanks")
        await rig.deliver()

        assert pauses == [5_000, 20_000, 80_000, 320_000]
        (delivery,) = await rig.deliveries(created)
        assert (delivery.status, delivery.attempts) == ("delivered", 5)
        assert {request.headers["webhook-id"] for request in rig.far.requests} == {delivery.id}
        assert len({request.body for request in rig.far.requests}) == 1
        assert len({request.headers["webhook-timestamp"] for request in rig.far.requests}) == 5
        metrics_text = rig.metrics.snapshot().to_prometheus()
        assert 'antiphon_webhook_seconds_count{outcome="retried"} 4' in metrics_text
        assert 'antiphon_webhook_seconds_count{outcome="delivered"} 1' in metrics_text


async def test_a_receiver_that_asks_for_time_gets_it() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create()
        await rig.runtime.ask()
        rig.far.answers["/"] = "429 Too Many Requests", {"retry-after": "120"}, b""

        await rig.deliver()

        (delivery,) = await rig.deliveries(created)
        assert delivery.next_attempt_at == rig.runtime.now + 120_000
        assert (delivery.status_code, delivery.error) == (429, "The receiver answered 429.")


async def test_three_days_of_failures_disable_a_webhook_and_it_works_when_it_is_enabled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_webhook_rig("say One.", "say Two.", "say Three.") as rig:
        created = await rig.create()
        rig.far.answers["/"] = "500 Internal Server Error", {}, b""
        await rig.runtime.ask()
        start = rig.runtime.now
        with caplog.at_level(logging.DEBUG, "antiphon"):
            while (delivery := (await rig.deliveries(created))[0]).next_attempt_at is not None:
                rig.runtime.now = max(rig.runtime.now, delivery.next_attempt_at)
                await rig.deliver()

        webhook = await rig.dispatch(operations.GetWebhook(created.webhook.id))
        assert (webhook.enabled, webhook.disabled_reason) == (False, "failing")
        assert (delivery.status, rig.runtime.now - start) == ("failed", RETRY_MS)
        assert 12 < delivery.attempts < 30
        assert (await audit_of(rig))[-1] == ("webhook.disabled", "backend")
        assert f"webhook {created.webhook.id} of local is disabled" in caplog.text
        assert created.secret not in caplog.text

        await rig.runtime.ask()
        assert len(await rig.deliveries(created)) == 1
        with pytest.raises(errors.Conflict):
            await rig.dispatch(operations.ResendWebhookDelivery(webhook.id, delivery.id))

        rig.far.say("/", "thanks")
        enabled_webhook = await rig.dispatch(operations.UpdateWebhook(webhook.id, enabled=True))
        await rig.dispatch(operations.ResendWebhookDelivery(webhook.id, delivery.id))
        await rig.runtime.ask()
        await rig.deliver()

        assert (enabled_webhook.enabled, enabled_webhook.failing_since) == (True, None)
        assert [each.status for each in await rig.deliveries(created)] == ["delivered"] * 2


async def test_a_receiver_that_is_gone_disables_its_webhook_at_once() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create()
        rig.far.answers["/"] = "410 Gone", {}, b""
        await rig.runtime.ask()

        await rig.deliver()

        webhook = await rig.dispatch(operations.GetWebhook(created.webhook.id))
        assert (webhook.enabled, webhook.disabled_reason) == (False, "gone")
        assert [each.status for each in await rig.deliveries(created)] == ["failed"]


async def test_what_a_dead_worker_was_sending_is_sent_by_another() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create()
        await rig.runtime.ask()
        rig.far.answers.pop("/")  # the request is held open
        await rig.deliverer.deliver_due()
        while not rig.far.requests:
            await asyncio.sleep(0)
        await rig.deliverer.stop(0)

        rig.far.say("/", "thanks")
        rig.deliverer = rig.new_deliverer()
        await rig.deliver()
        assert len(rig.far.requests) == 1
        rig.runtime.now += 120_000  # longer than the lease
        await rig.deliver()

        (delivery,) = await rig.deliveries(created)
        assert (delivery.status, delivery.attempts) == ("delivered", 2)
        assert len({request.headers["webhook-id"] for request in rig.far.requests}) == 1


async def test_a_receiver_that_hangs_holds_up_nobody_else() -> None:
    async with open_webhook_rig(*("say Hello." for _ in range(12)), seconds=60) as rig:
        hanging_webhook = await rig.create("/hang")
        working_webhook = await rig.create("/")
        for _ in range(12):
            await rig.runtime.ask()

        while await rig.deliverer.deliver_due():
            pass
        while len([path for path in rig.far.paths if path == "/"]) < 12:
            await rig.deliverer.deliver_due()
            await asyncio.sleep(0)
        while {each.status for each in await rig.deliveries(working_webhook)} != {"delivered"}:
            await asyncio.sleep(0)

        assert {each.status for each in await rig.deliveries(hanging_webhook)} == {"pending"}
        assert rig.far.paths.count("/hang") <= 8


async def test_the_loops_deliver_what_happens_without_being_asked() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create()
        rig.deliverer.start()
        rig.deliverer.start()

        await rig.runtime.ask()
        while not [each for each in await rig.deliveries(created) if each.status == "delivered"]:
            await asyncio.sleep(0)

        assert rig.types == ["run.completed"]


async def test_old_deliveries_are_deleted_by_the_loops() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create()
        await rig.runtime.ask()
        await rig.deliver()
        rig.runtime.now += 8 * DAY_MS

        rig.deliverer.start()
        while await rig.deliveries(created):
            await asyncio.sleep(0)


# Addresses.


async def test_a_redirect_is_not_followed() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create("/moved")
        rig.far.redirect("/moved", rig.far.url("/inside"), "307 Temporary Redirect")
        await rig.runtime.ask()

        await rig.deliver()

        assert rig.far.paths == ["/moved"]
        (delivery,) = await rig.deliveries(created)
        assert delivery.error == "The receiver answered 307: redirects are not followed."


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "https://0x7f.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/",
        "http://10.0.0.1/",
    ],
)
async def test_a_private_address_is_refused_when_the_webhook_is_created(url: str) -> None:
    async with open_webhook_rig(hosts=()) as rig:
        with pytest.raises(errors.InvalidRequest) as excinfo:
            await rig.create(url=url)

        assert "webhook_hosts" in excinfo.value.details["hint"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "https://",
        "https://ann:word@hooks.example/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nx: y",
        "https://hooks.example:99999/",
        "https://häken.example/",
        "http://hooks.example/",
        "nonsense",
    ],
)
async def test_an_address_that_is_none_of_a_receiver_is_refused(url: str) -> None:
    async def resolve_nothing(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    async with open_webhook_rig(resolve=resolve_nothing) as rig:
        with pytest.raises(errors.InvalidRequest):
            await rig.create(url=url)


async def test_a_name_that_turns_private_later_is_not_reached() -> None:
    async def resolve_rebound(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with open_webhook_rig("say Hello.", hosts=(), resolve=resolve_rebound) as rig:
        created = await rig.create(url=f"https://hooks.example:{rig.far.port}/")
        await rig.runtime.ask()

        await rig.deliver()

        (delivery,) = await rig.deliveries(created)
        assert delivery.status_code is None
        assert "not a public address" in (delivery.error or "")
        assert rig.far.requests == []


async def test_a_receiver_that_never_ends_its_answer_is_left() -> None:
    async with open_webhook_rig("say Hello.", seconds=0.3) as rig:
        endless = {"content-length": "10000000000"}
        rig.far.answers["/"] = "200 OK", endless, b"x" * 1_000_000
        rig.far.answers["/drip"] = "200 OK", endless, b"x"
        big_webhook, drip_webhook = await rig.create("/"), await rig.create("/drip")
        await rig.runtime.ask()

        await rig.deliver()

        assert [each.status for each in await rig.deliveries(big_webhook)] == ["delivered"]
        (waiting_delivery,) = await rig.deliveries(drip_webhook)
        assert waiting_delivery.error == "There was no whole answer within 0.3 s."


async def test_a_receiver_that_is_not_there_is_named_without_its_path() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create("/token-in-a-path")
        rig.far.stop()
        await rig.runtime.ask()

        await rig.deliver()

        (delivery,) = await rig.deliveries(created)
        assert (delivery.status, delivery.status_code) == ("pending", None)
        assert "There was no answer" in (delivery.error or "")
        assert "token-in-a-path" not in (delivery.error or "")


async def test_a_secret_that_cannot_be_decrypted_is_an_error_of_the_delivery() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create()
        (stored,) = await rig.runtime.store.webhooks(None)
        await rig.runtime.store.change_webhook(
            BY.owner,
            stored.webhook.id,
            lambda it: type(it)(it.owner, it.webhook, b"\x01" + bytes(40)),
            AuditEntry(id="audit_x", at=1, actor="x", what="webhook.changed", target="x"),
        )
        await rig.runtime.ask()

        await rig.deliver()

        (delivery,) = await rig.deliveries(created)
        assert delivery.error == "The webhook's secret cannot be decrypted here."
        assert rig.far.requests == []


async def test_a_request_that_cannot_be_made_for_a_fault_of_ours_is_tried_again_later() -> None:
    async def fail_to_resolve(host: str, port: int) -> list[str]:
        raise RuntimeError("a resolver with a bug")

    async with open_webhook_rig("say Hello.", resolve=fail_to_resolve) as rig:
        created = await rig.create()
        await rig.runtime.store.change_webhook(
            BY.owner,
            created.webhook.id,
            lambda it: replace(it, webhook=replace(it.webhook, url="https://hooks.example/")),
            AuditEntry(id="audit_x", at=1, actor="x", what="webhook.changed", target="x"),
        )
        await rig.runtime.ask()

        await rig.deliver()

        (delivery,) = await rig.deliveries(created)
        assert (delivery.status, delivery.attempts) == ("pending", 1)
        assert delivery.error == "The request could not be made."


# Operations.


async def test_a_test_event_is_sent_whatever_the_webhook_wants() -> None:
    async with open_webhook_rig() as rig:
        created = await rig.create(events=("run.failed",))

        delivery = await rig.dispatch(operations.SendTestEvent(created.webhook.id))
        await rig.deliver()

        assert rig.types == ["webhook.test"]
        assert rig.events[0]["id"] == delivery.id


async def test_a_delivery_is_sent_again_by_hand_with_its_id() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create()
        await rig.runtime.ask()
        await rig.deliver()
        (delivery,) = await rig.deliveries(created)

        await rig.dispatch(operations.ResendWebhookDelivery(created.webhook.id, delivery.id))
        await rig.deliver()

        ids = [request.headers["webhook-id"] for request in rig.far.requests]
        assert ids == [delivery.id, delivery.id]


async def test_every_change_is_in_the_audit_log() -> None:
    async with open_webhook_rig() as rig:
        created = await rig.create()
        await rig.dispatch(operations.UpdateWebhook(created.webhook.id, description="Jobs"))
        await rig.dispatch(operations.UpdateWebhook(created.webhook.id, description="Jobs"))
        await rig.dispatch(operations.RotateWebhookSecret(created.webhook.id))
        await rig.dispatch(operations.DeleteWebhook(created.webhook.id))

        assert [what for what, _ in await audit_of(rig)] == [
            "webhook.created",
            "webhook.changed",
            "webhook.rotated",
            "webhook.removed",
        ]


async def test_another_owners_webhook_is_not_found() -> None:
    async with open_webhook_rig("say Hello.") as rig:
        created = await rig.create()
        await rig.runtime.ask()
        (delivery,) = await rig.deliveries(created)
        hook, other = created.webhook.id, Principal(owner="bob")

        for call in (
            operations.GetWebhook(hook),
            operations.UpdateWebhook(hook, enabled=False),
            operations.DeleteWebhook(hook),
            operations.RotateWebhookSecret(hook),
            operations.SendTestEvent(hook),
            operations.ListWebhookDeliveries(hook),
            operations.ResendWebhookDelivery(hook, delivery.id),
        ):
            with pytest.raises(errors.NotFound):
                await rig.runtime.dispatcher.dispatch(call, other)
        answer = await rig.runtime.dispatcher.dispatch(operations.ListWebhooks(), other)
        assert answer.value.data == []
