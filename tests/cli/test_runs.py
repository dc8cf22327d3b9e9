"""`antiphon runs`, as a shell sees it."""

from __future__ import annotations

import json

from tests.support.cli.place import Place


def test_runs_are_listed_and_the_last_one_is_shown_step_by_step(place: Place) -> None:
    none = place.run("runs", "list")
    empty = place.run("runs", "show")
    place.run("ask", "hello \x1b[31m there")
    [listed] = json.loads(place.run("runs", "list", "--json").stdout)
    shown = place.run("runs", "show")
    whole = json.loads(place.run("runs", "show", listed["id"], "--json").stdout)

    assert "There are no such runs." in none.stderr
    assert (empty.returncode, "nothing was answered" in empty.stderr) == (1, True)
    assert listed["id"] in shown.stdout
    assert "reply 1 demo" in shown.stdout
    assert "1 turn, 0 tool calls" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert [step["kind"] for step in whole["steps"]] == ["queue", "reply"]
    assert whole["run"]["id"] == listed["id"]


def test_two_runs_are_compared_with_their_answers(place: Place) -> None:
    place.run("ask", "hello")
    place.run("ask", "goodbye")
    second, first = json.loads(place.run("runs", "list", "--json").stdout)
    compared = place.run("runs", "compare", first["id"], "last")
    missing = place.run("runs", "compare", first["id"], "run_none")

    assert compared.returncode == 0, compared.stderr
    assert compared.stdout.split()[:2] == [first["id"], second["id"]]
    assert compared.stdout.count("answers:") == 2
    assert (missing.returncode, "run_none" in missing.stderr) == (1, True)


def test_a_run_that_has_ended_stays_as_it_is_when_it_is_cancelled(place: Place) -> None:
    place.run("ask", "hello")
    cancelled = place.run("runs", "cancel", "last")
    [run] = json.loads(place.run("runs", "list", "--status", "completed", "--json").stdout)

    assert run["id"] in cancelled.stderr
    assert run["status"] == "completed"
