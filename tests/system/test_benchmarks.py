"""Every benchmark runs in its smallest form. No test asserts a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import fork_server
from tests.support.web.browser import find_chromium

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read in /proc")

ROOT = Path(__file__).parents[2]
CHEAPEST = "context"
OTHERS = ("engine", "readers", "first", "handoff", "terminal")
IN_A_BROWSER = ("page",) if find_chromium() else ()
UNDER_LOAD = ("flood", "stalled", "turns")
LONG = ("start", "paced", "openai", "web", "cluster", "search", "growth", "capacity")


@pytest.mark.parametrize(
    "name",
    [
        CHEAPEST,
        *(pytest.param(name, marks=pytest.mark.slow) for name in (*OTHERS, *UNDER_LOAD)),
        *(pytest.param(name, marks=pytest.mark.soak) for name in (*IN_A_BROWSER, *LONG)),
    ],
)
def test_a_benchmark_prints_and_writes_what_it_measured(name, tmp_path):
    file = tmp_path / "results.json"

    completed = subprocess.run(
        [*fork_server.command("benchmarks.__main__:main"), name, "--smoke", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert completed.returncode == 0, completed.stderr
    (result,) = json.loads(file.read_text())["results"]
    assert result["rows"]
    assert all(row["what"] in completed.stdout for row in result["rows"])
