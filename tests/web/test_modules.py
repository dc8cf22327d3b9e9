"""The page's modules that need no page: each file of `js/` is run by Node's own test runner."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_a_module_does_what_its_tests_say(file: Path, node: Path) -> None:
    done = subprocess.run(
        [node, "--test", "--test-reporter=tap", file],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
