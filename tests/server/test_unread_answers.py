"""Answers that nobody reads: they cost little, end, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack

import httpx2
import pytest
from msgspec.structs import replace

from antiphon.limits.unsent_bytes import PIECE, UnsentBytes
from antiphon.types.errors import Overloaded
from tests.support.prometheus_text import value
from tests.support.server.bystander import (
    ASK_SECONDS,
    MeasuredServer,
    UnreadConnection,
    open_unread_connections,
    run_measured_server,
)
from tests.support.server.served import SETTINGS, serve

LARGE = 9_900_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="a process is measured by /proc")


async def open_files(client: httpx2.AsyncClient) -> float:
    """Return the number of files and connections that the server has open."""
    return value((await client.get("/metrics")).text, "process_open_fds")


async def wait_until_closed(client: httpx2.AsyncClient, before: float) -> None:
    """Wait until no more is open than before, under a deadline."""
    async with asyncio.timeout(ASK_SECONDS):
        while await open_files(client) > before:
            await asyncio.sleep(0.1)


@pytest.fixture
async def server() -> AsyncIterator[MeasuredServer]:
    async with run_measured_server() as server:
        yield server


def open_client(server: MeasuredServer) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=server.url, timeout=ASK_SECONDS, trust_env=False)


@pytest.fixture
async def client(server: MeasuredServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with open_client(server) as client:
        yield client


async def upload(client: httpx2.AsyncClient, size: int) -> str:
    """Upload a file of so many bytes; return its path."""
    answer = await client.post("/v1/files", params={"name": "large.bin"}, content=bytes(size))
    return f"/v1/files/{answer.json()['id']}/content"


async def add_messages(client: httpx2.AsyncClient, *texts: str) -> str:
    """Add these messages to a new thread; return the path of their list."""
    thread = (await client.post("/v1/threads", json={})).json()["id"]
    for text in texts:
        answer = await client.post("/v1/messages", json={"thread_id": thread, "content": text})
        assert answer.status_code == 201
    return f"/v1/messages?thread_id={thread}&limit=100"


@pytest.mark.slow
@linux
async def test_a_reader_who_takes_nothing_loses_the_connection_whatever_was_asked_for() -> None:
    text = "x" * 1_900_000
    async with (
        run_measured_server(ANTIPHON_SEND_TIMEOUT="1") as server,
        open_client(server) as client,
    ):
        paths = [await upload(client, LARGE), await add_messages(client, text)]
        before = await open_files(client)
        with ExitStack() as stack:
            for path in paths:
                await open_unread_connections(stack, server.url, [path] * 4)
            assert await open_files(client) > before
            await wait_until_closed(client, before)


@pytest.mark.slow
@linux
async def test_files_that_nobody_reads_take_no_more_memory_when_they_are_larger(
    server: MeasuredServer, client: httpx2.AsyncClient
) -> None:
    small, large = await upload(client, 300_000), await upload(client, LARGE)
    with ExitStack() as stack:
        small_cost = await server.cost(open_unread_connections(stack, server.url, [small] * 60))
        large_cost = await server.cost(open_unread_connections(stack, server.url, [large] * 60))

        answer = await client.get(small)

    large_cost.refuse_growth(small_cost, times=1)
    assert len(answer.content) == 300_000


@pytest.mark.slow
@linux
async def test_a_page_costs_no_more_the_larger_its_items_are(
    server: MeasuredServer, client: httpx2.AsyncClient
) -> None:
    small = await add_messages(client, *["x" * 20_000] * 100)
    large = await add_messages(client, *["x" * 1_500_000] * 30)
    small_cost = await server.cost(client.get(small))
    large_cost = await server.cost(client.get(large))

    large_cost.refuse_growth(small_cost, times=1)
    page = (await client.get(large)).json()
    assert (len(page["data"]), page["has_more"]) == (1, True)


@pytest.mark.slow
@linux
async def test_lists_that_nobody_reads_are_refused_before_they_fill_the_memory(
    server: MeasuredServer, client: httpx2.AsyncClient
) -> None:
    page = await add_messages(client, *["x" * 1_900_000] * 2)
    with ExitStack() as stack:
        small_cost = await server.cost(open_unread_connections(stack, server.url, [page] * 10))
        large_cost = await server.cost(open_unread_connections(stack, server.url, [page] * 150))

    large_cost.refuse_growth(small_cost, times=15)


async def test_one_key_that_reads_nothing_is_refused_more_and_others_are_not() -> None:
    settings = replace(SETTINGS, max_unsent=6_000_000, max_body=10_000_000)
    async with serve(settings) as server:
        greedy_key, other_key = await server.key("ann"), await server.key("bob")
        ann, bob = await server.client(greedy_key), await server.client(other_key)
        path = await add_messages(ann, "x" * 1_900_000)
        other_path = await add_messages(bob, "x" * 1_900_000)
        readers = [
            UnreadConnection(server.url, path, Authorization=f"Bearer {greedy_key}")
            for _ in range(3)
        ]
        answers = await asyncio.gather(*(reader.wait_for_first_bytes() for reader in readers))

        refusal = await ann.get(path)
        answer = await bob.get(other_path)
        small_answer = await ann.get("/v1/threads")
        for reader in readers:
            reader.close()

    assert sorted(answers) == [b"HTTP/1.1 200", b"HTTP/1.1 503", b"HTTP/1.1 503"]
    assert (refusal.status_code, refusal.json()["code"]) == (503, "overloaded")
    assert int(refusal.headers["retry-after"]) >= 1
    assert answer.status_code == 200
    assert small_answer.status_code == 200


async def test_what_was_refused_is_answered_once_the_others_have_been_read() -> None:
    settings = replace(SETTINGS, max_unsent=6_000_000, max_body=10_000_000)
    async with serve(settings) as server:
        client = await server.client(await server.key("ann"))
        path = await add_messages(client, "x" * 1_900_000)
        answers = [await client.get(path) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 6


def test_of_what_may_wait_each_caller_gets_as_much_as_is_left_for_the_others() -> None:
    account = UnsentBytes(100)
    with ExitStack() as stack:
        for caller, sizes in (("ann", (25, 25)), ("bob", (20,))):
            for size in sizes:
                stack.enter_context(account.hold(caller, size))
        for caller, size in (("ann", 1), ("bob", 11), ("cem", 31)):
            with pytest.raises(Overloaded):
                stack.enter_context(account.hold(caller, size))
        stack.enter_context(account.hold("cem", 30))
    assert account.total == 0
    with account.hold("ann", 1000):  # a single answer may be larger
        pass


async def test_a_file_comes_whole_whatever_its_length() -> None:
    async with serve(replace(SETTINGS, max_body=10_000_000)) as server:
        client = await server.client()
        for size in (0, 1, PIECE, PIECE + 1, 131_072, 131_073, 1_000_000):
            content = bytes(range(256)) * (size // 256 + 1)
            upload_answer = await client.post(
                "/v1/files", params={"name": "f"}, content=content[:size]
            )
            path = f"/v1/files/{upload_answer.json()['id']}/content"
            answer, head = await client.get(path), await client.head(path)

            assert answer.content == content[:size]
            assert answer.headers["content-length"] == str(size) == head.headers["content-length"]
            assert head.content == b""
