"""`antiphon runs`, as a shell sees it."""

from __future__ import annotations

import json

from tests.support.cli.place import Place


def test_runs_are_listed_and_the_last_one_is_shown_step_by_step(place: Place) -> None:
    empty_listing = place.run("runs", "list")
    empty_details = place.run("runs", "show")
    place.run("ask", "hello \x1b[31m there")
    [run] = json.loads(place.run("runs", "list", "--json").stdout)
    details = place.run("runs", "show")
    timeline = json.loads(place.run("runs", "show", run["id"], "--json").stdout)

    assert "There are no such runs." in empty_listing.stderr
    assert (empty_details.returncode, "nothing was answered" in empty_details.stderr) == (1, True)
    assert run["id"] in details.stdout
    assert "reply 1 demo" in details.stdout
    assert "1 turn, 0 tool calls" in details.stdout
    assert "\x1b" not in details.stdout
    assert [step["kind"] for step in timeline["steps"]] == ["queue", "reply"]
    assert timeline["run"]["id"] == run["id"]


def test_two_runs_are_compared_with_their_answers(place: Place) -> None:
    place.run("ask", "hello")
    place.run("ask", "goodbye")
    second, first = json.loads(place.run("runs", "list", "--json").stdout)
    comparison = place.run("runs", "compare", first["id"], "last")
    unknown_run = place.run("runs", "compare", first["id"], "run_none")

    assert comparison.returncode == 0, comparison.stderr
    assert comparison.stdout.split()[:2] == [first["id"], second["id"]]
    assert comparison.stdout.count("answers:") == 2
    assert (unknown_run.returncode, "run_none" in unknown_run.stderr) == (1, True)


def test_a_run_that_has_ended_stays_as_it_is_when_it_is_cancelled(place: Place) -> None:
    place.run("ask", "hello")
    result = place.run("runs", "cancel", "last")
    [run] = json.loads(place.run("runs", "list", "--status", "completed", "--json").stdout)

    assert run["id"] in result.stderr
    assert run["status"] == "completed"
