"""acpx, a foreign client from npm, talks to `antiphon acp`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.docs.blocks import Machine, every
from tests.support.programs import write_npx

PINNED = Path(__file__).parent / "acpx"
TOOLS = '''
from pathlib import Path

from antiphon import tool


@tool(consent=True)
def keep(word: str) -> str:
    """Keep a word."""
    Path("kept").write_text(word)
    return f"kept {word}"
'''


@pytest.fixture
def machine(npm_packages: Callable[[Path], Path], tmp_path: Path) -> Iterator[Machine]:
    """A newcomer's machine, with `npx` of the pinned package."""
    machine = Machine(tmp_path)
    write_npx(tmp_path / ".programs/npx", PINNED, npm_packages(PINNED))
    yield machine
    machine.stop()


@pytest.mark.slow
def test_the_recipe_answers_in_text_and_in_messages(machine: Machine) -> None:
    (block,) = every("bash", "acpx")

    completed = machine.run("bash", "-euc", block.text)

    assert completed.returncode == 0, completed.stdout
    text, _, messages = completed.stdout.partition('{"jsonrpc"')
    assert "One voice calls and another" in text
    assert "[done] end_turn" in text
    *_, last = (json.loads(line) for line in ('{"jsonrpc"' + messages).splitlines())
    assert last["result"]["stopReason"] == "end_turn"


@pytest.mark.parametrize(
    ("permissions", "is_allowed"), [("--approve-all", True), ("--deny-all", False)]
)
def test_a_tool_that_asks_runs_as_acpx_permits(
    machine: Machine, tmp_path: Path, permissions: str, is_allowed: bool
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    agent = ("--agent", "antiphon acp --tools tools.py")

    completed = machine.run(
        *("npx", "-y", "acpx@0.15.1"), *agent, permissions, "exec", 'Use keep with "honey"'
    )

    assert "end_turn" in completed.stdout
    assert (tmp_path / "kept").exists() == is_allowed
    assert ("kept honey" in completed.stdout) == is_allowed


def test_the_lock_file_names_no_address_of_packages() -> None:
    lock = (PINNED / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 20
