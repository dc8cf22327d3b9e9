"""A server that dies between a run's end and its webhook: the event is sent by the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.harness import raw_http
from tests.support.server.served import eventually
from tests.support.tools.far_server import serve_far

BACKGROUND = {"message": {"content": "Hello."}, "background": True}


@pytest.mark.parametrize("point", ["finalize.after_commit", "finalize.before_wake"])
async def test_an_event_outlives_the_server_that_wrote_it(
    serve: Callable[..., Any], point: str
) -> None:
    async with serve_far() as far:
        far.say("/", "thanks")
        settings = {"ANTIPHON_WEBHOOK_HOSTS": "127.0.0.1", "ANTIPHON_DEMO_DELAY": "0"}
        first = await serve(**settings, FAILPOINTS=f"{point}:kill")
        answer = await raw_http.send_request(first.url, "POST", "/v1/webhooks", {"url": far.url()})
        assert answer.json["secret"].startswith("whsec_")
        await raw_http.send_fatal_request(first.url, "POST", "/v1/process", BACKGROUND)
        await first.end()
        assert far.requests == []

        second = await serve(**settings)
        (run,) = (await raw_http.send_request(second.url, "GET", "/v1/runs")).json["data"]

        async def is_delivered() -> bool:
            return bool(far.requests)

        await eventually(is_delivered)
        (request,) = far.requests
        assert b'"run.completed"' in request.body
        assert run["id"].encode() in request.body


@pytest.mark.soak
async def test_an_event_whose_answer_was_never_written_is_sent_again_with_its_id(
    serve: Callable[..., Any],
) -> None:
    async with serve_far() as far:
        far.say("/", "thanks")
        settings = {
            "ANTIPHON_WEBHOOK_HOSTS": "127.0.0.1",
            "ANTIPHON_WEBHOOK_TIMEOUT": "0.1",  # and so much less of a lease
            "ANTIPHON_DEMO_DELAY": "0",
        }
        first = await serve(**settings, FAILPOINTS="webhook.before_settle:kill")
        await raw_http.send_request(first.url, "POST", "/v1/webhooks", {"url": far.url()})
        await raw_http.send_fatal_request(first.url, "POST", "/v1/process", BACKGROUND)
        await first.end()

        await serve(**settings)
        async with asyncio.timeout(60):
            while len(far.requests) < 2:
                await asyncio.sleep(0.02)

        assert len({request.headers["webhook-id"] for request in far.requests}) == 1
        assert len({request.body for request in far.requests}) == 1
