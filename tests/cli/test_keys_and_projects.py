"""`antiphon keys`, `projects` and `audit`, run by an administrator at the database itself."""

from __future__ import annotations

import json

import pytest

from tests.support.cli.place import Place


def test_a_key_is_made_with_limits_and_an_end_and_limited_again(place: Place) -> None:
    bounds = ("--requests-per-minute", "60", "--runs-at-once", "2", "--expires-in", "90d")
    token = place.run("keys", "create", "laptop", *bounds).stdout.strip()
    (key,) = json.loads(place.run("keys", "list", "--json").stdout)
    assert key["limits"] == {"requests_per_minute": 60, "runs_at_once": 2, "tokens_per_day": None}
    assert key["expires_at"] - key["created_at"] == 90 * 86_400_000

    limit_result = place.run(
        "keys", "limit", key["id"], "--runs-at-once", "none", "--tokens-per-day", "1000"
    )
    assert "60 a minute, 1000 tokens a day" in limit_result.stderr
    assert "60 a minute, 1000 tokens a day" in place.run("keys", "list").stdout

    acts = [json.loads(line) for line in place.run("audit", "--json").stdout.splitlines()]
    assert [act["what"] for act in acts] == ["limits.changed", "key.created"]
    assert {(act["actor"], act["target"]) for act in acts} == {("local", key["id"])}
    assert all(act["details"]["user"] for act in acts)
    assert token not in json.dumps(acts)


def test_what_a_key_is_called_cannot_act_on_the_terminal(place: Place) -> None:
    place.run("keys", "create", "\x1b]0;owned\x07laptop")
    (key,) = json.loads(place.run("keys", "list", "--json").stdout)

    result = place.run("keys", "revoke", key["id"])

    assert "laptop" in result.stderr
    assert not {"\x1b", "\x07"} & set(result.stderr)


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("--runs-at-once", "0", "wanted a number from 1 on"),
        ("--tokens-per-day", "many", "wanted a number from 1 on"),
        ("--expires-in", "soon", "wanted a number and s, m, h, d or w"),
        ("--expires-in", "999999999w", "ten years at most"),
    ],
)
def test_a_limit_that_is_none_is_wrong_usage(
    place: Place, flag: str, value: str, reason: str
) -> None:
    refusal = place.run("keys", "create", "laptop", flag, value)

    assert refusal.returncode == 2
    assert reason in refusal.stderr


def test_a_project_is_made_renamed_disabled_and_deleted(place: Place) -> None:
    project = place.run("projects", "create", "Moon").stdout.strip()
    place.run("keys", "create", "ours", "--owner", project)
    assert place.run("projects", "rename", "moon", "Mars").returncode == 0
    assert place.run("projects", "disable", "Mars").returncode == 0
    (stored_project,) = json.loads(place.run("projects", "list", "--json").stdout)
    assert (stored_project["id"], stored_project["name"], stored_project["disabled"]) == (
        project,
        "Mars",
        True,
    )
    (key,) = json.loads(place.run("keys", "list", "--json").stdout)
    assert key["revoked_at"]
    assert "disabled" in place.run("keys", "create", "ours", "--owner", project).stderr

    assert place.run("projects", "delete", project).returncode == 0

    assert place.run("projects", "delete", project).returncode == 1
    log = place.run("audit", "--owner", project).stdout
    lines = [line.split() for line in log.splitlines()[1:]]
    assert [line[3] for line in lines] == [
        "project.removed",
        "project.changed",
        "project.changed",
        "key.created",
        "project.created",
    ]
