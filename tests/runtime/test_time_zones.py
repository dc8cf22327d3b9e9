"""Time zones are there on every system, also on one without files of them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, zoneinfo
from antiphon.runtime.time_zones import find_zone
from antiphon.types.errors import InvalidRequest
print(zoneinfo.TZPATH, asyncio.run(find_zone("Europe/Berlin")))
try:
    asyncio.run(find_zone("Berlin"))
except InvalidRequest as error:
    print(error.details["hint"])
"""


@pytest.mark.processes
def test_zones_are_found_and_proposed_on_a_system_without_files_of_them() -> None:
    """As on Windows and in images without the tz database."""
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONTZPATH": ""},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert completed.stdout == "() Europe/Berlin\nDid you mean Europe/Berlin?\n", completed.stderr
