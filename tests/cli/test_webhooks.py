"""`antiphon webhooks`, as a shell sees it."""

from __future__ import annotations

import json
from typing import Any

from tests.support.cli.place import Place

URL = "https://hooks.invalid/antiphon"


def add(place: Place, *more: str) -> dict[str, Any]:
    result = place.run("webhooks", "add", URL, "--json", *more)
    assert result.returncode == 0, result.stderr
    creation: dict[str, Any] = json.loads(result.stdout)
    return creation


def test_a_webhook_is_added_listed_changed_and_removed(place: Place) -> None:
    empty_listing = place.run("webhooks", "list")
    creation = add(place, "--event", "run.failed", "--description", "Jobs")
    hook = creation["webhook"]["id"]
    listing = place.run("webhooks", "list")
    place.run("webhooks", "disable", hook)
    place.run("webhooks", "change", hook, "--event", "run.completed", "--url", f"{URL}/new")
    [webhook] = json.loads(place.run("webhooks", "list", "--json").stdout)
    removal = place.run("webhooks", "remove", hook)
    second_removal = place.run("webhooks", "remove", hook)

    assert "antiphon webhooks add" in empty_listing.stderr
    assert creation["secret"].startswith("whsec_")
    assert URL in listing.stdout
    assert "run.failed" in listing.stdout
    assert creation["secret"] not in listing.stdout
    assert (webhook["url"], webhook["events"]) == (f"{URL}/new", ["run.completed"])
    assert (webhook["enabled"], webhook["disabled_reason"]) == (False, "owner")
    assert (removal.returncode, second_removal.returncode) == (0, 1)


def test_a_secret_is_printed_alone_for_scripts_and_replaced(place: Place) -> None:
    addition = place.run("webhooks", "add", URL)
    [webhook] = json.loads(place.run("webhooks", "list", "--json").stdout)
    rotation = place.run("webhooks", "rotate", webhook["id"], "--keep-old", "0")

    assert addition.stdout.startswith("whsec_")
    assert len(addition.stdout.splitlines()) == 1
    assert rotation.stdout.startswith("whsec_")
    assert rotation.stdout != addition.stdout


def test_deliveries_are_listed_and_sent_again(place: Place) -> None:
    hook = add(place)["webhook"]["id"]
    test_result = place.run("webhooks", "test", hook)
    [delivery] = json.loads(place.run("webhooks", "deliveries", hook, "--json").stdout)
    table = place.run("webhooks", "deliveries", hook, "--status", "pending")
    resend_result = place.run("webhooks", "resend", hook, delivery["id"])

    assert delivery["id"] in test_result.stderr
    assert (delivery["type"], delivery["status"]) == ("webhook.test", "pending")
    assert "webhook.test" in table.stdout
    assert resend_result.returncode == 0, resend_result.stderr


def test_another_owner_has_webhooks_of_their_own(place: Place) -> None:
    hook = add(place, "--owner", "ann")["webhook"]["id"]

    own_listing = place.run("webhooks", "list", "--json")
    listing_of_ann = place.run("webhooks", "list", "--owner", "ann", "--json")
    refusal = place.run("webhooks", "disable", hook)

    assert json.loads(own_listing.stdout) == []
    assert [each["id"] for each in json.loads(listing_of_ann.stdout)] == [hook]
    assert refusal.returncode == 1


def test_an_address_inside_is_refused_with_the_setting_that_allows_it(place: Place) -> None:
    refusal = place.run("webhooks", "add", "http://127.0.0.1:9/")
    addition = place.run("webhooks", "add", "http://127.0.0.1:9/", "--webhook-hosts", "127.0.0.1")

    assert "webhook_hosts" in refusal.stderr
    assert addition.returncode == 0, addition.stderr


def test_secrets_are_encrypted_again_with_a_new_key(place: Place) -> None:
    old, new = (place.run("provider-keys", "secret").stdout.strip() for _ in range(2))
    addition = place.run("webhooks", "add", URL, environ={"ANTIPHON_SECRET_KEY": old})
    both_environ = {"ANTIPHON_SECRET_KEY": new, "ANTIPHON_OLD_SECRET_KEYS": old}

    first = place.run("provider-keys", "reencrypt", environ=both_environ)
    second = place.run("provider-keys", "reencrypt", environ={"ANTIPHON_SECRET_KEY": new})

    assert addition.returncode == 0, addition.stderr
    assert first.stderr.startswith("Encrypted again: 1 key.")
    assert "Encrypted again: 0 keys." in second.stderr
