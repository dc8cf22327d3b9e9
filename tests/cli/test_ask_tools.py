"""`antiphon ask` and its tools: what may run where nobody can be asked, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon.tools.functions import Functions
from antiphon.tools.permissions import GrantsFile
from antiphon.tools.questions import ModelServer, tool_identity
from antiphon.types.messages import Hints, Tool, ToolSpec
from tests.support.cli.place import Place

FLIGHTS = '''
from antiphon import Progress, ProgressCallback, tool


@tool
def get_flight_times(departure: str, arrival: str, tell: ProgressCallback) -> str:
    """Flight times."""
    tell(Progress(1, 2, "asking"))
    open("ran", "a").write("x")
    return "09:05"
'''
QUESTION = "When does the next LAX-JFK flight leave?"
NOBODY = (
    "antiphon: get_flight_times was refused: nobody could be asked;"
    " the setting `ask` names it, which only --yes overrules\n"
)


@pytest.fixture
def flights(place: Place) -> Place:
    (place.root / "flights.py").write_text(FLIGHTS)
    return place


def ask(place: Place, *flags: str, **environ: str) -> Any:
    return place.run("ask", "--tools", "flights.py", *flags, QUESTION, environ=environ)


def ran(place: Place) -> bool:
    return (place.root / "ran").exists()


def test_functions_run_without_a_question(flights: Place) -> None:
    told = ask(flights)

    assert (told.returncode, ran(flights)) == (0, True)
    assert "refused" not in told.stderr


def test_what_would_have_to_be_asked_is_refused_and_the_exit_code_says_so(flights: Place) -> None:
    told = ask(flights, "--ask", "get_*")

    assert (told.returncode, ran(flights)) == (4, False)
    assert NOBODY in told.stderr
    assert told.stdout.strip()


def test_a_refusal_is_said_even_where_nothing_else_is(flights: Place) -> None:
    assert ask(flights, "-q", "--ask", "*").stderr == NOBODY


@pytest.mark.parametrize(
    "flags", [("--deny", "get_*"), ("--deny", "a", "--deny", "get_*", "--yes"), ("--deny=a,get_*",)]
)
def test_what_is_denied_is_refused_whatever_else_is_said(
    flights: Place, flags: tuple[str, ...]
) -> None:
    told = ask(flights, "--allow", "*", *flags)

    assert (told.returncode, ran(flights)) == (0, False)
    assert "antiphon: get_flight_times was refused: the settings deny it\n" in told.stderr


def test_yes_allows_all_that_is_not_denied_and_says_so(flights: Place) -> None:
    told = ask(flights, "--ask", "*", "--yes")

    assert (told.returncode, ran(flights)) == (0, True)
    assert "antiphon: --yes: every tool may run that is not denied\n" in told.stderr


def test_the_rules_come_from_the_environment_and_the_files_too(flights: Place) -> None:
    (flights.root / "antiphon.toml").write_text('ask = ["nothing"]\n')
    flights.run("trust", "--yes")

    told = ask(flights, ANTIPHON_ASK="other,get_*")

    assert (told.returncode, ran(flights)) == (4, False)


def test_what_was_allowed_for_good_runs(flights: Place) -> None:
    def get_flight_times(departure: str, arrival: str) -> str:
        """Flight times."""
        return ""

    (tool,) = Functions([get_flight_times]).tools()
    file = flights.database.parent / "grants.json"
    GrantsFile(file).add([tool_identity(tool)], ModelServer("demo"))

    told = ask(flights, "--ask", "*")

    assert (told.returncode, ran(flights)) == (0, True)
    assert tool.hints == Hints()


@pytest.mark.parametrize("by", [ModelServer("openai", "https://api.openai.com"), None])
def test_what_was_allowed_for_another_model_is_refused_and_it_is_said_why(
    flights: Place, by: ModelServer | None
) -> None:
    def get_flight_times(departure: str, arrival: str) -> str:
        """Flight times."""
        return ""

    (tool,) = Functions([get_flight_times]).tools()
    file = flights.database.parent / "grants.json"
    GrantsFile(file).add([tool_identity(tool)], by or ModelServer(""))
    if by is None:  # as versions wrote it that did not tell model servers apart
        content = json.loads(file.read_bytes())
        del content["grants"][0]["asked_by"]
        file.write_text(json.dumps(content))

    told = ask(flights, "--ask", "*")

    assert (told.returncode, ran(flights)) == (4, False)
    whom = by or "whichever model asks"
    assert f"You have allowed get_flight_times for {whom}; now demo asks." in told.stderr


def test_what_was_allowed_for_good_is_listed_and_revoked(place: Place) -> None:
    file = place.database.parent / "grants.json"
    tools = [
        Tool(
            spec=ToolSpec(f"git__{name}", "\x1b[2J"),
            server="git",
            own_name=name,
            origin="uvx \x1b[31mgit",
        )
        for name in ("push", "pull")
    ]
    GrantsFile(file).add([tool_identity(each) for each in tools])

    listed = place.run("config", "--grants")
    as_json = place.run("config", "--grants", "--json")
    revoked = place.run("config", "--revoke", "git:push")
    again = place.run("config", "--revoke", "git:push")

    assert [line.split()[:2] for line in listed.stdout.splitlines()[-2:]] == [
        ["git", "push"],
        ["git", "pull"],
    ]
    assert "\x1b" not in listed.stdout
    assert [each["own_name"] for each in json.loads(as_json.stdout)["grants"]] == ["push", "pull"]
    assert (revoked.returncode, revoked.stdout) == (0, "revoked 1\n")
    assert again.returncode == 2
    assert [each.own_name for each in GrantsFile(file).all()] == ["pull"]


def test_a_broken_file_of_grants_is_told_and_allows_nothing(flights: Place) -> None:
    file = flights.database.parent / "grants.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")

    told = ask(flights, "--ask", "*")

    assert (told.returncode, ran(flights)) == (4, False)
    assert f"antiphon: {Path(file)} cannot be read, so nothing in it is allowed" in told.stderr


def test_lines_of_json_tell_what_happens_here_too(flights: Place) -> None:
    told = ask(flights, "--json")
    refused = ask(flights, "--json", "--ask", "*")

    lines = [json.loads(line) for line in told.stdout.splitlines()]
    began, progress, ended = (line for line in lines if line["type"].startswith("local."))
    assert (began["type"], began["call"]["name"]) == ("local.tool_began", "get_flight_times")
    assert progress["progress"] == {"done": 1.0, "total": 2.0, "message": "asking"}
    assert ended.pop("seconds") >= 0
    assert ended == {
        "type": "local.tool_ended",
        "tool_call_id": began["call"]["id"],
        "is_error": False,
        "fault": None,
    }
    types = [line["type"] for line in lines]
    assert types.index("action.required") < types.index("local.tool_began")
    assert types.index("local.tool_ended") < types.index("tool_output.added")
    assert refused.returncode == 4
    assert '"type":"local.consent_refused"' in refused.stdout
