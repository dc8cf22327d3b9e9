"""A busy thread between two processes on one PostgreSQL: wake-ups come through it.

Guarantees G7 and G12. Leases last so long that nothing but a wake-up tells a process anything.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.harness import raw_http
from tests.support.providers.upstream import Upstream
from tests.support.services.postgres import Postgres

DEADLINE = 60.0
TOOLS = [{"name": "f", "parameters": {"type": "object"}}]


@pytest.fixture
async def server_urls(serve: Any, postgres: Postgres, upstream: Upstream) -> tuple[str, str]:
    """Run two servers that ask one model; return their addresses."""
    settings = {
        "ANTIPHON_DATABASE": await postgres.create(),
        "ANTIPHON_BASE_URL": upstream.url,
        "ANTIPHON_MODEL": "quirk:ok",
        "ANTIPHON_LEASE_DURATION": "3600",
        "ANTIPHON_HEARTBEAT_INTERVAL": "1200",
    }
    return (await serve(**settings)).url, (await serve(**settings)).url


async def test_an_interrupting_run_closes_the_connection_of_the_other_process_to_the_model(
    server_urls: tuple[str, str], upstream: Upstream
) -> None:
    first_url, second_url = server_urls
    body = {"message": {"content": "go"}, "model": "quirk:endless", "background": True}
    first = (await raw_http.send_request(first_url, "POST", "/v1/process", body)).json
    request = await upstream.wait_for_request(1)

    interrupting_body = {
        "thread_id": first["thread_id"],
        "if_busy": "interrupt",
        "message": {"content": "rather this"},
    }
    for url in (first_url, second_url):  # whichever of them drives the first, one is another
        turn_events = await raw_http.read_turn(url, "/v1/process", interrupting_body)
        assert turn_events[-1].json["status"] == "completed"
    async with asyncio.timeout(DEADLINE):
        await request.done.wait()

    assert request.closed
    assert (await raw_http.send_request(second_url, "GET", f"/v1/runs/{first['id']}")).json[
        "status"
    ] == "cancelled"
    assert not upstream.rejected


async def test_a_request_that_waits_at_one_process_is_woken_by_another(
    server_urls: tuple[str, str],
) -> None:
    first_url, second_url = server_urls
    body = {"message": {"content": "go"}, "model": "quirk:t_normal", "tools": TOOLS}
    first = (await raw_http.read_turn(first_url, "/v1/process", body))[0].json
    waiting_body = {"thread_id": first["thread_id"], "if_busy": "wait"}
    waiting_request = asyncio.create_task(
        raw_http.send_request(second_url, "POST", "/v1/runs", waiting_body)
    )
    done, _ = await asyncio.wait([waiting_request], timeout=0.3)
    assert not done

    await raw_http.send_request(first_url, "POST", f"/v1/runs/{first['run_id']}/cancel", {})
    answer = await waiting_request

    assert answer.status == 201
    runs = (
        await raw_http.send_request(
            first_url, "GET", "/v1/runs", query={"thread_id": first["thread_id"]}
        )
    ).json
    assert [each["status"] for each in runs["data"]] == ["queued", "cancelled"]
