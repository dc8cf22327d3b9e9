"""Processes of a server whose loops stand still are found, whatever else stood still meanwhile."""

from __future__ import annotations

import pytest

from antiphon.server.monitoring import CHECKS, StallWatch

TIMEOUT = 60.0
LOOK = TIMEOUT / CHECKS


class WatchedLoops:
    """Loops that turn or stand still, and a supervisor that looks at them as time passes."""

    def __init__(self, *loops: int) -> None:
        self.now = 1_000.0
        self.turns = dict.fromkeys(loops, 0)
        self.stall_watch = StallWatch(TIMEOUT, lambda: self.now)

    def watch_for(self, seconds: float, *, standing: tuple[int, ...] = ()) -> set[int]:
        """Look as often as a supervisor does for so long; return the loops that have stalled."""
        stalled: set[int] = set()
        end = self.now + seconds
        while self.now < end:
            self.now += LOOK
            for loop in self.turns.keys() - set(standing):
                self.turns[loop] += 1
            stalled |= set(self.stall_watch.find_stalled(self.turns))
        return stalled

    def sleep(self, seconds: float) -> None:
        """Let time pass in which nobody does anything: neither the loops nor the supervisor."""
        self.now += seconds


def test_a_loop_without_a_turn_for_the_whole_time_has_stalled_and_no_other() -> None:
    watched_loops = WatchedLoops(1, 2)

    assert watched_loops.watch_for(TIMEOUT - LOOK, standing=(2,)) == set()
    assert watched_loops.watch_for(2 * LOOK, standing=(2,)) == {2}


def test_a_loop_that_turns_now_and_then_has_not_stalled() -> None:
    watched_loops = WatchedLoops(1)

    for _ in range(10):
        assert watched_loops.watch_for(TIMEOUT - LOOK, standing=(1,)) == set()
        assert watched_loops.watch_for(LOOK) == set()


@pytest.mark.parametrize("asleep", [TIMEOUT / 2, TIMEOUT, 100 * TIMEOUT])
def test_time_in_which_the_supervisor_stood_still_too_does_not_count(asleep: float) -> None:
    watched_loops = WatchedLoops(1)
    watched_loops.watch_for(TIMEOUT - LOOK, standing=(1,))

    watched_loops.sleep(asleep)

    assert watched_loops.watch_for(TIMEOUT - LOOK, standing=(1,)) == set()
    assert watched_loops.watch_for(2 * LOOK, standing=(1,)) == {1}


def test_a_process_that_was_started_in_the_place_of_another_has_the_whole_time() -> None:
    watched_loops = WatchedLoops(1)
    watched_loops.watch_for(TIMEOUT - LOOK, standing=(1,))

    watched_loops.stall_watch.find_stalled({})  # it has died; the next one does not serve yet

    assert watched_loops.watch_for(TIMEOUT - LOOK, standing=(1,)) == set()


def test_without_a_timeout_nothing_stalls() -> None:
    watch = StallWatch(0, lambda: 0.0)

    assert list(watch.find_stalled({1: 0})) == []
    assert watch.pause is None
