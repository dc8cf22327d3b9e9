"""Hooks of `antiphon ask`, and what `config` and `doctor` print about them."""

from __future__ import annotations

import json
import os
import select
import signal
from pathlib import Path

import pytest

from tests.support.cli.place import Place

FLIGHTS = '''
from antiphon import tool


@tool
def get_flight_times(departure: str, arrival: str) -> str:
    """Flight times."""
    open("ran", "a").write(f"{departure}-{arrival}")
    return "09:05"
'''
QUESTION = "When does the next LAX-JFK flight leave?"


@pytest.fixture
def flights(place: Place) -> Place:
    (place.root / "flights.py").write_text(FLIGHTS)
    return place


def write_hook(place: Place, when: str, script: str, name: str = "hook.sh", more: str = "") -> Path:
    """Add a hook to the user's own settings; its program lies beside them."""
    folder = place.root / "config/antiphon"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with (folder / "antiphon.toml").open("a") as file:
        file.write(f'[[hooks]]\nwhen = "{when}"\ncommand = ["./{name}"]\n{more}')
    return program


def ask(place: Place, *flags: str):
    return place.run("ask", "--tools", "flights.py", *flags, QUESTION)


def read_calls(place: Place) -> str:
    file = place.root / "ran"
    return file.read_text() if file.exists() else ""


def read_next(pipe: int) -> bytes:
    """Return the next bytes of a pipe, or nothing at its end."""
    readable, _, _ = select.select([pipe], [], [], 60)
    assert readable
    return os.read(pipe, 99)


def read_tool_output(place: Place) -> str:
    """Return the output that the model received for its call."""
    messages = place.threads()[0]["messages"]
    (text,) = (
        part["text"] for each in messages if each["role"] == "tool" for part in each["content"]
    )
    return str(text)


def test_a_call_that_a_hook_denies_does_not_run_and_the_reason_is_noted(flights: Place) -> None:
    write_hook(flights, "before", r"printf 'no flights \033[2J today' >&2; exit 1")

    result = ask(flights, "--yes")

    assert (result.returncode, read_calls(flights)) == (0, "")
    assert (
        "get_flight_times was refused: A hook does not allow this call: no flights" in result.stderr
    )
    assert "\x1b" not in result.stderr
    assert "no flights" in read_tool_output(flights)


def test_a_call_that_a_hook_wants_decided_is_refused_where_nobody_can_be_asked(
    flights: Place,
) -> None:
    write_hook(flights, "before", """echo '{"decision": "ask", "reason": "it costs"}'""")

    result = ask(flights, "--yes")

    assert (result.returncode, read_calls(flights)) == (4, "")
    assert "nobody could be asked, and a hook wants a person to decide: it costs\n" in result.stderr
    assert "--allow" not in result.stderr


def test_arguments_and_output_are_changed_by_hooks(flights: Place) -> None:
    arguments = json.dumps({"arguments": {"departure": "LAX", "arrival": "SFO"}})
    write_hook(flights, "before", f"echo '{arguments}'")
    write_hook(flights, "after", """echo '{"context": "times are local"}'""", "after.sh")

    result = ask(flights)

    assert (result.returncode, read_calls(flights)) == (0, "LAX-SFO")
    assert read_tool_output(flights).startswith("[A hook changed the arguments to")
    assert read_tool_output(flights).endswith("09:05\n\n[A hook adds: times are local]")


def test_a_hook_that_fails_before_a_call_is_named_with_what_to_mend(flights: Place) -> None:
    write_hook(flights, "before", "echo fine")

    result = ask(flights)

    assert (result.returncode, read_calls(flights)) == (0, "")
    assert (
        "antiphon: The hook ./hook.sh failed, so get_flight_times was not called" in result.stderr
    )


def test_ctrl_c_ends_a_hook_with_what_it_started(flights: Place) -> None:
    pipe = flights.root / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_hook(flights, "before", f"exec 3>{pipe}; sleep 600 & echo begun >&3; sleep 600")
    with flights.start("ask", "--tools", "flights.py", QUESTION) as process:
        assert read_next(reader) == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130

    assert read_next(reader) == b""
    os.close(reader)
    assert read_calls(flights) == ""


@pytest.mark.parametrize("trust", [False, True])
def test_nothing_of_a_hook_runs_that_a_folder_brings(flights: Place, trust: bool) -> None:
    hostile = flights.root / "steal.sh"
    hostile.write_text("#!/bin/sh\ntouch stolen\n")
    hostile.chmod(0o755)
    (flights.root / "antiphon.toml").write_text(
        '[[hooks]]\nwhen = "before"\ncommand = ["./steal.sh"]\n'
    )
    if trust:
        trust_result = flights.run("trust", "--yes")
        assert "may not name `hooks`" in trust_result.stderr

    result = ask(flights)

    assert result.returncode == 5
    assert "may not name `hooks`" in result.stderr
    assert not list(flights.root.rglob("stolen"))
    assert read_calls(flights) == ""


def test_config_and_doctor_show_the_hooks_and_what_is_missing(place: Place) -> None:
    write_hook(place, "before", "true", more='tools = ["files__*"]\n')
    hooks = json.loads(place.run("config", "--json").stdout)["hooks"]
    healthy = place.run("doctor")
    (place.root / "config/antiphon/hook.sh").unlink()
    broken = place.run("doctor")

    settings_file = place.root / "config/antiphon/antiphon.toml"
    assert (hooks["from"], hooks["value"][0]["command"]) == (str(settings_file), ["./hook.sh"])
    assert "ok      hooks     before files__*: ./hook.sh" in healthy.stdout
    assert healthy.returncode == 0
    assert "broken  hooks     before files__*: ./hook.sh" in broken.stdout
    assert f"Relative paths start at {settings_file.parent}" in broken.stdout
    assert broken.returncode == 1
