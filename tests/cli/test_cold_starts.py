"""Each command starts as a new process; most other tests fork a program that is loaded."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.cli.place import SECONDS, Place

COMMANDS = {
    "ask": ("ask", "-q", "Hello"),
    "chat -p": ("chat", "-p", "Hello"),
    "config": ("config",),
    "doctor": ("doctor",),
    "keys": ("keys", "create", "laptop"),
    "mcp list": ("mcp", "list"),
    "mcp serve": ("mcp", "serve"),
    "models": ("models",),
    "threads": ("threads", "list"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_starts_in_a_new_process(place: Place, name: str) -> None:
    with place.start(*COMMANDS[name], cold=True, stderr=subprocess.PIPE) as process:
        _, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 0, err.decode()
