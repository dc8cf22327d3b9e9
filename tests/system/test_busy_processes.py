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
async def two(serve: Any, postgres: Postgres, upstream: Upstream) -> tuple[str, str]:
    """The addresses of two servers that ask one model."""
    settings = {
        "ANTIPHON_DATABASE": await postgres.create(),
        "ANTIPHON_BASE_URL": upstream.url,
        "ANTIPHON_MODEL": "quirk:ok",
        "ANTIPHON_LEASE_DURATION": "3600",
        "ANTIPHON_HEARTBEAT_INTERVAL": "1200",
    }
    return (await serve(**settings)).url, (await serve(**settings)).url


async def test_who_interrupts_closes_the_other_processs_line_to_the_model(
    two: tuple[str, str], upstream: Upstream
) -> None:
    here, there = two
    body = {"message": {"content": "go"}, "model": "quirk:endless", "background": True}
    first = (await raw_http.send_request(here, "POST", "/v1/process", body)).json
    asked = await upstream.wait_for_request(1)

    rather = {
        "thread_id": first["thread_id"],
        "if_busy": "interrupt",
        "message": {"content": "rather this"},
    }
    for url in (here, there):  # whichever of them drives the first, one is another
        told = await raw_http.read_turn(url, "/v1/process", rather)
        assert told[-1].json["status"] == "completed"
    async with asyncio.timeout(DEADLINE):
        await asked.done.wait()

    assert asked.closed
    assert (await raw_http.send_request(there, "GET", f"/v1/runs/{first['id']}")).json[
        "status"
    ] == "cancelled"
    assert not upstream.rejected


async def test_who_waits_at_one_process_is_woken_by_the_other(two: tuple[str, str]) -> None:
    here, there = two
    body = {"message": {"content": "go"}, "model": "quirk:t_normal", "tools": TOOLS}
    first = (await raw_http.read_turn(here, "/v1/process", body))[0].json
    wish = {"thread_id": first["thread_id"], "if_busy": "wait"}
    waiting = asyncio.create_task(raw_http.send_request(there, "POST", "/v1/runs", wish))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done

    await raw_http.send_request(here, "POST", f"/v1/runs/{first['run_id']}/cancel", {})
    answer = await waiting

    assert answer.status == 201
    runs = (
        await raw_http.send_request(
            here, "GET", "/v1/runs", query={"thread_id": first["thread_id"]}
        )
    ).json
    assert [each["status"] for each in runs["data"]] == ["queued", "cancelled"]
