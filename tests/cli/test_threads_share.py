"""`antiphon threads share`, `shares` and `unshare`."""

from __future__ import annotations

import json

from tests.support.cli.place import Place


def test_a_conversation_is_shared_listed_and_no_longer_shared(place: Place) -> None:
    place.run("ask", "Hello")
    thread_id = place.threads()[0]["thread"]["id"]

    made = place.run("threads", "share", thread_id, "--days", "7")
    listed = json.loads(place.run("threads", "shares", "--json").stdout)
    gone = place.run("threads", "unshare", listed[0]["id"])

    assert made.stdout.startswith("/shared/")
    assert f"{listed[0]['id']} shows 2 messages until" in made.stderr
    assert listed[0]["expires_at"] - listed[0]["created_at"] == 7 * 86_400_000
    assert "token" not in listed[0]
    assert gone.stderr == f"{listed[0]['id']} is revoked.\n"
    assert place.run("threads", "shares").stderr == "You share nothing.\n"
    again = place.run("threads", "unshare", listed[0]["id"])
    assert again.returncode == 1


def test_a_link_lasts_for_the_servers_limit_where_30_days_are_too_many(place: Place) -> None:
    place.run("ask", "Hello")
    thread_id = place.threads()[0]["thread"]["id"]
    week = {"ANTIPHON_MAX_SHARE_LIFETIME": str(7 * 86_400)}

    made = place.run("threads", "share", thread_id, environ=week)
    refused = place.run("threads", "share", thread_id, "--days", "30", environ=week)

    assert made.stdout.startswith("/shared/"), made.stderr
    [share] = json.loads(place.run("threads", "shares", "--json").stdout)
    assert share["expires_at"] - share["created_at"] == 7 * 86_400_000
    assert refused.returncode != 0
    assert "max_share_lifetime" in refused.stderr
