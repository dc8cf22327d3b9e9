"""`antiphon threads share`, `shares` and `unshare`."""

from __future__ import annotations

import json

from tests.support.cli.place import Place


def test_a_conversation_is_shared_listed_and_no_longer_shared(place: Place) -> None:
    place.run("ask", "Hello")
    thread_id = place.threads()[0]["thread"]["id"]

    creation = place.run("threads", "share", thread_id, "--days", "7")
    shares = json.loads(place.run("threads", "shares", "--json").stdout)
    revocation = place.run("threads", "unshare", shares[0]["id"])

    assert creation.stdout.startswith("/shared/")
    assert f"{shares[0]['id']} shows 2 messages until" in creation.stderr
    assert shares[0]["expires_at"] - shares[0]["created_at"] == 7 * 86_400_000
    assert "token" not in shares[0]
    assert revocation.stderr == f"{shares[0]['id']} is revoked.\n"
    assert place.run("threads", "shares").stderr == "You share nothing.\n"
    second_revocation = place.run("threads", "unshare", shares[0]["id"])
    assert second_revocation.returncode == 1


def test_a_link_lasts_for_the_servers_limit_where_30_days_are_too_many(place: Place) -> None:
    place.run("ask", "Hello")
    thread_id = place.threads()[0]["thread"]["id"]
    week = {"ANTIPHON_MAX_SHARE_LIFETIME": str(7 * 86_400)}

    creation = place.run("threads", "share", thread_id, environ=week)
    refusal = place.run("threads", "share", thread_id, "--days", "30", environ=week)

    assert creation.stdout.startswith("/shared/"), creation.stderr
    [share] = json.loads(place.run("threads", "shares", "--json").stdout)
    assert share["expires_at"] - share["created_at"] == 7 * 86_400_000
    assert refusal.returncode != 0
    assert "max_share_lifetime" in refusal.stderr
