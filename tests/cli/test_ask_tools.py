"""The tools of `antiphon ask`, where nobody can be asked: which ones run, and what is printed."""

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
REFUSED_BY_ASK = (
    "antiphon: get_flight_times was refused: nobody could be asked;"
    " the setting `ask` names it, which only --yes overrules\n"
)


@pytest.fixture
def flights(place: Place) -> Place:
    (place.root / "flights.py").write_text(FLIGHTS)
    return place


def ask(place: Place, *flags: str, **environ: str) -> Any:
    return place.run("ask", "--tools", "flights.py", *flags, QUESTION, environ=environ)


def has_run(place: Place) -> bool:
    return (place.root / "ran").exists()


def test_functions_run_without_a_question(flights: Place) -> None:
    result = ask(flights)

    assert (result.returncode, has_run(flights)) == (0, True)
    assert "refused" not in result.stderr


def test_what_would_have_to_be_asked_is_refused_and_the_exit_code_says_so(flights: Place) -> None:
    result = ask(flights, "--ask", "get_*")

    assert (result.returncode, has_run(flights)) == (4, False)
    assert REFUSED_BY_ASK in result.stderr
    assert result.stdout.strip()


def test_a_refusal_is_said_even_where_nothing_else_is(flights: Place) -> None:
    assert ask(flights, "-q", "--ask", "*").stderr == REFUSED_BY_ASK


@pytest.mark.parametrize(
    "flags", [("--deny", "get_*"), ("--deny", "a", "--deny", "get_*", "--yes"), ("--deny=a,get_*",)]
)
def test_what_is_denied_is_refused_whatever_else_is_said(
    flights: Place, flags: tuple[str, ...]
) -> None:
    result = ask(flights, "--allow", "*", *flags)

    assert (result.returncode, has_run(flights)) == (0, False)
    assert "antiphon: get_flight_times was refused: the settings deny it\n" in result.stderr


def test_yes_allows_all_that_is_not_denied_and_says_so(flights: Place) -> None:
    result = ask(flights, "--ask", "*", "--yes")

    assert (result.returncode, has_run(flights)) == (0, True)
    assert "antiphon: --yes: every tool may run that is not denied\n" in result.stderr


def test_the_rules_come_from_the_environment_and_the_files_too(flights: Place) -> None:
    (flights.root / "antiphon.toml").write_text('ask = ["nothing"]\n')
    flights.run("trust", "--yes")

    result = ask(flights, ANTIPHON_ASK="other,get_*")

    assert (result.returncode, has_run(flights)) == (4, False)


def test_what_was_allowed_for_good_runs(flights: Place) -> None:
    def get_flight_times(departure: str, arrival: str) -> str:
        """Flight times."""
        return ""

    (tool,) = Functions([get_flight_times]).tools()
    file = flights.database.parent / "grants.json"
    GrantsFile(file).add([tool_identity(tool)], ModelServer("demo"))

    result = ask(flights, "--ask", "*")

    assert (result.returncode, has_run(flights)) == (0, True)
    assert tool.hints == Hints()


@pytest.mark.parametrize("server", [ModelServer("openai", "https://api.openai.com"), None])
def test_what_was_allowed_for_another_model_is_refused_and_it_is_said_why(
    flights: Place, server: ModelServer | None
) -> None:
    def get_flight_times(departure: str, arrival: str) -> str:
        """Flight times."""
        return ""

    (tool,) = Functions([get_flight_times]).tools()
    file = flights.database.parent / "grants.json"
    GrantsFile(file).add([tool_identity(tool)], server or ModelServer(""))
    if server is None:  # as written by versions that did not tell model servers apart
        content = json.loads(file.read_bytes())
        del content["grants"][0]["asked_by"]
        file.write_text(json.dumps(content))

    result = ask(flights, "--ask", "*")

    assert (result.returncode, has_run(flights)) == (4, False)
    servers = server or "whichever model asks"
    assert f"You have allowed get_flight_times for {servers}; now demo asks." in result.stderr


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

    listing = place.run("config", "--grants")
    as_json = place.run("config", "--grants", "--json")
    first = place.run("config", "--revoke", "git:push")
    second = place.run("config", "--revoke", "git:push")

    assert [line.split()[:2] for line in listing.stdout.splitlines()[-2:]] == [
        ["git", "push"],
        ["git", "pull"],
    ]
    assert "\x1b" not in listing.stdout
    assert [each["own_name"] for each in json.loads(as_json.stdout)["grants"]] == ["push", "pull"]
    assert (first.returncode, first.stdout) == (0, "revoked 1\n")
    assert second.returncode == 2
    assert [each.own_name for each in GrantsFile(file).all()] == ["pull"]


def test_a_broken_file_of_grants_is_reported_and_allows_nothing(flights: Place) -> None:
    file = flights.database.parent / "grants.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")

    result = ask(flights, "--ask", "*")

    assert (result.returncode, has_run(flights)) == (4, False)
    assert f"antiphon: {Path(file)} cannot be read, so nothing in it is allowed" in result.stderr


def test_lines_of_json_tell_what_happens_here_too(flights: Place) -> None:
    result = ask(flights, "--json")
    refusal = ask(flights, "--json", "--ask", "*")

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    beginning, progress, end = (line for line in lines if line["type"].startswith("local."))
    assert (beginning["type"], beginning["call"]["name"]) == (
        "local.tool_began",
        "get_flight_times",
    )
    assert progress["progress"] == {"done": 1.0, "total": 2.0, "message": "asking"}
    assert end.pop("seconds") >= 0
    assert end == {
        "type": "local.tool_ended",
        "tool_call_id": beginning["call"]["id"],
        "is_error": False,
        "fault": None,
    }
    types = [line["type"] for line in lines]
    assert types.index("action.required") < types.index("local.tool_began")
    assert types.index("local.tool_ended") < types.index("tool_output.added")
    assert refusal.returncode == 4
    assert '"type":"local.consent_refused"' in refusal.stdout
