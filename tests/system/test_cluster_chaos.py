"""Three servers behind a balancer, and all troubles of theirs, PostgreSQL, Redis and the network.

Guarantees G1, G2, G3, G5, G6, G8, G9, G10, G11, G13, G15, G19, G20, G28 and G30 on a cluster, each
by `harness.checks`. The clocks of two of the three servers are wrong by ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.harness.checks import Verdict, find_taken_runs, judge
from tests.support.harness.cluster import SETTINGS, Plan, Result, Trouble, rounds
from tests.support.harness.final_state import FinalState
from tests.support.harness.own_runs import FROM_THE_QUEUE
from tests.support.harness.record import Record
from tests.support.harness.troubles import (
    OF_OTHERS,
    OF_THE_DATABASE,
    at_once,
    redis_flushed,
    redis_killed,
    server_frozen,
    server_killed,
    skewed_clock_environ,
)
from tests.support.services import postgres, redis

AHEAD, BEHIND = skewed_clock_environ("+10m"), skewed_clock_environ("-10m")
BUGS = {
    # Two workers that look at the same moment both see the run free.
    "claims carelessly": ("double_claim", "in epoch", redis_flushed),
    # Events that were sent before they were stored are lost with their process.
    "acknowledges early": ("lost", "", server_killed),
    # An attempt that is killed between the two transactions is repeated by the next one.
    "keeps keys apart": ("dup", "", server_killed),
    # An event that a reader got is not in the log, and its number is used again.
    "tells before it keeps": ("broken", "was heard", server_killed),
    # A worker that stood still writes its events between those of the next one, whose readers got
    # other numbers than the log has.
    "appends for anybody": ("broken", "", server_frozen),
    # With a clock that is ten minutes ahead, calls expire before anybody has answered them.
    "sweeps by its own clock": ("broken", "expired too early", redis_flushed),
}
QUICKLY_FOUND = ("claims carelessly",)
HUNT_ROUNDS = 40

pytestmark = [
    pytest.mark.skipif(postgres.programs() is None, reason="NOT RUN, FOR POSTGRESQL IS NOT HERE"),
    pytest.mark.skipif(redis.program() is None, reason="NOT RUN, FOR REDIS IS NOT HERE"),
]
wrong_clocks = pytest.mark.skipif(
    AHEAD is None, reason="NOT RUN, FOR FAKETIME IS NOT HERE (apt-get install faketime)"
)


def clocks() -> Sequence[dict[str, str]]:
    """Return where each server takes its time from; all are right where none can be put wrong."""
    return ({}, AHEAD or {}, BEHIND or {})


def single_troubles(seed: int) -> Iterator[Trouble]:
    """Yield every trouble once, in some order; then again in another."""
    rng = Random(seed)
    while True:
        yield from rng.sample([*OF_THE_DATABASE, *OF_OTHERS], 10)


def paired_troubles(seed: int) -> Iterator[Trouble]:
    """Yield every trouble, two of them at once; then again, paired otherwise."""
    rng = Random(seed)
    while True:
        yield from map(at_once, rng.sample(OF_THE_DATABASE, 5), rng.sample(OF_OTHERS, 5))


def check_nothing_is_wrong(result: Result) -> None:
    assert not any(result.verdict.numbers.values()), str(result)


async def test_a_cluster_keeps_its_promises_through_ten_troubles(
    open_folder: Path, tmp_path: Path
) -> None:
    plan = Plan(seed=1, troubles=[*islice(paired_troubles(1), 5)], surroundings=clocks(), people=4)

    result = await rounds(plan, open_folder, tmp_path)

    check_nothing_is_wrong(result)
    assert len(result.record.entries) > 100, str(result)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
async def test_a_cluster_keeps_its_promises_through_two_hundred_troubles(
    seed: int, open_folder: Path, tmp_path: Path
) -> None:
    troubles = islice(single_troubles(seed), 20) if seed % 2 else islice(paired_troubles(seed), 10)
    plan = Plan(seed=seed, troubles=[*troubles], surroundings=clocks(), people=8)

    check_nothing_is_wrong(await rounds(plan, open_folder, tmp_path))


def judge_calm_servers(record: Record, final: FinalState) -> Verdict:
    """Judge as ever; where no server has any trouble, no run may be taken from one."""
    verdict = judge(record, final)
    return replace(verdict, broken=[*verdict.broken, *find_taken_runs(final)])


@wrong_clocks
@pytest.mark.soak
async def test_servers_whose_clocks_are_wrong_take_no_run_from_another(
    open_folder: Path, tmp_path: Path
) -> None:
    troubles = (redis_flushed, redis_killed) * 25
    plan = Plan(seed=4, troubles=troubles, surroundings=clocks(), judge=judge_calm_servers)

    check_nothing_is_wrong(await rounds(plan, open_folder, tmp_path))


def hunt_parameters() -> Iterator[Any]:
    """Yield the bugs, each with the marks that say when it is hunted."""
    for bug in BUGS:
        marks = [] if bug in QUICKLY_FOUND else [pytest.mark.soak]
        yield pytest.param(bug, marks=[*marks, wrong_clocks] if "clock" in bug else marks)


@pytest.mark.slow
@pytest.mark.parametrize("bug", [*hunt_parameters()])
async def test_a_harness_that_could_not_fail_would_prove_nothing_of_a_cluster(
    bug: str, open_folder: Path, tmp_path: Path
) -> None:
    kind, word, trouble = BUGS[bug]
    plan = Plan(
        seed=7,
        troubles=[trouble] * HUNT_ROUNDS,
        entry="bugs:main",
        settings={**SETTINGS, **FROM_THE_QUEUE, "BUG": bug},
        surroundings=clocks() if "clock" in bug else ({}, {}),
    )

    result = await rounds(plan, open_folder, tmp_path)

    complaints = getattr(result.verdict, kind)
    assert any(word in complaint for complaint in complaints), str(result)
