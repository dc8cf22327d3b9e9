"""Workers for tools that are killed in the middle of calls. Guarantee G20: one output for each."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from antiphon import Client
from antiphon.api.operations import NewMessage
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Status
from tests.support.cli.place import Place
from tests.support.client.four_ways import SETTINGS, serve_in_thread

SPEC = ToolSpec(
    "get_flight_times",
    "Flight times.",
    {
        "type": "object",
        "properties": {"departure": {"type": "string"}, "arrival": {"type": "string"}},
        "required": ["departure", "arrival"],
    },
)
TOOL = '''
import os
import time

from antiphon import ToolContext, tool


@tool
def get_flight_times(departure: str, arrival: str, ctx: ToolContext) -> str:
    """Flight times."""
    line = f"{ctx.run_id} {ctx.attempt}\\n".encode()
    os.write(os.open("ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT), line)
    time.sleep(0.1)  # long enough to be killed in
    return f"attempt {ctx.attempt}"
'''
WORK = ("work", "--tools", "flights.py", "--no-mcp", "--lease", "1", "--quiet")
RUNS = 12
KILLS = 6


def list_calls(place: Place) -> list[list[str]]:
    """Return run and attempt of each call that was carried out, in order."""
    file = place.root / "ran"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def test_calls_of_workers_that_are_killed_are_answered_once_by_others(tmp_path: Path) -> None:
    place, rng = Place(tmp_path), random.Random(20)
    (tmp_path / "flights.py").write_text(TOOL)
    with serve_in_thread(SETTINGS) as url, Client(url) as client:
        place.environ["ANTIPHON_SERVER"] = url
        question = NewMessage("When does the next LAX-JFK flight leave?")
        streams = [
            client.process(message=question, tools=(SPEC,), background=False) for _ in range(RUNS)
        ]
        for events in streams:
            list(events)
        run_ids = [events.run_id or "" for events in streams]
        workers: list[subprocess.Popen[bytes]] = [place.start(*WORK) for _ in range(2)]
        try:
            for kill in range(KILLS):
                while len(list_calls(place)) <= kill:  # so that a worker is in a call
                    assert all(worker.poll() is None for worker in workers)
                    time.sleep(0.01)
                victim = rng.choice(workers)
                victim.kill()
                victim.communicate()
                workers[workers.index(victim)] = place.start(*WORK)
            for run_id in run_ids:
                list(client.events(run_id))
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()
        actions = [client.list_actions(run_id).data for run_id in run_ids]
        statuses = {client.get_run(run_id).status for run_id in run_ids}

    assert statuses == {Status.COMPLETED}
    assert [len(each) for each in actions] == [1] * RUNS
    for (action,) in actions:
        attempts = [
            int(attempt) for run_id, attempt in list_calls(place) if run_id == action.run_id
        ]
        assert len(attempts) == len(set(attempts)), "no attempt is carried out twice"
        assert action.output == f"attempt {action.attempt}"
        assert action.attempt == max(attempts)
