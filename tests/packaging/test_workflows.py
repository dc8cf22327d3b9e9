"""The workflows of the forge pin foreign actions and run programs that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import release

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"(?m)^([\w./-]+):", (ROOT / "Makefile").read_text()))
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def list_steps(workflow: Path) -> Iterator[dict[str, Any]]:
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_foreign_actions_are_pinned_and_commands_take_no_text_of_the_forge(
    workflow: Path,
) -> None:
    lines = [line.strip(" -") for line in workflow.read_text().splitlines() if "uses:" in line]

    assert [line for line in lines if not PINNED.fullmatch(line)] == []
    for step in list_steps(workflow):
        assert "${{" not in step.get("run", ""), step  # a value comes by the environment


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_programs_of_the_checkout_exist(workflow: Path) -> None:
    scripts = [step.get("run", "").replace("\\\n", " ") for step in list_steps(workflow)]
    commands = [shlex.split(line) for script in scripts for line in script.splitlines()]
    for command in filter(None, commands):
        if command[0] == "make":
            assert set(command[1:]) <= TARGETS
        for word in command[:2]:
            if re.match(r"(\.ci|deploy|docs|scripts|tests)/", word):
                assert (ROOT / word).exists(), word


def test_the_steps_of_a_release_are_commands_of_its_script() -> None:
    commands = [
        shlex.split(step["run"].partition(">")[0])[2:]
        for step in list_steps(ROOT / ".github/workflows/release.yml")
        if "scripts.release" in step.get("run", "")
    ]

    assert [command[1] for command in commands] == ["verify", "notes", "registry", "chart"]
    for _, command, *_ in commands:
        with pytest.raises(SystemExit) as exit_info:
            release.main([command, "--help"])
        assert exit_info.value.code == 0


@pytest.mark.soak
def test_the_linters_of_workflows_find_no_fault(python_with: Callable[[Path], Path]) -> None:
    tools = python_with(ROOT / "requirements/release.txt").parent
    linters = (
        ["zizmor", "--offline", "--no-progress"],
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
    )
    for name, *options in linters:
        command = [tools / name, *options, *WORKFLOWS]
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert completed.returncode == 0, completed.stdout + completed.stderr
