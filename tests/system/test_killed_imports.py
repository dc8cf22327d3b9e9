"""An import that is killed at any commit, and run again until it is through."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.support.cli.place import SECONDS, Place

POINTS = [
    *(f"import.before_commit:kill@{number}" for number in (1, 2, 3)),
    *(f"import.after_commit:kill@{number}" for number in (1, 3)),
    "finish_import.before_commit:kill",
    "finish_import.after_commit:kill",
    "transfer.before_commit:kill",
    "transfer.after_commit:kill",
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_import_that_is_killed_anywhere_goes_on_when_it_is_run_again(place: Place) -> None:
    for number in range(3):
        assert place.run("ask", f"Hello {number}").returncode == 0
    assert place.run("owners", "export", "local", "--output", "all.zip").returncode == 0
    original = state(place, {})
    for number, point in enumerate(POINTS):
        environ = {"ANTIPHON_DATABASE": f"sqlite:///{place.root}/{number}.db"}

        kill(place, {**environ, "FAILPOINTS": point})
        second = place.run("owners", "import", "all.zip", environ=environ)
        third = place.run("owners", "import", "all.zip", environ=environ)

        assert second.returncode == 0, second.stderr
        assert "nothing was changed" in third.stderr
        assert state(place, environ) == original, point


def kill(place: Place, environ: dict[str, str]) -> None:
    """Run an import that dies at a failpoint."""
    with place.start("owners", "import", "all.zip", environ=environ) as process:
        _, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL, stderr


def state(place: Place, environ: dict[str, str]) -> object:
    """Return the objects of an owner, and their texts."""
    owners = json.loads(place.run("owners", "list", "--json", environ=environ).stdout)
    threads = json.loads(place.run("threads", "list", "--json", environ=environ).stdout)
    transcripts = [
        place.run("threads", "show", thread["id"], environ=environ).stdout for thread in threads
    ]
    return owners, threads, transcripts
