"""Names of processes, by which a dead process is recognized."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.runtime import liveness

NAMED = (
    "from antiphon.runtime import liveness;print(liveness.process_name('a'), flush=True); input()"
)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="deaths are certain on Linux only"
)


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [sys.executable, "-c", NAMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield process, process.stdout.readline().strip()
        process.kill()


def test_a_living_process_is_not_dead(other: tuple[subprocess.Popen[str], str]) -> None:
    assert not liveness.is_dead(liveness.process_name("a"))
    assert not liveness.is_dead(other[1])


def test_a_killed_process_is_dead(other: tuple[subprocess.Popen[str], str]) -> None:
    process, name = other
    process.kill()
    process.wait()

    assert liveness.is_dead(name)


def test_a_process_that_only_has_the_number_of_a_dead_one_is_another() -> None:
    pid, start_time, machine, serial = liveness.process_name("a").split("-")

    assert liveness.is_dead(f"{pid}-{int(start_time) - 1}-{machine}-{serial}")


@pytest.mark.parametrize("name", ["", "first", "999999-5-anotherhost-a", "999999-0-0-a", "1-2"])
def test_a_process_of_which_nothing_certain_is_known_is_not_dead(name: str) -> None:
    assert not liveness.is_dead(name)
