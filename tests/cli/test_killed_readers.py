"""A program that is killed between two events goes on in another with the next, tools run once."""

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
log, stop, *left = sys.argv[1:]

def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    with open(log, "a") as written:
        print(departure, arrival, file=written)
    return {"departs": "09:05"}

with Client() as client:
    asked = {"run_id": left[0], "after": int(left[1])} if left else {}
    text = None if left else "Flight times from LAX to JFK. Ask twice, in parallel."
    reading = client.converse(text, tools=[get_flight_times], **asked)
    for event in reading:
        print(reading.run_id, reading.last_event, events.encode(event).decode(), flush=True)
        if reading.last_event == int(stop):
            os._exit(9)
    whole = [json.loads(events.encode(each)) for each in client.events(reading.run_id)]
    print(json.dumps([reading.status, whole]))
"""


def play(place: Place, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=place.root,
        env=place.environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode in (0, 9), done.stderr
    return done.stdout.splitlines()


def kill_after(place: Place, number: int) -> bool:
    """Kill one after this event, go on in another; returns whether the run was longer."""
    log = place.root / f"calls-{number}"
    before = play(place, str(log), str(number))
    if before[-1].startswith("["):
        return False
    run_id, last, _ = before[-1].split(" ", 2)
    assert int(last) == number
    *after, end = play(place, str(log), "0", run_id, last)

    status, whole = json.loads(end)
    heard = [json.loads(line.split(" ", 2)[2]) for line in (*before, *after)]
    assert heard == whole, number
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
    """The runtime dies with its program: what it was at, the next one takes over."""
    number = 1
    while kill_after(place, number):
        number += 1

    assert number > 10
