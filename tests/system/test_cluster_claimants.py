"""Many callers claim one thing at once, through the stores of two processes: one of them gets it.

Guarantees G2 and G7, and the part of DOUBLE-CLAIM that only a race can show.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from antiphon.api import operations
from antiphon.buses.local import LocalBus
from antiphon.engine import transitions
from antiphon.engine.snapshot import Claim
from antiphon.ports import Store
from antiphon.providers.catalog import Catalog
from antiphon.runtime.embedded_transport import AsyncEmbeddedTransport
from antiphon.runtime.runtime import Runtime, open_store
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.runs import Run, serve_all

CLAIMANTS = 32
STORES = 2
LEASE_MS = 60_000
MANY = pytest.param(1000, marks=pytest.mark.soak)
ROUNDS = [30, MANY]

Transport = AsyncEmbeddedTransport


@pytest.fixture(params=["sqlite", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sequence[Store]]:
    """Open several stores on one database, as several processes do."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path}/antiphon.db"
    else:
        address = await request.getfixturevalue("postgres").create()
    settings = Settings(database=address, model="demo")
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_store(settings)) for _ in range(STORES)]


@pytest.fixture
async def transports(stores: Sequence[Store]) -> AsyncIterator[Sequence[Transport]]:
    """Return a transport to each store, behind which no worker drives runs."""
    settings = Settings(model="demo")
    async with AsyncExitStack() as stack:
        catalogs = [Catalog(settings, {}) for _ in stores]
        for catalog in catalogs:
            stack.push_async_callback(catalog.close)
        runtimes = [
            Runtime(settings, store, LocalBus(), catalog)
            for store, catalog in zip(stores, catalogs, strict=True)
        ]
        for runtime in runtimes:
            await runtime.worker.stop(0)  # it would start with the first run, and claim some
        yield [Transport.over(runtime) for runtime in runtimes]


async def send_at_once(
    transports: Sequence[Transport], call: Any, key: str | None = None
) -> list[Any]:
    """Send the call as every claimant at once; return what each of them got.

    A claimant whose database took too long sends the same again under its key, as clients do.
    """
    return await asyncio.gather(
        *(
            _send_until_available(transports[number % len(transports)], call, key or str(uuid4()))
            for number in range(CLAIMANTS)
        )
    )


async def _send_until_available(transport: Transport, call: Any, key: str) -> Any:
    while True:
        try:
            return await transport.send(call, key)
        except errors.Unavailable:
            continue
        except errors.AntiphonError as error:
            return error


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_of_many_callers_that_begin_a_run_in_one_thread_at_once_one_does(
    transports: Sequence[Transport], rounds: int
) -> None:
    for _ in range(rounds):
        thread = await transports[0].send(operations.CreateThread())

        results = await send_at_once(transports, operations.CreateRun(thread.id))

        (created_run,) = [each for each in results if isinstance(each, Run)]
        refusals = [each for each in results if isinstance(each, errors.RunActive)]
        assert len(refusals) == CLAIMANTS - 1, results
        assert {each.details["run_id"] for each in refusals} == {created_run.id}
        page = await transports[1].send(operations.ListRuns(thread_id=thread.id))
        assert [run.id for run in page.data] == [created_run.id]


@pytest.mark.parametrize("rounds", [10, MANY])
async def test_callers_that_send_the_same_under_one_key_at_once_get_the_same_answer(
    transports: Sequence[Transport], rounds: int
) -> None:
    for number in range(rounds):
        call = operations.Process(message=operations.NewMessage("Hello?"), background=True)

        results = await send_at_once(transports, call, f"key-{number}")

        assert len({each.id for each in results}) == 1
        page = await transports[1].send(operations.ListMessages(results[0].thread_id))
        assert len(page.data) == 1


@pytest.mark.parametrize("is_named", [False, True], ids=["any", "named"])
@pytest.mark.parametrize("rounds", [10, MANY])
async def test_of_many_workers_that_claim_the_only_run_at_once_one_gets_it(
    stores: Sequence[Store], transports: Sequence[Transport], rounds: int, is_named: bool
) -> None:
    for _ in range(rounds):
        request = operations.Process(message=operations.NewMessage("Hello?"), background=True)
        run = await transports[0].send(request)

        destination = (await stores[0].run_lease(run.id)).destination
        predicate = {destination}.__contains__ if is_named else serve_all
        results = await asyncio.gather(
            *(
                stores[number % len(stores)].claim(
                    transitions.claim(f"worker {number}", LEASE_MS), predicate
                )
                for number in range(CLAIMANTS)
            )
        )

        (claim,) = [each for each in results if isinstance(each, Claim)]
        assert claim.run.id == run.id
        lease = await stores[1].run_lease(run.id)
        assert (lease.worker, lease.epoch) == (claim.lease.worker, claim.lease.epoch)
