"""Several processes on one PostgreSQL: wake-ups make them quicker, and change nothing else.

Each runtime stands for a process; here they share one loop. Guarantees G12, G13, G14 and G17.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import asyncpg
import pytest

from antiphon.api import operations
from antiphon.cli import doctor
from antiphon.runtime import event_reader
from antiphon.runtime.event_reader import RunEventReader
from antiphon.runtime.runtime import Runtime, open_runtime
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import Settings
from antiphon.types import events
from antiphon.types.accounts import Principal
from antiphon.types.errors import BadSettings, Unavailable
from antiphon.types.runs import Run
from tests.support.ports import find_port
from tests.support.services.postgres import Postgres
from tests.support.services.redis import Redis

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("patient_postgres")]

SOON = 120.0
BY = Principal()
CONNECTIONS = 4


class Processes:
    """Opens runtimes on one database."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.stack = AsyncExitStack()

    async def open_one(self, **settings: object) -> Runtime:
        """Open another process, with a model that says 200 words a second."""
        fields = {"database_connections": CONNECTIONS, "demo_delay": 0.005, **settings}
        return await self.stack.enter_async_context(
            open_runtime(
                Settings(model="demo", database=self.database, shutdown_timeout=0.1, **fields)
            )
        )

    async def open_pair(self, **settings: object) -> tuple[Runtime, Runtime]:
        return await self.open_one(**settings), await self.open_one(**settings)


@pytest.fixture
async def processes(postgres: Postgres) -> AsyncIterator[Processes]:
    opener = Processes(await postgres.create())
    async with opener.stack:
        yield opener


async def begin(runtime: Runtime, text: str) -> str:
    """Begin a run in the background; return its id."""
    call = operations.Process(message=operations.NewMessage(text), background=True)
    answer = await runtime.dispatcher.open_stream(call, BY)
    assert not isinstance(answer, RunEventReader)
    run = answer.value
    assert isinstance(run, Run)
    return run.id


async def read_pages(runtime: Runtime, run_id: str) -> list[list[bytes]]:
    """Return the whole run as a reader gets it: in batches, empty ones for vain looks."""
    async with asyncio.timeout(SOON):
        while True:
            with suppress(Unavailable):  # the queue is long: a client asks again
                reader = await runtime.dispatcher.open_stream(operations.Follow(run_id), BY)
                break
        assert isinstance(reader, RunEventReader)
        return [list(lines) async for _, lines in reader.pages()]


def lines(batches: list[list[bytes]]) -> list[bytes]:
    return [line for page in batches for line in page]


async def find_driver(pair: tuple[Runtime, Runtime], run_id: str) -> tuple[Runtime, Runtime]:
    """Return the process that drives the run, and the other one."""
    first, second = pair
    async with asyncio.timeout(SOON):
        with first.bus.subscribe(run_id) as bell:
            while not (first.worker.is_running(run_id) or second.worker.is_running(run_id)):
                await bell.wait(0.05)
    return (first, second) if first.worker.is_running(run_id) else (second, first)


@pytest.fixture(params=["postgres", "redis"])
def bus_settings(request: pytest.FixtureRequest, redis: Redis) -> dict[str, str]:
    """Return the settings of the bus by which wake-ups come."""
    return {"redis": redis.address} if request.param == "redis" else {}


@pytest.fixture
def absent_redis() -> dict[str, str]:
    """Return settings with a Redis that is not there."""
    return {"redis": f"redis://127.0.0.1:{find_port()}/0"}


async def test_a_reader_of_a_run_of_another_process_is_woken_for_it(
    processes: Processes, bus_settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reader, "PATIENCE", 3_600.0)  # no reader looks without being woken
    pair = await processes.open_pair(**bus_settings)
    run_id = await begin(pair[0], "Tell me a long story of 150 words.")
    driver, other = await find_driver(pair, run_id)
    batches = await read_pages(other, run_id)

    assert lines(batches) == lines(await read_pages(driver, run_id))
    assert events.decode(lines(batches)[-1]).status == "completed"


async def test_without_any_wake_up_each_reader_still_gets_everything_in_order(
    processes: Processes, absent_redis: dict[str, str]
) -> None:
    pair = await processes.open_pair(**absent_redis)
    run_id = await begin(pair[0], "Tell me a long story of 150 words.")
    _, other = await find_driver(pair, run_id)
    batches = await read_pages(other, run_id)

    assert len(batches) < 60  # once a second, and not at each of 150 words
    assert lines(batches) == lines(await read_pages(pair[0], run_id))
    assert events.decode(lines(batches)[-1]).status == "completed"


async def test_a_reader_begins_anywhere_and_sees_what_follows(
    processes: Processes, bus_settings: dict[str, str]
) -> None:
    pair = await processes.open_pair(**bus_settings)
    run_id = await begin(pair[0], "Tell me a long story of 60 words.")
    _, other = await find_driver(pair, run_id)
    all_lines = lines(await read_pages(other, run_id))

    for after in range(0, len(all_lines), 7):
        reader = await other.dispatcher.open_stream(operations.Follow(run_id, after=after), BY)
        assert isinstance(reader, RunEventReader)
        assert [line async for _, page in reader.pages() for line in page] == all_lines[after:]


async def test_a_reader_that_does_not_read_delays_no_other_and_misses_nothing(
    processes: Processes, bus_settings: dict[str, str]
) -> None:
    pair = await processes.open_pair(**bus_settings)
    run_id = await begin(pair[0], "Tell me a long story of 60 words.")
    _, other = await find_driver(pair, run_id)
    reader = await other.dispatcher.open_stream(operations.Follow(run_id), BY)
    assert isinstance(reader, RunEventReader)
    slow_pages = reader.pages()
    received = [await anext(slow_pages)]
    # This reading ends while the slow one still looks at its first page.
    all_lines = lines(await read_pages(other, run_id))
    received += [page async for page in slow_pages]

    assert [line for _, page in received for line in page] == all_lines


async def test_a_cancel_through_another_process_stops_a_silent_model_at_once(
    processes: Processes, bus_settings: dict[str, str]
) -> None:
    await stop_in_other_process(
        await processes.open_pair(
            demo_delay=1000, lease_duration=600, heartbeat_interval=200, **bus_settings
        )
    )


async def test_a_cancel_stops_a_silent_model_soon_also_where_no_wake_up_comes(
    processes: Processes, absent_redis: dict[str, str]
) -> None:
    await stop_in_other_process(
        await processes.open_pair(
            demo_delay=1000, lease_duration=600, heartbeat_interval=200, **absent_redis
        )
    )


async def stop_in_other_process(pair: tuple[Runtime, Runtime]) -> None:
    run_id = await begin(pair[0], "Hello?")
    driver, other = await find_driver(pair, run_id)
    await other.dispatcher.dispatch(operations.CancelRun(run_id), BY)
    async with asyncio.timeout(SOON):  # the silence of a model is tolerated for longer
        with driver.bus.subscribe("a look") as bell:
            while driver.worker.is_running(run_id):
                await bell.wait(0.05)


async def test_hundreds_of_readers_need_no_connection_of_their_own(
    processes: Processes,
) -> None:
    pair = await processes.open_pair(demo_delay=0.05)
    run_ids = [await begin(pair[0], "Tell me a long story of 15 words.") for _ in range(30)]
    tasks = [
        asyncio.create_task(read_pages(pair[number % 2], run_ids[number % len(run_ids)]))
        for number in range(300)
    ]
    most_connections = await connections(processes.database)
    async with asyncio.timeout(SOON):
        for each in tasks:
            await each
            if each in tasks[::50]:
                most_connections = max(most_connections, await connections(processes.database))

    lines_by_reader = [lines(each.result()) for each in tasks]
    # One of each process is for wake-ups, and one more counts the connections.
    assert most_connections <= 2 * (CONNECTIONS + 1) + 1
    assert all(
        lines_by_reader[number] == lines_by_reader[number % len(run_ids)] for number in range(300)
    )


async def connections(database: str) -> int:
    """Return the number of connections of the database."""
    connection = await asyncpg.connect(database)
    count: int = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    )
    await connection.close()
    return count


async def test_a_redis_that_is_not_there_fails_no_start_and_no_readiness(
    processes: Processes, absent_redis: dict[str, str]
) -> None:
    runtime = await processes.open_one(**absent_redis)

    await runtime.ready()


async def list_findings(settings: Settings) -> tuple[str, ...]:
    """Return the findings of `antiphon doctor` about wake-ups."""
    rows = await asyncio.to_thread(doctor.rows, LoadedSettings(settings, {}))
    (row,) = [row for row in rows if row[1] == "wake-ups"]
    return row


async def test_a_doctor_says_that_wake_ups_come_through(
    processes: Processes, bus_settings: dict[str, str]
) -> None:
    settings = Settings(model="demo", database=processes.database, **bus_settings)

    assert (await list_findings(settings))[0] == "ok"


async def test_a_doctor_says_where_wake_ups_do_not_come_through_and_no_password(
    absent_redis: dict[str, str],
) -> None:
    address = absent_redis["redis"].replace("//", "//:canary@")
    state, _, detail, to_do = await list_findings(
        Settings(model="demo", database="memory:", redis=address)
    )

    assert (state, "canary" in detail + to_do) == ("note", False)
    assert "redis://****@127.0.0.1" in detail


async def test_an_address_of_redis_that_is_none_is_refused_without_its_password() -> None:
    settings = Settings(model="demo", database="memory:", redis="redis://:canary/x@cache:1")
    with pytest.raises(BadSettings) as excinfo:
        async with open_runtime(settings):
            pass

    assert "canary" not in f"{excinfo.value} {excinfo.value.details}"
