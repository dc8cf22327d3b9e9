"""Tests run in forks of one process: each is reported, whatever becomes of its process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = "tests.support.forks"
SERVICE = """
import os, pytest, signal, warnings
from pathlib import Path

@pytest.fixture(scope="session")
def service():
    yield
    Path("ended").write_text("in order")
"""

pytestmark = pytest.mark.processes


def run(folder: Path, *options: str, **modules: str) -> tuple[int, Sequence[str]]:
    """Run these modules of tests in two forks; return the exit code and the lines it prints."""
    (folder / "pytest.ini").touch()
    for name, text in modules.items():
        (folder / f"test_{name}.py").write_text(SERVICE + text)
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, "-p", PLUGIN, "--forks=2", "-rfs"],
        cwd=folder,
        env={
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            # pytest deletes old folders of temporary files as it ends: those of a whole suite, in
            # the folder that all runs share, take it a minute.
            "PYTEST_DEBUG_TEMPROOT": str(folder),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        output, _ = process.communicate(timeout=60)
    return process.returncode, output.splitlines()


def test_tests_of_all_modules_are_reported_with_what_they_printed(tmp_path: Path) -> None:
    code, lines = run(
        tmp_path,
        first="def test_passes(service): ...\ndef test_fails(): print('seen'); assert 1 == 2",
        second="@pytest.mark.skip(reason='no moon')\ndef test_skipped(): ...",
        third="def test_warns(): warnings.warn('odd')",
    )

    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 2 passed, 1 skipped, 1 warning in" in lines[-1]
    assert {"FAILED test_first.py::test_fails - assert 1 == 2", "seen"} <= {*lines}
    assert any(line.startswith("SKIPPED") and line.endswith("no moon") for line in lines)
    assert any(line.endswith("UserWarning: odd") for line in lines)
    assert (tmp_path / "ended").exists()
    assert [*tmp_path.glob("pytest-of-*")], "its temporary files are in a folder of other runs"


def test_a_test_whose_process_dies_has_failed_and_those_after_it_run(tmp_path: Path) -> None:
    code, lines = run(
        tmp_path,
        only="def test_before(): ...\ndef test_dies(): os._exit(3)\ndef test_after(service): ...",
    )

    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 2 passed in" in lines[-1]
    [failed_line] = [line for line in lines if line.startswith("FAILED")]
    assert failed_line.startswith("FAILED test_only.py::test_dies - the process that ran this test")
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize("ending", ["assert False", "os.kill(os.getppid(), signal.SIGINT)"])
def test_a_run_that_is_stopped_ends_the_services_of_its_tests(tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / "line")
    waiting = "def test_waits(service): open('line', 'w').close(); signal.pause()"
    ending = f"def test_ends(): open('line').read(); {ending}"

    code, lines = run(tmp_path, "-x", first=waiting, second=ending)

    assert code in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}, lines
    assert (tmp_path / "ended").read_text() == "in order"
