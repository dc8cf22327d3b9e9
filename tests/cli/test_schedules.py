"""`antiphon schedules`, as a shell sees it."""

from __future__ import annotations

import json
from typing import Any

from tests.support.cli.place import Place


def add(place: Place, *more: str) -> dict[str, Any]:
    result = place.run("schedules", "add", "Report.", "--json", *more)
    assert result.returncode == 0, result.stderr
    schedule: dict[str, Any] = json.loads(result.stdout)
    return schedule


def test_a_schedule_is_added_shown_changed_paused_and_removed(place: Place) -> None:
    empty_listing = place.run("schedules", "list")
    berlin = ("--cron", "30 8 * * mon-fri", "--timezone", "Europe/Berlin", "--name", "Morning")
    added_schedule = add(place, *berlin, "--allow-tool", "search", "--allow-tool", "read*")
    schedule = added_schedule["id"]
    listing = place.run("schedules", "list")
    details = place.run("schedules", "show", schedule)
    change = place.run("schedules", "change", schedule, "--cron", "@daily", "--max-cost", "0.5")
    empty_change = place.run("schedules", "change", schedule)
    place.run("schedules", "pause", schedule)
    [paused_schedule] = json.loads(place.run("schedules", "list", "--json").stdout)
    resumption = place.run("schedules", "resume", schedule)
    removal = place.run("schedules", "remove", schedule)
    second_removal = place.run("schedules", "remove", schedule)

    assert "antiphon schedules add" in empty_listing.stderr
    assert added_schedule["allowed_tools"] == ["search", "read*"]
    assert "30 8 * * mon-fri" in listing.stdout
    assert "search read*" in details.stdout
    assert details.stdout.count("T08:30:00+0") == 5
    assert "runs next at" in change.stderr
    assert empty_change.returncode != 0
    assert "Nothing is to be changed" in empty_change.stderr
    assert (paused_schedule["cron"], paused_schedule["max_cost"], paused_schedule["paused"]) == (
        "@daily",
        0.5,
        True,
    )
    assert "runs next at" in resumption.stderr
    assert (removal.returncode, second_removal.returncode) == (0, 1)


def test_a_run_by_hand_is_in_the_history(place: Place) -> None:
    schedule = add(place, "--cron", "@monthly")["id"]
    run = json.loads(place.run("schedules", "run", schedule, "--json").stdout)
    history = json.loads(place.run("schedules", "show", schedule, "--json").stdout)
    details = place.run("schedules", "show", schedule)

    (occurrence,) = history["occurrences"]
    assert (occurrence["run_id"], occurrence["due_at"]) == (run["id"], None)
    assert len(history["next_times"]) == 5
    assert "by hand" in details.stdout
    assert run["id"] in details.stdout


def test_one_time_is_read_in_the_zone_of_the_schedule(place: Place) -> None:
    berlin = add(place, "--at", "2033-12-01T08:00", "--timezone", "Europe/Berlin")
    with_offset = add(place, "--at", "2033-12-01T08:00+09:00")
    place.run("schedules", "change", berlin["id"], "--at", "2033-12-01T09:00")
    [changed_schedule, _] = json.loads(place.run("schedules", "list", "--json").stdout)

    assert berlin["run_at"] == 2_017_033_200_000
    assert with_offset["run_at"] == 2_017_004_400_000
    assert changed_schedule["next_at"] == berlin["run_at"] + 3_600_000


def test_what_cannot_be_scheduled_is_refused_with_a_hint(place: Place) -> None:
    too_often = place.run("schedules", "add", "Report.", "--cron", "* * * * *")
    unknown_zone = place.run(
        "schedules", "add", "Report.", "--cron", "@daily", "--timezone", "Berlin"
    )
    no_date = place.run("schedules", "add", "Report.", "--cron", "0 0 30 2 *")
    unknown_time = place.run("schedules", "add", "Report.", "--at", "tomorrow")
    no_time = place.run("schedules", "add", "Report.")

    assert "min_schedule_interval" in too_often.stderr
    assert "Europe/Berlin" in unknown_zone.stderr
    assert "no such date" in no_date.stderr
    assert "2026-12-01T08:00" in unknown_time.stderr
    assert "cron or run_at" in no_time.stderr
    assert {
        each.returncode for each in (too_often, unknown_zone, no_date, unknown_time, no_time)
    } == {2}


def test_what_a_schedule_says_cannot_act_on_a_terminal(place: Place) -> None:
    flags = ("--cron", "@daily", "--name", "c\x1b]0;x\x07")
    addition = place.run("schedules", "add", "a\x1b[31mb", *flags)
    listing = place.run("schedules", "list")

    assert addition.returncode == 0, addition.stderr
    assert "\x1b" not in listing.stdout + addition.stderr
    assert "\x07" not in listing.stdout
