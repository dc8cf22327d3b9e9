"""A stream that was cut goes on from the next event, on any server: G14, and G13 in passing."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing, closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.harness import raw_http
from tests.support.harness.raw_http import ServerEvent
from tests.support.harness.servers import Server

TOOL = {
    "name": "get_flight_times",
    "parameters": {
        "type": "object",
        "properties": {"departure": {"type": "string"}, "arrival": {"type": "string"}},
        "required": ["departure", "arrival"],
    },
}
QUESTION = "When do flights leave from LAX to JFK? Ask for both at once."
DEADLINE = 60.0


async def run_two_turns(url: str) -> str:
    """Run a turn with reasoning and two calls, and a turn with the answer; return the run's id."""
    body = {"message": {"content": QUESTION}, "tools": [TOOL]}
    turn_events = await raw_http.read_turn(url, "/v1/process", body)
    run_id = str(turn_events[0].json["run_id"])
    (manifest,) = [each.json for each in turn_events if each.type == "action.required"]
    assert len(manifest["actions"]) == 2
    for action in manifest["actions"]:
        output = {"run_id": run_id, "tool_call_id": action["tool_call_id"], "output": "16:35 ✈"}
        assert (
            await raw_http.send_request(url, "POST", "/v1/submit_tool_output", output)
        ).status == 200
    await raw_http.read_turn(url, "/v1/process", {"run_id": run_id})
    return run_id


@pytest.fixture
async def pair(serve: Any) -> tuple[Server, Server]:
    return await serve(ANTIPHON_DEMO_DELAY="0"), await serve(ANTIPHON_DEMO_DELAY="0")


async def test_a_finished_run_goes_on_from_every_number_on_either_server(
    pair: tuple[Server, Server],
) -> None:
    run_id = await run_two_turns(pair[0].url)
    all_events = await raw_http.follow_run(pair[0].url, run_id)

    assert [event.number for event in all_events] == list(range(1, len(all_events) + 1))
    for number in range(len(all_events) + 1):
        assert (
            await raw_http.follow_run(pair[number % 2].url, run_id, number) == all_events[number:]
        )


async def test_a_running_run_goes_on_from_wherever_it_was_cut_on_either_server(
    serve: Any,
) -> None:
    pair = [await serve(ANTIPHON_DEMO_DELAY="0.006667") for _ in range(2)]
    body = {"message": {"content": "300 words, please"}, "background": True}
    run = (await raw_http.send_request(pair[0].url, "POST", "/v1/process", body)).json

    async with asyncio.timeout(DEADLINE):
        readers = [_cut_often(pair, run["id"], Random(seed)) for seed in range(6)]
        readings = await asyncio.gather(*readers)

    all_events = await raw_http.follow_run(pair[1].url, run["id"])
    assert len(all_events) > 300
    assert all(pieces == all_events for pieces in readings)


async def _cut_often(servers: list[Server], run_id: str, random: Random) -> list[ServerEvent]:
    """Return all events, read in pieces of a few, each from the other server."""
    received: list[ServerEvent] = []
    turn = 0
    while not received or received[-1].type != "turn.ended":
        turn += 1
        last = str(received[-1].number if received else 0)
        remaining = random.randint(1, 25)
        async with (
            raw_http.open_request(
                servers[turn % 2].url,
                "GET",
                f"/v1/runs/{run_id}/events",
                headers={"Last-Event-ID": last},
            ) as stream,
            aclosing(stream.events()) as events,
        ):
            async for event in events:
                received.append(event)
                remaining -= 1
                if not remaining:
                    break
    return received


async def test_a_stream_cut_at_any_byte_is_joined_byte_for_byte(
    pair: tuple[Server, Server],
) -> None:
    run_id = await run_two_turns(pair[0].url)
    all_bytes = await _bytes(pair[0].url, run_id, 0)
    later_bytes = [
        await _bytes(pair[number % 2].url, run_id, number)
        for number in range(all_bytes.count(b"\n\n") + 1)
    ]

    for cut in range(len(all_bytes) + 1):
        prefix = (
            all_bytes[: all_bytes.rfind(b"\n\n", 0, cut) + 2] if b"\n\n" in all_bytes[:cut] else b""
        )
        assert prefix + later_bytes[prefix.count(b"\n\n")] == all_bytes


async def _bytes(url: str, run_id: str, after: int) -> bytes:
    query = {"after": after}
    answer = await raw_http.send_request(url, "GET", f"/v1/runs/{run_id}/events", query=query)
    assert answer.status == 200
    return answer.body


@pytest.mark.parametrize("number", ["9999", "-1", "1.5", "abc", "", " ", "0x1", "1" * 40, "١"])
async def test_a_number_that_was_never_given_out_is_refused(
    pair: tuple[Server, Server], number: str
) -> None:
    run_id = await run_two_turns(pair[0].url)

    headers = {"Last-Event-ID": number.encode().decode("latin-1")}
    path = f"/v1/runs/{run_id}/events"
    answer = await raw_http.send_request(pair[1].url, "GET", path, headers=headers)

    assert (answer.status, answer.json["code"]) == (400, "invalid_event_id"), answer.body


async def test_the_last_number_is_answered_by_the_end(pair: tuple[Server, Server]) -> None:
    run_id = await run_two_turns(pair[0].url)
    last = len(await raw_http.follow_run(pair[0].url, run_id))

    assert await raw_http.follow_run(pair[1].url, run_id, last) == []


async def test_events_past_retention_are_gone_and_say_where_the_words_are(
    serve: Any, tmp_path: Path
) -> None:
    first = await serve(ANTIPHON_DEMO_DELAY="0")
    run_id = await run_two_turns(first.url)
    all_events = await raw_http.follow_run(first.url, run_id)
    await first.stop_cleanly()
    with closing(sqlite3.connect(tmp_path / "antiphon.db")) as connection, connection:
        connection.execute("UPDATE runs SET ended_at = ended_at - 120000")
    second = await serve(ANTIPHON_EVENT_RETENTION="60")

    async with asyncio.timeout(DEADLINE):
        path = f"/v1/runs/{run_id}/events"
        while (answer := await raw_http.send_request(second.url, "GET", path)).status == 200:
            await asyncio.sleep(0.05)

    assert (answer.status, answer.json["code"]) == (410, "event_expired")
    assert "/v1/messages" in answer.json["hint"]
    assert await raw_http.follow_run(second.url, run_id, len(all_events)) == []
    run = (await raw_http.send_request(second.url, "GET", f"/v1/runs/{run_id}")).json
    query = {"thread_id": run["thread_id"]}
    messages = (await raw_http.send_request(second.url, "GET", "/v1/messages", query=query)).json[
        "data"
    ]
    assert [message["role"] for message in messages] == [
        *("user", "assistant", "tool", "tool", "assistant"),
    ]
