"""A server dies at a named place, always the same way: what was acknowledged is there once, and the
run goes on to its end. Guarantees G1, G2, G3, G5, G10 and G20 in their narrow windows.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.harness import final_state
from tests.support.harness.chaos import SHORT
from tests.support.harness.checks import judge
from tests.support.harness.clients import Person
from tests.support.harness.fleet import Fleet, Place
from tests.support.harness.own_runs import FROM_THE_QUEUE
from tests.support.harness.record import Record
from tests.support.harness.servers import Forge

DEADLINE = 60.0
Story = Callable[[Person], Coroutine[Any, Any, None]]

STORIES: dict[str, Story] = {
    "text": Person.chat,
    "tool": Person.tools,
    "process": Person.process,
    "cancel": Person.cancel,
}
# Between storing and sending: the windows in which events get lost or happen twice.
NARROW = [
    ("text", "message.after_commit"),
    ("text", "run.before_commit"),
    ("text", "append.after_commit@4"),
    ("text", "finalize.after_commit"),
    ("tool", "claim.after_commit"),
    ("tool", "finalize.before_commit"),
    ("tool", "output.before_commit"),
    ("tool", "output.after_commit"),
    ("cancel", "cancel.after_commit"),
]
CHANGES = ("thread", "message", "run", "ask", "claim", "append", "finalize", "output")
COMMITS = [f"{what}.{when}_commit" for what in CHANGES for when in ("before", "after")]
DRIVING = [
    *("turn.before_request", "turn.after_first_chunk", "append.after_wake", "finalize.before_wake"),
    *("replay.after_subscribe", "replay.middle", "replay.before_live"),
]
ALL = [
    (story, point, effect, number)
    for story in STORIES
    for point in COMMITS + DRIVING
    for effect in ("kill", "raise")
    for number in (1, 2, 5)
    if (point, effect) != ("append.after_wake", "raise")  # a callback has no caller
]
# A server that takes over dies too.
SECOND = ["takeover.after_commit", "expire.before_commit", "expire.after_commit"]
SECOND += ["sweep.after_commit", "claim.before_commit", "beat.before_commit", "lease.before_beat"]


async def run_story(story: str, failpoints: list[str], folder: Path, **settings: str) -> Fleet:
    """Run the story while servers die at their failpoints; judge all of it."""
    record = Record()
    database = folder / "antiphon.db"
    environment = {**SHORT, "ANTIPHON_DATABASE": f"sqlite:///{database}", **settings}
    async with Forge() as forge:
        places = [Place(forge, environment)]
        fleet = Fleet(places, Random(1), lambda: failpoints.pop(0) if failpoints else "")
        await fleet.start()
        final_state.record_transitions(database)
        person = Person("p", Random(3), lambda: fleet.urls, record)
        async with asyncio.timeout(DEADLINE):
            await STORIES[story](person)
            while final_state.list_unfinished_runs(database):
                await asyncio.sleep(0.05)
        await fleet.stop()
    assert not fleet.broken, fleet.broken[0]
    verdict = judge(record, final_state.load(database))
    assert not any(verdict.numbers.values()), str(verdict)
    return fleet


@pytest.mark.parametrize(("story", "point"), NARROW)
async def test_a_server_that_dies_in_a_narrow_window_loses_nothing(
    story: str, point: str, tmp_path: Path
) -> None:
    name, _, number = point.partition("@")

    fleet = await run_story(story, [f"{name}:kill@{number or 1}"], tmp_path, **_settings_for(name))

    assert fleet.deaths == 1


@pytest.mark.soak
@pytest.mark.parametrize(("story", "point", "effect", "number"), ALL)
async def test_every_failpoint_is_lived_through(
    story: str, point: str, effect: str, number: int, tmp_path: Path
) -> None:
    await run_story(story, [f"{point}:{effect}@{number}"], tmp_path, **_settings_for(point))


def _settings_for(point: str) -> dict[str, str]:
    return FROM_THE_QUEUE if point.startswith("claim.") else {}


@pytest.mark.parametrize("point", SECOND[:1])
async def test_a_server_that_dies_while_it_takes_over_loses_nothing(
    point: str, tmp_path: Path
) -> None:
    fleet = await run_story("text", ["append.after_commit:kill@3", f"{point}:kill"], tmp_path)

    assert fleet.deaths == 2


@pytest.mark.soak
@pytest.mark.parametrize("point", SECOND)
@pytest.mark.parametrize("story", ["text", "tool"])
async def test_every_failpoint_of_a_takeover_is_lived_through(
    story: str, point: str, tmp_path: Path
) -> None:
    failpoints = ["append.after_commit:kill@3", f"{point}:kill"]

    await run_story(story, failpoints, tmp_path, ANTIPHON_DEMO_DELAY="0.02")


async def test_a_server_that_dies_while_it_gives_a_run_back_loses_nothing(tmp_path: Path) -> None:
    database = tmp_path / "antiphon.db"
    settings = {**SHORT, "ANTIPHON_DATABASE": f"sqlite:///{database}"}
    dying_settings = {"FAILPOINTS": "drain.before_release:kill", "ANTIPHON_SHUTDOWN_TIMEOUT": "0.1"}
    record = Record()
    async with Forge() as forge, asyncio.timeout(DEADLINE):
        first = await forge.start({**settings, **dying_settings, "ANTIPHON_DEMO_DELAY": "0.2"})
        urls = [await first.listening()]
        person = Person("p", Random(3), lambda: urls, record)
        run_id = await person.begin_process({"message": {"content": "Tell me a long story."}})
        first.send(signal.SIGTERM)
        await first.wait()
        second = await forge.start(settings)
        urls[:] = [await second.listening()]
        await person.read_turn(run_id)
        await second.stop_cleanly()

    verdict = judge(record, state := final_state.load(database))

    assert not any(verdict.numbers.values()), str(verdict)
    assert state.runs[run_id]["status"] == "completed"
