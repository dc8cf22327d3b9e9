"""The first command of a new user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli.place import SECONDS, Place

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_the_first_run_shows_a_hand_off_and_stays_until_it_is_interrupted(place: Place) -> None:
    command = [sys.executable, str(EXAMPLES / "first_run.py")]
    environ = {**place.environ, "ANTIPHON_PORT": "0"}
    with subprocess.Popen(command, cwd=place.root, env=environ, stdout=-1, stderr=-1) as program:
        assert program.stdout
        output = b""
        while b"Ctrl+C ends it." not in output:
            piece = os.read(program.stdout.fileno(), 4096)
            assert piece, output
            output += piece
        is_running = program.poll() is None
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=SECONDS)

    assert is_running
    assert program.returncode == 0
    steps = [
        "tool_call.ready",
        "action.required",
        "closed",
        "here: ",
        "200: saved",
        "turn.ended: completed",
    ]
    places = [output.decode().index(step) for step in steps]
    assert places == sorted(places)
