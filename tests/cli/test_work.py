"""`antiphon work`: a worker runs the calls of any run until it is stopped."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon import Client
from antiphon.api.operations import NewMessage
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Action, Run, Status
from tests.support.cli.place import Place
from tests.support.client.four_ways import SETTINGS, serve_in_thread

QUESTION = "When does the next LAX-JFK flight leave?"
PARAMETERS = {
    "type": "object",
    "properties": {"departure": {"type": "string"}, "arrival": {"type": "string"}},
    "required": ["departure", "arrival"],
}
SPEC = ToolSpec("get_flight_times", "Flight times.", PARAMETERS)
FLIGHTS = '''
import time
from pathlib import Path

from antiphon import ToolContext, tool


@tool
def get_flight_times(departure: str, arrival: str, ctx: ToolContext) -> str:
    """Flight times."""
    with open("ran", "a") as ran:
        ran.write(f"{ctx.attempt}\\n")
    while Path(f"hang-{ctx.attempt}").exists():
        time.sleep(0.01)
    return "09:05"
'''


@pytest.fixture
def server() -> Iterator[str]:
    with serve_in_thread(SETTINGS) as url:
        yield url


@pytest.fixture
def client(server: str) -> Iterator[Client]:
    with Client(server) as client:
        yield client


@pytest.fixture
def flights(place: Place, server: str) -> Place:
    (place.root / "flights.py").write_text(FLIGHTS)
    place.environ["ANTIPHON_SERVER"] = server
    return place


def hand_off(client: Client) -> Run:
    events = client.process(message=NewMessage(QUESTION), tools=(SPEC,), metadata={"team": "red"})
    list(events)
    return client.get_run(events.run_id or "")


def wait_for_end(client: Client, run: Run) -> Status:
    list(client.events(run.id))
    return client.get_run(run.id).status


def get_action(client: Client, run: Run) -> Action:
    return client.list_actions(run.id).data[0]


def wait_for(path: Path, lines: int) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or len(path.read_text().splitlines()) < lines:
        assert time.monotonic() < deadline
        time.sleep(0.01)


WORK = ("work", "--tools", "flights.py", "--no-mcp")


def test_a_worker_answers_what_waits_and_says_so(flights: Place, client: Client) -> None:
    run = hand_off(client)

    result = flights.run(*WORK, "--until-idle", "--name", "mine")

    assert (result.returncode, result.stdout) == (0, "")
    assert "antiphon: mine waits for calls at http" in result.stderr
    assert "antiphon: get_flight_times runs (call_" in result.stderr
    assert "get_flight_times is done" in result.stderr
    assert wait_for_end(client, run) is Status.COMPLETED
    assert get_action(client, run).worker == "mine"


def test_a_worker_takes_only_calls_of_the_runs_it_is_for(flights: Place, client: Client) -> None:
    run = hand_off(client)

    result = flights.run(*WORK, "--until-idle", "--quiet", "--metadata", "team=blue")

    assert (result.returncode, result.stderr) == (0, "")
    assert get_action(client, run).status == "pending"


def test_a_worker_that_is_terminated_lets_its_tool_end(flights: Place, client: Client) -> None:
    run = hand_off(client)
    (flights.root / "hang-1").touch()
    with flights.start(*WORK, "--grace", "30") as worker:
        wait_for(flights.root / "ran", 1)
        worker.send_signal(signal.SIGTERM)
        (flights.root / "hang-1").unlink()
        _, err = worker.communicate(timeout=60)

    assert worker.returncode == 0
    assert "antiphon: ended" in err.decode()
    assert wait_for_end(client, run) is Status.COMPLETED


def test_a_worker_that_is_terminated_gives_back_what_does_not_end(
    flights: Place, client: Client
) -> None:
    run = hand_off(client)
    (flights.root / "hang-1").touch()
    with flights.start(*WORK, "--grace", "0") as worker:
        wait_for(flights.root / "ran", 1)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)

    action = get_action(client, run)
    assert (action.status, action.worker, action.claimed_until) == ("pending", None, None)


def test_the_call_of_a_killed_worker_is_run_by_another_as_a_second_attempt(
    flights: Place, client: Client
) -> None:
    run = hand_off(client)
    (flights.root / "hang-1").touch()
    with flights.start(*WORK, "--lease", "1") as first:
        wait_for(flights.root / "ran", 1)
        first.kill()
    with flights.start(*WORK) as second:
        end = wait_for_end(client, run)
        second.terminate()

    assert end is Status.COMPLETED
    assert (flights.root / "ran").read_text() == "1\n2\n"
    assert get_action(client, run).attempt == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--no-mcp",), "a worker needs tools"),
        ((*WORK[1:], "--metadata", "red"), "wanted KEY=VALUE, got 'red'"),
        ((*WORK[1:], "--lease", "long"), "wanted seconds from 1 to 3600"),
        ((*WORK[1:], "--lease", "0"), "wanted seconds from 1 to 3600"),
        (("--tools", "nothing.py", "--no-mcp"), "cannot be loaded"),
    ],
)
def test_what_a_worker_cannot_use_is_named(
    flights: Place, arguments: tuple[str, ...], problem: str
) -> None:
    result = flights.run("work", *arguments)

    assert result.returncode in (2, 5)
    assert problem in result.stderr


def test_a_worker_runs_the_hooks_of_its_user(flights: Place, client: Client) -> None:
    settings_file = flights.root / "config/antiphon/antiphon.toml"
    settings_file.parent.mkdir(parents=True)
    settings_file.write_text(
        '[[hooks]]\nwhen = "before"\ncommand = ["/bin/sh", "-c", "echo not today >&2; exit 1"]\n'
    )
    run = hand_off(client)

    result = flights.run("work", "--tools", "flights.py", "--no-mcp", "--until-idle")

    assert (result.returncode, (flights.root / "ran").exists()) == (0, False)
    assert "get_flight_times was refused: A hook does not allow this call: not today" in (
        result.stderr
    )
    assert "not today" in str(get_action(client, run).output)
    assert wait_for_end(client, run) is Status.COMPLETED
