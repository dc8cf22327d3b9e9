"""Too much at once is refused at once, and no caller starves another."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from antiphon.limits.fair_queue import FairQueue
from antiphon.runtime.admin.keys import create_unaudited_key
from antiphon.runtime.runtime import open_store
from antiphon.server.limits import LIGHT_AT_ONCE, LIGHT_PER_CALLER, ConcurrencyLimiter
from antiphon.settings.settings import Settings
from antiphon.types.errors import Overloaded
from tests.support.harness.servers import start_server
from tests.support.server.served import DEADLINE, SETTINGS, eventually, serve

FLOOD = """
import asyncio, sys
import httpx2

async def main():
    headers = {"authorization": f"Bearer {sys.argv[2]}"}
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=sys.argv[1], headers=headers, limits=limits) as client:
        async def ask():
            while True:
                await client.post("/v1/threads", timeout=60)
        await client.post("/v1/threads")
        print(flush=True)
        await asyncio.gather(*(ask() for _ in range(64)))

asyncio.run(main())
"""


async def test_a_connection_too_many_is_told_so_and_closed() -> None:
    async with serve(replace(SETTINGS, max_connections=2)) as server:
        idle_connections = [await server.connect() for _ in range(2)]
        answer = await server.raw(b"GET /v1/threads HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _, writer in idle_connections:
            writer.close()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1" in head
    assert b"\r\nconnection: close" in head
    assert b'"overloaded"' in body


async def test_probes_are_answered_on_a_connection_too_many() -> None:
    async with serve(replace(SETTINGS, max_connections=1)) as server:
        _, idle_writer = await server.connect()
        answer = await server.raw(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        idle_writer.close()

    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_connections_far_too_many_are_dropped_and_room_that_is_left_is_used() -> None:
    async with serve(replace(SETTINGS, max_connections=1)) as server:
        connections = [await server.connect() for _ in range(12)]
        reader, _ = connections[-1]
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        for _, writer in connections:
            writer.close()
        client = await server.client()
        async with asyncio.timeout(DEADLINE):
            while (await client.get("/v1/threads")).status_code != 200:
                pass


async def test_one_key_leaves_room_for_another() -> None:
    async with serve(replace(SETTINGS, max_requests=8)) as server, AsyncExitStack() as open_:
        greedy_client = await server.client(await server.key("ada"))
        other_client = await server.client(await server.key("bob"))
        run = await _resting_run(greedy_client)
        statuses = [await _follow(open_, greedy_client, run) for _ in range(7)]
        other_answer = await other_client.post("/v1/threads")
        answer = await greedy_client.get("/v1/threads")

    assert statuses[:4] == [200] * 4
    assert 503 in statuses
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert other_answer.status_code == 201


async def test_a_key_that_lets_go_may_come_back() -> None:
    async with serve(replace(SETTINGS, max_requests=2)) as server:
        client = await server.client(await server.key("ada"))
        run = await _resting_run(client)
        async with AsyncExitStack() as open_:
            statuses = [await _follow(open_, client, run) for _ in range(2)]
        async with asyncio.timeout(DEADLINE):
            while (await client.get("/v1/threads")).status_code != 200:
                pass

    assert statuses == [200, 503]


def test_alone_one_gets_half_and_two_get_a_third_each() -> None:
    places = ConcurrencyLimiter(90)

    with ExitStack() as stack:
        assert _count_slots(stack, places, "ada") == 45
        assert _count_slots(stack, places, "bob") == 23
        with places.enter(), places.share("eve"):
            pass


async def test_a_caller_with_few_requests_does_not_wait_for_one_with_many() -> None:
    queue, done = FairQueue(at_once=2, per_caller=2), list[str]()

    async def work(caller: str) -> None:
        async with queue.slot(caller):
            await asyncio.sleep(0)
            done.append(caller)

    flood = [asyncio.create_task(work("flood")) for _ in range(50)]
    await asyncio.sleep(0)
    modest_tasks = [asyncio.create_task(work("modest")) for _ in range(2)]
    await asyncio.gather(*flood, *modest_tasks)

    assert done.index("modest") <= 6
    assert len(done) == 52


@pytest.mark.soak
async def test_one_key_that_floods_does_not_slow_another(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'antiphon.db'}"
    async with open_store(Settings(database=database)) as store:
        greedy_key, modest_key = [
            (await create_unaudited_key(store, owner, "a test", ("read", "write")))[1]
            for owner in ("ada", "bob")
        ]
    server = await start_server({"ANTIPHON_DATABASE": database})
    headers = {"authorization": f"Bearer {modest_key}"}
    async with httpx2.AsyncClient(base_url=server.url, headers=headers, timeout=DEADLINE) as client:
        seconds_alone = await _measure_slow_call(client)
        flood = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", FLOOD, server.url, greedy_key), stdout=asyncio.subprocess.PIPE
        )
        assert flood.stdout is not None
        await flood.stdout.readline()  # it has begun
        seconds_crowded = await _measure_slow_call(client)
        flood.kill()
        await flood.communicate()
    await server.stop_cleanly()

    assert seconds_crowded < 2 * max(seconds_alone, 0.02)


async def _measure_slow_call(client: httpx2.AsyncClient) -> float:
    """Return the 95th percentile of the seconds that a call takes."""
    durations: list[float] = []
    for _ in range(400):
        start = time.monotonic()
        answer = await client.post("/v1/threads")
        assert answer.status_code == 201
        durations.append(time.monotonic() - start)
        await asyncio.sleep(0.005)
    return sorted(durations)[380]


@pytest.mark.parametrize("caller", [None, "ann", ("key", "ann")])
async def test_a_work_that_waits_is_begun_when_another_ends(caller: object) -> None:
    queue, done = FairQueue(at_once=1, per_caller=1, patience=None), list[int]()

    async def work(number: int) -> None:
        async with queue.slot(caller):
            await asyncio.sleep(0)
            done.append(number)

    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*map(work, range(5)))

    assert done == [0, 1, 2, 3, 4]


async def test_a_work_that_waits_too_long_is_refused_and_holds_nothing() -> None:
    queue = FairQueue(at_once=1, per_caller=1, patience=0.01)
    async with queue.slot("ann"):
        with pytest.raises(Overloaded) as excinfo:
            await queue.enter("bob")
    async with asyncio.timeout(DEADLINE), queue.slot("cem"):
        pass

    assert excinfo.value.details["retry_after"] == 1


async def test_pieces_are_made_in_slots_that_are_free_while_they_are_used() -> None:
    queue = FairQueue(at_once=1, per_caller=1, patience=0.01)

    async def numbers() -> AsyncGenerator[int]:
        for number in range(3):
            with pytest.raises(Overloaded):
                await queue.enter("other")
            yield number

    pieces = list[int]()
    async for piece in queue.make_pieces("ann", numbers()):
        async with queue.slot("other"):
            pieces.append(piece)

    assert pieces == [0, 1, 2]


async def test_works_that_take_long_hold_up_only_their_own() -> None:
    queue, may_end = FairQueue(at_once=4, per_caller=2), asyncio.Event()

    async def hold_slot() -> None:
        async with queue.slot("stuck"):
            await may_end.wait()

    tasks = [asyncio.create_task(hold_slot()) for _ in range(10)]
    await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE), queue.slot("other"):
        may_end.set()
    await asyncio.gather(*tasks)


async def test_one_caller_never_has_all_connections_to_the_database_at_work() -> None:
    queue, may_end, working = (
        FairQueue(LIGHT_AT_ONCE, LIGHT_PER_CALLER),
        asyncio.Event(),
        list[str](),
    )

    async def work() -> None:
        async with queue.slot("one"):
            working.append("one")
            await may_end.wait()

    tasks = [asyncio.create_task(work()) for _ in range(SETTINGS.database_connections)]
    await asyncio.sleep(0)
    slots = len(working)
    may_end.set()
    await asyncio.gather(*tasks)

    assert 0 < slots <= SETTINGS.database_connections // 2


async def test_a_slot_that_nobody_waits_for_any_more_goes_to_the_next() -> None:
    queue, may_end = FairQueue(at_once=1, per_caller=1), asyncio.Event()

    async def work(caller: str) -> None:
        async with queue.slot(caller):
            await may_end.wait()

    first = asyncio.create_task(work("a"))
    cancelled_task = asyncio.create_task(work("b"))
    last = asyncio.create_task(work("c"))
    await asyncio.sleep(0)
    cancelled_task.cancel()
    may_end.set()

    await asyncio.wait_for(asyncio.gather(first, last), DEADLINE)
    assert cancelled_task.cancelled()


def _count_slots(stack: ExitStack, places: ConcurrencyLimiter, caller: str) -> int:
    """Return the number of requests that this caller can hold open."""
    count = 0
    while True:
        with ExitStack() as request:
            request.enter_context(places.enter())
            try:
                request.enter_context(places.share(caller))
            except Overloaded:
                return count
            stack.push(request.pop_all())
            count += 1


async def _resting_run(client: httpx2.AsyncClient) -> str:
    thread = (await client.post("/v1/threads")).json()["id"]
    return str((await client.post("/v1/runs", json={"thread_id": thread})).json()["id"])


async def _follow(stack: AsyncExitStack, client: httpx2.AsyncClient, run: str) -> int:
    stream = await stack.enter_async_context(client.stream("GET", f"/v1/runs/{run}/events"))
    return stream.status_code


async def test_one_owners_searches_do_not_keep_another_owners_waiting(tmp_path: Path) -> None:
    settings = replace(
        SETTINGS, database=f"sqlite:///{tmp_path}/antiphon.db", search_timeout=DEADLINE
    )
    async with serve(settings) as server:
        ann, bob = [await server.client(await server.key(name)) for name in ("ann", "bob")]
        await ann.post("/v1/threads", json={"title": "much"})
        store = server.runtime.store._inner  # type: ignore[attr-defined]
        async with store._searches.turn("ann"):  # one search of hers is under way
            searches = [asyncio.create_task(ann.get("/v1/search?q=much")) for _ in range(8)]
            await eventually(partial(_has_searches, store, "ann", 2))
            answer = await bob.get("/v1/search?q=much")
            assert not any(search.done() for search in searches)
        answers = await asyncio.gather(*searches)

    assert answer.status_code == 200
    assert {each.status_code for each in answers} == {200}


async def _has_searches(store: Any, owner: str, count: int) -> bool:
    """Return True if so many searches of the owner run or wait in the store."""
    return bool(store._searches._callers[owner] >= count)
