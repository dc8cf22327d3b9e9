"""Several processes on one PostgreSQL: wake-ups make it quick, and only that.

Each runtime is what a process has; here they live on one loop. Guarantees G12, G13, G14 and G17.
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

    async def one(self, **settings: object) -> Runtime:
        """Another process; a model that says 200 words a second."""
        given = {"database_connections": CONNECTIONS, "demo_delay": 0.005, **settings}
        return await self.stack.enter_async_context(
            open_runtime(
                Settings(model="demo", database=self.database, shutdown_timeout=0.1, **given)
            )
        )

    async def pair(self, **settings: object) -> tuple[Runtime, Runtime]:
        return await self.one(**settings), await self.one(**settings)


@pytest.fixture
async def processes(postgres: Postgres) -> AsyncIterator[Processes]:
    made = Processes(await postgres.create())
    async with made.stack:
        yield made


async def begin(runtime: Runtime, text: str) -> str:
    """A run in the background."""
    call = operations.Process(message=operations.NewMessage(text), background=True)
    answer = await runtime.dispatcher.open_stream(call, BY)
    assert not isinstance(answer, RunEventReader)
    run = answer.value
    assert isinstance(run, Run)
    return run.id


async def pages(runtime: Runtime, run_id: str) -> list[list[bytes]]:
    """The whole run as a reader gets it: what came together, and where it looked in vain."""
    async with asyncio.timeout(SOON):
        while True:
            with suppress(Unavailable):  # the line is long: a client comes again
                listening = await runtime.dispatcher.open_stream(operations.Follow(run_id), BY)
                break
        assert isinstance(listening, RunEventReader)
        return [list(lines) async for _, lines in listening.pages()]


def lines(read: list[list[bytes]]) -> list[bytes]:
    return [line for page in read for line in page]


async def driver_first(pair: tuple[Runtime, Runtime], run_id: str) -> tuple[Runtime, Runtime]:
    """The process that drives the run, and the other one."""
    one, two = pair
    async with asyncio.timeout(SOON):
        with one.bus.subscribe(run_id) as bell:
            while not (one.worker.is_running(run_id) or two.worker.is_running(run_id)):
                await bell.wait(0.05)
    return (one, two) if one.worker.is_running(run_id) else (two, one)


@pytest.fixture(params=["postgres", "redis"])
def carried(request: pytest.FixtureRequest, redis: Redis) -> dict[str, str]:
    """By what wake-ups come, as settings."""
    return {"redis": redis.address} if request.param == "redis" else {}


@pytest.fixture
def nobody() -> dict[str, str]:
    """A Redis that is not there, as settings."""
    return {"redis": f"redis://127.0.0.1:{find_port()}/0"}


async def test_who_reads_a_run_of_another_process_is_woken_for_it(
    processes: Processes, carried: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reader, "PATIENCE", 3_600.0)  # nobody looks without being woken
    pair = await processes.pair(**carried)
    run_id = await begin(pair[0], "Tell me a long story of 150 words.")
    driver, other = await driver_first(pair, run_id)
    read = await pages(other, run_id)

    assert lines(read) == lines(await pages(driver, run_id))
    assert events.decode(lines(read)[-1]).status == "completed"


async def test_without_any_wake_up_each_reader_still_gets_everything_in_order(
    processes: Processes, nobody: dict[str, str]
) -> None:
    pair = await processes.pair(**nobody)
    run_id = await begin(pair[0], "Tell me a long story of 150 words.")
    _, other = await driver_first(pair, run_id)
    read = await pages(other, run_id)

    assert len(read) < 60  # once a second, and not at each of 150 words
    assert lines(read) == lines(await pages(pair[0], run_id))
    assert events.decode(lines(read)[-1]).status == "completed"


async def test_a_reader_begins_anywhere_and_sees_what_follows(
    processes: Processes, carried: dict[str, str]
) -> None:
    pair = await processes.pair(**carried)
    run_id = await begin(pair[0], "Tell me a long story of 60 words.")
    _, other = await driver_first(pair, run_id)
    whole = lines(await pages(other, run_id))

    for after in range(0, len(whole), 7):
        listening = await other.dispatcher.open_stream(operations.Follow(run_id, after=after), BY)
        assert isinstance(listening, RunEventReader)
        assert [line async for _, page in listening.pages() for line in page] == whole[after:]


async def test_a_reader_that_does_not_read_delays_no_other_and_misses_nothing(
    processes: Processes, carried: dict[str, str]
) -> None:
    pair = await processes.pair(**carried)
    run_id = await begin(pair[0], "Tell me a long story of 60 words.")
    _, other = await driver_first(pair, run_id)
    listening = await other.dispatcher.open_stream(operations.Follow(run_id), BY)
    assert isinstance(listening, RunEventReader)
    slow = listening.pages()
    seen = [await anext(slow)]
    whole = lines(await pages(other, run_id))  # which ends while the slow one still looks at it
    seen += [page async for page in slow]

    assert [line for _, page in seen for line in page] == whole


async def test_a_cancel_through_another_process_stops_a_silent_model_at_once(
    processes: Processes, carried: dict[str, str]
) -> None:
    await stop_elsewhere(
        await processes.pair(demo_delay=1000, lease_duration=600, heartbeat_interval=200, **carried)
    )


async def test_a_cancel_stops_a_silent_model_soon_also_where_no_wake_up_comes(
    processes: Processes, nobody: dict[str, str]
) -> None:
    await stop_elsewhere(
        await processes.pair(demo_delay=1000, lease_duration=600, heartbeat_interval=200, **nobody)
    )


async def stop_elsewhere(pair: tuple[Runtime, Runtime]) -> None:
    run_id = await begin(pair[0], "Hello?")
    driver, other = await driver_first(pair, run_id)
    await other.dispatcher.dispatch(operations.CancelRun(run_id), BY)
    async with asyncio.timeout(SOON):  # the silence of a model is endured for longer
        with driver.bus.subscribe("a look") as bell:
            while driver.worker.is_running(run_id):
                await bell.wait(0.05)


async def test_hundreds_of_readers_need_no_connection_of_their_own(
    processes: Processes,
) -> None:
    pair = await processes.pair(demo_delay=0.05)
    run_ids = [await begin(pair[0], "Tell me a long story of 15 words.") for _ in range(30)]
    read = [
        asyncio.create_task(pages(pair[number % 2], run_ids[number % len(run_ids)]))
        for number in range(300)
    ]
    most = await connections(processes.database)
    async with asyncio.timeout(SOON):
        for each in read:
            await each
            if each in read[::50]:
                most = max(most, await connections(processes.database))

    lines_of = [lines(each.result()) for each in read]
    assert most <= 2 * (CONNECTIONS + 1) + 1  # one of each for wake-ups, and the one that counts
    assert all(lines_of[number] == lines_of[number % len(run_ids)] for number in range(300))


async def connections(database: str) -> int:
    """Return the number of connections of the database."""
    connection = await asyncpg.connect(database)
    count: int = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    )
    await connection.close()
    return count


async def test_a_redis_that_is_not_there_fails_no_start_and_no_readiness(
    processes: Processes, nobody: dict[str, str]
) -> None:
    runtime = await processes.one(**nobody)

    await runtime.ready()


async def list_findings(settings: Settings) -> tuple[str, ...]:
    """Return the findings of `antiphon doctor` about wake-ups."""
    rows = await asyncio.to_thread(doctor.rows, LoadedSettings(settings, {}))
    (row,) = [row for row in rows if row[1] == "wake-ups"]
    return row


async def test_a_doctor_says_that_wake_ups_come_through(
    processes: Processes, carried: dict[str, str]
) -> None:
    settings = Settings(model="demo", database=processes.database, **carried)

    assert (await list_findings(settings))[0] == "ok"


async def test_a_doctor_says_where_wake_ups_do_not_come_through_and_no_password(
    nobody: dict[str, str],
) -> None:
    address = nobody["redis"].replace("//", "//:canary@")
    state, _, said, to_do = await list_findings(
        Settings(model="demo", database="memory:", redis=address)
    )

    assert (state, "canary" in said + to_do) == ("note", False)
    assert "redis://****@127.0.0.1" in said


async def test_an_address_of_redis_that_is_none_is_refused_without_its_password() -> None:
    settings = Settings(model="demo", database="memory:", redis="redis://:canary/x@cache:1")
    with pytest.raises(BadSettings) as excinfo:
        async with open_runtime(settings):
            pass

    assert "canary" not in f"{excinfo.value} {excinfo.value.details}"
