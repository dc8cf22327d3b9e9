"""Heavy responses of the web chat to one browser do not delay another browser."""

from __future__ import annotations

import asyncio
import http.client
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack

import httpx2
import pytest

from antiphon.web.limits import ANSWERS_EACH
from tests.support.server.bystander import (
    ASK_SECONDS,
    MeasuredServer,
    open_unread_connections,
    run_measured_server,
)
from tests.support.web.named import browser_of, id_of, many_may_come
from tests.support.web.visiting import Browser

linux = pytest.mark.skipif(sys.platform != "linux", reason="a process is measured by /proc")

MANY = 120
"""Browsers that ask for a long thread and do not read it."""
TEXT = "Some **words** of a message, `code` and a [link](http://example.org).\n\n" * 1_400
MESSAGES = 40


@pytest.fixture
async def server() -> AsyncIterator[MeasuredServer]:
    async with run_measured_server(command="up") as server:
        yield server


async def create_long_thread(server: MeasuredServer) -> str:
    """Create a thread of four megabytes; return its id."""
    async with httpx2.AsyncClient(base_url=server.url, timeout=ASK_SECONDS) as client:
        thread = (await client.post("/v1/threads", json={})).json()["id"]
        for _ in range(MESSAGES):
            message = {"thread_id": thread, "content": TEXT}
            assert (await client.post("/v1/messages", json=message)).status_code == 201
    return str(thread)


async def fetch_cookie(server: MeasuredServer) -> str:
    """Open the page; return the cookie of the browser."""
    async with httpx2.AsyncClient(base_url=server.url, timeout=ASK_SECONDS) as client:
        await client.get("/")
        return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


@linux
@pytest.mark.parametrize("subpath", ["messages", "export?as=md", "export?as=json"])
async def test_responses_of_long_threads_that_are_not_read_delay_no_other_browser(
    server: MeasuredServer, subpath: str
) -> None:
    thread, cookie = await create_long_thread(server), await fetch_cookie(server)

    def list_threads(connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/api/threads?limit=1", headers={"cookie": cookie})
        answer = connection.getresponse()
        assert (answer.status, thread in answer.read().decode()) == (200, True)

    light = "/api/threads?limit=1"
    with ExitStack() as stack:
        flood = open_unread_connections(stack, server.url, [light] * MANY, Cookie=cookie)
        admission = await server.cost(flood, list_threads)
    path = f"/api/threads/{thread}/{subpath}"
    with ExitStack() as stack:
        await server.cost(
            open_unread_connections(stack, server.url, [path], Cookie=cookie), list_threads
        )
        flood = open_unread_connections(stack, server.url, [path] * MANY, Cookie=cookie)
        cost = await server.cost(flood, list_threads)

    cost.refuse_hold(0.5, admission=admission.cpu)


@linux
async def test_responses_of_large_files_that_are_not_read_take_no_more_memory_than_small_ones(
    server: MeasuredServer,
) -> None:
    cookie, costs = await fetch_cookie(server), []
    async with httpx2.AsyncClient(base_url=server.url, timeout=ASK_SECONDS) as client:
        for size in (100_000, 300_000, 9_900_000):
            upload_response = await client.post(
                "/v1/files", params={"name": "f"}, content=bytes(size)
            )
            path = f"/api/files/{upload_response.json()['id']}"
            with ExitStack() as stack:
                flood = open_unread_connections(stack, server.url, [path] * 60, Cookie=cookie)
                costs.append(await server.cost(flood))
    _, few, many = costs

    many.refuse_growth(few, times=1)


async def test_one_persons_heavy_answers_wait_for_one_another_and_not_for_another_person() -> None:
    async with many_may_come() as chat:
        queue, ann, bob = (
            chat.site.limits.answers,
            await browser_of(chat, "ann"),
            await browser_of(chat, "bob"),
        )
        paths = dict[Browser, str]()
        for browser in (ann, bob):
            client = chat.site.client_for_owner(await id_of(browser))
            thread = await client.create_thread(title="one")
            paths[browser] = f"/api/threads/{thread.id}/messages"
        anns_id = await id_of(ann)
        for _ in range(ANSWERS_EACH):
            await queue.enter(anns_id)
        request = asyncio.create_task(ann.get(paths[ann]))
        for _ in range(3):
            bobs_answer = await bob.get(paths[bob])
        has_waited = not request.done()
        queue.leave(anns_id)
        answer = await request

    assert (bobs_answer.status_code, has_waited, answer.status_code) == (200, True, 200)
