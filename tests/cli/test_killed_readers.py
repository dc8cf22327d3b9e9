"""After a program is killed between two events, another one reads on; each tool runs once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.cli.place import SECONDS, Place

PROGRAM = """
import json, os, sys
from antiphon import Client
from antiphon.types import events
log, stop, *rest = sys.argv[1:]

def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    with open(log, "a") as calls:
        print(departure, arrival, file=calls)
    return {"departs": "09:05"}

with Client() as client:
    position = {"run_id": rest[0], "after": int(rest[1])} if rest else {}
    text = None if rest else "Flight times from LAX to JFK. Ask twice, in parallel."
    reading = client.converse(text, tools=[get_flight_times], **position)
    for event in reading:
        print(reading.run_id, reading.last_event, events.encode(event).decode(), flush=True)
        if reading.last_event == int(stop):
            os._exit(9)
    stored = [json.loads(events.encode(each)) for each in client.events(reading.run_id)]
    print(json.dumps([reading.status, stored]))
"""


def run_program(place: Place, *words: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=place.root,
        env=place.environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode in (0, 9), result.stderr
    return result.stdout.splitlines()


def kill_after(place: Place, number: int) -> bool:
    """Kill one program after this event and read on in another; False if the run ended before."""
    log = place.root / f"calls-{number}"
    before = run_program(place, str(log), str(number))
    if before[-1].startswith("["):
        return False
    run_id, last, _ = before[-1].split(" ", 2)
    assert int(last) == number
    *after, end = run_program(place, str(log), "0", run_id, last)

    status, stored_events = json.loads(end)
    received_events = [json.loads(line.split(" ", 2)[2]) for line in (*before, *after)]
    assert received_events == stored_events, number
    assert status == "completed", number
    assert log.read_text() == "LAX JFK\n" * 2, number
    return True


@pytest.mark.soak
def test_before_a_server(place: Place) -> None:
    with place.start("serve", "--port", "0", stderr=subprocess.PIPE) as server:
        assert server.stderr is not None
        line = next(line for line in server.stderr if b"listening on" in line)
        place.environ["ANTIPHON_SERVER"] = line.split()[-1].decode()
        try:
            number = 1
            while kill_after(place, number):
                number += 1
        finally:
            server.terminate()
            server.communicate(timeout=SECONDS)

    assert number > 10


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_with_a_runtime_of_its_own(place: Place) -> None:
    """The runtime dies with its program; the next program takes over its run."""
    number = 1
    while kill_after(place, number):
        number += 1

    assert number > 10
