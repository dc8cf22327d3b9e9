"""`antiphon completion`: the scripts, run by the shells that they are for."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from antiphon.cli.command_names import COMMANDS
from tests.support.cli.place import SECONDS, Place

# Prints the completions that zsh's functions are given; completion in zsh itself needs a terminal.
ZSH = """
compdef() { : }
compadd() { shift; print -l -- "$@" }
_files() { print files }
_message() { print nothing }
_describe() { local list="${@[-1]}"; print -l -- ${${(P)list}%%:*} }
source "$1"; shift
words=("$@"); CURRENT=$#; PREFIX="${@[-1]}"
_antiphon
"""
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_antiphon
printf '%s\\n' "${COMPREPLY[@]}"
"""
Complete = Callable[..., list[str]]


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest) -> str:
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not here")
    return str(request.param)


@pytest.fixture
def complete(place: Place, shell: str) -> Complete:
    """Return a function that lists the shell's completions of the last of its words."""
    result = place.run("completion", shell)
    assert (result.returncode, result.stderr) == (0, "")
    script = place.root / f"completion.{shell}"
    script.write_text(result.stdout)

    def complete(*words: str) -> list[str]:
        completed = subprocess.run(
            command(shell, script, ("antiphon", *words)),
            cwd=place.root,
            env={**os.environ, "HOME": str(place.root)},
            stdout=subprocess.PIPE,
            check=True,
            timeout=SECONDS,
        )
        return [line.partition("\t")[0] for line in completed.stdout.decode().splitlines() if line]

    return complete


def command(shell: str, script: Path, words: Sequence[str]) -> list[str]:
    match shell:
        case "bash":
            return ["bash", "--norc", "-c", BASH, "bash", str(script), *words]
        case "zsh":
            return ["zsh", "-f", "-c", ZSH, "zsh", str(script), *words]
        case _:
            line = f"source {script}; complete -C {shlex.quote(' '.join(words))}"
            return ["fish", "--no-config", "-c", line]


def test_commands_are_offered_and_then_their_actions(complete: Complete) -> None:
    assert set(complete("")) >= set(COMMANDS)
    assert "serve" in complete("mcp", "")
    assert set(complete("threads", "")).isdisjoint(COMMANDS)


def test_flags_are_those_of_the_place(complete: Complete) -> None:
    ask, serve = complete("ask", "--"), complete("mcp", "serve", "--")

    assert {"--file", "--output-schema", "--model"} <= set(ask)
    assert "--http" not in ask
    assert "--http" in serve


def test_a_flag_with_choices_offers_them(complete: Complete) -> None:
    assert sorted(complete("ask", "--output", "")) == ["json", "text"]
    assert "read" in complete("keys", "create", "--scope", "")


def test_a_word_behind_a_flag_is_no_command(complete: Complete) -> None:
    assert "--file" in complete("ask", "--model", "mcp", "--")


def test_a_flag_of_a_file_offers_files(complete: Complete, place: Place, shell: str) -> None:
    (place.root / "notes.txt").touch()

    completions = complete("ask", "--file", "")

    # bash offers files by itself, where nothing else is offered.
    assert completions == {"bash": [], "zsh": ["files"]}.get(shell, completions)
    assert shell != "fish" or "notes.txt" in completions


def test_the_script_asks_nobody_and_is_quick(complete: Complete) -> None:
    complete("")
    before = _cpu_seconds()
    complete("mcp", "add", "--")

    assert _cpu_seconds() - before < 0.5  # the shell's own start among it


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process's children; those of other processes do not count."""
    times = os.times()
    return times.children_user + times.children_system


def test_a_shell_that_is_unknown_is_wrong_usage(place: Place) -> None:
    result = place.run("completion", "tcsh")

    assert (result.returncode, result.stdout) == (2, "")
    assert "'bash', 'zsh', 'fish'" in result.stderr
