"""`antiphon webhooks`, as a shell sees it."""

from __future__ import annotations

import json
from typing import Any

from tests.support.cli.place import Place

URL = "https://hooks.invalid/antiphon"


def add(place: Place, *more: str) -> dict[str, Any]:
    made = place.run("webhooks", "add", URL, "--json", *more)
    assert made.returncode == 0, made.stderr
    created: dict[str, Any] = json.loads(made.stdout)
    return created


def test_a_webhook_is_added_listed_changed_and_removed(place: Place) -> None:
    none = place.run("webhooks", "list")
    created = add(place, "--event", "run.failed", "--description", "Jobs")
    hook = created["webhook"]["id"]
    listed = place.run("webhooks", "list")
    place.run("webhooks", "disable", hook)
    place.run("webhooks", "change", hook, "--event", "run.completed", "--url", f"{URL}/new")
    [changed] = json.loads(place.run("webhooks", "list", "--json").stdout)
    removed = place.run("webhooks", "remove", hook)
    again = place.run("webhooks", "remove", hook)

    assert "antiphon webhooks add" in none.stderr
    assert created["secret"].startswith("whsec_")
    assert URL in listed.stdout
    assert "run.failed" in listed.stdout
    assert created["secret"] not in listed.stdout
    assert (changed["url"], changed["events"]) == (f"{URL}/new", ["run.completed"])
    assert (changed["enabled"], changed["disabled_reason"]) == (False, "owner")
    assert (removed.returncode, again.returncode) == (0, 1)


def test_a_secret_is_printed_alone_for_scripts_and_replaced(place: Place) -> None:
    made = place.run("webhooks", "add", URL)
    [webhook] = json.loads(place.run("webhooks", "list", "--json").stdout)
    rotated = place.run("webhooks", "rotate", webhook["id"], "--keep-old", "0")

    assert made.stdout.startswith("whsec_")
    assert len(made.stdout.splitlines()) == 1
    assert rotated.stdout.startswith("whsec_")
    assert rotated.stdout != made.stdout


def test_deliveries_are_listed_and_sent_again(place: Place) -> None:
    hook = add(place)["webhook"]["id"]
    sent = place.run("webhooks", "test", hook)
    [delivery] = json.loads(place.run("webhooks", "deliveries", hook, "--json").stdout)
    table = place.run("webhooks", "deliveries", hook, "--status", "pending")
    again = place.run("webhooks", "resend", hook, delivery["id"])

    assert delivery["id"] in sent.stderr
    assert (delivery["type"], delivery["status"]) == ("webhook.test", "pending")
    assert "webhook.test" in table.stdout
    assert again.returncode == 0, again.stderr


def test_another_owner_has_webhooks_of_their_own(place: Place) -> None:
    hook = add(place, "--owner", "ann")["webhook"]["id"]

    mine = place.run("webhooks", "list", "--json")
    theirs = place.run("webhooks", "list", "--owner", "ann", "--json")
    refused = place.run("webhooks", "disable", hook)

    assert json.loads(mine.stdout) == []
    assert [each["id"] for each in json.loads(theirs.stdout)] == [hook]
    assert refused.returncode == 1


def test_an_address_inside_is_refused_with_the_setting_that_allows_it(place: Place) -> None:
    refused = place.run("webhooks", "add", "http://127.0.0.1:9/")
    allowed = place.run("webhooks", "add", "http://127.0.0.1:9/", "--webhook-hosts", "127.0.0.1")

    assert "webhook_hosts" in refused.stderr
    assert allowed.returncode == 0, allowed.stderr


def test_secrets_are_encrypted_again_with_a_new_key(place: Place) -> None:
    old, new = (place.run("provider-keys", "secret").stdout.strip() for _ in range(2))
    made = place.run("webhooks", "add", URL, environ={"ANTIPHON_SECRET_KEY": old})
    between = {"ANTIPHON_SECRET_KEY": new, "ANTIPHON_OLD_SECRET_KEYS": old}

    renewed = place.run("provider-keys", "reencrypt", environ=between)
    again = place.run("provider-keys", "reencrypt", environ={"ANTIPHON_SECRET_KEY": new})

    assert made.returncode == 0, made.stderr
    assert renewed.stderr.startswith("Encrypted again: 1 key.")
    assert "Encrypted again: 0 keys." in again.stderr
