"""A server that dies while it starts an occurrence of a schedule: there is one run in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.harness import raw_http
from tests.support.server.served import eventually


@pytest.mark.parametrize("point", ["start_schedule.before_commit", "start_schedule.after_commit"])
async def test_an_occurrence_is_started_once_whenever_its_server_is_killed(
    serve: Callable[..., Any], point: str
) -> None:
    settings = {"ANTIPHON_DEMO_DELAY": "0"}
    first = await serve(**settings, FAILPOINTS=f"{point}:kill")
    await create_schedule(first.url)
    await first.end()  # it kills itself

    second = await serve(**settings)

    async def has_ended() -> bool:
        runs = (await raw_http.send_request(second.url, "GET", "/v1/runs")).json["data"]
        return bool(runs) and all(run["ended_at"] is not None for run in runs)

    await eventually(has_ended)
    (run,) = (await raw_http.send_request(second.url, "GET", "/v1/runs")).json["data"]
    (schedule,) = (await raw_http.send_request(second.url, "GET", "/v1/schedules")).json["data"]
    path = f"/v1/schedules/{schedule['id']}"
    (occurrence,) = (await raw_http.send_request(second.url, "GET", f"{path}/occurrences")).json[
        "data"
    ]
    assert (occurrence["run_id"], occurrence["status"]) == (run["id"], "started")
    assert run["status"] == "completed"
    assert (await raw_http.send_request(second.url, "GET", path)).json["next_at"] is None


async def create_schedule(url: str) -> None:
    """Create a schedule with one time, soon; a busy machine takes more than one attempt."""
    delay = 1_000
    while True:
        schedule_fields = {"message": "Report.", "run_at": time.time_ns() // 1_000_000 + delay}
        answer = await raw_http.send_fatal_request(url, "POST", "/v1/schedules", schedule_fields)
        if answer is None or answer.status == 201:
            return
        delay *= 2
