"""The conformance suite of the Model Context Protocol, driven through Antiphon's client.

The suite is an npm package, pinned with all that it needs by the hashes of a lock file; Node comes
with pyright. Without the packages, the tests are skipped with the reason.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import fork_server

FOLDER = Path(__file__).parent
PINNED = FOLDER / "conformance"
CLIENT = "tests.support.mcp.conformance_client:run"
SCENARIO_MILLISECONDS = 60_000


@pytest.fixture(scope="module")
def suite(npm_packages: Callable[[Path], Path], node: Path) -> list[Path | str]:
    """Return the command of the suite."""
    program = npm_packages(PINNED) / "@modelcontextprotocol/conformance/dist/index.js"
    return [node, "--require", PINNED / "patient.cjs", program]


def _run_suite(suite: list[Path | str], folder: Path, *arguments: str) -> str:
    """Run the suite against the client and return its output; results are in the folder."""
    # The client is a fork, since the suite starts all scenarios at once: thirty programs that load
    # the SDK would slow down the machine.
    client = " ".join(fork_server.command(CLIENT))
    command = [*suite, "client", "--command", client, *arguments]
    limit = ["--timeout", str(SCENARIO_MILLISECONDS), "-o", folder]
    completed = subprocess.run(
        [*command, *limit], capture_output=True, text=True, timeout=280, check=False
    )
    return completed.stdout + completed.stderr


def _verdicts(output: str) -> dict[str, bool]:
    return {
        name: sign == "✓"
        for sign, name in re.findall(r"^([✓✗]) (\S+): \d+ passed, \d+ failed", output, re.MULTILINE)
    }


def _list_known_failures() -> set[str]:
    return set(re.findall(r"^  - (\S+)$", (PINNED / "baseline.yml").read_text(), re.MULTILINE))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("revision", "scored_count"),
    [
        pytest.param("2026-07-28", 32, marks=pytest.mark.slow),
        pytest.param("2025-11-25", 18, marks=pytest.mark.soak),
    ],
)
def test_every_scenario_that_a_revision_requires_passes(
    suite: list[Path | str], tmp_path: Path, revision: str, scored_count: int
) -> None:
    output = _run_suite(suite, tmp_path, "--requirements", revision)
    verdicts = _verdicts(output)
    failed = {name for name, has_passed in verdicts.items() if not has_passed}

    assert failed == _list_known_failures(), output[-20_000:]
    assert len(verdicts) - len(re.findall(r"^  [✓✗] ", output, re.MULTILINE)) == scored_count


def test_the_lock_file_names_no_address_of_packages() -> None:
    lock = (PINNED / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 100
