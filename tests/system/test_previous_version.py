"""Servers, clients and databases of the last released version work with those of this one (G27)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.services.postgres import Postgres
from tests.support.system.previous_version import Version, unpack

QUESTION = "When does the next LAX-JFK flight leave?"

CONVERSE = f"""
import sys
from antiphon import Client, TextDelta, tool

@tool
def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    "Times of the next flight between two airports."
    return {{"departure_time": "16:35"}}

with Client(sys.argv[1]) as client:
    events = client.converse({QUESTION!r}, tools=[get_flight_times])
    print("".join(event.text for event in events if isinstance(event, TextDelta)))
"""

ASK = f"""
import sys
from antiphon import Client, ToolSpec

with Client(sys.argv[1]) as client:
    client.create_assistant(name="Guide", model="demo", metadata={{"team": "red"}})
    client.upload_file(b"Gate A", "gates.txt")
    properties = {{"departure": {{"type": "string"}}, "arrival": {{"type": "string"}}}}
    parameters = {{"type": "object", "properties": properties, "required": list(properties)}}
    offered = ToolSpec(name="get_flight_times", description="Times.", parameters=parameters)
    for event in client.process(message={{"content": {QUESTION!r}}}, tools=[offered]):
        pass
    print(event.run_id, event.status)
"""

ANSWER = """
import sys
from antiphon import Client, TextDelta

with Client(sys.argv[1]) as client:
    run_id = sys.argv[2]
    [action] = client.list_actions(run_id=run_id, status="pending").data
    client.submit_tool_output(run_id, action.tool_call_id, "It leaves at 16:35.")
    events = client.process(run_id=run_id)
    print("".join(event.text for event in events if isinstance(event, TextDelta)))
"""

READ = """
import sys
from antiphon import Client

with Client(sys.argv[1]) as client:
    run = client.get_run(sys.argv[2])
    messages = client.list_messages(run.thread_id).data
    print(run.status, [message.role for message in messages])
"""

FIND = """
import sys
from antiphon import Client

with Client(sys.argv[1]) as client:
    print(sorted({(each.name, each.metadata["team"]) for each in client.list_assistants()}))
    print({client.download_file(each.id) for each in client.list_files()})
    client.update_thread(client.get_run(sys.argv[2]).thread_id, pinned=True)
    print([run.id for thread in client.list_threads(pinned=True)
           for run in client.list_runs(thread.id)] == [sys.argv[2]])
"""
"""Uses features that only this version has, with the data of the previous one."""


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return unpack(tmp_path_factory.mktemp("previous"))


@pytest.fixture
def current() -> Version:
    return Version()


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/antiphon.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return await postgres.create()


@pytest.fixture(params=["old-client", "old-server"])
def pair(
    request: pytest.FixtureRequest, previous: Version, current: Version
) -> tuple[Version, Version]:
    """Return the versions of client and server, one of which is the previous version."""
    return (previous, current) if request.param == "old-client" else (current, previous)


async def test_a_conversation_with_a_tool_goes_to_its_end(
    pair: tuple[Version, Version], database: str
) -> None:
    client, server = pair

    async with server.serve(database) as url:
        output = await client.run(CONVERSE, url)

    assert "16:35" in output


async def test_a_database_of_the_previous_version_is_opened_and_its_runs_go_on(
    previous: Version, current: Version, database: str
) -> None:
    async with previous.serve(database) as url:
        ended_run = (await previous.run(ASK, url)).split()[0]
        assert "16:35" in await previous.run(ANSWER, url, ended_run)
        waiting_run, status = (await previous.run(ASK, url)).split()
        assert status == "action_required"

    async with current.serve(database) as url:
        output = await current.run(ANSWER, url, waiting_run)
        states = [await current.run(READ, url, run) for run in (ended_run, waiting_run)]
        search_output = await current.run(FIND, url, ended_run)

    assert "16:35" in output
    assert search_output.splitlines() == ["[('Guide', 'red')]", "{b'Gate A'}", "True"]
    assert states == ["completed ['user', 'assistant', 'tool', 'assistant']"] * 2


async def test_servers_of_both_versions_work_on_one_database(
    previous: Version, current: Version, database: str
) -> None:
    async with previous.serve(database) as old, current.serve(database) as new:
        for ask_url, answer_url in ((old, new), (new, old)):
            run, _ = (await current.run(ASK, ask_url)).split()
            assert "16:35" in await previous.run(ANSWER, answer_url, run)
            states = {await current.run(READ, url, run) for url in (old, new)}
            assert states == {"completed ['user', 'assistant', 'tool', 'assistant']"}
