"""`antiphon schedules`, as a shell sees it."""

from __future__ import annotations

import json
from typing import Any

from tests.support.cli.place import Place


def add(place: Place, *more: str) -> dict[str, Any]:
    made = place.run("schedules", "add", "Report.", "--json", *more)
    assert made.returncode == 0, made.stderr
    created: dict[str, Any] = json.loads(made.stdout)
    return created


def test_a_schedule_is_added_shown_changed_paused_and_removed(place: Place) -> None:
    none = place.run("schedules", "list")
    berlin = ("--cron", "30 8 * * mon-fri", "--timezone", "Europe/Berlin", "--name", "Morning")
    created = add(place, *berlin, "--allow-tool", "search", "--allow-tool", "read*")
    schedule = created["id"]
    listed = place.run("schedules", "list")
    shown = place.run("schedules", "show", schedule)
    changed = place.run("schedules", "change", schedule, "--cron", "@daily", "--max-cost", "0.5")
    unchanged = place.run("schedules", "change", schedule)
    place.run("schedules", "pause", schedule)
    [paused] = json.loads(place.run("schedules", "list", "--json").stdout)
    resumed = place.run("schedules", "resume", schedule)
    removed = place.run("schedules", "remove", schedule)
    again = place.run("schedules", "remove", schedule)

    assert "antiphon schedules add" in none.stderr
    assert created["allowed_tools"] == ["search", "read*"]
    assert "30 8 * * mon-fri" in listed.stdout
    assert "search read*" in shown.stdout
    assert shown.stdout.count("T08:30:00+0") == 5
    assert "runs next at" in changed.stderr
    assert unchanged.returncode != 0
    assert "Nothing is to be changed" in unchanged.stderr
    assert (paused["cron"], paused["max_cost"], paused["paused"]) == ("@daily", 0.5, True)
    assert "runs next at" in resumed.stderr
    assert (removed.returncode, again.returncode) == (0, 1)


def test_a_run_by_hand_is_in_the_history(place: Place) -> None:
    schedule = add(place, "--cron", "@monthly")["id"]
    run = json.loads(place.run("schedules", "run", schedule, "--json").stdout)
    told = json.loads(place.run("schedules", "show", schedule, "--json").stdout)
    shown = place.run("schedules", "show", schedule)

    (occurrence,) = told["occurrences"]
    assert (occurrence["run_id"], occurrence["due_at"]) == (run["id"], None)
    assert len(told["next_times"]) == 5
    assert "by hand" in shown.stdout
    assert run["id"] in shown.stdout


def test_one_time_is_read_in_the_zone_of_the_schedule(place: Place) -> None:
    berlin = add(place, "--at", "2033-12-01T08:00", "--timezone", "Europe/Berlin")
    elsewhere = add(place, "--at", "2033-12-01T08:00+09:00")
    place.run("schedules", "change", berlin["id"], "--at", "2033-12-01T09:00")
    [changed, _] = json.loads(place.run("schedules", "list", "--json").stdout)

    assert berlin["run_at"] == 2_017_033_200_000
    assert elsewhere["run_at"] == 2_017_004_400_000
    assert changed["next_at"] == berlin["run_at"] + 3_600_000


def test_what_cannot_be_scheduled_is_refused_with_a_hint(place: Place) -> None:
    often = place.run("schedules", "add", "Report.", "--cron", "* * * * *")
    zone = place.run("schedules", "add", "Report.", "--cron", "@daily", "--timezone", "Berlin")
    never = place.run("schedules", "add", "Report.", "--cron", "0 0 30 2 *")
    time = place.run("schedules", "add", "Report.", "--at", "tomorrow")
    neither = place.run("schedules", "add", "Report.")

    assert "min_schedule_interval" in often.stderr
    assert "Europe/Berlin" in zone.stderr
    assert "no such date" in never.stderr
    assert "2026-12-01T08:00" in time.stderr
    assert "cron or run_at" in neither.stderr
    assert {each.returncode for each in (often, zone, never, time, neither)} == {2}


def test_what_a_schedule_says_cannot_act_on_a_terminal(place: Place) -> None:
    named = ("--cron", "@daily", "--name", "c\x1b]0;x\x07")
    made = place.run("schedules", "add", "a\x1b[31mb", *named)
    listed = place.run("schedules", "list")

    assert made.returncode == 0, made.stderr
    assert "\x1b" not in listed.stdout + made.stderr
    assert "\x07" not in listed.stdout
