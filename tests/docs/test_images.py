"""The scripts that take the pictures of the documentation keep pace with what they drive."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[2] / "docs/images"


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(IMAGES.glob("*.py")), ids=lambda script: script.name)
def test_a_script_that_takes_pictures_finds_what_it_imports(script: Path) -> None:
    load = f"import runpy; runpy.run_path({str(script)!r})"

    completed = subprocess.run(
        [sys.executable, "-c", load], check=False, capture_output=True, text=True, timeout=60
    )

    assert completed.returncode == 0, completed.stderr
