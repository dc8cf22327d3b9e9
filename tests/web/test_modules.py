"""The page's modules that need no page: Node runs the tests in each file of `js/`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_a_module_does_what_its_tests_say(file: Path, node: Path) -> None:
    completed = subprocess.run(
        [node, file],  # by `--test` it would start another Node for the file
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert completed.returncode == 0, completed.stdout[-6000:] + completed.stderr[-2000:]
